"""Datasets of a catalog: named, versioned collections of its records.

Methods that are declared in one line are functions of this room, bound (:mod:`deriva_ml.schema.bound`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from deriva_ml.core.enums import MLTable
from deriva_ml.dataset import development, executions, member_features, summary, version_bags, version_joins
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion, VersionPart
from deriva_ml.dataset.changes import Changes
from deriva_ml.dataset.clones import session_at
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.dataset_types import add_types, list_types, remove_type
from deriva_ml.dataset.edit import DatasetEdit, Edits
from deriva_ml.dataset.members import (
    add_members,
    delete_members,
    list_dataset_element_types,
    list_members,
)
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.dataset.numbering import increment
from deriva_ml.dataset.versions import INITIAL_VERSION, current, history, require_dataset
from deriva_ml.feature.feature import Feature, find_features
from deriva_ml.schema.bound import of_owner
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.model import Json, Table

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import VocabularyTerm

__all__ = ["Dataset"]

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
        execution_rid: The execution on whose behalf it is changed.
        owner: The catalog as it was given.
    """

    def __init__(
        self,
        catalog: HasSession | Session,
        dataset_rid: str,
        description: str = "",
        execution_rid: str | None = None,
    ) -> None:
        self.owner = catalog
        self._session = session_of(catalog)
        self._description = description
        self._edits = Edits()
        self.dataset_rid = dataset_rid
        self.execution_rid = execution_rid

    @property
    def session(self) -> Session:
        """The catalog."""
        return self._session

    @property
    def description(self) -> str:
        """What it holds; what is assigned is written to the catalog, and makes no version."""
        return self._description

    @description.setter
    def description(self, text: str) -> None:
        self._session.require_writable()
        row: Row = {"RID": self.dataset_rid, "Description": text}
        if not self._session.catalog.update(self._session.ml_schema, MLTable.dataset.value, [row]):
            require_dataset(self._session, self.dataset_rid)
        self._description = text

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
            DerivaMLRidsNotFound: There is no such execution; nothing is left then.
        """
        types = [dataset_types] if isinstance(dataset_types, str) else list(dataset_types or ())
        number = DatasetVersion.of(version) if version is not None else INITIAL_VERSION
        wanted = NewDataset(description, types, number, rid=rid)
        (made,) = create_datasets(session_of(ml_instance), [wanted], execution_rid)
        return Dataset(ml_instance, made, description, execution_rid)

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

        Those in development get their next development version, the others a release.

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

    def edit(
        self,
        description: str,
        component: VersionPart | str = VersionPart.minor,
        execution_rid: str | None = None,
    ) -> AbstractContextManager[DatasetEdit]:
        """Make several changes and one version for all of them.

        The version is made at the end of the block, if anything was changed. If the block raises, nothing is changed
        and no version is made. Methods of this object that are called in the block belong to it too.

        Args:
            description: What changed.
            component: What to increment.
            execution_rid: The execution that changes it.
        """
        part = VersionPart(component)

        def announce(changes: Changes) -> None:
            self._announce(changes, part, description, execution_rid)

        return self._edits.within(self._session, self.dataset_rid, announce)

    def _announce(
        self,
        changes: Changes,
        part: VersionPart,
        description: str,
        execution_rid: str | None = None,
    ) -> None:
        """Make the version that tells of changes, unless there are none or an edit is going on."""
        if changes and not self._edits.take(changes):
            by = execution_rid or self.execution_rid
            increment(self._session, self.dataset_rid, part, description, by, changes=changes)

    mark_dev = of_owner(lambda: development.mark_dev)
    release = of_owner(lambda: development.release)
    release_diff = of_owner(lambda: development.release_diff)
    compare_versions = of_owner(lambda: development.compare_versions)

    @property
    def is_dirty(self) -> bool:
        """Whether it is not as it was last released; asked of the catalog each time."""
        return development.is_dirty(self)

    def _at(self, version: DatasetVersion | str | None) -> Session:
        """The session on the snapshot of a version; on the present if none is named."""
        return session_at(self._session, self.dataset_rid, version)

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
        changes = self._edits.begin(self._session)
        new = add_types(self._session, self.dataset_rid, [dataset_type], changes)
        self._announce(changes, VersionPart.minor, f"Added dataset type: {', '.join(new)}")

    def add_dataset_types(self, dataset_types: Iterable[str | VocabularyTerm]) -> None:
        """Add types, and one version if the dataset did not have them all.

        Raises:
            DerivaMLInvalidTerm: One is not in the vocabulary; none was added then.
        """
        changes = self._edits.begin(self._session)
        new = add_types(self._session, self.dataset_rid, dataset_types, changes)
        self._announce(changes, VersionPart.minor, f"Added dataset type(s): {', '.join(new)}")

    def remove_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Remove a type, and add a version if the dataset had it.

        Raises:
            DerivaMLInvalidTerm: It is not in the vocabulary.
        """
        changes = self._edits.begin(self._session)
        removed = remove_type(self._session, self.dataset_rid, dataset_type, changes)
        self._announce(changes, VersionPart.minor, f"Removed dataset type: {removed}")

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
        changes = self._edits.begin(self._session)
        add_members(self._session, self.dataset_rid, members, changes, validate=validate)
        text = description or "Updated dataset via add_dataset_members"
        self._announce(changes, VersionPart.minor, text, execution_rid)

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
        changes = self._edits.begin(self._session)
        delete_members(self._session, self.dataset_rid, members, changes)
        self._announce(changes, VersionPart.minor, description or "Deleted dataset members", execution_rid)

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
        return [Dataset(self.owner, rid, texts.get(rid, ""), self.execution_rid) for rid in rids]

    def find_features(self, table: str | Table) -> list[Feature]:
        """The features of a table.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        return find_features(self._session, table)

    list_executions = of_owner(lambda: executions.list_executions)
    list_execution_uses = of_owner(lambda: executions.list_execution_uses)
    feature_values = of_owner(lambda: member_features.feature_values)

    # ------------------------------------------------------------------------------------------ for people

    get_chaise_url = of_owner(lambda: summary.get_chaise_url)
    to_markdown = of_owner(lambda: summary.to_markdown)
    display_markdown = of_owner(lambda: summary.display_markdown)

    # ------------------------------------------------------------------------------------------ bags and joined tables

    download_dataset_bag = of_owner(lambda: version_bags.download_dataset_bag)
    estimate_bag_size = of_owner(lambda: version_bags.estimate_bag_size)
    bag_info = of_owner(lambda: version_bags.bag_info)
    cache = of_owner(lambda: version_bags.cache)
    prefetch = of_owner(lambda: version_bags.cache)
    denormalize_columns = of_owner(lambda: version_joins.denormalize_columns)
    denormalize_info = of_owner(lambda: version_joins.denormalize_info)
    denormalize_as_dict = of_owner(lambda: version_joins.denormalize_as_dict)
    denormalize_as_dataframe = of_owner(lambda: version_joins.denormalize_as_dataframe)
    get_denormalized_as_dict = of_owner(lambda: version_joins.denormalize_as_dict)
    get_denormalized_as_dataframe = of_owner(lambda: version_joins.denormalize_as_dataframe)
    describe_denormalized = of_owner(lambda: version_joins.describe_denormalized)
    list_schema_paths = of_owner(lambda: version_joins.list_schema_paths)
    cache_denormalized = of_owner(lambda: version_joins.cache_denormalized)
