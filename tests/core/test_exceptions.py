from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from deriva_ml.core import exceptions as ex

MADE = [
    ex.DerivaMLException("plain", source="here", allowed=["a", "b"], hint="do it"),
    ex.DerivaMLConfigurationError("config"),
    ex.DerivaMLSchemaError("schema"),
    ex.DerivaMLAuthenticationError("auth"),
    ex.DerivaMLProblems([ex.DerivaMLDataError("one"), ex.DerivaMLDataError("two", source="there")]),
    ex.DerivaMLDataError("data"),
    ex.DerivaMLNotFoundError("gone"),
    ex.DerivaMLRidsNotFound(["1-ABCD", "2"]),
    ex.DerivaMLDatasetNotFound("1-ABCD"),
    ex.DerivaMLVersionNotFound("1-ABCD", "2.0.0", ["1.0.0"]),
    ex.DerivaMLTableNotFound("Tabel", allowed=["Table"]),
    ex.DerivaMLInvalidTerm("Asset_Type", "Modle_File"),
    ex.DerivaMLTableTypeError("vocabulary", "Image"),
    ex.DerivaMLValidationError("invalid"),
    ex.DerivaMLCycleError(["1", "2", "1"]),
    ex.DerivaMLMaterializeLimitExceeded("values of feature A:B", 5, hint="ask for fewer"),
    ex.DerivaMLOrphansFound(["3 rows of S:A refer to rows of S:B that do not come along"]),
    ex.DerivaMLDenormalizeError("joined"),
    ex.DerivaMLDenormalizeAmbiguousPath("A", "C", [("A", "B", "C"), ("A", "D", "C")]),
    ex.DerivaMLDenormalizeUnrelatedAnchor("A", "B"),
    ex.DerivaMLDenormalizeDownstreamLeaf("Image", "Subject"),
    ex.NoAssociationException("A", "B"),
    ex.AmbiguousAssociationException("A", "B", ["s:One", "s:Two"]),
    ex.DerivaMLExecutionError("run"),
    ex.DerivaMLWorkflowError("code"),
    ex.DerivaMLDirtyWorkflowError(Path("a.py"), ["a.py", "b.py"]),
    ex.DerivaMLInvalidTransition("Completed", "Running", ["Completed"]),
    ex.DerivaMLStateInconsistency("1-AB", "Aborted", "Completed", hint="look"),
    ex.DerivaMLSelectionError("cannot be divided", hint="h"),
    ex.DerivaMLModelError("model"),
    ex.DerivaMLUploadError("upload"),
    ex.DerivaMLReadOnlyError("snapshot"),
    ex.DerivaMLMissingExtra("ray", "ray"),
    ex.DerivaMLCatalogError(409, "conflict", method="POST", target="/ermrest/catalog"),
    ex.DerivaMLUnreachable("down"),
]


def test_every_class_of_the_tree_is_tried_here() -> None:
    assert {type(error).__name__ for error in MADE} == set(ex.__all__)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_attributes(error: ex.DerivaMLException) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again).keys() == vars(error).keys()
    assert {**vars(again), "errors": ()} == {**vars(error), "errors": ()}
    assert str(again) == str(error)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_knows_its_codes(error: ex.DerivaMLException) -> None:
    assert error.exit_code in {1, 2, 4, 5}
    assert 400 <= error.http_status < 600


def test_several_errors_are_one_that_says_each_and_a_single_one_stays_itself() -> None:
    one, two = ex.DerivaMLDataError("one"), ex.DerivaMLDataError("two", source="there")
    assert ex.DerivaMLProblems.of([one]) is one
    both = ex.DerivaMLProblems.of([one, two])
    assert str(both) == "2 things are wrong with the request:\n1. one\n2. two\n  from:    there"
    again = pickle.loads(pickle.dumps(both))
    assert [str(error) for error in again.errors] == [str(one), str(two)]


def test_the_message_says_what_where_and_what_to_do() -> None:
    assert str(MADE[0]) == "plain\n  from:    here\n  allowed: a, b\n  do:      do it"


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = ex.__doc__ or ""
    assert all(name in drawn for name in ex.__all__)
