"""What became of a child, from evidence: what it said, how it ended, what it left.

Completed is a child that said so (a ``result``) before anybody told it to end, and then ended with code 0. One that was
told to stop by its user is aborted, though it may have made something of that. Everything else failed, and the reason
says what is known: its own error, the limit that it passed, the signal that killed it, or that it ended without a word.
"""

from __future__ import annotations

import signal
from dataclasses import field
from enum import Enum
from typing import Any

from deriva_ml.core.values import dataclass

__all__ = ["ChildError", "Evidence", "Outcome", "Usage", "Verdict", "judge"]


class Outcome(Enum):
    """How a child's work ended."""

    completed = "completed"
    failed = "failed"
    aborted = "aborted"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a child took.

    Attributes:
        wall: Seconds from start to end.
        user: Seconds of processor time in its own code, its children's that it waited for included.
        system: Seconds of processor time in the kernel.
        peak_memory: The most memory that it and its children had resident together, in bytes; where they lived shorter
            than a second, that of the one that had most.
    """

    wall: float
    user: float
    system: float
    peak_memory: int

    def to_dict(self) -> dict[str, float | int]:
        """As plain data, for a record."""
        return {
            "wall_seconds": round(self.wall, 3),
            "user_seconds": round(self.user, 3),
            "system_seconds": round(self.system, 3),
            "peak_memory_bytes": self.peak_memory,
        }


@dataclass(frozen=True, slots=True)
class ChildError:
    """An error that a child raised, as text: its class may not exist in this process.

    Attributes:
        type: Name of its class, with the module.
        text: What it says.
        traceback: Where it was raised.
    """

    type: str
    text: str
    traceback: str


@dataclass(slots=True)
class Evidence:
    """What is known of a child while it is watched and when it has ended.

    Attributes:
        result: The result frame's fields, if there was one.
        is_late: It told its result only when it had been told to end.
        error: The error that it told of.
        ended_for: Why it was told to end: the limit that it passed, or what its user said.
        aborted: It was told to end because the user wished so.
        code: Its exit code; None if a signal ended it.
        signal: The signal that ended it.
        was_cut: It died in the middle of a frame.
        is_broken: What it said could not be read.
        cut_itself_off: It closed the way to this process, so that it could not say what came of its work.
        stack: What the fault handler wrote: the Python stack at a fatal signal, or where it hung.
        output: The last lines that it printed.
        leftovers: Threads and processes that it left behind, and that were ended.
        interrupt: What interrupted this process while it watched.
    """

    result: dict[str, Any] | None = None
    is_late: bool = False
    error: ChildError | None = None
    ended_for: str | None = None
    aborted: bool = False
    code: int | None = None
    signal: int | None = None
    was_cut: bool = False
    is_broken: str | None = None
    cut_itself_off: bool = False
    stack: str = ""
    output: tuple[str, ...] = ()
    leftovers: list[str] = field(default_factory=list)
    interrupt: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a child.

    Attributes:
        outcome: How its work ended.
        reason: Why, in one sentence.
        value: What its function returned, if it completed.
        error: The error that it raised.
        code: Its exit code; None if a signal ended it.
        signal: Name of the signal that ended it.
        stack: The Python stack at a fatal signal, or where it hung; empty if there is none.
        output: The last lines that it printed.
        usage: What it took.
        notes: What else is worth knowing: threads and processes that were left behind.
        interrupt: What interrupted this process, for whoever wants to let it go on.
    """

    outcome: Outcome
    reason: str
    value: Any
    error: ChildError | None
    code: int | None
    signal: str | None
    stack: str
    output: tuple[str, ...]
    usage: Usage
    notes: tuple[str, ...] = ()
    interrupt: BaseException | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a record."""
        return {
            "outcome": self.outcome.value,
            "reason": self.reason,
            "error": None
            if self.error is None
            else {"type": self.error.type, "text": self.error.text, "traceback": self.error.traceback},
            "exit_code": self.code,
            "signal": self.signal,
            "stack": self.stack,
            "output": list(self.output),
            "usage": self.usage.to_dict(),
            "notes": list(self.notes),
        }


def judge(evidence: Evidence, usage: Usage) -> Verdict:
    """The verdict on a child that has ended."""
    outcome, reason = _judged(evidence)
    value = (evidence.result or {}).get("value") if outcome is Outcome.completed else None
    return Verdict(
        outcome,
        reason,
        value,
        evidence.error,
        evidence.code,
        _signal_name(evidence.signal),
        evidence.stack,
        evidence.output,
        usage,
        tuple(evidence.leftovers),
        evidence.interrupt,
    )


def _judged(evidence: Evidence) -> tuple[Outcome, str]:
    if evidence.result is not None and evidence.code == 0 and not evidence.is_late:
        return Outcome.completed, "It ended well."
    if evidence.aborted:
        return Outcome.aborted, evidence.ended_for or "It was told to stop."
    if evidence.ended_for is not None:
        return Outcome.failed, evidence.ended_for
    if evidence.error is not None:
        return Outcome.failed, f"It raised {evidence.error.type}: {evidence.error.text}".rstrip(": ")
    end = _end(evidence)
    if evidence.is_broken is not None:
        return Outcome.failed, f"What it said could not be read ({evidence.is_broken}); it {end}."
    if evidence.cut_itself_off:
        return Outcome.failed, f"It closed the way to its parent, which cannot know its result, and {end}."
    if evidence.was_cut:
        return Outcome.failed, f"It {end} in the middle of what it said."
    said = "after its result" if evidence.result is not None else "without a result"
    return Outcome.failed, f"It {end} {said}."


def _end(evidence: Evidence) -> str:
    name = _signal_name(evidence.signal)
    return f"was killed by {name}" if name else f"ended with code {evidence.code}"


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
