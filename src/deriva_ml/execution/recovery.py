"""Runs that ended without saying so: found in the journal, told to the catalog, from evidence only.

1. A run is called dead only if its process is gone from this machine; a run of another machine is left alone.
2. A dead run becomes Aborted, and the detail says what the evidence is. If its row was never made, it is made now: the
   run was begun, and its RID may be known to somebody.
3. What a dead run had registered is not lost: it stays pending, and :func:`incomplete_runs` lists it for the upload.
4. Everything here can be repeated, and done by two processes at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from deriva_ml.core.enums import MLTable, Status
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLNotFoundError
from deriva_ml.core.logging_config import get_logger
from deriva_ml.core.values import dataclass
from deriva_ml.execution.attempts import RESUMED
from deriva_ml.execution.ledger import duration_text, execution_columns, insert_execution, open_journal
from deriva_ml.execution.outputs import Waiting, pending_outputs
from deriva_ml.execution.states import Mover, Upload, check_move, is_final, parse_status
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.evidence import Sign
from deriva_ml.workspace.journal import JOURNAL_NAME, Journal, Run
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = [
    "IncompleteRun",
    "begun_for",
    "find_dead_runs",
    "has_journal",
    "incomplete_run",
    "incomplete_runs",
    "reconcile_dead_runs",
]

EXECUTION = str(MLTable.execution)

FOUND_DEAD = "Aborted: its process"
"""How the detail of a run begins that was found dead: when it ended is not known."""


@dataclass(frozen=True, slots=True)
class IncompleteRun:
    """A run of this machine with outputs that are not in the catalog.

    Attributes:
        run: What the journal knows of it.
        waiting: How much of it is pending or failed.
    """

    run: Run
    waiting: Waiting

    @property
    def assets(self) -> int:
        """How many files are pending or failed."""
        return self.waiting.files

    @property
    def features(self) -> int:
        """How many features have values that are pending."""
        return self.waiting.features

    @property
    def is_running(self) -> bool:
        """Whether a living process works on it: it will upload them itself."""
        return not is_final(parse_status(self.run.status)) and self.run.process.sign() is not Sign.gone


def has_journal(session: Session) -> bool:
    """Whether runs of the catalog were begun on this machine."""
    # os.path.exists: where the home cannot even be looked into, there are no runs of ours, and reading goes on
    return os.path.exists(session.records_dir / JOURNAL_NAME)  # noqa: PTH110


def reconcile_dead_runs(owner: HasSession | Session) -> list[Run]:
    """Bring the catalog level with the journal: dead runs become Aborted, and what it was not told it is told.

    A working directory without a journal costs nothing, and one whose runs all ended well no request.

    Returns:
        The runs that were found dead, as the journal knows them now.
    """
    session = session_of(owner)
    if session.is_snapshot or not has_journal(session):
        return []
    with open_journal(session) as journal:
        dead = {run.execution: run for run in journal.dead_runs()}
        behind = [run for run in journal.unsynced_runs() if run.execution in dead or is_final(parse_status(run.status))]
        if not dead and not behind:
            return []
        rids = list(dict.fromkeys([*dead, *(run.execution for run in behind)]))
        rows = {str(row["RID"]): row for row in session.catalog.rows_by(session.ml_schema, EXECUTION, "RID", rids)}
        found = [_end(session, journal, run, rows) for run in dead.values()]
        ended = [run for run in found if run is not None]
        level = ended + [run for run in behind if run.execution not in dead]
        for run in level:
            if run.execution not in rows and run not in ended:
                _make_row(session, journal, run)  # it ended before its row could be made
        _tell(session, journal, [run for run in level if run.execution in rows], rows)
        return ended


def find_dead_runs(session: Session, told: Callable[[Run], None] | None = None) -> None:
    """Mark the runs of this machine that were killed; that this cannot be done now is no reason to do nothing else.

    Args:
        session: The catalog.
        told: Is told each run that was found; by default it is logged.
    """
    logger = get_logger("execution")
    try:
        for run in reconcile_dead_runs(session):
            if told is not None:
                told(run)
            else:
                logger.warning("Execution %s was found dead: %s", run.execution, run.detail)
    except DerivaMLException as error:
        logger.warning("Earlier runs of this machine cannot be looked after: %s", error)


def _end(session: Session, journal: Journal, run: Run, rows: Mapping[str, Mapping[str, Any]]) -> Run | None:
    """Note in the journal that a dead run was aborted, and make its row if it has none.

    None if another process has noted that meanwhile, or goes on with the run.
    """
    check_move(parse_status(run.status), Status.aborted, Mover.finder)
    process = run.process
    last = f" ({run.detail})" if run.detail and run.status != Status.created.value else ""
    detail = (
        f"{FOUND_DEAD} {process.pid} on {process.host} is gone. It was {run.status} and last seen at "
        f"{run.heartbeat}{last}."
    )
    upload = Upload.pending.value if _has_pending(run) else run.upload_state
    ended = journal.end_dead(run, Status.aborted.value, detail=detail, error="process gone", upload_state=upload)
    if ended is not None and run.execution not in rows:
        _make_row(session, journal, ended)
    return ended


def _make_row(session: Session, journal: Journal, run: Run) -> None:
    """Make the row of a run that has ended."""
    insert_execution(
        session,
        {
            "RID": run.execution,
            "Workflow": run.workflow,
            "Description": begun_for(journal, run),
            "Status": run.status,
            "Status_Detail": run.detail,
            "Upload_State": run.upload_state,
        },
    )
    journal.mark_synced(run.execution, run.status)


def _has_pending(run: Run) -> bool:
    """Whether a run that died has left outputs to be uploaded."""
    try:
        manifest = Manifest(run.directory / MANIFEST_NAME, run.execution, read_only=True)
    except DerivaMLException:  # that it cannot be read is said where it is uploaded
        return False
    return any(pending_outputs(manifest, Status.aborted))


def begun_for(journal: Journal, run: Run) -> str:
    """What the run was for: the journal's first line of it says so."""
    created = (step.detail for step in journal.steps(run.execution) if step.what == Status.created.value)
    return next(created, "")


