"""The notebook of the repository works on what the demonstration records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.cli.create_demo import main as create_demo
from deriva_ml.core.config import Settings
from deriva_ml.demo.models import k_nearest_neighbours
from deriva_ml.execution import ExecutionConfiguration
from deriva_ml.ml import DerivaML

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "compare_runs.ipynb"


@pytest.mark.slow
def test_the_notebook_shows_the_runs_and_where_they_are_wrong(settings: Settings) -> None:
    assert create_demo([]) == 0
    with DerivaML("local") as ml:
        workflow = ml.create_workflow("Notebook test", "Testing")
        workflow.url, workflow.checksum, workflow.version = "test/notebook", "0" * 40, "1"
        inputs = [{"rid": rid, "version": "1.0.0"} for rid in ("1-0006", "1-0008")]
        configuration = ExecutionConfiguration(workflow=workflow, datasets=inputs, description="five neighbours")
        execution = ml.create_execution(configuration)
        with execution.execute() as running:
            k_nearest_neighbours(ml_instance=ml, execution=running)
        execution.upload_execution_outputs()
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert list(names["runs"]["description"]) == ["five neighbours"]
    assert 0.9 < names["runs"]["accuracy"][0] <= 1
    assert 0 < len(names["wrong"]) < 60
