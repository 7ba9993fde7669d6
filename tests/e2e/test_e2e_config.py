"""From configuration modules to what is recorded: how often is composed, descriptions of any text, what is listed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from deriva_ml.cli.run import main
from deriva_ml.ml import DerivaML

TEXT = 'it\'s ${x} 100 %, \\ a "b"\n{[ ${ ü☃'

CONFIGS = f"""
from hydra_zen import MISSING, builds, make_config, store
from deriva_ml import DerivaMLConfig
from deriva_ml.execution import (
    Workflow, base_defaults, create_model_config, multirun_config, with_description
)

def train(lr: float = 0.1, *, ml_instance=None, execution=None):
    execution.asset_file_path("Execution_Asset", "rate.txt", asset_types="Output_File").write_text(str(lr))

def count(limit: int = 3, *, ml_instance=None, execution=None):
    execution.asset_file_path("Execution_Asset", "count.txt", asset_types="Output_File").write_text(str(limit))

TEXT = {TEXT!r}
Main = create_model_config(description="main " + TEXT)
store(Main, name="deriva_model")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
store(with_description([], TEXT), group="datasets", name="default_dataset")
store([], group="assets", name="default_asset")
store(builds(Workflow, name="T", workflow_type="Training", description="work " + TEXT, populate_full_signature=True),
      group="workflow", name="default_workflow")
Count = builds(count, populate_full_signature=True, zen_partial=True)
store(Count, group="script_config", name="count")
store({{}}, group="script_config", name="none")
store(create_model_config(hydra_defaults=[*base_defaults, {{"script_config": "none"}}]), name="with_scripts")
script = make_config(hydra_defaults=["_self_", {{"/script_config": "count"}}], script_config=MISSING, bases=(Main,))
store(script, group="experiment", package="_global_", name="counting")
Train = builds(train, populate_full_signature=True, zen_partial=True, zen_meta={{"description": TEXT}})
store(Train, group="model_config", name="default_model")
store(make_config(hydra_defaults=["_self_"], description="experiment " + TEXT, bases=(Main,)),
      group="experiment", package="_global_", name="odd")
multirun_config("rates", ["+experiment=odd", "model_config.lr=1,2"], "sweep " + TEXT)
"""


@contextmanager
def compositions() -> Iterator[list[int]]:
    """How often Hydra composes within the block."""
    found = [0]

    def look(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "_compose_config_from_defaults_list":
            found[0] += 1

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


@pytest.fixture
def run(folder: Path, catalog_root: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls the command in a project with ``CONFIGS``, on a catalog of the test's own; what it printed."""
    (folder / "all.py").write_text(CONFIGS)

    def call(*words: str) -> str:
        code = main(["--config-dir", folder.name, "--allow-dirty", *words])
        printed = capfd.readouterr()
        assert code == 0, printed.err
        return printed.out

    return call


def test_a_run_is_composed_exactly_once(run: Callable[..., str]) -> None:
    with compositions() as found:
        run("model_config.lr=2")
    assert found == [1]
    with compositions() as found:
        run("+experiment=odd", "dry_run=true")
    assert found == [1]


@pytest.mark.slow
def test_each_job_of_a_sweep_is_composed_exactly_once(run: Callable[..., str]) -> None:
    counts = []
    for rates in ("1,2", "1,2,3,4"):
        with compositions() as found:
            run("-m", f"model_config.lr={rates}")
        counts += found
    assert counts == [2 + 2, 2 + 4]  # beside the jobs: the sweep itself, for the check and for Hydra's sweeper


@pytest.mark.parametrize(
    ("words", "description"),
    [
        ([], f"main {TEXT}"),
        (["+experiment=odd"], f"experiment {TEXT}"),
        ([f"description={TEXT}"], TEXT),
        ([f"description=second try, {TEXT}"], f"second try, {TEXT}"),
        (["description='in quotes'"], "in quotes"),
        (["description=rate ${model_config.lr} of ${x}", "model_config.lr=7"], "rate 7.0 of ${x}"),
    ],
)
def test_any_text_is_recorded_as_the_description_of_a_run(
    run: Callable[..., str], ml: DerivaML, words: list[str], description: str
) -> None:
    run(*words)
    [record] = ml.find_executions()
    assert record.description == description
    assert ml.lookup_workflow(record.workflow_rid).description == f"work {TEXT}"


@pytest.mark.parametrize(
    ("words", "parent", "child"),
    [
        (["+multirun=rates"], f"sweep {TEXT}", f"experiment {TEXT}"),
        (["+multirun=rates", f"description=child {TEXT}"], f"sweep {TEXT}", f"child {TEXT}"),
        (["-m", "model_config.lr=1,2", f"description={TEXT}"], "Sweep of 2 jobs over model_config.lr", TEXT),
    ],
)
def test_any_text_is_recorded_as_the_description_of_a_sweep(
    run: Callable[..., str], ml: DerivaML, words: list[str], parent: str, child: str
) -> None:
    run(*words)
    found = sorted(record.description for record in ml.find_executions())
    assert found == sorted([parent, f"[Job 0] {child}", f"[Job 1] {child}"])


def test_what_is_listed_is_what_was_written(run: Callable[..., str]) -> None:
    found = json.loads(run("--list-configs", "--json"))
    first = TEXT.splitlines()[0]
    assert found["main"][0]["description"] == f"main {first}"
    assert found["groups"]["model_config"][0]["description"] == first
    experiments = {item["name"]: item for item in found["experiments"]}
    assert experiments["odd"]["description"] == f"experiment {first}"
    assert experiments["counting"]["overrides"] == ["script_config=count"]
    assert found["multiruns"][0]["description"] == f"sweep {first}"
    assert f"experiment {first}" in run("--list-configs")


def test_a_model_gets_what_the_configuration_says(run: Callable[..., str], ml: DerivaML, tmp_path: Any) -> None:
    run("model_config.lr=${upload_timeout}")
    [asset] = ml.list_assets("Execution_Asset")
    assert asset.filename == "rate.txt"
    assert asset.download(tmp_path).read_text() == "600.0"


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ([], "rate.txt"),
        (["+script_config=count"], "count.txt"),
        (["+script_config=count", "script_config.limit=5"], "count.txt"),
        (["--config-name", "with_scripts"], "rate.txt"),
        (["--config-name", "with_scripts", "script_config=count"], "count.txt"),
        (["--config-name", "with_scripts", "~script_config"], "rate.txt"),
        (["+experiment=counting"], "count.txt"),
    ],
)
def test_a_script_that_is_chosen_takes_the_models_place(
    run: Callable[..., str], ml: DerivaML, words: list[str], file: str
) -> None:
    run(*words)
    assert [asset.filename for asset in ml.list_assets("Execution_Asset")] == [file]
