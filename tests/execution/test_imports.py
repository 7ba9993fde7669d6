"""What a model imports is found in the text of its files, and nothing is imported to find it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deriva_ml.execution.imports import imported_by, is_users_file


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Writes files; the folder is on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    write.root = tmp_path
    return write


def names(root: Path, file: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in imported_by(root / file)]


def test_every_form_of_import_is_followed_and_nothing_is_executed(tree):
    tree(
        im_model="import im_pack.one as o\nfrom im_pack import two, CONSTANT\nfrom im_pack.sub.deep import x\n"
        "def train():\n    import im_late\n",
        im_late="raise SystemExit('executed')",
        im_pack__one="from . import three\nfrom .sub.deep import x\nfrom .. import nothing",
        im_pack__two="",
        im_pack__three="import im_model",
        im_pack__sub__deep="x = 1",
        im_other="",
    )
    (tree.root / "im_pack" / "__init__.py").write_text("raise SystemExit('executed')")
    assert names(tree.root, "im_model.py") == [
        "im_late.py",
        "im_pack/__init__.py",
        "im_pack/one.py",
        "im_pack/sub/deep.py",
        "im_pack/three.py",
        "im_pack/two.py",
    ]
    assert not [name for name in sys.modules if name.startswith("im_")]


def test_the_packages_that_a_file_is_in_belong_to_it(tree):
    (tree.root / "im_box" / "inner").mkdir(parents=True)
    for name in ("im_box/__init__.py", "im_box/inner/__init__.py"):
        (tree.root / name).write_text("")
    (tree.root / "im_box" / "inner" / "model.py").write_text("import os, numpy, deriva_ml, hydra\n")
    assert names(tree.root, "im_box/inner/model.py") == ["im_box/__init__.py", "im_box/inner/__init__.py"]


def test_what_is_installed_or_standard_is_not_followed():
    assert not is_users_file(Path(json.__file__).resolve())
    assert not is_users_file(Path(pytest.__file__).resolve())
    assert is_users_file(Path(__file__).resolve())


def test_cells_of_a_notebook_are_read_without_their_commands(tree):
    tree(im_cell="", im_second="")
    cells = [
        {"cell_type": "code", "source": ["%matplotlib inline\n", "!ls\n", "import im_cell\n"]},
        {"cell_type": "code", "source": ["this is no python"]},
        {"cell_type": "markdown", "source": ["import im_nothing"]},
        {"cell_type": "code", "source": ["from im_second import *"]},
    ]
    (tree.root / "note.ipynb").write_text(json.dumps({"cells": cells}))
    assert names(tree.root, "note.ipynb") == ["im_cell.py", "im_second.py"]


@pytest.mark.parametrize("text", ["def broken(:", "x = '\\ud800'", "import", "\0", "import im_absent.sub, im_absent"])
def test_what_cannot_be_read_or_found_imports_nothing(tree, text):
    tree(im_broken=text)
    assert names(tree.root, "im_broken.py") == []
