"""Datasets of a catalog: named, versioned collections of its records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLDatasetNotFound
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec, DatasetVersion, VersionPart
from deriva_ml.dataset.clones import at_version
from deriva_ml.dataset.dataset_types import add_types, insert_types, list_types, remove_type
from deriva_ml.dataset.edit import DatasetEdit
from deriva_ml.dataset.member_features import values_of_members
from deriva_ml.dataset.members import (
    add_members,
    delete_members,
    list_dataset_element_types,
    list_members,
)
from deriva_ml.dataset.nesting import Nesting, read_nesting
from deriva_ml.dataset.versions import (
    INITIAL_VERSION,
    add_versions,
    current,
    find_version,
    history,
    increment,
    not_a_dataset,
)
from deriva_ml.feature.feature import Feature, find_features
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import eq, table

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import VocabularyTerm
    from deriva_ml.dataset.bag import Notice
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.select import Selector

__all__ = ["Dataset", "delete_dataset", "find_datasets", "lookup_dataset"]

Row = dict[str, Json]


class Dataset:
    """A dataset of a catalog.

    Args:
        catalog: The catalog: a ``DerivaML`` or its session.
        dataset_rid: The dataset.
        description: What it holds.
        execution_rid: The execution on whose behalf it is changed.

    Attributes:
        dataset_rid: The dataset.
        description: What it holds.
        execution_rid: The execution on whose behalf it is changed.
    """

    def __init__(
        self,
        catalog: HasSession | Session,
        dataset_rid: str,
        description: str = "",
        execution_rid: str | None = None,
    ) -> None:
        self._session = session_of(catalog)
        self.dataset_rid = dataset_rid
        self.description = description
        self.execution_rid = execution_rid

    def __eq__(self, other: object) -> bool:
        return self.dataset_rid == other.dataset_rid if isinstance(other, Dataset) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.dataset_rid)

    def __repr__(self) -> str:
        return f"Dataset({self.dataset_rid!r}, description={self.description!r})"

    @staticmethod
    def create_dataset(
        ml_instance: HasSession | Session,
        execution_rid: str | None,
        dataset_types: str | list[str] | None = None,
        description: str = "",
        version: DatasetVersion | str | None = None,
        *,
        rid: str | None = None,
    ) -> Dataset:
        """Make a dataset without members.

        Args:
            ml_instance: The catalog: a ``DerivaML`` or its session.
            execution_rid: The execution that makes it, recorded as its producer; None if none does.
            dataset_types: Its types, names or synonyms of terms of ``Dataset_Type``.
            description: What it holds.
            version: Its first version, 0.1.0 by default.
            rid: The RID that it shall have; by default the catalog's next one.

        Raises:
            DerivaMLInvalidTerm: A type is not in the vocabulary; nothing was written then.
        """
        session = session_of(ml_instance)
        session.require_writable()
        types = [dataset_types] if isinstance(dataset_types, str) else list(dataset_types or ())
        names = check_terms(session, MLVocab.dataset_type.value, types) if types else []
        number = DatasetVersion.of(version) if version is not None else INITIAL_VERSION
        catalog, schema = session.catalog, session.ml_schema
        row: Row = {"Description": description, "Deleted": False}
        if rid is not None:
            row["RID"] = rid
        made = catalog.insert(schema, MLTable.dataset.value, [row], nondefaults=("RID",) if rid is not None else ())
        dataset = Dataset(session, str(made[0]["RID"]), description, execution_rid)
        if execution_rid is not None:
            link: Row = {"Dataset": dataset.dataset_rid, "Execution": execution_rid}
            catalog.insert(schema, MLTable.dataset_execution.value, [link])
        insert_types(session, dataset.dataset_rid, names)
        add_versions(session, {dataset.dataset_rid: number}, "Initial dataset creation.", execution_rid)
        return dataset

    # ------------------------------------------------------------------------------------------ versions

    @property
    def current_version(self) -> DatasetVersion:
        """The highest version; read from the catalog each time."""
        return current(history(self._session, self.dataset_rid))

    def dataset_history(self) -> list[DatasetHistory]:
        """The versions, the oldest first.

        Raises:
            DerivaMLDatasetNotFound: There is no such dataset.
        """
        return history(self._session, self.dataset_rid)

    def increment_dataset_version(
        self, component: VersionPart | str, description: str = "", execution_rid: str | None = None
    ) -> DatasetVersion:
        """Give this dataset, and all that are connected with it by nesting, their next version.

        Args:
            component: What to increment.
            description: What changed.
            execution_rid: The execution that changed it; by default the one that this object was made for.

        Returns:
            The new version of this dataset.
        """
        return increment(
            self._session, self.dataset_rid, VersionPart(component), description, execution_rid or self.execution_rid
        )

    @contextmanager
    def edit(
        self,
        description: str,
        component: VersionPart | str = VersionPart.minor,
        execution_rid: str | None = None,
    ) -> Iterator[DatasetEdit]:
        """Make several changes and one version for all of them.

        The version is made at the end of the block, if anything was changed. If the block raises, none is made; what
        was changed by then stays and becomes part of the next version.

        Args:
            description: What changed.
            component: What to increment.
            execution_rid: The execution that changes it.
        """
        changes = DatasetEdit(self._session, self.dataset_rid)
        yield changes
        if changes.changed:
            self.increment_dataset_version(component, description, execution_rid)

    def _at(self, version: DatasetVersion | str | None) -> Session:
        """The session on the snapshot of a version; on the present if none is named."""
        if version is None:
            return self._session
        entry = find_version(self._session, self.dataset_rid, DatasetVersion.of(version))
        return at_version(self._session, entry)

    # ------------------------------------------------------------------------------------------ types

    @property
    def dataset_types(self) -> list[str]:
        """The names of the types; read from the catalog each time."""
        return list_types(self._session, self.dataset_rid)

    def add_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Add a type, and a version if the dataset did not have it.

        Raises:
            DerivaMLInvalidTerm: It is not in the vocabulary.
        """
        new = add_types(self._session, self.dataset_rid, [dataset_type])
        if new:
            self.increment_dataset_version(VersionPart.minor, f"Added dataset type: {new[0]}")

    def add_dataset_types(self, dataset_types: Iterable[str | VocabularyTerm]) -> None:
        """Add types, and one version if the dataset did not have them all.

        Raises:
            DerivaMLInvalidTerm: One is not in the vocabulary; none was added then.
        """
        new = add_types(self._session, self.dataset_rid, dataset_types)
        if new:
            self.increment_dataset_version(VersionPart.minor, f"Added dataset type(s): {', '.join(new)}")

    def remove_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Remove a type, and add a version if the dataset had it.

        Raises:
            DerivaMLInvalidTerm: It is not in the vocabulary.
        """
        removed = remove_type(self._session, self.dataset_rid, dataset_type)
        if removed is not None:
            self.increment_dataset_version(VersionPart.minor, f"Removed dataset type: {removed}")

    # ------------------------------------------------------------------------------------------ members

    def list_dataset_element_types(self) -> list[Table]:
        """The tables whose rows can be members."""
        return list_dataset_element_types(self._session)

    def list_dataset_members(
        self, recurse: bool = False, limit: int | None = None, version: DatasetVersion | str | None = None
    ) -> dict[str, list[Row]]:
        """The members as rows by table; every element type has its entry.

        Args:
            recurse: Include the members of nested datasets, each once.
            limit: At most so many of each table.
            version: Members of this version; by default of the present.
        """
        return list_members(self._at(version), self.dataset_rid, recurse=recurse, limit=limit)

    def add_dataset_members(
        self,
        members: list[str] | dict[str, list[str]],
        validate: bool = True,
        description: str = "",
        execution_rid: str | None = None,
    ) -> None:
        """Add records, and one version for all of them.

        Args:
            members: RIDs, or RIDs by table, which saves looking the tables up.
            validate: A record that is a member already is an error; else it is passed over.
            description: What changed.
            execution_rid: The execution that adds them.

        Raises:
            DerivaMLRidsNotFound: A RID does not exist.
            DerivaMLTableTypeError: Rows of a table cannot be members.
            DerivaMLCycleError: The dataset would come to hold itself.
            DerivaMLDataError: A record is a member already.
        """
        if add_members(self._session, self.dataset_rid, members, validate=validate):
            text = description or "Updated dataset via add_dataset_members"
            self.increment_dataset_version(VersionPart.minor, text, execution_rid)

    def delete_dataset_members(
        self, members: list[str] | dict[str, list[str]], description: str = "", execution_rid: str | None = None
    ) -> None:
        """Take records out of the dataset, and add one version for all of them.

        Args:
            members: RIDs, or RIDs by table.
            description: What changed.
            execution_rid: The execution that takes them out.

        Raises:
            DerivaMLDataError: A record is no member; nothing was changed then.
        """
        nesting = read_nesting(self._session)
        if delete_members(self._session, self.dataset_rid, members):
            text = description or "Deleted dataset members"
            # A nested dataset that was taken out is still told of the change, so the graph before it counts.
            increment(
                self._session,
                self.dataset_rid,
                VersionPart.minor,
                text,
                execution_rid or self.execution_rid,
                nesting=nesting,
            )

    # ------------------------------------------------------------------------------------------ neighbours

    def list_dataset_children(
        self, recurse: bool = False, version: DatasetVersion | str | None = None
    ) -> list[Dataset]:
        """The datasets in this one.

        Args:
            recurse: Those in them too, and so on, each once.
            version: As of this version; by default of the present.
        """
        session = self._at(version)
        nesting = read_nesting(session)
        rid = self.dataset_rid
        return self._neighbours(session, nesting.descendants(rid) if recurse else nesting.children(rid))

    def list_dataset_parents(self, recurse: bool = False, version: DatasetVersion | str | None = None) -> list[Dataset]:
        """The datasets that this one is in.

        Args:
            recurse: Those that they are in too, and so on, each once.
            version: As of this version; by default of the present.
        """
        session = self._at(version)
        nesting = read_nesting(session)
        rid = self.dataset_rid
        return self._neighbours(session, nesting.ancestors(rid) if recurse else nesting.parents(rid))

    def _neighbours(self, session: Session, rids: tuple[str, ...]) -> list[Dataset]:
        rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", list(rids)) if rids else []
        texts = {str(row["RID"]): str(row["Description"] or "") for row in rows}
        return [Dataset(self._session, rid, texts.get(rid, ""), self.execution_rid) for rid in rids]

    def find_features(self, table: str | Table) -> list[Feature]:
        """The features of a table.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        return find_features(self._session, table)

    def feature_values(
        self,
        table: str | Table,
        feature_name: str,
        selector: Selector | None = None,
        materialize_limit: int | None = None,
        execution_rids: Collection[str] | None = None,
        *,
        workflow: str | None = None,
        version: DatasetVersion | str | None = None,
    ) -> list[FeatureRecord]:
        """The values of a feature for the members of this dataset and of those nested in it.

        Args:
            table: The table that the feature describes.
            feature_name: The feature.
            selector: Takes one value where a record has several; a record for which it gives None is left out.
            materialize_limit: The greatest number of values that may be read.
            execution_rids: Only values that one of these executions made.
            workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.
            version: As of this version; by default as of now.

        Raises:
            DerivaMLNotFoundError: There is no such feature.
            DerivaMLTableTypeError: Records of the table are no members of datasets.
            DerivaMLMaterializeLimitExceeded: There are more values than ``materialize_limit``.
        """
        return values_of_members(
            self._at(version),
            self.dataset_rid,
            table,
            feature_name,
            selector,
            materialize_limit=materialize_limit,
            execution_rids=execution_rids,
            workflow=workflow,
        )

    def list_execution_rids(self) -> list[str]:
        """The executions that made or consumed the dataset."""
        path = table(self._session.ml_schema, MLTable.dataset_execution.value).where(eq("Dataset", self.dataset_rid))
        return sorted({str(row["Execution"]) for row in self._session.catalog.attributes(path, "Execution")})

    # ------------------------------------------------------------------------------------------ bags

    def download_dataset_bag(
        self,
        version: DatasetVersion | str,
        materialize: bool = True,
        exclude_tables: set[str] | None = None,
        fetch_concurrency: int = 8,
        progress: Notice | None = None,
    ) -> DatasetBag:
        """Fetch a version of the dataset as a bag, or find it in the cache.

        Args:
            version: The version.
            materialize: Fetch the files of assets too.
            exclude_tables: Tables to leave out.
            fetch_concurrency: How many files are fetched at a time.
            progress: Told after each group of files.
        """
        from deriva_ml.dataset.bag import download_dataset_bag

        spec = DatasetSpec(
            rid=self.dataset_rid,
            version=DatasetVersion.of(version),
            materialize=materialize,
            exclude_tables=exclude_tables,
            fetch_concurrency=fetch_concurrency,
        )
        return download_dataset_bag(self._session, spec, progress=progress)

    def _spec(self, version: DatasetVersion | str, exclude_tables: set[str] | None = None, **more: Any) -> DatasetSpec:
        return DatasetSpec(
            rid=self.dataset_rid, version=DatasetVersion.of(version), exclude_tables=exclude_tables, **more
        )

    def estimate_bag_size(
        self, version: DatasetVersion | str, exclude_tables: set[str] | None = None
    ) -> dict[str, Any]:
        """How large the bag of a version will be; see ``dataset.estimate.estimate_bag_size``."""
        from deriva_ml.dataset.estimate import estimate_bag_size

        return estimate_bag_size(self._session, self._spec(version, exclude_tables))

    def bag_info(self, version: DatasetVersion | str, exclude_tables: set[str] | None = None) -> dict[str, Any]:
        """How large the bag of a version is, and whether the cache has it; see ``dataset.estimate.bag_info``."""
        from deriva_ml.dataset.estimate import bag_info

        return bag_info(self._session, self._spec(version, exclude_tables))

    def cache(
        self,
        version: DatasetVersion | str,
        materialize: bool = True,
        exclude_tables: set[str] | None = None,
        timeout: tuple[int, int] | None = None,
        fetch_concurrency: int = 8,
    ) -> dict[str, Any]:
        """Fetch a version into the cache, without a run; see ``dataset.cached_bags.cache_dataset``."""
        from deriva_ml.dataset.cached_bags import cache_dataset

        spec = self._spec(version, exclude_tables, timeout=timeout, fetch_concurrency=fetch_concurrency)
        return cache_dataset(self._session, spec, materialize)

    prefetch = cache


