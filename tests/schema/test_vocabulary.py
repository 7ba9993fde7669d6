from __future__ import annotations

import pytest

from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLInvalidTerm,
    DerivaMLReadOnlyError,
    DerivaMLTableNotFound,
    DerivaMLTableTypeError,
)
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import (
    add_term,
    check_terms,
    create_vocabulary,
    delete_term,
    find_vocabularies,
    list_vocabulary_terms,
    lookup_term,
)


@pytest.fixture
def colours(session: Session) -> Session:
    create_vocabulary(session, "Colour", "Colours of things.")
    add_term(session, "Colour", "Red", "Like blood", ["Scarlet", "Crimson"])
    return session


def test_a_term_has_an_identifier_made_from_its_record(colours: Session) -> None:
    term = lookup_term(colours, "Colour", "Red")
    assert term.id == f"demo-schema:{term.rid}"
    assert term.uri == f"/id/{term.rid}"


def test_a_term_is_found_by_name_and_by_synonym(colours: Session) -> None:
    assert lookup_term(colours, "Colour", "Crimson").rid == lookup_term(colours, "Colour", "Red").rid


def test_an_unknown_term_is_refused_with_the_nearest(colours: Session) -> None:
    with pytest.raises(DerivaMLInvalidTerm, match=r"(?s)Rad.*Red"):
        lookup_term(colours, "Colour", "Rad")


def test_a_term_that_is_there_is_returned_or_refused(colours: Session) -> None:
    again = add_term(colours, "Colour", "Red", "Another description")
    assert again.description == "Like blood"
    with pytest.raises(DerivaMLInvalidTerm, match="already exists"):
        add_term(colours, "Colour", "Red", "Another description", exists_ok=False)


def test_assigning_to_a_handle_writes_to_the_catalog(colours: Session) -> None:
    term = lookup_term(colours, "Colour", "Red")
    term.description = "Like fire"
    term.synonyms = ("Vermilion",)
    stored = lookup_term(colours, "Colour", "Vermilion")
    assert (stored.description, stored.synonyms) == ("Like fire", ("Vermilion",))
    with pytest.raises(DerivaMLReadOnlyError, match="name"):
        term.name = "Blue"


def test_a_term_in_use_is_not_deleted_and_one_that_is_not_is(session: Session) -> None:
    add_term(session, "Asset_Type", "Spare", "Not used")
    delete_term(session, "Asset_Type", "Spare")
    assert "Spare" not in {term.name for term in list_vocabulary_terms(session, "Asset_Type")}
    rid = session.catalog.insert("deriva-ml", "Workflow", [{"Name": "w"}])[0]["RID"]
    session.catalog.insert("deriva-ml", "Workflow_Workflow_Type", [{"Workflow": rid, "Workflow_Type": "Training"}])
    with pytest.raises(DerivaMLDataError, match=r"1 row\(s\) of Workflow_Workflow_Type"):
        delete_term(session, "Workflow_Type", "Training")


def test_many_terms_are_checked_at_once(colours: Session) -> None:
    assert check_terms(colours, "Colour", ["Scarlet", "Red"]) == ["Red", "Red"]
    with pytest.raises(DerivaMLInvalidTerm, match="Blue"):
        check_terms(colours, "Colour", ["Red", "Blue"])


def test_a_table_that_is_no_vocabulary_or_is_not_there_is_refused(session: Session) -> None:
    with pytest.raises(DerivaMLTableTypeError, match="vocabulary"):
        add_term(session, "Dataset", "x", "y")
    with pytest.raises(DerivaMLTableNotFound, match="Asset_Type"):
        add_term(session, "Asset_Typ", "x", "y")


def test_a_vocabulary_is_made_once(colours: Session) -> None:
    with pytest.raises(DerivaMLDataError, match="already exist"):
        create_vocabulary(colours, "Colour")
    assert next(table.name for table in find_vocabularies(colours)) == "Colour"


def test_a_snapshot_keeps_its_terms_and_takes_none(colours: Session) -> None:
    past = colours.snapshot(colours.catalog.latest_snaptime())
    add_term(colours, "Colour", "Blue", "Like the sky")
    assert [term.name for term in list_vocabulary_terms(past, "Colour")] == ["Red"]
    with pytest.raises(DerivaMLReadOnlyError, match="snapshot"):
        add_term(past, "Colour", "Green", "Like grass")
