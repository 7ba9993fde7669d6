from __future__ import annotations

import json
import logging
import resource
import shutil
import signal
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from deriva_ml.core.config import Settings, default_workdir, folder_identity
from deriva_ml.core.marker import MARKER, add_place, settle_identity
from deriva_ml.server.app import create_folder, open_service


@contextmanager
def _no_writing() -> Iterator[None]:
    """No file can get a content: as on a file system that is read-only, and for root as well."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "original"
    create_folder(root)
    return root


def _marker(root: Path) -> dict[str, object]:
    return dict(json.loads((root / MARKER).read_text()))


def _without_place(root: Path) -> None:
    document = _marker(root)
    del document["place"]
    (root / MARKER).write_text(json.dumps(document))


def test_a_copy_is_another_folder_and_says_whose_copy_it_is(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = (folder / MARKER).read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with caplog.at_level(logging.WARNING, logger="deriva_ml"):
        identity = folder_identity(copy)
    assert identity not in (None, folder_identity(folder))
    assert _marker(copy)["identity"] == identity
    assert _marker(copy)["copied_from"] == folder_identity(folder)
    assert (folder / MARKER).read_bytes() == before
    assert [str(copy) in record.getMessage() for record in caplog.records] == [True]
    settings = Settings(tmp_path, tmp_path)
    assert default_workdir(settings, str(copy), 1) != default_workdir(settings, str(folder), 1)


def test_a_copy_keeps_its_identity_from_then_on_and_the_service_has_the_same(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    service = open_service(copy)
    service.close()
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert folder_identity(copy) == service.identity == _marker(copy)["identity"]
    open_service(copy).close()
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == after


def test_a_folder_that_was_unpacked_is_another_one(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "backup.tar", "w") as archive:
        archive.add(folder, "unpacked")
    with tarfile.open(tmp_path / "backup.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    assert folder_identity(tmp_path / "unpacked") != folder_identity(folder)


def test_a_folder_that_was_moved_is_the_same(folder: Path, tmp_path: Path) -> None:
    identity, before = folder_identity(folder), (folder / MARKER).read_bytes()
    moved = folder.rename(tmp_path / "moved")
    assert folder_identity(moved) == identity
    assert (moved / MARKER).read_bytes() == before


def test_a_file_system_that_was_mounted_again_holds_the_same_folder(folder: Path) -> None:
    document = _marker(folder)
    place = document["place"]
    assert isinstance(place, dict)
    (folder / MARKER).write_text(json.dumps({**document, "place": {**place, "device": place["device"] + 1}}))
    assert folder_identity(folder) == document["identity"]
    elsewhere = {**place, "device": place["device"] + 1, "folder": place["folder"] + 1}
    (folder / MARKER).write_text(json.dumps({**document, "place": elsewhere}))
    assert folder_identity(folder) != document["identity"]


def test_all_who_meet_a_copy_at_once_agree(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with ThreadPoolExecutor(8) as pool:
        identities = set(pool.map(folder_identity, [copy] * 32))
    assert len(identities) == 1
    assert identities != {folder_identity(folder)}


def test_a_copy_that_cannot_be_written_has_an_identity_all_the_same(folder: Path, tmp_path: Path) -> None:
    copies = [tmp_path / name for name in ("a", "b")]
    identities = []
    for copy in copies:
        shutil.copytree(folder, copy)
        before = (copy / MARKER).read_bytes()
        with _no_writing():
            identities.append(folder_identity(copy))
            assert folder_identity(copy) == identities[-1]
            assert (copy / MARKER).read_bytes() == before
    assert len({*identities, folder_identity(folder)}) == 3


def test_a_marker_that_knows_no_place_learns_it_with_the_first_write(folder: Path) -> None:
    _without_place(folder)
    before, identity = (folder / MARKER).read_bytes(), _marker(folder)["identity"]
    assert settle_identity(folder)["identity"] == identity
    assert (folder / MARKER).read_bytes() == before
    add_place(folder)
    assert _marker(folder)["identity"] == identity
    assert folder_identity(folder) == identity
    shutil.copytree(folder, folder.with_name("copy"))
    assert folder_identity(folder.with_name("copy")) != identity


def test_the_marker_of_a_later_version_is_left_alone(folder: Path) -> None:
    text = json.dumps({**_marker(folder), "format": 99, "place": {"inode": 0}})
    (folder / MARKER).write_text(text)
    assert folder_identity(folder) == _marker(folder)["identity"]
    assert (folder / MARKER).read_text() == text
