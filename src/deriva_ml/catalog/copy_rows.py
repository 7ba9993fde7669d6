"""The rows of a catalog that is copied: from how it was at one moment to how it was at the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.copy_model import CopiedModel, TableName
from deriva_ml.catalog.copy_past import Then
from deriva_ml.core import codes
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.wire import moments
from deriva_ml.wire.model import SYSTEM_COLUMNS
from deriva_ml.wire.path import Path, any_of, cnt, gt, table

__all__ = ["CopiedRows", "copy_clients", "is_conflict"]

PAGE = 5000
"""Rows that are read and written at a time."""

KEPT = ("RID", "RCT", "RCB")
"""What rows keep of what the service would give them."""


def is_conflict(error: DerivaMLCatalogError) -> bool:
    """Whether rows were refused for what the model demands of them."""
    return error.status == 409


def copy_clients(source: CatalogClient, target: CatalogClient) -> None:
    """Bring who wrote the rows, known to both services by the same ids, as far as the user may know them."""
    known = source.model()
    for name in ("ERMrest_Client", "ERMrest_Group"):
        if known.table("public", name) is None:
            continue  # not for this user to see
        rows = source.rows(table("public", name))
        plain = [{key: value for key, value in row.items() if key not in SYSTEM_COLUMNS} for row in rows]
        if plain:
            target.insert("public", name, plain, on_conflict_skip=True)


class CopiedRows:
    """Brings the rows of the copy to one moment of the source after the other.

    Args:
        target: The copy.
        model: Its model.
        fit: Makes a row fit the copy's table.
        wrote: Told of rows that were written: the table, and how many.
        ahead: Told the rows of each page before they are made to fit.
    """

    def __init__(
        self,
        target: CatalogClient,
        model: CopiedModel,
        fit: Callable[[TableName, Row], Row],
        wrote: Callable[[TableName, int], None],
        ahead: Callable[[TableName, list[Row]], None],
    ) -> None:
        self._target = target
        self._model = model
        self._fit = fit
        self._wrote = wrote
        self._ahead = ahead

    def fill(self, view: CatalogClient, then: Then) -> None:
        """Bring all rows of a moment into empty tables, while no reference is there that they could break."""
        for name in self._model.tables:
            for page in self._pages(view, then, name):
                self.insert(name, page)

    def advance(self, view: CatalogClient, then: Then, before: str, earlier: Then, *, is_free: bool = False) -> None:
        """Bring the rows from one moment to the next.

        Args:
            view: The source at the next moment.
            then: Its model.
            before: The moment at which the rows are.
            earlier: The model of that.
            is_free: No key and no reference stands in the way, and rows may be there already: an attempt to do it
                while they stood was refused.

        Raises:
            DerivaMLCatalogError: A key or a reference stands in the way of the order in which it is done here.
        """
        since = {
            name: before if then.form(name) == earlier.form(name) else None
            for name in self._model.order
            if name in then.tables
        }
        counts = {name: self._count(view, then, name) for name in self._model.tables}
        for name in reversed(self._model.order):
            self._delete(view, then, name, counts[name], self._coming(view, then, name, before))
        for name, start in since.items():
            loose = frozenset() if is_free else self._model.loose(name)
            for page in self._pages(view, then, name, start):
                self._bring(name, page, before, loose, is_free=is_free)
        for name, start in since.items():
            loose = frozenset() if is_free else self._model.loose(name)
            if loose:
                for page in self._pages(view, then, name, start):
                    self._target.update(*name, [self._fit(name, row) for row in page], columns=sorted(loose))
        for name in reversed(self._model.order):
            # A deletion that had to wait for others, or that as many new rows concealed.
            self._delete(view, then, name, counts[name], 0, must=True)

    # ------------------------------------------------------------------------------------------ reading

    def _pages(self, view: CatalogClient, then: Then, name: TableName, since: str | None = None) -> Iterator[list[Row]]:
        """The rows of a table that the source had then, or those that changed since a moment, in today's columns."""
        if name not in then.tables:
            return
        path = table(*then.tables[name])
        if since is not None:
            path = path.where(_later("RMT", since))
        path = path.sorted("RID").limited(PAGE)
        page = view.rows(path)
        while page:
            rows = [then.row(name, row) for row in page]
            self._ahead(name, rows)
            yield rows
            page = view.rows(path.after(str(page[-1]["RID"]))) if len(page) == PAGE else []

    @staticmethod
    def _count(view: CatalogClient, then: Then, name: TableName) -> int:
        return _number(view, table(*then.tables[name])) if name in then.tables else 0

    @staticmethod
    def _coming(view: CatalogClient, then: Then, name: TableName, before: str) -> int:
        """How many rows were made since; not counted are those that were given an earlier time."""
        if name not in then.tables:
            return 0
        return _number(view, table(*then.tables[name]).where(_later("RMT", before), _later("RCT", before)))

    # ------------------------------------------------------------------------------------------ writing

    def _bring(self, name: TableName, page: list[Row], before: str, loose: frozenset[str], *, is_free: bool) -> None:
        boundary = _time(moments.timestamptz_json(codes.decode(before)))
        new: list[Row] = []
        old: list[Row] = []
        for row in page:
            (new if not is_free and _time(str(row["RCT"])) > boundary else old).append(row)
        fresh = [*new, *self._update(name, old, loose)]
        self.insert(name, [{**row, **dict.fromkeys(loose)} for row in fresh])

    def insert(self, name: TableName, rows: list[Row]) -> None:
        """Write rows with all of their columns; those that are not given are null."""
        if rows:
            self._target.insert(*name, [self._whole(name, row) for row in rows], nondefaults=KEPT)
            self._wrote(name, len(rows))

    def _whole(self, name: TableName, row: Row) -> Row:
        """A row with all columns, so that none takes a default."""
        return {**dict.fromkeys(self._columns(name)), **self._fit(name, row)}

    def _columns(self, name: TableName) -> list[str]:
        return [column for column in self._model.columns(name) if column not in SYSTEM_COLUMNS]

    def _update(self, name: TableName, rows: list[Row], loose: frozenset[str]) -> list[Row]:
        """Change rows; give those that the copy does not have."""
        if not rows:
            return []
        columns = [column for column in self._columns(name) if column not in loose]
        if not columns:
            found = self._target.rows_by(*name, "RID", [row["RID"] for row in rows], columns=["RID"])
        else:
            found = self._target.update(*name, [self._fit(name, row) for row in rows], columns=columns)
            self._wrote(name, len(found))
        known = {row["RID"] for row in found}
        return [row for row in rows if row["RID"] not in known]

    def _delete(
        self, view: CatalogClient, then: Then, name: TableName, there: int, coming: int, *, must: bool = False
    ) -> None:
        """Delete what the source no longer had, if there is any.

        Args:
            view: The source.
            then: Its model.
            name: The table.
            there: How many rows the source had.
            coming: How many of them are still to be brought.
            must: It is an error if something still refers to them.
        """
        if _number(self._target, table(*name)) + coming == there:
            return
        kept = set(_rids(view, then.tables[name])) if there else set()
        gone = [rid for rid in _rids(self._target, name) if rid not in kept]
        try:
            for at in range(0, len(gone), 200):
                self._target.delete(table(*name).where(any_of("RID", gone[at : at + 200])))
        except DerivaMLCatalogError as error:
            if must or not is_conflict(error):
                raise


def _number(client: CatalogClient, path: Path) -> int:
    return int(str(client.aggregate(path, n=cnt("*"))["n"]))


def _rids(client: CatalogClient, name: TableName) -> list[str]:
    return [str(row["RID"]) for row in client.attributes(table(*name), "RID")]


def _later(column: str, moment: str) -> Any:
    return gt(column, moments.timestamptz_json(codes.decode(moment)))


def _time(text: str) -> Any:
    return moments.read_moment(text, "timestamptz", zoned=True)
