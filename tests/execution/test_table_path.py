"""Rows that a run writes for tables of the project, from the model to the catalog."""

from __future__ import annotations

import json

import pytest

from deriva_ml.cli.show import main as show
from deriva_ml.cli.upload import main as upload
from deriva_ml.core.exceptions import DerivaMLTableTypeError, DerivaMLUploadError
from deriva_ml.dataset import upload as upload_paths
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.finishing import commit_run
from deriva_ml.execution.recovery import incomplete_runs
from deriva_ml.wire.path import table as rows_of


def names(ml):
    rows = ml.session.catalog.rows(rows_of("demo-schema", "Subject"))
    return [row["Name"] for row in sorted(rows, key=lambda row: (len(row["RID"]), row["RID"]))]


def test_rows_are_stored_with_the_other_outputs_and_counted(world, configuration):
    ml = world.ml
    before = names(ml)
    execution = Execution(configuration, ml)
    with execution:
        execution.table_path("Subject").write_text("Name\nfirst\nsecond\n")
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        execution.add_features([ml.feature_record_class("Subject", "Score")(Subject=world.subjects[0], Value=1.0)])
    assert names(ml) == before
    execution.upload_execution_outputs()
    assert names(ml) == [*before, "first", "second"]
    (report,) = execution.reports
    assert (report.tables, report.features, report.complete) == (
        {"demo-schema:Subject": 2},
        {"Subject:Score": 1},
        True,
    )
    execution.upload_execution_outputs()
    assert commit_run(ml, execution.execution_rid).tables == {}
    assert names(ml) == [*before, "first", "second"]


def test_rows_that_are_wrong_wait_until_they_are_mended(world, configuration, catalog_root, capsys):
    ml = world.ml
    before = names(ml)
    execution = Execution(configuration, ml)
    with execution:
        path = execution.table_path("Subject", "json")
        path.write_text(json.dumps([{"Name": "a"}, {"Nmae": "b"}]))
    with pytest.raises(
        DerivaMLUploadError, match=r"(?s)rows of demo-schema:Subject: Subject\.json, column 'Nmae'.*Name"
    ):
        execution.upload_execution_outputs()
    assert names(ml) == before
    (left,) = incomplete_runs(ml)
    assert (left.waiting.tables, str(left.waiting)) == (1, "the rows of 1 table(s)")
    place = ["--host", str(catalog_root), "--catalog", "1"]
    assert show([*place, execution.execution_rid]) == 0
    assert "the rows of 1 table(s) wait on this machine" in capsys.readouterr().out
    assert upload([*place, "--execution", execution.execution_rid]) == 4
    assert "1 still missing" in capsys.readouterr().out
    path.write_text(json.dumps([{"Name": "a"}, {"Name": "b"}]))
    assert upload([*place, "--execution", execution.execution_rid]) == 0
    assert "0 file(s), 2 row(s) and 0 feature value(s) uploaded" in capsys.readouterr().out
    assert (names(ml), incomplete_runs(ml)) == ([*before, "a", "b"], [])


def test_a_file_that_was_never_written_is_given_up_on_request(world, configuration):
    ml = world.ml
    execution = Execution(configuration, ml)
    with execution:
        execution.table_path("Subject")
    with pytest.raises(DerivaMLUploadError, match=r"(?s)never written.*--abandon \(1 file"):
        execution.upload_execution_outputs()
    assert commit_run(ml, execution.execution_rid, abandon=True).complete
    assert incomplete_runs(ml) == []


def test_the_rows_of_a_run_that_failed_are_stored_and_what_it_did_not_write_is_no_failure(world, configuration):
    ml = world.ml
    before = names(ml)
    execution = Execution(configuration, ml)
    with pytest.raises(ZeroDivisionError), execution:
        execution.table_path("Subject").write_text("Name\nlate\n")
        raise ZeroDivisionError
    assert names(ml) == [*before, "late"]
    second = Execution(configuration, ml)
    with pytest.raises(ZeroDivisionError), second:
        second.table_path("Subject")
        raise ZeroDivisionError
    assert second.reports[-1].complete
    assert incomplete_runs(ml) == []


def test_a_table_is_checked_when_the_file_is_asked_for(world, configuration):
    execution = Execution(configuration, world.ml)
    with execution, pytest.raises(DerivaMLTableTypeError, match=r"(?s)Execution_Asset.*asset_file_path"):
        execution.table_path("Execution_Asset")
    assert execution.manifest.tables == {}


def test_a_dry_run_has_the_file_and_stores_nothing(world, configuration):
    before = names(world.ml)
    execution = Execution(configuration, world.ml, dry_run=True)
    with execution:
        execution.table_path("Subject").write_text("Name\nx\n")
    assert execution.upload_execution_outputs() == {}
    assert names(world.ml) == before


def test_rows_are_cleaned_away_with_the_rest_once_they_are_stored(world, configuration):
    execution = Execution(configuration, world.ml)
    with execution:
        path = execution.table_path("Subject")
        path.write_text("Name\nx\n")
    execution.upload_execution_outputs(clean_folder=True)
    assert not path.exists()
    assert commit_run(world.ml, execution.execution_rid).complete


def test_the_documented_paths_are_those_that_a_run_uses(world, configuration):
    ml = world.ml
    execution = Execution(configuration, ml)
    with execution:
        output = execution.asset_file_path("Execution_Asset", "a.txt")
        output.write_text("a")
        execution.add_features([ml.feature_record_class("Subject", "Score")(Subject=world.subjects[0], Value=1.0)])
    rid = execution.execution_rid
    assert upload_paths.execution_root(ml.working_dir, rid) == execution.working_dir
    assert upload_paths.manifest_path(ml.working_dir, rid) == execution.manifest.path
    assert output.is_relative_to(upload_paths.flat_asset_dir(ml.working_dir, rid, "Execution_Asset"))
    assert upload_paths.feature_value_path(ml.working_dir, rid, "demo-schema", "Subject", "Score").is_file()
    assert upload_paths.execution_rids(ml.working_dir) == [rid]
