"""A process killed at any moment of a run: one look at the journal, and the catalog is as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLExecutionError, DerivaMLNotFoundError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.finishing import commit_run
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.recovery import incomplete_runs, reconcile_dead_runs
from deriva_ml.execution.report import describe
from deriva_ml.execution.resume import restore_execution
from deriva_ml.wire.path import table

STEP = int(os.environ.get("DERIVA_ML_TEST_STEP", "8"))
"""Of the points at which a process writes a file, every so many are tried, and more of its requests; 1 tries all."""

SCRIPT = '''
import os, signal, sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, sys.argv[5])
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML
from tests.fakes import Counting

root, model, point, when = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


class Deadly(Counting):
    """Ends the process before or after a request."""

    def send(self, request):
        number = len(self.requests)
        if number == point and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = super().send(request)
        answer.read()
        if number == point and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


ml = DerivaML(root, 1)
ml.session.model()
transport = Deadly(ml.connection.transport)
session = replace(
    ml.session,
    catalog=type(ml.session.catalog)(transport, "1"),
    objects=type(ml.session.objects)(transport),
)
workflow = Workflow(name="Test", workflow_type="Training").resolve(model)
writes = []


def note_writes(event, arguments):
    """Ends the process before it opens, makes, renames or removes a file."""
    if event == "open" and isinstance(arguments[2], int) and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return
    if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.truncate", "sqlite3.connect", "fcntl.flock"):
        writes.append(event)
        if len(writes) == point and when == "write":
            os.kill(os.getpid(), signal.SIGKILL)


if when == "write":
    sys.addaudithook(note_writes)
configuration = ExecutionConfiguration(workflow=workflow, description="killed", argv=["run"])
execution = Execution(configuration, session)
with execution:
    for name in ("one.txt", "two.txt"):
        execution.asset_file_path("Execution_Asset", name, asset_types="Model_File").write_text(name)
    score = ml.feature_record_class("Subject", "Score")
    subjects = [row["RID"] for row in ml.get_table_as_dict("Subject")]
    execution.add_features(score(Subject=rid, Value=0.5) for rid in subjects)
    if when == "running":
        os.kill(os.getpid(), signal.SIGKILL)
execution.upload_execution_outputs()
print("requests", transport.count, "writes", len(writes))
'''


def run_until(point: int, when: str, root: Path, project: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parents[2]
    arguments = [str(script), str(root), str(project / "src" / "model.py"), str(point), when, str(here)]
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def check_as_if_nothing_had_happened(ml):
    """Look at the journal, upload what is left, twice; then look at everything."""
    for _ in range(2):
        reconcile_dead_runs(ml)
        for item in incomplete_runs(ml):
            assert not item.is_running
            assert commit_run(ml, item.run.execution).complete
    assert incomplete_runs(ml) == []
    rows = ml.session.catalog.rows(table("deriva-ml", "Execution"))
    assert len(rows) <= 1
    for row in rows:
        report = describe(ml, str(row["RID"]))
        assert report.record.status in {Status.aborted, Status.completed}
        assert report.record.description == "killed"
        if report.record.status is Status.aborted:
            assert "is gone. It was" in report.record.status_detail
        names = [use.file_name for use in report.output_assets]
        values = sum(use.count for use in report.features)
        # what the model had registered before the process was killed, and all of it if the model had ended
        assert names in ([], ["one.txt"], ["one.txt", "two.txt"])
        assert values in (0, 3)
        kinds = {"Model_File"} | ({"Partial"} if report.record.status is Status.aborted else set())
        assert all(set(use.types) == kinds for use in report.output_assets)
        described = [use.file_name.partition("_2")[0] for use in report.metadata]
        assert len(described) == len(set(described))
        if report.record.status is Status.completed:
            assert (len(names), values) == (2, 3)
            assert report.record.start_time <= report.record.stop_time
            assert report.record.duration
            assert report.record.upload_state == "uploaded"
    for name in ("Execution_Asset", "Execution_Metadata"):
        kept = ml.session.catalog.rows(table("deriva-ml", name))
        links = ml.session.catalog.rows(table("deriva-ml", f"{name}_Execution"))
        assert {row["RID"] for row in kept} == {row[name] for row in links}
        assert len(kept) == len(links)
    with open_journal(ml.session) as journal:
        assert journal.dead_runs() == []
        assert journal.unsynced_runs() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", range(0, 36, max(1, STEP // 4)))
def test_a_run_killed_at_a_request_is_found_and_finished(world, project, tmp_path, point, when):
    done = run_until(point, when, Path(world.ml.host_name), project, tmp_path)
    if done.returncode == 0:
        _, requests, _, writes = done.stdout.split()
        assert point >= int(writes if when == "write" else requests)
    else:
        assert done.returncode == -signal.SIGKILL, done.stderr
    check_as_if_nothing_had_happened(world.ml)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", range(1, 121, STEP))
def test_a_run_killed_at_a_write_is_found_and_finished(world, project, tmp_path, point):
    test_a_run_killed_at_a_request_is_found_and_finished(world, project, tmp_path, point, "write")


def test_a_run_killed_while_the_model_runs_keeps_what_it_registered(world, project, tmp_path):
    done = run_until(0, "running", Path(world.ml.host_name), project, tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    ml = world.ml
    (row,) = ml.session.catalog.rows(table("deriva-ml", "Execution"))
    assert row["Status"] == "Running"
    (dead,) = reconcile_dead_runs(ml)
    assert dead.execution == row["RID"]
    report = describe(ml, dead.execution)
    assert report.record.status is Status.aborted
    assert f"process {dead.process.pid} on {dead.process.host} is gone. It was Running" in report.record.status_detail
    (left,) = incomplete_runs(ml)
    assert (left.assets, left.features) == (2, 1)
    assert restore_execution(ml).execution_rid == dead.execution
    check_as_if_nothing_had_happened(ml)
    assert len(describe(ml, dead.execution).output_assets) == 2


def test_a_run_whose_row_was_never_made_gets_one(ml, configuration):
    with open_journal(ml.session) as journal:
        (rid,) = ml.session.catalog.lease_rids(1)
        workflow = ml.add_workflow(configuration.workflow)
        pid = dead_process()
        journal.open_run(rid, directory=ml.working_dir / "nowhere", workflow=workflow)
        pretend_dead(journal, rid, pid)
    (ended,) = reconcile_dead_runs(ml)
    assert ended.execution == rid
    record = ml.lookup_execution(rid)
    assert (record.status, record.workflow_rid) == (Status.aborted, workflow)
    assert reconcile_dead_runs(ml) == []


def dead_process() -> int:
    """The pid of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def pretend_dead(journal, rid, pid):
    """Make the journal say that another process, which has ended, began a run."""
    import sqlite3

    journal.close()
    with sqlite3.connect(journal.path) as sql:
        sql.execute("UPDATE run SET pid = ?, process_start = '1' WHERE execution = ?", (pid, rid))
    sql.close()


