"""How long a server waits for a client that is slow, stalls, or is in the way when the server is to stop.

Extra: ``serve``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["Gone", "Patience", "Stalled"]

STALL_SECONDS = 60.0
"""After so long without a byte, a client is taken to have stalled."""

T = TypeVar("T")


class Gone(ConnectionError):
    """The client went away."""


class Stalled(Gone):
    """The client is there, and does nothing."""


class Patience:
    """How long is waited for the other end of a connection: so long that it may be slow, not so long that it may stall.

    Args:
        seconds: How long for the next byte, each time.
        parting: How long once the server is to stop.
        last: How long in all once the server is to stop.
    """

    def __init__(self, seconds: float = STALL_SECONDS, parting: float = 2.0, last: float = 15.0) -> None:
        self._seconds = seconds
        self._parting = parting
        self._last = last
        self._end: float | None = None
        self._waiting: set[anyio.CancelScope] = set()

    def stop(self) -> None:
        """Wait no longer than it takes to part; called in the event loop."""
        self._end = anyio.current_time() + self._last
        self._hurry(self._parting)

    def end(self) -> None:
        """Wait no longer at all; called in the event loop."""
        self._end = anyio.current_time()
        self._hurry(0.0)

    def _hurry(self, seconds: float) -> None:
        latest = anyio.current_time() + seconds
        for scope in self._waiting:
            scope.deadline = min(scope.deadline, latest)

    async def wait(self, step: Callable[[], Awaitable[T]]) -> T:
        """What a step of the exchange gives.

        Raises:
            Stalled: It took too long.
        """
        now = anyio.current_time()
        deadline = now + self._seconds if self._end is None else min(now + self._parting, self._end)
        with anyio.CancelScope(deadline=deadline) as scope:
            self._waiting.add(scope)
            try:
                return await step()
            finally:
                self._waiting.discard(scope)
        raise Stalled("the client has stalled")
