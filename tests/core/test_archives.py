"""An archive of others is unpacked where it may be, or not at all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.archives import unpack
from deriva_ml.core.exceptions import DerivaMLDataError


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content)
    return path


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for info, content in members:
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def all_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_plain_files_come_with_their_directories(tmp_path: Path, kind: str) -> None:
    members = {"a/b/c.txt": b"c", "a/d e.txt": b"", "é": b"x" * 3_000_000}
    archive = tmp_path / f"archive.{kind}"
    if kind == "zip":
        zipped(archive, members)
    else:
        tarred(archive, *((tarfile.TarInfo(name), content) for name, content in members.items()))
    out = tmp_path / "out"
    out.mkdir()
    unpack(archive, out)
    assert all_files(out) == members


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/abs", "a/..", "..\\out", "C:/x", "a\\b", "a/b/../../../x"])
@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    archive = tmp_path / f"archive.{kind}"
    if kind == "zip":
        zipped(archive, {name: b"x"})
    else:
        tarred(archive, (tarfile.TarInfo(name), b"x"))
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(DerivaMLDataError, match="leads elsewhere"):
        unpack(archive, out)
    assert all_files(tmp_path) == {archive.name: archive.read_bytes()}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    archive = tarred(tmp_path / "x.tgz", (info, b""))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DerivaMLDataError, match="no plain file"):
        unpack(archive, out)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DerivaMLDataError, match="no plain file"):
        unpack(tmp_path / "x.zip", out)


def test_a_member_that_stands_twice_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "x.tgz", (tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a"), b"2"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DerivaMLDataError, match="twice"):
        unpack(archive, out)
    for members in ((("a", b"1"), ("a/b", b"2")), (("a/b", b"2"), ("a", b"1"))):
        mixed = tarred(tmp_path / "y.tgz", *((tarfile.TarInfo(name), content) for name, content in members))
        fresh = tmp_path / f"out-{members[0][0].replace('/', '')}"
        fresh.mkdir()
        with pytest.raises(DerivaMLDataError, match=r"file and a directory|twice"):
            unpack(mixed, fresh)


@given(content=st.binary(max_size=300), cut=st.integers(0, 200))
def test_whatever_is_damaged_is_said_to_be(tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    archive = zipped(folder / "x.zip", {"a": content})
    whole = archive.read_bytes()
    archive.write_bytes(whole[:cut] + whole[cut + 1 :])
    (folder / "out").mkdir()
    try:
        unpack(archive, folder / "out")
    except DerivaMLDataError as error:
        assert "x.zip" in str(error)
