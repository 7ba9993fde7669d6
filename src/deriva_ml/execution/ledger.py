"""The status of one run, kept in the journal of this machine and in the catalog.

1. Every move is checked against the table of moves, then written to the journal, then to the catalog.
2. If the catalog cannot be told, the run goes on, and does not wait for it. The journal knows that the catalog is
   behind, and the next chance (the next move, or :func:`deriva_ml.execution.recovery.reconcile_dead_runs`) brings it
   level. Only the run's row must be there before what refers to it: for that the catalog is waited for.
3. Columns that a catalog does not have are left out.
4. What is said of a status is freed of secrets: it may be the text of any error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deriva_ml.catalog.transport import PASSING
from deriva_ml.core.enums import MLTable, Status
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLException,
    DerivaMLExecutionError,
    DerivaMLUnreachable,
)
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.masking import Mask
from deriva_ml.execution.pulse import Pulse
from deriva_ml.execution.states import Mover, Upload, check_move, check_upload_move, is_final
from deriva_ml.schema.session import Session
from deriva_ml.workspace.journal import JOURNAL_NAME, Journal

__all__ = ["Ledger", "duration_text", "execution_columns", "open_journal", "utc_now"]

DURATIONS = ("Duration", "Execution_Duration", "Download_Duration", "Upload_Duration")
"""Columns with durations; a catalog has some of them."""

LONGEST_DETAIL = 4000
"""What is said of a status is cut to so many characters."""

PAUSE = 30.0
"""Seconds before a catalog that is away is told of a run that goes on again."""


def utc_now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


def open_journal(session: Session) -> Journal:
    """This machine's journal of a catalog's runs."""
    return Journal(session.records_dir / JOURNAL_NAME, catalog=session.identity, catalog_id=session.catalog_id)


def execution_columns(session: Session) -> frozenset[str]:
    """The columns that the catalog's table of executions has."""
    table = session.model().schemas[session.ml_schema].tables[str(MLTable.execution)]
    return frozenset(column.name for column in table.columns)


