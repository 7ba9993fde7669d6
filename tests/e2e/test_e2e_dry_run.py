"""Dry runs as a command: for people, and for machines as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

KEYS = {"format", "ok", "exit_code", "dry_run", "offline", "sweep", "swept", "record", "jobs", "catalogs", "problems"}
JOB_KEYS = {
    "number",
    "overrides",
    "description",
    "choices",
    "model",
    "workflow",
    "datasets",
    "assets",
    "files",
    "execution",
    "status",
    "skipped",
    "record",
    "problems",
    "warnings",
}


def document(done: Any) -> Any:
    """The one document on standard output; its exit code is the command's."""
    found = json.loads(done.out)
    assert set(found) == KEYS
    assert found["format"] == 1
    assert found["exit_code"] == done.code
    assert found["ok"] is (done.code == 0)
    assert all(set(job) == JOB_KEYS for job in found["jobs"])
    return found


def test_a_plan_as_json(project: Any) -> None:
    before = project.fingerprint()
    found = document(
        project.run("deriva-ml-run", "--json", "+experiment=on_images", "assets=image", "dry_run=true", "--sizes")
    )
    assert (found["ok"], found["dry_run"], found["problems"]) == (True, "true", [])
    (job,) = found["jobs"]
    assert job["datasets"] == [{"rid": project.facts["dataset"], "version": project.facts["version"]}]
    assert job["assets"] == [project.facts["asset"]]
    assert job["model"] == "models.train"
    assert job["workflow"]["types"] == ["Training"]
    assert job["workflow"]["url"].startswith("project/blob/")
    assert job["execution"] is None
    (catalog,) = found["catalogs"]
    assert catalog["exists"] is True
    assert [(need["kind"], need["known"], need["is_cached"]) for need in catalog["inputs"]] == [
        ("dataset", "estimated", False),
        ("asset", "recorded", False),
    ]
    assert all(need["size"] > 0 for need in catalog["inputs"])
    assert all(room["free"] > room["needed"] > 0 for room in catalog["disk"])
    assert project.fingerprint() == before


def test_all_that_is_wrong_as_json(project: Any) -> None:
    words = ["datasets=no_rid", "assets=not_an_asset", "workflow=bad_type", "+model_config.epochs=3", "dry_run=true"]
    done = project.run("deriva-ml-run", "--json", *words)
    found = document(done)
    assert done.code == 2
    said = [problem["message"] for problem in found["jobs"][0]["problems"]]
    assert len(said) == 4
    for text in ("no parameter epochs", "Trainig", "1-ZZZZ", "not of type asset"):
        assert any(text in each for each in said)
    term = next(problem for problem in found["jobs"][0]["problems"] if problem["type"] == "DerivaMLInvalidTerm")
    assert "Training" in term["allowed"]
    asset = next(problem for problem in found["jobs"][0]["problems"] if "asset" in problem["message"])
    assert "assets[0] of the configuration assets=not_an_asset" in asset["source"]
    assert "4 things are wrong" in done.err


def test_a_command_that_is_not_understood_is_json_too(project: Any) -> None:
    done = project.run("deriva-ml-run", "--json", "datasets=imagse")
    found = document(done)
    assert (done.code, found["jobs"]) == (2, [])
    assert found["problems"][0]["allowed"] == ["images"]
    assert found["problems"][0]["source"] == "override datasets=imagse"


def test_a_sweep_as_json(project: Any) -> None:
    found = document(project.run("deriva-ml-run", "--json", "+multirun=rates", "dry_run=true"))
    assert found["sweep"]
    assert found["swept"] == ["model_config.lr"]
    assert [job["number"] for job in found["jobs"]] == [0, 1, 2]
    assert [job["problems"] for job in found["jobs"]] == [[], [], []]
    assert len(found["catalogs"]) == 1
    assert len(found["catalogs"][0]["inputs"]) == 1
    done = project.run("deriva-ml-run", "--json", "-m", "datasets=images,no_version,no_rid", "dry_run=true")
    found = document(done)
    assert done.code == 2
    assert [len(job["problems"]) for job in found["jobs"]] == [0, 1, 1]


def test_a_real_run_as_json_whatever_its_model_prints(project: Any) -> None:
    with (project.folder / "src" / "models.py").open("a") as out:
        out.write(
            "\n\ndef loud(*, ml_instance=None, execution=None):\n"
            "    import os\n    print('printed')\n    os.system('echo from a child')\n"
        )
    config = project.folder / "src" / "configs" / "loud.py"
    config.write_text(
        "from hydra_zen import builds, store\nfrom models import loud\n"
        "store(builds(loud, zen_partial=True), group='model_config', name='loud')\n"
    )
    done = project.run("deriva-ml-run", "--json", "--allow-dirty", "model_config=loud")
    found = document(done)
    assert done.code == 0, done.err
    assert found["jobs"][0]["status"] == "Completed"
    assert found["record"]["record"]["execution_rid"] == found["jobs"][0]["execution"]
    assert "printed" in done.err
    assert "from a child" in done.err


def test_offline_needs_no_catalog(project: Any) -> None:
    words = ["--offline", "--host", "http://127.0.0.1:1", "+experiment=on_images"]
    done = project.run("deriva-ml-run", *words)
    assert done.code == 0, done.err
    assert "Not checked" in done.out
    assert "datasets and their versions" in done.out
    assert document(project.run("deriva-ml-run", "--json", *words))["catalogs"][0]["exists"] is None
    assert project.run("deriva-ml-run", *words, "model_config=no_execution").code == 2
    assert project.run("deriva-ml-run", *words, "-m", "model_config.lr=1,2").code == 0


def test_a_catalog_that_is_away_has_its_own_code(project: Any) -> None:
    done = project.run("deriva-ml-run", "--json", "--host", "http://127.0.0.1:1", "dry_run=true")
    assert done.code == 5
    assert document(done)["problems"][0]["type"] == "DerivaMLUnreachable"


@pytest.mark.parametrize("word", ["dry_run=1", "dry_run=yes", "dry_run=True"])
def test_every_form_of_true_is_a_dry_run_of_changed_code_too(project: Any, word: str) -> None:
    with (project.folder / "src" / "models.py").open("a") as out:
        out.write("# more\n")
    before = project.fingerprint()
    done = project.run("deriva-ml-run", word)
    assert done.code == 0, done.err
    assert "A real run needs a commit" in done.err
    assert project.fingerprint() == before


def test_the_whole_way_leaves_the_catalog_byte_for_byte(project: Any) -> None:
    def catalog() -> dict[str, bytes]:
        return {name: held for name, held in project.fingerprint().items() if name.startswith(str(project.root))}

    before = catalog()
    done = project.run("deriva-ml-run", "+experiment=on_images", "assets=image", "dry_run=full")
    assert done.code == 0, done.err
    assert "in a copy of the catalog" in done.out
    assert "weights.txt" in done.out
    assert "Image.Score" in done.out
    assert str(project.root) in done.out
    assert "deriva-ml-show" not in done.out
    found = document(project.run("deriva-ml-run", "--json", "+multirun=rates", "dry_run=full"))
    assert found["ok"]
    assert [job["status"] for job in found["jobs"]] == ["Completed"] * 3
    assert len(found["record"]["children"]) == 3
    failing = project.run("deriva-ml-run", "model_config.lr=2", "model_config.fail_at=2", "dry_run=full")
    assert failing.code == 1
    assert "diverged" in failing.err
    assert catalog() == before
    assert not any("hydra" in name for name in project.fingerprint())
