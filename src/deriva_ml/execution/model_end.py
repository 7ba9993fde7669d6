"""How the end of a model's process is told: as an error with a message for the terminal and a detail for the record.

The message is short, since the terminal has what the model printed. The record says what is needed to understand the
end years later: what ended it, where, with how much memory, and the last lines that it printed if it raised no error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLException, DerivaMLModelError
from deriva_ml.core.files import human_size
from deriva_ml.execution.config_sources import is_users
from deriva_ml.execution.model_protocol import model_name

if TYPE_CHECKING:
    from deriva_ml.execution.execution import Execution
    from deriva_ml.isolate.verdict import Verdict

__all__ = ["ended_itself", "what_ended", "what_was_lost"]

LONGEST_REASON = 400
LAST_LINES = 10
LONGEST_LINE = 200

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+)', re.MULTILINE)


def what_ended(verdict: Verdict, model: Any, execution: Execution) -> BaseException | None:
    """What a call of the model would have raised; None if it ended well.

    Args:
        verdict: What became of the model's process.
        model: The model, for its name.
        execution: The run.
    """
    from deriva_ml.isolate.verdict import Outcome

    if verdict.outcome is Outcome.completed:
        return None
    if verdict.outcome is Outcome.aborted:
        return verdict.interrupt or KeyboardInterrupt(verdict.reason)
    memory = ""
    if verdict.error is not None and verdict.reason.startswith("It raised"):
        first = (verdict.error.text.strip().splitlines() or [""])[0]
        reason = f"raised {verdict.error.type.rpartition('.')[2]}: {_shown(first, LONGEST_REASON)}".rstrip(": ")
        source = _users_line(verdict.error.traceback)
    else:
        told = verdict.reason.rstrip(".")
        reason = told.removeprefix("It ") if told.startswith("It ") else f"was ended: {told[:1].lower()}{told[1:]}"
        source = _users_line(verdict.stack, newest_first=True)
        if verdict.signal is not None:
            memory = f"; it had {human_size(verdict.usage.peak_memory)} of memory at most"
    text = f"The model {model_name(model)} {reason}"
    detail = _detail(text, source, verdict)
    error = DerivaMLModelError(text + memory, source=source, hint=_hint(execution), detail=detail)
    if verdict.error is not None:
        error.add_note(f"In the model's process:\n{verdict.error.traceback}")
    return error


def what_was_lost(lost: DerivaMLException, model: Any, execution: Execution) -> DerivaMLModelError:
    """The error of a model that ended well, and removed or damaged what the run had noted of itself."""
    text = (
        f"The model {model_name(model)} ended, and what the run had registered cannot be read any more: "
        f"{lost.args[0] if lost.args else lost}"
    )
    removed = "a model may write into the run's directory, and must leave what it finds there"
    hint = lost.hint if execution.manifest.path.exists() else removed
    return DerivaMLModelError(text, source=str(execution.working_dir), hint=hint, detail=text)


def ended_itself(model: Any, execution: Execution) -> DerivaMLModelError:
    """The error of a run that its model has ended as Failed or Aborted without raising anything."""
    detail = execution.execution_record.status_detail or ""
    text = f"The model {model_name(model)} ended its run as {execution.status}: {_shown(detail, LONGEST_REASON)}"
    return DerivaMLModelError(text.rstrip(": "), hint=_hint(execution, str(execution.status)))


def _hint(execution: Execution, status: str = "Failed") -> str:
    return f"the run is recorded as {status}, with its outputs so far: deriva-ml-show {execution.execution_rid}"


def _detail(text: str, source: str | None, verdict: Verdict) -> str:
    usage = verdict.usage
    lines = [f"{text} (at {source})." if source else f"{text}."]
    lines.append(f"Its process ran for {usage.wall:.1f} s and had {human_size(usage.peak_memory)} of memory at most.")
    lines += verdict.notes
    if verdict.error is None and verdict.output:
        lines.append("The last that it printed:")
        lines += [f"  {_shown(line, LONGEST_LINE)}" for line in verdict.output[-LAST_LINES:]]
    return "\n".join(lines)


def _shown(text: str, longest: int) -> str:
    """Text of anybody's, fit for a line on a terminal."""
    plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
    return plain if len(plain) <= longest else f"{plain[:longest]} ..."


def _users_line(traceback: str, *, newest_first: bool = False) -> str | None:
    """``file:line`` of the innermost frame that is the user's own code."""
    frames = [f"{found['file']}:{found['line']}" for found in _FRAME.finditer(traceback) if is_users(found["file"])]
    if not frames:
        return None
    return frames[0] if newest_first else frames[-1]
