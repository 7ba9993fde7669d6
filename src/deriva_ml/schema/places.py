"""The directories of this machine that a session works in, as the storage commands find them again."""

from __future__ import annotations

from deriva_ml.schema.session import Session
from deriva_ml.workspace.cache import Cache
from deriva_ml.workspace.places import WorkPlace, note_place

__all__ = ["cache_of", "note_session", "place_of"]


def place_of(session: Session) -> WorkPlace:
    """The directories of a session."""
    return WorkPlace(
        session.place.hostname,
        session.identity,
        session.catalog_id,
        session.records_dir,
        session.runs_dir,
        session.cache_dir,
    )


def note_session(session: Session) -> None:
    """Note where a session works; to be called before anything is kept there."""
    if not session.is_passing:
        note_place(place_of(session))


def cache_of(session: Session) -> Cache:
    """The cache of a session, noted for the storage commands."""
    note_session(session)
    return Cache(session.cache_dir)
