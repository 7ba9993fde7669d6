"""Files of assets that are on another server: into the catalog's own store, with the rows' URLs rewritten.

1. A row's URL is rewritten after its object has arrived and has the MD5 and the length that the row says; what did not
   arrive keeps its URL.
2. Some assets are done at a time: their objects in parallel, then their rows in one request. What broke off is taken up
   by calling it again: what is here already is not fetched again, and what is local already is left alone.
3. An object's name here holds the row's RID, so that two rows never share a URL.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from deriva_ml.asset.upload_rows import object_name
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copy_objects import AT_A_TIME, MOUNT
from deriva_ml.catalog.objects import ObjectClient, is_same
from deriva_ml.catalog.service import service_info
from deriva_ml.catalog.transport import stored_credential, tuned
from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLRidsNotFound,
    DerivaMLTableNotFound,
    DerivaMLTableTypeError,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.core.files import Digests, hash_file, nearest
from deriva_ml.core.values import dataclass
from deriva_ml.schema.handles import client_of
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.hatrac import parse_object_target
from deriva_ml.wire.model import Table

__all__ = ["LocalizeResult", "Localized", "localize_assets"]

BATCH = 50
"""Assets whose rows are rewritten in one request."""

FOLDER = "deriva-ml:"
"""Begins the URL of an object in a catalog folder: ``deriva-ml:<folder>/hatrac/...``."""


@dataclass(frozen=True)
class Localized:
    """An asset whose object is here now.

    Attributes:
        rid: The asset.
        before: The URL that its row had.
        after: The URL that it has; None where nothing was to be written.
        size: Bytes of the object.
    """

    rid: str
    before: str
    after: str | None
    size: int


@dataclass
class LocalizeResult:
    """What became of each asset.

    Attributes:
        localized: Those that are here now; of a dry run those that would be.
        skipped: RIDs of those that were here before.
        failed: RIDs of those whose object did not arrive, and why.
        dry_run: Nothing was written.
    """

    localized: list[Localized] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def size(self) -> int:
        """Bytes of the objects that are here now."""
        return sum(one.size for one in self.localized)

    @property
    def is_complete(self) -> bool:
        """No object is lacking."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {**asdict(self), "size": self.size, "is_complete": self.is_complete}


@dataclass(frozen=True)
class _Wanted:
    """An asset, and where its object is: the place as a host is named, None where no row or user says."""

    rid: str
    url: str
    place: str | None
    path: str
    md5: str
    length: int
    filename: str


def localize_assets(
    catalog: HasSession | Session | CatalogClient | Any,
    asset_table: str | Table,
    asset_rids: Iterable[str],
    schema_name: str | None = None,
    hatrac_namespace: str | None = None,
    chunk_size: int | None = None,
    dry_run: bool = False,
    source_hostname: str | None = None,
) -> LocalizeResult:
    """Copy the files of assets from another server, or another folder, into the catalog's own store.

    Args:
        catalog: The catalog: a ``DerivaML``, its session, a client of ours or an ``ErmrestCatalog``.
        asset_table: The table of the assets: ``Table``, ``schema:Table``, or the table itself.
        asset_rids: The assets.
        schema_name: The table's schema, where several have a table of that name.
        hatrac_namespace: Where the objects are to be; by default in a namespace called as the table.
        chunk_size: Send files longer than this in chunks of so many bytes; by default the connection decides.
        dry_run: Say what would be copied, and write nothing.
        source_hostname: Where the files are, in whatever way the rows name them: a path, a host name or a URL. Needed
            where URLs name no host, or a host that asks for ``DERIVA_ML_TOKEN``: that is shown to no host which rows
            alone name.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: It is no table of assets.
        DerivaMLRidsNotFound: It has no such assets.
        DerivaMLUnreachable: A service went away; what is done stays done, and the call can be repeated.
    """
    with _opened(catalog) as (client, objects):
        table = _table(client, asset_table, schema_name)
        asked = list(dict.fromkeys(asset_rids))
        rows = client.rows_by(*table.qualified, "RID", asked)
        missing = sorted(set(asked) - {str(row["RID"]) for row in rows})
        if missing:
            raise DerivaMLRidsNotFound(missing, source=f"asset_rids, in {table.schema}:{table.name}")
        result = LocalizeResult(dry_run=dry_run)
        wanted = list(_wanted(rows, source_hostname, result))
        store = objects if chunk_size is None else ObjectClient(tuned(objects.transport, body_limit=chunk_size))
        here = _Here(client, store, table, hatrac_namespace, dry_run=dry_run, result=result)
        for place in dict.fromkeys(one.place for one in wanted):
            here.bring(place, source_hostname, [one for one in wanted if one.place == place])
        return result


