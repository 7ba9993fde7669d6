"""Files of the user's, taken as they are now."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import pytest
from tests.asset.sessions import Run

from deriva_ml.asset.asset import create_asset
from deriva_ml.asset.sealing import existing_file, seal_copy
from deriva_ml.asset.upload import upload
from deriva_ml.core.ermrest import ColumnDef
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.schema.session import Session


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    create_asset(session, "Image", [ColumnDef("Width", "int4"), ColumnDef("Note", "text")])
    return Run(session, tmp_path / "runs")


def test_of_a_log_that_grows_what_it_has_when_it_is_registered_is_the_output(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(b"line\n" * 1000)
    stop = threading.Event()

    def grow() -> None:
        with log.open("ab", buffering=0) as out:
            while not stop.is_set() and out.tell() < 50_000_000:
                out.write(b"line\n" * 100)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        staged = run.stage.register("Image", log)
        sealed = staged.read_bytes()
    finally:
        stop.set()
        writer.join()
    assert sealed == log.read_bytes()[: len(sealed)]
    assert len(sealed) % 5 == 0
    report = upload(run.session, run.rid, run.manifest)
    assert [entry.length for entry in report.done] == [len(sealed)]


def test_a_file_that_is_rewritten_or_cut_short_while_it_is_copied_is_refused(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "state.bin"
    state.write_bytes(b"\0" * 100_000_000)
    stop = threading.Event()

    def rewrite() -> None:
        with state.open("r+b", buffering=0) as out:
            while not stop.wait(0.001):
                out.seek(0)
                out.write(b"1234")

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        with pytest.raises(DerivaMLExecutionError, match="written to while it was copied"):
            run.stage.register("Image", state)
    finally:
        stop.set()
        writer.join()
    assert not run.manifest.assets
    assert not list((run.directory / "assets" / "Image").iterdir())


def test_an_output_whose_file_is_deleted_after_it_was_registered_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"kept")
    run.stage.register("Image", tmp_path / "a.bin")
    (tmp_path / "a.bin").unlink()
    (done,) = upload(run.session, run.rid, run.manifest).done
    assert done.length == 4


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as out:
        out.seek(1 << 30)
        out.write(b"in the middle")
        out.truncate(5 << 30)
    seal_copy(source, target)
    found = target.stat()
    assert found.st_size == 5 << 30
    assert found.st_blocks * 512 < 1 << 20
    with target.open("rb") as copy:
        copy.seek(1 << 30)
        assert copy.read(13) == b"in the middle"
        assert copy.read(5) == b"\0" * 5


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"x" * 5000, b"a" + b"\0" * (3 << 20) + b"b"])
def test_any_content_is_copied_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    seal_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files that claim to be empty")
def test_a_file_that_claims_to_be_empty_is_read_to_its_end(tmp_path: Path) -> None:
    seal_copy(Path("/proc/self/status"), tmp_path / "status")
    assert b"Name:" in (tmp_path / "status").read_bytes()


def test_a_name_may_begin_with_a_tilde(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~backup.txt").write_bytes(b"x")
    assert run.stage.register("Image", Path("~backup.txt")).read_bytes() == b"x"
    assert existing_file("~nobody-of-this-name/a.txt") is None
    (Path.home() / "mine.txt").write_bytes(b"y")
    assert existing_file("~/mine.txt") == Path.home() / "mine.txt"


@pytest.mark.parametrize(
    "name",
    ["😀" * 63, "a" * 255, "line\nbreak", "-rf", "_implementations.log", unicodedata.normalize("NFD", "é.txt"), " "],
    ids=["255 bytes in wide letters", "255 bytes", "newline", "dash", "underscore", "decomposed", "blank"],
)
def test_any_name_that_a_file_can_have_is_sealed_and_uploaded(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    run.stage.register("Image", tmp_path / name)
    (done,) = upload(run.session, run.rid, run.manifest).done
    (row,) = run.session.catalog.rows_by("demo-schema", "Image", "RID", [str(done.rid)])
    assert row["Filename"] == name


@pytest.mark.parametrize("name", ["a" * 300, "x/" * 5000 + "y"])
def test_a_path_that_is_too_long_is_told(name: str) -> None:
    with pytest.raises(DerivaMLDataError, match="File name too long"):
        existing_file(Path(name))


def test_a_circle_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(DerivaMLDataError, match="symbolic links"):
        existing_file(tmp_path / "circle")


def test_what_may_not_be_read_is_told_and_nothing_is_registered(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    (folder / "closed").mkdir(parents=True)
    (folder / "secret").write_bytes(b"x")
    (folder / "closed" / "file").write_bytes(b"x")
    (folder / "secret").chmod(0)
    (folder / "closed").chmod(0)
    code = f"""
import os
from pathlib import Path
from deriva_ml.asset.sealing import existing_file, seal_copy
from deriva_ml.core.exceptions import DerivaMLDataError
here = os.open({str(folder)!r}, os.O_RDONLY)
os.fchdir(here)
if not os.geteuid():
    os.seteuid(65534)
try:
    existing_file(Path("closed/file"))
except DerivaMLDataError as error:
    assert "Permission denied" in str(error), error
else:
    raise SystemExit("the closed directory was looked into")
try:
    seal_copy(existing_file(Path("secret")) and Path("secret"), Path("copy"))
except PermissionError:
    pass
else:
    raise SystemExit("the closed file was read")
"""
    try:
        subprocess.run([sys.executable, "-c", code], check=True)
    finally:
        (folder / "closed").chmod(0o755)
    if os.geteuid():
        with pytest.raises(DerivaMLExecutionError, match="Permission denied"):
            run.stage.register("Image", folder / "secret")
        assert not run.manifest.assets
