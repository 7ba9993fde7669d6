"""Real runs: the installed commands in processes of their own, in real git repositories, with homes of their own.

A template with a project and a small catalog is made once and copied for each test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hydra_zen import store

from deriva_ml.connect import open_connection
from deriva_ml.core.config import Settings, folder_identity
from deriva_ml.ml import DerivaML
from deriva_ml.schema.create_schema import create_ml_schema

MODELS = '''\
"""Models of the test project."""

import logging
import time
from pathlib import Path


def train(lr: float = 0.1, fail_at: float = -1.0, sleep: float = 0.0, *, ml_instance=None, execution=None) -> None:
    """Write a file and a feature value for each image of the input."""
    out = execution.asset_file_path("Execution_Asset", "weights.txt", asset_types="Model_File", description="weights")
    out.write_text(f"lr={lr}\\n")
    if sleep:
        Path("started").touch()
        time.sleep(sleep)
    if lr == fail_at:
        raise ValueError(f"diverged at lr={lr}")
    bags = list(execution.datasets)
    if bags:
        Score = ml_instance.feature_record_class("Image", "Score")
        rows = bags[0].list_dataset_members()["Image"]
        execution.add_features(Score(Image=row["RID"], Value=len(Path(row["Filename"]).read_bytes())) for row in rows)
    logging.getLogger("models").info("trained")


def no_execution(lr: float = 0.1, *, ml_instance=None) -> None:
    """A model without the keyword."""
'''

CONFIGS = '''\
"""Configurations of the test project."""

from hydra_zen import builds, make_config, store

from deriva_ml import DerivaMLConfig
from deriva_ml.asset import AssetSpecConfig
from deriva_ml.dataset import DatasetSpecConfig
from deriva_ml.execution import Workflow, create_model_config, multirun_config, with_description
from models import no_execution, train

Main = create_model_config(description="a test run")
store(Main, name="deriva_model")
store(builds(DerivaMLConfig, populate_full_signature=True), group="deriva_ml", name="default_deriva")
datasets = store(group="datasets")
datasets([], name="default_dataset")
datasets(with_description([DatasetSpecConfig(rid="{dataset}", version="{version}")], "three images"), name="images")
datasets([DatasetSpecConfig(rid="{dataset}", version="9.9.9")], name="no_version")
datasets([DatasetSpecConfig(rid="1-ZZZZ", version="1.0.0")], name="no_rid")
datasets([DatasetSpecConfig(rid="{asset}", version="1.0.0")], name="not_a_dataset")
datasets([DatasetSpecConfig(rid="not a rid", version="1.0.0")], name="bad_rid")
assets = store(group="assets")
assets([], name="default_asset")
assets([AssetSpecConfig(rid="{asset}")], name="image")
assets(["{dataset}"], name="not_an_asset")
workflow = store(group="workflow")
workflow(builds(Workflow, name="Training", workflow_type="Training"), name="default_workflow")
workflow(builds(Workflow, name="Training", workflow_type="Trainig"), name="bad_type")
models = store(group="model_config")
models(builds(train, populate_full_signature=True, zen_partial=True), name="default_model")
models(builds(no_execution, populate_full_signature=True, zen_partial=True), name="no_execution")
experiment = store(group="experiment", package="_global_")
on_images = {{"override /datasets": "images"}}
experiment(
    make_config(hydra_defaults=["_self_", on_images], description="Use {{images}}", bases=(Main,)), name="on_images"
)
rates = "# Rates ${{ 'x' \\\\ \\"y\\"\\nthree of them"
multirun_config("rates", ["+experiment=on_images", "model_config.lr=1,2,3"], rates)
'''


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A user's project, and a home with a catalog.

    Attributes:
        folder: The git repository.
        home: The home directory.
        facts: RIDs of what the catalog holds.
        token: Token for a served folder.
    """

    folder: Path
    home: Path
    facts: dict[str, str]
    token: str | None = None

    @property
    def root(self) -> Path:
        """The catalog folder."""
        return self.home / ".deriva-ml" / "local"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DERIVA_")}
        environ |= {"PYTHONUNBUFFERED": "1", "HOME": str(self.home)}
        return environ | ({"DERIVA_ML_TOKEN": self.token} if self.token else {})

    def start(self, command: str, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [str(Path(sys.executable).parent / command), *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",  # a model may print anything
        )

    def run(self, command: str, *words: str) -> Done:
        """Run a command to its end."""
        process = self.start(command, *words)
        out, err = process.communicate(timeout=90)
        return Done(process.returncode, out, err)

    def json(self, *words: str) -> Any:
        """What ``deriva-ml-show --json`` says."""
        done = self.run("deriva-ml-show", "--json", *words)
        assert done.code == 0, done.err
        return json.loads(done.out)

    def fingerprint(self) -> dict[str, bytes]:
        """Every file below the home, with its content."""
        return {str(path): path.read_bytes() for path in sorted(self.home.rglob("*")) if path.is_file()}


def git(folder: Path, *words: str) -> None:
    """Run git with a name of its own."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def _fill(root: Path, settings: Settings) -> dict[str, str]:
    """A catalog with three images, a feature, and a dataset of them."""
    from deriva_ml.asset.asset import create_asset
    from deriva_ml.core.ermrest import ColumnDefinition
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.dataset.members import add_dataset_element_type
    from deriva_ml.execution import ExecutionConfiguration, Workflow
    from deriva_ml.feature.feature import create_feature

    with open_connection(str(root), settings=settings, create=True) as connection:
        client = connection.create_catalog(1)
        create_ml_schema(client, project_name="toy")
        client.create_schema("toy", "A project.")
    with DerivaML(str(root), 1, working_dir=settings.home / "template") as ml:
        create_asset(ml.session, "Image")
        create_feature(ml.session, "Image", "Score", metadata=[ColumnDefinition("Value", "int4")])
        add_dataset_element_type(ml.session, "Image")
        code = Workflow(name="Load", workflow_type="Ingest", url="https://example.org/load", checksum="0" * 40)
        execution = ml.create_execution(ExecutionConfiguration(workflow=code, description="load"))
        with execution.execute():
            for number in range(3):
                execution.asset_file_path("Image", f"image{number}.txt").write_text("pixels" * (number + 1))
        execution.upload_execution_outputs()
        rids = [str(row["RID"]) for row in ml.get_table_as_dict("Image")]
        dataset = Dataset.create_dataset(ml, execution.execution_rid, ["Training"], "three images")
        dataset.add_dataset_members({"Image": rids})
        return {"dataset": dataset.dataset_rid, "version": str(dataset.current_version), "asset": rids[0]}


@pytest.fixture(scope="session")
def project_template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with ``project`` and ``home``."""
    base = tmp_path_factory.mktemp("e2e")
    folder, home = base / "project", base / "home"
    settings = Settings(home=home / ".deriva-ml", local=home / ".deriva-ml" / "local")
    facts = _fill(settings.local, settings)
    shutil.rmtree(settings.home / "template")
    (folder / "src" / "configs").mkdir(parents=True)
    (folder / "src" / "models.py").write_text(MODELS)
    (folder / "src" / "configs" / "__init__.py").touch()
    (folder / "src" / "configs" / "all.py").write_text(CONFIGS.format(**facts))
    (folder / ".gitignore").write_text("__pycache__/\nstarted\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "a project")
    return base, facts


@pytest.fixture
def project(project_template: tuple[Path, dict[str, str]], tmp_path: Path) -> Project:
    """A project of the test's own, with a home and a catalog."""
    base, facts = project_template
    shutil.copytree(base / "project", tmp_path / "project")
    shutil.copytree(base / "home", tmp_path / "home")
    folder_identity(tmp_path / "home" / ".deriva-ml" / "local")
    return Project(tmp_path / "project", tmp_path / "home", facts)


@pytest.fixture
def folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration package with a name of its own; what it stores is taken out again."""
    before = set(store._internal_repo)  # the entries themselves may be what is wrong
    name = f"confs_{uuid4().hex[:8]}"
    made = tmp_path / "project" / name
    made.mkdir(parents=True)
    monkeypatch.chdir(made.parent)
    yield made
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    for key in set(store._internal_repo) - before:
        del store[key]
