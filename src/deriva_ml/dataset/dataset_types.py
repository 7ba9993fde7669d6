"""Types of datasets: terms of the vocabulary ``Dataset_Type``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.dataset.changes import Changes
from deriva_ml.dataset.versions import require_dataset
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import both, eq, table

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import VocabularyTerm

__all__ = ["add_types", "insert_types", "list_types", "remove_type", "types_of"]


def _preferred(session: Session, terms: Iterable[str | VocabularyTerm]) -> list[str]:
    names = [term if isinstance(term, str) else term.name for term in terms]
    return check_terms(session, MLVocab.dataset_type.value, names)


def list_types(session: Session, rid: str) -> list[str]:
    """The names of a dataset's types."""
    return types_of(session, [rid])[rid]


def types_of(session: Session, rids: Iterable[str]) -> dict[str, list[str]]:
    """The names of the types of many datasets; in a number of requests that does not grow with them."""
    found: dict[str, list[str]] = {rid: [] for rid in rids}
    name = MLTable.dataset_type.value
    for row in session.catalog.rows_by(session.ml_schema, name, "Dataset", list(found)):
        found[str(row["Dataset"])].append(str(row["Dataset_Type"]))
    return {rid: sorted(names) for rid, names in found.items()}


def insert_types(session: Session, names: Mapping[str, Iterable[str]], changes: Changes, *, new: bool = False) -> None:
    """Give datasets types by their preferred names; those that they have already are passed over.

    Args:
        session: The catalog.
        names: The types of each dataset.
        changes: What is changed.
        new: The datasets are being made.
    """
    rows: list[dict[str, Json]] = [
        {"Dataset": rid, "Dataset_Type": name} for rid, types in names.items() for name in dict.fromkeys(types)
    ]

    def explain(_error: DerivaMLCatalogError) -> None:
        for rid in () if new else names:
            require_dataset(session, rid)

    changes.insert(session.ml_schema, MLTable.dataset_type.value, rows, explain)


def add_types(session: Session, rid: str, terms: Iterable[str | VocabularyTerm], changes: Changes) -> list[str]:
    """Give a dataset types; no version is made.

    Args:
        session: The catalog.
        rid: The dataset.
        terms: The types.
        changes: What is changed.

    Returns:
        The types that it did not have.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLInvalidTerm: One is not in the vocabulary; none was added then.
    """
    session.require_writable()
    names = _preferred(session, terms)
    present = list_types(session, rid)
    new = [name for name in dict.fromkeys(names) if name not in present]
    insert_types(session, {rid: new}, changes)
    return new


def remove_type(session: Session, rid: str, term: str | VocabularyTerm, changes: Changes) -> str:
    """Take a type from a dataset; no version is made, and nothing is changed if the dataset does not have it.

    Args:
        session: The catalog.
        rid: The dataset.
        term: The type.
        changes: What is changed.

    Returns:
        The type's name.

    Raises:
        DerivaMLInvalidTerm: It is not in the vocabulary.
    """
    session.require_writable()
    (name,) = _preferred(session, [term])
    if name in list_types(session, rid):
        path = table(session.ml_schema, MLTable.dataset_type.value)
        found = path.where(both(eq("Dataset", rid), eq("Dataset_Type", name)))
        row = {"Dataset": rid, "Dataset_Type": name}
        changes.delete([found], session.ml_schema, MLTable.dataset_type.value, [row])
    return name
