"""A run whose process is killed: what is recorded of it, and how its outputs are brought in."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest


def _wait_until_the_model_works(project: Any, process: Any) -> None:
    started = project.folder / "started"
    for _ in range(600):
        if started.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the model did not start")


def test_a_killed_run_is_found_dead_and_its_outputs_are_uploaded(project: Any) -> None:
    process = project.start("deriva-ml-run", "model_config.sleep=60")
    _wait_until_the_model_works(project, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [item] = [item for item in project.json() if item["record"]["description"] != "load"]
    record = item["record"]
    assert record["status"] == "Aborted"
    assert "is gone" in record["status_detail"]
    assert record["upload_state"] == "pending"
    assert "Aborted (upload pending)" in project.run("deriva-ml-show").out
    shown = project.run("deriva-ml-show", record["execution_rid"]).out
    assert f"wait on this machine: deriva-ml-upload --execution {record['execution_rid']}" in shown
    done = project.run("deriva-ml-upload")
    assert done.code == 0, done.err
    assert record["execution_rid"] in done.out
    report = project.json(record["execution_rid"])
    assert [asset["file_name"] for asset in report["output_assets"]] == ["weights.txt"]
    assert report["record"]["upload_state"] == "uploaded"
    again = project.run("deriva-ml-upload")
    assert (again.code, "Nothing to upload" in again.out) == (0, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_aborted_and_keeps_its_outputs(project: Any, number: int, code: int) -> None:
    process = project.start("deriva-ml-run", "model_config.sleep=60")
    _wait_until_the_model_works(project, process)
    process.send_signal(number)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in err
    [item] = [item for item in project.json() if item["record"]["description"] != "load"]
    assert item["record"]["status"] == "Aborted"


def test_a_killed_sweep_does_not_stay_running(project: Any) -> None:
    process = project.start("deriva-ml-run", "-m", "model_config.sleep=60", "model_config.lr=1,2")
    _wait_until_the_model_works(project, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = [item for item in project.json() if item["record"]["description"] != "load"]
    assert [item["record"]["status"] for item in found] == ["Aborted", "Aborted"]
    assert [item["jobs"] for item in found if item["jobs"]] == [1]


def test_an_interrupted_sweep_is_aborted_with_the_job_at_work(project: Any) -> None:
    process = project.start("deriva-ml-run", "-m", "model_config.sleep=60", "model_config.lr=1,2")
    _wait_until_the_model_works(project, process)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    found = [item for item in project.json() if item["record"]["description"] != "load"]
    assert [item["record"]["status"] for item in found] == ["Aborted", "Aborted"]
