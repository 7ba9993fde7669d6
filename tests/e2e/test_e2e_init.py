"""A new project runs at once: what the command ends with can be typed as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def run(folder: Path, home: Path, *words: str, code: int = 0) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("DERIVA_ML", "GIT_"))}
    environ |= {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def commands(said: str) -> list[list[str]]:
    """The commands that the end of the message names."""
    lines = said.partition("Next:\n")[2].splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.mark.slow
def test_every_command_that_the_message_names_works(tmp_path: Path, home: Path) -> None:
    said = run(tmp_path, home, "deriva-ml-init", 'Zoë\'s 1st "net"')
    (_cd, folder), *rest = commands(said)
    project = tmp_path / folder
    answers = [run(project, home, *command) for command in rest]
    names = ["validate-config", "run", "run", "run", "show", "run"]
    assert [command[0] for command in rest] == [f"deriva-ml-{name}" for name in names]
    checked, _dry, trained, swept, shown_all, _listed = answers
    assert "valid" in checked
    assert "network.json" in trained
    assert "Zoë's 1st" in trained
    assert swept.count("Completed") >= 4
    assert "sweep of 3" in shown_all
    run(project, home, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert run(project, home, "git", "status", "--porcelain") == ""
    shown = json.loads(run(project, home, "deriva-ml-show", "--json"))
    assert {item["record"]["status"] for item in shown} == {"Completed"}


def test_a_network_of_an_earlier_run_is_trained_further(tmp_path: Path, home: Path) -> None:
    run(tmp_path, home, "deriva-ml-init", "x")
    project = tmp_path / "x"
    first = run(project, home, "deriva-ml-run")
    rid = re.search(r"^(\S+) +network\.json", first, re.MULTILINE)
    assert rid is not None
    assets = project / "src" / "configs" / "assets.py"
    store = f'\nassets_store([AssetSpecConfig(rid="{rid[1]}")], name="earlier")\n'
    assets.write_text("from deriva_ml.execution import AssetSpecConfig\n" + assets.read_text() + store)
    again = run(project, home, "deriva-ml-run", "--allow-dirty", "assets=earlier", "model_config=quick")
    assert rid[1] in again
    accuracy = [float(re.findall(r"kept apart: ([\d.]+)", text)[0]) for text in (first, again)]
    assert min(accuracy) > 0.95


def test_the_notebook_tells_what_the_runs_came_to(tmp_path: Path, home: Path) -> None:
    said = run(tmp_path, home, "deriva-ml-init", "x", "--host", "./lab", "--no-git")
    project = tmp_path / "x"
    make = re.search(r"deriva-ml-catalog create --root \S+ --project \S+", said)
    assert make is not None
    run(tmp_path, home, *shlex.split(make[0]))
    run(project, home, "deriva-ml-run", "--allow-dirty", "+experiment=quick")
    notebook: dict[str, Any] = json.loads((project / "notebooks" / "results.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    said = run(project, home, sys.executable, "-c", code)
    assert "does everything work?" in said
    assert "'epoch': 5" in said


def test_a_dry_run_lists_the_files_and_makes_none(tmp_path: Path, home: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "README.md").write_text("mine")
    said = run(tmp_path, home, "deriva-ml-init", "x", "--dry-run")
    assert "src/models/moons.py" in said
    assert "README.md  (is there with another text" in said
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["README.md"]
    refused = run(tmp_path, home, "deriva-ml-init", "x", code=2)
    assert "README.md" in refused
    forced = run(tmp_path, home, "deriva-ml-init", "x", "--force")
    assert "Replaced: README.md" in forced


@pytest.mark.slow
def test_the_validation_says_by_its_exit_code_what_it_found(tmp_path: Path, home: Path) -> None:
    run(tmp_path, home, "deriva-ml-init", "x")
    project = tmp_path / "x"
    command = ["deriva-ml-validate-config"]
    assert "valid" in run(tmp_path, home, *command, "x")
    assert "Connection" in run(project, home, *command, "--host", "http://127.0.0.1:1", code=5)
    model = project / "src" / "configs" / "model.py"
    model.write_text(model.read_text() + "model_store(FitMoons, rate='${nowhere}', name='bad')\n")
    line = len(model.read_text().splitlines())
    assert f"{model}:{line}: error: The interpolation ${{nowhere}}" in run(project, home, *command, code=2)
    report = json.loads(run(project, home, *command, "--offline", "--json", str(model), code=2))
    assert [(problem["kind"], problem["line"]) for problem in report["problems"]] == [("interpolation", line)]
    assert "There is no" in run(project, home, *command, "nowhere", code=2)
    assert not (home / ".deriva-ml").exists()


def test_a_project_can_begin_with_what_is_in_a_catalog(tmp_path: Path, home: Path) -> None:
    run(tmp_path, home, "deriva-ml-init", "first")
    run(tmp_path / "first", home, "deriva-ml-run", "+experiment=quick")
    text = run(tmp_path, home, "deriva-ml-init", "second", "--from-catalog", "--dry-run")
    assert "network.json (Model_File) of execution" in text
    assert not (tmp_path / "second").exists()
    said = run(tmp_path, home, "deriva-ml-init", "second", "--from-catalog")
    assert "Suggested by catalog 1 at local: 2 assets" in said
    second = tmp_path / "second"
    assert "valid" in run(second, home, "deriva-ml-validate-config")
    shown = run(second, home, "deriva-ml-run", "assets=network", "+experiment=quick", "workflow=testing")
    assert re.search(r"network\.json", shown)
    assert "Testing" in shown
    assert "no catalog 77" in run(tmp_path, home, "deriva-ml-init", "x", "--from-catalog", "--catalog", "77", code=2)
    assert "add --from-catalog" in run(tmp_path, home, "deriva-ml-init", "x", "--dataset-type", "Training", code=2)
