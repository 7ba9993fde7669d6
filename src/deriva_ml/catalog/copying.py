"""A catalog as a whole, from one service to another, through the public protocols only.

What arrives is the source as of one moment, whatever is written there meanwhile: model, rows with their RIDs, RCT and
RCB, annotations, access lists, and the objects that rows name. RMT and RMB become those of the copy.

A dataset's version is a snapshot of the catalog, and no service accepts a past from outside. So the past is lived again
as far as versions need it: the copy is brought to each version's moment in turn, and the moment at which it was there
becomes that version's snapshot. What happened between versions is not kept; neither are tables and columns that today's
model has no place for, which are named.

A copy that is not finished carries a mark (`copy_mark`), so that nobody takes it for whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.copy_constraints import Constraints
from deriva_ml.catalog.copy_mark import mark, mark_of, unmark
from deriva_ml.catalog.copy_model import CopiedModel, TableName
from deriva_ml.catalog.copy_objects import Carrier
from deriva_ml.catalog.copy_past import Then
from deriva_ml.catalog.copy_rows import CopiedRows, copy_clients, is_conflict
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core import codes
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLConfigurationError
from deriva_ml.core.values import dataclass
from deriva_ml.wire import moments, targets
from deriva_ml.wire.model import SYSTEM_COLUMNS
from deriva_ml.wire.path import cnt, table

__all__ = ["Copied", "copy_catalog"]

VERSION_TABLE, VERSION_COLUMN = "Dataset_Version", "Snapshot"

OBJECTS = 50
"""Objects that are brought between two reports of progress."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many rows are done, and how many there are; 0 where that is not known."""


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

    def count_object(self, size: int) -> None:
        """Note that an object was brought."""
        self.objects += 1
        self.size += size


def copy_catalog(
    source: CatalogClient,
    source_objects: ObjectClient,
    target: CatalogClient,
    target_objects: ObjectClient,
    *,
    same_store: bool = False,
    origin: str | None = None,
    about: dict[str, Any] | None = None,
    progress: Progress = lambda _what, _done, _all: None,
) -> Copied:
    """Copy a catalog into a new, empty one.

    Args:
        source: The catalog.
        source_objects: Its objects.
        target: A catalog that holds nothing but the service's own tables; it is marked (`copy_mark`) until
            all is there.
        target_objects: Where its objects are to be.
        same_store: Both have the same objects, so that URLs stay as they are.
        origin: The address of the source's host, by which rows may name its objects.
        about: What the mark of the unfinished copy is to say.
        progress: Told what is going on.

    Raises:
        DerivaMLConfigurationError: The source is a copy that was not finished.
    """
    snaptime = source.snaptime or source.latest_snaptime()
    now = source if source.snaptime else source.snapshot(snaptime)
    document = now.get("/schema")
    if mark_of(document.get("annotations") or {}) is not None:
        raise DerivaMLConfigurationError(
            f"Catalog {source.catalog_id} is itself a copy that was never finished.",
            source="the catalog to be copied",
            hint="finish it first: repeat the deriva-ml-catalog copy or clone that made it",
        )
    mark(target, {"catalog": source.catalog_id, "snaptime": snaptime, **(about or {})})
    made = Copied(target.catalog_id, snaptime)
    carrier = None
    if not same_store:
        notes = (made.count_object, made.missing.append)
        carrier = Carrier(source_objects, target_objects, *notes, origin=origin)
    _Copy(now, target, document, carrier, made, progress).run()
    return made


