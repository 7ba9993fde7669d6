"""What a model says of how far it is: passed on at most once a second, and the last of it always.

A loop may say something in each of its thousands of steps; journal and catalog are told what somebody could read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Sayings"]

EVERY_S = 1.0


class Sayings:
    """Passes on what is said, not too often; several threads may say something.

    Args:
        pass_on: Is given what was said; from the thread that said it, or a little later from one of its own.
        every: Seconds between two times.
    """

    def __init__(self, pass_on: Callable[[str], object], every: float = EVERY_S) -> None:
        self._pass_on = pass_on
        self._every = every
        self._lock = threading.RLock()
        self._next = 0.0
        self._waiting: str | None = None
        self._timer: threading.Timer | None = None

    def say(self, text: str) -> None:
        """Pass a text on, now or when it is time, unless another one has taken its place by then."""
        with self._lock:
            left = self._next - time.monotonic()
            if left <= 0:
                self._pass(text)
                return
            self._waiting = text
            if self._timer is None:
                self._timer = threading.Timer(left, self.settle)
                self._timer.daemon = True
                self._timer.start()

    def settle(self) -> None:
        """Pass on what waits."""
        with self._lock:
            text = self._waiting
            self.drop()
            if text is not None:
                self._pass(text)

    def drop(self) -> None:
        """Forget what waits: something else is said instead."""
        with self._lock:
            self._waiting = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _pass(self, text: str) -> None:
        self.drop()
        try:
            self._pass_on(text)
        finally:
            self._next = time.monotonic() + self._every
