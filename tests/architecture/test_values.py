"""Every dataclass of the package is one that is quick to make."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import deriva_ml

ROOT = Path(deriva_ml.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if "templates" not in path.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_dataclasses_are_those_of_core_values(path: Path) -> None:
    if path == ROOT / "core" / "values.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses":
            assert "dataclass" not in {alias.name for alias in node.names}, "import it from deriva_ml.core.values"
