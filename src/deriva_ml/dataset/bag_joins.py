"""Joining the tables of a bag, as ``denormalize`` plans it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.core.fields import refuse_text
from deriva_ml.core.files import require
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.denormalize import Joins, Wanted, outputs, plan_joins
from deriva_ml.dataset.join_report import describe_join, schema_paths, sizes_of
from deriva_ml.dataset.joined_ways import Ground
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "denormalize_as_dataframe",
    "denormalize_as_dict",
    "denormalize_columns",
    "denormalize_info",
    "describe_denormalized",
    "list_schema_paths",
]

Row = dict[str, Json]
Name = str | Table
Names = Iterable[str | Table]


def denormalize_columns(database: BagDatabase, include_tables: Iterable[str | Table]) -> list[tuple[str, str]]:
    """The columns that joining some tables gives, with their types."""
    chosen = outputs(_tables(database, include_tables), database.ml_schema)
    return [(each.name, each.column.type.name) for each in chosen]


def denormalize_info(database: BagDatabase, include_tables: Iterable[str | Table]) -> dict[str, Any]:
    """What joining some tables would read; the counts are of the bag's whole tables."""
    return sizes_of(_joins(database, include_tables), database.size)


def describe_denormalized(
    database: BagDatabase, include_tables: Names, row_per: Name | None = None, via: Names = ()
) -> dict[str, Any]:
    """How tables would be joined, and what stands in the way."""
    return describe_join(_ground(database), _wanted(database, include_tables, row_per, via))


def list_schema_paths(database: BagDatabase, tables: Names | None = None) -> dict[str, Any]:
    """The ways from element types to tables that joins could follow."""
    return schema_paths(_ground(database), None if tables is None else _tables(database, tables))


def denormalize_as_dict(
    database: BagDatabase,
    holders: Sequence[str],
    include_tables: Names,
    row_per: Name | None = None,
    via: Names = (),
) -> Iterator[Row]:
    """Join tables into one: a row for each member of some datasets, and each of its partners."""
    joins = _joins(database, include_tables, row_per, via)
    rows = database.joined(joins, holders)
    local = [_localiser(database, joins, table) for table in joins.shown if is_asset(table)]
    return _localised(rows, local) if database.has_files else rows


def denormalize_as_dataframe(
    database: BagDatabase,
    holders: Sequence[str],
    include_tables: Names,
    row_per: Name | None = None,
    via: Names = (),
) -> pd.DataFrame:
    """The same as a data frame."""
    frame = require("pandas", "pandas").DataFrame
    names = list(include_tables)
    columns = [name for name, _type in denormalize_columns(database, names)]
    return frame(list(denormalize_as_dict(database, holders, names, row_per, via)), columns=columns)


def _tables(database: BagDatabase, names: Names) -> list[Table]:
    refuse_text("tables", names)
    return [database.table(name) for name in names]


def _ground(database: BagDatabase) -> Ground:
    return Ground(database.model, database.ml_schema, database.domain_schemas)


def _wanted(database: BagDatabase, names: Names, row_per: Name | None, via: Names) -> Wanted:
    centre = None if row_per is None else database.table(row_per)
    return Wanted(tuple(_tables(database, names)), centre, tuple(_tables(database, via)))


def _joins(database: BagDatabase, names: Names, row_per: Name | None = None, via: Names = ()) -> Joins:
    wanted = _wanted(database, names, row_per, via)
    return plan_joins(database.model, database.ml_schema, database.domain_schemas, wanted)


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
