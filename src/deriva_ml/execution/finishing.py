"""Finishing a run of this machine that another process has left: its outputs brought, its directory cleaned.

1. Who finishes a run becomes its owner in the journal first, so that no two processes take it for theirs.
2. A run that has not ended is left to itself; only what has ended is finished.
3. Nothing is removed but what the catalog has, and what was given up by name.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from deriva_ml.asset.upload import Patience
from deriva_ml.core.enums import Status
from deriva_ml.core.ermrest import UploadCallback
from deriva_ml.core.exceptions import DerivaMLExecutionError, DerivaMLNotFoundError
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.ledger import Ledger, open_journal
from deriva_ml.execution.metadata import CONFIGURATION, FOLDER
from deriva_ml.execution.outputs import CommitReport, commit, execution_root, pending_outputs
from deriva_ml.execution.states import Upload, is_final, parse_status
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.entries import ABANDONED
from deriva_ml.workspace.journal import Journal
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = ["clean_run_directory", "commit_run", "give_up_unwritten", "parse_upload", "take_over"]


def commit_run(
    owner: HasSession | Session,
    execution_rid: str,
    *,
    progress: UploadCallback | None = None,
    abandon: bool = False,
    patience: Patience | None = None,
    clean_folder: bool = False,
) -> CommitReport:
    """Bring the outputs of a run of this machine into the catalog, from this or another process.

    Args:
        owner: A ``DerivaML`` or its session.
        execution_rid: The run.
        progress: Is told of each file that has been sent.
        abandon: Give up the outputs that were registered and never written; what was written is never given up.
        patience: How to meet a service that is slow or away.
        clean_folder: Remove inputs and staged files afterwards, if everything is uploaded.

    Raises:
        DerivaMLNotFoundError: This machine has no directory of the run, or the catalog does not know it.
        DerivaMLExecutionError: A living process works on the run.
    """
    session = session_of(owner)
    session.require_writable()
    with open_journal(session) as journal:
        directory = _directory(session, journal, execution_rid)
        manifest = Manifest(directory / MANIFEST_NAME, execution_rid)
        ledger = take_over(session, journal, execution_rid, directory)
        if not is_final(ledger.status):
            raise DerivaMLExecutionError(
                f"Execution {execution_rid} is {ledger.status}: it has not ended.",
                hint="restore it, or wait for its end",
            )
        if abandon:
            give_up_unwritten(manifest)
        report = commit(session, manifest, ledger, progress=progress, patience=patience)
    if clean_folder and report.complete:
        clean_run_directory(manifest, ledger.status)
    return report


def give_up_unwritten(manifest: Manifest) -> None:
    """Give up what was registered and has no file: nothing of it can be uploaded."""
    manifest.mark_abandoned(entry.key for entry in manifest.pending_assets() if not manifest.file_of(entry).exists())
    for entry in manifest.pending_tables():
        if not manifest.file_of(entry).exists():
            manifest.update_table(entry.key, status=ABANDONED)


def _directory(session: Session, journal: Journal, execution_rid: str) -> Path:
    """Where a run's files are: as the journal says, else where they would be."""
    try:
        directory = journal.run(execution_rid).directory
    except DerivaMLNotFoundError:
        directory = execution_root(session, execution_rid)
    if not (directory / MANIFEST_NAME).exists():
        raise DerivaMLNotFoundError(
            f"This machine has no outputs of execution {execution_rid}.",
            source=str(directory),
            hint="call it on the machine, and with the working directory, of the run",
        )
    return directory


def take_over(session: Session, journal: Journal, execution_rid: str, directory: Path) -> Ledger:
    """The status of a run that this process goes on with, as journal and catalog know it.

    Raises:
        DerivaMLExecutionError: Another living process works on the run.
    """
    record = lookup_execution(session, execution_rid)
    status, upload_state = record.status, parse_upload(record.upload_state)
    try:
        run = journal.take_over(execution_rid)
    except DerivaMLNotFoundError:
        # the directory came from elsewhere, or the journal was lost
        journal.open_run(execution_rid, directory=directory, status=status.value, workflow=record.workflow_rid)
        if is_final(status):
            journal.mark_synced(execution_rid, status.value)
    else:
        upload_state = parse_upload(run.upload_state)
        if not is_final(status):
            status = parse_status(run.status)
    return Ledger(session, journal, execution_rid, status, upload_state, mask=process_mask())


def parse_upload(text: str | None) -> Upload:
    """The state of an upload that a text means; none if there is no text."""
    return Upload(text) if text in {state.value for state in Upload} else Upload.none


def clean_run_directory(manifest: Manifest, status: Status) -> None:
    """Remove what the catalog has by now from a run's directory: inputs, staged outputs and values.

    The manifest and the configuration stay: they are small, say what became of each output, and let more be added.
    Another process that uploads, or cleans, is waited for; if something was registered meanwhile, all of it stays. What
    cannot be removed is named in a warning: the outputs are in the catalog, whatever is left here.

    Args:
        manifest: The run's manifest.
        status: The run's status.
    """
    with manifest.turn():
        if any(pending_outputs(manifest, status)):
            return
        for entry in manifest.path.parent.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                try:
                    _clean(entry)
                except OSError as error:
                    get_logger("execution").warning(
                        "%s cannot be removed: %s", error.filename or entry, error.strerror or error
                    )


def _clean(folder: Path) -> None:
    if folder.name != FOLDER:
        shutil.rmtree(folder)
        return
    for file in folder.iterdir():
        if file.name != CONFIGURATION:
            file.unlink()
