"""``deriva-ml-run --resume``: what a run was to do that failed is done anew, as it was configured, as a new run."""

from __future__ import annotations

import json
import signal
import time
from typing import Any


def _only(project: Any, description: str) -> dict[str, Any]:
    [item] = [item for item in project.json() if item["record"]["description"] == description]
    return item["record"]


def _newest(project: Any) -> dict[str, Any]:
    return project.json(project.json()[0]["record"]["execution_rid"])


def test_a_killed_run_is_done_anew_with_its_configuration_and_inputs(project: Any) -> None:
    words = ["+experiment=on_images", "assets=image", "model_config.lr=0.5", "model_config.sleep=3"]
    process = project.start("deriva-ml-run", *words)
    for _ in range(600):
        if (project.folder / "started").exists():
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = _only(project, "Use {images}")
    done = project.run("deriva-ml-run", "--resume", first["execution_rid"])
    assert done.code == 0, done.err
    again = _newest(project)
    rid = again["record"]["execution_rid"]
    assert rid != first["execution_rid"]
    assert f"Execution {first['execution_rid']} is Aborted and stays so; execution {rid} does anew" in done.err
    assert "with other code" not in done.err
    assert again["record"]["status"] == "Completed"
    assert again["record"]["workflow_rid"] == first["workflow_rid"]
    facts = project.facts
    assert [(use["rid"], use["version"]) for use in again["input_datasets"]] == [(facts["dataset"], facts["version"])]
    inputs = {use["file_name"]: use["rid"] for use in again["input_assets"]}
    assert sorted(inputs) == ["configuration.json", "image0.txt"]
    earlier = project.json(first["execution_rid"])
    assert earlier["record"]["status"] == "Aborted"
    [record] = [use for use in earlier["metadata"] if use["file_name"] == "configuration.json"]
    assert inputs["configuration.json"] == record["rid"]
    assert [use["file_name"] for use in again["output_assets"]] == ["weights.txt"]


def test_a_failed_job_of_a_sweep_is_done_anew_with_other_code_which_is_said(project: Any) -> None:
    words = ["-m", "model_config.lr=1,2", "model_config.fail_at=2"]
    assert project.run("deriva-ml-run", *words).code == 1
    first = _only(project, "[Job 1] a test run")
    assert first["status"] == "Failed"
    models = project.folder / "src" / "models.py"
    models.write_text(models.read_text().replace("if lr == fail_at:", "if lr == -fail_at:"))
    refused = project.run("deriva-ml-run", "--resume", first["execution_rid"])
    assert (refused.code, "uncommitted" in refused.err) == (2, True)
    done = project.run("deriva-ml-run", "--allow-dirty", "--resume", first["execution_rid"])
    assert done.code == 0, done.err
    assert "with other code than it" in done.err
    assert _newest(project)["record"]["status"] == "Completed"


def test_what_is_not_to_be_done_anew_is_refused_with_the_reason(project: Any) -> None:
    assert project.run("deriva-ml-run", "model_config.lr=1", "model_config.fail_at=1").code == 1
    rid = _only(project, "a test run")["execution_rid"]
    whole = project.run("deriva-ml-run", "--resume", _only(project, "load")["execution_rid"])
    assert (whole.code, "is Completed: there is nothing to do anew" in whole.err) == (2, True)
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
    second = _newest(project)
    assert second["record"]["execution_rid"] in json.dumps(told)
    assert second["record"]["execution_rid"] != rid
    [before] = first["input_assets"]
    files = {use["file_name"]: use["rid"] for use in second["input_assets"]}
    assert files["note.txt"] == before["rid"]
