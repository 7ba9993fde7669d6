"""Whether a process is still there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from deriva_ml.workspace.evidence import ProcessMark, Sign

CHILD = """
import sys, time
from dataclasses import asdict
import json
from deriva_ml.workspace.evidence import ProcessMark
print(json.dumps(asdict(ProcessMark.current())), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> object:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def mark_of(process: subprocess.Popen[bytes]) -> ProcessMark:
    import json

    assert process.stdout is not None
    return ProcessMark(**json.loads(process.stdout.readline()))


def test_this_process_is_alive() -> None:
    mark = ProcessMark.current()
    assert mark.pid == os.getpid()
    assert mark.sign() is Sign.alive


def test_a_killed_process_is_gone_even_before_its_parent_takes_notice(child: subprocess.Popen[bytes]) -> None:
    mark = mark_of(child)
    assert mark.sign() is Sign.alive
    child.send_signal(signal.SIGKILL)
    # it is a zombie until it is waited for
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert mark.sign() is Sign.gone
    child.wait()
    assert mark.sign() is Sign.gone


def test_a_stopped_process_is_alive(child: subprocess.Popen[bytes]) -> None:
    mark = mark_of(child)
    child.send_signal(signal.SIGSTOP)
    assert mark.sign() is Sign.alive


def test_another_process_with_the_same_pid_is_another_one() -> None:
    assert replace(ProcessMark.current(), started="1").sign() is Sign.gone


def test_what_ran_before_the_machine_was_restarted_is_gone() -> None:
    assert replace(ProcessMark.current(), boot="00000000-0000-0000-0000-000000000000").sign() is Sign.gone


@pytest.mark.parametrize(
    "elsewhere", [{"host": "another", "boot": "another"}, {"namespace": "pid:[1]"}, {"boot": "", "host": "another"}]
)
def test_what_cannot_be_seen_from_here_is_unknown(elsewhere: dict[str, str]) -> None:
    assert replace(ProcessMark.current(), **elsewhere, pid=2**22 + 1).sign() is Sign.unknown


def test_where_the_system_tells_no_start_times_a_missing_pid_is_evidence() -> None:
    here = ProcessMark.current()
    assert replace(here, started="").sign() is Sign.alive
    assert replace(here, started="", pid=2**22 + 1).sign() is Sign.gone
