"""What of the runs of this machine is not in the catalog yet, counted and told: from their manifests alone.

1. No request is made and nothing is written: what the counts say is what the next upload would find.
2. What a run that did not complete registered and never wrote is told and not counted: nothing of it can be uploaded.
3. Of a run that this process works on, a file that was written on after its upload counts as pending again, as its
   upload would see it; other runs are not looked through for such files.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from deriva_ml.asset.rewritten import rewritten_outputs
from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLNotFoundError
from deriva_ml.core.files import human_size
from deriva_ml.core.values import dataclass
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.outputs import is_unwritten
from deriva_ml.execution.recovery import has_journal
from deriva_ml.execution.states import Upload, is_final, parse_status
from deriva_ml.schema.row_files import count_rows
from deriva_ml.schema.session import Session
from deriva_ml.schema.staged_rows import has_changed
from deriva_ml.workspace.entries import ABANDONED, FAILED, UPLOADED
from deriva_ml.workspace.journal import Run
from deriva_ml.workspace.manifest import MANIFEST_NAME, AssetEntry, Manifest, TableEntry

__all__ = [
    "PendingAssets",
    "PendingRows",
    "PendingSummary",
    "WorkspacePendingSummary",
    "execution_summary",
    "pending_summary",
    "summarise",
    "summarise_run",
]


@dataclass(frozen=True, slots=True)
class PendingRows:
    """The staged rows of one table, or the staged values of one feature.

    Attributes:
        table: ``<schema>:<table>``.
        feature: The feature's name; None for rows of a table.
        pending: How many were not tried yet.
        failed: How many were tried and are not in the catalog.
        uploaded: How many are in the catalog.
    """

    table: str
    feature: str | None = None
    pending: int = 0
    failed: int = 0
    uploaded: int = 0

    def __str__(self) -> str:
        what = f"rows of {self.table}" if self.feature is None else f"values of feature {self.feature}"
        return f"{what}: {_counts(self.pending, self.failed, self.uploaded)}"


@dataclass(frozen=True, slots=True)
class PendingAssets:
    """The registered files of one asset table.

    Attributes:
        table: ``<schema>:<table>``.
        pending: How many were not tried yet.
        failed: How many were tried and are not in the catalog.
        uploaded: How many are in the catalog.
        pending_bytes: The size of those that are not, as they are now; nothing for one that is not written.
    """

    table: str
    pending: int = 0
    failed: int = 0
    uploaded: int = 0
    pending_bytes: int = 0

    def __str__(self) -> str:
        size = f" ({human_size(self.pending_bytes)})" if self.pending_bytes else ""
        return f"files of {self.table}: {_counts(self.pending, self.failed, self.uploaded)}{size}"


def _counts(pending: int, failed: int, uploaded: int) -> str:
    return f"{pending} pending, {failed} failed, {uploaded} uploaded"


@dataclass(frozen=True, slots=True)
class PendingSummary:
    """What a run has staged, and how far it is on its way into the catalog.

    Attributes:
        execution_rid: The run.
        rows: Rows of tables and values of features.
        assets: Files, by asset table.
        diagnostics: Why something failed, and what cannot be uploaded or counted; a line for each.
        is_damaged: Whether the manifest cannot be read, so that nothing could be counted.
    """

    execution_rid: str
    rows: tuple[PendingRows, ...] = ()
    assets: tuple[PendingAssets, ...] = ()
    diagnostics: tuple[str, ...] = ()
    is_damaged: bool = False

    @property
    def pending_files(self) -> int:
        """How many files were not tried yet."""
        return sum(item.pending for item in self.assets)

    @property
    def failed_files(self) -> int:
        """How many files were tried and are not in the catalog."""
        return sum(item.failed for item in self.assets)

    @property
    def pending_rows(self) -> int:
        """How many rows and values were not tried yet."""
        return sum(item.pending for item in self.rows)

    @property
    def failed_rows(self) -> int:
        """How many rows and values were tried and are not in the catalog."""
        return sum(item.failed for item in self.rows)

    @property
    def pending_bytes(self) -> int:
        """The size of the files that are not in the catalog."""
        return sum(item.pending_bytes for item in self.assets)

    @property
    def has_pending(self) -> bool:
        """Whether anything is not in the catalog yet."""
        return bool(self.pending_files or self.failed_files or self.pending_rows or self.failed_rows)

    def render(self) -> str:
        """The summary as text, a line for each table and each diagnostic."""
        if not (self.rows or self.assets or self.diagnostics):
            return f"Execution {self.execution_rid}: nothing is staged."
        state = "" if self.has_pending or self.is_damaged else "everything that can be uploaded is in the catalog"
        lines = [f"Execution {self.execution_rid}: {state}".rstrip()]
        lines += [f"  {item}" for item in (*self.assets, *self.rows)]
        return "\n".join([*lines, *(f"  ! {line}" for line in self.diagnostics)])

    def __str__(self) -> str:
        return self.render()


@dataclass(frozen=True, slots=True)
class WorkspacePendingSummary:
    """What is not in the catalog yet of all runs of this machine, the newest first.

    Attributes:
        executions: A summary for each run of which something is missing.
    """

    executions: tuple[PendingSummary, ...] = ()

    @property
    def has_pending(self) -> bool:
        """Whether anything is not in the catalog yet."""
        return any(item.has_pending for item in self.executions)

    def render(self) -> str:
        """The summaries as text, and how to bring what is missing into the catalog."""
        if not self.executions:
            return "Every run of this machine has its outputs in the catalog."
        files = sum(item.pending_files + item.failed_files for item in self.executions)
        rows = sum(item.pending_rows + item.failed_rows for item in self.executions)
        size = human_size(sum(item.pending_bytes for item in self.executions))
        total = f"{len(self.executions)} run(s): {files} file(s) ({size}) and {rows} row(s) are not in the catalog yet."
        return "\n".join([*(item.render() for item in self.executions), total, "To bring them there: deriva-ml-upload"])

    def __str__(self) -> str:
        return self.render()


class HasManifest(Protocol):
    """What this module needs of a run; an ``Execution`` is one."""

    execution_rid: str
    dry_run: bool

    @property
    def manifest(self) -> Manifest:
        """What the run has registered."""

    @property
    def status(self) -> Status:
        """The run's status."""