@contextmanager
def _opened(catalog: Any) -> Iterator[tuple[CatalogClient, ObjectClient]]:
    if isinstance(catalog, HasSession | Session):
        session = session_of(catalog)
        session.require_writable()
        yield session.catalog, session.objects
    else:
        with client_of(catalog) as client:
            yield client, ObjectClient(client.transport)


def _table(client: CatalogClient, named: str | Table, schema_name: str | None) -> Table:
    if isinstance(named, str):
        schema, colon, name = named.rpartition(":")
        model = client.model()
        found = [
            one for one in model.tables_named(name) if one.schema == (schema if colon else schema_name or one.schema)
        ]
        if not found:
            raise DerivaMLTableNotFound(named, allowed=nearest(name, (one.name for one in model.tables())))
        if len(found) > 1:
            raise DerivaMLDataError(
                f"Several schemas have a table {name}.",
                source="asset_table",
                allowed=[f"{one.schema}:{one.name}" for one in found],
                hint="name one of them, or schema_name",
            )
        named = found[0]
    if not named.is_asset:
        raise DerivaMLTableTypeError("asset", f"{named.schema}:{named.name}")
    return named


def _wanted(rows: Sequence[dict[str, Any]], source: str | None, result: LocalizeResult) -> Iterator[_Wanted]:
    """The assets with what must be known of them; those of which it is not are noted."""
    for row in rows:
        rid, url = str(row["RID"]), str(row.get("URL") or "")
        split = _split(url)
        if split is None:
            result.failed[rid] = f"{url!r} is not the URL of an object in a catalog's store"
        elif not row.get("MD5") or row.get("Length") is None:
            result.failed[rid] = "its row does not say the MD5 and the length, by which its file could be verified"
        else:
            place, path = split
            filename = str(row.get("Filename") or unquote(parse_object_target(path).name.rpartition("/")[2]))
            # What the user says goes before what a row says.
            yield _Wanted(rid, url, source or place, path, str(row["MD5"]), int(row["Length"]), filename)


def _split(url: str) -> tuple[str | None, str] | None:
    """Where an object is, and its URL there: no place for a URL of the catalog's own form."""
    before, mount, name = url.partition(MOUNT)
    if not mount or not name:
        return None
    path = MOUNT + name
    try:
        parse_object_target(path)
    except ValueError:
        return None
    if before in ("", FOLDER):
        return None, path
    if before.startswith(FOLDER):
        return unquote(before.removeprefix(FOLDER)), path
    parts = urlsplit(before)
    return (before, path) if parts.scheme in ("http", "https") and parts.netloc and not parts.path else None


