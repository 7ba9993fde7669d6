"""Controlled vocabularies: making them, adding and finding terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deriva_ml.core.ermrest import VocabularyTerm
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLInvalidTerm,
    DerivaMLReadOnlyError,
    DerivaMLTableTypeError,
)
from deriva_ml.core.files import nearest
from deriva_ml.schema.chaise import refresh_menu
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_vocabulary, referencing, vocabulary_document
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import eq
from deriva_ml.wire.path import table as rows_of

__all__ = [
    "VocabularyTermHandle",
    "add_term",
    "check_terms",
    "clear_vocabulary_cache",
    "create_vocabulary",
    "delete_term",
    "find_vocabularies",
    "list_vocabulary_terms",
    "lookup_term",
    "unknown_terms",
    "vocabulary",
    "vocabulary_columns",
]

CANONICAL = ("ID", "URI", "Name", "Description", "Synonyms")


class VocabularyTermHandle(VocabularyTerm):
    """A term that can be changed in its catalog."""

    _session: Session
    _table: Table

    @classmethod
    def bind(cls, session: Session, vocab: Table, row: dict[str, Json]) -> VocabularyTermHandle:
        """Make the handle of a term from its row."""
        handle = cls.model_validate(_canonical(vocab, row))
        object.__setattr__(handle, "_session", session)
        object.__setattr__(handle, "_table", vocab)
        return handle

    def _update(self, column: str, value: Json) -> None:
        self._session.require_writable()
        actual = vocabulary_columns(self._table)[column]
        self._session.catalog.update(
            self._table.schema, self._table.name, [{"RID": self.rid, actual: value}], columns=[actual]
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """Assigning ``description`` or ``synonyms`` writes to the catalog; nothing else can be assigned."""
        if name == "description":
            self._update("Description", str(value))
            self.__dict__[name] = str(value)
        elif name == "synonyms":
            self._update("Synonyms", list(value))
            self.__dict__[name] = tuple(value)
        else:
            raise DerivaMLReadOnlyError(
                f"{name} of term {self.name} cannot be assigned.", allowed=["description", "synonyms"]
            )

    def delete(self) -> None:
        """Remove the term.

        Raises:
            DerivaMLDataError: Something refers to it.
        """
        delete_term(self._session, self._table, self.name)


def vocabulary_columns(vocab: Table) -> dict[str, str]:
    """The actual name of each standard column; catalogs with lower-case columns are served too."""
    actual = {column.name.lower(): column.name for column in vocab.columns}
    return {name: actual[name.lower()] for name in CANONICAL}


def _canonical(vocab: Table, row: dict[str, Json]) -> dict[str, Json]:
    names = vocabulary_columns(vocab)
    return {"RID": row["RID"], **{name: row.get(actual) for name, actual in names.items()}}


def vocabulary(session: Session, name: str | Table) -> Table:
    """The vocabulary table of this name.

    Raises:
        DerivaMLTableNotFound: There is no table of the name.
        DerivaMLTableTypeError: The table is not a vocabulary.
    """
    found = session.table(name)
    if not is_vocabulary(found):
        raise DerivaMLTableTypeError(
            "vocabulary", found.name, hint=f"vocabularies here: {', '.join(v.name for v in find_vocabularies(session))}"
        )
    return found


def find_vocabularies(session: Session) -> list[Table]:
    """The vocabularies of the project and of the ML schema."""
    model = session.model()
    return [
        found
        for schema in session.schema_order()
        if schema in model.schemas
        for found in model.schemas[schema].tables.values()
        if is_vocabulary(found)
    ]


def create_vocabulary(
    session: Session, vocab_name: str, comment: str = "", schema: str | None = None, update_navbar: bool = True
) -> Table:
    """Make a vocabulary table.

    Args:
        session: The catalog.
        vocab_name: Its name.
        comment: What it lists.
        schema: Where; by default in the project's schema.
        update_navbar: Let the table join the menu of the catalog's web interface, if it has one.

    Raises:
        DerivaMLDataError: A table of that name is there already.
    """
    session.require_writable()
    where = session.domain(schema)
    if vocab_name in session.model().schemas[where].tables:
        raise DerivaMLDataError(f"Table {vocab_name} already exist", source=f"schema {where}")
    document = vocabulary_document(where, vocab_name, session.project_name, comment)
    made = session.catalog.create_table(where, document)
    if update_navbar:
        refresh_menu(session)
    return made


def _rows(session: Session, vocab: Table) -> list[dict[str, Json]]:
    return session.catalog.rows(rows_of(vocab.schema, vocab.name))


def list_vocabulary_terms(session: Session, table: str | Table) -> list[VocabularyTerm]:
    """All terms of a vocabulary, by name."""
    vocab = vocabulary(session, table)
    terms = [VocabularyTerm.model_validate(_canonical(vocab, row)) for row in _rows(session, vocab)]
    return sorted(terms, key=lambda term: term.name)


def _find(session: Session, vocab: Table, term_name: str) -> dict[str, Json] | None:
    """The row of a term, by its name first, then by a synonym."""
    names = vocabulary_columns(vocab)
    exact = session.catalog.rows(rows_of(vocab.schema, vocab.name).where(eq(names["Name"], term_name)))
    if exact:
        return exact[0]
    # An equality filter on an array column asks whether the array holds the value.
    by_synonym = session.catalog.rows(rows_of(vocab.schema, vocab.name).where(eq(names["Synonyms"], term_name)))
    return by_synonym[0] if by_synonym else None


def lookup_term(session: Session, table: str | Table, term_name: str) -> VocabularyTermHandle:
    """The term of this name or synonym.

    Raises:
        DerivaMLInvalidTerm: There is none; the nearest names are in the error.
    """
    vocab = vocabulary(session, table)
    row = _find(session, vocab, term_name)
    if row is None:
        known = [term.name for term in list_vocabulary_terms(session, vocab)]
        raise DerivaMLInvalidTerm(vocab.name, term_name, allowed=nearest(term_name, known))
    return VocabularyTermHandle.bind(session, vocab, row)


def check_terms(session: Session, name: str | Table, terms: Sequence[str]) -> list[str]:
    """The preferred names of terms given by name or synonym, looked up in one request.

    Raises:
        DerivaMLInvalidTerm: A term does not exist.
    """
    vocab, preferred = _preferred(session, name)
    for wanted in terms:
        if wanted not in preferred:
            raise _unknown(vocab, wanted, preferred)
    return [preferred[wanted] for wanted in terms]


def unknown_terms(session: Session, name: str | Table, terms: Sequence[str]) -> list[DerivaMLInvalidTerm]:
    """What is wrong with terms that are no names or synonyms of a vocabulary, looked up in one request.

    Raises:
        DerivaMLTableNotFound: There is no such vocabulary.
        DerivaMLTableTypeError: The table is no vocabulary.
    """
    vocab, preferred = _preferred(session, name)
    return [_unknown(vocab, term, preferred) for term in dict.fromkeys(terms) if term not in preferred]


def _preferred(session: Session, name: str | Table) -> tuple[Table, dict[str, str]]:
    """A vocabulary, and the preferred names of its terms by name and synonym."""
    vocab = vocabulary(session, name)
    known = list_vocabulary_terms(session, vocab)
    preferred = {synonym: term.name for term in known for synonym in term.synonyms}
    return vocab, preferred | {term.name: term.name for term in known}


def _unknown(vocab: Table, term: str, known: Iterable[str]) -> DerivaMLInvalidTerm:
    return DerivaMLInvalidTerm(vocab.name, term, allowed=nearest(term, known))


def add_term(
    session: Session,
    table: str | Table,
    term_name: str,
    description: str,
    synonyms: Sequence[str] | None = None,
    exists_ok: bool = True,
) -> VocabularyTermHandle:
    """Add a term; one that is there already is returned as it is, if that is allowed.

    Raises:
        DerivaMLInvalidTerm: The term is there already and ``exists_ok`` is false.
    """
    session.require_writable()
    vocab = vocabulary(session, table)
    names = vocabulary_columns(vocab)
    row: dict[str, Json] = {
        names["Name"]: term_name,
        names["Description"]: description,
        names["Synonyms"]: list(synonyms or ()),
    }
    made = session.catalog.insert(
        vocab.schema, vocab.name, [row], defaults=(names["ID"], names["URI"]), on_conflict_skip=True
    )
    if made:
        return VocabularyTermHandle.bind(session, vocab, made[0])
    if not exists_ok:
        raise DerivaMLInvalidTerm(vocab.name, term_name, msg="term already exists")
    return lookup_term(session, vocab, term_name)


def clear_vocabulary_cache(session: Session, table: str | Table | None = None) -> None:
    """Have no effect: terms are read from the catalog each time, so that what others add is seen.

    For projects that call it after they have changed a vocabulary by other means.

    Raises:
        DerivaMLTableTypeError: The table is not a vocabulary.
    """
    if table is not None:
        vocabulary(session, table)


def delete_term(session: Session, table: str | Table, term_name: str) -> None:
    """Remove a term that nothing refers to.

    Raises:
        DerivaMLInvalidTerm: There is no such term.
        DerivaMLDataError: Rows refer to it; the error names their table and number.
    """
    session.require_writable()
    vocab = vocabulary(session, table)
    term = lookup_term(session, vocab, term_name)
    name_column = vocabulary_columns(vocab)["Name"]
    for other in referencing(session.model(), vocab):
        for fkey in other.foreign_keys:
            if fkey.referenced_table != (vocab.schema, vocab.name):
                continue
            value = term.name if fkey.referenced_columns == (name_column,) else term.rid
            rows = session.catalog.rows(rows_of(other.schema, other.name).where(eq(fkey.columns[0], value)))
            if rows:
                raise DerivaMLDataError(
                    f"Term {term.name} of {vocab.name} is used by {len(rows)} row(s) of {other.name}.",
                    hint=f"change or delete those rows of {other.name} first",
                )
    session.catalog.delete(rows_of(vocab.schema, vocab.name).where(eq("RID", term.rid)))
