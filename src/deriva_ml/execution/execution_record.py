"""What the catalog holds of a run itself: its row and its relatives; as plain values.

Every function makes a number of requests that does not depend on how many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLTable, Status
from deriva_ml.core.error_text import legible
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLCycleError,
    DerivaMLExecutionError,
    DerivaMLNotFoundError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
)
from deriva_ml.core.values import dataclass
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.states import check_move, named_status, parse_status
from deriva_ml.execution.uses import number, text
from deriva_ml.schema.bound import Room, of_owner
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Json
from deriva_ml.workspace.journal import JOURNAL_NAME

if TYPE_CHECKING:
    from deriva_ml.execution import consumed
    from deriva_ml.execution.workflow import Workflow
else:
    # Few records are asked for these.
    consumed = Room("deriva_ml.execution.consumed")

__all__ = [
    "ExecutionRecord",
    "HasRid",
    "Relative",
    "add_nested_execution",
    "list_nested_executions",
    "list_parent_executions",
    "lookup_execution",
    "lookup_executions",
    "relatives_below",
    "update_status",
]

EXECUTION = str(MLTable.execution)
NESTING = str(MLTable.execution_execution)


@dataclass(frozen=True)
class ExecutionRecord:
    """The row of a run, as it was when it was read. The functions below ask the catalog; they change no record.

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

    # no field: it is nothing of the row
    _session: ClassVar[Session | None] = None

    def bound(self, session: Session) -> Self:
        """The same record, which asks this catalog."""
        made = replace(self)
        made.__dict__["_session"] = session
        return made

    @property
    def catalog(self) -> Session:
        """The catalog that it was read from.

        Raises:
            DerivaMLExecutionError: It was read from none.
        """
        if self._session is None:
            raise DerivaMLExecutionError(
                f"The record of execution {self.execution_rid} is bound to no catalog.",
                hint="ml.lookup_execution gives one that is",
            )
        return self._session

    @property
    def dry_run(self) -> bool:
        """Whether nothing of it is in the catalog."""
        return self.execution_rid == DRY_RUN_RID

    @property
    def workflow(self) -> Workflow | None:
        """The code that it ran; the catalog is asked each time."""
        from deriva_ml.execution.workflow import lookup_workflow

        return None if self.workflow_rid is None else lookup_workflow(self.catalog, self.workflow_rid)

    list_input_datasets = of_owner(lambda: consumed.list_input_datasets)
    list_assets = of_owner(lambda: consumed.list_assets)

    def list_nested_executions(self, recurse: bool = False) -> list[ExecutionRecord]:
        """The runs that are part of it, in their sequence; with ``recurse`` those that are part of them too."""
        return list_nested_executions(self.catalog, self.execution_rid, recurse=recurse)

    def list_parent_executions(self, recurse: bool = False) -> list[ExecutionRecord]:
        """The runs that it is part of; with ``recurse`` those that they are part of too."""
        return list_parent_executions(self.catalog, self.execution_rid, recurse=recurse)

    def is_nested(self) -> bool:
        """Whether it is part of another run."""
        return bool(self.list_parent_executions())

    def is_parent(self) -> bool:
        """Whether other runs are part of it."""
        return bool(self.list_nested_executions())

    def add_nested_execution(self, nested: HasRid | str, sequence: int | None = None) -> None:
        """Make another run part of it.

        Args:
            nested: The other run.
            sequence: Its place among the parts.
        """
        child = nested if isinstance(nested, str) else nested.execution_rid
        add_nested_execution(self.catalog, self.execution_rid, child, sequence)

    def update_status(self, status: Status | str, detail: str = "") -> ExecutionRecord:
        """Move the run to another status; give its record as it is then.

        Args:
            status: The new status.
            detail: What there is to say of it; if nothing is said, what was said before stays.

        Raises:
            DerivaMLInvalidTransition: There is no such move.
            DerivaMLExecutionError: A living process works on the run: it moves it, and nobody else.
            DerivaMLReadOnlyError: The catalog is read as of a past moment.
        """
        return update_status(self.catalog, self.execution_rid, named_status(status), detail)

    def update_description(self, description: str) -> ExecutionRecord:
        """Say anew what the run was for; give its record as it is then.

        Raises:
            DerivaMLReadOnlyError: The catalog is read as of a past moment.
        """
        return _amend(self.catalog, self.execution_rid, {"Description": legible(description)})

    def __reduce__(self) -> tuple[Any, ...]:
        # what another process gets is the row, bound to no catalog
        return type(self), tuple(getattr(self, item.name) for item in fields(self))

    def __str__(self) -> str:
        told = {
            "workflow": self.workflow_rid,
            "detail": self.status_detail,
            "description": self.description,
            "started": self.start_time,
            "stopped": self.stop_time,
            "duration": self.duration,
            "upload": self.upload_state,
        }
        lines = [f"  {f'{name}:':<13}{value}" for name, value in told.items() if value]
        return "\n".join([f"Execution {self.execution_rid}: {self.status}", *lines])


