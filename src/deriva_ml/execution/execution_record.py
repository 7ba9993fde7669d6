"""What the catalog holds of a run itself: its row and its relatives; as plain values.

Every function makes a number of requests that does not depend on how many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from deriva_ml.asset.asset import asset_executions
from deriva_ml.catalog.batches import value_parts
from deriva_ml.core.enums import AssetRole, MLTable, Status
from deriva_ml.core.exceptions import DerivaMLCycleError, DerivaMLRidsNotFound, DerivaMLTableTypeError
from deriva_ml.dataset.executions import DatasetRole, dataset_executions
from deriva_ml.dataset.versions import require_dataset
from deriva_ml.execution.states import parse_status
from deriva_ml.execution.uses import number, text
from deriva_ml.schema.ordering import Sort, arranged, sorted_path
from deriva_ml.schema.rids import resolve_rid
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import any_of, eq, table

__all__ = [
    "ExecutionRecord",
    "Relative",
    "add_nested_execution",
    "find_executions",
    "find_executions_consuming",
    "list_asset_executions",
    "list_dataset_executions",
    "list_nested_executions",
    "list_parent_executions",
    "lookup_execution",
    "lookup_executions",
    "newest_executions",
    "relatives_below",
]

_LIST_BYTES = 4000
"""What a list of RIDs may take of a request; hosts take about 8,000 bytes in all."""

EXECUTION = str(MLTable.execution)
NESTING = str(MLTable.execution_execution)


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """The row of a run.

    Attributes:
        execution_rid: The run.
        workflow_rid: The code that it ran.
        status: Its status.
        status_detail: What was last said of the status.
        description: What it was for.
        start_time: When the model started, where the catalog has a column for it.
        stop_time: When the model ended, likewise.
        duration: How long the model ran, in words.
        download_duration: How long it took to bring the inputs, where the catalog has a column for it.
        upload_duration: How long the last upload took that brought outputs, likewise.
        upload_state: How far the upload is, where the catalog has a column for it.
        created: When the row was made.
    """

    execution_rid: str
    workflow_rid: str | None = None
    status: Status = Status.created
    status_detail: str = ""
    description: str = ""
    start_time: datetime | None = None
    stop_time: datetime | None = None
    duration: str | None = None
    upload_state: str | None = None
    created: datetime | None = None
    download_duration: str | None = None
    upload_duration: str | None = None


@dataclass(frozen=True, slots=True)
class Relative:
    """A run that another one is part of, or that is part of it.

    Attributes:
        record: The run.
        sequence: Its place among the parts; None where there is no order.
    """

    record: ExecutionRecord
    sequence: int | None = None


def _moment(value: Json) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))


def record_of(row: Mapping[str, Json]) -> ExecutionRecord:
    """The value of a row of the table of executions; columns that the catalog lacks are empty."""
    return ExecutionRecord(
        execution_rid=str(row["RID"]),
        workflow_rid=text(row.get("Workflow")),
        status=parse_status(text(row.get("Status"))),
        status_detail=text(row.get("Status_Detail")) or "",
        description=text(row.get("Description")) or "",
        start_time=_moment(row.get("Start_Time")),
        stop_time=_moment(row.get("Stop_Time")),
        duration=text(row.get("Duration")) or text(row.get("Execution_Duration")),
        download_duration=text(row.get("Download_Duration")),
        upload_duration=text(row.get("Upload_Duration")),
        upload_state=text(row.get("Upload_State")),
        created=_moment(row.get("RCT")),
    )


def lookup_execution(session: Session, rid: str) -> ExecutionRecord:
    """The run of a RID.

    Raises:
        DerivaMLRidsNotFound: Nothing has this RID.
        DerivaMLTableTypeError: The RID names something else.
    """
    rows = session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", [rid])
    if rows:
        return record_of(rows[0])
    place = session.catalog.resolve_rids([rid]).get(rid)
    if place is None:
        raise DerivaMLRidsNotFound([rid], source=f"catalog {session.catalog_id} at {session.place}")
    raise DerivaMLTableTypeError(
        "Execution", f"{place[0]}:{place[1]}", hint=f"RID '{rid}' refers to a {place[1]}, not an Execution"
    )


def lookup_executions(session: Session, rids: Iterable[str]) -> list[ExecutionRecord]:
    """The runs of many RIDs, in their order; what is not a run is left out."""
    wanted = list(dict.fromkeys(rids))
    found = {str(row["RID"]): row for row in session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", wanted)}
    return [record_of(found[rid]) for rid in wanted if rid in found]


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
    return [record_of(row) for row in rows[:limit]]


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


def add_nested_execution(session: Session, parent: str, child: str, sequence: int | None = None) -> None:
    """Make a run part of another one; without effect if it is that already.

    Raises:
        DerivaMLCycleError: A run cannot be part of itself.
    """
    if parent == child:
        raise DerivaMLCycleError([parent, child], "An execution cannot be part of itself")
    row: dict[str, Json] = {"Execution": parent, "Nested_Execution": child, "Sequence": sequence}
    session.catalog.insert(session.ml_schema, NESTING, [row], on_conflict_skip=True)


def relatives_below(session: Session, parent: str) -> list[Relative]:
    """The parts of a run, in the order of their sequence, then of their making."""
    return _relatives(session, [parent], "Execution", "Nested_Execution")


def _relatives(session: Session, rids: Iterable[str], near: str, far: str) -> list[Relative]:
    """The runs linked with these, in the order of their sequence, then of their making."""
    links = session.catalog.rows_by(session.ml_schema, NESTING, near, rids)
    found = session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", [str(link[far]) for link in links])
    records = {str(row["RID"]): record_of(row) for row in found}
    relatives = [Relative(records[str(link[far])], number(link["Sequence"])) for link in links]
    return sorted(relatives, key=order_key)


def order_key(relative: Relative) -> tuple[bool, int, str, str]:
    """The place of a relative: by its sequence, then by its making."""
    created = relative.record.created
    place = created.isoformat() if created else ""
    return relative.sequence is None, relative.sequence or 0, place, relative.record.execution_rid


def _closure(session: Session, rid: str, near: str, far: str, *, recurse: bool) -> list[ExecutionRecord]:
    """The relatives of a run, one level after another; each once, whatever circles there are."""
    found: list[ExecutionRecord] = []
    seen, level = {rid}, [rid]
    while level:
        records = [relative.record for relative in _relatives(session, level, near, far)]
        fresh = [record for record in records if record.execution_rid not in seen]
        fresh = list({record.execution_rid: record for record in fresh}.values())
        found += fresh
        seen |= {record.execution_rid for record in fresh}
        level = [record.execution_rid for record in fresh] if recurse else []
    return found


def list_nested_executions(session: Session, rid: str, *, recurse: bool = False) -> list[ExecutionRecord]:
    """The runs that are part of a run, in their sequence; with ``recurse`` those that are part of them too."""
    return _closure(session, rid, "Execution", "Nested_Execution", recurse=recurse)


def list_parent_executions(session: Session, rid: str, *, recurse: bool = False) -> list[ExecutionRecord]:
    """The runs that a run is part of; with ``recurse`` those that they are part of too."""
    return _closure(session, rid, "Nested_Execution", "Execution", recurse=recurse)
