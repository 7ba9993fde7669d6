"""The runs of one working directory and their steps, in a SQLite file that several processes use at once.

1. A run is noted here before it is noted in the catalog, so that a crash in between is found and repaired.
2. One call is one transaction, on the disk when the call returns (:mod:`deriva_ml.workspace.journal_file`).
3. A run is called dead only by evidence (:mod:`deriva_ml.workspace.evidence`).
4. What the catalog must still be told is kept: ``synced`` is false from a move until :meth:`Journal.mark_synced`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLExecutionError, DerivaMLNotFoundError
from deriva_ml.core.values import dataclass
from deriva_ml.workspace.evidence import ProcessMark, Sign
from deriva_ml.workspace.journal_file import JournalFile

__all__ = ["JOURNAL_NAME", "Journal", "Run", "Step"]

JOURNAL_NAME = "journal.db"
"""The name of the journal in a working directory."""

ENDED = frozenset({Status.completed.value, Status.failed.value, Status.aborted.value})
"""Statuses of a run that no process works on any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the journal knows it; times are UTC in ISO 8601."""

    execution: str
    catalog: str
    catalog_id: str
    workflow: str | None
    status: str
    detail: str
    synced: bool
    upload_state: str
    directory: Path
    error: str | None
    process: ProcessMark
    started: str
    heartbeat: str
    stopped: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a run did: ``what`` is a status, ``upload``, ``taken over``, ``resumed``, or a caller's word.

    The detail of ``resumed`` is a JSON object that tells the attempt that had ended (:meth:`Journal.take_up`).
    """

    at: str
    what: str
    detail: str


def _now() -> datetime:
    return datetime.now(UTC)


