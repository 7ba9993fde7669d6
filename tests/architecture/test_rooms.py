"""The house's rules that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "deriva_ml"
FILES = sorted(SOURCE.rglob("*.py"))

OWNERS: dict[str, tuple[str, ...]] = {
    "sqlite3": ("server/", "workspace/", "dataset/dataset_bag", "dataset/bag_database"),
    "requests": ("catalog/transport", "catalog/http", "catalog/deriva"),
    "subprocess": ("execution/git", "project/repository", "project/inspector", "cli/", "isolate/"),
    "atexit": ("isolate/departing",),  # to end a copied process without what its original would do at its end
}
"""Modules that only some rooms may import."""


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_each_module_keeps_the_house_rules(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = _name(path)
    for module, rooms in OWNERS.items():
        if module in _imports(tree):
            assert name.startswith(rooms) if rooms else False, f"{name} may not import {module}"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"{name}:{getattr(node, 'lineno', 0)} uses global"
        if isinstance(node, ast.FunctionDef):
            assert node.name != "__del__", f"{name}:{node.lineno} has a finaliser"
        if isinstance(node, ast.ClassDef):
            # LoggerMixin is documented: it is for the classes of projects, and none of ours uses it
            assert not node.name.endswith("Mixin") or node.name == "LoggerMixin", f"{name}:{node.lineno} is a mixin"


def test_the_environment_is_read_in_two_places_only() -> None:
    readers = {_name(path) for path in FILES if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))}
    assert readers <= {"core/config.py", "execution/environment.py"}


def test_no_module_is_a_bag_of_odds_and_ends() -> None:
    names = {path.stem for path in FILES}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_every_module_stands_in_the_plan_of_the_house() -> None:
    plan = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [_name(path) for path in FILES if path.stem != "__init__" and f"`{path.stem}`" not in plan]
    assert [name for name in missing if name not in {"ml.py", "connect.py"}] == []
