"""A reader that leaves, and a signal that ends a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

LONG = """
import sys
from deriva_ml.cli.errors import guarded

def command():
    for number in range(100_000):
        print("line", number)
    print("done", file=sys.stderr)
    return 4

sys.exit(guarded(command))
"""

WAIT = """
import os, signal, sys
from deriva_ml.cli.errors import guarded

def command():
    child = os.fork()
    if not child:
        os.kill(os.getpid(), signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return 0

sys.exit(guarded(command))
"""

EXIT = "import sys; from deriva_ml.cli.errors import guarded; sys.exit(guarded(lambda: sys.exit(0)))"


def test_a_reader_that_leaves_changes_neither_the_work_nor_the_code() -> None:
    process = subprocess.Popen([sys.executable, "-c", LONG], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as err:
        assert err.read() == "done\n"
    assert process.wait(timeout=30) == 4


def test_a_termination_is_an_interruption_and_forked_processes_end_as_ever() -> None:
    done = subprocess.run([sys.executable, "-c", WAIT], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (143, "-15\n")
    assert done.stderr == "Terminated (SIGTERM).\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    script = "from deriva_ml.cli.errors import guarded; import sys; sys.exit(guarded(lambda: sys.stdout.flush() or 3))"
    done = subprocess.run(f'"{sys.executable}" -c "{script}" {closed}', shell=True, check=False, timeout=30)
    assert done.returncode == 3


def test_a_program_that_exits_before_its_end_has_not_succeeded() -> None:
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "sys.exit(0)" in done.stderr
