"""What a command line can become: flags, values, groups, names, keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hydra_zen import store

from deriva_ml.cli.completion import completions
from deriva_ml.cli.run import parser
from deriva_ml.core.config import Settings

CONFIGS = """
from enum import Enum
from hydra_zen import builds, make_config, store
from deriva_ml import DerivaMLConfig
from deriva_ml.execution import create_model_config, multirun_config

class Kind(Enum):
    linear = 1
    forest = 2

def train(lr: float = 0.1, kind: Kind = Kind.linear, deep: bool = False, *, ml_instance=None, execution=None): ...

Main = create_model_config()
store(Main, name="NAME")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
store([], group="datasets", name="default_dataset")
store([], group="assets", name="default_asset")
store(builds(dict), group="workflow", name="default_workflow")
store(builds(train, populate_full_signature=True, zen_partial=True), group="model_config", name="default_model")
store(builds(train, lr=0.5, zen_partial=True), group="model_config", name="quick")
store(make_config(bases=(Main,)), group="experiment", package="_global_", name="small")
multirun_config("rates", ["model_config.lr=1,2"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose configurations are taken out of the store again."""
    before = set(store._internal_repo)  # the entries themselves may be what is wrong
    name = f"confs_{uuid4().hex}"
    made = tmp_path_factory.mktemp("completion") / name
    made.mkdir()
    (made / "all.py").write_text(CONFIGS.replace("NAME", name))
    yield made
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    for key in set(store._internal_repo) - before:
        del store[key]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--list", ["--list-configs"]),
        ("--cf", ["--cfg"]),
        ("--cfg ", ["all", "hydra", "job"]),
        ("--cfg h", ["hydra"]),
        ("--host ", ["local"]),
        ("--config-dir ", []),
        ("--shell-completion install=b", ["install=bash"]),
    ],
)
def test_flags_and_their_values_need_no_project(tmp_path: Path, line: str, expected: list[str]) -> None:
    assert completions(f"deriva-ml-run {line}", parser()) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mod", ["model_config=", "model_config."]),
        ("model_config=q", ["model_config=quick"]),
        ("-m model_config=quick,d", ["model_config=quick,default_model"]),
        ("model_config.", ["model_config.deep=", "model_config.kind=", "model_config.lr="]),
        ("model_config=quick model_config.", ["model_config.lr="]),
        ("model_config.lr=", ["model_config.lr=0.1"]),
        ("model_config.kind=f", ["model_config.kind=forest"]),
        ("model_config.deep=", ["model_config.deep=false", "model_config.deep=true"]),
        ("dry_run=t", ["dry_run=true"]),
        ("+exp", ["+experiment="]),
        ("+experiment=", ["+experiment=small"]),
        ("+multirun=", ["+multirun=rates"]),
        ("~data", ["~datasets"]),
        ("deriva_ml.host", ["deriva_ml.hostname="]),
        ("model_config=q model_config.l", ["model_config.lr="]),
        ("model_config.no_such.", []),
        ("nonsense", []),
    ],
)
def test_groups_names_and_keys_are_those_of_the_project(
    folder: Path, settings: Settings, line: str, expected: list[str]
) -> None:
    words = f"deriva-ml-run --config-dir {folder} --config-name {folder.name} {line}"
    found = completions(words, parser())
    assert sorted(found) == sorted(expected)


def test_the_main_configurations_are_suggested(folder: Path) -> None:
    assert folder.name in completions(f"deriva-ml-run --config-dir {folder} --config-name ", parser())


def test_an_empty_word_can_become_anything_that_is_no_flag(folder: Path, settings: Settings) -> None:
    found = completions(f"deriva-ml-run --config-dir {folder} --config-name {folder.name} ", parser())
    assert {"model_config=", "+experiment=", "dry_run=", "deriva_ml."} <= set(found)
    assert not [word for word in found if word.startswith("-")]


def test_no_project_suggests_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completions("deriva-ml-run mod", parser()) == []
