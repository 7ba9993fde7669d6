"""A child's session as the system sees it: signals, memory, end; and the ends of files."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Session", "tail"]

_PAGE = resource.getpagesize()
_PROC = Path("/proc")


class Session:
    """The session that a child leads; it began one, so everything that it starts belongs to it.

    Args:
        pid: The child.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._reaped: tuple[int, resource.struct_rusage] | None = None

    @contextlib.contextmanager
    def end_signal(self) -> Iterator[int | None]:
        """A file descriptor that becomes readable when the child ends; None where the system has no such thing."""
        opening = getattr(os, "pidfd_open", None)
        try:
            found: int | None = opening(self.pid) if opening is not None else None
        except OSError:  # an old kernel, or a sandbox that forbids it
            found = None
        try:
            yield found
        finally:
            if found is not None:
                os.close(found)

    def has_ended(self) -> bool:
        """Whether the child has ended, asked of the system."""
        if self._reaped is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._reaped = status, usage
        return self._reaped is not None

    def reap(self) -> tuple[int, resource.struct_rusage]:
        """How the child ended, and what it took; waits until it has."""
        if self._reaped is None:
            _pid, status, usage = os.wait4(self.pid, 0)
            self._reaped = status, usage
        return self._reaped

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the child alone."""
        if self._reaped is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to everything in the child's process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def note_stack(self) -> None:
        """Let the child write down where its threads are; it may be stopped, and cannot then."""
        self.kill(signal.SIGCONT)
        self.tell(signal.SIGUSR1)
        time.sleep(0.05)

    def members(self) -> list[int]:
        """The processes of the session, the child's own children among them; none where the system does not tell."""
        if sys.platform != "linux":
            return []
        found = []
        for entry in _PROC.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    # the name of a program, in parentheses, may hold anything
                    fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                    if int(fields[3]) == self.pid and fields[0] != "Z":
                        found.append(int(entry.name))
        return found

    def memory(self) -> int:
        """Bytes that the child and its children have resident, together."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
        return total

    def _tree(self) -> list[int]:
        """The child and what descends from it, which takes less to find out than all members of the session."""
        found, open_ = [], [self.pid]
        while open_:
            pid = open_.pop()
            found.append(pid)
            with contextlib.suppress(OSError, ValueError):
                for task in (_PROC / str(pid) / "task").iterdir():
                    open_ += map(int, (task / "children").read_text().split())
        return found

    def end_the_rest(self, grace: float) -> int:
        """End what the child left behind; how many processes that were."""
        left = [pid for pid in self.members() if pid != self.pid]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            until = time.monotonic() + min(grace, 1.0)
            while set(left) & set(self.members()) and time.monotonic() < until:
                time.sleep(0.02)
            if not set(left) & set(self.members()):
                break
        return len(left)


def tail(path: Path, lines: int, size: int) -> list[str]:
    """The last lines of a file, fit to be shown; none if there is no such file.

    Args:
        path: The file, which may hold anything.
        lines: How many lines at most.
        size: How many bytes at most.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            content = file.read(size)
    except OSError:
        return []
    found = content.decode("utf-8", "replace").removesuffix("\n").split("\n")[-lines:] if content else []
    return ["".join(sign if sign.isprintable() or sign == "\t" else "\ufffd" for sign in line) for line in found]
