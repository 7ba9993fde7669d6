"""The runs of this machine are listed from what is on it; what is done with can be forgotten."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.execution.test_resume import held_by, leave
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLNotFoundError, DerivaMLValidationError
from deriva_ml.execution.collecting import gc_executions
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.local_runs import find_incomplete_executions, list_executions
from deriva_ml.execution.pending import pending_summary
from deriva_ml.execution.states import Upload
from deriva_ml.workspace.manifest import MANIFEST_NAME


def ended(ml: Any, configuration: Any, *names: str, upload: bool = False) -> Execution:
    execution = Execution(configuration, ml)
    with execution:
        for name in names:
            execution.asset_file_path("Execution_Asset", name).write_text(name)
    if upload:
        execution.upload_execution_outputs()
    return execution


def test_runs_are_listed_with_their_counts_and_without_a_request(ml, configuration):
    whole = ended(ml, configuration, "a.txt", upload=True)
    waiting = ended(ml, configuration, "b.txt", "c.txt")
    going = Execution(configuration, ml)
    transport = Counting(ml.connection.transport)
    session = dataclasses.replace(ml.session, catalog=CatalogClient(transport, "1"))
    found = list_executions(session)
    assert [run.execution_rid for run in found] == [each.execution_rid for each in (going, waiting, whole)]
    assert [run.status for run in found] == [Status.pending, Status.completed, Status.completed]
    assert [run.upload_state for run in found] == [Upload.none, Upload.pending, Upload.uploaded]
    assert [run.pending_files for run in found] == [0, 2, 0]
    assert [run.is_running for run in found] == [True, False, False]
    assert {run.description for run in found} == {"by hand"}
    assert found[0].workflow_rid == going.workflow_rid
    assert found[1].working_dir == waiting.working_dir
    incomplete = [run.execution_rid for run in find_incomplete_executions(session)]
    assert incomplete == [going.execution_rid, waiting.execution_rid]
    assert [item.execution_rid for item in pending_summary(session).executions] == [waiting.execution_rid]
    assert transport.count == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        found[0].status = Status.failed


def test_runs_are_chosen_by_status_workflow_mode_and_time(ml, configuration):
    done, going = ended(ml, configuration), Execution(configuration, ml)

    def rids(**chosen: Any) -> list[str]:
        return [run.execution_rid for run in ml.list_executions(**chosen)]

    assert rids(status="completed") == rids(status=Status.completed) == [done.execution_rid]
    assert rids(status=["Completed", Status.pending]) == [going.execution_rid, done.execution_rid]
    assert rids(workflow_rid=done.workflow_rid, mode="online") == [going.execution_rid, done.execution_rid]
    assert rids(workflow_rid="1-NONE") == rids(mode="offline") == []
    assert rids(since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(rids(since=datetime.now().astimezone().replace(tzinfo=None) - timedelta(hours=1))) == 2


def test_what_does_not_exist_is_refused_with_what_does(ml):
    with pytest.raises(DerivaMLValidationError, match="no status 'Complete'") as caught:
        ml.list_executions(status="Complete")
    assert "Completed" in caught.value.allowed
    with pytest.raises(DerivaMLValidationError, match="no mode 'on'"):
        ml.list_executions(mode="on")
    with pytest.raises(DerivaMLValidationError, match="cannot be older than"):
        ml.gc_executions(older_than=timedelta(days=-1))


def test_without_a_journal_there_are_no_runs_and_none_is_made(ml):
    assert ml.list_executions() == ml.find_incomplete_executions() == []
    assert ml.gc_executions().removed == ()
    assert str(ml.pending_summary()) == "Every run of this machine has its outputs in the catalog."
    assert not (ml.session.records_dir / "journal.db").exists()


def test_a_run_whose_manifest_is_damaged_is_listed_with_the_others(ml, configuration):
    damaged, other = ended(ml, configuration, "a.txt", upload=True), ended(ml, configuration, "b.txt", upload=True)
    with (damaged.working_dir / MANIFEST_NAME).open("a") as file:
        file.write("no line of ours\n")
    assert len(ml.list_executions()) == 2
    (run,) = ml.find_incomplete_executions()
    assert (run.execution_rid, run.is_damaged) == (damaged.execution_rid, True)
    assert "cannot be read" in run.diagnostics[0]
    report = ml.gc_executions(delete_working_dir=True)
    assert report.removed == (other.execution_rid,)
    assert "its manifest cannot be read" in report.kept[damaged.execution_rid]


def test_only_what_is_done_with_is_forgotten_and_the_report_says_so(ml, configuration):
    whole = ended(ml, configuration, "a.txt", upload=True)
    waiting, going = ended(ml, configuration, "b.txt"), Execution(configuration, ml)
    held = ended(ml, configuration, upload=True)
    with open_journal(ml.session) as journal:
        held_by(ml, held, pid=1, process_start="")
        untold = ended(ml, configuration, upload=True)
        journal.move(untold.execution_rid, "Completed", "the catalog does not know")
    report = ml.gc_executions(delete_working_dir=True)
    assert report.removed == (whole.execution_rid,)
    assert (report.directories, report.bytes_freed > 0, report.errors) == (1, True, {})
    assert report.kept == {
        waiting.execution_rid: "1 file(s) are not in the catalog yet",
        going.execution_rid: "it is Pending, and has not ended",
        held.execution_rid: "process 1 is alive and may go on with it",
        untold.execution_rid: "the catalog has not been told of its end",
    }
    assert f"{going.execution_rid} stays: it is Pending" in str(report)
    assert not whole.working_dir.exists()
    assert all(run.working_dir.exists() for run in (waiting, going, held, untold))
    assert ml.lookup_execution(whole.execution_rid).status is Status.completed
    with pytest.raises(DerivaMLNotFoundError, match="this machine has nothing of it"):
        ml.resume_execution(whole.execution_rid)


def test_runs_are_forgotten_by_age_and_status_and_their_directories_stay(ml, configuration):
    done = ended(ml, configuration, upload=True)
    failed = Execution(configuration, ml)
    failed.abort()
    assert ml.gc_executions(older_than=timedelta(hours=1)).removed == ()
    assert gc_executions(ml.session, status="Aborted").removed == (failed.execution_rid,)
    later = datetime.now(UTC) + timedelta(hours=1)
    report = ml.gc_executions(older_than=later)
    assert (report.removed, report.directories) == ((done.execution_rid,), 0)
    assert done.working_dir.exists()
    assert ml.list_executions() == []


def test_a_dead_run_is_no_running_one(ml, configuration):
    execution = Execution(configuration, ml)
    execution.execution_start()
    leave(ml, execution)
    (run,) = ml.find_incomplete_executions()
    assert (run.status, run.process, run.is_running) == (Status.running, "gone", False)
    assert ml.gc_executions().removed == ()
