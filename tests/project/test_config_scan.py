"""What a configuration file says is read from its text, with the line of each thing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.project.config_scan import Chosen, FoundPlace, Reference, ScannedFile, Stored, scan_file


def scan(folder: Path, text: str, module: str = "configs.x") -> ScannedFile:
    path = folder / "x.py"
    path.write_text(text, encoding="utf-8")
    return scan_file(path, module)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('DatasetSpecConfig(rid="1-ABCD", version="1.0.0")', Reference("dataset", "1-ABCD", "1.0.0", 1)),
        ('dataset.DatasetSpecConfig("1-ABCD",\n "1.0.0")', Reference("dataset", "1-ABCD", "1.0.0", 1)),
        ('builds(DatasetSpec, rid="1-ABCD", version="2.0.0")', Reference("dataset", "1-ABCD", "2.0.0", 1)),
        ('RID = "1-ABCD"\nDatasetSpec(rid=RID, version=number())', Reference("dataset", "1-ABCD", None, 2)),
        ('AssetSpecConfig(rid="1-ABCD", cache=True)', Reference("asset", "1-ABCD", None, 1)),
        ('s = store(group="assets")\ns(["1-ABCD"], name="x")', Reference("asset", "1-ABCD", None, 2)),
        ('store(group="assets")(\n  [\n "1-ABCD"], name="x")', Reference("asset", "1-ABCD", None, 3)),
        ('W = [\n"1-ABCD"]\nstore(described(W, "A"), group="assets", name="x")', Reference("asset", "1-ABCD", None, 2)),
        ('store(described(["1-ABCD"], "A"), group="assets", name="x")', Reference("asset", "1-ABCD", None, 1)),
        ('W = [\n"1-ABCD"]\nstore(W, group="assets", name="x")', Reference("asset", "1-ABCD", None, 2)),
        ('store(["1-ABCD"], group="datasets", name="x")', None),
        ('store(["./file.csv", "x.csv"], group="assets", name="x")', None),
    ],
)
def test_inputs_are_found_with_their_lines(tmp_path: Path, text: str, found: Reference | None) -> None:
    assert scan(tmp_path, text).references == ([found] if found else [])


@pytest.mark.parametrize(
    "text",
    [
        'builds(DerivaMLConfig, hostname="h", catalog_id=7)',
        'conf = builds(DerivaMLConfig, populate_full_signature=True); conf(hostname="h", catalog_id="7")',
        'deriva_ml.DerivaMLConfig(hostname="h", catalog_id=7)',
    ],
)
def test_catalogs_are_found(tmp_path: Path, text: str) -> None:
    assert scan(tmp_path, text).places == [FoundPlace("h", "7", 1)]


def test_what_is_stored_is_found_with_its_group(tmp_path: Path) -> None:
    text = """
g = store(group="datasets")
g([], name="a")
store([], group="assets", name="b")
store(x, name="top")
store(group="workflow")(w, name="c")
for n in names:
    g([], name=n)
multirun_config("sweep", [])
other(name="no store")
"""
    expected = [
        Stored("datasets", "a", 3),
        Stored("assets", "b", 4),
        Stored("", "top", 5),
        Stored("workflow", "c", 6),
        Stored("datasets", None, 8),
        Stored("multirun", "sweep", 9),
    ]
    assert sorted(scan(tmp_path, text).stored, key=lambda item: item.line) == expected


def test_what_defaults_lists_choose_is_found(tmp_path: Path) -> None:
    text = """
D = {"override /datasets": "big"}
make_config(hydra_defaults=["_self_", D,
    {"/model_config@here": "quick"}, {"optional x/y": ["a", "b"]}, {"z": computed()}])
"""
    expected = [
        Chosen("datasets", "big", 2),
        Chosen("model_config", "quick", 4),
        Chosen("x/y", "a", 4),
        Chosen("x/y", "b", 4),
    ]
    assert scan(tmp_path, text).chosen == expected


def test_only_imports_of_loading_are_found_relative_ones_in_full(tmp_path: Path) -> None:
    text = """
import configs.a
from .b import c
from . import d
from ..up import e
if TYPE_CHECKING:
    import configs.types
def later():
    import configs.late
"""
    imports = scan(tmp_path, text, "configs.sub.x").imports
    assert imports["configs.a"] == 2
    assert imports["configs.sub.b"] == 3
    assert imports["configs.sub.d"] == 4
    assert imports["configs.up"] == 5
    assert not {"configs.types", "configs.late"} & set(imports)


@pytest.mark.parametrize("content", [b"x = (\n", b"\xff\xfe", b"x\0", b"# -*- coding: nowhere -*-\n"])
def test_a_file_that_is_no_python_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(content)
    found = scan_file(path)
    assert found.error is not None
    assert found.error[1] >= 1


@given(st.text())
def test_any_text_of_python_can_be_scanned(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.py"
    source = f"store({text!r}, group='assets', name={text!r})\nDatasetSpec({text!r}, {text!r})\n"
    path.write_bytes(source.encode("utf-8", "surrogatepass"))
    found = scan_file(path)
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        assert found.error is not None
    else:
        assert found.references[-1].rid == text
