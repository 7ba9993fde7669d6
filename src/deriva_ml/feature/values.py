"""The values of features in a catalog: adding them at once, and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLNotFoundError, DerivaMLValidationError
from deriva_ml.core.files import nearest
from deriva_ml.feature import select
from deriva_ml.feature.feature import Feature, find_features
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.shape import EXECUTION, FeatureShape
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import list_vocabulary_terms
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import eq, table

__all__ = [
    "add_features",
    "fetch_table_features",
    "grouped",
    "list_feature_values",
    "select_by_workflow",
    "selected",
]


def grouped(records: Iterable[FeatureRecord]) -> list[tuple[FeatureShape, list[FeatureRecord]]]:
    """Records by their feature, in the order in which features appear."""
    groups: dict[tuple[str, str], tuple[FeatureShape, list[FeatureRecord]]] = {}
    for record in records:
        shape = record.of_feature()
        groups.setdefault(shape.feature_table.qualified, (shape, []))[1].append(record)
    return list(groups.values())


def add_features(session: Session, features: Sequence[FeatureRecord]) -> int:
    """Store values of one feature at once.

    Inside an execution use the execution's own ``add_features``: it adds the provenance, and asset columns may then
    hold paths of outputs.

    Args:
        session: The catalog.
        features: Records of one feature, each with its execution.

    Returns:
        How many were stored.

    Raises:
        ValueError: There are no records.
        DerivaMLValidationError: They are of several features; one has no execution, holds a path, or describes the
            same record for the same execution as another.
    """
    session.require_writable()
    if not features:
        raise ValueError("features list must not be empty")
    groups = grouped(features)
    if len(groups) > 1:
        raise DerivaMLValidationError(
            f"Values of {len(groups)} features were given: {', '.join(str(shape) for shape, _ in groups)}.",
            hint="add the values of one feature at a time",
        )
    shape, records = groups[0]
    rows = [record.to_row() for record in records]
    _check_rows(shape, rows)
    session.catalog.insert(*shape.feature_table.qualified, rows)
    return len(rows)


def _check_rows(shape: FeatureShape, rows: list[dict[str, Any]]) -> None:
    assets = [column.name for column in shape.asset_columns]
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(rows, start=1):
        subject = (row[EXECUTION], row[shape.target_column])
        if row[EXECUTION] is None:
            raise DerivaMLValidationError(
                f"Value {number} of feature {shape} has no execution.",
                hint="set its field Execution, or add it with add_features of the execution",
            )
        if subject in seen:
            raise DerivaMLValidationError(
                f"Feature {shape} was given two values for record {subject[1]} by execution {subject[0]}."
            )
        seen.add(subject)
        for column in assets:
            if isinstance(row[column], PurePath):
                raise DerivaMLValidationError(
                    f"Value {number} of feature {shape} has a path in column {column}: {row[column]}.",
                    hint="upload the file first and give its RID, or add the value in an execution",
                )


def _feature(session: Session, target: Table, feature_name: str) -> Feature:
    known = {feature.feature_name: feature for feature in find_features(session, target)}
    if feature_name not in known:
        raise DerivaMLNotFoundError(
            f"Feature '{feature_name}' not found on table '{target.name}'.", allowed=nearest(feature_name, known)
        )
    return known[feature_name]


def list_feature_values(
    session: Session,
    target_table: str | Table,
    feature_name: str,
    selector: select.Selector | None = None,
    *,
    execution: str | None = None,
    workflow: str | None = None,
    target: str | None = None,
) -> list[FeatureRecord]:
    """The values of a feature.

    Args:
        session: The catalog.
        target_table: The table that the feature describes.
        feature_name: The feature.
        selector: Takes one value where a record has several; without it all are given.
        execution: Only values that this execution made.
        workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.
        target: Only values for the record with this RID.

    Raises:
        DerivaMLNotFoundError: There is no such feature.
    """
    feature = _feature(session, session.table(target_table), feature_name)
    path = table(*feature.feature_table.qualified)
    if execution is not None:
        path = path.where(eq(EXECUTION, execution))
    if target is not None:
        path = path.where(eq(feature.target_column, target))
    cls = feature.feature_record_class()
    records: list[FeatureRecord] = [cls.from_row(row) for row in session.catalog.rows(path)]
    if workflow is not None:
        made_by = _executions_of(session, workflow)
        records = [record for record in records if record.Execution in made_by]
    return records if selector is None else selected(records, selector)


def fetch_table_features(
    session: Session,
    target_table: str | Table,
    feature_name: str | None = None,
    selector: select.Selector | None = None,
) -> dict[str, list[FeatureRecord]]:
    """The values of one feature of a table, or of all its features, by feature name.

    Raises:
        DerivaMLNotFoundError: There is no feature of this name.
    """
    target = session.table(target_table)
    names = [feature.feature_name for feature in find_features(session, target)]
    wanted = names if feature_name is None else [feature_name]
    return {name: list_feature_values(session, target, name, selector) for name in wanted}


def selected(records: Iterable[FeatureRecord], selector: select.Selector) -> list[FeatureRecord]:
    """One value for each record that is described; the selector decides where there are several."""
    by_target: dict[str, list[FeatureRecord]] = {}
    for record in records:
        by_target.setdefault(record.target_rid, []).append(record)
    return [values[0] if len(values) == 1 else selector(values) for values in by_target.values()]


def select_by_workflow(session: Session, records: Sequence[FeatureRecord], workflow: str) -> FeatureRecord:
    """The newest of some values that executions of a workflow made.

    Args:
        session: The catalog.
        records: The values.
        workflow: RID of a workflow, or a term of ``Workflow_Type``.

    Raises:
        DerivaMLNotFoundError: None of the values was made so.
    """
    made_by = _executions_of(session, workflow)
    made = [record for record in records if record.Execution in made_by]
    if not made:
        raise DerivaMLNotFoundError(
            f"None of the {len(records)} values was made by workflow {workflow}.",
            allowed=sorted({record.Execution for record in records if record.Execution}),
        )
    return select.newest(made)


def _executions_of(session: Session, workflow: str) -> frozenset[str]:
    """The executions of a workflow, or of all workflows of a type."""
    ml = session.ml_schema
    path = table(ml, MLTable.workflow.value)
    preferred = _workflow_types(session).get(workflow)
    if preferred is None:
        path = path.where(eq("RID", workflow))
    else:
        path = path.link(ml, MLTable.workflow_type.value, on=[("RID", "Workflow")]).where(
            eq("Workflow_Type", preferred)
        )
    path = path.link(ml, MLTable.execution.value, on=[("RID" if preferred is None else "Workflow", "Workflow")])
    return frozenset(str(row["RID"]) for row in session.catalog.attributes(path, "RID"))


def _workflow_types(session: Session) -> dict[str, str]:
    terms = list_vocabulary_terms(session, MLVocab.workflow_type.value)
    return {synonym: term.name for term in terms for synonym in term.synonyms} | {
        term.name: term.name for term in terms
    }
