"""What the README shows works when it is done in the order in which it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The README's own project, committed to a repository."""
    root = tmp_path / "project"
    for name, text in re.findall(r"<!-- project: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    snippet = re.search(r"From Python, without the command:\n\n```python\n(.*?)```", README, re.DOTALL)
    assert snippet is not None
    (root / "by_hand.py").write_text(snippet[1], encoding="utf-8")
    (root / ".gitignore").write_text("__pycache__/\n")
    (tmp_path / "home").mkdir()
    for command in (["init", "-q", "."], ["add", "."], ["commit", "-qm", "A model"]):
        run(root, "git", "-c", "user.name=a", "-c", "user.email=a@example.org", *command)
    return root


def run(root: Path, *command: str) -> str:
    home = root.parent / "home"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DERIVA_ML")}
    done = subprocess.run(
        command,
        cwd=root,
        env=environ | {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_readme_s_project_runs_sweeps_and_is_shown(project: Path) -> None:
    first = run(project, "deriva-ml-run", "+experiment=quick")
    assert str(project.parent / "home" / ".deriva-ml" / "local") in first
    assert "weights.json" in first
    sweep = run(project, "deriva-ml-run", "-m", "+experiment=quick", "model_config.lr=0.01,0.1,1")
    assert sweep.count("Completed") >= 4
    by_hand = run(project, sys.executable, "by_hand.py")
    assert "Traceback" not in by_hand
    listing = run(project, "deriva-ml-show")
    assert "by hand" in listing
    assert "sweep of 3" in listing
    shown = re.search(r"deriva-ml-show (\S+)", first)
    assert shown is not None
    assert "weights.json" in run(project, "deriva-ml-show", shown[1])


def test_the_readme_opens_with_the_two_commands() -> None:
    head = README[:2000]
    assert head.index("make demo") < head.index("make test")
