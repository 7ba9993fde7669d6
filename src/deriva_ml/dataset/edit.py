"""Several changes of a dataset that one version announces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from deriva_ml.dataset.dataset_types import add_types, remove_type
from deriva_ml.dataset.members import add_members, delete_members
from deriva_ml.schema.session import Session

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import VocabularyTerm

__all__ = ["DatasetEdit"]


class DatasetEdit:
    """Changes of a dataset; made by ``Dataset.edit``, which makes the version at the end.

    Args:
        session: The catalog.
        dataset_rid: The dataset.

    Attributes:
        changed: Something was changed.
    """

    def __init__(self, session: Session, dataset_rid: str) -> None:
        self._session = session
        self._rid = dataset_rid
        self.changed = False

    def add_dataset_members(self, members: list[str] | dict[str, list[str]], validate: bool = True) -> None:
        """Add records, as ``Dataset.add_dataset_members`` does."""
        added = add_members(self._session, self._rid, members, validate=validate)
        self.changed = self.changed or bool(added)

    def delete_dataset_members(self, members: list[str] | dict[str, list[str]]) -> None:
        """Take records out, as ``Dataset.delete_dataset_members`` does."""
        removed = delete_members(self._session, self._rid, members)
        self.changed = self.changed or bool(removed)

    def add_dataset_types(self, dataset_types: Iterable[str | VocabularyTerm]) -> None:
        """Add types, as ``Dataset.add_dataset_types`` does."""
        added = add_types(self._session, self._rid, dataset_types)
        self.changed = self.changed or bool(added)

    def remove_dataset_type(self, dataset_type: str | VocabularyTerm) -> None:
        """Remove a type, as ``Dataset.remove_dataset_type`` does."""
        removed = remove_type(self._session, self._rid, dataset_type)
        self.changed = self.changed or removed is not None
