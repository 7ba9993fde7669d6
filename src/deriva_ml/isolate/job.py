"""What a child is to do, and how far it may go."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError

__all__ = ["Job", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a child may go; None for as far as it likes. Whoever goes further is ended, and the verdict says why.

    Attributes:
        wall: Seconds from its start.
        memory: Bytes of memory that it and its children have together (the sum of what each has resident).
        silence: Seconds in which it reports no progress, no status and asks for nothing.
        heartbeat: Seconds without a beat: it was stopped, or native code holds the interpreter.
        grace: Seconds that it has to end after it was told to.
    """

    wall: float | None = None
    memory: int | None = None
    silence: float | None = None
    heartbeat: float | None = None
    grace: float = 5.0

    def __post_init__(self) -> None:
        for name in ("wall", "memory", "silence", "heartbeat", "grace"):
            value = getattr(self, name)
            if value is None and name != "grace":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise DerivaMLConfigurationError(
                    f"The limit {name} is {value!r}, which is no positive number.",
                    source=f"limits.{name}",
                    hint="leave it out for no limit" if name != "grace" else "give seconds, such as 5",
                )


@dataclass(frozen=True, slots=True)
class Job:
    """A function that a child is to call.

    Attributes:
        target: The function as ``module:name``; it is called with the child's side of the conversation
            (``Conversation``) and the arguments.
        folder: The child's working directory, which must exist.
        arguments: Its arguments, of JSON's kinds.
        limits: How far it may go.
        path: What the child looks for modules on; by default as this process does.
        environ: Environment variables that it has beside those of this process; None removes one.
        beat: Seconds between two beats of its heart.
    """

    target: str
    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    path: Sequence[str] = field(default_factory=lambda: list(sys.path))
    environ: Mapping[str, str | None] = field(default_factory=dict)
    beat: float = 1.0

    def __post_init__(self) -> None:
        module, colon, name = self.target.partition(":")
        if not (module and colon and name):
            raise DerivaMLConfigurationError(
                f"The target {self.target!r} names no function.", hint="write it as module:function"
            )
        if not self.folder.is_dir():
            raise DerivaMLConfigurationError(f"The working directory is not there: {self.folder}")
