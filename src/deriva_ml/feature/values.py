"""The values of features in a catalog: adding them at once, and reading them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from deriva_ml.catalog.batches import value_parts
from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import (
    DerivaMLMaterializeLimitExceeded,
    DerivaMLNotFoundError,
    DerivaMLValidationError,
)
from deriva_ml.core.files import nearest
from deriva_ml.feature import select
from deriva_ml.feature.feature import Feature, find_features
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.shape import EXECUTION, FeatureShape
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import list_vocabulary_terms, vocabulary, vocabulary_columns
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import Path, any_of, either, eq, table

__all__ = [
    "add_features",
    "feature_to_read",
    "feature_values",
    "fetch_table_features",
    "grouped",
    "list_feature_values",
    "named",
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
            same record for the same execution as another, given or stored. Nothing is stored then.
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
    _refuse_stored(session, shape, rows)
    session.catalog.insert(*shape.feature_table.qualified, rows)
    return len(rows)


def named(records: Collection[str], limit: int = 10) -> str:
    """Records for a message: the first of them, and how many there are besides."""
    first = ", ".join(sorted(records)[:limit])
    return first if len(records) <= limit else f"{first} and {len(records) - limit} more"


def _check_rows(shape: FeatureShape, rows: list[dict[str, Any]]) -> None:
    assets = [column.name for column in shape.asset_columns]
    for number, row in enumerate(rows, start=1):
        if row[EXECUTION] is None:
            raise DerivaMLValidationError(
                f"Value {number} of feature {shape} has no execution.",
                hint="set its field Execution, or add it with add_features of the execution",
            )
        for column in assets:
            if isinstance(row[column], PurePath):
                raise DerivaMLValidationError(
                    f"Value {number} of feature {shape} has a path in column {column}: {row[column]}.",
                    hint="upload the file first and give its RID, or add the value in an execution",
                )
    given = Counter((row[EXECUTION], row[shape.target_column]) for row in rows)
    twice = {target for (_, target), count in given.items() if count > 1}
    if twice:
        raise DerivaMLValidationError(
            f"Feature {shape} was given two values for {'record' if len(twice) == 1 else 'records'} {named(twice)} "
            "by one execution.",
            hint="an execution makes one value of a feature for each record",
        )


def _refuse_stored(session: Session, shape: FeatureShape, rows: list[dict[str, Any]]) -> None:
    """Refuse, before anything is stored, values for records of which the executions have values already."""
    given = {(row[EXECUTION], row[shape.target_column]) for row in rows}
    stored = session.catalog.rows_by(
        *shape.feature_table.qualified,
        EXECUTION,
        sorted({execution for execution, _ in given}),
        columns=[EXECUTION, shape.target_column],
    )
    there = {str(row[shape.target_column]) for row in stored if (row[EXECUTION], row[shape.target_column]) in given}
    if there:
        raise DerivaMLValidationError(
            f"Feature {shape} has values of the same execution for {'record' if len(there) == 1 else 'records'} "
            f"{named(there)} already; nothing was stored.",
            hint="an execution makes one value of a feature for each record",
        )


def feature_to_read(session: Session, target: Table, feature_name: str) -> Feature:
    """The feature whose values are asked for.

    Raises:
        DerivaMLNotFoundError: The table has no such feature; the nearest names are in the error.
    """
    known = {feature.feature_name: feature for feature in find_features(session, target)}
    if feature_name not in known:
        raise DerivaMLNotFoundError(
            f"Feature '{feature_name}' not found on table '{target.name}'.", allowed=nearest(feature_name, known)
        )
    return known[feature_name]


def list_feature_values(
    session: Session,
    table: str | Table,
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
        table: The table that the feature describes.
        feature_name: The feature.
        selector: Takes one value where a record has several; without it all are given.
        execution: Only values that this execution made.
        workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.
        target: Only values for the record with this RID.

    Raises:
        DerivaMLNotFoundError: There is no such feature.
    """
    return feature_values(
        session,
        table,
        feature_name,
        selector,
        execution_rids=None if execution is None else [execution],
        workflow=workflow,
        targets=None if target is None else [target],
    )