class _Here:
    """The catalog whose store the objects come to."""

    def __init__(
        self,
        client: CatalogClient,
        objects: ObjectClient,
        table: Table,
        namespace: str | None,
        *,
        dry_run: bool,
        result: LocalizeResult,
    ) -> None:
        self._client = client
        self._objects = objects
        self._table = table
        self._namespace = namespace
        self._dry_run = dry_run
        self._result = result

    def bring(self, place: str | None, named: str | None, wanted: Sequence[_Wanted]) -> None:
        """Bring the objects of one place, and rewrite the rows."""
        wanted = self._leave_local(wanted)
        if not wanted:
            return
        if place is None:
            said = "it is not in this catalog's store, and its URL names no other: name source_hostname"
            self._result.failed.update({one.rid: said for one in wanted})
            return
        try:
            source = _open(place, named)
        except DerivaMLException as error:
            self._result.failed.update({one.rid: str(error) for one in wanted})
            return
        with source:
            is_here = source.identity == service_info(self._client.transport).get("identity", "")
            move = self._rename if is_here else lambda one: self._carry(source.objects(), one)
            for at in range(0, len(wanted), BATCH):
                self._batch(wanted[at : at + BATCH], move, source.objects())

    def _leave_local(self, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        """Leave out what has a URL of this catalog's store, and is in it."""
        plain = [one for one in wanted if one.url == one.path]
        there = dict(zip(plain, self._each(self._is_here, plain, self._objects), strict=True))
        self._result.skipped += [one.rid for one in plain if there[one]]
        return [one for one in wanted if not there.get(one)]

    def _is_here(self, one: _Wanted, url: str | None = None) -> bool:
        head = self._objects.find(url or one.path)
        return head is not None and is_same(head, Digests(one.md5, head.sha256 or "", one.length))

    def _batch(self, wanted: Sequence[_Wanted], move: Callable[[_Wanted], str], source: ObjectClient) -> None:
        if self._dry_run:
            self._result.localized += [Localized(one.rid, one.url, None, one.length) for one in wanted]
            return
        moved: list[tuple[_Wanted, str]] = []
        for one, outcome in zip(wanted, self._each(lambda one: _tried(move, one), wanted, source), strict=True):
            if isinstance(outcome, DerivaMLException):
                self._result.failed[one.rid] = str(outcome)
            else:
                moved.append((one, outcome))
        changed = [{"RID": one.rid, "URL": url} for one, url in moved if url != one.url]
        self._client.update(*self._table.qualified, changed, columns=("URL",))
        self._result.localized += [Localized(one.rid, one.url, url, one.length) for one, url in moved]

    def _each(self, do: Callable[[_Wanted], Any], wanted: Sequence[_Wanted], other: ObjectClient) -> list[Any]:
        """Do something for each asset; several at a time where a network is between."""
        is_distant = any(one.transport.body_limit is not None for one in (self._objects, other))
        if not is_distant or len(wanted) < 2:
            return [do(one) for one in wanted]
        with ThreadPoolExecutor(AT_A_TIME, "deriva-ml-localize") as pool:
            try:
                return list(pool.map(do, wanted))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _rename(self, one: _Wanted) -> str:
        """The object is in this store already, under a URL that names it from elsewhere."""
        if not self._is_here(one):
            raise DerivaMLDataError("its object is not in the store, or is not what its row says", source=one.url)
        return one.path

    def _carry(self, source: ObjectClient, one: _Wanted) -> str:
        """Bring an object; its URL here."""
        name = self._name(one)
        head = self._objects.find(name)
        if head is not None and is_same(head, Digests(one.md5, head.sha256 or "", one.length)):
            return head.url  # it came before, and the row was not written
        local = source.local_path(one.path)
        with tempfile.TemporaryDirectory(prefix="deriva-ml-localize-") as folder:
            path = local or Path(folder) / "content"
            if local is None:
                digests = source.fetch(one.path, path, md5=one.md5, length=one.length, durable=False)
            else:
                digests = hash_file(path)
                if (digests.md5, digests.length) != (one.md5, one.length):
                    raise DerivaMLValidationError(
                        f"its content has MD5 {digests.md5} and length {digests.length}, and its row says {one.md5} "
                        f"and {one.length}",
                        source=one.url,
                    )
            return self._objects.put(name, path, digests=digests, filename=one.filename)

    def _name(self, one: _Wanted) -> str:
        if self._namespace is None:
            return object_name(self._table.name, one.md5, one.filename, one.rid)
        base = MOUNT + self._namespace.removeprefix(MOUNT).strip("/")
        return f"{base}/{one.md5}.{one.rid}.{quote(os.fsencode(one.filename), safe='')}"


def _tried(move: Callable[[_Wanted], str], one: _Wanted) -> str | DerivaMLException:
    try:
        return move(one)
    except DerivaMLUnreachable:
        raise
    except DerivaMLException as error:
        return error


def _open(place: str, named: str | None) -> Connection:
    """The way to where objects are; a host that only rows name is shown nothing that was not made for it."""
    if named is not None or not place.startswith(("http://", "https://")):
        return open_connection(place)
    return open_connection(place, credential=stored_credential(place) or {})
