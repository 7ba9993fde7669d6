"""The joined tables of a dataset as a bag of it has them: the methods of ``DatasetBag`` for them.

They are those of ``Dataset``; a version is taken where that takes one, and not looked at: a bag is of one version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.dataset import bag_joins
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.dataset.dataset_bag import DatasetBag

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
Tables = Sequence[Name]


def denormalize_columns(bag: DatasetBag, include_tables: Tables) -> list[tuple[str, str]]:
    """The columns that joining some tables gives, with their types.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return bag_joins.denormalize_columns(bag.database, include_tables)


def denormalize_info(bag: DatasetBag, include_tables: Tables, version: object = None) -> dict[str, Any]:
    """What joining some tables would read, as ``Dataset.denormalize_info`` says it.

    Args:
        bag: The bag.
        include_tables: The tables, an element type among them.
        version: Not looked at.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDenormalizeError: The way between two tables is ambiguous or missing; the error says what to include.
    """
    del version
    return bag_joins.denormalize_info(bag.database, include_tables)


def describe_denormalized(
    bag: DatasetBag, include_tables: Tables, *, row_per: Name | None = None, via: Tables = (), version: object = None
) -> dict[str, Any]:
    """How tables would be joined, and what stands in the way; see ``Dataset.describe_denormalized``."""
    del version
    return bag_joins.describe_denormalized(bag.database, include_tables, row_per, via)


def list_schema_paths(bag: DatasetBag, tables: Tables | None = None, *, version: object = None) -> dict[str, Any]:
    """The ways from element types to tables that joins could follow; see ``Dataset.list_schema_paths``."""
    del version
    return bag_joins.list_schema_paths(bag.database, tables)


def denormalize_as_dict(
    bag: DatasetBag,
    include_tables: Tables,
    version: object = None,
    *,
    row_per: Name | None = None,
    via: Tables = (),
) -> Iterator[Row]:
    """Join tables into one: a row for each member, of this and of nested datasets, and each of its partners.

    Args:
        bag: The bag.
        include_tables: The tables, an element type among them, or among those of ``via``.
        version: Not looked at.
        row_per: The table that a row stands for: each of its rows that members lead to has exactly one.
        via: Tables to go by, which add no columns.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDenormalizeError: The way between two tables is ambiguous or missing, or a row cannot stand for one of
            ``row_per``; the error says what to do.
    """
    del version
    return bag_joins.denormalize_as_dict(bag.database, bag.holders, include_tables, row_per, via)


def denormalize_as_dataframe(
    bag: DatasetBag,
    include_tables: Tables,
    version: object = None,
    *,
    row_per: Name | None = None,
    via: Tables = (),
) -> pd.DataFrame:
    """The same as a data frame.

    Args:
        bag: The bag.
        include_tables: The tables, an element type among them, or among those of ``via``.
        version: Not looked at.
        row_per: The table that a row stands for.
        via: Tables to go by, which add no columns.

    Raises:
        DerivaMLMissingExtra: pandas is not installed.
        DerivaMLDenormalizeError: They cannot be joined like that; the error says what to do.
    """
    del version
    return bag_joins.denormalize_as_dataframe(bag.database, bag.holders, include_tables, row_per, via)
