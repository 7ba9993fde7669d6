"""``deriva-ml-run --resume``: a run that did not complete is taken up again, or done anew where that cannot be."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest


def _only(project: Any, description: str) -> dict[str, Any]:
    [item] = [item for item in project.json() if item["record"]["description"] == description]
    return item["record"]


def _newest(project: Any) -> dict[str, Any]:
    return project.json(project.json()[0]["record"]["execution_rid"])


def _killed(project: Any, *words: str) -> str:
    """A run that is killed while its model works; its RID."""
    process = project.start("deriva-ml-run", *words)
    for _ in range(600):
        if (project.folder / "started").exists():
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return str(project.json()[0]["record"]["execution_rid"])


def test_a_killed_run_is_taken_up_again_as_the_same_run(project: Any) -> None:
    words = ["+experiment=on_images", "assets=image", "model_config.lr=0.5", "model_config.sleep=3"]
    rid = _killed(project, *words)
    first = project.json(rid)
    assert first["record"]["status"] == "Aborted"
    looked = project.run("deriva-ml-run", "--resume", rid, "dry_run=true")
    assert looked.code == 0, looked.err
    assert f"Execution {rid} is Aborted: it would be taken up again" in looked.err
    assert project.json(rid) == first
    assert f"Take it up again: deriva-ml-run --resume {rid}" in project.run("deriva-ml-show", rid).out
    before = len(project.json())
    done = project.run("deriva-ml-run", "--resume", rid)
    assert done.code == 0, done.err
    assert f"Execution {rid} was Aborted, and was taken up again" in done.err
    again = project.json(rid)
    assert len(project.json()) == before
    assert again["record"]["status"] == "Completed"
    assert again["record"]["workflow_rid"] == first["record"]["workflow_rid"]
    assert again["record"]["upload_state"] == "uploaded"
    facts = project.facts
    assert [(use["rid"], use["version"]) for use in again["input_datasets"]] == [(facts["dataset"], facts["version"])]
    assert [use["file_name"] for use in again["input_assets"]] == ["image0.txt"]
    assert [use["file_name"] for use in again["output_assets"]] == ["weights.txt"]
    names = [use["file_name"] for use in again["metadata"]]
    assert {"attempt-1.json", "configuration.json", "resources-2.json"} <= {*names}
    assert len(names) == len(set(names))


def test_a_run_that_is_killed_while_its_inputs_are_brought_is_taken_up_again(project: Any) -> None:
    content = next(path for path in project.root.glob("objects/*/*") if path.read_bytes() == b"pixels")
    kept = content.read_bytes()
    content.unlink()
    os.mkfifo(content)  # whoever reads the input waits for it
    process = project.start("deriva-ml-run", "assets=image", "model_config.lr=0.5")
    for _ in range(600):
        if [item for item in project.json() if item["record"]["status"] == "Initializing"]:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    content.unlink()
    content.write_bytes(kept)
    rid = project.json()[0]["record"]["execution_rid"]
    first = project.json(rid)
    assert (first["record"]["status"], first["metadata"]) == ("Aborted", [])
    done = project.run("deriva-ml-run", "--resume", rid)
    assert done.code == 0, done.err
    again = project.json(rid)
    assert again["record"]["status"] == "Completed"
    assert [use["file_name"] for use in again["input_assets"]] == ["image0.txt"]
    assert {"attempt-1.json", "configuration.json"} <= {use["file_name"] for use in again["metadata"]}


def test_of_two_commands_that_resume_a_run_at_once_one_does_and_the_other_is_refused(project: Any) -> None:
    rid = _killed(project, "model_config.lr=0.5", "model_config.sleep=3")
    both = [project.start("deriva-ml-run", "--resume", rid) for _ in range(2)]
    answers = [process.communicate() for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0, answers
    assert codes[1] != 0, answers
    [refused] = [err for process, (_out, err) in zip(both, answers, strict=True) if process.returncode]
    assert "works on it" in str(refused) or "is being run by" in str(refused)
    report = project.json(rid)
    assert report["record"]["status"] == "Completed"
    assert [use["file_name"] for use in report["output_assets"]] == ["weights.txt"]
    told = [use["file_name"] for use in report["metadata"] if use["file_name"].startswith("attempt-")]
    assert told == ["attempt-1.json"]


def test_a_failed_job_whose_code_is_other_by_now_is_done_anew_by_a_linked_run(project: Any) -> None:
    words = ["-m", "model_config.lr=1,2", "model_config.fail_at=2"]
    assert project.run("deriva-ml-run", *words).code == 1
    first = _only(project, "[Job 1] a test run")
    rid = first["execution_rid"]
    assert first["status"] == "Failed"
    models = project.folder / "src" / "models.py"
    models.write_text(models.read_text().replace("if lr == fail_at:", "if lr == -fail_at:"))
    refused = project.run("deriva-ml-run", "--resume", rid)
    assert (refused.code, "uncommitted" in refused.err) == (2, True)
    done = project.run("deriva-ml-run", "--allow-dirty", "--resume", rid)
    assert done.code == 0, done.err
    new = _newest(project)
    assert new["record"]["execution_rid"] != rid
    assert f"Execution {rid} is Failed and stays so; execution {new['record']['execution_rid']} does anew" in done.err
    assert "its code was other code" in done.err
    assert new["record"]["status"] == "Completed"
    [record] = [use for use in project.json(rid)["metadata"] if use["file_name"] == "configuration.json"]
    assert [use["rid"] for use in new["input_assets"]] == [record["rid"]]
    complete = new["record"]["execution_rid"]
    once_more = project.run("deriva-ml-run", "--allow-dirty", "--resume", complete)
    assert once_more.code == 0, once_more.err
    assert f"Execution {complete} is Completed and stays so" in once_more.err
    assert "it is complete" in once_more.err
    assert _newest(project)["record"]["execution_rid"] not in {rid, complete}


@pytest.mark.slow
def test_a_sweep_is_finished_under_its_parent(project: Any) -> None:
    words = ["-m", "model_config.lr=1,2,3", "model_config.sleep=2"]
    process = project.start("deriva-ml-run", *words)
    for _ in range(600):
        jobs = [item["record"] for item in project.json() if item["record"]["description"].startswith("[Job")]
        if [job for job in jobs if job["description"].startswith("[Job 1]") and job["status"] == "Running"]:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [parent] = [item["record"] for item in project.json() if item["record"]["description"].startswith("Sweep")]
    rid = parent["execution_rid"]
    assert parent["status"] == "Aborted"
    looked = project.run("deriva-ml-run", "--resume", rid, "dry_run=true")
    assert looked.code == 0, looked.err
    assert "1 completed and stay, 1 are resumed, and 1 are begun" in looked.err
    before = len(project.json())
    done = project.run("deriva-ml-run", "--resume", rid)
    assert done.code == 0, done.err
    report = project.json(rid)
    assert report["record"]["status"] == "Completed"
    children = [(part["sequence"], part["record"]["status"]) for part in report["children"]]
    assert children == [(0, "Completed"), (1, "Completed"), (2, "Completed")]
    assert len(project.json()) == before + 1
    again = project.run("deriva-ml-run", "--resume", rid)
    assert (again.code, "is Completed: all of its jobs are" in again.err) == (2, True)


def test_what_is_not_to_be_done_anew_is_refused_with_the_reason(project: Any) -> None:
    assert project.run("deriva-ml-run", "model_config.lr=1", "model_config.fail_at=1").code == 1
    rid = _only(project, "a test run")["execution_rid"]
    by_program = project.run("deriva-ml-run", "--resume", _only(project, "load")["execution_rid"])
    assert (by_program.code, "has not recorded how it was configured" in by_program.err) == (2, True)
    unknown = project.run("deriva-ml-run", "--resume", "9-ZZZZ")
    assert (unknown.code, "9-ZZZZ" in unknown.err) == (2, True)
    more = project.run("deriva-ml-run", "--resume", rid, "model_config.lr=2")
    assert (more.code, "model_config.lr=2" in more.err) == (2, True)
    before = len(project.json())
    configs = project.folder / "src" / "configs" / "all.py"
    changed = configs.read_text().replace("builds(train, ", "builds(train, sleep=0.5, ")
    configs.write_text(changed)
    other = project.run("deriva-ml-run", "--allow-dirty", "--resume", rid)
    assert other.code == 2
    assert "model_config.sleep was 0.0 and is 0.5" in other.err
    assert len(project.json()) == before


def test_files_of_the_machine_are_taken_as_they_were_and_folders_with_yaml_are_named_again(project: Any) -> None:
    extra = project.folder / "extra" / "model_config"
    extra.mkdir(parents=True)
    (extra / "slow.yaml").write_text("_target_: models.train\n_partial_: true\nlr: 7\nfail_at: 7\n")
    note = project.folder.parent / "note.txt"
    note.write_text("as it was")
    with (project.folder / "src" / "configs" / "all.py").open("a") as configs:
        configs.write(f"assets([{str(note)!r}], name='note')\n")
    words = ["-cd", "extra", "--allow-dirty"]
    done = project.run("deriva-ml-run", *words, "model_config=slow", "assets=note")
    assert done.code == 1, done.err
    first = _newest(project)
    note.unlink()
    rid = first["record"]["execution_rid"]
    without = project.run("deriva-ml-run", "--allow-dirty", "--resume", rid)
    assert (without.code, "slow" in without.err) == (2, True)
    again = project.run("deriva-ml-run", *words, "--json", "--resume", rid)
    assert again.code == 1, again.err  # it fails again, as it must
    told = json.loads(again.out)
    second = project.json(rid)
    assert rid in json.dumps(told)
    assert second["input_assets"] == first["input_assets"]
    assert second["record"]["status"] == "Failed"
    names = {use["file_name"] for use in second["metadata"]}
    assert {"traceback.txt", "traceback-2.txt", "resources.json", "resources-2.json"} <= names
