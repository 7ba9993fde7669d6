"""What a catalog and a bag have in common, as protocols: a program that is written for these runs on both.

``isinstance`` asks only whether the members are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from deriva_ml.core.json_types import Json

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.core.ermrest import VocabularyTerm
    from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec, DatasetVersion, VersionPart
    from deriva_ml.feature.feature import Feature
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.select import Selector
    from deriva_ml.wire.model import Table

__all__ = [
    "AssetLike",
    "DatasetLike",
    "DerivaMLCatalog",
    "DerivaMLCatalogReader",
    "WritableAsset",
    "WritableDataset",
]

Row = dict[str, Json]


@runtime_checkable
class DatasetLike(Protocol):
    """A dataset that can be read: ``Dataset``, ``DatasetBag``."""

    dataset_rid: str
    description: str
    execution_rid: str | None

    @property
    def dataset_types(self) -> list[str]:
        """The names of its types."""

    @property
    def current_version(self) -> DatasetVersion:
        """Its highest version."""

    def dataset_history(self) -> list[DatasetHistory]:
        """Its versions, the oldest first."""

    def list_dataset_element_types(self) -> Iterable[Table]:
        """The tables whose rows can be members."""

    def list_dataset_members(self, recurse: bool = False, limit: int | None = None) -> dict[str, list[Row]]:
        """The members as rows by table."""

    def list_dataset_children(self, recurse: bool = False) -> Sequence[DatasetLike]:
        """The datasets in it."""

    def list_dataset_parents(self, recurse: bool = False) -> Sequence[DatasetLike]:
        """The datasets that it is in."""

    def find_features(self, table: str | Table) -> Iterable[Feature]:
        """The features of a table."""

    def denormalize_columns(self, include_tables: Sequence[str | Table]) -> list[tuple[str, str]]:
        """The columns that joining some tables gives, with their types."""

    def denormalize_as_dict(self, include_tables: Sequence[str | Table]) -> Iterator[Row]:
        """Join tables into one, row by row."""

    def denormalize_as_dataframe(self, include_tables: Sequence[str | Table]) -> pd.DataFrame:
        """Join tables into one, as a data frame."""

    def denormalize_info(self, include_tables: Sequence[str | Table]) -> dict[str, Any]:
        """What joining some tables would read."""

    def get_denormalized_as_dict(
        self, include_tables: Sequence[str | Table], *, row_per: str | Table | None = None
    ) -> Iterator[Row]:
        """Join tables into one, row by row; a row may stand for one of ``row_per``."""

    def describe_denormalized(self, include_tables: Sequence[str | Table]) -> dict[str, Any]:
        """How tables would be joined."""


@runtime_checkable
class WritableDataset(DatasetLike, Protocol):
    """A dataset that can be changed: ``Dataset``."""

    def increment_dataset_version(
        self, component: VersionPart | str, description: str = "", execution_rid: str | None = None
    ) -> DatasetVersion:
        """Give it its next version."""

    def add_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Add a type."""

    def add_dataset_types(self, dataset_types: Iterable[str | VocabularyTerm]) -> None:
        """Add types."""

    def remove_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Remove a type."""

    def add_dataset_members(self, members: Any) -> None:
        """Put records into it."""

    def delete_dataset_members(self, members: Any) -> None:
        """Take records out of it."""


@runtime_checkable
class AssetLike(Protocol):
    """A file that is known: ``Asset``."""

    asset_rid: str
    asset_table: str
    filename: str
    url: str
    length: int
    md5: str
    description: str

    @property
    def asset_types(self) -> list[str]:
        """The names of its types."""

    @property
    def execution_rid(self) -> str | None:
        """The execution that made it."""

    def list_executions(self, asset_role: str | None = None) -> list[Any]:
        """The executions that read or made it."""

    def find_features(self) -> Iterable[Feature]:
        """The features of its table."""

    def list_feature_values(self, feature_name: str) -> Iterable[FeatureRecord]:
        """The values of a feature for it."""

    def get_metadata(self) -> Row:
        """Its whole row."""


@runtime_checkable
class WritableAsset(AssetLike, Protocol):
    """A file of the catalog that can be changed: ``Asset``."""

    def add_asset_type(self, name: str) -> None:
        """Add a type."""

    def remove_asset_type(self, name: str) -> None:
        """Remove a type."""


@runtime_checkable
class DerivaMLCatalogReader(Protocol):
    """A catalog that can be read: ``DerivaML``, ``DerivaMLDatabase``."""

    @property
    def ml_schema(self) -> str:
        """Name of the ML schema."""

    @property
    def domain_schemas(self) -> frozenset[str]:
        """The project's schemas."""

    @property
    def default_schema(self) -> str | None:
        """The schema that is meant if none is named."""

    @property
    def working_dir(self) -> Path:
        """Where runs work."""

    @property
    def cache_dir(self) -> Path:
        """Where bags are kept."""

    def find_datasets(self, deleted: bool = False) -> Sequence[DatasetLike]:
        """The datasets."""

    def lookup_dataset(self, dataset: str | DatasetSpec, deleted: bool = False) -> DatasetLike:
        """The dataset of this RID."""

    def lookup_term(self, table: str | Table, term_name: str) -> VocabularyTerm:
        """The term of this name or synonym."""

    def list_vocabulary_terms(self, table: str | Table) -> list[VocabularyTerm]:
        """All terms of a vocabulary."""

    def get_table_as_dict(self, table: str | Table) -> Iterator[Row]:
        """The rows of a table."""

    def get_table_as_dataframe(self, table: str | Table) -> pd.DataFrame:
        """The rows of a table as a data frame."""

    def list_dataset_element_types(self) -> Iterable[Table]:
        """The tables whose rows can be members of datasets."""

    def find_features(self, table: str | Table | None = None) -> Iterable[Feature]:
        """The features of a table, or of all."""

    def lookup_feature(self, table: str | Table, feature_name: str) -> Feature:
        """The feature of this name on a table."""

    def fetch_table_features(
        self, table: str | Table, feature_name: str | None = None, selector: Selector | None = None
    ) -> dict[str, list[FeatureRecord]]:
        """The values of a table's features by name."""

    def list_feature_values(
        self, table: str | Table, feature_name: str, selector: Selector | None = None
    ) -> Iterable[FeatureRecord]:
        """The values of one feature."""

    def denormalize_info(self, include_tables: Iterable[str | Table]) -> dict[str, Any]:
        """What joining some tables would read."""

    def resolve_rid(self, rid: str) -> Any:
        """Where a RID is."""

    def resolve_rids(self, rids: Iterable[str]) -> dict[str, Any]:
        """Where several RIDs are."""

    def retrieve_rid(self, rid: str) -> Row:
        """The whole row of a RID."""


