"""Several changes of a dataset that one version announces.

1. Changes are made when they are called for, so that what is read in the block shows them.
2. The version is made at the end of the block. Blocks may be nested: the outermost one makes the version.
3. If the block raises, its changes are taken back and no version is made. A process that dies in the block leaves what
   was changed by then, and the next version will show it.
4. The dataset's own methods belong to the block too, if they are called on the object whose ``edit`` it is, by the
   thread that is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

    Attributes:
        changes: What was changed.
    """

    def __init__(self, session: Session, dataset_rid: str) -> None:
        self._session = session
        self._rid = dataset_rid
        self.changes = Changes()

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changes)

    def add_dataset_members(self, members: list[str] | dict[str, list[str]], validate: bool = True) -> None:
        """Add records, as ``Dataset.add_dataset_members`` does."""
        self.changes.extend(add_members(self._session, self._rid, members, validate=validate))

    def delete_dataset_members(self, members: list[str] | dict[str, list[str]]) -> None:
        """Take records out, as ``Dataset.delete_dataset_members`` does."""
        self.changes.extend(delete_members(self._session, self._rid, members))

    def add_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Add a type, as ``Dataset.add_dataset_type`` does."""
        self.add_dataset_types([dataset_type])

    def add_dataset_types(self, dataset_types: Iterable[str | VocabularyTerm]) -> None:
        """Add types, as ``Dataset.add_dataset_types`` does."""
        self.changes.extend(add_types(self._session, self._rid, dataset_types)[1])

    def remove_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Remove a type, as ``Dataset.remove_dataset_type`` does."""
        self.changes.extend(remove_type(self._session, self._rid, dataset_type)[1])


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

    def take(self, changes: Changes) -> bool:
        """Give changes to the edit that this thread is in; false if it is in none."""
        stack = self._stack()
        if stack:
            stack[-1].changes.extend(changes)
        return bool(stack)

    @contextmanager
    def within(
        self, edit: DatasetEdit, session: Session, announce: Callable[[Changes], object]
    ) -> Iterator[DatasetEdit]:
        """Be in an edit.

        Args:
            edit: The edit.
            session: The catalog.
            announce: Makes the version, if anything was changed and this is the outermost edit.
        """
        stack = self._stack()
        stack.append(edit)
        try:
            with all_or_nothing(session, edit.changes):
                yield edit
        finally:
            stack.remove(edit)
        if edit.changed and not self.take(edit.changes):
            announce(edit.changes)
