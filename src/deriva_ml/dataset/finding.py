"""Finding datasets, and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLDatasetNotFound
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.dataset.versions import not_a_dataset
from deriva_ml.schema.ordering import Sort, arranged, sorted_path
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import table

__all__ = ["delete_dataset", "find_datasets", "lookup_dataset"]

Owner = HasSession | Session
Row = dict[str, Json]


def _dataset(owner: Owner, row: Mapping[str, Json]) -> Dataset:
    return Dataset(owner, str(row["RID"]), str(row["Description"] or ""))


def find_datasets(owner: Owner, deleted: bool = False, *, sort: Sort[Dataset] = None) -> list[Dataset]:
    """The datasets of a catalog, in the order of their RIDs.

    Args:
        owner: The catalog: a ``DerivaML`` or its session.
        deleted: Include those that were deleted.
        sort: True for the newest first, or a function that gives what to sort by.
    """
    session = session_of(owner)
    rows = session.catalog.rows(sorted_path(table(session.ml_schema, MLTable.dataset.value), sort, "RID"))
    return arranged((_dataset(owner, row) for row in rows if deleted or not row["Deleted"]), sort)


def lookup_dataset(owner: Owner, dataset: str | DatasetSpec, deleted: bool = False) -> Dataset:
    """The dataset of this RID.

    Args:
        owner: The catalog: a ``DerivaML`` or its session.
        dataset: Its RID, or a specification that names it.
        deleted: Find it also if it was deleted.

    Raises:
        DerivaMLDatasetNotFound: There is none; the error says what the RID names instead.
    """
    session = session_of(owner)
    rid = dataset.rid if isinstance(dataset, DatasetSpec) else dataset
    rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", [rid])
    if not rows:
        raise not_a_dataset(session, rid)
    if rows[0]["Deleted"] and not deleted:
        raise DerivaMLDatasetNotFound(rid, "Dataset was deleted", hint="pass deleted=True to find it nevertheless")
    return _dataset(owner, rows[0])


def delete_dataset(session: Session, dataset: Dataset | str, recurse: bool = False) -> None:
    """Mark a dataset as deleted; its record, versions and members stay.

    Args:
        session: The catalog.
        dataset: The dataset.
        recurse: Delete the datasets directly in it too.

    Raises:
        DerivaMLDataError: The dataset, or one that is to be deleted with it, is in another; none was deleted then.
    """
    session.require_writable()
    rid = dataset.dataset_rid if isinstance(dataset, Dataset) else dataset
    lookup_dataset(session, rid)
    nesting = read_nesting(session)
    doomed = [rid, *nesting.children(rid)] if recurse else [rid]
    holders = {each: [above for above in nesting.parents(each) if above not in doomed] for each in doomed}
    living = _living(session, {above for found in holders.values() for above in found})
    for each, found in holders.items():
        parents = [above for above in found if above in living]
        if parents:
            raise DerivaMLDataError(
                f'Dataset "{each}" is in a nested dataset: [{", ".join(parents)}].',
                hint=f"take it out of {parents[0]} first (delete_dataset_members), or delete that one",
            )
    rows: list[Row] = [{"RID": each, "Deleted": True} for each in doomed]
    session.catalog.update(session.ml_schema, MLTable.dataset.value, rows, columns=("Deleted",))


def _living(session: Session, rids: Iterable[str]) -> set[str]:
    """Those of some datasets that were not deleted."""
    found = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", list(rids))
    return {str(row["RID"]) for row in found if not row["Deleted"]}