@runtime_checkable
class DerivaMLCatalog(DerivaMLCatalogReader, Protocol):
    """A catalog that can be changed: ``DerivaML``."""

    def is_snapshot(self) -> bool:
        """Whether this is the catalog as of a past moment."""

    def catalog_snapshot(self, version_snapshot: str) -> DerivaMLCatalog:
        """The same catalog as of a past moment."""

    def pathBuilder(self) -> Any:  # noqa: N802  # the specification's name
        """The ``deriva`` package's own path builder."""

    def add_term(self, table: str | Table, term_name: str, description: str) -> VocabularyTerm:
        """Add a term to a vocabulary."""

    def create_vocabulary(self, vocab_name: str, comment: str = "") -> Any:
        """Make a vocabulary."""

    def create_table(self, table: Any) -> Any:
        """Make a table."""

    def create_asset(self, asset_name: str) -> Any:
        """Make an asset table."""

    def create_feature(self, target_table: str | Table, feature_name: str) -> type[FeatureRecord]:
        """Make a feature."""

    def add_features(self, features: Any) -> int:
        """Store values of a feature."""

    def add_dataset_element_type(self, element: str | Table) -> Table:
        """Let the rows of a table be members of datasets."""

    def delete_dataset(self, dataset: Any, recurse: bool = False) -> None:
        """Mark a dataset as deleted."""

    def create_execution(self, configuration: Any) -> Any:
        """Begin an execution."""
