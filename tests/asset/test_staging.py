"""Registering outputs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.asset.sessions import Run, over
from tests.fakes import Counting

from deriva_ml.asset.asset import create_asset
from deriva_ml.asset.asset_record import asset_record_class
from deriva_ml.asset.staging import register
from deriva_ml.asset.upload import upload
from deriva_ml.core.ermrest import ColumnDef
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLInvalidTerm,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import add_term
from deriva_ml.workspace.manifest import Manifest


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    create_asset(session, "Image", [ColumnDef("Width", "int4"), ColumnDef("Note", "text")])
    return Run(session, tmp_path / "runs")


@pytest.fixture
def cwd(tmp_path: Path) -> object:
    """A current directory of the test's own."""
    before = Path.cwd()
    here = tmp_path / "here"
    here.mkdir()
    os.chdir(here)
    yield here
    os.chdir(before)


def test_a_new_output_is_registered_and_then_written(run: Run) -> None:
    path = run.stage.register("Image", "a.png", metadata={"Width": 3}, description="d", Note="n")
    path.write_bytes(b"x")
    (entry,) = Manifest(run.manifest.path).pending_assets()
    assert (entry.asset_table, entry.schema, entry.file_name) == ("Image", "demo-schema", "a.png")
    assert (entry.asset_types, entry.metadata, entry.description) == (("Image",), {"Width": 3, "Note": "n"}, "d")
    assert run.manifest.file_of(entry) == path == run.directory / "assets" / "Image" / entry.key / "a.png"
    assert not Path(entry.path).is_absolute()


def test_two_outputs_of_one_name_are_two_assets(run: Run) -> None:
    one, two = run.stage.register("Image", "a.png"), run.stage.register("Image", "a.png")
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    assert one.read_bytes() == b"one"
    assert len(run.manifest.pending_assets()) == 2


def test_a_bare_name_is_that_of_a_new_file_even_if_there_is_one_here(run: Run, cwd: Path) -> None:
    (cwd / "a.png").write_bytes(b"mine")
    path = run.stage.register("Image", "a.png")
    assert not path.exists()
    path.write_bytes(b"new")
    assert (cwd / "a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("given", [Path("a.png"), "./a.png", "sub/a.png", Path("sub/a.png")])
def test_a_path_to_a_file_takes_it_as_it_is_now(run: Run, cwd: Path, given: str | Path) -> None:
    (cwd / "sub").mkdir()
    source = cwd / given
    source.write_bytes(b"mine")
    path = run.stage.register("Image", given)
    assert path.read_bytes() == b"mine"
    # neither changes the other
    path.write_bytes(b"changed")
    assert source.read_bytes() == b"mine"
    source.write_bytes(b"changed too")
    assert path.read_bytes() == b"changed"


def test_a_path_to_nothing_gives_the_name_of_a_new_file(run: Run, cwd: Path) -> None:
    path = run.stage.register("Image", "results/a.png")
    assert path.name == "a.png"
    assert not path.exists()


def test_a_link_is_followed_when_read_and_never_when_written(run: Run, cwd: Path) -> None:
    (cwd / "real.bin").write_bytes(b"mine")
    (cwd / "link.bin").symlink_to("real.bin")
    path = run.stage.register("Image", cwd / "link.bin")
    assert path.name == "link.bin"
    assert not path.is_symlink()
    path.write_bytes(b"changed")
    assert (cwd / "real.bin").read_bytes() == b"mine"


def test_a_file_can_be_renamed(run: Run, cwd: Path) -> None:
    (cwd / "a.png").write_bytes(b"mine")
    path = run.stage.register("Image", Path("a.png"), rename_file="b.png")
    assert (path.name, path.file_name, path.read_bytes()) == ("b.png", "b.png", b"mine")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256])
def test_what_is_no_file_name_is_refused(run: Run, name: str) -> None:
    with pytest.raises(DerivaMLDataError, match="name"):
        run.stage.register("Image", "a", rename_file=name or "..")
    assert not run.manifest.assets


def test_a_directory_and_a_dangling_link_are_refused(run: Run, cwd: Path) -> None:
    (cwd / "sub").mkdir()
    (cwd / "link").symlink_to("nothing")
    with pytest.raises(DerivaMLDataError, match="is not a plain file"):
        run.stage.register("Image", Path("sub"))
    with pytest.raises(DerivaMLDataError, match="link to a file that does not exist"):
        run.stage.register("Image", Path("link"))


