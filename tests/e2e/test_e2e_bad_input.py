"""Every mistake gets a message of a few lines that names it, and its exit code; nothing is recorded."""

from __future__ import annotations

from typing import Any

import pytest

MISTAKES = [
    (["--config-name", "deriva_modle"], "no main configuration 'deriva_modle'", "deriva_model"),
    (["+experiment=on_image"], "experiment has no configuration 'on_image'", "on_images"),
    (["datasets=imagse"], "datasets has no configuration 'imagse'", "images"),
    (["model_config.lrr=1"], "model_config has no 'lrr'", "lr"),
    (["modle_config.lr=1"], "has no 'modle_config'", "model_config"),
    (["dry_run=perhaps"], "'perhaps'", "dry_run=perhaps"),
    (["datasets=no_rid"], "RID not found in the catalog: 1-ZZZZ", "datasets[0]"),
    (["datasets=no_version"], "has no version 9.9.9", "0.2.0"),
    (["datasets=not_a_dataset"], "is not a dataset, but a record of toy:Image", "assets"),
    (["datasets=bad_rid"], "'not a rid' is not a RID, such as 1-ABCD", "datasets"),
    (["assets=not_an_asset"], "is not of type asset", "assets[0]"),
    (["workflow=bad_type"], "Invalid term Trainig", "Training"),
    (["model_config=no_execution"], "does not take the keyword execution", "execution=None"),
    (["+model_config.epochs=3"], "has no parameter epochs", "fail_at, lr, sleep"),
    (["+multirun=rate"], "no named sweep 'rate'", "rates"),
    (["model_config.ml_instanc=1"], "model_config has no 'ml_instanc'", "allowed: fail_at, lr, sleep"),
    (["+deriva_ml.hostnam=/nowhere"], "DerivaMLConfig has no 'hostnam'", "hostname"),
    (["+workflow.descrption=abc"], "Workflow has no 'descrption'", "description"),
    (["model_config=null"], "nothing is chosen in it", "model_config=NAME"),
    (["workflow=null"], "nothing is chosen in it", "default_workflow"),
    (["deriva_ml=[]"], "nothing is chosen in it", "default_deriva"),
    (["datasets=null"], "nothing is chosen in it", "datasets=[]"),
    (["model_config.lr=1,2"], "several values", "--multirun"),
    (["--host", "./src"], "not a catalog", "src"),
    (["--host", "/no/such/folder"], "no catalog folder at /no/such/folder", "create-demo-catalog"),
    (["--catalog", "77"], "no catalog 77", "77"),
    (["lr"], "Cannot read the override 'lr'", "key=value"),
    (["--no-such-flag"], "no flag --no-such-flag", "--help"),
    (["--config-dir", "nowhere"], "Config directory not found", "nowhere"),
]


@pytest.mark.parametrize(("words", "said", "also"), MISTAKES, ids=[" ".join(words) for words, _, _ in MISTAKES])
def test_a_mistake_is_named_and_costs_nothing(project: Any, words: list[str], said: str, also: str) -> None:
    before = project.fingerprint()
    done = project.run("deriva-ml-run", *words)
    assert done.code == 2, done.out + done.err
    assert said in done.err
    assert also in done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) <= 10, done.err
    assert {name for name in project.fingerprint() if "hydra" not in name} == set(before)
    assert project.fingerprint() == before


def test_a_catalog_that_cannot_be_reached_has_a_code_of_its_own(project: Any) -> None:
    done = project.run("deriva-ml-run", "--host", "http://127.0.0.1:1")
    assert done.code == 5, done.err
    assert "127.0.0.1:1" in done.err
    assert len(done.err.splitlines()) <= 10, done.err


@pytest.mark.parametrize(
    ("content", "said"),
    [("import no_such_thing\n", "No module named 'no_such_thing'"), ("x = (\n", "SyntaxError")],
)
def test_a_configuration_module_that_cannot_be_imported_is_named(project: Any, content: str, said: str) -> None:
    file = project.folder / "src" / "configs" / "broken.py"
    file.write_text(content)
    done = project.run("deriva-ml-run")
    assert done.code == 2
    assert said in done.err
    assert f"{file}:1" in done.err


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("deriva-ml-show", ["1-ZZZZ"], "1-ZZZZ"),
        ("deriva-ml-show", ["--catalog", "77"], "no catalog 77"),
        ("deriva-ml-upload", ["--execution", "1-ZZZZ"], "1-ZZZZ"),
        ("deriva-ml-upload", ["--host", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_other_commands_name_a_mistake_too(project: Any, command: str, words: list[str], said: str) -> None:
    done = project.run(command, *words)
    assert done.code == 2, done.out + done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_an_empty_list_means_no_inputs(project: Any) -> None:
    done = project.run("deriva-ml-run", "+experiment=on_images", "datasets=[]", "assets=[]", "dry_run=true")
    assert done.code == 0, done.err
    assert "Dataset" not in done.out