def duration_text(seconds: float) -> str:
    """A duration as the catalog's text column holds it: ``0.0H 1.0min 3.1416sec``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}H {minutes}min {round(rest, 4)}sec"


class Ledger:
    """The status of one run.

    Args:
        session: The catalog.
        journal: The journal; None for a dry run, of which nothing is kept.
        execution_rid: The run.
        status: Its status.
        upload: The state of its upload.
        mask: What hides secrets.
        clock: Seconds, from whenever.
    """

    def __init__(
        self,
        session: Session,
        journal: Journal | None,
        execution_rid: str,
        status: Status = Status.created,
        upload: Upload = Upload.none,
        *,
        mask: Mask | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.journal = journal
        self.execution_rid = execution_rid
        self.status = status
        self.upload = upload
        self.detail = ""
        self._mask = mask or Mask()
        self._missed: dict[str, Any] = {}
        self._row: dict[str, Any] | None = None
        self._pulse: Pulse | None = None
        self._clock = clock
        self._away_since: float | None = None
        self._brief = session.brief()  # of a status the catalog can be told later

    @property
    def is_away(self) -> bool:
        """Whether the catalog could not be told of the latest move."""
        return self._away_since is not None

    def at_hand(self) -> AbstractContextManager[None]:
        """Within the block the journal is opened once; a run that may be left, and never ended, is not in one."""
        return nullcontext() if self.journal is None else self.journal.at_hand()

    def open(self, directory: Path, row: Mapping[str, Any]) -> None:
        """Begin the run in the journal: from now on it is known, whatever happens. Its row is made by the first move.

        Args:
            directory: The run's directory.
            row: The columns of its row that are not about the status.
        """
        self._row = {**row, "RID": self.execution_rid}
        if self.journal is not None:
            workflow = row.get("Workflow")
            self.journal.open_run(
                self.execution_rid,
                directory=directory,
                workflow=str(workflow) if workflow else None,
                # what the run is for: enough to make its row, should this process not come to it
                detail=str(row.get("Description") or ""),
            )
            self.hold()

    def hold(self) -> None:
        """From now on, and until the run has ended, this process tells the journal that the run goes on."""
        if self.journal is not None and self._pulse is None:
            self._pulse = Pulse(self, self.journal, self.execution_rid)

    def add(self, **columns: Any) -> None:
        """Say with the next move what further columns of the run's row are."""
        self._missed.update(columns)

    def move(self, status: Status, detail: str = "", *, by: Mover = Mover.holder, **columns: Any) -> None:
        """Move to a status, or say something new of the present one.

        Args:
            status: The new status.
            detail: What there is to say of it.
            by: Who moves it.
            columns: Further columns of the run's row; those that the catalog lacks are left out.

        Raises:
            DerivaMLInvalidTransition: There is no such move.
        """
        check_move(self.status, status, by)
        detail = self._mask.text(detail)[:LONGEST_DETAIL]
        ended = is_final(status) and not is_final(self.status)
        self.status, self.detail = status, detail
        if self.journal is None:
            return
        if ended and self._pulse is not None:
            self._pulse.stop()
            self._pulse = None
        self.journal.move(self.execution_rid, status.value, detail)
        if not is_final(status) and self._is_pausing():
            self._missed.update({"Status": status.value, "Status_Detail": detail, **columns})
            return
        told = self._tell({"Status": status.value, "Status_Detail": detail, **columns})
        if told and ended:
            self.journal.mark_synced(self.execution_rid, status.value)
        self._rest()

    def take_up(self, detail: str) -> None:
        """Begin the next attempt of a run that did not complete: it is Initializing again, and this process holds it.

        Args:
            detail: What there is to say of it.

        Raises:
            DerivaMLInvalidTransition: It completed, or has not ended.
            DerivaMLExecutionError: Another process has just taken it up.
        """
        check_move(self.status, Status.initializing, Mover.resumer)
        if self.journal is None:
            raise DerivaMLExecutionError("A dry run is not taken up again.", hint="begin a new one")
        seen = self.journal.run(self.execution_rid)
        check_move(Status(seen.status), Status.initializing, Mover.resumer)
        self.journal.take_up(seen, Status.initializing.value, detail)
        self.status, self.detail = Status.initializing, detail
        self.hold()
        # the row tells the last attempt; those before are told by the files about them
        times = dict.fromkeys(("Start_Time", "Stop_Time", *DURATIONS))
        self._tell({"Status": self.status.value, "Status_Detail": detail, **times})

    def tell_end(self, status: Status, detail: str, **columns: Any) -> None:
        """Tell the catalog how a run ended where the journal could not be told: whatever can be, shall be true.

        Args:
            status: The last status.
            detail: What there is to say of it.
            columns: Further columns of the run's row.
        """
        self.status, self.detail = status, self._mask.text(detail)[:LONGEST_DETAIL]
        try:
            self._tell({"Status": status.value, "Status_Detail": self.detail, **columns})
        except DerivaMLException as error:
            get_logger("execution").warning("Nor could the catalog be told: %s", str(error).splitlines()[0])

    def catch_up(self) -> None:
        """Know what another process has noted of the run meanwhile."""
        if self.journal is None:
            return
        run = self.journal.run(self.execution_rid)
        self.status, self.detail = Status(run.status), run.detail or ""
        if run.upload_state in {state.value for state in Upload}:
            self.upload = Upload(run.upload_state)

    def begin_upload(self) -> None:
        """Note in the journal that an upload begins; the catalog is told with the next move."""
        check_upload_move(self.upload, Upload.pending)
        if self.upload is Upload.pending:
            return
        self.upload = Upload.pending
        if self.journal is not None:
            self.journal.set_upload(self.execution_rid, Upload.pending.value)

    def settle_upload(self) -> None:
        """Note that there is nothing (more) to upload."""
        self.begin_upload()
        self.move_upload(Upload.uploaded)

    def fail_upload(self, error: str) -> None:
        """Note that an upload failed, and why."""
        self.begin_upload()
        self.move_upload(Upload.failed, error)

    def move_upload(self, state: Upload, error: str | None = None, **columns: Any) -> None:
        """Move the upload to a state, or repeat the present one.

        Raises:
            DerivaMLInvalidTransition: There is no such move.
        """
        check_upload_move(self.upload, state)
        self.upload = state
        if self.journal is None:
            return
        masked = None if error is None else self._mask.text(error)[:LONGEST_DETAIL]
        self.journal.set_upload(self.execution_rid, state.value, masked)
        told = self._tell({"Upload_State": state.value, **columns})
        if told and is_final(self.status):
            self.journal.mark_synced(self.execution_rid, self.status.value)
        self._rest()

    def _rest(self) -> None:
        """Close the journal of a run that has ended; the next call, if there is one, opens it again."""
        if self.journal is not None and is_final(self.status):
            self.journal.close()

    def require_row(self) -> None:
        """Make the run's row, if it could not be made by now: for that the catalog is waited for.

        Raises:
            DerivaMLException: It cannot be made.
        """
        if self._row is not None:
            self._write(self.session)

    def _is_pausing(self) -> bool:
        """Whether the catalog was away a moment ago: a model that tells of each step is not held up by each of them."""
        return self._away_since is not None and self._clock() < self._away_since + PAUSE

    def _tell(self, columns: Mapping[str, Any]) -> bool:
        """Write to the row, with what could not be written before; whether that could be done."""
        self._missed.update(columns)
        try:
            self._write(self._brief)
        except (DerivaMLUnreachable, DerivaMLAuthenticationError, DerivaMLCatalogError) as error:
            if isinstance(error, DerivaMLCatalogError) and error.status not in PASSING:
                raise
            if self._away_since is None:
                get_logger("execution").warning(
                    "The catalog cannot be told what becomes of %s, which is noted here: %s",
                    self.execution_rid,
                    str(error).splitlines()[0],
                )
            self._away_since = self._clock()
            return False
        return True

    def _write(self, session: Session) -> None:
        if self._row is not None:
            self._missed = {"Upload_State": self.upload.value, **self._missed}
            insert_execution(session, {**self._row, **self._missed})
            self._row = None
        elif known := execution_columns(session) & set(self._missed):
            changes = {name: self._missed[name] for name in known}
            row = {"RID": self.execution_rid, **changes}
            session.catalog.update(session.ml_schema, str(MLTable.execution), [row])
        self._away_since = None
        self._missed.clear()


def insert_execution(session: Session, row: Mapping[str, Any]) -> None:
    """Make a run's row with its leased RID; without effect if it is there already."""
    known = execution_columns(session)
    wanted = {name: value for name, value in row.items() if name in known}
    session.catalog.insert(
        session.ml_schema, str(MLTable.execution), [wanted], nondefaults=("RID",), on_conflict_skip=True
    )
