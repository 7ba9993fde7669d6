"""What descends from a process, as the kernel tells it: used by the child of itself, and by its parent of the child."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

__all__ = ["State", "descendants", "state_of"]

_PROC = Path("/proc")


class State(NamedTuple):
    """What the system says of a process: its state's letter, its session, and when it began."""

    code: str
    session: int
    start: str


def state_of(pid: int) -> State | None:
    """What the system says of a process; None if there is none, or it does not tell."""
    try:
        # the name of a program, in parentheses, may hold anything
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return State(fields[0], int(fields[3]), fields[19])
    except (OSError, ValueError, IndexError):
        return None


def descendants(pid: int) -> dict[int, str]:
    """The processes that descend from one and are there now, with when each began."""
    found: dict[int, str] = {}
    open_ = [pid]
    while open_:
        parent = open_.pop()
        children: list[int] = []
        with contextlib.suppress(OSError, ValueError):
            for task in (_PROC / str(parent) / "task").iterdir():
                children += map(int, (task / "children").read_text().split())
        for child in children:
            state = state_of(child)
            if state is not None:
                found[child] = state.start
        open_ += children
    return found
