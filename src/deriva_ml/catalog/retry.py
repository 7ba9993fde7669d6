"""How often something is tried again, and how long is waited before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

__all__ = ["Retry"]


class Retry:
    """When to try again, and how long to wait before.

    Args:
        attempts: How often to try at most, the first time included.
        delay: Seconds before the second attempt; doubled before each further one, up to 16.
        sleep: What waits; by default whoever tries.
        jitter: Gives a factor between 0 and 1 for the part of a delay that varies.
    """

    def __init__(
        self,
        attempts: int = 7,
        delay: float = 0.5,
        *,
        sleep: Callable[[float], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.attempts = max(1, attempts)
        self.delay = delay
        self._sleep = sleep
        self._jitter = jitter

    def again(self, attempt: int, sleep: Callable[[float], object] = time.sleep) -> bool:
        """Whether there is another attempt after this one (counted from 1); if so, wait for it.

        Args:
            attempt: The number of this one.
            sleep: What waits, unless the patience has something for that.
        """
        if attempt >= self.attempts:
            return False
        # Half of the delay varies, so that clients that failed together do not come back together.
        (self._sleep or sleep)(self._pause(attempt) * (0.5 + self._jitter() / 2))
        return True

    def at_most(self, attempts: int) -> Retry:
        """The same with fewer attempts."""
        return Retry(min(attempts, self.attempts), self.delay, sleep=self._sleep, jitter=self._jitter)

    @property
    def seconds(self) -> float:
        """How long is waited at most, all pauses together."""
        return sum(self._pause(attempt) for attempt in range(1, self.attempts))

    def _pause(self, attempt: int) -> float:
        return min(self.delay * 2.0 ** (attempt - 1), 16.0)
