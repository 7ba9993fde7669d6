"""What is changed in the links of a dataset: made together, or so that it can be taken back.

1. Where the service takes several requests in one, the changes of a call or of an edit are kept in a draft, and sent
   together with the version that tells of them, in one transaction.
2. Changes that one request cannot hold (``Limits``) are sent when there is no more room: then they are several
   transactions, the last of which has the version.
3. Elsewhere each change is sent when it is made, and what is sent is noted. If the call or the edit fails it is taken
   back; a process that dies leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from deriva_ml.catalog.drafts import Draft, Step
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLException
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.schema.session import Session
from deriva_ml.wire.batch import Member
from deriva_ml.wire.http import Response
from deriva_ml.wire.model import SYSTEM_COLUMNS, Json
from deriva_ml.wire.path import Path, any_of, table

__all__ = ["Changes", "all_or_nothing", "chunks"]

Row = Mapping[str, Json]
_CONFLICT = 409
_ROOM = 0.5
"""Which part of a batch changes may fill: others wait while it is written, and versions need room too."""
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


Explain: TypeAlias = Callable[[DerivaMLCatalogError], None]
"""Raises a better error for a refused change, if it knows one."""


class Changes:
    """Links that are added and removed, in order; true if there are any.

    Args:
        session: The catalog.
        draft: Where changes are kept until they are sent together; None where each is sent at once.
        tried: Changes of a draft are tried when they are made, so that what is wrong with one is said there.

    Attributes:
        session: The catalog.
        draft: Where changes are kept until they are sent together; None where each is sent at once.
        nesting: The graph of datasets by which the change is told to others, if it was read.
    """

    def __init__(self, session: Session, draft: Draft | None = None, *, tried: bool = False) -> None:
        self.session = session
        self.draft = draft
        self.nesting: Nesting | None = None
        self._tried = tried
        self._steps: list[Step] = []
        self._explanations: list[Explain] = []

    def __bool__(self) -> bool:
        return bool(self._steps)

    def beside(self) -> Changes:
        """Further changes, which are kept where these are."""
        return Changes(self.session, self.draft, tried=self._tried)

    def insert(
        self,
        schema: str,
        table_name: str,
        rows: Sequence[Row],
        explain: Explain,
        *,
        nondefaults: Collection[str] = (),
        skip: bool = True,
    ) -> list[dict[str, Json]]:
        """Add rows.

        Args:
            schema: The table's schema.
            table_name: The table.
            rows: The rows.
            explain: Raises a better error if they are refused by what is in the catalog.
            nondefaults: System columns that take what the rows say.
            skip: Leave out rows that are there already.

        Returns:
            The rows as they are stored; those that were given where that is not known yet.
        """
        if not rows:
            return []
        catalog = self.session.catalog
        if self.draft is None:
            with _explained(explain):
                stored = catalog.insert(schema, table_name, rows, nondefaults=nondefaults, on_conflict_skip=skip)
            if stored:
                self._steps.append(Step(schema, table_name, stored, added=True))
            return stored
        members = catalog.insertions(schema, table_name, rows, nondefaults=nondefaults, on_conflict_skip=skip)
        if self._tried:
            with _explained(explain):
                answers = self._try(members)
            if not any(json.loads(answer.read()) for answer in answers):
                return []
        self._explanations.append(explain)
        self._keep(Step(schema, table_name, rows, added=True, members=members))
        return [dict(row) for row in rows]

    def delete(self, paths: Iterable[Path], schema: str, table_name: str, rows: Sequence[Row]) -> None:
        """Remove rows.

        Args:
            paths: Where they are found.
            schema: The table's schema.
            table_name: The table.
            rows: The rows, as they were.
        """
        if not rows:
            return
        if self.draft is None:
            for path in paths:
                self.session.catalog.delete(path)
            self._steps.append(Step(schema, table_name, rows, added=False))
            return
        members = [Member("DELETE", path.entity(), missing_ok=True) for path in paths]
        if self._tried:
            self._try(members)
        self._keep(Step(schema, table_name, rows, added=False, members=members))

    def _try(self, members: Sequence[Member]) -> list[Response]:
        catalog = self.session.catalog
        before = catalog.drafts.members()
        return catalog.several.change([*before, *members], commit=False)[len(before) :]

    def _keep(self, step: Step) -> None:
        """Keep a change in the draft, after what is there has been sent if there is no room for it."""
        assert self.draft is not None
        count, weight = len(self.draft.members()) + len(step.members), self.draft.weight + step.weight
        if not self.session.catalog.several.has_room(count, weight, share=_ROOM):
            self._send(self.draft)
        self.draft.steps.append(step)
        self._steps.append(step)

    def _send(self, draft: Draft) -> None:
        """Make what a draft holds; from here on it is what was sent at once."""
        if not draft.steps:
            return
        with _explained(self.explain):
            answers = iter(self.session.catalog.several.change(draft.members()))
        for step in draft.steps:
            bodies = [next(answers).read() for _member in step.members]
            if step.added:
                step.rows = [row for body in bodies for row in json.loads(body)]
            step.members = []
        draft.steps.clear()

    def explain(self, error: DerivaMLCatalogError) -> None:
        """Raise a better error for refused changes, if one is known."""
        for explain in self._explanations:
            explain(error)

    def members(self, tables: Iterable[tuple[str, str]] | None = None) -> list[Member]:
        """What has not been sent, of all tables or of some."""
        return [] if self.draft is None else self.draft.members(tables)

    def made(self) -> None:
        """Note that everything has been made: nothing of it is taken back any more."""
        if self.draft is not None:
            self.draft.steps.clear()
        self._steps.clear()

    def extend(self, later: Changes) -> None:
        """Take over what was changed afterwards."""
        self._steps += later._steps
        self._explanations += later._explanations
        self.nesting = None  # the datasets that are connected may be others by now

    def take_back(self) -> None:
        """Undo everything, the last first."""
        while self._steps:
            step = self._steps[-1]
            if self.draft is None or not self.draft.drop(step):
                self._undo(step)
            self._steps.pop()

    def _undo(self, step: Step) -> None:
        catalog = self.session.catalog
        if step.added:
            links = table(step.schema, step.table)
            for part in chunks(str(row["RID"]) for row in step.rows):
                catalog.delete(links.where(any_of("RID", part)))
        else:
            rows = [{name: row[name] for name in row if name not in SYSTEM_COLUMNS} for row in step.rows]
            catalog.insert(step.schema, step.table, rows, on_conflict_skip=True)


@contextmanager
def _explained(explain: Explain) -> Iterator[None]:
    try:
        yield
    except DerivaMLCatalogError as error:
        if error.status == _CONFLICT:
            explain(error)
        raise


@contextmanager
def all_or_nothing(changes: Changes, *, unless: type[DerivaMLException] | None = None) -> Iterator[None]:
    """Take back what was changed if the block raises.

    If that is not possible (the catalog cannot be reached any more), the error says so in a note; what was changed then
    becomes part of the next version.

    Args:
        changes: What was changed.
        unless: After this error nothing is taken back: it leaves open whether all of it was made.
    """
    try:
        yield
    except BaseException as error:
        if unless is not None and isinstance(error, unless):
            raise
        try:
            changes.take_back()
        except DerivaMLException as second:
            error.add_note(
                f"What was changed before could not be taken back ({second}); the next version will show it."
            )
        raise
