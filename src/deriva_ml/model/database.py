"""A bag as the read side of a catalog: what a program asks of a ``DerivaML``, without any network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deriva_ml.core.codes import normalise
from deriva_ml.core.enums import MLTable
from deriva_ml.core.ermrest import VocabularyTerm
from deriva_ml.core.exceptions import (
    DerivaMLDatasetNotFound,
    DerivaMLInvalidTerm,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
)
from deriva_ml.core.files import make_directory, nearest
from deriva_ml.dataset import bag_features, bag_joins
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.dataset_bag import DatasetBag
from deriva_ml.dataset.elements import elements
from deriva_ml.dataset.joined_sql import sql_name
from deriva_ml.feature.feature import Feature
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.select import Selector
from deriva_ml.model.schema_orm import SchemaORM, bag_orm
from deriva_ml.schema.rids import BatchRidResult, ResolveRidResult
from deriva_ml.schema.tables import is_asset, is_vocabulary
from deriva_ml.schema.vocabulary import vocabulary_columns
from deriva_ml.wire.model import Json, Model, Table
from deriva_ml.wire.path import eq, table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DatabaseModel", "DerivaMLDatabase"]

Row = dict[str, Json]

_WRITES = frozenset(
    {
        "add_dataset_element_type",
        "add_features",
        "add_files",
        "add_term",
        "add_workflow",
        "apply_annotations",
        "create_asset",
        "create_dataset",
        "create_execution",
        "create_feature",
        "create_table",
        "create_vocabulary",
        "create_workflow",
        "delete_dataset",
        "delete_feature",
        "delete_term",
    }
)
_LIVE = frozenset({"catalog", "catalog_snapshot", "domain_path", "pathBuilder"})
_AT_ONCE = 200
"""How many tables one query looks a record up in; SQLite has a limit."""


class DatabaseModel(BagDatabase):
    """The tables of a bag that lies anywhere, with their database in a directory of one's choice.

    Args:
        minid: What names the bag, or None; it is kept and not looked at.
        bag_path: The bag's directory.
        dbase_path: The directory; the database is made below it when it is first needed, as
            ``databases/<name>/main.db``, where the name tells the bag's content.
    """

    def __init__(self, minid: Any, bag_path: Path | str, dbase_path: Path | str) -> None:
        bag = Path(bag_path).absolute()
        content = hashlib.sha256((bag / "manifest-md5.txt").read_bytes()).hexdigest()[:16]
        directory = Path(dbase_path).absolute() / "databases" / f"{bag.parent.name}_{bag.name}_{content}"
        make_directory(directory)
        super().__init__(bag, directory / "main.db")
        self.minid = minid

    def orm(self) -> SchemaORM:
        """The tables that have rows in the bag, mapped for SQLAlchemy; for reading only. See ``SchemaORM``.

        Raises:
            DerivaMLMissingExtra: SQLAlchemy is not installed.
        """
        return bag_orm(self)


class DerivaMLDatabase:
    """The read side of a ``DerivaML``, of what is in a bag.

    What writes, and what needs the catalog itself, is there too: it raises an error that says so.

    Args:
        db_model: The bag's tables.
    """

    def __init__(self, db_model: BagDatabase) -> None:
        self.database = db_model

    def __repr__(self) -> str:
        return f"DerivaMLDatabase({str(self.database.bag)!r})"

    def pathBuilder(self) -> NoReturn:  # noqa: N802  # the specification's name
        """Refuse: the path builder asks the catalog.

        Raises:
            DerivaMLReadOnlyError: Always; the error says what has the rows.
        """
        self.__getattr__("pathBuilder")()

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name not in _WRITES and name not in _LIVE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        bag = self.database.bag.name

        def refused(*_arguments: object, **_more: object) -> NoReturn:
            if name in _WRITES:
                raise DerivaMLReadOnlyError(
                    f"{name} would change the bag {bag}, which is of one version and cannot change.",
                    hint="connect to the catalog with DerivaML(...) and change it there",
                )
            raise DerivaMLReadOnlyError(
                f"{name} needs the catalog, which is not asked for the bag {bag}.",
                hint="connect to the catalog with DerivaML(...); for the rows of the bag use get_table_as_dict",
            )

        return refused

    # -- what it is of -------------------------------------------------------------------------------------------

    @property
    def ml_schema(self) -> str:
        """Name of the ML schema."""
        return self.database.ml_schema

    @property
    def domain_schemas(self) -> frozenset[str]:
        """The project's schemas."""
        return self.database.domain_schemas

    @property
    def default_schema(self) -> str | None:
        """The project's schema, if it has one only."""
        return next(iter(self.domain_schemas)) if len(self.domain_schemas) == 1 else None

    @property
    def model(self) -> Model:
        """The model as of the version's snapshot."""
        return self.database.model

    @property
    def working_dir(self) -> Path:
        """Where the bag's database is."""
        return self.database.database.parent

    @property
    def cache_dir(self) -> Path:
        """Where the bag is."""
        return self.database.bag.parent

    @property
    def catalog_id(self) -> str:
        """What stands for the catalog: the dataset and the snapshot that the bag is of."""
        return self.database.info["External-Identifier"]

    def orm(self) -> SchemaORM:
        """The tables that have rows in the bag, mapped for SQLAlchemy; for reading only. See ``SchemaORM``.

        Raises:
            DerivaMLMissingExtra: SQLAlchemy is not installed.
        """
        return bag_orm(self.database)

    # -- datasets ------------------------------------------------------------------------------------------------

    def find_datasets(self, deleted: bool = False) -> list[DatasetBag]:
        """The datasets of the bag, in the order of their RIDs.

        Args:
            deleted: Include those that were deleted.
        """
        rows = self.database.rows(self._ml_table(MLTable.dataset))
        return [DatasetBag(self.database, str(row["RID"])) for row in rows if deleted or not row["Deleted"]]

    def lookup_dataset(self, dataset: str | DatasetSpec, deleted: bool = False) -> DatasetBag:
        """The dataset of this RID.

        Args:
            dataset: Its RID, or a specification that names it.
            deleted: Find it also if it was deleted.

        Raises:
            DerivaMLDatasetNotFound: It is not in the bag.
        """
        rid = dataset.rid if isinstance(dataset, DatasetSpec) else dataset
        found = DatasetBag(self.database, rid)
        if not deleted and any(
            row["Deleted"] for row in self.database.rows(self._ml_table(MLTable.dataset), "WHERE t.RID = ?", [rid])
        ):
            raise DerivaMLDatasetNotFound(rid, "Dataset was deleted", hint="pass deleted=True to find it nevertheless")
        return found

    def list_dataset_element_types(self) -> list[Table]:
        """The tables whose rows can be members of datasets."""
        found = elements(self.model, self.ml_schema, self.domain_schemas)
        return [element.table for element in found.values()]

    def denormalize_info(self, include_tables: Iterable[str | Table]) -> dict[str, Any]:
        """What joining some tables would read; see ``Dataset.denormalize_info``."""
        return bag_joins.denormalize_info(self.database, include_tables)

    # -- tables --------------------------------------------------------------------------------------------------

    def _ml_table(self, name: MLTable) -> Table:
        return self.model.schemas[self.ml_schema].tables[name.value]

    def get_table_as_dict(self, table: str | Table) -> Iterator[Row]:
        """The rows of a table; ``Filename`` is the path of the file where the bag has it.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        found = self.database.table(table)
        return self.database.localised(found, self.database.rows(found))

    def get_table_as_dataframe(self, table: str | Table) -> pd.DataFrame:
        """The rows of a table as a data frame.

        Raises:
            DerivaMLTableNotFound: There is no such table.
            DerivaMLMissingExtra: pandas is not installed.
        """
        return self.database.frame(self.database.table(table))

    def list_asset_tables(self) -> list[Table]:
        """The tables of files that have rows in the bag."""
        return [found for found in self.database.tables() if is_asset(found)]

    # -- vocabularies --------------------------------------------------------------------------------------------

    def list_vocabulary_terms(self, table: str | Table) -> list[VocabularyTerm]:
        """All terms of a vocabulary, by name.

        Raises:
            DerivaMLTableTypeError: The table is not a vocabulary.
        """
        vocabulary = self.database.table(table)
        if not is_vocabulary(vocabulary):
            known = [found.name for found in self.database.tables() if is_vocabulary(found)]
            raise DerivaMLTableTypeError("vocabulary", vocabulary.name, hint=f"vocabularies here: {', '.join(known)}")
        names = vocabulary_columns(vocabulary)
        rows = self.database.rows(vocabulary)
        terms = [
            VocabularyTerm.model_validate({"RID": row["RID"], **{name: row[own] for name, own in names.items()}})
            for row in rows
        ]
        return sorted(terms, key=lambda term: term.name)

    def lookup_term(self, table: str | Table, term_name: str) -> VocabularyTerm:
        """The term of this name or synonym.

        Raises:
            DerivaMLInvalidTerm: There is none; the nearest names are in the error.
        """
        terms = self.list_vocabulary_terms(table)
        found = [term for term in terms if term.name == term_name] or [
            term for term in terms if term_name in term.synonyms
        ]
        if not found:
            known = nearest(term_name, (term.name for term in terms))
            raise DerivaMLInvalidTerm(self.database.table(table).name, term_name, allowed=known)
        return found[0]

    # -- features ------------------------------------------------------------------------------------------------

    def find_features(self, table: str | Table | None = None) -> list[Feature]:
        """The features of a table, or of all tables, whether or not the bag has values of them."""
        return bag_features.find_features(self.database, table)

    def lookup_feature(self, table: str | Table, feature_name: str) -> Feature:
        """The feature of this name on a table.

        Raises:
            DerivaMLNotFoundError: The table has no such feature.
        """
        return bag_features.lookup_feature(self.database, table, feature_name)

    def fetch_table_features(
        self, table: str | Table, feature_name: str | None = None, selector: Selector | None = None
    ) -> dict[str, list[FeatureRecord]]:
        """The values of a table's features by the name of the feature; see ``DatasetBag.fetch_table_features``."""
        return bag_features.fetch_table_features(self.database, table, feature_name, selector)

    def list_feature_values(
        self, table: str | Table, feature_name: str, selector: Selector | None = None
    ) -> list[FeatureRecord]:
        """The values of one feature; see ``DatasetBag.list_feature_values``."""
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
        """The values of one feature; see ``DatasetBag.feature_values``."""
        feature = self.lookup_feature(table, feature_name)
        return bag_features.read_values(
            self.database, feature, selector, executions=execution_rids, workflow=workflow, limit=materialize_limit
        )

    # -- records -------------------------------------------------------------------------------------------------

    def resolve_rid(self, rid: str) -> ResolveRidResult:
        """Find the table of one RID.

        Raises:
            DerivaMLRidsNotFound: It is not in the bag.
        """
        found = self.resolve_rids([rid])[rid]
        return ResolveRidResult(
            table(found.schema_name, found.table_name).where(eq("RID", found.rid)), found.table, found.rid
        )

    def resolve_rids(
        self, rids: Iterable[str], candidate_tables: Iterable[str | Table] | None = None
    ) -> dict[str, BatchRidResult]:
        """Find the tables of many RIDs.

        Args:
            rids: The RIDs.
            candidate_tables: Where they may be; by default anywhere in the bag.

        Raises:
            DerivaMLRidsNotFound: Some are not in the bag, or not in these tables; only those are named.
        """
        wanted = list(dict.fromkeys(rids))
        forms = {rid: normalise(rid) or rid for rid in wanted}
        allowed = (
            None if candidate_tables is None else {self.database.table(each).qualified for each in candidate_tables}
        )
        tables = [each for each in self.database.tables() if allowed is None or each.qualified in allowed]
        places = self._places({*wanted, *forms.values()}, tables)
        found: dict[str, BatchRidResult] = {}
        for rid in wanted:
            own = rid if rid in places else forms[rid]
            if own in places:
                place = places[own]
                found[rid] = BatchRidResult(own, place, place.name, place.schema)
        missing = [rid for rid in wanted if rid not in found]
        if missing:
            raise DerivaMLRidsNotFound(missing, source=f"bag {self.database.bag.name}")
        return found

    def _places(self, rids: Collection[str], tables: list[Table]) -> Mapping[str, Table]:
        listed = json.dumps(sorted(rids))
        places: dict[str, Table] = {}
        for first in range(0, len(tables), _AT_ONCE):
            selects = [
                f"SELECT {number}, RID FROM {sql_name(tables[number])} WHERE RID IN (SELECT value FROM json_each(?1))"
                for number in range(first, min(first + _AT_ONCE, len(tables)))
            ]
            found = self.database.query(" UNION ALL ".join(selects), [listed])
            places.update((str(rid), tables[number]) for number, rid in found)
        return places

    def retrieve_rid(self, rid: str) -> Row:
        """The whole row of a RID.

        Raises:
            DerivaMLRidsNotFound: It is not in the bag.
        """
        found = self.resolve_rid(rid)
        return next(self.database.rows(found.table, "WHERE t.RID = ?", [found.rid]))
