"""Where the files of a run are: the documented paths, and those that we really use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.asset import run_tree
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.wire.model import Column, ColumnType, Table
from deriva_ml.workspace.manifest import MANIFEST_NAME

TEXT = ColumnType("text")
IMAGE = Table(
    "T",
    "lab",
    "Image",
    tuple(
        Column("", name, TEXT) for name in ("RID", "Filename", "URL", "Length", "MD5", "Description", "Width", "Color")
    ),
)


def test_paths_are_those_that_are_documented(tmp_path: Path) -> None:
    root = tmp_path / "deriva-ml" / "execution" / "1-AB"
    assert run_tree.upload_root(tmp_path) == tmp_path / "deriva-ml"
    assert run_tree.execution_root(tmp_path, "1-AB") == root
    assert run_tree.asset_root(tmp_path, "1-AB") == root / "asset"
    assert run_tree.flat_asset_dir(tmp_path, "1-AB", "Image") == root / "assets" / "Image"
    assert run_tree.feature_root(str(tmp_path), "1-AB") == root / "feature"
    assert run_tree.manifest_path(tmp_path, "1-AB") == root / MANIFEST_NAME
    assert run_tree.asset_type_path(tmp_path, "1-AB", IMAGE) == root / "asset-type" / "lab" / "Image.jsonl"
    assert run_tree.asset_type_path(tmp_path, "1-AB", "lab:Image").parent.is_dir()
    given = run_tree.asset_file_path(tmp_path, "1-AB", IMAGE, "a b.tar.gz", {"Width": 5})
    assert given == root / "asset" / "lab" / "Image" / "None" / "5" / "a b.tar.gz"
    assert given.parent.is_dir() and not given.exists()
    assert run_tree.table_path(tmp_path, "lab", "Image") == tmp_path / "deriva-ml/table/lab/Image/Image.csv"
    values = run_tree.feature_value_path(tmp_path, "1-AB", "lab", "Image", "Quality")
    assert values == root / "feature" / "lab" / "Image" / "Quality.jsonl"
    assert run_tree.feature_dir(tmp_path, "1-AB", "lab", "Image", "Quality") == values.parent
    assert run_tree.is_feature_dir(values.parent)
    assert not run_tree.is_feature_dir(root / "feature" / "lab")
    assert not run_tree.is_feature_dir(tmp_path)
    assert run_tree.execution_rids(tmp_path) == ["1-AB"]
    assert run_tree.execution_rids(tmp_path / "nothing") == []
    assert not (tmp_path / "nothing").exists()


def test_a_run_is_found_in_a_working_directory_for_several_catalogs(tmp_path: Path) -> None:
    own = tmp_path / "deriva-ml" / "f00" / "1" / "execution" / "1-AB"
    own.mkdir(parents=True)
    assert run_tree.execution_root(tmp_path, "1-AB") == own
    assert run_tree.execution_rids(tmp_path) == ["1-AB"]
    (tmp_path / "deriva-ml" / "f00" / "2" / "execution" / "1-AB").mkdir(parents=True)
    with pytest.raises(DerivaMLDataError, match=r"(?s)several catalogs.*f00/1.*f00/2"):
        run_tree.execution_root(tmp_path, "1-AB")


@pytest.mark.parametrize("rid", ["", "..", "."])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, rid: str) -> None:
    with pytest.raises(DerivaMLValidationError, match="name of a directory"):
        run_tree.execution_root(tmp_path, rid)
    with pytest.raises(DerivaMLValidationError, match="Not the name of a file"):
        run_tree.asset_file_path(tmp_path, "1-AB", IMAGE, "../x")


def test_metadata_that_the_table_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DerivaMLValidationError, match=r"(?s)no metadata column 'Witdh'.*Width"):
        run_tree.asset_file_path(tmp_path, "1-AB", IMAGE, "x", {"Witdh": 5})
    with pytest.raises(DerivaMLValidationError, match="schema:Table"):
        run_tree.asset_type_path(tmp_path, "1-AB", "Image")


def test_a_path_tells_table_and_file(tmp_path: Path) -> None:
    given = run_tree.asset_file_path(tmp_path, "1-AB", IMAGE, "x.png", {"Color": "red/blue"})
    assert run_tree.normalize_asset_dir(given) == ("lab/Image", "x.png")
    assert run_tree.normalize_asset_dir(str(given.parents[2] / "x.png")) == ("lab/Image", "x.png")
    for other in (tmp_path / "x.png", given.parents[3], run_tree.manifest_path(tmp_path, "1-AB"), "asset/lab/Image/x"):
        assert run_tree.normalize_asset_dir(other) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_any_value_can_stand_in_a_path(tmp_path: Path, value: str) -> None:
    given = run_tree.asset_file_path(tmp_path, "1-AB", IMAGE, "x", {"Color": value})
    assert given.relative_to(tmp_path / "deriva-ml/execution/1-AB/asset/lab/Image").parts[1:] == ("None", "x")
    assert run_tree.value_of_directory(given.parent.parent.name) == value
    assert run_tree.value_of_directory(given.parent.name) is None