def _dataset(session: Session, row: Mapping[str, Json]) -> Dataset:
    return Dataset(session, str(row["RID"]), str(row["Description"] or ""))


def find_datasets(session: Session, deleted: bool = False) -> list[Dataset]:
    """The datasets of a catalog, in the order of their RIDs.

    Args:
        session: The catalog.
        deleted: Include those that were deleted.
    """
    rows = session.catalog.rows(table(session.ml_schema, MLTable.dataset.value).sorted("RID"))
    return [_dataset(session, row) for row in rows if deleted or not row["Deleted"]]


def lookup_dataset(session: Session, dataset: str | DatasetSpec, deleted: bool = False) -> Dataset:
    """The dataset of this RID.

    Args:
        session: The catalog.
        dataset: Its RID, or a specification that names it.
        deleted: Find it also if it was deleted.

    Raises:
        DerivaMLDatasetNotFound: There is none; the error says what the RID names instead.
    """
    rid = dataset.rid if isinstance(dataset, DatasetSpec) else dataset
    rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", [rid])
    if not rows:
        raise not_a_dataset(session, rid)
    if rows[0]["Deleted"] and not deleted:
        raise DerivaMLDatasetNotFound(rid, "Dataset was deleted", hint="pass deleted=True to find it nevertheless")
    return _dataset(session, rows[0])


