"""What a child leaves behind at its end is waited for, ended and named; what it left open is not lost."""

from __future__ import annotations

import gzip
import time
import zipfile
from pathlib import Path

import pytest

from deriva_ml.isolate import Limits, Outcome
from deriva_ml.isolate.supervisor import STDOUT
from tests.isolate.conftest import is_gone, wait_until


def test_pools_without_work_are_no_threads_and_processes_that_were_left_behind(run):
    start = time.monotonic()
    verdict = run("leaves_pools", limits=Limits(grace=20))
    assert (verdict.value, verdict.notes) == ([3, 3], ())
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_helpers_of_multiprocessing_end_by_themselves(run, way):
    verdict = run("uses_processes", way=way)
    assert (verdict.value, verdict.notes) == (3, ())


def test_a_process_of_multiprocessing_is_waited_for_and_then_ended(run):
    verdict = run("leaves_library_process", limits=Limits(grace=0.5))
    assert verdict.outcome is Outcome.completed
    assert verdict.notes == ("a process was left behind, and ended: worker-7",)


def test_what_was_started_a_moment_before_the_end_in_a_session_of_its_own_is_ended_too(run):
    for _ in range(5):
        verdict = run("starts_a_session")
        assert verdict.outcome is Outcome.completed
        assert wait_until(lambda pid=verdict.value: is_gone(pid), 5)
        (note,) = verdict.notes
        assert note.startswith("a process was left behind, and ended: ")


@pytest.mark.parametrize(("seconds", "then"), [(0, ""), (0.5, "falls")])
def test_a_process_that_wanted_to_be_a_daemon_is_ended_too(run, tmp_path, seconds, then):
    verdict = run("daemonises", seconds=seconds, then=then)
    assert verdict.outcome is (Outcome.failed if then else Outcome.completed)
    (note,) = verdict.notes
    assert note.startswith("a process was left behind, and ended: ")
    assert wait_until(lambda: is_gone(int((tmp_path / "left.pid").read_text())), 5)


@pytest.mark.parametrize("then", ["", "raises"])
def test_files_that_were_left_open_are_whole_and_temporary_ones_gone(run, tmp_path: Path, then):
    verdict = run("leaves_files_open", then=then)
    assert verdict.outcome is (Outcome.failed if then else Outcome.completed)
    assert (tmp_path / "plain.txt").read_text() == "text"
    assert gzip.decompress((tmp_path / "packed.gz").read_bytes()) == b"packed"
    assert zipfile.ZipFile(tmp_path / "archive.zip").read("name") == b"content"
    assert list(tmp_path.glob("temporary-*")) == []


def test_what_native_code_has_not_yet_printed_is_not_lost(run, tmp_path):
    run("prints_from_c")
    assert (tmp_path / STDOUT).read_bytes() == b"from C\n"


def test_a_child_without_room_for_files_ends_well(run):
    assert run("has_few_files").value == "done"