def test_a_living_run_is_left_alone(ml, configuration):
    execution = Execution(configuration, ml)
    execution.execution_start()
    assert reconcile_dead_runs(ml) == []
    execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    (left,) = incomplete_runs(ml)
    assert left.is_running
    with pytest.raises(DerivaMLExecutionError, match="has not ended"):
        commit_run(ml, execution.execution_rid)
    execution._ledger.journal.close()


def test_a_status_that_the_catalog_missed_is_told_later(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        pass
    rid = execution.execution_rid
    ml.session.catalog.update("deriva-ml", "Execution", [{"RID": rid, "Status": "Running"}])
    with open_journal(ml.session) as journal:
        journal.move(rid, "Completed", "told late")
        pretend_dead(journal, rid, dead_process())
    assert reconcile_dead_runs(ml) == []
    record = ml.lookup_execution(rid)
    assert (record.status, record.status_detail) == (Status.completed, "told late")


def test_the_start_that_the_catalog_missed_is_that_of_the_model_however_often_it_told_its_status(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        for epoch in range(3):
            execution._ledger.move(Status.running, f"epoch {epoch}")  # as told by a model, a second apart
            time.sleep(0.01)
    with open_journal(ml.session) as journal:
        first = next(step.at for step in journal.steps(execution.execution_rid) if step.what == "Running")
        journal.set_upload(execution.execution_rid, "none")  # which the catalog is still to be told
    blank = {"RID": execution.execution_rid, "Status": "Running", "Start_Time": None, "Stop_Time": None}
    ml.session.catalog.update("deriva-ml", "Execution", [blank])
    reconcile_dead_runs(ml)
    record = ml.lookup_execution(execution.execution_rid)
    assert record.start_time is not None
    assert record.start_time.isoformat(timespec="milliseconds") == first
    assert record.status is Status.completed


def test_an_end_that_the_catalog_knows_is_not_overwritten(ml, configuration):
    execution = Execution(configuration, ml)
    rid = execution.execution_rid
    ml.session.catalog.update("deriva-ml", "Execution", [{"RID": rid, "Status": "Completed"}])
    with open_journal(ml.session) as journal:
        pretend_dead(journal, rid, dead_process())
    reconcile_dead_runs(ml)
    assert ml.lookup_execution(rid).status is Status.completed


def test_the_end_of_an_earlier_attempt_is_overwritten_by_that_of_a_later_one_which_the_catalog_missed(
    ml, configuration
):
    execution = Execution(configuration, ml)
    execution.abort()
    rid = execution.execution_rid
    with open_journal(ml.session) as journal:
        journal.take_up(journal.run(rid), "Initializing")
        for status in ("Pending", "Running", "Completed"):
            journal.move(rid, status, "told late")
        pretend_dead(journal, rid, dead_process())
    assert ml.lookup_execution(rid).status is Status.aborted
    assert reconcile_dead_runs(ml) == []
    record = ml.lookup_execution(rid)
    assert (record.status, record.status_detail) == (Status.completed, "told late")
    assert None not in (record.start_time, record.stop_time, record.duration)


def test_the_next_run_finds_the_dead_ones(ml, configuration):
    left = Execution(configuration, ml)
    left.execution_start()
    left._ledger.journal.close()
    with open_journal(ml.session) as journal:
        pretend_dead(journal, left.execution_rid, dead_process())
    Execution(configuration, ml)
    assert ml.lookup_execution(left.execution_rid).status is Status.aborted


def test_without_a_journal_nothing_is_asked_and_nothing_made(ml):
    assert reconcile_dead_runs(ml) == []
    assert incomplete_runs(ml) == []
    assert not (ml.working_dir / "journal.db").exists()


def test_outputs_of_another_machine_cannot_be_uploaded_here(ml):
    with pytest.raises(DerivaMLNotFoundError, match="This machine has no outputs of execution 1-ABCD"):
        commit_run(ml, "1-ABCD")


def test_the_upload_can_be_done_by_two_at_once(world, project, tmp_path):
    assert run_until(0, "running", Path(world.ml.host_name), project, tmp_path).returncode == -signal.SIGKILL
    (dead,) = reconcile_dead_runs(world.ml)
    code = (
        "import sys\nfrom deriva_ml.ml import DerivaML\nfrom deriva_ml.execution.finishing import commit_run\n"
        "ml = DerivaML(sys.argv[1], 1)\nreport = commit_run(ml, sys.argv[2])\nassert report.complete, report.errors()\n"
    )
    command = [sys.executable, "-c", code, world.ml.host_name, dead.execution]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    refused = [text for text in errors if text]
    assert all("is being run by process" in text for text in refused)
    check_as_if_nothing_had_happened(world.ml)