def delete_dataset(session: Session, dataset: Dataset | str, recurse: bool = False) -> None:
    """Mark a dataset as deleted; its record, versions and members stay.

    Args:
        session: The catalog.
        dataset: The dataset.
        recurse: Delete the datasets directly in it too.

    Raises:
        DerivaMLDataError: The dataset is in another.
    """
    session.require_writable()
    rid = dataset.dataset_rid if isinstance(dataset, Dataset) else dataset
    lookup_dataset(session, rid)
    nesting = read_nesting(session)
    parents = _living(session, nesting, rid)
    if parents:
        raise DerivaMLDataError(
            f'Dataset "{rid}" is in a nested dataset: [{", ".join(parents)}].',
            hint=f"take it out of {parents[0]} first (delete_dataset_members), or delete that one",
        )
    doomed = [rid, *nesting.children(rid)] if recurse else [rid]
    rows: list[Row] = [{"RID": each, "Deleted": True} for each in doomed]
    session.catalog.update(session.ml_schema, MLTable.dataset.value, rows, columns=("Deleted",))


def _living(session: Session, nesting: Nesting, rid: str) -> list[str]:
    """The datasets that hold this one and were not deleted themselves."""
    found = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", nesting.parents(rid))
    return [str(row["RID"]) for row in found if not row["Deleted"]]
