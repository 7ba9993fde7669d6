"""How a run ends: its times, what is said of the error that ended it, and what is given back.

1. Whether outputs are waiting is written down with the end itself, so that no ended run is without its upload state.
2. Where the journal cannot be written, because the disk is full, the catalog is told of the end all the same.
3. An error that ends a run goes on to the caller. A second one, met while the first is recorded, becomes a note of it:
   what is left is in the journal, and the run can be resumed.
"""

from __future__ import annotations

import shutil
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

from deriva_ml.core.enums import Status
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLModelError, DerivaMLUnreachable
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.ledger import Ledger, duration_text
from deriva_ml.execution.outputs import CommitReport, commit, pending_outputs
from deriva_ml.workspace.manifest import Manifest

__all__ = ["close_run", "describe_error", "end_badly", "end_run"]


def end_run(
    ledger: Ledger, manifest: Manifest, status: Status, detail: str, *, started: datetime | None, now: datetime
) -> None:
    """Move a run to its last status.

    Args:
        ledger: The run's status.
        manifest: What it has registered.
        status: The last status.
        detail: What there is to say of it.
        started: When the model started; None if it never did.
        now: When it ended.
    """
    columns: dict[str, Any] = {"Stop_Time": now.isoformat()}
    if started is not None:
        columns |= dict.fromkeys(("Duration", "Execution_Duration"), duration_text((now - started).total_seconds()))
    if any(pending_outputs(manifest, status)):
        ledger.begin_upload()
        columns["Upload_State"] = ledger.upload.value
    ledger.move(status, detail, **columns)


def end_badly(
    ledger: Ledger,
    manifest: Manifest | None,
    error: BaseException,
    *,
    started: datetime | None,
    now: datetime,
    upload: bool,
) -> CommitReport | None:
    """Note that an error has ended a run, and keep what it had registered; the error itself goes on.

    Args:
        ledger: The run's status.
        manifest: What it has registered; None if it had not come so far.
        error: The error.
        started: When the model started; None if it never did.
        now: When it ended.
        upload: Bring what it had registered into the catalog.

    Returns:
        What became of the outputs, if they were to be uploaded and could be.
    """
    status = Status.aborted if isinstance(error, KeyboardInterrupt) else Status.failed
    detail = (error_text(error) or "Interrupted.") if status is Status.aborted else describe_error(error)
    try:
        if manifest is None:
            ledger.move(status, detail)
            return None
        end_run(ledger, manifest, status, detail, started=started, now=now)
        # what cannot be told cannot be uploaded either: whoever ends the run tries that with more patience
        return commit(ledger.session, manifest, ledger) if upload and not ledger.is_away else None
    except DerivaMLException as second:
        error.add_note(f"Then, while the failed run was recorded: {second}")
        # that the catalog cannot be reached, the ledger has said already
        if not isinstance(second, DerivaMLUnreachable):
            ledger.tell_end(status, detail, Stop_Time=now.isoformat())
            get_logger("execution").warning("The failed run %s is not recorded whole: %s", ledger.execution_rid, second)
        return None


def close_run(ledger: Ledger, directory: Path, *, remove: bool = True) -> None:
    """Close the journal, which the next call opens again; of a dry run, which has none, remove the directory."""
    if ledger.journal is not None:
        ledger.journal.close()
    elif remove:
        shutil.rmtree(directory, ignore_errors=True)


def describe_error(error: BaseException) -> str:
    """An error as a run's status detail: its kind, its text, and the line of the user's code that it came from."""
    if isinstance(error, DerivaMLModelError):
        if error.detail is not None:
            return error.detail
        error = error.__cause__ or error
    text = error_text(error)
    if isinstance(error, DerivaMLException):
        return text
    text = f"{type(error).__name__}: {text}".removesuffix(": ")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    last = (own or list(frames))[-1:]
    return f"{text} (at {last[0].filename}:{last[0].lineno} in {last[0].name})" if last else text
