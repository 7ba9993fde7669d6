"""Forgetting runs of this machine that are done with: their entries in the journal, and their directories if asked.

1. What is forgotten here is in the catalog: a run with outputs that are not there, or of whose end the catalog has not
   been told, stays. So does one whose process, another than this one, is alive.
2. A directory is removed before its run is forgotten: a collection that is broken off is completed by the next.
3. A run of which something became between the look and the removal stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLValidationError
from deriva_ml.core.files import human_size
from deriva_ml.core.values import dataclass
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.local_runs import wanted_statuses
from deriva_ml.execution.recovery import has_journal, incomplete_run
from deriva_ml.execution.states import is_final, parse_status
from deriva_ml.execution.storage import disk_use
from deriva_ml.schema.session import Session
from deriva_ml.workspace.evidence import ProcessMark, Sign
from deriva_ml.workspace.journal import Journal, Run

__all__ = ["GcReport", "gc_executions"]


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was forgotten, and what was not.

    Attributes:
        removed: The runs that this machine knows no more.
        directories: How many of their directories were removed.
        bytes_freed: How much that frees.
        kept: Why other runs stay that are old enough and of the status that was asked for, by RID.
        errors: Why a directory could not be removed, by RID; its run stays.
    """

    removed: tuple[str, ...] = ()
    directories: int = 0
    bytes_freed: int = 0
    kept: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> str:
        """The report as text."""
        freed = f", {self.directories} directories with {human_size(self.bytes_freed)}" if self.directories else ""
        lines = [f"Forgotten: {len(self.removed)} run(s){freed}."]
        lines += [f"  {rid} stays: {why}" for rid, why in self.kept.items()]
        return "\n".join([*lines, *(f"  {rid} could not be removed: {why}" for rid, why in self.errors.items())])

    def __str__(self) -> str:
        return self.render()


def gc_executions(
    session: Session,
    *,
    older_than: timedelta | datetime | None = None,
    status: Status | str | Iterable[Status | str] | None = None,
    delete_working_dir: bool = False,
) -> GcReport:
    """Forget runs of this machine that have ended and of which the catalog has everything; it is not asked.

    Args:
        session: The catalog.
        older_than: Only those of which nothing was noted for so long, or since this moment.
        status: Only with this status, or with one of these.
        delete_working_dir: Remove their directories too; else these stay, and can still be cleaned as storage.

    Returns:
        What was removed, and why the others stay.

    Raises:
        DerivaMLValidationError: There is no such status, or the time is negative.
    """
    wanted, limit = wanted_statuses(status), _limit(older_than)
    if not has_journal(session):
        return GcReport()
    removed: list[str] = []
    kept: dict[str, str] = {}
    errors: dict[str, str] = {}
    freed = directories = 0
    with open_journal(session) as journal:
        for run in journal.runs():
            if wanted is not None and parse_status(run.status) not in wanted:
                continue
            if limit is not None and datetime.fromisoformat(run.heartbeat) > limit:
                continue
            reason = _reason_to_stay(run)
            if reason is None and delete_working_dir and run.directory.is_dir():
                size, _files = disk_use(run.directory)
                try:
                    reason = _remove_directory(journal, run)
                except OSError as error:
                    errors[run.execution] = error.strerror or str(error)
                    continue
                directories, freed = directories + (reason is None), freed + (0 if reason else size)
            if reason is None and not journal.forget_unchanged(run):
                reason = _CHANGED
            if reason is None:
                removed.append(run.execution)
            else:
                kept[run.execution] = reason
    return GcReport(tuple(removed), directories, freed, kept, errors)


_CHANGED = "something became of it meanwhile"


def _limit(older_than: timedelta | datetime | None) -> datetime | None:
    if isinstance(older_than, timedelta):
        if older_than < timedelta(0):
            raise DerivaMLValidationError(
                f"Runs cannot be older than {older_than}.", hint="give a time that is not negative"
            )
        return datetime.now(UTC) - older_than
    if older_than is not None and not isinstance(older_than, datetime):
        raise DerivaMLValidationError(f"{older_than!r} is no age.", hint="give a timedelta, or a datetime")
    return None if older_than is None else older_than.astimezone(UTC)


def _reason_to_stay(run: Run) -> str | None:
    if not is_final(parse_status(run.status)):
        return f"it is {run.status}, and has not ended"
    try:
        waiting = incomplete_run(run)
    except DerivaMLException as error:
        return f"its manifest cannot be read: {str(error).splitlines()[0]}"
    if waiting is not None:
        return f"{str(waiting.waiting) or 'its outputs'} are not in the catalog yet"
    if not run.synced:
        return "the catalog has not been told of its end"
    if run.process != ProcessMark.current() and run.process.sign() is Sign.alive:
        return f"process {run.process.pid} is alive and may go on with it"
    return None


def _remove_directory(journal: Journal, run: Run) -> str | None:
    """Remove a run's directory; why not, if something became of the run since it was read."""
    if journal.run(run.execution) != run:
        return _CHANGED
    shutil.rmtree(run.directory)
    return None
