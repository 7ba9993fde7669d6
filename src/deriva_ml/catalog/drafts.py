"""Changes of a catalog that are going to be made together, and what they let their thread see meanwhile.

A draft is a list of changes that have not been sent. While a client is `Drafts.open` for one, what this thread reads
through it shows them: a request that names a table that they change goes together with them, in a batch that is undone
again. Nobody else sees anything of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field

from deriva_ml.core.values import dataclass
from deriva_ml.wire.batch import Member, weigh
from deriva_ml.wire.model import Json
from deriva_ml.wire.syntax import encode

__all__ = ["Draft", "Drafts", "Step"]


@dataclass(slots=True, eq=False)
class Step:
    """One change.

    Attributes:
        schema: The schema of the table that is changed.
        table: The table.
        rows: The rows that are added or removed.
        added: They are added.
        members: The requests that do it, as long as they have not been sent.
        weight: How many bytes of a batch they take.
    """

    schema: str
    table: str
    rows: Sequence[Mapping[str, Json]]
    added: bool
    members: list[Member] = field(default_factory=list)
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        self.weight = sum(map(weigh, self.members))


class Draft:
    """Changes that are going to be made together.

    Attributes:
        steps: The changes, in order.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def members(self, tables: Iterable[tuple[str, str]] | None = None) -> list[Member]:
        """The requests of all changes, or of those of some tables."""
        wanted = None if tables is None else set(tables)
        return [
            member
            for step in self.steps
            if wanted is None or (step.schema, step.table) in wanted
            for member in step.members
        ]

    @property
    def weight(self) -> int:
        """How many bytes of a batch the requests take."""
        return sum(step.weight for step in self.steps)

    def touches(self, target: str) -> bool:
        """Whether a request may read a table that is changed: it names one like it."""
        return any(encode(step.table) in target for step in self.steps)

    def drop(self, step: Step) -> bool:
        """Take a change out; whether it was there."""
        if step not in self.steps:
            return False
        self.steps.remove(step)
        return True


class Drafts:
    """The drafts of one client that threads of this process are in."""

    def __init__(self) -> None:
        self._open = threading.local()

    def __reduce__(self) -> tuple[type[Drafts], tuple[()]]:
        return Drafts, ()  # what goes on in a thread of this process goes on in no other

    def _stack(self) -> list[Draft]:
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        stack: list[Draft] = self._open.stack
        return stack

    @contextmanager
    def open(self) -> Iterator[Draft]:
        """Let this thread see a draft, which is empty at first."""
        stack, draft = self._stack(), Draft()
        stack.append(draft)
        try:
            yield draft
        finally:
            stack.remove(draft)

    def before(self, target: str) -> list[Member]:
        """The changes that a request of this thread must see."""
        stack = self._stack()
        if not any(draft.touches(target) for draft in stack):
            return []
        return [member for draft in stack for member in draft.members()]

    def members(self) -> list[Member]:
        """All changes that this thread sees."""
        return [member for draft in self._stack() for member in draft.members()]
