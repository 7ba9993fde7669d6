"""The demonstration's models, on the demonstration's data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import joblib
import pytest

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.demo.loader import COMPLETE, TESTING, TRAINING, VERSION, DemoCatalog
from deriva_ml.demo.models import k_nearest_neighbours, logistic_regression, nothing
from deriva_ml.execution import ExecutionConfiguration, Workflow
from deriva_ml.execution.model_protocol import check_model
from deriva_ml.ml import DerivaML

CODE = Workflow(name="test", workflow_type="Training", url="https://example.org/test", checksum="0" * 40)


@pytest.fixture
def demo_ml(demo_root: tuple[Path, DemoCatalog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HOME", str(tmp_path))
    with DerivaML(str(demo_root[0]), 1, cache_dir=demo_root[0].parent / "cache", clean_execution_dir=False) as ml:
        yield ml


def configuration(*rids: str) -> ExecutionConfiguration:
    return ExecutionConfiguration(
        workflow=CODE, description="test", datasets=[DatasetSpec(rid=rid, version=VERSION) for rid in rids]
    )


@pytest.mark.parametrize("model", [logistic_regression, k_nearest_neighbours])
def test_a_model_leaves_what_it_promises(demo_ml: DerivaML, model: Any) -> None:
    execution = demo_ml.create_execution(configuration(TRAINING, TESTING))
    with execution.execute() as running:
        model(ml_instance=demo_ml, execution=running)
    execution.upload_execution_outputs()
    report = execution.describe()
    types = {asset.file_name: asset.types for asset in report.output_assets}
    assert types == {
        "model.joblib": ("Model_File",),
        "predictions.csv": ("Predictions",),
        "metrics.json": ("Metrics",),
        "confusion_matrix.png": ("Figure",),
    }
    assert [(use.feature, use.count) for use in report.features] == [("Predicted_Digit", 355)]
    staged = {path.name: path for path in execution.working_dir.rglob("*") if path.is_file()}
    metrics = json.loads(staged["metrics.json"].read_text())
    assert (metrics["training_images"], metrics["test_images"]) == (1442, 355)
    assert metrics["accuracy"] > 0.94
    with staged["predictions.csv"].open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 355
    right = sum(row["Predicted"] == row["True"] for row in rows)
    assert right / len(rows) == pytest.approx(metrics["accuracy"])
    assert joblib.load(staged["model.joblib"]).classes_.tolist() == list(range(10))
    assert staged["confusion_matrix.png"].read_bytes().startswith(b"\x89PNG")


def test_a_model_says_which_dataset_it_lacks(demo_ml: DerivaML) -> None:
    execution = demo_ml.create_execution(configuration(COMPLETE))
    with pytest.raises(DerivaMLDataError, match="one dataset of type Training, and the run has 0"), execution.execute():
        logistic_regression(ml_instance=demo_ml, execution=execution)


@pytest.mark.parametrize("model", [logistic_regression, k_nearest_neighbours, nothing])
def test_every_model_can_be_run(model: Any) -> None:
    check_model(model)