def test_types_and_metadata_are_checked_now(run: Run) -> None:
    with pytest.raises(DerivaMLInvalidTerm) as term:
        run.stage.register("Image", "a.png", ["Modle_File"])
    assert "Model_File" in term.value.allowed
    with pytest.raises(DerivaMLValidationError, match=r"output 'a\.png' of Image .* Width"):
        run.stage.register("Image", "a.png", Width="wide")
    with pytest.raises(DerivaMLTableTypeError, match="Dataset is not of type asset table"):
        run.stage.register("Dataset", "a.png")
    assert not run.manifest.assets
    path = run.stage.register("Image", "a.png")
    with pytest.raises(DerivaMLInvalidTerm):
        path.set_asset_types("Modle_File")
    with pytest.raises(DerivaMLValidationError):
        path.metadata = {"Widht": 3}
    path.metadata = asset_record_class(run.session.model(), "Image")(Width=4)  # type: ignore[call-arg]
    path.set_asset_types(["Model_File", "Image"])
    (entry,) = Manifest(run.manifest.path).pending_assets()
    assert (entry.metadata, entry.asset_types) == ({"Width": 4}, ("Model_File", "Image"))


def test_a_type_that_was_added_in_the_meantime_is_known(run: Run) -> None:
    run.stage.register("Image", "a.png")
    add_term(run.session, "Asset_Type", "Brand_New", "d", ["fresh"])
    assert run.stage.register("Image", "b.png", "fresh").asset_types == ["Brand_New"]


def test_registering_asks_the_catalog_once_not_per_file(run: Run, tmp_path: Path) -> None:
    transport = Counting(run.session.catalog.transport)
    stage = Run(over(run.session, transport), tmp_path / "more").stage
    transport.reset()
    for number in range(20):
        stage.register("Image", f"{number}.png", metadata={"Width": number})
    assert transport.count <= 2


def test_the_function_does_the_same(run: Run) -> None:
    path = register(run.manifest, run.directory, run.session, "Image", "a.png", "Image", description="d")
    assert path.asset_types == ["Image"]


def test_a_full_disk_is_a_clear_error_and_registers_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 1_000_000)
    code = f"""
import resource, sys
from pathlib import Path
from deriva_ml.asset.staging import AssetStage
from deriva_ml.core.exceptions import DerivaMLExecutionError
from deriva_ml.ml import DerivaML
from deriva_ml.workspace.manifest import Manifest
with DerivaML({str(run.session.place.root)!r}, 1) as ml:
    manifest = Manifest({str(run.manifest.path)!r})
    stage = AssetStage(ml.session, manifest, Path({str(run.directory)!r}))
    stage.register("Image", "first.png")
    # the limit on a file's size stands for the full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {resource.RLIM_INFINITY}))
    try:
        stage.register("Image", Path({str(tmp_path / "big")!r}))
    except DerivaMLExecutionError as error:
        assert "Cannot stage output 'big' of Image" in str(error), error
    else:
        raise SystemExit("nothing was raised")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    manifest = Manifest(run.manifest.path)
    assert [entry.file_name for entry in manifest.pending_assets()] == ["first.png"]
    assert len(list((run.directory / "assets" / "Image").iterdir())) == 1


def test_metadata_that_no_catalog_can_hold_is_refused_and_a_description_is_made_legible(run: Run) -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(DerivaMLValidationError, match="Note: no catalog can hold"):
            run.stage.register("Image", "a.png", Note=text)
    path = run.stage.register("Image", "a.png", Note="\\u0000 as it is typed", description="x\0\udcffy")
    path.write_bytes(b"x")
    with pytest.raises(DerivaMLValidationError, match="Note: no catalog can hold"):
        path.metadata = {"Note": "\udcff"}
    (done,) = upload(run.session, run.rid, run.manifest).done
    (row,) = run.session.catalog.rows_by("demo-schema", "Image", "RID", [str(done.rid)])
    assert (row["Description"], row["Note"]) == ("x\\x00\\udcffy", "\\u0000 as it is typed")
