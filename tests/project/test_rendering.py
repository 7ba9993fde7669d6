"""Whatever a project is called, its files are what they should be."""

from __future__ import annotations

import ast
import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml.project.rendering import project_files, python_literal

PACKAGE = Path(__file__).parents[2] / "src" / "deriva_ml"
names = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" '\"\\$<>{}#`"), min_size=1).filter(
    str.isprintable
)


@settings(max_examples=60, deadline=None)
@given(names, names)
def test_every_file_is_valid_and_says_the_name_and_the_catalog(name: str, host: str) -> None:
    files = project_files(name, host, "demo")
    trees = {path: ast.parse(text) for path, text in files.items() if path.endswith(".py")}
    assert len(trees) == 13
    assert tomllib.loads(files["pyproject.toml"])["project"]["description"] == name
    assert name in _strings(trees["src/configs/workflow.py"])
    assert {host, "demo"} <= _strings(trees["src/configs/deriva.py"])
    notebook = json.loads(files["notebooks/results.ipynb"])
    code = ast.parse("".join(notebook["cells"][1]["source"]))
    assert {host, "demo"} <= _strings(code)
    assert not any("<<" in text.replace(name, "") for path, text in files.items() if path.endswith(".toml"))


def _strings(tree: ast.AST) -> set[str]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_a_value_that_looks_like_another_stays_as_it_is() -> None:
    files = project_files("<<hostname_literal>>", "local", 1)
    assert tomllib.loads(files["pyproject.toml"])["project"]["description"] == "<<hostname_literal>>"


def test_the_project_runs_on_the_catalog_that_is_named() -> None:
    files = project_files("x", "https://lab.example.org", 7)
    assert 'hostname="https://lab.example.org"' in files["src/configs/deriva.py"]
    assert "catalog_id=7" in files["src/configs/deriva.py"]
    assert "deriva-ml-show --host https://lab.example.org --catalog 7" in files["README.md"]


@given(st.text(st.characters(exclude_categories=["C"])))
def test_a_literal_is_read_back_by_python_toml_and_json(text: str) -> None:
    literal = python_literal(text)
    assert ast.literal_eval(literal) == text
    assert tomllib.loads(f"x = {literal}")["x"] == text
    assert json.loads(literal) == text


def test_the_package_takes_every_template_along() -> None:
    patterns = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())
    [pattern] = [item for item in patterns["tool"]["setuptools"]["package-data"]["deriva_ml"] if "templates" in item]
    found = [path for path in (PACKAGE / "project" / "templates").rglob("*") if path.is_file()]
    assert len(found) == len(project_files("x", "local", 1))
    for path in found:
        assert fnmatch(path.relative_to(PACKAGE).as_posix(), pattern.replace("**/", "*"))
