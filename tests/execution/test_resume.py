"""Going on with a run that was left; and clear words where there is nothing to go on with."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import (
    DerivaMLExecutionError,
    DerivaMLInvalidTransition,
    DerivaMLNotFoundError,
    DerivaMLStateInconsistency,
)
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.recovery import reconcile_dead_runs


def held_by(ml, execution: Execution, **mark: object) -> None:
    """Make the journal say that another process works on a run."""
    execution._ledger.journal.close()
    with open_journal(ml.session) as journal:
        path = journal.path
    columns = ", ".join(f"{name} = ?" for name in mark)
    with sqlite3.connect(path) as sql:
        sql.execute(f"UPDATE run SET {columns} WHERE execution = ?", (*mark.values(), execution.execution_rid))
    sql.close()


def leave(ml, execution: Execution) -> str:
    """Leave a run as one is left whose process has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    held_by(ml, execution, pid=done.pid, process_start="1")
    return execution.execution_rid


def test_a_run_whose_process_is_gone_goes_on_as_it_was_left(world, workflow):
    ml = world.ml
    spec = DatasetSpec(rid=world.dataset, version=str(ml.lookup_dataset(world.dataset).current_version))
    given = ExecutionConfiguration(workflow=workflow, datasets=[spec], assets=[world.asset], description="left")
    first = Execution(given, ml)
    first.execution_start()
    first.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    rid = leave(ml, first)
    started = ml.lookup_execution(rid).start_time
    again = ml.resume_execution(rid)
    assert again.status is Status.running
    assert [bag.dataset_rid for bag in again.datasets] == [world.dataset]
    (path,) = again.asset_paths["Scan"]
    assert path.read_bytes() == b"scan"
    with again:
        again.asset_file_path("Execution_Asset", "b.txt").write_text("b")
    again.upload_execution_outputs()
    report = again.describe()
    assert report.record.status is Status.completed
    assert report.record.start_time == started
    assert sorted(use.file_name for use in report.output_assets) == ["a.txt", "b.txt"]
    assert [use.rid for use in report.input_datasets] == [world.dataset]
    assert len(ml.session.catalog.rows_by("deriva-ml", "Dataset_Execution", "Execution", [rid])) == 1
    assert len(list(ml.find_executions())) == 1


def test_a_run_that_was_ready_and_never_started_is_started(ml, configuration):
    rid = leave(ml, Execution(configuration, ml))
    with ml.resume_execution(rid) as run:
        assert run.status is Status.running
    assert ml.lookup_execution(rid).status is Status.completed


def test_the_outputs_of_a_run_that_was_found_dead_are_finished_without_a_next_attempt(ml, configuration):
    first = Execution(configuration, ml)
    first.execution_start()
    first.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    rid = leave(ml, first)
    reconcile_dead_runs(ml)
    again = ml.resume_execution(rid)
    again.upload_execution_outputs()
    assert (again.status, again.attempt) == (Status.aborted, 1)
    assert [use.file_name for use in again.describe().output_assets] == ["a.txt"]


def test_a_run_that_was_found_dead_is_taken_up_again_when_it_is_started(ml, configuration):
    first = Execution(configuration, ml)
    first.execution_start()
    first.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    rid = leave(ml, first)
    reconcile_dead_runs(ml)
    with ml.resume_execution(rid).execute() as again:
        assert (again.status, again.attempt) == (Status.running, 2)
        assert again.asset_file_path("Execution_Asset", "a.txt").read_text() == "a"
    again.upload_execution_outputs()
    report = again.describe()
    assert report.record.status is Status.completed
    assert [use.file_name for use in report.output_assets] == ["a.txt"]
    with pytest.raises(DerivaMLInvalidTransition, match="Completed cannot become Initializing"):
        ml.restore_execution(rid).take_up()


