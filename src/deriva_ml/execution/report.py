"""Everything that the catalog holds of a run, in one value.

The number of requests does not depend on how many rows there are: a few, and a few for each asset table in which the
run has files, and one for each feature.
"""

from __future__ import annotations

from deriva_ml.core.enums import AssetRole, MLAsset
from deriva_ml.core.values import dataclass
from deriva_ml.execution.execution_record import (
    EXECUTION,
    NESTING,
    ExecutionRecord,
    Relative,
    lookup_execution,
    order_key,
    record_of,
)
from deriva_ml.execution.uses import (
    AssetUse,
    DatasetUse,
    FeatureUse,
    dataset_uses,
    feature_uses,
    list_assets,
    number,
)
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.workflows import WorkflowRow, lookup_workflow
from deriva_ml.wire.path import either, eq, table

__all__ = ["RunReport", "describe"]


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything that the catalog holds of a run.

    Attributes:
        record: The run's row.
        workflow: The code that it ran.
        parents: Runs that it is part of.
        children: Runs that are part of it, in their sequence.
        input_datasets: Datasets that it consumed.
        output_datasets: Datasets of which it made a version.
        input_assets: Files that it consumed.
        output_assets: Files that it made.
        metadata: Files that describe it.
        features: Values that it gave to features.
        place: Where the catalog service is.
        catalog_id: The catalog.
        identity: Identity of the catalog service.
    """

    record: ExecutionRecord
    workflow: WorkflowRow | None
    parents: tuple[Relative, ...]
    children: tuple[Relative, ...]
    input_datasets: tuple[DatasetUse, ...]
    output_datasets: tuple[DatasetUse, ...]
    input_assets: tuple[AssetUse, ...]
    output_assets: tuple[AssetUse, ...]
    metadata: tuple[AssetUse, ...]
    features: tuple[FeatureUse, ...]
    place: str
    catalog_id: str
    identity: str


def _families(session: Session, rid: str) -> tuple[list[Relative], list[Relative]]:
    """The runs that a run is part of, and those that are part of it, in two requests."""
    path = table(session.ml_schema, NESTING).where(either(eq("Execution", rid), eq("Nested_Execution", rid)))
    links = session.catalog.rows(path)
    others = {str(link["Execution"]) for link in links} | {str(link["Nested_Execution"]) for link in links}
    rows = session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", sorted(others - {rid}))
    records = {str(row["RID"]): record_of(row, session) for row in rows}
    parents: list[Relative] = []
    children: list[Relative] = []
    for link in links:
        is_child = link["Execution"] == rid
        other = str(link["Nested_Execution"] if is_child else link["Execution"])
        (children if is_child else parents).append(Relative(records[other], number(link["Sequence"])))
    return sorted(parents, key=order_key), sorted(children, key=order_key)


def describe(owner: HasSession | Session, rid: str) -> RunReport:
    """Everything that the catalog holds of a run.

    Args:
        owner: A ``DerivaML`` or its session.
        rid: The run.

    Raises:
        DerivaMLRidsNotFound: Nothing has this RID.
        DerivaMLTableTypeError: The RID names something else.
    """
    session = session_of(owner)
    record = lookup_execution(session, rid)
    parents, children = _families(session, record.execution_rid)
    consumed, produced = dataset_uses(session, record.execution_rid)
    assets = list_assets(session, record.execution_rid)
    inputs = [use for use in assets if use.role == str(AssetRole.input)]
    outputs = [use for use in assets if use.role != str(AssetRole.input)]
    described = [use for use in outputs if use.table == str(MLAsset.execution_metadata)]
    return RunReport(
        record=record,
        workflow=lookup_workflow(session, record.workflow_rid) if record.workflow_rid else None,
        parents=tuple(parents),
        children=tuple(children),
        input_datasets=tuple(consumed),
        output_datasets=tuple(produced),
        input_assets=tuple(inputs),
        output_assets=tuple(use for use in outputs if use not in described),
        metadata=tuple(described),
        features=tuple(feature_uses(session, record.execution_rid)),
        place=str(session.place),
        catalog_id=session.catalog_id,
        identity=session.identity,
    )