class Journal:
    """The journal of a working directory, seen from one catalog.

    The file is open for the time of a call, or of a block of ``with`` from its first call on: a run that is left and
    never ended holds nothing open.

    Args:
        path: The SQLite file; it is made on the first write.
        catalog: Identity of the catalog service.
        catalog_id: The catalog.
        now: The clock.
    """

    def __init__(
        self, path: Path | str, *, catalog: str = "", catalog_id: str = "", now: Callable[[], datetime] = _now
    ) -> None:
        self.path = Path(path)
        self.catalog = catalog
        self.catalog_id = str(catalog_id)
        self._now = now
        self._file = JournalFile(self.path)

    def open_run(
        self,
        execution: str,
        *,
        directory: Path | str,
        status: str = Status.created.value,
        workflow: str | None = None,
        detail: str = "",
    ) -> Run:
        """Note that this process begins a run, or takes over one that was begun before.

        A run that is there keeps its start, its steps and its upload state; its process becomes this one.

        Raises:
            DerivaMLExecutionError: Another process that is alive holds the run.
        """
        mark, at = ProcessMark.current(), self._time()
        with self._file.transaction() as sql:
            old = self._row(sql, execution)
            if old is None:
                sql.execute(
                    "INSERT INTO run (execution, catalog, catalog_id, workflow, status, detail, directory, host, boot,"
                    " namespace, pid, process_start, started, heartbeat) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    (execution, self.catalog, self.catalog_id, workflow, status, detail, str(directory),
                     mark.host, mark.boot, mark.namespace, mark.pid, mark.started, at, at),
                )  # fmt: skip
            else:
                self._take_over(sql, old, mark, at)
                sql.execute(
                    "UPDATE run SET status = ?, detail = ?, synced = 0, directory = ?, stopped = NULL,"
                    " workflow = coalesce(?, workflow) WHERE id = ?",
                    (status, detail, str(directory), workflow, old["id"]),
                )
            self._note(sql, execution, status, detail, at)
            return _run(self._row(sql, execution))

    def take_over(self, execution: str) -> Run:
        """Make this process the owner of a run, to finish what is left of it; nothing else changes.

        Raises:
            DerivaMLExecutionError: Another process that is alive holds the run.
        """
        mark, at = ProcessMark.current(), self._time()
        with self._file.transaction() as sql:
            old = self._known(sql, execution)
            if _mark(old) != mark:
                self._take_over(sql, old, mark, at)
                self._note(sql, execution, "taken over", f"by {mark.told}; before, it was of {_mark(old).told}", at)
            return _run(self._row(sql, execution))

    def take_up(self, seen: Run, status: str, detail: str = "") -> Run:
        """Make this process the holder of a run that had ended, for its next attempt.

        How the attempt before ended, and which process it was, is kept with the step ``resumed``.

        Raises:
            DerivaMLExecutionError: The run has not ended, or something became of it since it was read, as when another
                process takes it up.
        """
        mark, at = ProcessMark.current(), self._time()
        with self._file.transaction() as sql:
            old = self._known(sql, seen.execution)
            if _run(old) != seen or old["status"] not in ENDED:
                raise DerivaMLExecutionError(
                    f"Execution {seen.execution} is {old['status']} by now: {_mark(old).told} works on it.",
                    hint="wait until it has ended",
                )
            self._note(sql, seen.execution, "resumed", json.dumps(self._attempt(sql, old)), at)
            self._take_over(sql, old, mark, at)
            self._set(sql, seen.execution, status=status, detail=detail, synced=0, error=None, stopped=None)
            self._note(sql, seen.execution, status, detail, at)
            return _run(self._row(sql, seen.execution))

    def _attempt(self, sql: sqlite3.Connection, row: sqlite3.Row) -> dict[str, object]:
        """An attempt that has ended, in plain words."""
        began = sql.execute(
            "SELECT coalesce(max(id), 0) FROM step WHERE run = ? AND what = 'resumed'", (row["id"],)
        ).fetchone()[0]
        steps = sql.execute(
            "SELECT at, what, detail FROM step WHERE run = ? AND id > ? ORDER BY id", (row["id"], began)
        ).fetchall()
        # who finishes the outputs of a run that has ended holds it; the attempt was the work of the process before
        before = (step["detail"].partition("before, it was of ")[2] for step in steps if step["what"] == "taken over")
        started = [step["at"] for step in steps if step["what"] == Status.running.value]
        return {
            "status": row["status"],
            "detail": row["detail"],
            "error": row["error"],
            "upload_state": row["upload_state"],
            "process": next(before, _mark(row).told),
            "begun": steps[0]["at"] if steps else row["started"],
            "started": started[0] if started else None,
            "stopped": row["stopped"],
        }

    def move(self, execution: str, status: str, detail: str = "") -> Run:
        """Note that a run has a new status, which the catalog is still to be told."""
        at = self._time()
        with self._file.transaction() as sql:
            self._known(sql, execution)
            self._set(sql, execution, status=status, detail=detail, synced=0, heartbeat=at)
            if status in ENDED:
                self._set(sql, execution, stopped=at)
            self._note(sql, execution, status, detail, at)
            return _run(self._row(sql, execution))

    def mark_synced(self, execution: str, status: str) -> None:
        """Note that the catalog knows this status; without effect if the run has moved on."""
        with self._file.transaction() as sql:
            row = self._known(sql, execution)
            if row["status"] == status:
                self._set(sql, execution, synced=1)

    def heartbeat(self, execution: str) -> bool:
        """Note that a run of this process goes on; False, and nothing is noted, if it has ended or is another's.

        Raises:
            DerivaMLNotFoundError: The journal does not know it.
        """
        with self._file.transaction() as sql:
            row = self._known(sql, execution)
            if row["status"] in ENDED or _mark(row) != ProcessMark.current():
                return False
            self._set(sql, execution, heartbeat=self._time())
            return True

    def note(self, execution: str, what: str, detail: str = "") -> None:
        """Note a step that is no change of status."""
        with self._file.transaction() as sql:
            self._known(sql, execution)
            self._note(sql, execution, what, detail, self._time())

    def set_upload(self, execution: str, state: str, error: str | None = None) -> Run:
        """Note how far the upload is: ``none``, ``pending``, ``uploaded`` or ``failed``."""
        with self._file.transaction() as sql:
            self._known(sql, execution)
            self._set(sql, execution, upload_state=state, error=error, synced=0)
            self._note(sql, execution, "upload", f"{state}: {error}" if error else state, self._time())
            return _run(self._row(sql, execution))

    def end_dead(self, seen: Run, status: str, *, detail: str, error: str, upload_state: str) -> Run | None:
        """Note the end of a run that was found dead; None if something became of it since it was read.

        Another process may have noted the same, or have taken the run over to go on with it.
        """
        at = self._time()
        ended = {"status": status, "detail": detail, "error": error, "upload_state": upload_state}
        with self._file.transaction() as sql:
            row = self._row(sql, seen.execution)
            if row is None or _run(row) != seen:
                return None
            self._set(sql, seen.execution, **ended, synced=0, heartbeat=at, stopped=at)
            self._note(sql, seen.execution, status, detail, at)
            return _run(self._row(sql, seen.execution))

    def forget(self, execution: str) -> None:
        """Remove a run and its steps from the journal; without effect if it is not there."""
        with self._file.transaction() as sql:
            row = self._row(sql, execution)
            if row is not None:
                sql.execute("DELETE FROM run WHERE id = ?", (row["id"],))

    def forget_unchanged(self, seen: Run) -> bool:
        """Remove a run unless something became of it since it was read; whether it was removed."""
        with self._file.transaction() as sql:
            row = self._row(sql, seen.execution)
            if row is None or _run(row) != seen:
                return False
            sql.execute("DELETE FROM run WHERE id = ?", (row["id"],))
            return True

    def run(self, execution: str) -> Run:
        """One run.

        Raises:
            DerivaMLNotFoundError: The journal does not know it.
        """
        with self._file.reading() as sql:
            return _run(self._known(sql, execution))

    def runs(self) -> list[Run]:
        """The runs on this catalog, the newest first."""
        with self._file.reading() as sql:
            rows = sql.execute(
                "SELECT * FROM run WHERE catalog = ? AND catalog_id = ? ORDER BY id DESC",
                (self.catalog, self.catalog_id),
            )
            return [_run(row) for row in rows]

    def steps(self, execution: str) -> list[Step]:
        """What a run did, in order."""
        with self._file.reading() as sql:
            rows = sql.execute(
                "SELECT at, what, detail FROM step WHERE run = ? ORDER BY id", (self._known(sql, execution)["id"],)
            )
            return [Step(*row) for row in rows]

    def dead_runs(self) -> list[Run]:
        """The runs that have not ended and whose process is gone."""
        return [run for run in self.runs() if run.status not in ENDED and run.process.sign() is Sign.gone]

    def unsynced_runs(self) -> list[Run]:
        """The runs whose last status the catalog has not been told, and that no living process will tell it."""
        own = ProcessMark.current()
        return [
            run for run in self.runs() if not run.synced and (run.process == own or run.process.sign() is Sign.gone)
        ]

    def at_hand(self) -> AbstractContextManager[None]:
        """Within the block the file is opened once, for all that this process notes."""
        return self._file.at_hand()

    def close(self) -> None:
        """Close the file, which a block of ``with`` has kept open."""
        self._file.close()

    def __enter__(self) -> Self:
        self._file.keep()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")

    def _row(self, sql: sqlite3.Connection, execution: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = sql.execute(
            "SELECT * FROM run WHERE catalog = ? AND catalog_id = ? AND execution = ?",
            (self.catalog, self.catalog_id, execution),
        ).fetchone()
        return found

    def _known(self, sql: sqlite3.Connection, execution: str) -> sqlite3.Row:
        row = self._row(sql, execution)
        if row is None:
            raise DerivaMLNotFoundError(f"The journal {self.path} knows no run of execution {execution}.")
        return row

    def _take_over(self, sql: sqlite3.Connection, old: sqlite3.Row, mark: ProcessMark, at: str) -> None:
        holder = _mark(old)
        if holder != mark and old["status"] not in ENDED and holder.sign() is Sign.alive:
            raise DerivaMLExecutionError(
                f"Execution {old['execution']} is being run by {holder.told}.",
                hint="wait until it has ended",
            )
        sql.execute(
            "UPDATE run SET host = ?, boot = ?, namespace = ?, pid = ?, process_start = ?, heartbeat = ? WHERE id = ?",
            (mark.host, mark.boot, mark.namespace, mark.pid, mark.started, at, old["id"]),
        )

    def _set(self, sql: sqlite3.Connection, execution: str, **values: str | int | None) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        sql.execute(
            f"UPDATE run SET {columns} WHERE catalog = ? AND catalog_id = ? AND execution = ?",
            (*values.values(), self.catalog, self.catalog_id, execution),
        )

    def _note(self, sql: sqlite3.Connection, execution: str, what: str, detail: str, at: str) -> None:
        sql.execute(
            "INSERT INTO step (run, at, what, detail) VALUES (?, ?, ?, ?)",
            (self._known(sql, execution)["id"], at, what, detail),
        )


def _mark(row: sqlite3.Row) -> ProcessMark:
    return ProcessMark(row["host"], row["boot"], row["namespace"], row["pid"], row["process_start"])


def _run(row: sqlite3.Row | None) -> Run:
    if row is None:
        raise AssertionError("the row was read in the transaction that wrote it")
    return Run(
        execution=row["execution"],
        catalog=row["catalog"],
        catalog_id=row["catalog_id"],
        workflow=row["workflow"],
        status=row["status"],
        detail=row["detail"],
        synced=bool(row["synced"]),
        upload_state=row["upload_state"],
        directory=Path(row["directory"]),
        error=row["error"],
        process=_mark(row),
        started=row["started"],
        heartbeat=row["heartbeat"],
        stopped=row["stopped"],
    )
