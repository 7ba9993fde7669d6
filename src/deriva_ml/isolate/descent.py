"""What descends from a process, as the kernel tells it: used by the child of itself, and by its parent of the child."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

__all__ = ["State", "descendants", "state_of"]


class State(NamedTuple):
    """What the system says of a process: its state's letter, its session, and when it began."""

    code: str
    session: int
    start: str


def state_of(pid: int) -> State | None:
    """What the system says of a process; None if there is none, or it does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - asked of every process there is
            # the name of a program, in parentheses, may hold anything
            fields = file.read().rpartition(b")")[2].split(None, 20)
        return State(fields[0].decode(), int(fields[3]), fields[19].decode())
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
            for task in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208
                with open(f"/proc/{parent}/task/{task}/children", "rb") as file:  # noqa: PTH123
                    children += map(int, file.read().split())
        for child in children:
            state = state_of(child)
            if state is not None:
                found[child] = state.start
        open_ += children
    return found
