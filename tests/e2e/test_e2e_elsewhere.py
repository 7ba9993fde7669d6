"""The commands on a catalog whose ML schema was made elsewhere, without the columns that are ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_elsewhere import load
from tests.e2e.conftest import CONFIGS, Project, git
from tests.elsewhere import make_catalog

from deriva_ml.core.ermrest import ColumnDefinition
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.ml import DerivaML


@pytest.fixture
def elsewhere(project: Any) -> Project:
    """The project of the other tests, on such a catalog."""
    shutil.rmtree(project.root)
    make_catalog(project.root)
    with DerivaML(str(project.root), 1, working_dir=project.home / "made") as ml:
        run, images = load(ml, 3)
        ml.create_feature("Image", "Score", metadata=[ColumnDefinition("Value", "int4")])
        dataset = Dataset.create_dataset(ml, run.execution_rid, ["Training"], "three images")
        dataset.add_dataset_members({"Image": images})
        facts = {"dataset": dataset.dataset_rid, "version": str(dataset.current_version), "asset": images[0]}
    configs: Path = project.folder / "src" / "configs" / "all.py"
    configs.write_text(CONFIGS.format(**facts))
    git(project.folder, "commit", "-q", "-a", "-m", "another catalog")
    return Project(project.folder, project.home, facts)


def _records(project: Project) -> dict[str, str]:
    return {item["record"]["execution_rid"]: item["record"]["status"] for item in project.json()}


def test_runs_sweeps_and_what_is_shown_of_them(elsewhere: Project) -> None:
    done = elsewhere.run("deriva-ml-run", "+experiment=on_images", "assets=image")
    assert done.code == 0, done.err
    [first] = [rid for rid in _records(elsewhere) if rid in done.out]
    swept = elsewhere.run("deriva-ml-run", "+multirun=rates", "model_config.fail_at=2")
    assert swept.code == 1, swept.err
    assert sorted(_records(elsewhere).values()) == ["Completed"] * 4 + ["Failed"] * 2
    report = elsewhere.json(first)
    assert [each["rid"] for each in report["input_datasets"]] == [elsewhere.facts["dataset"]]
    assert [each["file_name"] for each in report["output_assets"]] == ["weights.txt"]
    assert elsewhere.facts["dataset"] in elsewhere.run("deriva-ml-show", first).out
    with DerivaML(str(elsewhere.root), 1, working_dir=elsewhere.home / "made") as ml:
        values = ml.feature_values("Image", "Score", execution_rids=[first])
        assert sorted(value.column_value("Value") for value in values) == [6, 12, 18]
        assert first in {experiment.execution_rid for experiment in ml.find_experiments()}
        experiment = ml.lookup_experiment(first)
        assert experiment.config_choices["experiment"] == "on_images"
    assert elsewhere.run("deriva-ml-check-catalog-schema", "--host", "local", "--catalog", "1").code == 0