def _tell(session: Session, journal: Journal, runs: Sequence[Run], rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the status of ended runs to their rows, in one request; a row that has ended another way stays."""
    known = execution_columns(session)
    changes = []
    for run in runs:
        row = rows[run.execution]
        change: dict[str, Any] = {"RID": run.execution}
        if not is_final(parse_status(str(row.get("Status") or ""))) or _tells_earlier(journal, run, row):
            change |= {"Status": run.status, "Status_Detail": run.detail, **_times(journal, run, known)}
        if "Upload_State" in known:
            change["Upload_State"] = run.upload_state
        if len(change) > 1:
            changes.append(change)
    session.catalog.update(session.ml_schema, EXECUTION, changes)
    for run in runs:
        journal.mark_synced(run.execution, run.status)


def _tells_earlier(journal: Journal, run: Run, row: Mapping[str, Any]) -> bool:
    """Whether a row tells the end of an attempt after which the run was taken up again: of that it was not told."""
    before = [json.loads(step.detail) for step in journal.steps(run.execution) if step.what == RESUMED]
    told = (row.get("Status"), row.get("Status_Detail") or "")
    return any(told == (attempt["status"], attempt["detail"]) for attempt in before)


def _times(journal: Journal, run: Run, known: frozenset[str]) -> dict[str, Any]:
    """When the model started and ended, from the steps of the journal; of a dead run only the start is known."""
    moments: dict[str, datetime] = {}
    for step in journal.steps(run.execution):
        if step.what == RESUMED:
            moments.clear()  # the row tells the last attempt
        moments.setdefault(step.what, datetime.fromisoformat(step.at))  # a status may be told of again and again
    started, stopped = moments.get(Status.running.value), moments.get(run.status)
    times: dict[str, Any] = {}
    if started is not None:
        times["Start_Time"] = started.isoformat()
        if stopped is not None and not run.detail.startswith(FOUND_DEAD):
            times["Stop_Time"] = stopped.isoformat()
            took = duration_text((stopped - started).total_seconds())
            times |= dict.fromkeys(("Duration", "Execution_Duration"), took)
    return {name: value for name, value in times.items() if name in known}


def incomplete_runs(owner: HasSession | Session) -> list[IncompleteRun]:
    """The runs of this machine with outputs that are not in the catalog, the newest first; the catalog is not asked.

    Raises:
        DerivaMLDataError: A run's manifest cannot be read.
    """
    session = session_of(owner)
    if not has_journal(session):
        return []
    with open_journal(session) as journal:
        found = [incomplete_run(run) for run in journal.runs()]
    return [item for item in found if item is not None]


def incomplete_run(run: Run) -> IncompleteRun | None:
    """What of a run is not in the catalog; None if all is.

    Raises:
        DerivaMLDataError: The run's manifest cannot be read.
    """
    try:
        manifest = Manifest(run.directory / MANIFEST_NAME, run.execution, read_only=True)
    except DerivaMLNotFoundError:
        return None
    waiting = pending_outputs(manifest, parse_status(run.status))
    unfinished = run.upload_state in {Upload.pending.value, Upload.failed.value}
    return IncompleteRun(run, waiting) if any(waiting) or unfinished else None