def feature_values(
    session: Session,
    table: str | Table,
    feature_name: str,
    selector: select.Selector | None = None,
    materialize_limit: int | None = None,
    execution_rids: Collection[str] | None = None,
    *,
    workflow: str | None = None,
    targets: Collection[str] | None = None,
) -> list[FeatureRecord]:
    """The values of a feature.

    What is asked for is asked of the catalog: values that are not wanted do not travel, unless they are of records
    that are too many to be listed.

    Args:
        session: The catalog.
        table: The table that the feature describes.
        feature_name: The feature.
        selector: Takes one value where a record has several; a record for which it gives None is left out.
        materialize_limit: The greatest number of values that may be read, before the selector chooses.
        execution_rids: Only values that one of these executions made.
        workflow: Only values made by executions of this workflow (a RID), or of workflows of this type.
        targets: Only values for the records with these RIDs.

    Raises:
        DerivaMLNotFoundError: There is no such feature, or no such workflow nor type of workflows.
        DerivaMLMaterializeLimitExceeded: There are more values than ``materialize_limit``; none is returned.
    """
    feature = feature_to_read(session, session.table(table), feature_name)
    cls = feature.feature_record_class()
    records: list[FeatureRecord] = []
    # a long list of records would be many requests: then all values travel, in one
    chosen = frozenset(targets) if targets is not None and len(targets) > MANY_TARGETS else None
    for path in _paths(session, feature, execution_rids, workflow, targets if chosen is None else None):
        limit = None if chosen is not None or materialize_limit is None else materialize_limit - len(records) + 1
        rows = session.catalog.rows(path if limit is None else path.limited(limit))
        records.extend(cls.from_row(row) for row in rows if chosen is None or row[feature.target_column] in chosen)
        if materialize_limit is not None and len(records) > materialize_limit:
            raise DerivaMLMaterializeLimitExceeded(
                f"values of feature {feature}",
                materialize_limit,
                hint="ask for those of some executions (execution_rids=[...]), or raise materialize_limit",
            )
    if workflow is not None and not records:
        _require_workflow(session, workflow)
    return records if selector is None else selected(records, selector)


MANY_TARGETS = 1000
"""More records than these are not listed in requests."""

VALUES_BYTES = 4000
"""What a list of RIDs may take of a request; hosts take about 8,000 bytes in all."""


def _paths(
    session: Session,
    feature: FeatureShape,
    executions: Collection[str] | None,
    workflow: str | None,
    targets: Collection[str] | None,
) -> Iterator[Path]:
    """The requests for the values: one, unless the RIDs to ask for are too many for one."""
    base = table(*feature.feature_table.qualified, alias="V")
    for by_execution in _filtered(base, EXECUTION, executions):
        for path in _filtered(by_execution, feature.target_column, targets):
            yield path if workflow is None else _of_workflow(session, path, workflow)


def _filtered(path: Path, column: str, values: Collection[str] | None) -> Iterator[Path]:
    if values is None:
        yield path
        return
    for part in value_parts(values, VALUES_BYTES):
        yield path.where(any_of(column, part) if len(part) > 1 else eq(column, part[0]))


def _of_workflow(session: Session, path: Path, workflow: str) -> Path:
    """The values of a path that executions of a workflow made, or of workflows of a type, by name or synonym."""
    ml = session.ml_schema
    types = vocabulary(session, f"{ml}:{MLVocab.workflow_type.value}")
    names = vocabulary_columns(types)
    return (
        path.link(ml, MLTable.execution.value, on=[(("V", EXECUTION), "RID")], alias="E")
        .link(ml, "Workflow_Workflow_Type", on=[(("E", "Workflow"), "Workflow")], alias="T", how="left")
        .link(ml, types.name, on=[(("T", "Workflow_Type"), names["Name"])], alias="N", how="left")
        .where(
            either(
                eq(("E", "Workflow"), workflow),
                eq(("N", names["Name"]), workflow),
                eq(("N", names["Synonyms"]), workflow),
            )
        )
        .context("V")
    )


def _require_workflow(session: Session, workflow: str) -> None:
    """Tell a workflow whose executions made nothing from one that there is not."""
    types = _workflow_types(session)
    if workflow in types:
        return
    if session.catalog.rows(table(session.ml_schema, MLTable.workflow.value).where(eq("RID", workflow))):
        return
    raise DerivaMLNotFoundError(
        f"There is no workflow {workflow}, and no type of workflows of this name.", allowed=nearest(workflow, types)
    )


def fetch_table_features(
    session: Session,
    table: str | Table,
    feature_name: str | None = None,
    selector: select.Selector | None = None,
) -> dict[str, list[FeatureRecord]]:
    """The values of one feature of a table, or of all its features, by feature name.

    Raises:
        DerivaMLNotFoundError: There is no feature of this name.
    """
    target = session.table(table)
    names = [feature.feature_name for feature in find_features(session, target)]
    wanted = names if feature_name is None else [feature_name]
    return {name: list_feature_values(session, target, name, selector) for name in wanted}


def selected(records: Iterable[FeatureRecord], selector: select.Selector) -> list[FeatureRecord]:
    """One value for each record that is described; the selector decides where there are several.

    A record for which the selector gives None is left out.
    """
    by_target: dict[str, list[FeatureRecord]] = {}
    for record in records:
        by_target.setdefault(record.target_rid, []).append(record)
    chosen = (values[0] if len(values) == 1 else selector(values) for values in by_target.values())
    return [record for record in chosen if record is not None]


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
