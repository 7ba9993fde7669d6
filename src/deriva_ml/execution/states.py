"""The statuses of a run and of its upload, and the moves between them: what may become what, by whom, and why; no I/O.

Rules:

1. A run is Created when its identity is known, before anything of it is in the catalog.
2. The process that holds it moves it only forward: Created, Initializing (inputs are brought), Pending (ready to
   start), Running (the model has control), Completed. It may not skip a status, so that the record shows how far it
   came.
3. From every status that is not final it can become Failed (the run raised) or Aborted (somebody stopped it). A run
   whose process is gone can become Aborted only, and whoever finds that moves it.
4. Completed, Failed and Aborted are final: an attempt that ended is over. What happens to the outputs afterwards is
   told by the upload's own state, so that a finished computation is never called unfinished, nor an unfinished upload
   finished.
5. To stay in a status is no move and always allowed: only the detail changes. Hence every step can be repeated.
6. Who resumes a run that Failed or was Aborted begins its next attempt: it is Initializing again, and all that follows
   is as before. Completed is left by nobody: what is done anew is a new run.
7. A run that was left and has not ended may go on in its attempt, in whatever status it is, as long as nobody has found
   it dead.
8. The upload goes from none to pending, and from pending to uploaded or failed. A failed upload can be tried again, and
   an upload that is done is pending again when more outputs are registered.

``docs/lifecycle.md`` shows these tables; ``make docs`` writes them there (:mod:`deriva_ml.execution.state_page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLInvalidTransition, DerivaMLValidationError
from deriva_ml.core.files import nearest

__all__ = [
    "FINAL",
    "MOVES",
    "UPLOAD_MOVES",
    "Move",
    "Mover",
    "Upload",
    "UploadMove",
    "check_move",
    "check_upload_move",
    "is_final",
    "named_status",
    "parse_status",
]


class Upload(StrEnum):
    """How far the upload of a run's outputs is; the text of the column ``Execution.Upload_State``."""

    none = "none"
    pending = "pending"
    uploaded = "uploaded"
    failed = "failed"


class Mover(StrEnum):
    """Who moves a run."""

    holder = "holder"
    """The process that holds the run: it has opened it, or has taken it up or over."""
    finder = "finder"
    """Any command of the machine that finds the run's process gone."""
    resumer = "resumer"
    """Who resumes a run that did not complete."""


class Move(NamedTuple):
    """A move that a run can make.

    Attributes:
        start: The status that it leaves.
        finish: The status that it gets.
        by: Who may move it.
        why: What has happened.
    """

    start: Status
    finish: Status
    by: Mover
    why: str


class UploadMove(NamedTuple):
    """A move that the upload of a run's outputs can make; who holds the run, or uploads for it, moves it.

    Attributes:
        start: The state that it leaves.
        finish: The state that it gets.
        why: What has happened.
    """

    start: Upload
    finish: Upload
    why: str


_GOING = (Status.created, Status.initializing, Status.pending, Status.running)

MOVES: tuple[Move, ...] = (
    Move(Status.created, Status.initializing, Mover.holder, "its row is made, and its inputs are brought"),
    Move(Status.initializing, Status.pending, Mover.holder, "its inputs are here and recorded: it is ready to start"),
    Move(Status.pending, Status.running, Mover.holder, "the model gets control"),
    Move(Status.running, Status.completed, Mover.holder, "the model has ended well"),
    *(Move(status, Status.failed, Mover.holder, "an error ended it") for status in _GOING),
    *(Move(status, Status.aborted, Mover.holder, "somebody stopped it") for status in _GOING),
    *(Move(status, Status.aborted, Mover.finder, "its process is gone") for status in _GOING),
    *(
        Move(status, Status.initializing, Mover.resumer, "it is taken up again: its next attempt begins")
        for status in (Status.failed, Status.aborted)
    ),
)
"""Every move that there is; what is not here is refused."""

FINAL: frozenset[Status] = frozenset(Status) - {move.start for move in MOVES if move.by is Mover.holder}
"""Statuses in which an attempt is over: the process that holds the run does not leave them."""

UPLOAD_MOVES: tuple[UploadMove, ...] = (
    UploadMove(Upload.none, Upload.pending, "an output is registered and waits, or its upload begins"),
    UploadMove(Upload.pending, Upload.uploaded, "everything that was registered is in the catalog"),
    UploadMove(Upload.pending, Upload.failed, "something did not get there; the error says why"),
    UploadMove(Upload.uploaded, Upload.pending, "more was registered"),
    UploadMove(Upload.failed, Upload.pending, "it is tried again"),
)
"""Every move that the upload can make."""


def check_move(start: Status, finish: Status, by: Mover = Mover.holder) -> None:
    """Refuse a move that the table does not hold.

    Args:
        start: The status of the run.
        finish: The status that it is to have.
        by: Who moves it.

    Raises:
        DerivaMLInvalidTransition: A run that is ``start`` cannot become ``finish``, or not by this mover.
    """
    allowed = [move.finish for move in MOVES if (move.start, move.by) == (start, by)]
    if finish != start and finish not in allowed:
        raise DerivaMLInvalidTransition(start.value, finish.value, [status.value for status in allowed])


def check_upload_move(start: Upload, finish: Upload) -> None:
    """Refuse a move of the upload that the table does not hold.

    Raises:
        DerivaMLInvalidTransition: An upload that is ``start`` cannot become ``finish``.
    """
    allowed = [move.finish for move in UPLOAD_MOVES if move.start == start]
    if finish != start and finish not in allowed:
        raise DerivaMLInvalidTransition(start.value, finish.value, [state.value for state in allowed])


def is_final(status: Status) -> bool:
    """Whether the attempt of a run that is ``status`` is over."""
    return status in FINAL


def parse_status(text: str | None) -> Status:
    """The status that a catalog's text means; a row without one was created and never got further.

    Other platforms write words of their own into this free text column: they are mapped to the nearest status of ours.
    """
    word = (text or "").strip()
    by_name = {status.value.lower(): status for status in Status}
    return by_name.get(word.lower()) or _FOREIGN.get(word.lower(), Status.created)


_FOREIGN: Mapping[str, Status] = MappingProxyType(
    # Words of later versions of the public deriva-ml, whose upload is a status of the run.
    {"stopped": Status.completed, "pending_upload": Status.completed, "uploaded": Status.completed}
)


def named_status(name: Status | str) -> Status:
    """The status of a name, in whatever case.

    Raises:
        DerivaMLValidationError: There is no such status.
    """
    known = {each.value.lower(): each for each in Status}
    found = known.get(str(name).lower())
    if found is None:
        allowed = nearest(str(name), [each.value for each in Status])
        raise DerivaMLValidationError(f"There is no status {str(name)!r} of executions.", allowed=allowed)
    return found
