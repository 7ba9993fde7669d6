"""A service that does not answer: what is known of it, and what its user is told, once for each outage.

1. A service that has answered before is waited for with the whole patience of the way to it; one that never has may be
   misspelled, and is given up sooner.
2. When that patience has been used up in vain, further requests are sent once only, until one of them is answered: who
   asks for ten things waits once, not ten times. An upload, which brings a patience of its own, uses it all the same.
3. Whoever waits says so before: on the log, which the commands show.
"""

from __future__ import annotations

import threading

from deriva_ml.core.logging_config import get_logger

__all__ = ["Outage"]

WORTH_SAYING = 2.0
"""Who waits for less is not told."""


class Outage:
    """What is known of a service that may be away; shared by all ways to it, and used by several threads.

    Args:
        service: What the service is called in messages.

    Attributes:
        has_answered: It has answered at least once.
        is_known: It was waited for in vain, and has not answered since.
    """

    def __init__(self, service: str) -> None:
        self.has_answered = False
        self.is_known = False
        self._service = service
        self._is_told = False
        self._lock = threading.Lock()

    def answered(self) -> None:
        """Note an answer."""
        self.has_answered, self.is_known = True, False
        if self._is_told and self._may_tell(back=True):
            get_logger("catalog").warning("%s answers again.", self._service)

    def waiting(self, reason: str, seconds: float) -> None:
        """Say that requests are sent again, or an answer is waited for.

        Args:
            reason: What is wrong.
            seconds: For how long at most.
        """
        if seconds >= WORTH_SAYING and self._may_tell():
            get_logger("catalog").warning(
                "%s cannot be reached (%s); trying again for up to %.0f s ...", self._service, reason, seconds
            )

    def slow(self, seconds: float, limit: float) -> None:
        """Say that an answer takes long.

        Args:
            seconds: How long it has been waited for.
            limit: For how long it is waited for at most.
        """
        if self._may_tell():
            get_logger("catalog").warning(
                "%s has said nothing for %.0f s; it is waited for up to %.0f s ...", self._service, seconds, limit
            )

    def _may_tell(self, *, back: bool = False) -> bool:
        with self._lock:
            told, self._is_told = self._is_told, not back
            return told is back
