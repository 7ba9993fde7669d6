"""Several changes of a dataset that one version announces.

1. Where the service takes several requests in one, changes are tried when they are called for, and kept in a draft:
   what the thread that is in the block reads through its session shows them, and nobody else sees them. The end of the
   block makes them, together with the version, in one transaction: a process that dies leaves all of it or nothing.
2. Elsewhere changes are made when they are called for, and the version at the end. A process that dies in the block
   leaves what was changed by then, and the next version will show it.
3. Blocks may be nested: the outermost one makes the version.
4. If the block raises, there are none of its changes, and no version is made.
5. The dataset's own methods belong to the block too, if they are called on the object whose ``edit`` it is, by the
   thread that is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deriva_ml.catalog.drafts import Draft
from deriva_ml.dataset.changes import Changes, all_or_nothing
from deriva_ml.dataset.dataset_types import add_types, remove_type
from deriva_ml.dataset.members import add_members, delete_members
from deriva_ml.schema.session import Session

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import VocabularyTerm

__all__ = ["DatasetEdit", "Edits"]


class DatasetEdit:
    """Changes of a dataset; made by ``Dataset.edit``, which makes the version at the end.

    Args:
        session: The catalog.
        dataset_rid: The dataset.
        changes: What is changed.

    Attributes:
        changes: What is changed.
    """

    def __init__(self, session: Session, dataset_rid: str, changes: Changes) -> None:
        self._session = session
        self._rid = dataset_rid
        self.changes = changes

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changes)

    @contextmanager
    def _more(self) -> Iterator[Changes]:
        further = self.changes.beside()
        yield further
        self.changes.extend(further)

    def add_dataset_members(self, members: list[str] | dict[str, list[str]], validate: bool = True) -> None:
        """Add records, as ``Dataset.add_dataset_members`` does."""
        with self._more() as further:
            add_members(self._session, self._rid, members, further, validate=validate)

    def delete_dataset_members(self, members: list[str] | dict[str, list[str]]) -> None:
        """Take records out, as ``Dataset.delete_dataset_members`` does."""
        with self._more() as further:
            delete_members(self._session, self._rid, members, further)

    def add_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Add a type, as ``Dataset.add_dataset_type`` does."""
        self.add_dataset_types([dataset_type])

    def add_dataset_types(self, dataset_types: Iterable[str | VocabularyTerm]) -> None:
        """Add types, as ``Dataset.add_dataset_types`` does."""
        with self._more() as further:
            add_types(self._session, self._rid, dataset_types, further)

    def remove_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Remove a type, as ``Dataset.remove_dataset_type`` does."""
        with self._more() as further:
            remove_type(self._session, self._rid, dataset_type, further)


class Edits:
    """The edits of one ``Dataset`` object that are going on: for each thread, those that it is in."""

    def __init__(self) -> None:
        self._open = threading.local()

    def __reduce__(self) -> tuple[type[Edits], tuple[()]]:
        return Edits, ()  # what goes on in a thread of this process goes on in no other

    def _stack(self) -> list[DatasetEdit]:
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        stack: list[DatasetEdit] = self._open.stack
        return stack

    def begin(self, session: Session) -> Changes:
        """Changes that are about to be made: of the edit that this thread is in, else of a call by itself."""
        stack = self._stack()
        if stack:
            return stack[-1].changes.beside()
        return Changes(session, Draft() if session.catalog.takes_batches else None)

    def take(self, changes: Changes) -> bool:
        """Give changes to the edit that this thread is in; false if it is in none."""
        stack = self._stack()
        if stack:
            stack[-1].changes.extend(changes)
        return bool(stack)

    @contextmanager
    def within(
        self, session: Session, dataset_rid: str, announce: Callable[[Changes], object]
    ) -> Iterator[DatasetEdit]:
        """Be in an edit.

        Args:
            session: The catalog.
            dataset_rid: The dataset.
            announce: Makes the version, if anything was changed and this is the outermost edit.
        """
        stack = self._stack()
        with self._changes(session) as changes:
            edit = DatasetEdit(session, dataset_rid, changes)
            stack.append(edit)
            try:
                with all_or_nothing(changes):
                    yield edit
            finally:
                stack.remove(edit)
        if changes and not self.take(changes):
            announce(changes)

    @contextmanager
    def _changes(self, session: Session) -> Iterator[Changes]:
        if self._stack():
            yield self._stack()[-1].changes.beside()
        elif session.catalog.takes_batches:
            with session.catalog.drafts.open() as draft:
                yield Changes(session, draft, tried=True)
        else:
            yield Changes(session)