def test_a_run_that_was_only_restored_is_not_taken_up_again(ml, configuration):
    first = Execution(configuration, ml)
    first.abort()
    with pytest.raises(DerivaMLInvalidTransition, match="Aborted cannot become Running"):
        ml.restore_execution(first.execution_rid).execution_start()


def test_a_run_that_is_gone_on_with_is_not_aborted_by_who_saw_it_dead_before(ml, configuration):
    rid = leave(ml, Execution(configuration, ml))
    with open_journal(ml.session) as journal:
        (dead,) = journal.dead_runs()
        again = ml.resume_execution(rid)
        assert journal.end_dead(dead, "Aborted", detail="", error="", upload_state="none") is None
    with again:
        pass
    assert ml.lookup_execution(rid).status is Status.completed


def test_a_run_that_nobody_knows_is_named_with_the_nearest(ml, configuration):
    known = Execution(configuration, ml).execution_rid
    with pytest.raises(DerivaMLNotFoundError, match=f"There is no execution {known}X") as caught:
        ml.resume_execution(f"{known}X")
    assert list(caught.value.allowed) == [known]


def test_a_run_of_another_machine_is_not_resumed_here(ml, configuration):
    (row,) = ml.session.catalog.insert("deriva-ml", "Execution", [{"Description": "elsewhere"}])
    with pytest.raises(DerivaMLNotFoundError, match="in the catalog, but this machine has nothing of it"):
        ml.resume_execution(str(row["RID"]))


def test_a_run_of_a_machine_that_cannot_be_seen_is_not_taken_from_it(ml, configuration):
    execution = Execution(configuration, ml)
    held_by(ml, execution, host="far", boot="another", namespace="another")
    with pytest.raises(DerivaMLExecutionError, match="on far works on it, and whether it is still there"):
        ml.resume_execution(execution.execution_rid)


def test_a_run_whose_process_lives_is_not_taken_from_it(ml, configuration):
    execution = Execution(configuration, ml)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        held_by(ml, execution, pid=process.pid, process_start="")
        with pytest.raises(DerivaMLExecutionError, match=f"process {process.pid} on .* works on it"):
            ml.resume_execution(execution.execution_rid)
        process.communicate(b"\n")


def test_a_run_of_which_everything_is_in_the_catalog_has_nothing_to_resume(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        pass
    execution.upload_execution_outputs()
    with pytest.raises(DerivaMLExecutionError, match="is Completed, and everything of it is in the catalog"):
        ml.resume_execution(execution.execution_rid)
    assert ml.restore_execution(execution.execution_rid).status is Status.completed


def test_a_run_that_was_left_before_its_inputs_were_recorded_is_found_dead_and_taken_up_again(world, workflow):
    ml = world.ml
    given = ExecutionConfiguration(workflow=workflow, assets=[world.asset], description="left")
    execution = Execution(given, ml)
    rid = leave(ml, execution)
    with open_journal(ml.session) as journal:
        journal.move(rid, Status.initializing.value)
    again = ml.resume_execution(rid)
    assert again.status is Status.aborted
    with again:
        assert [path.file_name for path in again.asset_paths["Scan"]] == ["input.bin"]
    report = again.describe()
    assert report.record.status is Status.completed
    assert [use.rid for use in report.input_assets] == [world.asset]


def test_journal_and_catalog_that_disagree_are_named(ml, configuration):
    rid = leave(ml, Execution(configuration, ml))
    ml.session.catalog.update("deriva-ml", "Execution", [{"RID": rid, "Status": "Completed"}])
    with pytest.raises(DerivaMLStateInconsistency, match="says Pending, and the catalog says Completed") as caught:
        ml.resume_execution(rid)
    assert (caught.value.execution_rid, caught.value.here, caught.value.there) == (rid, "Pending", "Completed")
    with open_journal(ml.session) as journal:
        journal.open_run("9-ZZZZ", directory=ml.working_dir / "nowhere")
    with pytest.raises(DerivaMLStateInconsistency, match="the catalog has no row of it"):
        ml.resume_execution("9-ZZZZ")
