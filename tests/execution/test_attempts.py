"""The attempts of one run: each stays told, and what they make is made once."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from tests.execution.test_resume import leave

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.execution.attempts import numbered
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.wire.path import table


def killed(ml, execution: Execution) -> str:
    """Leave a run as one is left whose process was killed, and find it."""
    rid = leave(ml, execution)
    reconcile_dead_runs(ml)
    return rid


def files_of(report) -> dict[str, str]:
    return {use.file_name: use.rid for use in report.metadata}


def document(ml, report, name: str) -> dict:
    [use] = [use for use in report.metadata if use.file_name == name]
    with tempfile.TemporaryDirectory() as folder:
        ml.session.objects.fetch(use.url, Path(folder) / name, md5=use.md5, length=use.length)
        return json.loads((Path(folder) / name).read_text())


@pytest.mark.parametrize(
    ("name", "attempt", "own"),
    [("stdout.txt", 1, "stdout.txt"), ("stdout.txt", 2, "stdout-2.txt"), ("process", 3, "process-3")],
)
def test_the_files_of_a_later_attempt_have_its_number(name, attempt, own):
    assert numbered(name, attempt) == own


def test_each_attempt_stays_told(ml, configuration):
    first = Execution(configuration, ml)
    first.execution_start()
    (first.working_dir / "process").mkdir()
    (first.working_dir / "process" / "stdout.txt").write_text("epoch 1\n")
    (first.working_dir / "checkpoint").write_text("7")
    pid = leave(ml, first) and open_journal(ml.session).run(first.execution_rid).process.pid
    rid = first.execution_rid
    reconcile_dead_runs(ml)
    second = ml.resume_execution(rid)
    with pytest.raises(ValueError, match="diverged"), second:
        assert (second.working_dir / "checkpoint").read_text() == "7"
        raise ValueError("diverged")
    with ml.resume_execution(rid) as third:
        assert third.attempt == 3
    third.upload_execution_outputs()
    report = third.describe()
    assert {"attempt-1.json", "attempt-2.json", "stdout.txt"} <= files_of(report).keys()
    one, two = document(ml, report, "attempt-1.json"), document(ml, report, "attempt-2.json")
    assert (one["attempt"], one["status"], one["error"]) == (1, "Aborted", "process gone")
    assert one["process"].startswith(f"process {pid} on ")
    assert one["begun"] < one["started"] < one["stopped"] <= two["begun"] < two["started"] < two["stopped"]
    assert (two["attempt"], two["status"]) == (2, "Failed")
    assert "diverged" in two["detail"]
    record = report.record
    assert (record.status, record.status_detail) == (Status.completed, "The model has ended.")
    assert record.start_time.isoformat() > two["stopped"]
    with open_journal(ml.session) as journal:
        steps = [step.what for step in journal.steps(rid)]
    assert steps.count("resumed") == 2
    assert steps[-1] in {"Completed", "upload"}


def test_the_process_that_finished_the_outputs_is_not_taken_for_that_of_the_attempt(ml, configuration):
    first = Execution(configuration, ml)
    first.execution_start()
    first.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    rid = killed(ml, first)
    with open_journal(ml.session) as journal:
        pid = journal.run(rid).process.pid
    ml.commit_pending_executions()
    with ml.resume_execution(rid) as again:
        pass
    assert document(ml, again.describe(), "attempt-1.json")["process"].startswith(f"process {pid} on ")


def test_an_output_that_an_earlier_attempt_has_made_is_made_once(ml, configuration):
    first = Execution(configuration, ml)
    first.execution_start()
    for name in ("same.txt", "other.txt", "waits.txt", "same.txt"):
        first.asset_file_path("Execution_Asset", name).write_text(name)
    first.asset_file_path("Execution_Asset", "never.txt")
    first.bring_outputs(None, None, clean_folder=False)
    first.asset_file_path("Execution_Asset", "late.txt").write_text("half")
    rid = killed(ml, first)
    with ml.resume_execution(rid) as again:
        for name in ("same.txt", "same.txt", "waits.txt"):
            again.asset_file_path("Execution_Asset", name).write_text(name)
        again.asset_file_path("Execution_Asset", "other.txt").write_text("another content")
        late = again.asset_file_path("Execution_Asset", "late.txt")
        assert late.read_text() == "half"
        late.write_text("whole")
    again.upload_execution_outputs()
    made = sorted((use.file_name, use.length) for use in again.describe().output_assets)
    assert made == [
        ("late.txt", 5),
        ("other.txt", 9),
        ("other.txt", 15),
        ("same.txt", 8),
        ("same.txt", 8),
        ("waits.txt", 9),
    ]


def test_an_output_with_another_description_is_another_output(ml, configuration):
    first = Execution(configuration, ml)
    first.execution_start()
    first.asset_file_path("Execution_Asset", "a.txt", description="one").write_text("a")
    first.bring_outputs(None, None, clean_folder=False)
    rid = killed(ml, first)
    with ml.resume_execution(rid) as again:
        again.asset_file_path("Execution_Asset", "a.txt", description="two").write_text("a")
    again.upload_execution_outputs()
    assert len(again.describe().output_assets) == 2


def values(world, rid: str) -> list[float]:
    feature = world.ml.lookup_feature("Subject", "Score")
    rows = world.ml.session.catalog.rows(table(*feature.feature_table.qualified))
    return [row["Value"] for row in sorted(rows, key=lambda row: row["Subject"]) if row["Execution"] == rid]


@pytest.mark.parametrize("stored", [True, False])
def test_a_value_that_an_earlier_attempt_has_made_is_made_once_and_another_takes_its_place(world, workflow, stored):
    ml = world.ml
    score = ml.feature_record_class("Subject", "Score")
    first = Execution(ExecutionConfiguration(workflow=workflow, description="values"), ml)
    first.execution_start()
    first.add_features([score(Subject=rid, Value=0.5) for rid in world.subjects[:2]])
    if stored:
        first.bring_outputs(None, None, clean_folder=False)
    rid = killed(ml, first)
    with ml.resume_execution(rid) as again:
        again.add_features([score(Subject=world.subjects[0], Value=0.5), score(Subject=world.subjects[1], Value=0.75)])
        again.add_features([score(Subject=world.subjects[2], Value=1.0)])
        with pytest.raises(Exception, match="has a value of feature"):
            again.add_features([score(Subject=world.subjects[2], Value=1.0)])
    again.upload_execution_outputs()
    again.upload_execution_outputs()
    assert values(world, rid) == [0.5, 0.75, 1.0]


def test_the_row_tells_how_long_inputs_and_outputs_took(world, workflow):
    ml = world.ml
    run = Execution(ExecutionConfiguration(workflow=workflow, assets=[world.asset], description="timed"), ml)
    assert ml.lookup_execution(run.execution_rid).download_duration.endswith("sec")
    with run:
        run.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    assert ml.lookup_execution(run.execution_rid).upload_duration is None
    run.upload_execution_outputs()
    record = ml.lookup_execution(run.execution_rid)
    assert record.upload_duration.endswith("sec")
    assert record.duration.endswith("sec")


def test_a_catalog_that_has_another_column_for_the_time_of_the_model_gets_it_there(ml, configuration):
    ml.session.catalog.drop_column("deriva-ml", "Execution", "Duration")
    ml.session.catalog.create_column(
        "deriva-ml", "Execution", {"name": "Execution_Duration", "type": {"typename": "text"}, "nullok": True}
    )
    with Execution(configuration, ml) as run:
        pass
    assert ml.lookup_execution(run.execution_rid).duration.endswith("sec")


def test_of_a_failed_run_and_of_an_upload_that_was_finished_later_the_times_are_told_too(world, workflow):
    ml = world.ml
    failed = Execution(ExecutionConfiguration(workflow=workflow, assets=[world.asset], description="failed"), ml)
    with pytest.raises(ValueError, match="diverged"), failed:
        failed.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        raise ValueError("diverged")
    record = ml.lookup_execution(failed.execution_rid)
    assert record.stop_time is not None
    assert None not in (record.duration, record.download_duration, record.upload_duration)
    dead = Execution(ExecutionConfiguration(workflow=workflow, assets=[world.asset], description="dead"), ml)
    dead.execution_start()
    dead.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    rid = killed(ml, dead)
    assert ml.lookup_execution(rid).upload_duration is None
    ml.commit_pending_executions()
    record = ml.lookup_execution(rid)
    assert None not in (record.start_time, record.download_duration, record.upload_duration)


def test_of_two_that_take_a_run_up_one_does(ml, configuration):
    first = Execution(configuration, ml)
    rid = killed(ml, first)
    one, other = ml.resume_execution(rid), ml.resume_execution(rid)
    with open_journal(ml.session) as journal:
        seen = journal.run(rid)
        one.take_up()
        with pytest.raises(DerivaMLExecutionError, match=r"is Pending by now: process .* works on it"):
            journal.take_up(seen, "Initializing")
    with pytest.raises(DerivaMLExecutionError):
        other.take_up()
    with one:
        pass
    assert ml.lookup_execution(rid).status is Status.completed


def test_a_run_that_has_not_ended_is_not_taken_up(ml, configuration):
    execution = Execution(configuration, ml)
    with open_journal(ml.session) as journal:
        for status in ("Initializing", "Pending", "Running"):
            journal.move(execution.execution_rid, status)
            with pytest.raises(DerivaMLExecutionError, match=f"is {status} by now"):
                journal.take_up(journal.run(execution.execution_rid), "Initializing")
            with pytest.raises(DerivaMLExecutionError):
                execution.take_up()


def test_a_run_whose_input_is_gone_stays_as_it_ended(world, workflow):
    ml = world.ml
    execution = Execution(ExecutionConfiguration(workflow=workflow, assets=[world.asset], description="gone"), ml)
    rid = killed(ml, execution)
    (execution.working_dir / "metadata" / "configuration.json").write_text('{"assets": ["9-ZZZZ"]}')
    again = ml.resume_execution(rid)
    with pytest.raises(DerivaMLDataError, match="9-ZZZZ"):
        again.take_up()
    assert ml.lookup_execution(rid).status is Status.aborted


def test_a_run_that_ended_before_it_was_written_down_what_it_was_to_do_is_not_taken_up(ml, configuration):
    execution = Execution(configuration, ml)
    rid = killed(ml, execution)
    (execution.working_dir / "metadata" / "configuration.json").unlink()
    with pytest.raises(DerivaMLExecutionError, match="before it was written down what it was to do"):
        ml.resume_execution(rid).take_up()
