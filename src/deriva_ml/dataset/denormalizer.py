"""``Denormalizer``: the joined tables of one dataset, of a catalog or of a bag, as an object to pass around."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.dataset.aux_classes import DatasetVersion
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.dataset.dataset_bag import DatasetBag

__all__ = ["Denormalizer"]

Name = str | Table


class Denormalizer:
    """Joins the tables of a dataset: the same rows from the catalog and from a bag.

    Args:
        dataset: The dataset, or a bag of it.
        version: Of a dataset, as of this version; by default of the present.
    """

    def __init__(self, dataset: Dataset | DatasetBag, version: DatasetVersion | str | None = None) -> None:
        self._dataset = dataset
        self._version = version

    def as_dict(
        self, include_tables: Sequence[Name], *, row_per: Name | None = None, via: Sequence[Name] = ()
    ) -> Iterator[dict[str, Json]]:
        """The rows; see ``Dataset.get_denormalized_as_dict``."""
        return self._dataset.get_denormalized_as_dict(include_tables, self._version, row_per=row_per, via=via)

    def as_dataframe(
        self, include_tables: Sequence[Name], *, row_per: Name | None = None, via: Sequence[Name] = ()
    ) -> pd.DataFrame:
        """The rows as a data frame; see ``Dataset.get_denormalized_as_dataframe``."""
        return self._dataset.get_denormalized_as_dataframe(include_tables, self._version, row_per=row_per, via=via)

    def columns(self, include_tables: Sequence[Name]) -> list[tuple[str, str]]:
        """The columns, with their types."""
        return self._dataset.denormalize_columns(include_tables)

    def describe(
        self, include_tables: Sequence[Name], *, row_per: Name | None = None, via: Sequence[Name] = ()
    ) -> dict[str, Any]:
        """How the tables would be joined; see ``Dataset.describe_denormalized``."""
        return self._dataset.describe_denormalized(include_tables, row_per=row_per, via=via, version=self._version)

    def list_paths(self, tables: Sequence[Name] | None = None) -> dict[str, Any]:
        """The ways that joins could follow; see ``Dataset.list_schema_paths``."""
        return self._dataset.list_schema_paths(tables, version=self._version)
