"""The outputs of a run on their way into the catalog. There is one way, :func:`commit`, and everybody takes it.

The live run, the run that failed, ``deriva-ml-upload`` and the retry: all call it, as often as they like.

1. First the files (bytes, then rows, then links), then rows of tables and feature values, which may refer to the files.
2. What a run wrote that failed or was stopped is marked as partial.
3. What is done is marked in the manifest and never made twice; what failed stays pending, with its error.
4. The state of the upload moves to pending before the first byte, and to uploaded or failed after the last, in the
   journal first. It says nothing of the run's status, and the run's status nothing of it.
5. One thread of one process at a time brings a run's outputs into the catalog: who comes second finds what is left, and
   what it notes of the upload is the state of all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from pathlib import Path
from typing import NamedTuple, TypeVar

from deriva_ml.asset.rewritten import stage_rewritten
from deriva_ml.asset.upload import Patience, UploadReport, upload
from deriva_ml.core.enums import Status
from deriva_ml.core.ermrest import UploadCallback
from deriva_ml.core.exceptions import (
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.values import dataclass
from deriva_ml.execution.ledger import Ledger, duration_text
from deriva_ml.execution.metadata import FOLDER
from deriva_ml.execution.partial import mark_partial, unmark_whole
from deriva_ml.execution.states import Upload, is_final
from deriva_ml.schema.session import Session
from deriva_ml.schema.staged_rows import RowUpload, reopen_rewritten, upload_rows
from deriva_ml.workspace.entries import UPLOADED
from deriva_ml.workspace.manifest import AssetEntry, Manifest, TableEntry

__all__ = [
    "CommitReport",
    "Waiting",
    "commit",
    "commit_description",
    "execution_root",
    "pending_outputs",
]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CommitReport:
    """What became of a run's outputs.

    Attributes:
        execution_rid: The run.
        done: Files that this attempt brought into the catalog.
        failed: Files that it could not bring, with the error of each.
        unwritten: Files that a run which did not complete had registered and never wrote; of one that goes on, those
            that it has not written yet.
        absent: How many of the failed ones were registered and never written.
        features: How many values of each feature it stored.
        failed_features: Why the values of a feature could not be stored.
        tables: How many rows of each table it stored.
        failed_tables: Why the rows of a table could not be stored.
    """

    execution_rid: str
    done: tuple[AssetEntry, ...] = ()
    failed: tuple[AssetEntry, ...] = ()
    unwritten: tuple[AssetEntry, ...] = ()
    absent: int = 0
    features: Mapping[str, int] = field(default_factory=dict)
    failed_features: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    failed_tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Nothing is left to be done."""
        return not (self.failed or self.failed_features or self.failed_tables)

    def errors(self) -> list[str]:
        """What went wrong, a line for each file, each table and each feature."""
        lines = [f"{entry.asset_table}/{entry.file_name}: {entry.error}" for entry in self.failed]
        lines += [f"rows of {name}: {error}" for name, error in self.failed_tables.items()]
        return lines + [f"feature {name}: {error}" for name, error in self.failed_features.items()]

    def require_complete(self) -> None:
        """Raise if something failed.

        Raises:
            DerivaMLUploadError: The message names the first failures and how to go on.
        """
        if not self.complete:
            errors = self.errors()
            rest = f" (and {len(errors) - 5} more)" if len(errors) > 5 else ""
            raise DerivaMLUploadError(
                f"Outputs of execution {self.execution_rid} did not reach the catalog: {'; '.join(errors[:5])}{rest}",
                hint=f"remove the cause, then: deriva-ml-upload --execution {self.execution_rid}{self._way_out()}",
            )

    def _way_out(self) -> str:
        """How to be done with files that will never be written."""
        return f"; what was never written is given up with --abandon ({self.absent} file(s))" if self.absent else ""


def execution_root(session: Session, execution_rid: str) -> Path:
    """The directory of a run: in the catalog's own directory, since runs of two catalogs have the same RIDs."""
    return session.runs_dir / execution_rid


class Waiting(NamedTuple):
    """How much of a run is still to be brought into the catalog: files, features with values, tables with rows."""

    files: int = 0
    features: int = 0
    tables: int = 0

    def __str__(self) -> str:
        parts = [f"{self.files} file(s)"] if self.files else []
        parts += [f"the rows of {self.tables} table(s)"] if self.tables else []
        parts += [f"the values of {self.features} feature(s)"] if self.features else []
        return " and ".join(parts)


def is_unwritten(manifest: Manifest, entry: AssetEntry | TableEntry, status: Status) -> bool:
    """Whether a run that did not complete had registered a file and never wrote it: there is nothing to upload."""
    return status in {Status.failed, Status.aborted} and not manifest.file_of(entry).exists()


def _is_awaited(manifest: Manifest, entry: AssetEntry | TableEntry, status: Status) -> bool:
    """Whether a run that goes on has registered a file that it has not written yet."""
    return not is_final(status) and not manifest.file_of(entry).exists()


def pending_outputs(manifest: Manifest, status: Status) -> Waiting:
    """How much of a run is still to be brought into the catalog.

    Args:
        manifest: The run's manifest.
        status: The run's status.
    """
    files = [entry for entry in manifest.pending_assets() if not is_unwritten(manifest, entry, status)]
    tables = [entry for entry in manifest.pending_tables() if not is_unwritten(manifest, entry, status)]
    return Waiting(len(files), len(manifest.pending_features()), len(tables))


