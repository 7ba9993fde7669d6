"""A child's session as the system sees it: signals, memory, end; and the ends of files."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deriva_ml.isolate.descent import descendants, state_of

__all__ = ["Session", "tail"]

_PAGE = resource.getpagesize()
_PROC = Path("/proc")
_NOTICING = 0.25
_LONGEST_COMMAND = 200


class Session:
    """The session that a child leads; it began one, so everything that it starts belongs to it.

    Args:
        pid: The child.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._reaped: tuple[int, resource.struct_rusage] | None = None
        self._seen: dict[int, str] = {}

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
        if _heeds(self.pid, signal.SIGUSR1):
            self.tell(signal.SIGUSR1)
            time.sleep(0.05)

    def look(self) -> int:
        """Bytes that the child and what descends from it have resident, together; each page counts for each process.

        Who is seen is remembered: what a child leaves behind when it falls has no parent that would tell of it.
        """
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
        return total

    def memory(self) -> int:
        """The same, where a page that several processes share counts once; it takes the kernel longer to tell."""
        total = 0
        for pid in self._tree():
            with contextlib.suppress(OSError, StopIteration, ValueError, IndexError):
                lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
                total += int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) * 1024
        return total or self.look()

    def note(self, seen: Mapping[int, str]) -> None:
        """Remember processes that descend from the child, with when each began."""
        self._seen.update(seen)

    def _tree(self) -> list[int]:
        """The child and what descends from it."""
        found = descendants(self.pid)
        self.note(found)
        return [self.pid, *found]

    def left(self) -> list[int]:
        """What the child has left behind: processes of its session, and others that descend from it and were seen."""
        if sys.platform != "linux":
            return []
        every = [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 - there may be thousands
        found = []
        for pid in every:
            state = state_of(pid)
            if state is None or pid == self.pid or state.code == "Z":
                continue
            if state.session == self.pid or self._seen.get(pid) == state.start:
                found.append(pid)
        return found

    def end_the_rest(self, grace: float) -> list[str]:
        """End what the child left behind; what that was.

        Some processes end when they notice that the child has, such as helpers of ``multiprocessing``: these are not
        counted.
        """
        left = self._wait_for(self.left(), _NOTICING)
        names = [_command(pid) for pid in left]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            left = self._wait_for(left, min(grace, 1.0))
        return names

    def _wait_for(self, pids: list[int], seconds: float) -> list[int]:
        """Those of some processes that are still there after a while."""
        until = time.monotonic() + seconds
        while pids and time.monotonic() < until:
            time.sleep(0.01)
            pids = [pid for pid in pids if pid in set(self.left())]
        return pids


def _heeds(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, which would kill it otherwise; yes where nothing tells."""
    try:
        lines = (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return True
    return bool(caught >> (number - 1) & 1)


def _command(pid: int) -> str:
    """What a process runs, as text that can be shown."""
    try:
        content = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        content = ""
    shown = "".join(sign if sign.isprintable() else " " for sign in content)
    return (shown[:_LONGEST_COMMAND] + " ..." if len(shown) > _LONGEST_COMMAND else shown) or f"process {pid}"


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