class HasRid(Protocol):
    """An ``Execution`` or an ``ExecutionRecord``."""

    @property
    def execution_rid(self) -> str:
        """The run."""


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


def record_of(row: Mapping[str, Json], session: Session) -> ExecutionRecord:
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
    ).bound(session)


def lookup_execution(session: Session, rid: str) -> ExecutionRecord:
    """The run of a RID.

    Raises:
        DerivaMLRidsNotFound: Nothing has this RID.
        DerivaMLTableTypeError: The RID names something else.
    """
    rows = session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", [rid])
    if rows:
        return record_of(rows[0], session)
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
    return [record_of(found[rid], session) for rid in wanted if rid in found]


def add_nested_execution(session: Session, parent: str, child: str, sequence: int | None = None) -> None:
    """Make a run part of another one; without effect if it is that already.

    Raises:
        DerivaMLCycleError: A run cannot be part of itself.
        DerivaMLRidsNotFound: One of them does not exist.
        DerivaMLTableTypeError: One of them is no run.
    """
    if parent == child:
        raise DerivaMLCycleError([parent, child], "An execution cannot be part of itself")
    row: dict[str, Json] = {"Execution": parent, "Nested_Execution": child, "Sequence": sequence}
    try:
        session.catalog.insert(session.ml_schema, NESTING, [row], on_conflict_skip=True)
    except DerivaMLCatalogError as error:
        if error.status == HTTPStatus.CONFLICT:
            for rid in (parent, child):
                lookup_execution(session, rid)  # which says what is wrong with it
        raise


def update_status(session: Session, rid: str, status: Status, detail: str = "") -> ExecutionRecord:
    """Move a run to another status, in the journal first if it is a run of this machine.

    Args:
        session: The catalog.
        rid: The run.
        status: The new status.
        detail: What there is to say of it; if nothing is said, what was said before stays.

    Raises:
        DerivaMLInvalidTransition: There is no such move.
        DerivaMLExecutionError: A living process works on the run: it moves it, and nobody else.
    """
    session.require_writable()
    before = lookup_execution(session, rid)
    check_move(before.status, status)
    detail = process_mask().text(legible(detail)) or before.status_detail
    changes = {"Status": status.value, "Status_Detail": detail}
    if not (session.records_dir / JOURNAL_NAME).exists():
        return _amend(session, rid, changes)
    with open_journal(session) as journal:
        try:
            journal.take_over(rid)
        except DerivaMLNotFoundError:
            return _amend(session, rid, changes)  # a run of another machine
        journal.move(rid, status.value, detail)
        record = _amend(session, rid, changes)
        journal.mark_synced(rid, status.value)
    return record


def _amend(session: Session, rid: str, changes: Mapping[str, Json]) -> ExecutionRecord:
    """Change columns of a run's row; give its record as it is then."""
    session.require_writable()
    session.catalog.update(session.ml_schema, EXECUTION, [{"RID": rid, **changes}])
    return lookup_execution(session, rid)


def relatives_below(session: Session, parent: str) -> list[Relative]:
    """The parts of a run, in the order of their sequence, then of their making."""
    return _relatives(session, [parent], "Execution", "Nested_Execution")


def _relatives(session: Session, rids: Iterable[str], near: str, far: str) -> list[Relative]:
    """The runs linked with these, in the order of their sequence, then of their making."""
    links = session.catalog.rows_by(session.ml_schema, NESTING, near, rids)
    found = session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", [str(link[far]) for link in links])
    records = {str(row["RID"]): record_of(row, session) for row in found}
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
