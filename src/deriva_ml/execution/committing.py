"""Bringing what waits on this machine into the catalog: of one run, or of all of them, one after the other.

There is one way into the catalog, :func:`deriva_ml.execution.outputs.commit`; here runs are chosen, and what became of
them is put together. A run that fails keeps no other back; only what concerns all of them, a catalog that is away or
does not know the caller, ends the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Protocol

from deriva_ml.asset.upload import Patience
from deriva_ml.core.ermrest import UploadCallback
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.values import dataclass
from deriva_ml.execution.finishing import commit_run
from deriva_ml.execution.local_runs import find_incomplete_executions
from deriva_ml.execution.outputs import CommitReport
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.states import is_final
from deriva_ml.schema.session import Session

__all__ = [
    "TableReport",
    "UploadReport",
    "commit_each",
    "commit_output_assets",
    "commit_pending_executions",
    "waiting_runs",
]

PATIENCE = Patience(max_retries=3)


@dataclass(frozen=True, slots=True)
class TableReport:
    """What became of the outputs for one table, or of the values of one feature.

    Attributes:
        uploaded: How many files or rows are in the catalog through this call.
        failed: How many files are not; of rows and values, 1 if they are not.
    """

    uploaded: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What became of the outputs of runs.

    Attributes:
        executions: What became of each run that was tried.
        refused: Why a run could not be tried at all, by RID.
    """

    executions: Mapping[str, CommitReport] = field(default_factory=dict)
    refused: Mapping[str, DerivaMLException] = field(default_factory=dict)

    @property
    def execution_rids(self) -> list[str]:
        """The runs, those that could not be tried among them."""
        return [*self.executions, *self.refused]

    @property
    def complete(self) -> bool:
        """Nothing is left to be done."""
        return not self.refused and all(report.complete for report in self.executions.values())

    @property
    def per_table(self) -> Mapping[str, TableReport]:
        """The counts by table (``schema:Table``) and, for values, by feature (``feature NAME``)."""
        counts: dict[str, list[int]] = {}

        def add(name: str, place: int, count: int = 1) -> None:
            counts.setdefault(name, [0, 0])[place] += count

        for report in self.executions.values():
            for place, entries in enumerate((report.done, report.failed)):
                for entry in entries:
                    add(f"{entry.schema}:{entry.asset_table}", place)
            for name, count in report.tables.items():
                add(name, 0, count)
            for name, count in report.features.items():
                add(f"feature {name}", 0, count)
            for name in report.failed_tables:
                add(name, 1)
            for name in report.failed_features:
                add(f"feature {name}", 1)
        return {name: TableReport(*found) for name, found in counts.items()}

    @property
    def total_uploaded(self) -> int:
        """How many files, rows and values are in the catalog through this call."""
        return sum(table.uploaded for table in self.per_table.values())

    @property
    def total_failed(self) -> int:
        """How many files, tables and features are not, and runs that could not be tried."""
        return sum(table.failed for table in self.per_table.values()) + len(self.refused)

    @property
    def errors(self) -> list[str]:
        """What went wrong, a line for each file, table, feature and run."""
        lines = [f"{rid}: {line}" for rid, report in self.executions.items() for line in report.errors()]
        return lines + [f"{rid}: {str(error).splitlines()[0]}" for rid, error in self.refused.items()]

    def require_complete(self) -> None:
        """Raise if something failed.

        Raises:
            DerivaMLUploadError: The message names the first failures.
        """
        if not self.complete:
            lines = self.errors
            rest = f" (and {len(lines) - 5} more)" if len(lines) > 5 else ""
            raise DerivaMLUploadError(
                f"Outputs did not reach the catalog: {'; '.join(lines[:5])}{rest}",
                hint="remove the cause, then do it again: what is done is not repeated",
            )


class Commits(Protocol):
    """What :func:`commit_output_assets` needs of a run; an ``Execution`` is one."""

    def bring_outputs(
        self, progress: UploadCallback | None, patience: Patience, *, clean_folder: bool | None
    ) -> CommitReport:
        """Bring what the run has registered into the catalog."""


def commit_output_assets(
    run: Commits, clean_folder: bool | None = None, progress_callback: UploadCallback | None = None
) -> UploadReport:
    """Bring what the run has registered into the catalog, and say what became of it; may be called several times.

    It is what ``upload_execution_outputs`` does, with a report in place of an error for outputs that did not arrive.

    Args:
        run: The run.
        clean_folder: Remove inputs and staged files afterwards, if the run has ended and everything is uploaded; by
            default as ``clean_execution_dir`` of the ``DerivaML`` says, if it completed.
        progress_callback: Is told of the bytes that have been sent.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached.
    """
    report = run.bring_outputs(progress_callback, PATIENCE, clean_folder=clean_folder)
    return UploadReport({report.execution_rid: report})


def waiting_runs(session: Session) -> list[str]:
    """The runs of this machine whose outputs nobody else will bring into the catalog, the newest first.

    One whose manifest cannot be read is among them: that is said where it is tried, and keeps no other back.
    """
    return [run.execution_rid for run in find_incomplete_executions(session) if is_final(run.status)]


def commit_pending_executions(
    session: Session, *, execution_rids: Iterable[str] | None = None, clean_folder: bool = False
) -> UploadReport:
    """Bring what waits on this machine into the catalog; can be repeated, and done by two processes at once.

    Args:
        session: The catalog.
        execution_rids: These runs; by default all that wait. Runs that go on are left to themselves.
        clean_folder: Remove inputs and staged files of the runs of which everything is uploaded.

    Returns:
        What became of each run; one that fails keeps no other back.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached; what was done before is recorded.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    session.require_writable()
    reconcile_dead_runs(session)
    rids = waiting_runs(session) if execution_rids is None else execution_rids
    return commit_each(session, rids, clean_folder=clean_folder)


def commit_each(
    session: Session,
    execution_rids: Iterable[str],
    *,
    clean_folder: bool = False,
    abandon: bool = False,
    progress: UploadCallback | None = None,
    told: Callable[[str, CommitReport | DerivaMLException], None] | None = None,
) -> UploadReport:
    """Bring the outputs of some runs into the catalog, one after the other.

    Args:
        session: The catalog.
        execution_rids: The runs.
        clean_folder: Remove inputs and staged files of the runs of which everything is uploaded.
        abandon: Give up the outputs that were registered and never written.
        progress: Is told of the bytes that have been sent.
        told: Is told what became of each run as soon as that is known.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached; what was done before is recorded.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    done: dict[str, CommitReport] = {}
    refused: dict[str, DerivaMLException] = {}
    for rid in dict.fromkeys(execution_rids):
        outcome: CommitReport | DerivaMLException
        try:
            outcome = done[rid] = commit_run(
                session, rid, progress=progress, abandon=abandon, patience=PATIENCE, clean_folder=clean_folder
            )
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            outcome = refused[rid] = error
        if told is not None:
            told(rid, outcome)
    return UploadReport(done, refused)
