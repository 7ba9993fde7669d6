"""Joining the tables of a bag, as ``denormalize`` plans it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.core.files import require
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.denormalize import Joins, describe, outputs, plan_joins
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "denormalize_as_dataframe",
    "denormalize_as_dict",
    "denormalize_columns",
    "denormalize_info",
]

Row = dict[str, Json]


def denormalize_columns(database: BagDatabase, include_tables: Iterable[str | Table]) -> list[tuple[str, str]]:
    """The columns that joining some tables gives, with their types."""
    chosen = outputs([database.table(name) for name in include_tables], database.ml_schema)
    return [(each.name, each.column.type.name) for each in chosen]


def denormalize_info(database: BagDatabase, include_tables: Iterable[str | Table]) -> dict[str, Any]:
    """What joining some tables would read; the counts are of the bag's whole tables."""
    return describe(_joins(database, include_tables), database.size)


def denormalize_as_dict(
    database: BagDatabase, holders: Sequence[str], include_tables: Iterable[str | Table]
) -> Iterator[Row]:
    """Join tables into one: a row for each member of some datasets, and each of its partners."""
    joins = _joins(database, include_tables)
    rows = database.joined(joins, holders)
    local = [_localiser(database, joins, table) for table in joins.shown if is_asset(table)]
    return _localised(rows, local) if database.has_files else rows


def denormalize_as_dataframe(
    database: BagDatabase, holders: Sequence[str], include_tables: Iterable[str | Table]
) -> pd.DataFrame:
    """The same as a data frame."""
    frame = require("pandas", "pandas").DataFrame
    names = list(include_tables)
    columns = [name for name, _type in denormalize_columns(database, names)]
    return frame(list(denormalize_as_dict(database, holders, names)), columns=columns)


def _joins(database: BagDatabase, names: Iterable[str | Table]) -> Joins:
    tables = [database.table(name) for name in names]
    return plan_joins(database.model, database.ml_schema, database.domain_schemas, tables)


def _localiser(database: BagDatabase, joins: Joins, table: Table) -> Callable[[Row], None]:
    """Puts the path of an asset's file, where it is there, in the place of the file's name."""
    columns = [(each.column.name, each.name) for each in joins.outputs if each.table is table]
    names = dict(columns)
    rid, filename = names["RID"], names["Filename"]
    known: dict[Json, Json] = {None: None}

    def localise(row: Row) -> None:
        if row[rid] not in known:
            asset = {column: row[name] for column, name in columns}
            path = database.file_of(table, asset)
            known[row[rid]] = row[filename] if path is None else path
        row[filename] = known[row[rid]]

    return localise


def _localised(rows: Iterable[Row], local: Sequence[Callable[[Row], None]]) -> Iterator[Row]:
    for row in rows:
        for localise in local:
            localise(row)
        yield row
