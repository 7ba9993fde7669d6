"""The journal of runs."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLExecutionError,
    DerivaMLNotFoundError,
)
from deriva_ml.workspace.journal import Journal


class Clock:
    """A clock that moves on by a second with every look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work" / "journal.db"


@pytest.fixture
def journal(path: Path) -> object:
    with Journal(path, catalog="id", catalog_id="1", now=Clock()) as opened:
        yield opened


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    program = "from deriva_ml.workspace.journal import Journal\nimport sys, time\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_run_from_beginning_to_end(journal: Journal, tmp_path: Path) -> None:
    journal.open_run("1-ABCD", directory=tmp_path, workflow="1-WFWF", status="Created")
    journal.move("1-ABCD", "Running", "go")
    journal.heartbeat("1-ABCD")
    run = journal.run("1-ABCD")
    assert (run.status, run.detail, run.workflow, run.directory) == ("Running", "go", "1-WFWF", tmp_path)
    assert run.process.pid == os.getpid()
    assert run.heartbeat > run.started
    assert run.stopped is None
    assert not run.synced
    journal.mark_synced("1-ABCD", "Running")
    assert journal.run("1-ABCD").synced
    journal.move("1-ABCD", "Completed")
    journal.set_upload("1-ABCD", "failed", "no room")
    run = journal.run("1-ABCD")
    assert (run.status, run.upload_state, run.error) == ("Completed", "failed", "no room")
    assert run.stopped is not None
    steps = [(step.what, step.detail) for step in journal.steps("1-ABCD")]
    assert steps == [("Created", ""), ("Running", "go"), ("Completed", ""), ("upload", "failed: no room")]


def test_a_status_that_was_left_in_the_meantime_is_not_called_synced(journal: Journal, tmp_path: Path) -> None:
    journal.open_run("1-ABCD", directory=tmp_path)
    journal.move("1-ABCD", "Running")
    journal.mark_synced("1-ABCD", "Created")
    assert not journal.run("1-ABCD").synced


def test_unknown_runs_are_errors_that_name_them(journal: Journal) -> None:
    for call in (
        lambda: journal.run("1-NONE"),
        lambda: journal.move("1-NONE", "Running"),
        lambda: journal.heartbeat("1-NONE"),
        lambda: journal.steps("1-NONE"),
    ):
        with pytest.raises(DerivaMLNotFoundError, match="1-NONE"):
            call()
    journal.forget("1-NONE")


def test_catalogs_that_share_a_directory_do_not_see_each_other(journal: Journal, path: Path, tmp_path: Path) -> None:
    journal.open_run("1-ABCD", directory=tmp_path)
    with Journal(path, catalog="id", catalog_id="2") as other:
        assert other.runs() == []
        other.open_run("1-ABCD", directory=tmp_path)
        other.move("1-ABCD", "Running")
    assert [run.status for run in journal.runs()] == ["Created"]


def test_a_forgotten_run_takes_its_steps_with_it(journal: Journal, path: Path, tmp_path: Path) -> None:
    journal.open_run("1-ABCD", directory=tmp_path)
    journal.forget("1-ABCD")
    assert journal.runs() == []
    journal.close()
    with sqlite3.connect(path) as sql:
        assert sql.execute("SELECT count(*) FROM step").fetchone() == (0,)
    sql.close()


def test_a_run_of_a_killed_process_is_found_dead_and_can_be_taken_over(journal: Journal, path: Path) -> None:
    code = """
        journal = Journal(sys.argv[1], catalog="id", catalog_id="1")
        journal.open_run("1-ABCD", directory="/run", status="Running")
        journal.open_run("1-DONE", directory="/run", status="Running")
        journal.move("1-DONE", "Completed")
        print("ready", flush=True)
        sys.stdin.read()
    """
    with start(code, str(path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert journal.dead_runs() == []
        with pytest.raises(DerivaMLExecutionError, match=f"is being run by process {child.pid}"):
            journal.open_run("1-ABCD", directory="/run")
        with pytest.raises(DerivaMLExecutionError, match="is being run by process"):
            journal.take_over("1-ABCD")
        assert journal.unsynced_runs() == []
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert [run.execution for run in journal.dead_runs()] == ["1-ABCD"]
    assert {run.execution for run in journal.unsynced_runs()} == {"1-ABCD", "1-DONE"}
    taken = journal.take_over("1-ABCD")
    assert (taken.status, taken.process.pid) == ("Running", os.getpid())
    assert journal.dead_runs() == []
    assert [step.what for step in journal.steps("1-ABCD")] == ["Running", "taken over"]


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    code = """
        journal = Journal(sys.argv[1], catalog="id", catalog_id="1")
        for number in range(25):
            rid = f"{sys.argv[2]}-{number:04}"
            journal.open_run(rid, directory="/run")
            journal.move(rid, "Running")
            journal.heartbeat(rid)
            journal.move(rid, "Completed")
        journal.close()
    """
    children = [start(code, str(path), name) for name in "ABCDEF"]
    for child in children:
        child.communicate()
    assert [child.returncode for child in children] == [0] * 6
    with Journal(path, catalog="id", catalog_id="1") as journal:
        runs = journal.runs()
        assert len(runs) == 150
        assert {run.status for run in runs} == {"Completed"}
        assert all(len(journal.steps(run.execution)) == 3 for run in runs)


def test_a_forked_child_uses_a_connection_of_its_own(journal: Journal, tmp_path: Path) -> None:
    import warnings

    journal.open_run("1-ABCD", directory=tmp_path)
    with warnings.catch_warnings():
        # later Pythons warn of a fork while threads are running, which those of the test runner may be
        warnings.simplefilter("ignore")
        pid = os.fork()
    if pid == 0:
        try:
            journal.heartbeat("1-ABCD")
            journal.close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    journal.move("1-ABCD", "Running")
    assert journal.run("1-ABCD").status == "Running"


def test_a_journal_of_another_format_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as sql:
        sql.execute("PRAGMA user_version = 99")
    sql.close()
    with Journal(path) as journal, pytest.raises(DerivaMLDataError, match="format 99"):
        journal.runs()


def test_a_file_that_is_no_journal_is_a_clear_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("something else " * 100)
    with Journal(path) as journal, pytest.raises(DerivaMLExecutionError, match="cannot be used"):
        journal.runs()


@pytest.mark.parametrize("way", ["a file", "a directory"])
def test_a_place_where_no_journal_can_be_is_named(tmp_path: Path, way: str) -> None:
    work = tmp_path / "work"
    if way == "a file":
        work.write_text("in the way")
    else:
        (work / "journal.db").mkdir(parents=True)
    with Journal(work / "journal.db") as journal, pytest.raises(DerivaMLConfigurationError, match=str(work)):
        journal.runs()


def test_an_end_or_a_removal_that_rests_on_old_news_is_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    seen = journal.open_run("1-ABCD", directory=tmp_path)
    journal.move("1-ABCD", "Initializing")
    assert journal.end_dead(seen, "Aborted", detail="gone", error="gone", upload_state="pending") is None
    assert not journal.forget_unchanged(seen)
    assert journal.run("1-ABCD").status == "Initializing"
    ended = journal.end_dead(
        journal.run("1-ABCD"), "Aborted", detail="gone", error="it is gone", upload_state="pending"
    )
    assert ended is not None
    assert (ended.status, ended.detail, ended.error, ended.upload_state) == ("Aborted", "gone", "it is gone", "pending")
    assert not ended.synced
    assert ended.stopped is not None
    assert journal.forget_unchanged(ended)
    assert journal.runs() == []
    assert not journal.forget_unchanged(ended)
