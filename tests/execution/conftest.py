"""A project in git, and a catalog with something in it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from deriva_ml.asset.asset import create_asset
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.workflow import Workflow
from deriva_ml.feature.feature import create_feature
from deriva_ml.ml import DerivaML


def git(root: Path, *arguments: str) -> str:
    """Run git in a folder."""
    command = ["git", "-C", str(root), "-c", "user.name=Test", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path):
    """A clean git repository with a model in it."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "model.py").write_text("def train(*, ml_instance, execution):\n    pass\n")
    (root / "uv.lock").write_text("version = 1\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "state")
    return root


@pytest.fixture
def workflow(project):
    return Workflow(name="Test", workflow_type="Training", description="A test.").resolve(project / "src" / "model.py")


@pytest.fixture
def configuration(workflow):
    return ExecutionConfiguration(workflow=workflow, description="by hand", argv=["run", "lr=1"])


@dataclass
class World:
    """A catalog with subjects, a feature, an input file and a dataset."""

    ml: DerivaML
    subjects: list[str]
    dataset: str
    asset: str


@pytest.fixture
def world(ml, tmp_path):
    session = ml.session
    session.catalog.create_table(
        "demo-schema",
        {
            "schema_name": "demo-schema",
            "table_name": "Subject",
            "kind": "table",
            "column_definitions": [
                {"name": "RID", "type": {"typename": "ermrest_rid"}, "nullok": False},
                {"name": "RCT", "type": {"typename": "ermrest_rct"}, "nullok": False},
                {"name": "RMT", "type": {"typename": "ermrest_rmt"}, "nullok": False},
                {"name": "RCB", "type": {"typename": "ermrest_rcb"}, "nullok": True},
                {"name": "RMB", "type": {"typename": "ermrest_rmb"}, "nullok": True},
                {"name": "Name", "type": {"typename": "text"}, "nullok": True},
            ],
            "keys": [{"unique_columns": ["RID"]}],
            "foreign_keys": [],
        },
    )
    create_asset(session, "Scan")
    create_feature(session, "Subject", "Score", metadata=[{"name": "Value", "type": {"typename": "float8"}}])
    create_feature(session, "Subject", "Mask", assets=["Scan"])
    rows = session.catalog.insert("demo-schema", "Subject", [{"Name": f"S{number}"} for number in range(3)])
    subjects = [str(row["RID"]) for row in rows]
    ml.add_dataset_element_type("Subject")
    dataset = Dataset.create_dataset(ml, None, "Training", "all subjects")
    dataset.add_dataset_members(subjects)
    url = session.objects.put("/hatrac/Scan/input.bin", b"scan", filename="input.bin")
    scan = {"URL": url, "Filename": "input.bin", "Length": 4, "MD5": "05bc131d5b5d8fd4ea3c7a2e9f2ab9d2"}
    scan["MD5"] = session.objects.head(url).md5
    (asset,) = session.catalog.insert("demo-schema", "Scan", [scan])
    return World(ml, subjects, dataset.dataset_rid, str(asset["RID"]))
