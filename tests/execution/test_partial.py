"""What a run wrote that failed or was stopped is marked in the catalog; what a whole run wrote is not."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import Counting

from deriva_ml.execution.committing import commit_pending_executions
from deriva_ml.execution.execution import Execution
from deriva_ml.schema.validation import validate_ml_schema
from deriva_ml.schema.vocabulary import delete_term, list_vocabulary_terms
from deriva_ml.wire.http import Request, Response


def types_of(ml: Any, execution: Execution) -> dict[str, tuple[str, ...]]:
    report = ml.lookup_execution(execution.execution_rid) and execution.describe()
    return {use.file_name: tuple(sorted(use.types)) for use in (*report.output_assets, *report.metadata)}


def fail(execution: Execution) -> None:
    """A run with a file that the model uploads itself, one that it writes to, and one that describes the run."""
    with pytest.raises(ValueError, match="no good"), execution:
        execution.asset_file_path("Execution_Asset", "early.txt").write_text("early")
        execution.upload_execution_outputs()
        execution.asset_file_path("Execution_Asset", "late.txt", asset_types="Model_File").write_text("late")
        execution.asset_file_path("Execution_Metadata", "notes.txt").write_text("notes")
        raise ValueError("no good")


MARKED = {
    "early.txt": ("Execution_Asset",),
    "late.txt": ("Model_File", "Partial"),
    "notes.txt": ("Execution_Metadata",),
}


def test_what_a_failed_run_wrote_is_marked_and_what_it_had_uploaded_before_is_not(ml, configuration):
    execution = Execution(configuration, ml)
    fail(execution)
    found = types_of(ml, execution)
    assert {name: found[name] for name in MARKED} == MARKED


def test_what_a_whole_run_wrote_is_not_marked(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    execution.upload_execution_outputs()
    assert "Partial" not in {kind for kinds in types_of(ml, execution).values() for kind in kinds}


def test_what_a_stopped_run_left_is_marked_when_it_is_uploaded(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        execution.abort("enough")
    commit_pending_executions(ml.session)
    commit_pending_executions(ml.session)
    assert types_of(ml, execution)["a.txt"] == ("Execution_Asset", "Partial")


def test_a_catalog_without_the_type_is_valid_and_gets_it(ml, configuration):
    delete_term(ml.session, "Asset_Type", "Partial")
    assert validate_ml_schema(ml.session).is_valid
    execution = Execution(configuration, ml)
    fail(execution)
    assert types_of(ml, execution)["late.txt"] == ("Model_File", "Partial")
    assert "Partial" in {term.name for term in list_vocabulary_terms(ml.session, "Asset_Type")}


class Refusing(Counting):
    """Lets nobody add terms."""

    def send(self, request: Request) -> Response:
        if request.method == "POST" and request.target.split("?")[0].endswith("deriva-ml:Asset_Type"):
            return Response(403, {"content-type": "text/plain"}, b"no terms from you")
        return super().send(request)


def test_a_catalog_that_refuses_the_type_gets_the_files_all_the_same(ml, configuration, caplog):
    delete_term(ml.session, "Asset_Type", "Partial")
    catalog = type(ml.session.catalog)(Refusing(ml.connection.transport), "1")
    execution = Execution(configuration, replace(ml.session, catalog=catalog))
    with caplog.at_level(logging.WARNING):
        fail(execution)
    assert types_of(ml, execution)["late.txt"] == ("Model_File",)
    assert "not marked as partial" in caplog.text


def save(execution: Execution, name: str, text: str) -> None:
    execution.asset_file_path("Execution_Asset", name, asset_types="Model_File").write_text(text)


def test_a_later_attempt_goes_on_with_what_a_failed_one_left_and_its_whole_outputs_are_not_marked(ml, configuration):
    execution = Execution(configuration, ml)
    with pytest.raises(ValueError, match="no good"), execution:
        for name in ("same.txt", "grown.txt", "left.txt"):
            save(execution, name, "1")
        raise ValueError("no good")
    execution.upload_execution_outputs()
    with ml.resume_execution(execution.execution_rid) as second:
        path = second.asset_file_path("Execution_Asset", "grown.txt", asset_types="Model_File")
        assert path.read_text() == "1"
        path.write_text("12")
        assert second.asset_file_path("Execution_Asset", "same.txt", asset_types="Model_File").read_text() == "1"
    second.upload_execution_outputs()
    second.upload_execution_outputs()
    found = sorted((use.file_name, use.length, tuple(sorted(use.types))) for use in second.describe().output_assets)
    assert found == [
        ("grown.txt", 1, ("Model_File", "Partial")),
        ("grown.txt", 2, ("Model_File",)),
        ("left.txt", 1, ("Model_File", "Partial")),
        ("same.txt", 1, ("Model_File",)),
    ]


def test_what_a_second_attempt_left_that_failed_too_stays_marked(ml, configuration):
    execution = Execution(configuration, ml)
    for _ in range(2):
        with pytest.raises(ValueError, match="no good"), execution:
            save(execution, "same.txt", "1")
            raise ValueError("no good")
        execution.upload_execution_outputs()
        execution = ml.resume_execution(execution.execution_rid)
    [use] = execution.describe().output_assets
    assert sorted(use.types) == ["Model_File", "Partial"]
