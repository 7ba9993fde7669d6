"""Files of this machine as inputs of runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra_zen import instantiate
from pydantic import ValidationError

from deriva_ml.asset import LocalFile, LocalFileConfig
from deriva_ml.asset.local_file import check_local_file, store_local_files
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLException, DerivaMLUploadError, DerivaMLValidationError
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import table


def inputs(session: Session) -> list[dict[str, object]]:
    return session.catalog.rows(table("deriva-ml", "Execution_Asset"))  # type: ignore[return-value]


def test_a_configuration_gives_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = instantiate(LocalFileConfig("data/x.csv", cache=True))
    assert made == LocalFile(path=tmp_path / "data" / "x.csv", cache=True)
    assert LocalFile.model_validate("a") == LocalFile(path=tmp_path / "a")
    with pytest.raises(ValidationError):
        LocalFile.model_validate({"path": "x", "chache": True})


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for name, text in (
        ("pipe", "not a plain file"),
        ("dead", "symbolic link"),
        ("folder", "is a directory"),
        ("none", "does not exist"),
    ):
        with pytest.raises(DerivaMLDataError, match=f"{name} .*{text}"):
            check_local_file(LocalFile(path=tmp_path / name), "assets[0]")


def test_the_same_content_under_one_name_is_stored_once(session: Session, tmp_path: Path) -> None:
    for name, content in (("a/x.csv", b"1"), ("b/x.csv", b"2"), ("c/x.csv", b"1"), ("a/y\nz", b"1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    files = [LocalFile(path=tmp_path / name) for name in ("a/x.csv", "b/x.csv", "a/y\nz")]
    first = store_local_files(session, files)
    assert len({spec.rid for spec in first}) == 3
    assert store_local_files(session, [LocalFile(path=tmp_path / "c" / "x.csv", cache=True)])[0].rid == first[0].rid
    assert store_local_files(session, files) == first
    rows = {row["RID"]: row for row in inputs(session)}
    assert len(rows) == 3
    row = rows[first[0].rid]
    assert (row["Filename"], row["Length"], row["MD5"]) == ("x.csv", 1, "c4ca4238a0b923820dcc509a6f75849b")
    assert str(tmp_path / "a" / "x.csv") in str(row["Description"])
    types = session.catalog.rows(table("deriva-ml", "Execution_Asset_Asset_Type"))
    assert {each["Asset_Type"] for each in types} == {"Input_File"}
    with pytest.raises(DerivaMLValidationError, match="twice"):
        store_local_files(session, [files[0], LocalFile(path=tmp_path / "c" / "x.csv")])


def test_a_file_that_vanishes_leaves_nothing(session: Session, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    with pytest.raises(DerivaMLUploadError, match="gone cannot be read"):
        store_local_files(session, [LocalFile(path=tmp_path / "x"), LocalFile(path=tmp_path / "gone")])
    assert inputs(session) == []
    root = session.place.root
    assert root is not None
    assert [path for path in (root / "objects").rglob("*") if path.is_file()] == []
    with pytest.raises(DerivaMLException):
        store_local_files(session.snapshot(session.catalog.latest_snaptime()), [LocalFile(path=tmp_path / "x")])
