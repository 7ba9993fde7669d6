"""A catalog as a whole, from one service to another, through the public protocols only.

What arrives is the source as of one moment, whatever is written there meanwhile: model, rows with their RIDs, RCT and
RCB, annotations, access lists, and the objects that rows name. RMT and RMB become those of the copy.

A dataset's version is a snapshot of the catalog, and no service accepts a past from outside. So the past is lived again
as far as versions need it: the copy is brought to each version's moment in turn, and the moment at which it was there
becomes that version's snapshot. What happened between versions is not kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.copy_model import CopiedModel, TableName
from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core import codes
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLException
from deriva_ml.wire import moments, targets
from deriva_ml.wire.hatrac import object_name, parse_object_target
from deriva_ml.wire.http import Request
from deriva_ml.wire.path import any_of, cnt, gt, table

__all__ = ["Copied", "copy_catalog"]

PAGE = 5000
"""Rows that are read and written at a time."""

KEPT = ("RID", "RCT", "RCB")
"""What rows keep of what the service would give them."""

VERSION_TABLE, VERSION_COLUMN = "Dataset_Version", "Snapshot"

Say = Callable[[str], None]


@dataclass
class Copied:
    """What was copied.

    Attributes:
        catalog_id: The new catalog.
        snaptime: The moment of the source that it shows.
        tables: How many tables.
        rows: How many rows.
        objects: How many objects were brought.
        size: Bytes of them.
        versions: How many moments of dataset versions it has.
        missing: What could not be copied, in words.
    """

    catalog_id: str
    snaptime: str
    tables: int = 0
    rows: int = 0
    objects: int = 0
    size: int = 0
    versions: int = 0
    missing: list[str] = field(default_factory=list)


def copy_catalog(
    source: CatalogClient,
    source_objects: ObjectClient,
    target: CatalogClient,
    target_objects: ObjectClient,
    *,
    same_store: bool = False,
    say: Say = lambda _text: None,
) -> Copied:
    """Copy a catalog into a new, empty one.

    Args:
        source: The catalog.
        source_objects: Its objects.
        target: A catalog that holds nothing but the service's own tables.
        target_objects: Where its objects are to be.
        same_store: Both have the same objects, so that URLs stay as they are.
        say: Told what is going on.
    """
    snaptime = source.snaptime or source.latest_snaptime()
    now = source if source.snaptime else source.snapshot(snaptime)
    model = CopiedModel(now.get("/schema"))
    made = Copied(target.catalog_id, snaptime, tables=len(model.tables))
    carrier = None if same_store else _Carrier(source_objects, target_objects, made)
    _Copy(now, target, model, carrier, made, say).run()
    return made


class _Copy:
    def __init__(
        self,
        now: CatalogClient,
        target: CatalogClient,
        model: CopiedModel,
        carrier: _Carrier | None,
        made: Copied,
        say: Say,
    ) -> None:
        self.now = now
        self.target = target
        self.model = model
        self.carrier = carrier
        self.made = made
        self.say = say
        self.counts: dict[TableName, int] = {}
        self.snapshots: dict[str, str] = {}

    def run(self) -> None:
        say = self.say
        say(f"model: {len(self.model.tables)} tables")
        self.target.create_tables(self.model.creation())
        self._clients()
        past = self._moments()
        first, *later = [*past, str(self.now.snaptime)]
        say(f"rows as of {first}")
        view = self._view(first)
        for name in self.model.tables:
            self._fill(view, name)
        refused = self._references(self.model.references())
        self._reached(first)
        before = first
        for moment in later:
            say(f"changes to {moment}")
            self._advance(self._view(moment), before)
            self._reached(moment)
            before = moment
        for problem in self._references(refused):
            self.made.missing.append(f"foreign key {problem['names'] or problem['foreign_key_columns']}")
        self._finish(past)

    def _view(self, moment: str) -> CatalogClient:
        client = self.now
        return CatalogClient(client.transport, client.catalog_id, moment)

    def _reached(self, moment: str) -> None:
        self.snapshots[moment] = self.target.latest_snaptime()

    # ------------------------------------------------------------------------------------------ versions

    def _version_tables(self) -> list[TableName]:
        return [
            name
            for name in self.model.tables
            if name[1] == VERSION_TABLE and VERSION_COLUMN in self.model.columns(name)
        ]

    def _moments(self) -> list[str]:
        """The moments that dataset versions show, in order; those that the source has forgotten are noted."""
        wanted: dict[int, str] = {}
        for name in self._version_tables():
            for row in self.now.attributes(table(*name), "RID", "RCT", VERSION_COLUMN):
                moment = _moment_of(row)
                wanted[codes.decode(moment)] = moment
        known = []
        for number in sorted(wanted):
            moment = wanted[number]
            try:
                self._view(moment).info()
            except DerivaMLCatalogError as error:
                if error.status != 409:
                    raise
                self.made.missing.append(f"the past at {moment}, which the source has forgotten")
            else:
                known.append(moment)
        self.made.versions = len(known)
        return known

    # ------------------------------------------------------------------------------------------ rows

    def _clients(self) -> None:
        """Who wrote the rows: known to both services by the same ids."""
        for name in ("ERMrest_Client", "ERMrest_Group"):
            rows = self.now.rows(table("public", name))
            plain = [{key: value for key, value in row.items() if key not in _SYSTEM} for row in rows]
            if plain:
                self.target.insert("public", name, plain, on_conflict_skip=True)

    def _pages(self, view: CatalogClient, name: TableName, since: str | None = None) -> Iterator[list[Row]]:
        """The rows of a table that the source had then, or those that changed since a moment."""
        path = table(*name)
        if since is not None:
            path = path.where(gt("RMT", moments.timestamptz_json(codes.decode(since))))
        path = path.sorted("RID").limited(PAGE)
        try:
            page = view.rows(path)
            while page:
                yield page
                page = view.rows(path.after(str(page[-1]["RID"])))
        except DerivaMLCatalogError as error:
            # The table, or its schema, was made later than the moment.
            if error.status != 409 or (since is None and not self._is_past(view)):
                raise

    def _is_past(self, view: CatalogClient) -> bool:
        return view.snaptime != self.now.snaptime

    def _fill(self, view: CatalogClient, name: TableName) -> None:
        self.counts[name] = 0
        for page in self._pages(view, name):
            self._insert(name, page)
        self.say(f"{name[0]}:{name[1]}: {self.counts[name]} rows")

    def _insert(self, name: TableName, rows: list[Row]) -> None:
        if rows:
            self.target.insert(*name, [self._fit(name, row) for row in rows], nondefaults=KEPT)
            self.counts[name] = self.counts.get(name, 0) + len(rows)
            self.made.rows += len(rows)

    def _fit(self, name: TableName, row: Row) -> Row:
        """A row with the columns that the copy's table has, and its URLs as they are there."""
        known = self.model.columns(name)
        made: Row = {key: value for key, value in row.items() if key in known and key not in ("RMT", "RMB")}
        if name in self._version_tables() and VERSION_COLUMN in made:
            made[VERSION_COLUMN] = self.snapshots.get(_moment_of(row))
        if self.carrier is not None:
            for key, value in made.items():
                if isinstance(value, str) and value.startswith("/hatrac/"):
                    made[key] = self.carrier.carry(value, f"{name[0]}:{name[1]} RID {row['RID']}")
        return made

    def _advance(self, view: CatalogClient, before: str) -> None:
        """Bring the copy from one moment of the source to the next."""
        order = self.model.order
        changed = {name: [row for page in self._pages(view, name, before) for row in page] for name in order}
        boundary = moments.read_moment(moments.timestamptz_json(codes.decode(before)), "timestamptz", zoned=True)
        new: dict[TableName, list[Row]] = {}
        old: dict[TableName, list[Row]] = {}
        for name, rows in changed.items():
            for row in rows:
                written = moments.read_moment(str(row["RCT"]), "timestamptz", zoned=True)
                (new if written > boundary else old).setdefault(name, []).append(row)
        late = [name for name in reversed(order) if not self._delete(view, name, len(new.get(name, ())))]
        for name in order:
            loose = self.model.loose(name)
            fresh = [*new.get(name, ()), *self._update(name, old.get(name, []), without=loose)]
            self._insert(name, [{**row, **dict.fromkeys(loose)} for row in fresh])
        for name in order:
            loose = self.model.loose(name)
            rows = [self._fit(name, row) for row in changed[name]] if loose else []
            if rows:
                self.target.update(*name, rows, columns=sorted(loose))
        for name in late:
            if not self._delete(view, name, 0):
                self.made.missing.append(f"deletions in {name[0]}:{name[1]} as of {view.snaptime}")

    def _update(self, name: TableName, rows: list[Row], *, without: frozenset[str]) -> list[Row]:
        """Change rows; give those that the copy does not have."""
        if not rows:
            return []
        columns = [key for key in self.model.columns(name) if key not in _SYSTEM and key not in without]
        if not columns:
            found = self.target.rows_by(*name, "RID", [row["RID"] for row in rows], columns=["RID"])
        else:
            found = self.target.update(*name, [self._fit(name, row) for row in rows], columns=columns)
        known = {row["RID"] for row in found}
        return [row for row in rows if row["RID"] not in known]

    def _delete(self, view: CatalogClient, name: TableName, coming: int) -> bool:
        """Delete what the source no longer had, if there is any; False if something still refers to it."""
        try:
            there = view.aggregate(table(*name), n=cnt("*"))["n"]
        except DerivaMLCatalogError as error:
            if error.status != 409 or not self._is_past(view):
                raise
            there = 0
        if there == self.counts[name] + coming:
            return True
        kept = set(self._rids(view, name)) if there else set()
        gone = [rid for rid in self._rids(self.target, name) if rid not in kept]
        try:
            for at in range(0, len(gone), 200):
                part = gone[at : at + 200]
                self.target.delete(table(*name).where(any_of("RID", part)))
                self.counts[name] -= len(part)
        except DerivaMLCatalogError as error:
            if error.status != 409:
                raise
            return False
        return True

    @staticmethod
    def _rids(client: CatalogClient, name: TableName) -> list[str]:
        return [str(row["RID"]) for row in client.attributes(table(*name), "RID")]

    # ------------------------------------------------------------------------------------------ the rest

    def _references(self, documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make foreign keys, all at once if the rows allow; give those that they do not allow."""
        if not documents:
            return []
        try:
            self.target.send("POST", targets.schema(), document=list(documents))
        except DerivaMLCatalogError as error:
            if error.status != 409:
                raise
            if len(documents) == 1:
                return list(documents)
            half = len(documents) // 2
            return [*self._references(documents[:half]), *self._references(documents[half:])]
        return []

    def _finish(self, past: list[str]) -> None:
        for name in self._version_tables():
            rows = self.now.attributes(table(*name), "RID", "RCT", VERSION_COLUMN)
            seen: list[Row] = [{"RID": row["RID"], VERSION_COLUMN: self.snapshots.get(_moment_of(row))} for row in rows]
            self.target.update(*name, seen, columns=(VERSION_COLUMN,))
        for where, document in self.model.policies():
            self.target.send("PUT", where, document=document)
        # What is before the first moment that is needed shows a catalog that was never so.
        first = self.snapshots[past[0] if past else str(self.now.snaptime)]
        self.target.send("DELETE", f"/history/,{first}")


class _Carrier:
    """Brings objects from one store to the other, each once."""

    def __init__(self, source: ObjectClient, target: ObjectClient, made: Copied) -> None:
        self._source = source
        self._target = target
        self._made = made
        self._known: dict[str, str] = {}

    def carry(self, url: str, where: str) -> str:
        """Bring an object; give its URL in the other store, which is the old one if there is no such object."""
        found = self._known.get(url)
        if found is None:
            found = self._known[url] = self._bring(url, where)
        return found

    def _bring(self, url: str, where: str) -> str:
        try:
            target = parse_object_target(url)
            name = object_name(*(part for part in target.name.split("/") if part))
            request = Request("HEAD", url)
            answer = check(request, self._source.transport.send(request))
        except (DerivaMLCatalogError, ValueError) as error:
            self._made.missing.append(f"{where}: {url}: {str(error).splitlines()[0]}")
            return url
        filename = answer.headers.get("content-disposition", "").partition("filename*=UTF-8''")[2]
        local = self._source.local_path(url)
        with tempfile.TemporaryDirectory(prefix="deriva-ml-copy-") as folder:
            path = local or Path(folder) / "content"
            try:
                if local is None:
                    self._source.fetch(url, path)
                stored = self._target.put(
                    name,
                    path,
                    content_type=answer.headers.get("content-type"),
                    filename=unquote(filename) or target.name.rpartition("/")[2],
                )
            except DerivaMLException as error:
                self._made.missing.append(f"{where}: {url}: {str(error).splitlines()[0]}")
                return url
            self._made.objects += 1
            self._made.size += path.stat().st_size
        return stored if target.version else stored.rpartition(":")[0]


_SYSTEM = frozenset({"RID", "RCT", "RMT", "RCB", "RMB"})


def _moment_of(row: Row) -> str:
    """The snapshot that shows a version: the recorded one, or the moment in which its row was written."""
    recorded = row.get(VERSION_COLUMN)
    if recorded:
        return str(recorded)
    return codes.encode(moments.read_moment(str(row["RCT"]), "timestamptz", zoned=True))
