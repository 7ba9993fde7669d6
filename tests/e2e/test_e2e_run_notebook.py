"""A notebook as a run: its cells are executed in a kernel-like process in a project, and the record is read back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CONFIG = """\
from dataclasses import dataclass

from hydra_zen import builds

from deriva_ml.execution import BaseConfig, notebook_config


@dataclass
class Plot(BaseConfig):
    bins: int = 10


notebook_config("plot_scores", Plot, defaults={"datasets": "images"}, bins=5, description="Plot the scores")
"""

CELLS = [
    "from deriva_ml.execution import run_notebook\nml, execution, config = run_notebook('plot_scores')",
    """assert config.bins == BINS, config.bins
assert execution.status == 'Running'
execution.asset_file_path('Execution_Asset', 'plot.txt').write_text(str(len(execution.datasets)))
""",
    "execution.upload_execution_outputs()",
]

KERNEL = """\
import json, sys
from pathlib import Path
names = {"BINS": int(sys.argv[2])}
for cell in json.loads(Path(sys.argv[1]).read_text())["cells"]:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), "<cell>", "exec"), names)
"""


@pytest.fixture
def notebook(project: Any) -> Any:
    """The test project with a notebook and its configuration, committed."""
    (project.folder / "src" / "configs" / "plots.py").write_text(CONFIG)
    write(project, CELLS)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "a notebook")
    return project


def write(project: Any, cells: list[str], outputs: list[Any] | None = None) -> None:
    made = [
        {
            "cell_type": "code",
            "id": str(at),
            "metadata": {},
            "source": cell,
            "outputs": outputs or [],
            "execution_count": None,
        }
        for at, cell in enumerate(cells)
    ]
    path = project.folder / "notebooks" / "plot.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


def git(project: Any, *words: str) -> None:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *words], cwd=project.folder, check=True)


def execute(project: Any, bins: int = 5, **more: str) -> subprocess.CompletedProcess[str]:
    """Execute the cells as a Jupyter server's kernel would: in the notebook's folder, told which notebook it is."""
    path = project.folder / "notebooks" / "plot.ipynb"
    environ = {**project.environ, "JPY_SESSION_NAME": str(path), **more}
    return subprocess.run(
        [sys.executable, "-c", KERNEL, str(path), str(bins)],
        cwd=path.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_a_notebook_is_recorded_with_its_file_inputs_and_outputs(notebook: Any) -> None:
    done = execute(notebook)
    assert done.returncode == 0, done.stderr
    report = notebook.json(notebook.json()[0]["record"]["execution_rid"])
    assert report["record"]["status"] == "Completed"
    assert report["record"]["upload_state"] == "uploaded"
    assert report["record"]["description"] == "Plot the scores"
    assert report["workflow"]["url"].endswith("/notebooks/plot.ipynb")
    assert report["workflow"]["workflow_type"] == ["Analysis Notebook"]
    assert report["workflow"]["name"] == "Plot Scores"
    assert [item["rid"] for item in report["input_datasets"]] == [notebook.facts["dataset"]]
    assert [item["file_name"] for item in report["output_assets"]] == ["plot.txt"]
    kept = {item["file_name"].rpartition("-")[2] for item in report["metadata"]}
    assert {"config.yaml", "overrides.yaml", "configuration.json"} <= kept


def test_overrides_of_its_runner_and_a_dry_run(notebook: Any) -> None:
    done = execute(notebook, 7, DERIVA_ML_HYDRA_OVERRIDES='["bins=7", "dry_run=true"]')
    assert done.returncode == 0, done.stderr
    assert len(notebook.json()) == 1


def test_outputs_of_cells_are_no_change_and_cells_are(notebook: Any) -> None:
    write(notebook, CELLS, [{"output_type": "stream", "name": "stdout", "text": "shown"}])
    assert execute(notebook).returncode == 0
    write(notebook, [*CELLS, "1 + 1"])
    done = execute(notebook)
    assert done.returncode == 1
    assert "uncommitted changes" in done.stderr
    assert execute(notebook, DERIVA_ML_ALLOW_DIRTY="true").returncode == 0


def test_a_cell_that_fails_leaves_a_run_that_the_next_command_finds(notebook: Any) -> None:
    write(notebook, [*CELLS[:2], "raise ValueError('no plot')"])
    git(notebook, "commit", "-qam", "fails")
    assert execute(notebook).returncode == 1
    record = notebook.json()[0]["record"]
    assert record["status"] == "Aborted"
    assert record["upload_state"] == "pending"
    assert notebook.run("deriva-ml-upload").code == 0
    report = notebook.json(record["execution_rid"])
    assert [item["file_name"] for item in report["output_assets"]] == ["plot.txt"]


def test_a_block_ends_the_run_and_says_what_failed(notebook: Any) -> None:
    block = "with execution:\n    execution.upload_execution_outputs()\n    raise ValueError('no plot')"
    write(notebook, [*CELLS[:2], block])
    git(notebook, "commit", "-qam", "block")
    assert execute(notebook).returncode == 1
    record = notebook.json()[0]["record"]
    assert (record["status"], "ValueError: no plot" in record["status_detail"]) == ("Failed", True)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("run_notebook('plot_scroes')", "plot_scores"),
        ("run_notebook('plot_scores', config_package='nothing')", "There is no configuration package 'nothing'"),
        ("run_notebook('plot_scores', ['bins=many'])", "bins"),
        ("run_notebook('plot_scores', workflow_type='Trainig')", "Trainig"),
    ],
)
def test_mistakes_are_told_and_nothing_is_recorded(notebook: Any, cell: str, said: str) -> None:
    write(notebook, ["from deriva_ml.execution import run_notebook\n" + cell])
    git(notebook, "commit", "-qam", "mistake")
    done = execute(notebook)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(notebook.json()) == 1
