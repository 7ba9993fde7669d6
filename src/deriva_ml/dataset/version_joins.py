"""The joined tables of a dataset's versions: the methods of ``Dataset`` for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.dataset import live_denormalize as live
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.clones import session_at
from deriva_ml.dataset.reference import DatasetRef
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "cache_denormalized",
    "denormalize_as_dataframe",
    "denormalize_as_dict",
    "denormalize_columns",
    "denormalize_info",
    "describe_denormalized",
    "list_schema_paths",
]

Tables = Sequence[str | Table]
Name = str | Table
Version = DatasetVersion | str | None


def _at(dataset: DatasetRef, version: Version) -> Session:
    return session_at(dataset.session, dataset.dataset_rid, version)


def denormalize_columns(dataset: DatasetRef, include_tables: Tables) -> list[tuple[str, str]]:
    """The columns that joining some tables gives, with their types.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return live.denormalize_columns(dataset.session, include_tables)


def denormalize_info(dataset: DatasetRef, include_tables: Tables, version: Version = None) -> dict[str, Any]:
    """What joining some tables would read, as of a version; see ``live_denormalize.denormalize_info``."""
    return live.denormalize_info(_at(dataset, version), include_tables)


def describe_denormalized(
    dataset: DatasetRef,
    include_tables: Tables,
    *,
    row_per: Name | None = None,
    via: Tables = (),
    version: Version = None,
) -> dict[str, Any]:
    """How tables would be joined, as of a version, and what stands in the way; nothing is read.

    Args:
        dataset: The dataset.
        include_tables: The tables.
        row_per: The table that a row is to stand for.
        via: Tables to go by, which add no columns.
        version: As of this version; by default of the present.

    Returns:
        See ``join_report.describe_join``: what cannot be done is in ``problems``, not an error.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return live.describe_denormalized(_at(dataset, version), include_tables, row_per=row_per, via=via)


def list_schema_paths(dataset: DatasetRef, tables: Tables | None = None, *, version: Version = None) -> dict[str, Any]:
    """The ways from element types to tables that joins could follow; see ``join_report.schema_paths``.

    Args:
        dataset: The dataset.
        tables: Ways to these tables only.
        version: As of this version; by default of the present.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return live.list_schema_paths(_at(dataset, version), tables)


def denormalize_as_dict(
    dataset: DatasetRef,
    include_tables: Tables,
    version: Version = None,
    *,
    row_per: Name | None = None,
    via: Tables = (),
) -> Iterator[dict[str, Json]]:
    """Join tables into one, as of a version; see ``live_denormalize.denormalize_as_dict``."""
    return live.denormalize_as_dict(
        _at(dataset, version), dataset.dataset_rid, include_tables, row_per=row_per, via=via
    )


def denormalize_as_dataframe(
    dataset: DatasetRef,
    include_tables: Tables,
    version: Version = None,
    *,
    row_per: Name | None = None,
    via: Tables = (),
) -> pd.DataFrame:
    """The same as a data frame; see ``live_denormalize.denormalize_as_dict``."""
    return live.denormalize_as_dataframe(
        _at(dataset, version), dataset.dataset_rid, include_tables, row_per=row_per, via=via
    )


def cache_denormalized(
    dataset: DatasetRef,
    include_tables: Tables,
    version: Version = None,
    force: bool = False,
    *,
    row_per: Name | None = None,
    via: Tables = (),
) -> pd.DataFrame:
    """The same, kept in the working directory; see ``live_denormalize.cache_denormalized``."""
    session = _at(dataset, version)
    return live.cache_denormalized(session, dataset.dataset_rid, include_tables, force, row_per=row_per, via=via)
