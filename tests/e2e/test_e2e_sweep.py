"""Sweeps: one parent, its children in sequence, whatever becomes of them."""

from __future__ import annotations

from typing import Any

RATES = "# Rates ${ 'x' \\ \"y\"\nthree of them"


def _runs(project: Any) -> tuple[list[Any], list[Any]]:
    """The sweeps and their jobs, the newest first, without the run that loaded the data."""
    found = [item for item in project.json() if item["record"]["description"] != "load"]
    return [item for item in found if item["jobs"]], [item for item in found if not item["jobs"]]


def test_a_named_sweep_has_a_parent_and_its_jobs_in_sequence(project: Any) -> None:
    done = project.run("deriva-ml-run", "+multirun=rates")
    assert done.code == 0, done.err
    [parent], jobs = _runs(project)
    assert (parent["jobs"], len(jobs)) == (3, 3)
    report = project.json(parent["record"]["execution_rid"])
    assert report["record"]["description"] == RATES
    assert report["record"]["status"] == "Completed"
    assert [child["sequence"] for child in report["children"]] == [0, 1, 2]
    assert [child["record"]["description"] for child in report["children"]] == [
        f"[Job {number}] Use {{images}}" for number in range(3)
    ]
    assert {child["record"]["status"] for child in report["children"]} == {"Completed"}
    assert "sweep.json" in [asset["file_name"] for asset in report["metadata"]]
    assert not [asset for asset in report["metadata"] if asset["file_name"].startswith("hydra-")]
    child = project.json(report["children"][1]["record"]["execution_rid"])
    assert [use["rid"] for use in child["input_datasets"]] == [project.facts["dataset"]]
    assert [parent["record"]["execution_rid"] for parent in child["parents"]] == [report["record"]["execution_rid"]]
    assert "sweep of 3: Rates" in project.run("deriva-ml-show").out


def test_a_failing_job_stops_no_other_and_fails_the_sweep(project: Any) -> None:
    done = project.run("deriva-ml-run", "--multirun", "model_config.lr=1,2,3", "model_config.fail_at=2")
    assert done.code == 1, done.err
    assert "diverged at lr=2.0" in done.err
    assert "Traceback" not in done.err
    assert "Error executing job" not in done.err
    [parent], jobs = _runs(project)
    assert sorted(job["record"]["status"] for job in jobs) == ["Completed", "Completed", "Failed"]
    assert parent["record"]["status"] == "Failed"
    assert "1 of 3 jobs failed or were not started: 1" in parent["record"]["status_detail"]


def test_fail_fast_starts_no_job_after_a_failure(project: Any) -> None:
    done = project.run("deriva-ml-run", "-m", "--fail-fast", "model_config.lr=1,2,3", "model_config.fail_at=1")
    assert done.code == 1, done.err
    assert [line.split()[-1] for line in done.out.splitlines() if line.endswith("not started")] == ["started"] * 2
    [parent], jobs = _runs(project)
    assert [job["record"]["status"] for job in jobs] == ["Failed"]
    assert parent["record"]["status"] == "Failed"


def test_two_sweeps_started_at_the_same_moment_do_not_meet(project: Any) -> None:
    words = ["--multirun", "model_config.sleep=0.2", "model_config.lr=1,2"]
    pair = [project.start("deriva-ml-run", *words) for _ in range(2)]
    for process in pair:
        _out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    parents, jobs = _runs(project)
    assert (len(parents), len(jobs)) == (2, 4)
    children = []
    for parent in parents:
        report = project.json(parent["record"]["execution_rid"])
        assert [child["sequence"] for child in report["children"]] == [0, 1]
        children += [child["record"]["execution_rid"] for child in report["children"]]
    assert len(set(children)) == 4


def test_a_sweep_of_which_one_job_cannot_be_composed_leaves_no_trace(project: Any) -> None:
    before = project.fingerprint()
    done = project.run("deriva-ml-run", "--multirun", "model_config.lr=1,two")
    assert done.code == 2
    assert "model_config.lr=two" in done.err
    assert project.fingerprint() == before


def test_a_job_that_is_refused_is_told_apart(project: Any) -> None:
    done = project.run("deriva-ml-run", "--multirun", "datasets=default_dataset,no_version")
    assert done.code == 1
    assert "refused" in done.out
    assert "has no version 9.9.9" in done.err
    [parent], jobs = _runs(project)
    assert [job["record"]["status"] for job in jobs] == ["Completed"]
    assert parent["record"]["status"] == "Failed"


def test_a_secret_in_an_override_is_nowhere_in_clear(project: Any) -> None:
    words = ["model_config.lr=1,2", "model_config.fail_at=2", "deriva_ml.credential={password:hunter2hunter2}"]
    done = project.run("deriva-ml-run", "-m", *words)
    assert "hunter2" not in done.out + done.err
    single = project.run("deriva-ml-run", *words[1:])
    assert "hunter2" not in single.out + single.err
    assert [name for name, content in project.fingerprint().items() if b"hunter2" in content] == []
