"""What the functions of this room need of a dataset: which one, in which catalog, and on whose behalf it is changed."""

from __future__ import annotations

from typing import Protocol

from deriva_ml.schema.session import HasSession, Session

__all__ = ["DatasetRef"]


class DatasetRef(Protocol):
    """A dataset of a catalog; a ``Dataset`` is one."""

    dataset_rid: str
    execution_rid: str | None
    owner: HasSession | Session

    @property
    def session(self) -> Session:
        """The catalog."""