def commit(
    session: Session,
    manifest: Manifest,
    ledger: Ledger,
    *,
    progress: UploadCallback | None = None,
    settle: bool = True,
    patience: Patience | None = None,
) -> CommitReport:
    """Bring what a run has registered into the catalog.

    Args:
        session: The catalog.
        manifest: The run's manifest.
        ledger: The run's status.
        progress: Is told of the bytes that have been sent.
        patience: How to meet a service that is slow or away.
        settle: Say in the catalog that the upload is done; not so while the model runs.

    Returns:
        What was done and what was not; nothing that can be tried again is raised.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    with manifest.turn():
        return _commit(session, manifest, ledger, progress, settle, patience)


def _commit(
    session: Session,
    manifest: Manifest,
    ledger: Ledger,
    progress: UploadCallback | None,
    settle: bool,
    patience: Patience | None,
) -> CommitReport:
    rid = ledger.execution_rid
    stage_rewritten(manifest)
    reopen_rewritten(manifest)
    patience = patience or Patience()
    try:
        _patiently(session, patience, lambda way: unmark_whole(way, manifest, ledger.status))
    except DerivaMLException as error:
        ledger.fail_upload(str(error))
        raise
    if not any(pending_outputs(manifest, ledger.status)):
        if settle and ledger.upload is not Upload.uploaded:
            ledger.settle_upload()
        return CommitReport(rid)
    if settle:
        ledger.begin_upload()
    awaited = [entry for entry in manifest.pending_assets() if _is_awaited(manifest, entry, ledger.status)]
    keys = {entry.key for entry in manifest.pending_assets()} - {entry.key for entry in awaited} if awaited else None
    began = time.monotonic()
    try:
        files, rows, (stored, unstored) = _bring(session, manifest, ledger, progress, patience, keys)
    except DerivaMLException as error:
        ledger.add(Upload_Duration=duration_text(time.monotonic() - began))
        ledger.fail_upload(str(error))
        raise
    ledger.add(Upload_Duration=duration_text(time.monotonic() - began))
    unwritten = tuple(entry for entry in files.failed if is_unwritten(manifest, entry, ledger.status))
    unwritten += tuple(awaited)
    failed = tuple(entry for entry in files.failed if entry not in unwritten)
    report = CommitReport(
        rid,
        files.done,
        failed,
        unwritten,
        absent=sum(not manifest.file_of(entry).exists() for entry in failed) + len(rows.unwritten),
        features=stored,
        failed_features=unstored,
        tables=rows.done,
        failed_tables=rows.failed,
    )
    if report.complete and settle:
        ledger.move_upload(Upload.uploaded)
    elif not report.complete:
        ledger.fail_upload("; ".join(report.errors()))
    return report


def commit_description(session: Session, manifest: Manifest, ledger: Ledger) -> CommitReport:
    """Bring the files that describe a run into the catalog, before its model starts, and nothing else that waits.

    Args:
        session: The catalog.
        manifest: The run's manifest.
        ledger: The run's status; that of its upload is only touched if something fails.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    patience = Patience()
    with manifest.turn():
        keys = {entry.key for entry in manifest.pending_assets() if entry.path.startswith(f"{FOLDER}/")}
        try:
            files, _attempts = _patiently(
                session, patience, lambda way: upload(way, ledger.execution_rid, manifest, patience=patience, keys=keys)
            )
        except DerivaMLException as error:
            ledger.fail_upload(str(error))
            raise
    report = CommitReport(ledger.execution_rid, files.done, files.failed)
    if not report.complete:
        ledger.fail_upload("; ".join(report.errors()))
    return report


def _bring(
    session: Session,
    manifest: Manifest,
    ledger: Ledger,
    progress: UploadCallback | None,
    patience: Patience,
    keys: Collection[str] | None,
) -> tuple[UploadReport, RowUpload, tuple[Mapping[str, int], Mapping[str, str]]]:
    """Bring what waits, files and rows and values; what a run left that failed is marked before."""

    def once(way: Session) -> tuple[UploadReport, RowUpload, tuple[Mapping[str, int], Mapping[str, str]]]:
        mark_partial(way, manifest, ledger.status)
        files = upload(way, ledger.execution_rid, manifest, progress=progress, patience=patience, keys=keys)
        rows = _store_rows(way, manifest, ledger)
        return files, rows, _store_features(way, manifest, ledger.execution_rid)

    waiting = [entry.key for entry in manifest.pending_assets()]
    (files, rows, values), attempts = _patiently(session, patience, once)
    if attempts > 1:
        done = [entry for entry in map(manifest.asset, waiting) if entry.status == UPLOADED]
        files = UploadReport(tuple(done), files.failed)
    return files, rows, values


def _patiently(session: Session, patience: Patience, work: Callable[[Session], T]) -> tuple[T, int]:
    """Do what can be repeated; where a connection was lost in the middle of what is not to be repeated blindly, anew.

    What was done is found done.

    Returns:
        What it came to, and at which attempt.
    """
    patient, retry, attempt = patience.session(session), patience.retry(), 1
    while True:
        try:
            return work(patient), attempt
        except DerivaMLUnreachable as error:
            if error.was_repeated or not retry.again(attempt):
                raise
            attempt += 1


def _store_rows(session: Session, manifest: Manifest, ledger: Ledger) -> RowUpload:
    """Store the rows of tables; those that a run which did not complete never wrote are no failure."""
    if not manifest.pending_tables():
        return RowUpload()
    status = ledger.status
    missing = [
        entry.key
        for entry in manifest.pending_tables()
        if is_unwritten(manifest, entry, status) or _is_awaited(manifest, entry, status)
    ]
    return upload_rows(session, manifest, ledger.execution_rid, left_out=missing)


def _store_features(session: Session, manifest: Manifest, rid: str) -> tuple[Mapping[str, int], Mapping[str, str]]:
    """Store the staged values; how many of each feature, and why those of others could not be stored."""
    if not manifest.pending_features():
        return {}, {}
    from deriva_ml.feature.stage import upload_features

    values = upload_features(session, manifest, rid)
    return values.done, values.failed