def execution_summary(run: HasManifest) -> PendingSummary:
    """What the run has staged, and how far it is on its way into the catalog; the catalog is not asked."""
    if run.dry_run and is_final(run.status):
        return PendingSummary(run.execution_rid)  # what it had staged is gone, and was never to be uploaded
    run.manifest.refresh()
    return summarise(run.manifest, run.status, rewritten=True)


def pending_summary(session: Session) -> WorkspacePendingSummary:
    """What is not in the catalog yet of all runs of this machine, the newest first; the catalog is not asked."""
    if not has_journal(session):
        return WorkspacePendingSummary()
    with open_journal(session) as journal:
        found = [(run.upload_state, summarise_run(run)) for run in journal.runs()]
    left = {Upload.pending.value, Upload.failed.value}
    return WorkspacePendingSummary(
        tuple(item for state, item in found if item.has_pending or item.is_damaged or state in left)
    )


def summarise_run(run: Run) -> PendingSummary:
    """What a run of the journal has staged; a run without a manifest has nothing, or nothing any more.

    That a manifest cannot be read is said in the diagnostics, so that one damaged run hides no other.
    """
    try:
        manifest = Manifest(run.directory / MANIFEST_NAME, run.execution, read_only=True)
    except DerivaMLNotFoundError:
        return PendingSummary(run.execution)
    except DerivaMLException as error:
        return PendingSummary(run.execution, diagnostics=(str(error).splitlines()[0],), is_damaged=True)
    return summarise(manifest, parse_status(run.status))


def summarise(manifest: Manifest, status: Status, *, rewritten: bool = False) -> PendingSummary:
    """Count what a manifest holds.

    Args:
        manifest: The run's manifest.
        status: The run's status: what one that did not complete never wrote is not counted.
        rewritten: Count files that were written on after their upload.
    """
    again = list(rewritten_outputs(manifest)) if rewritten else []
    assets, told = _assets(manifest, status, again)
    rows: list[PendingRows] = []
    for feature in manifest.features.values():
        left, has_failed = feature.rows - feature.uploaded, feature.status == FAILED
        counts = (0, left) if has_failed else (left, 0)
        rows.append(
            PendingRows(f"{feature.schema}:{feature.feature_table}", feature.feature_name, *counts, feature.uploaded)
        )
        if left and feature.error:
            told.append(f"feature {feature.feature_name}: {feature.error}")
    for entry in manifest.tables.values():
        if entry.status != ABANDONED:
            counted, said = _rows(manifest, entry, status, rewritten=rewritten)
            told += said
            rows += counted
    return PendingSummary(manifest.execution_rid, tuple(rows), tuple(assets), tuple(told))


def _assets(manifest: Manifest, status: Status, again: Iterable[AssetEntry]) -> tuple[list[PendingAssets], list[str]]:
    told: list[str] = []
    counts: dict[str, list[int]] = {}
    for entry in (*manifest.assets.values(), *again):
        place = 2 if entry.status == UPLOADED else 1 if entry.status == FAILED else 0
        if entry.status == ABANDONED:
            continue
        name = f"{entry.asset_table}/{entry.file_name}"
        if place != 2 and is_unwritten(manifest, entry, status):
            told.append(f"{name}: it was registered and never written")
            continue
        found = counts.setdefault(f"{entry.schema}:{entry.asset_table}", [0, 0, 0, 0])
        found[place] += 1
        found[3] += 0 if place == 2 else _size(manifest.file_of(entry))
        if place == 1:
            told.append(f"{name}: {entry.error}")
    return [PendingAssets(table, *found) for table, found in counts.items()], told


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _rows(
    manifest: Manifest, entry: TableEntry, status: Status, *, rewritten: bool
) -> tuple[list[PendingRows], list[str]]:
    path = manifest.file_of(entry)
    if entry.status == UPLOADED and not (rewritten and has_changed(path, entry)):
        return [PendingRows(entry.key, uploaded=entry.uploaded)], []
    if entry.status != UPLOADED and is_unwritten(manifest, entry, status):
        return [], [f"rows of {entry.key}: the file was asked for and never written"]
    told = [f"rows of {entry.key}: {entry.error}"] if entry.status == FAILED else []
    try:
        left = max(0, count_rows(path) - entry.uploaded)
    except FileNotFoundError:
        left = 0
        told.append(f"rows of {entry.key}: the file was asked for and is not written yet")
    except (ValueError, OSError) as error:
        left = 0
        told.append(f"rows of {entry.key} cannot be counted: {error}")
    counts = (0, left) if entry.status == FAILED else (left, 0)
    return [PendingRows(entry.key, None, *counts, entry.uploaded)], told
