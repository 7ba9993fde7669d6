"""Specifications of inputs, and paths of files."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from deriva_ml.asset.aux_classes import AssetFilePath, AssetSpec, Binding
from deriva_ml.workspace.manifest import AssetEntry, Manifest


def test_a_bare_string_is_the_rid_of_an_input() -> None:
    spec = AssetSpec.model_validate("1-ABCD")
    assert (spec.rid, spec.asset_role, spec.cache) == ("1-ABCD", "Input", False)
    assert AssetSpec(rid="1-ABCD", cache=True).cache


@pytest.mark.parametrize("given", ["abc", "1-AB", {"rid": "1-ABCD", "version": "1"}, 5])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        AssetSpec.model_validate(given)


def test_the_configuration_instantiates_to_the_specification() -> None:
    code = """
from hydra_zen import instantiate, store
from omegaconf import OmegaConf
from deriva_ml.asset import AssetSpecConfig
from deriva_ml.asset.aux_classes import AssetSpec, AssetSpecConfig as same
assert AssetSpecConfig is same
assert instantiate(AssetSpecConfig(rid="1-ABCD", cache=True)) == AssetSpec(rid="1-ABCD", cache=True)
assert instantiate(OmegaConf.structured(AssetSpecConfig("1-ABCD"))) == AssetSpec(rid="1-ABCD")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_specification_does_not_load_hydra() -> None:
    code = "import sys, deriva_ml.asset.aux_classes\nassert not {'hydra', 'hydra_zen'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def path(tmp_path: Path) -> AssetFilePath:
    return AssetFilePath(tmp_path / "a.txt", "Image", "a.txt", {"Width": 3}, "Image", "1-ABCD")


def test_it_is_a_path(path: AssetFilePath, tmp_path: Path) -> None:
    assert isinstance(path, Path)
    assert path == tmp_path / "a.txt"
    assert hash(path) == hash(tmp_path / "a.txt")
    assert os.fspath(path) == str(tmp_path / "a.txt")
    path.write_text("content")
    with open(path) as file:  # noqa: PTH123 - that is what is tested
        assert file.read() == "content"
    assert path.exists()
    assert path.name == "a.txt"
    assert path.samefile(tmp_path / "a.txt")
    assert {path} == {tmp_path / "a.txt"}


def test_it_says_what_the_asset_is(path: AssetFilePath) -> None:
    assert (path.asset_table, path.asset_name, path.file_name) == ("Image", "Image", "a.txt")
    assert (path.metadata, path.asset_metadata, path.asset_types) == ({"Width": 3}, {"Width": 3}, ["Image"])
    assert path.asset_rid == "1-ABCD"
    assert path.key is None
    path.metadata = {"Width": 4, "Height": None}
    path.set_asset_types(["Image", "Model_File"])
    assert (path.metadata, path.asset_types) == ({"Width": 4}, ["Image", "Model_File"])


def test_derived_paths_are_plain_paths(path: AssetFilePath, tmp_path: Path) -> None:
    path.write_text("x")
    derived = [
        path / "x",
        path.parent,
        path.with_suffix(".png"),
        path.with_name("b"),
        path.relative_to(tmp_path),
        path.joinpath("x", "y"),
        path.parents[1],
        path.resolve(),
        "before" / path.relative_to(tmp_path),
        type(path).cwd(),
        type(path).home(),
        path.rename(tmp_path / "moved"),
        *tmp_path.iterdir(),
    ]
    assert {type(each) for each in derived} == {type(Path())}
    assert derived[0] == tmp_path / "a.txt" / "x"


def test_an_absolute_path_of_it_is_itself_or_plain(path: AssetFilePath) -> None:
    assert path.absolute() == path.expanduser() == path


def test_copies_for_other_processes_keep_the_values(path: AssetFilePath) -> None:
    for other in (pickle.loads(pickle.dumps(path)), copy.copy(path), copy.deepcopy(path)):
        assert type(other) is AssetFilePath
        assert other == path
        assert (other.asset_table, other.metadata, other.asset_types) == ("Image", {"Width": 3}, ["Image"])


def test_bound_to_a_manifest_there_is_no_other_copy(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.jsonl", "1-ABCD")
    manifest.add(
        AssetEntry("Image", "demo", ("Image",), {"Width": 3}, key="k", file_name="a.txt", path="assets/Image/k/a.txt")
    )
    path = AssetFilePath(tmp_path / "a.txt", "Image", "a.txt", binding=Binding(manifest, "k"))
    assert (path.metadata, path.asset_types, path.asset_rid, path.key) == ({"Width": 3}, ["Image"], None, "k")
    path.metadata = {"Width": 5}
    path.asset_types = "Model_File"
    again = Manifest(manifest.path).asset("k")
    assert (again.metadata, again.asset_types) == ({"Width": 5}, ("Model_File",))
    manifest.lease({"k": "1-00AA"})
    assert path.asset_rid == "1-00AA"
    assert pickle.loads(pickle.dumps(path)).metadata == {"Width": 5}
