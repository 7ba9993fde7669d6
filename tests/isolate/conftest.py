"""Children in both ways in which they come to be."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from deriva_ml.isolate import Job, Limits, copy_process, run_isolated

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(params=["new", "copy"])
def run(tmp_path, request):
    """Runs one of the models in a child: in a new interpreter, and in a copy of this process."""

    def call(name: str, /, *, limits: Limits | None = None, environ=None, beat: float = 0.1, **options):
        arguments = {
            key: options.pop(key)
            for key in list(options)
            if key not in {"handlers", "observer", "cancel", "echo", "veil"}
        }
        limits = limits or Limits(wall=60, grace=1)
        job = Job(f"tests.isolate.models:{name}", tmp_path, arguments, limits, [ROOT, *sys.path], environ or {}, beat)
        if request.param == "copy":
            options["started"] = copy_process()
        return run_isolated(job, **options)

    return call


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def wait_until(condition, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False
