"""What was changed in the links of a dataset, so that it can be taken back.

The changes of a call or of an edit are made whole or not at all, as far as a service without transactions over several
requests lets them be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import SYSTEM_COLUMNS, Json
from deriva_ml.wire.path import any_of, table

__all__ = ["Changes", "all_or_nothing", "chunks"]

Row = Mapping[str, Json]
_LIST_BYTES = 3000
"""The length of a list of RIDs in one request; services accept some 4 KiB."""


def chunks(rids: Iterable[str], size: int = _LIST_BYTES) -> Iterator[list[str]]:
    """Lists of RIDs that are at most ``size`` bytes long in a request."""
    chunk: list[str] = []
    length = 0
    for rid in rids:
        if chunk and length + len(rid) + 1 > size:
            yield chunk
            chunk, length = [], 0
        chunk.append(rid)
        length += len(rid) + 1
    if chunk:
        yield chunk


@dataclass(frozen=True, slots=True)
class _Step:
    schema: str
    table: str
    rows: Sequence[Row]
    added: bool


class Changes:
    """Links that were added and removed, in order; true if there were any.

    Attributes:
        nesting: The graph of datasets by which the change is told to others, if it was read.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self.nesting: Nesting | None = None

    def __bool__(self) -> bool:
        return bool(self._steps)

    def added(self, schema: str, table_name: str, rows: Sequence[Row]) -> None:
        """Note rows that were added, as they were stored."""
        if rows:
            self._steps.append(_Step(schema, table_name, rows, added=True))

    def removed(self, schema: str, table_name: str, rows: Sequence[Row]) -> None:
        """Note rows that were removed."""
        if rows:
            self._steps.append(_Step(schema, table_name, rows, added=False))

    def extend(self, later: Changes) -> None:
        """Take over what was changed afterwards."""
        self._steps += later._steps
        self.nesting = None  # the datasets that are connected may be others by now

    def take_back(self, session: Session) -> None:
        """Undo everything, the last first."""
        while self._steps:
            step = self._steps[-1]
            if step.added:
                links = table(step.schema, step.table)
                for part in chunks(str(row["RID"]) for row in step.rows):
                    session.catalog.delete(links.where(any_of("RID", part)))
            else:
                rows = [{name: row[name] for name in row if name not in SYSTEM_COLUMNS} for row in step.rows]
                session.catalog.insert(step.schema, step.table, rows, on_conflict_skip=True)
            self._steps.pop()


@contextmanager
def all_or_nothing(session: Session, changes: Changes) -> Iterator[None]:
    """Take back what was changed if the block raises.

    If that is not possible (the catalog cannot be reached any more), the error says so in a note; what was changed then
    becomes part of the next version.
    """
    try:
        yield
    except BaseException as error:
        try:
            changes.take_back(session)
        except DerivaMLException as second:
            error.add_note(
                f"What was changed before could not be taken back ({second}); the next version will show it."
            )
        raise
