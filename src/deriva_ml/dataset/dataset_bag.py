"""A dataset as a bag of it shows it: the read side of a dataset, without any network."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDatasetNotFound
from deriva_ml.core.files import nearest
from deriva_ml.dataset import bag_features, joined_bag, restructure, samples, tf_samples
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.bag_layout import listed_paths
from deriva_ml.dataset.elements import Element, elements, labels
from deriva_ml.dataset.joined_sql import members_sql, quoted
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.dataset.versions import current, entries
from deriva_ml.feature.feature import Feature
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.select import Selector
from deriva_ml.schema.bound import of_owner
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.dataset.bag_payload import Notice

__all__ = ["DatasetBag"]

Row = dict[str, Json]


class DatasetBag:
    """A dataset in a bag.

    Where a method of ``Dataset`` takes a version, this takes it too and does not look at it: a bag is of one version.

    Args:
        catalog: The bag's tables.
        dataset_rid: The dataset; by default the one that the bag was made for.
        description: What it holds; by default what the bag says.
        execution_rid: The execution that uses it.
        dataset_types: Its types; by default what the bag says.

    Attributes:
        dataset_rid: The dataset.
        execution_rid: The execution that uses it.
        description: What the dataset holds.

    Raises:
        DerivaMLDatasetNotFound: The dataset is not in the bag.
    """

    def __init__(
        self,
        catalog: BagDatabase,
        dataset_rid: str | None = None,
        description: str = "",
        execution_rid: str | None = None,
        dataset_types: Sequence[str] | None = None,
    ) -> None:
        self._database = catalog
        self.dataset_rid = dataset_rid or catalog.info["Dataset-RID"]
        self.execution_rid = execution_rid
        rows = list(self._rows(MLTable.dataset.value, "WHERE t.RID = ?", [self.dataset_rid]))
        if not rows:
            known = [str(row["RID"]) for row in self._rows(MLTable.dataset.value)]
            raise DerivaMLDatasetNotFound(
                self.dataset_rid,
                f"Dataset not in the bag {catalog.bag.name}",
                hint=f"the bag holds {', '.join(nearest(self.dataset_rid, known))}",
            )
        self.description = description or str(rows[0]["Description"] or "")
        self._types = None if dataset_types is None else list(dataset_types)

    @classmethod
    def open(cls, path: Path | str, database: Path | str | None = None) -> DatasetBag:
        """Open a bag that lies anywhere, not only in the cache.

        Args:
            path: The bag's directory.
            database: Where its database is, or is to be built; by default beside the bag.
        """
        bag = Path(path).absolute()
        built = bag.with_name(f"{bag.name}.db") if database is None else Path(database)
        return cls(BagDatabase(bag, built))

    def __repr__(self) -> str:
        return f"DatasetBag({self.dataset_rid!r}, path={str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DatasetBag):
            return NotImplemented
        return (self.dataset_rid, self.path) == (other.dataset_rid, other.path)

    def __hash__(self) -> int:
        return hash((self.dataset_rid, self.path))

    @property
    def database(self) -> BagDatabase:
        """The bag's tables."""
        return self._database

    @property
    def path(self) -> Path:
        """The bag's directory."""
        return self._database.bag

    @property
    def is_materialized(self) -> bool:
        """Whether the files of assets are in the bag, all of them."""
        listed = self.path / "fetch.txt"
        if not listed.exists():
            return True
        return all((self.path / path).exists() for path in listed_paths(listed.read_text("utf-8")))

    def materialize(self, *, fetch_concurrency: int = 8, progress: Notice | None = None) -> DatasetBag:
        """Fetch the files of assets that are not in the bag; all of them, or an error, and nothing is changed then.

        A bag of the cache is from now on the one there that has its files: ``path`` tells where it is.

        Args:
            fetch_concurrency: How many files are fetched at a time.
            progress: Told after each group of files.

        Returns:
            This bag.
        """
        from deriva_ml.dataset.materialize import materialize

        materialize(self._database, fetch_concurrency=fetch_concurrency, progress=progress)
        return self

    # ------------------------------------------------------------------------------------------ tables

    def _ml_table(self, name: str) -> Table:
        return self._database.model.schemas[self._database.ml_schema].tables[name]

    def _rows(self, ml_table: str, where: str = "", values: Sequence[Any] = ()) -> Iterator[Row]:
        return self._database.rows(self._ml_table(ml_table), where, values)

    def list_tables(self) -> list[str]:
        """The names of the tables that have rows in the bag."""
        tables = self._database.tables()
        return sorted(labels(tables).values())

    def get_table_as_dict(self, table: str | Table) -> Iterator[Row]:
        """The rows of a table, by RID; ``Filename`` is the path of the file where the bag has it.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        found = self._database.table(table)
        return self._database.localised(found, self._database.rows(found))

    def get_table_as_dataframe(self, table: str | Table) -> pd.DataFrame:
        """The rows of a table as a data frame.

        Raises:
            DerivaMLTableNotFound: There is no such table.
            DerivaMLMissingExtra: pandas is not installed.
        """
        return self._database.frame(self._database.table(table))

    # ------------------------------------------------------------------------------------------ versions and types

    @property
    def dataset_types(self) -> list[str]:
        """The names of the dataset's types."""
        if self._types is not None:
            return list(self._types)
        found = self._rows(MLTable.dataset_type.value, "WHERE t.Dataset = ?", [self.dataset_rid])
        return sorted(str(row["Dataset_Type"]) for row in found)

    def dataset_history(self) -> list[DatasetHistory]:
        """The versions up to that of the bag, the oldest first."""
        return entries(self._rows(MLTable.dataset_version.value, "WHERE t.Dataset = ?", [self.dataset_rid]))

    @property
    def current_version(self) -> DatasetVersion:
        """The highest version that the bag knows: that of the bag, for the dataset that it was made for."""
        return current(self.dataset_history())

    def list_executions(self) -> list[str]:
        """The RIDs of the executions that made or consumed the dataset."""
        found = self._rows(MLTable.dataset_execution.value, "WHERE t.Dataset = ?", [self.dataset_rid])
        return sorted({str(row["Execution"]) for row in found})

    # ------------------------------------------------------------------------------------------ nesting

    @cached_property
    def _nesting(self) -> Nesting:
        rows = self._rows(MLTable.dataset_dataset.value)
        return Nesting.of((str(row["Dataset"]), str(row["Nested_Dataset"])) for row in rows)

    def _bags(self, rids: Iterable[str]) -> list[DatasetBag]:
        return [DatasetBag(self._database, rid, execution_rid=self.execution_rid) for rid in rids]

    def list_dataset_children(self, recurse: bool = False, version: object = None) -> list[DatasetBag]:
        """The datasets in this one; with ``recurse`` those in them too, each once."""
        del version
        rid = self.dataset_rid
        return self._bags(self._nesting.descendants(rid) if recurse else self._nesting.children(rid))

    def list_dataset_parents(self, recurse: bool = False, version: object = None) -> list[DatasetBag]:
        """The datasets of the bag that this one is in; with ``recurse`` those that they are in too, each once."""
        del version
        rid = self.dataset_rid
        return self._bags(self._nesting.ancestors(rid) if recurse else self._nesting.parents(rid))

    @property
    def holders(self) -> list[str]:
        """The dataset and everything nested in it."""
        return [self.dataset_rid, *self._nesting.descendants(self.dataset_rid)]

    # ------------------------------------------------------------------------------------------ members

    @cached_property
    def elements(self) -> list[Element]:
        """The kinds of member that datasets can have."""
        database = self._database
        return list(elements(database.model, database.ml_schema, database.domain_schemas).values())

    def list_dataset_element_types(self) -> list[Table]:
        """The tables whose rows can be members."""
        return [element.table for element in self.elements]

    def list_dataset_members(
        self, recurse: bool = False, limit: int | None = None, version: object = None
    ) -> dict[str, list[Row]]:
        """The members as rows by table; every element type has its entry.

        Args:
            recurse: Include the members of nested datasets, each once.
            limit: At most so many of each table.
            version: Not looked at.
        """
        del version
        names = labels(element.table for element in self.elements)
        return {
            names[element.table.qualified]: list(self._members(element, recurse, limit)) for element in self.elements
        }

    def _members(self, element: Element, recurse: bool, limit: int | None) -> Iterator[Row]:
        if not self._database.has(element.association):
            return iter(())
        holders = self.holders if recurse else [self.dataset_rid]
        where = f"WHERE t.{quoted(element.key)} IN ({members_sql(element)})"
        rows = self._database.rows(element.table, where, [json.dumps(holders)], limit=limit)
        return self._database.localised(element.table, rows)

    def member_rids(self, element: Element) -> list[str]:
        """The members of one kind, of this and of nested datasets, each once."""
        return [str(row["RID"]) for row in self._members(element, recurse=True, limit=None)]

    # ------------------------------------------------------------------------------------------ features

    def find_features(self, table: str | Table | None = None) -> list[Feature]:
        """The features of a table, or of all tables, whether or not the bag has values of them."""
        return bag_features.find_features(self._database, table)

    def lookup_feature(self, table: str | Table, feature_name: str) -> Feature:
        """The feature of this name on a table.

        Raises:
            DerivaMLNotFoundError: The table has no such feature.
        """
        return bag_features.lookup_feature(self._database, table, feature_name)

    def fetch_table_features(
        self, table: str | Table, feature_name: str | None = None, selector: Selector | None = None
    ) -> dict[str, list[FeatureRecord]]:
        """The values of a table's features by the name of the feature; all values that the bag has.

        Args:
            table: The table that the features describe.
            feature_name: This feature only.
            selector: Takes one value where a record has several.

        Raises:
            DerivaMLNotFoundError: The table has no such feature.
        """
        return bag_features.fetch_table_features(self._database, table, feature_name, selector)

    def list_feature_values(
        self, table: str | Table, feature_name: str, selector: Selector | None = None
    ) -> list[FeatureRecord]:
        """The values of one feature; all that the bag has.

        Raises:
            DerivaMLNotFoundError: The table has no such feature.
        """
        return self.feature_values(table, feature_name, selector)

    def feature_values(
        self,
        table: str | Table,
        feature_name: str,
        selector: Selector | None = None,
        materialize_limit: int | None = None,
        execution_rids: Collection[str] | None = None,
        *,
        workflow: str | None = None,
    ) -> list[FeatureRecord]:
        """The values of one feature; all that the bag has.

        Args:
            table: The table that the feature describes.
            feature_name: The feature.
            selector: Takes one value where a record has several; if it takes none, the record is left out.
            materialize_limit: More values than this are an error.
            execution_rids: Only values that these executions made.
            workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.

        Raises:
            DerivaMLDataError: There are more values than ``materialize_limit``.
            DerivaMLNotFoundError: The table has no such feature.
        """
        feature = self.lookup_feature(table, feature_name)
        return bag_features.read_values(
            self._database, feature, selector, executions=execution_rids, workflow=workflow, limit=materialize_limit
        )

    # ------------------------------------------------------------------------------------------ joined tables

    denormalize_columns = of_owner(lambda: joined_bag.denormalize_columns)
    denormalize_info = of_owner(lambda: joined_bag.denormalize_info)
    denormalize_as_dict = of_owner(lambda: joined_bag.denormalize_as_dict)
    denormalize_as_dataframe = of_owner(lambda: joined_bag.denormalize_as_dataframe)
    get_denormalized_as_dict = of_owner(lambda: joined_bag.denormalize_as_dict)
    get_denormalized_as_dataframe = of_owner(lambda: joined_bag.denormalize_as_dataframe)
    describe_denormalized = of_owner(lambda: joined_bag.describe_denormalized)
    list_schema_paths = of_owner(lambda: joined_bag.list_schema_paths)

    # ------------------------------------------------------------------------------------------ for training

    restructure_assets = of_owner(lambda: restructure.restructure_assets)
    as_torch_dataset = of_owner(lambda: samples.as_torch_dataset)
    as_tf_dataset = of_owner(lambda: tf_samples.as_tf_dataset)
