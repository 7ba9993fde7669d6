"""The heartbeat of a run: while its process holds it, the journal is told every half minute that it goes on.

A thread of the process that holds the run beats, so it tells that the process lives and not that the model gets on;
for that there are the limits of an isolated model. It writes nothing once the run has ended, and ends with its holder.
"""

from __future__ import annotations

import threading
import weakref

from deriva_ml.core.exceptions import DerivaMLException, DerivaMLNotFoundError
from deriva_ml.workspace.journal import Journal

__all__ = ["EVERY_S", "Pulse"]

EVERY_S = 30.0
"""Seconds from one beat to the next."""


class Pulse:
    """The heartbeat of one run; it stops when it is told to, when the run has ended, or with its owner.

    Args:
        owner: The object for as long as which it beats.
        journal: The journal; it is not used itself, since it may be busy or held open.
        execution_rid: The run.
        every: Seconds from one beat to the next.
    """

    def __init__(self, owner: object, journal: Journal, execution_rid: str, every: float = EVERY_S) -> None:
        self._end = threading.Event()
        own = Journal(journal.path, catalog=journal.catalog, catalog_id=journal.catalog_id)
        thread = threading.Thread(
            target=_beat, args=(own, execution_rid, self._end, every), name=f"heartbeat {execution_rid}", daemon=True
        )
        weakref.finalize(owner, self._end.set)
        thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._end.set()


def _beat(journal: Journal, execution_rid: str, end: threading.Event, every: float) -> None:
    while not end.wait(every):
        try:
            goes_on = journal.heartbeat(execution_rid)
        except DerivaMLNotFoundError:  # it was forgotten
            return
        except DerivaMLException:  # a full disk is said where the run itself writes: the next beat may be noted
            continue
        if not goes_on:
            return
