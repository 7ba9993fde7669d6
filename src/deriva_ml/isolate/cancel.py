"""A wish that a child should end, which whoever wishes so expresses from wherever he is."""

from __future__ import annotations

import contextlib
import socket

__all__ = ["Cancel"]


class Cancel:
    """A wish that a child should end; may be expressed from any thread, or a signal handler."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self.reason: str | None = None

    def __call__(self, reason: str = "It was stopped by its user.") -> None:
        """Express the wish."""
        self.reason = self.reason or reason
        with contextlib.suppress(BlockingIOError):
            self._write.send(b"x")

    def fileno(self) -> int:
        """What becomes readable then."""
        return self._read.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._read.close()
        self._write.close()
