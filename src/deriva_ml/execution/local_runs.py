"""The runs of this machine, as its journal and their manifests know them; the catalog is not asked.

Every run that is in the journal writes to its catalog as it goes: its mode is ``online``. Dry runs are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLValidationError
from deriva_ml.core.values import dataclass
from deriva_ml.execution.finishing import parse_upload
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.pending import summarise_run
from deriva_ml.execution.recovery import begun_for, has_journal
from deriva_ml.execution.states import Upload, is_final, named_status, parse_status
from deriva_ml.schema.session import Session
from deriva_ml.workspace.evidence import Sign
from deriva_ml.workspace.journal import JOURNAL_NAME, Journal, Run
from deriva_ml.workspace.places import known_places

__all__ = [
    "MODES",
    "ExecutionSnapshot",
    "find_incomplete_executions",
    "list_executions",
    "runs_of_place",
    "wanted_statuses",
]

ONLINE = "online"
MODES = (ONLINE, "offline")
"""How a run may have been made; there are none yet that are made without their catalog."""


@dataclass(frozen=True, slots=True)
class ExecutionSnapshot:
    """A run of this machine, as it was when it was asked for.

    Attributes:
        execution_rid: The run.
        workflow_rid: Its code.
        description: What it is for.
        status: Its status.
        detail: What there is to say of the status.
        upload_state: How far the upload of its outputs is.
        mode: ``online``.
        working_dir: Its directory.
        started: When it was begun.
        last_activity: When something was last noted of it.
        stopped: When it ended; None if it has not.
        error: Why it, or its upload, failed.
        process: Whether its process is there: ``alive``, ``gone``, or ``unknown`` where it cannot be seen from here.
        synced: Whether the catalog has been told all of this.
        pending_files: How many files were not tried yet.
        failed_files: How many files were tried and are not in the catalog.
        pending_rows: How many rows and values of features were not tried yet.
        failed_rows: How many of them were tried and are not in the catalog.
        diagnostics: Why, and what could not be counted.
        is_damaged: Whether its manifest cannot be read, so that nothing could be counted.
    """

    execution_rid: str
    workflow_rid: str | None
    description: str
    status: Status
    detail: str
    upload_state: Upload
    mode: str
    working_dir: Path
    started: datetime
    last_activity: datetime
    stopped: datetime | None
    error: str | None
    process: str
    synced: bool
    pending_files: int = 0
    failed_files: int = 0
    pending_rows: int = 0
    failed_rows: int = 0
    diagnostics: tuple[str, ...] = ()
    is_damaged: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it has not ended, and its process is not known to be gone."""
        return not is_final(self.status) and self.process != Sign.gone.value

    @property
    def is_incomplete(self) -> bool:
        """Whether it has not ended, or something of it is not in the catalog."""
        left = self.pending_files or self.failed_files or self.pending_rows or self.failed_rows
        return (
            bool(left)
            or self.is_damaged
            or not is_final(self.status)
            or self.upload_state in {Upload.pending, Upload.failed}
        )


def list_executions(
    session: Session,
    *,
    status: Status | str | Iterable[Status | str] | None = None,
    workflow_rid: str | None = None,
    mode: str | None = None,
    since: datetime | None = None,
) -> list[ExecutionSnapshot]:
    """The runs of this machine on this catalog, the newest first; the catalog is not asked.

    Args:
        session: The catalog.
        status: Only with this status, or with one of these.
        workflow_rid: Only of this workflow.
        mode: Only those made ``online``, or ``offline``; there are none of the latter.
        since: Only those of which something was noted then or later; without a time zone it is this machine's.

    Raises:
        DerivaMLValidationError: There is no such status or mode.
    """
    wanted = wanted_statuses(status)
    if since is not None and not isinstance(since, datetime):
        raise DerivaMLValidationError(f"{since!r} is no moment.", hint="give a datetime")
    if mode is not None and str(mode) not in MODES:
        raise DerivaMLValidationError(f"There is no mode {str(mode)!r} of executions.", allowed=MODES)
    if mode not in {None, ONLINE} or not has_journal(session):
        return []
    with open_journal(session) as journal:
        runs = [
            run
            for run in journal.runs()
            if (wanted is None or parse_status(run.status) in wanted)
            and (workflow_rid is None or run.workflow == workflow_rid)
            and (since is None or _moment(run.heartbeat) >= since.astimezone(UTC))
        ]
        return [_snapshot(journal, run) for run in runs]


def runs_of_place(hostname: str, catalog_id: str) -> list[ExecutionSnapshot]:
    """The runs of this machine on a catalog that cannot be opened now, the newest first.

    Args:
        hostname: The catalog's host as it is noted: ``local``, the absolute path of a folder, a host name, a URL.
        catalog_id: The catalog.
    """
    found: list[ExecutionSnapshot] = []
    for place in known_places():
        path = place.records_dir / JOURNAL_NAME
        if (place.hostname, place.catalog_id) == (hostname, catalog_id) and path.exists():
            with Journal(path, catalog=place.identity, catalog_id=catalog_id) as journal:
                found += [_snapshot(journal, run) for run in journal.runs()]
    return sorted(found, key=lambda run: run.started, reverse=True)


def find_incomplete_executions(session: Session) -> list[ExecutionSnapshot]:
    """The runs of this machine that have not ended, or of which something is not in the catalog, the newest first."""
    return [run for run in list_executions(session) if run.is_incomplete]


def wanted_statuses(status: Status | str | Iterable[Status | str] | None) -> frozenset[Status] | None:
    """The statuses that somebody asks for; None if any will do.

    Raises:
        DerivaMLValidationError: There is no such status.
    """
    if status is None:
        return None
    names = [status] if isinstance(status, str) else list(status)
    return frozenset(map(named_status, names))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _snapshot(journal: Journal, run: Run) -> ExecutionSnapshot:
    summary = summarise_run(run)
    return ExecutionSnapshot(
        execution_rid=run.execution,
        workflow_rid=run.workflow,
        description=begun_for(journal, run),
        status=parse_status(run.status),
        detail=run.detail,
        upload_state=parse_upload(run.upload_state),
        mode=ONLINE,
        working_dir=run.directory,
        started=_moment(run.started),
        last_activity=_moment(run.heartbeat),
        stopped=None if run.stopped is None else _moment(run.stopped),
        error=run.error,
        process=run.process.sign().value,
        synced=run.synced,
        pending_files=summary.pending_files,
        failed_files=summary.failed_files,
        pending_rows=summary.pending_rows,
        failed_rows=summary.failed_rows,
        diagnostics=summary.diagnostics,
        is_damaged=summary.is_damaged,
    )
