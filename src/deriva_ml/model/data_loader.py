"""Rows of a bag or of a catalog into a mapped database: in parts, in the order of the references, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLException, DerivaMLValidationError
from deriva_ml.core.files import nearest
from deriva_ml.model.data_sources import DataSource
from deriva_ml.model.foreign_keys import ForeignKeyOrderer
from deriva_ml.model.schema_orm import SchemaORM

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["DataLoader"]

LoadProgress = Callable[[str, int], object]
"""Is told the name of a table, and how many of its rows have been read."""

_CONFLICTS = ("ignore", "replace", "error")


class DataLoader:
    """Loads rows into mapped tables.

    Args:
        orm: The tables.
        source: Where the rows come from.
    """

    def __init__(self, orm: SchemaORM, source: DataSource) -> None:
        self.orm = orm
        self.source = source

    def load_tables(
        self,
        tables: Iterable[Any] | None = None,
        on_conflict: str = "ignore",
        batch_size: int = 1000,
        progress_callback: LoadProgress | None = None,
    ) -> dict[str, int]:
        """Load tables, each after those that it refers to.

        Args:
            tables: These tables; by default all that the source has.
            on_conflict: What is done with a row whose RID is there already: ``ignore`` leaves the one that is there,
                ``replace`` overwrites it, ``error`` refuses. A row that another key forbids is always an error.
            batch_size: How many rows are in memory at a time.
            progress_callback: Is told after each part.

        Returns:
            How many rows were added to each table, or overwritten in it.

        Raises:
            DerivaMLTableNotFound: There is no such table.
            DerivaMLDataError: Rows cannot be read or stored. The database is then as it was before.
        """
        if on_conflict not in _CONFLICTS:
            raise DerivaMLValidationError(f"Not a way to meet a conflict: {on_conflict!r}.", allowed=_CONFLICTS)
        if batch_size < 1:
            raise DerivaMLValidationError(f"Not a size of a part: {batch_size}.", hint="give 1 or more")
        wanted = self.orm.tables if tables is None else [self.orm.find(table) for table in tables]
        orderer = ForeignKeyOrderer(self.orm.model, {table.schema for table in self.orm.tables})
        loaded: dict[str, int] = {}
        with self.orm.engine.begin() as connection:
            for table in orderer.get_insertion_order(wanted):
                if tables is None and not self.source.has_table(table):
                    continue
                load = _Load(connection, self.orm.get_table(table), self.orm.label(table), on_conflict)
                loaded[load.label] = load.rows(self.source.get_table_data(table), batch_size, progress_callback)
        return loaded


class _Load:
    """One table on its way into the database."""

    def __init__(self, connection: sa.Connection, table: sa.Table, label: str, on_conflict: str) -> None:
        self.label = label
        self._connection = connection
        self._table = table
        self._statement = _insertion(table, on_conflict)

    def rows(self, rows: Iterable[Mapping[str, Any]], batch_size: int, progress: LoadProgress | None) -> int:
        """Store rows; how many were not there, or were other."""
        stored = read = 0
        for part in _parts(rows, batch_size):
            stored += self._store(part)
            read += len(part)
            if progress is not None:
                progress(self.label, read)
        return stored

    def _store(self, part: list[Mapping[str, Any]]) -> int:
        from sqlalchemy.exc import DBAPIError, StatementError

        names = self._table.columns.keys()
        if unknown := {name for row in part for name in row} - set(names):
            raise DerivaMLDataError(
                f"Rows of {self.label} have a column {min(unknown)!r} that the table in the database lacks.",
                allowed=nearest(min(unknown), names),
            )
        values = [{name: row.get(name) for name in names} for row in part]
        try:
            return int(self._connection.execute(self._statement, values).rowcount)
        except DBAPIError as error:
            raise DerivaMLDataError(f"Rows of {self.label} cannot be stored: {error.orig}") from error
        except StatementError as error:
            if isinstance(error.orig, DerivaMLException):
                raise error.orig from error
            raise DerivaMLDataError(f"A row of {self.label} cannot be stored: {error.orig}") from error


def _insertion(table: sa.Table, on_conflict: str) -> Any:
    from sqlalchemy.dialects.sqlite import insert

    statement = insert(table)
    if on_conflict == "error":
        return statement
    primary = [column.name for column in table.primary_key.columns]
    others = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in primary}
    if on_conflict == "ignore" or not others:
        return statement.on_conflict_do_nothing(index_elements=primary)
    return statement.on_conflict_do_update(index_elements=primary, set_=others)


def _parts(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while part := list(islice(left, size)):
        yield part
