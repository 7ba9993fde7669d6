"""The statuses of a run and of its upload, and the moves between them; no I/O.

Rules:

1. A run is Created when its identity is known, before anything of it is in the catalog.
2. It moves only forward: Created, Initializing (inputs are brought), Pending (ready to start), Running (the model has
   control), Completed. It may not skip a status, so that the record shows how far it came.
3. From every status that is not final it can become Failed (the run raised) or Aborted (somebody stopped it, or its
   process is gone).
4. Completed, Failed and Aborted are final: what happens to the outputs afterwards is told by the upload's own state,
   so that a finished computation is never called unfinished, nor an unfinished upload finished.
5. To stay in a status is no move and always allowed: only the detail changes. Hence every step can be repeated.
6. A run that was left and has not ended may go on, in whatever status it is, as long as nobody has found it dead; one
   that was found dead is Aborted. No status leads back: a run that ended is never opened again, and what is done anew
   is a new run.
7. The upload goes from none to pending, and from pending to uploaded or failed. A failed upload can be tried again, and
   an upload that is done is pending again when more outputs are registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLInvalidTransition, DerivaMLValidationError
from deriva_ml.core.files import nearest

__all__ = [
    "FINAL",
    "MOVES",
    "UPLOAD_MOVES",
    "Upload",
    "check_move",
    "check_upload_move",
    "diagram",
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


MOVES: Mapping[Status, tuple[Status, ...]] = MappingProxyType(
    {
        Status.created: (Status.initializing, Status.failed, Status.aborted),
        Status.initializing: (Status.pending, Status.failed, Status.aborted),
        Status.pending: (Status.running, Status.failed, Status.aborted),
        Status.running: (Status.completed, Status.failed, Status.aborted),
        Status.completed: (),
        Status.failed: (),
        Status.aborted: (),
    }
)
"""From each status, the statuses that a run can move to."""

FINAL: frozenset[Status] = frozenset(status for status, targets in MOVES.items() if not targets)
"""Statuses that a run does not leave."""

UPLOAD_MOVES: Mapping[Upload, tuple[Upload, ...]] = MappingProxyType(
    {
        Upload.none: (Upload.pending,),
        Upload.pending: (Upload.uploaded, Upload.failed),
        Upload.uploaded: (Upload.pending,),
        Upload.failed: (Upload.pending,),
    }
)
"""From each upload state, the states that the upload can move to."""

_State = TypeVar("_State", Status, Upload)


def _check(table: Mapping[_State, tuple[_State, ...]], start: _State, finish: _State) -> None:
    if finish != start and finish not in table[start]:
        raise DerivaMLInvalidTransition(start.value, finish.value, [state.value for state in table[start]])


def check_move(start: Status, finish: Status) -> None:
    """Refuse a move that the table does not hold.

    Raises:
        DerivaMLInvalidTransition: A run that is ``start`` cannot become ``finish``.
    """
    _check(MOVES, start, finish)


def check_upload_move(start: Upload, finish: Upload) -> None:
    """Refuse a move of the upload that the table does not hold.

    Raises:
        DerivaMLInvalidTransition: An upload that is ``start`` cannot become ``finish``.
    """
    _check(UPLOAD_MOVES, start, finish)


def is_final(status: Status) -> bool:
    """Whether a run that is ``status`` stays so."""
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


def diagram() -> str:
    """The tables as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {Status.created}"]
    lines += [f"    {start} --> {target}" for start, targets in MOVES.items() for target in targets]
    lines += [f"    {status} --> [*]" for status in MOVES if is_final(status)]
    lines += ["    state Upload {", f"        [*] --> {Upload.none}"]
    lines += [f"        {start} --> {target}" for start, targets in UPLOAD_MOVES.items() for target in targets]
    return "\n".join([*lines, "    }"]) + "\n"


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
