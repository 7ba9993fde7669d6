"""Types of datasets: terms of the vocabulary ``Dataset_Type``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import both, eq, table

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import VocabularyTerm

__all__ = ["add_types", "insert_types", "list_types", "remove_type"]


def _preferred(session: Session, terms: Iterable[str | VocabularyTerm]) -> list[str]:
    names = [term if isinstance(term, str) else term.name for term in terms]
    return check_terms(session, MLVocab.dataset_type.value, names)


def list_types(session: Session, rid: str) -> list[str]:
    """The names of a dataset's types."""
    path = table(session.ml_schema, MLTable.dataset_type.value).where(eq("Dataset", rid))
    return sorted(str(row["Dataset_Type"]) for row in session.catalog.attributes(path, "Dataset_Type"))


def insert_types(session: Session, rid: str, names: Iterable[str]) -> None:
    """Give a dataset types by their preferred names; those that it has already are passed over."""
    rows: list[dict[str, Json]] = [{"Dataset": rid, "Dataset_Type": name} for name in dict.fromkeys(names)]
    if rows:
        session.catalog.insert(session.ml_schema, MLTable.dataset_type.value, rows, on_conflict_skip=True)


def add_types(session: Session, rid: str, terms: Iterable[str | VocabularyTerm]) -> list[str]:
    """Give a dataset types; no version is made.

    Returns:
        The types that it did not have.

    Raises:
        DerivaMLInvalidTerm: One is not in the vocabulary; none was added then.
    """
    session.require_writable()
    names = _preferred(session, terms)
    present = list_types(session, rid)
    new = [name for name in dict.fromkeys(names) if name not in present]
    insert_types(session, rid, new)
    return new


def remove_type(session: Session, rid: str, term: str | VocabularyTerm) -> str | None:
    """Take a type from a dataset; no version is made.

    Returns:
        The type, or None if the dataset did not have it.

    Raises:
        DerivaMLInvalidTerm: It is not in the vocabulary.
    """
    session.require_writable()
    (name,) = _preferred(session, [term])
    path = table(session.ml_schema, MLTable.dataset_type.value)
    removed = session.catalog.delete(path.where(both(eq("Dataset", rid), eq("Dataset_Type", name))))
    return name if removed else None
