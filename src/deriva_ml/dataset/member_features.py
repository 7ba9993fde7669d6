"""The values of features for the records of a dataset, read from the catalog."""

from __future__ import annotations

from collections.abc import Collection

from deriva_ml.core.exceptions import DerivaMLTableTypeError
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.clones import session_at
from deriva_ml.dataset.members import list_dataset_element_types, list_members
from deriva_ml.dataset.reach import reach
from deriva_ml.dataset.reference import DatasetRef
from deriva_ml.feature import values
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.select import Selector
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table

__all__ = ["feature_values"]


def feature_values(
    dataset: DatasetRef,
    table: str | Table,
    feature_name: str,
    selector: Selector | None = None,
    materialize_limit: int | None = None,
    execution_rids: Collection[str] | None = None,
    *,
    workflow: str | None = None,
    version: DatasetVersion | str | None = None,
    reachable: bool = True,
) -> list[FeatureRecord]:
    """The values of a feature for the records of the dataset and of those nested in it, as its bag has them.

    Args:
        dataset: The dataset.
        table: The table that the feature describes.
        feature_name: The feature.
        selector: Takes one value where a record has several; a record for which it gives None is left out.
        materialize_limit: The greatest number of values that may be read.
        execution_rids: Only values that one of these executions made.
        workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.
        version: As of this version; by default as of now.
        reachable: For all records that belong to the dataset, such as the images of a subject that is a member; else
            for members only.

    Raises:
        DerivaMLNotFoundError: There is no such feature.
        DerivaMLTableTypeError: Members were asked for, and records of the table cannot be members.
        DerivaMLMaterializeLimitExceeded: There are more values than ``materialize_limit``.
    """
    session = session_at(dataset.session, dataset.dataset_rid, version)
    target = session.table(table)
    values.feature_to_read(session, target, feature_name)  # before the dataset is walked
    rids = _reached(session, dataset.dataset_rid, target) if reachable else _members(session, dataset, target)
    return values.feature_values(
        session,
        target,
        feature_name,
        selector,
        materialize_limit,
        execution_rids,
        workflow=workflow,
        targets=rids,
    )


def _reached(session: Session, dataset_rid: str, target: Table) -> list[str] | None:
    """The records of a table that belong to a dataset; None for all, of a vocabulary."""
    found = reach(session, dataset_rid).tables.get(target.qualified)
    if found is None:
        return []
    return None if found.rows is None else found.rids()


def _members(session: Session, dataset: DatasetRef, target: Table) -> list[str]:
    elements = list_dataset_element_types(session)
    if target.qualified not in {each.qualified for each in elements}:
        raise DerivaMLTableTypeError(
            "dataset element type",
            target.name,
            hint=f"element types are {', '.join(sorted(each.name for each in elements))}; reachable=True gives the "
            "values for all records that belong to the dataset",
        )
    return [str(row["RID"]) for row in list_members(session, dataset.dataset_rid, recurse=True).get(target.name, [])]
