"""What a child is to do, and how far it may go."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.values import dataclass

__all__ = ["Job", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a child may go; None for as far as it likes. Whoever goes further is ended, and the verdict says why.

    Attributes:
        wall: Seconds from its start.
        memory: Bytes of memory that it and its children have together (the sum of what each has resident).
        silence: Seconds in which it prints nothing, reports neither progress nor status, and asks for nothing.
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
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not (math.isfinite(value) and value > 0):
                unit = "bytes, such as 16e9" if name == "memory" else "seconds, such as 5"
                raise DerivaMLConfigurationError(
                    f"The limit {name} is {value!r}, which is no positive number.",
                    source=f"limits.{name}",
                    hint=f"give {unit}" + ("" if name == "grace" else "; or leave it out for no limit"),
                )


@dataclass(frozen=True, slots=True)
class Job:
    """A function that a child is to call.

    Attributes:
        target: The function as ``module:name``; it is called with the child's side of the conversation
            (``Conversation``) and the arguments.
        folder: Where files about the child are kept; it must exist.
        arguments: Its arguments, of JSON's kinds.
        limits: How far it may go.
        path: What the child looks for modules on; by default as this process does.
        environ: Environment variables that it has beside those of this process; None removes one.
        beat: Seconds between two beats of its heart.
        directory: The child's working directory; by default the folder.
    """

    target: str
    folder: Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    path: Sequence[str] = field(default_factory=lambda: list(sys.path))
    environ: Mapping[str, str | None] = field(default_factory=dict)
    beat: float = 1.0
    directory: Path | None = None

    def __post_init__(self) -> None:
        module, colon, name = self.target.partition(":")
        if not (module and colon and name):
            raise DerivaMLConfigurationError(
                f"The target {self.target!r} names no function.", hint="write it as module:function"
            )
        if not self.folder.is_dir():
            raise DerivaMLConfigurationError(f"The folder of the job is not there: {self.folder}")