class _Copy:
    def __init__(
        self,
        now: CatalogClient,
        target: CatalogClient,
        document: dict[str, Any],
        carrier: Carrier | None,
        made: Copied,
        progress: Progress,
    ) -> None:
        self.now = now
        self.target = target
        self.model = CopiedModel(document)
        self.carrier = carrier
        self.made = made
        self.progress = progress
        self.today = Then(self.model, document)
        self.total = 0
        self.written = 0
        self.rows = CopiedRows(target, self.model, self._fit, self._wrote, self._objects)
        self.snapshots: dict[str, str] = {}
        self.constraints = Constraints(target, self.model)
        self.lost: set[str] = set()
        made.tables = len(self.model.tables)

    def run(self) -> None:
        past = self._moments()
        (first, then), *later = [*past, (str(self.now.snaptime), self.today)]
        loosened = self._loosened([then for _, then in past])
        self._tell("model")
        self.target.create_tables(self.model.creation(then.keys, loosened))
        self.constraints.standing = {key: "" for key, _, _ in self.model.unique_keys() if key in then.keys}
        copy_clients(self.now, self.target)
        self.total = sum(self._count(name) for name in self.model.tables)
        view = self._view(first)
        self._lost(view, then)
        self.rows.fill(view, then)
        self._constrain(then)
        self._reached(first)
        before, earlier = first, then
        for moment, then in later:
            view = self._view(moment)
            self._lost(view, then)
            self._advance(view, then, before, earlier)
            self._reached(moment)
            before, earlier = moment, then
        self._finish(first, loosened)

    def _count(self, name: TableName) -> int:
        return int(str(self.now.aggregate(table(*name), n=cnt("*"))["n"]))

    def _view(self, moment: str) -> CatalogClient:
        return self.now.snapshot(moment)

    def _reached(self, moment: str) -> None:
        self.snapshots[moment] = self.target.latest_snaptime()

    def _wrote(self, name: TableName, count: int) -> None:
        self.written += count
        self._tell(f"{name[0]}:{name[1]}")

    def _tell(self, what: str) -> None:
        self.progress(what, self.written, max(self.total, self.written))

    # ------------------------------------------------------------------------------------------ versions

    def _version_tables(self) -> list[TableName]:
        return [
            name
            for name in self.model.tables
            if name[1] == VERSION_TABLE and VERSION_COLUMN in self.model.columns(name)
        ]

    def _moments(self) -> list[tuple[str, Then]]:
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
                known.append((moment, Then(self.model, self._view(moment).get("/schema"))))
            except DerivaMLCatalogError as error:
                if error.status != 409:
                    raise
                self.made.missing.append(f"the past at {moment}, which the source has forgotten")
        self.made.versions = len(known)
        return known

    def _loosened(self, past: list[Then]) -> set[tuple[TableName, str]]:
        """Columns that must not be null today and may have been, or were not there."""
        return {
            (name, column["name"])
            for name, doc in self.model.tables.items()
            for column in doc["column_definitions"]
            if not column["nullok"] and column["name"] not in SYSTEM_COLUMNS
            if any(column["name"] in then.nullable(name) for then in past)
        }

    def _lost(self, view: CatalogClient, then: Then) -> None:
        """Note what a moment had and the model of today has no place for, once each, if anything was in it."""
        for name, column in then.gone:
            what = f"{name[0]}:{name[1]}" + (f" column {column}" if column else "")
            if what in self.lost:
                continue
            held = view.aggregate(table(*name), n=cnt(column or "*"))["n"]
            if held:
                self.lost.add(what)
                self.made.missing.append(
                    f"{what} as of {view.snaptime}, with {held} {'values' if column else 'rows'}: it was removed or "
                    "changed since, and versions of datasets are shown in the model of now"
                )

    # ------------------------------------------------------------------------------------------ rows

    def _fit(self, name: TableName, row: Row) -> Row:
        """A row without what the copy's service says itself, and with its URLs and snapshots as they are there."""
        made: Row = {key: value for key, value in row.items() if key not in ("RMT", "RMB")}
        if name[1] == VERSION_TABLE and VERSION_COLUMN in made:
            made[VERSION_COLUMN] = self.snapshots.get(_moment_of(row))
        if self.carrier is not None:
            for key, value in made.items():
                if self.carrier.is_object(value):
                    made[key] = self.carrier.carry(str(value))
        return made

    def _objects(self, name: TableName, rows: list[Row]) -> None:
        """Bring the objects that rows name."""
        if self.carrier is None:
            return
        is_object = self.carrier.is_object
        said = f"{name[0]}:{name[1]}"
        wanted = [
            (str(value), f"{said} RID {row['RID']}") for row in rows for value in row.values() if is_object(value)
        ]
        for at in range(0, len(wanted), OBJECTS):
            self.carrier.bring(wanted[at : at + OBJECTS])
            self._tell(f"{said}, {self.made.objects} objects")

    def _advance(self, view: CatalogClient, then: Then, before: str, earlier: Then) -> None:
        """Bring the rows to the next moment; without keys and references, if they stand in the way."""
        try:
            self.rows.advance(view, then, before, earlier)
        except DerivaMLCatalogError as error:
            if not is_conflict(error):
                raise
            self.constraints.free()
            self.rows.advance(view, then, before, earlier, is_free=True)
        self._constrain(then)

    # ------------------------------------------------------------------------------------------ keys, references

    def _constrain(self, then: Then) -> None:
        """Make the keys and references that there were then, as far as the rows allow."""
        standing = self.constraints.standing
        for key, name, document in self.model.unique_keys():
            if key in then.keys and key not in standing:
                said = f"key {document['unique_columns']} of {_said(name)}"
                self.constraints.make(key, targets.key(*name), document, said)
        wanted = [
            (reference, document)
            for reference, _, document in self.model.references()
            if reference in then.references and reference not in standing
        ]
        self.constraints.make_references(wanted)
        self.constraints.make_bindings()

    # ------------------------------------------------------------------------------------------ the rest

    def _finish(self, first: str, loosened: set[tuple[TableName, str]]) -> None:
        self._tell("versions and access rules")
        self.made.rows = self.total
        for name in self._version_tables():
            rows = self.now.attributes(table(*name), "RID", "RCT", VERSION_COLUMN)
            seen: list[Row] = [{"RID": row["RID"], VERSION_COLUMN: self.snapshots.get(_moment_of(row))} for row in rows]
            self.target.update(*name, seen, columns=(VERSION_COLUMN,))
        for name, column in sorted(loosened):
            self.target.alter({"nullok": False}, *name, column)
        self.constraints.finish()
        self.made.missing += self.constraints.refused.values()
        self.constraints.begin_history(self.snapshots[first])
        unmark(self.target)


def _said(name: TableName) -> str:
    return f"{name[0]}:{name[1]}"


def _moment_of(row: Row) -> str:
    """The snapshot that shows a version: the recorded one, or the moment in which its row was written."""
    recorded = row.get(VERSION_COLUMN)
    if recorded:
        return str(recorded)
    return codes.encode(moments.read_moment(str(row["RCT"]), "timestamptz", zoned=True))
