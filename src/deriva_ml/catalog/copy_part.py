"""A part of a catalog into a new one, in three stages: tables without references; rows; references.

What the part is was decided before (`Part`): nothing that it holds refers to anything outside, so that references can
be made when all rows are there. A row that the copy's service refuses changes that; who decided is asked what follows.

Rows keep their RID, RCT and RCB. The copy carries the mark of an unfinished copy (`copy_mark`) until its maker takes it
off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from threading import Lock
from typing import Any

from deriva_ml.catalog.batches import batches
from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.copy_constraints import Constraints
from deriva_ml.catalog.copy_model import CopiedModel, Doc, TableName
from deriva_ml.catalog.copy_objects import Carrier
from deriva_ml.catalog.copy_rows import CopiedRows, copy_clients
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.core.values import dataclass
from deriva_ml.wire.path import any_of, table

__all__ = ["Changes", "Part", "Report", "copy_part"]

INDEXED_BYTES = 2600
"""PostgreSQL's indexes refuse values that are a little longer; a value that is cut is cut to this."""

OBJECTS = 50
"""Objects that are brought between two reports of progress."""

RIDS = 200
"""Rows that are named in one request."""


@dataclass(frozen=True)
class Changes:
    """What is to be done to rows so that no reference leads nowhere.

    Attributes:
        deleted: RIDs of rows that do not come along, by table.
        nulled: RIDs of rows whose column becomes null, by table and column.
    """

    deleted: Mapping[TableName, Collection[str]] = field(default_factory=dict)
    nulled: Mapping[TableName, Mapping[str, Collection[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of a catalog.

    Attributes:
        document: Its model, as ``/schema`` has it.
        counts: How many rows each table has.
        rows: The rows of a table, some at a time.
        nulled: RIDs of rows whose column becomes null, by table and column.
        settle: Says what follows from rows that did not arrive.
    """

    document: Doc
    counts: Mapping[TableName, int]
    rows: Callable[[TableName], Iterator[list[Row]]]
    nulled: Mapping[TableName, Mapping[str, Collection[str]]]
    settle: Callable[[Mapping[TableName, Collection[str]]], Changes]


@dataclass
class Report:
    """What did not come along as it was.

    Attributes:
        skipped: Rows that were refused, in words.
        truncated: Values that were cut, in words.
        missing: References and rules that could not be made, in words.
    """

    skipped: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def copy_part(
    source: CatalogClient,
    target: CatalogClient,
    part: Part,
    *,
    carrier: Carrier | None = None,
    refer: str | None = None,
    truncate: bool = False,
    concurrency: int = 1,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
) -> Report:
    """Copy a part of a catalog into an empty one.

    Args:
        source: The catalog as of a moment.
        target: A catalog that holds nothing but the service's own tables, marked as unfinished.
        part: What to copy.
        carrier: Brings the objects that rows name; without it they are not brought.
        refer: What is put before the URLs of objects that are not brought, so that they can be found from elsewhere.
        truncate: Cut long values of rows that the copy's service refuses.
        concurrency: How many tables are copied at a time.
        progress: Told what is going on.
    """
    model = CopiedModel(part.document)
    progress("model", 0, 0)
    target.create_tables(model.creation({key for key, _, _ in model.unique_keys()}, ()))
    copy_clients(source, target)
    rows = _Rows(target, model, part, carrier, refer, truncate=truncate, progress=progress)
    rows.copy(concurrency)
    if rows.lost:
        _change(target, part.settle(rows.lost))
    progress("references", rows.written, rows.written)
    constraints = Constraints(target, model)
    constraints.make_references([(identity, document) for identity, _, document in model.references()])
    constraints.make_bindings()
    constraints.finish()
    constraints.begin_history(target.latest_snaptime())
    rows.report.missing += constraints.refused.values()
    return rows.report


def _change(target: CatalogClient, changes: Changes) -> None:
    """Do to rows that are there already what follows from others that are not."""
    for name, columns in changes.nulled.items():
        for column, rids in columns.items():
            target.update(*name, [{"RID": rid, column: None} for rid in sorted(rids)], columns=(column,))
    for name, rids in changes.deleted.items():
        gone = sorted(rids)
        for at in range(0, len(gone), RIDS):
            target.delete(table(*name).where(any_of("RID", gone[at : at + RIDS])))


class _Rows:
    """Brings the rows, table by table; there are no references yet, so in any order."""

    def __init__(
        self,
        target: CatalogClient,
        model: CopiedModel,
        part: Part,
        carrier: Carrier | None,
        refer: str | None,
        *,
        truncate: bool,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._model = model
        self._part = part
        self._carrier = carrier
        self._refer = refer
        self._truncate = truncate
        self._progress = progress
        self._total = sum(part.counts.values())
        self._writer = CopiedRows(target, model, self._fit, self._wrote, lambda _name, _rows: None)
        self._one = Lock()
        self.written = 0
        self.lost: dict[TableName, set[str]] = {}
        self.report = Report()

    def copy(self, concurrency: int) -> None:
        filled = [name for name, count in self._part.counts.items() if count]
        if concurrency <= 1 or len(filled) < 2:
            for name in filled:
                self._table(name)
            return
        with ThreadPoolExecutor(min(concurrency, len(filled)), "copy-tables") as pool:
            try:
                for _done in pool.map(self._table, filled):
                    """Errors are raised here."""
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _table(self, name: TableName) -> None:
        for rows in self._part.rows(name):
            self._objects(name, rows)
            for batch in batches(rows):
                self._insert(name, [dict(row) for row in batch])

    def _insert(self, name: TableName, rows: list[Row]) -> None:
        """Write rows; of those that are refused each is tried by itself."""
        try:
            self._writer.insert(name, rows)
        except DerivaMLCatalogError as error:
            if not _is_refused(error):
                raise
            if len(rows) > 1:
                half = len(rows) // 2
                self._insert(name, rows[:half])
                self._insert(name, rows[half:])
            else:
                self._refused(name, rows[0], error)

    def _refused(self, name: TableName, row: Row, error: DerivaMLCatalogError) -> None:
        said = f"{name[0]}:{name[1]} RID {row['RID']}"
        cut = {key: value for key, value in row.items() if _is_long(value)} if self._truncate else {}
        if cut:
            try:
                self._writer.insert(name, [{**row, **{key: _cut(str(value)) for key, value in cut.items()}}])
            except DerivaMLCatalogError as again:
                if not _is_refused(again):
                    raise
            else:
                self.report.truncated += [f"{said} {key}: {len(str(value))} characters" for key, value in cut.items()]
                return
        with self._one:
            self.lost.setdefault(name, set()).add(str(row["RID"]))
            self.report.skipped.append(f"{said}: {error.detail.strip().splitlines()[0]}")

    def _fit(self, name: TableName, row: Row) -> Row:
        """A row without what the copy's service says itself, and with its URLs as they are there."""
        made: Row = {key: value for key, value in row.items() if key not in ("RMT", "RMB")}
        for column, rids in self._part.nulled.get(name, {}).items():
            if row["RID"] in rids:
                made[column] = None
        for key, value in made.items():
            if self._carrier is not None and self._carrier.is_object(value):
                made[key] = self._carrier.carry(str(value))
            elif self._refer is not None and isinstance(value, str) and value.startswith("/hatrac/"):
                made[key] = self._refer + value
        return made

    def _objects(self, name: TableName, rows: list[Row]) -> None:
        """Bring the objects that rows name; of several tables one after the other, each several at a time."""
        if self._carrier is None:
            return
        said = f"{name[0]}:{name[1]}"
        wanted = [
            (str(value), f"{said} RID {row['RID']}")
            for row in rows
            for value in row.values()
            if self._carrier.is_object(value)
        ]
        with self._one:
            for at in range(0, len(wanted), OBJECTS):
                self._carrier.bring(wanted[at : at + OBJECTS])
                self._progress(f"{said}, objects", self.written, self._total)

    def _wrote(self, name: TableName, count: int) -> None:
        with self._one:
            self.written += count
            self._progress(f"{name[0]}:{name[1]}", self.written, self._total)


def _is_refused(error: DerivaMLCatalogError) -> bool:
    """Whether a service refused what rows hold, rather than the request."""
    return error.status in (400, 409, 413) or "index row size" in error.detail


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value.encode()) > INDEXED_BYTES


def _cut(text: str) -> str:
    return text.encode()[:INDEXED_BYTES].decode(errors="ignore")
