"""The values of features for the members of a dataset, read from the catalog."""

from __future__ import annotations

from collections.abc import Collection

from deriva_ml.core.exceptions import DerivaMLTableTypeError
from deriva_ml.dataset.members import list_dataset_element_types, list_members
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.select import Selector
from deriva_ml.feature.values import feature_values
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table

__all__ = ["values_of_members"]


def values_of_members(
    session: Session,
    dataset_rid: str,
    table: str | Table,
    feature_name: str,
    selector: Selector | None = None,
    *,
    materialize_limit: int | None = None,
    execution_rids: Collection[str] | None = None,
    workflow: str | None = None,
) -> list[FeatureRecord]:
    """The values of a feature for the members of a dataset and of those nested in it; see ``Dataset.feature_values``.

    Raises:
        DerivaMLTableTypeError: Records of the table are no members of datasets: of those that merely belong to members,
            such as the images of a subject, the dataset's bag has the values.
    """
    target = session.table(table)
    elements = list_dataset_element_types(session)
    if target.qualified not in {each.qualified for each in elements}:
        raise DerivaMLTableTypeError(
            "dataset element type",
            target.name,
            hint=f"element types are {', '.join(sorted(each.name for each in elements))}; the dataset's bag "
            "(download_dataset_bag) has the values for all records that belong to it",
        )
    members = list_members(session, dataset_rid, recurse=True).get(target.name, [])
    return feature_values(
        session,
        target,
        feature_name,
        selector,
        materialize_limit,
        execution_rids,
        workflow=workflow,
        targets=[str(row["RID"]) for row in members],
    )
