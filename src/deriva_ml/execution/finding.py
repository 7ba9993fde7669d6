"""The runs of a catalog that are so and so, or have to do with something: in few requests however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deriva_ml.asset.asset import asset_executions
from deriva_ml.catalog.batches import value_parts
from deriva_ml.core.enums import AssetRole, MLTable, Status
from deriva_ml.core.exceptions import DerivaMLTableTypeError
from deriva_ml.dataset.executions import DatasetRole, dataset_executions
from deriva_ml.dataset.versions import require_dataset
from deriva_ml.execution.execution_record import EXECUTION, ExecutionRecord, lookup_executions, record_of
from deriva_ml.schema.ordering import Sort, arranged, sorted_path
from deriva_ml.schema.rids import resolve_rid
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import any_of, eq, table

__all__ = [
    "find_executions",
    "find_executions_consuming",
    "list_asset_executions",
    "list_dataset_executions",
    "newest_executions",
]

_LIST_BYTES = 4000
"""What a list of RIDs may take of a request; hosts take about 8,000 bytes in all."""


def newest_executions(
    session: Session,
    *,
    workflow: str | None = None,
    workflow_type: str | None = None,
    status: Status | str | None = None,
    limit: int | None = None,
    among: Iterable[str] | None = None,
) -> list[ExecutionRecord]:
    """Runs, the newest first, in one request; in several where there are too many for one of ``among``.

    Args:
        session: The catalog.
        workflow: Only of this workflow.
        workflow_type: Only of workflows of this kind.
        status: Only with this status.
        limit: At most so many.
        among: Only these.
    """
    path = table(session.ml_schema, EXECUTION)
    if workflow is not None:
        path = path.where(eq("Workflow", workflow))
    if status is not None:
        path = path.where(eq("Status", str(status)))
    if workflow_type is not None:
        kinds = str(MLTable.workflow_type)
        path = path.link(session.ml_schema, kinds, on=[("Workflow", "Workflow")], alias="K")
        path = path.where(eq("Workflow_Type", workflow_type)).context(EXECUTION)
    paths = [path] if among is None else [path.where(any_of("RID", part)) for part in value_parts(among, _LIST_BYTES)]
    rows: list[Mapping[str, Json]] = []
    for each in paths:
        ordered = sorted_path(each, True)
        rows += session.catalog.rows(ordered if limit is None else ordered.limited(limit))
    if len(paths) > 1:
        rows.sort(key=lambda row: (str(row["RCT"]), str(row["RID"])), reverse=True)
    return [record_of(row, session) for row in rows[:limit]]


def find_executions(
    session: Session,
    workflow: str | None = None,
    workflow_type: str | None = None,
    status: Status | str | None = None,
    *,
    dataset: str | None = None,
    dataset_role: DatasetRole = "any",
    sort: Sort[ExecutionRecord] = True,
) -> Iterator[ExecutionRecord]:
    """The runs of the catalog, the newest first.

    Args:
        session: The catalog.
        workflow: Only of this workflow.
        workflow_type: Only of workflows of this kind.
        status: Only with this status.
        dataset: Only those that have to do with this dataset.
        dataset_role: Only those that consumed it (``input``), only those that made it (``output``), or ``any``.
        sort: A function that gives what to sort by; else the newest come first.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLValidationError: There is no such role.
    """
    among = None
    if dataset is not None:
        require_dataset(session, dataset)
        among = [use.execution_rid for use in dataset_executions(session, dataset, dataset_role)]
    found = newest_executions(session, workflow=workflow, workflow_type=workflow_type, status=status, among=among)
    yield from arranged(found, sort)


def find_executions_consuming(session: Session, rid: str) -> list[ExecutionRecord]:
    """The runs that read something: who is concerned if it was wrong; each once, those that came first first.

    Args:
        session: The catalog.
        rid: A dataset, in whatever version it was read, or an asset.

    Raises:
        DerivaMLRidsNotFound: Nothing has this RID.
        DerivaMLTableTypeError: It is neither a dataset nor an asset: of nothing else it is recorded who reads it.
    """
    found = resolve_rid(session, rid).table
    if found.qualified == (session.ml_schema, MLTable.dataset.value):
        return list_dataset_executions(session, rid, "input")
    if is_asset(found):
        return list_asset_executions(session, rid, AssetRole.input.value)
    raise DerivaMLTableTypeError(
        "dataset or asset",
        found.name,
        source=f"RID {rid}",
        hint="only of datasets and assets it is recorded which executions read them",
    )


def list_asset_executions(session: Session, asset_rid: str, asset_role: str | None = None) -> list[ExecutionRecord]:
    """The runs that read or made an asset, the first first.

    Args:
        session: The catalog.
        asset_rid: The asset.
        asset_role: Only runs in which it has this role.

    Raises:
        DerivaMLTableTypeError: It is not an asset.
    """
    return lookup_executions(session, [rid for rid, _role in asset_executions(session, asset_rid, asset_role)])


def list_dataset_executions(
    session: Session, dataset_rid: str, dataset_role: DatasetRole = "any"
) -> list[ExecutionRecord]:
    """The runs that consumed or made a dataset, each once, those that came first first.

    Args:
        session: The catalog.
        dataset_rid: The dataset.
        dataset_role: Only those that consumed it (``input``), only those that made it (``output``), or ``any``.

    Raises:
        DerivaMLValidationError: There is no such role.
    """
    uses = dataset_executions(session, dataset_rid, dataset_role)
    return lookup_executions(session, [use.execution_rid for use in uses])
