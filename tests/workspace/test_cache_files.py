"""The contents of a cache's files: once each, verified, and nothing of the catalog's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deriva_ml.core.files import hash_file, hash_parts
from deriva_ml.workspace.cache import SEAL_NAME, Cache
from deriva_ml.workspace.cache_files import SMALL, STAMP, FileStore, bring


def _entry(cache: Cache, key: str, content: bytes) -> Path:
    return cache.populate(key, lambda directory: (directory / "file").write_bytes(content) and None).path / "file"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def _stored(cache: Cache) -> list[Path]:
    return [path for path in (cache.root / ".files").rglob("*") if path.is_file()]


def test_entries_with_the_same_content_share_one_file(cache: Cache) -> None:
    one, other, third = (_entry(cache, key, content) for key, content in (("a", b"1"), ("b", b"1"), ("c", b"2")))
    assert one.samefile(other)
    assert not one.samefile(third)
    assert len(_stored(cache)) == 2


def test_what_no_entry_holds_goes_with_the_last_one(cache: Cache) -> None:
    _entry(cache, "a", b"1")
    _entry(cache, "b", b"1")
    cache.remove("a")
    assert len(_stored(cache)) == 1
    cache.remove("b")
    assert _stored(cache) == []


@pytest.mark.parametrize("seal", [True, False])
def test_what_a_repaired_entry_held_goes_too(cache: Cache, seal: bool) -> None:
    path = _entry(cache, "a", b"1")
    path.chmod(0o644)
    path.write_bytes(b"2")
    if not seal:
        (path.parent / SEAL_NAME).unlink()
    assert _entry(cache, "a", b"1").read_bytes() == b"1"
    assert [each.read_bytes() for each in _stored(cache)] == [b"1"]


def test_damaged_content_is_given_to_nobody(cache: Cache, tmp_path: Path) -> None:
    path = _entry(cache, "a", b"content")
    path.chmod(0o644)
    path.write_bytes(b"changed")
    again = _entry(cache, "b", b"content")
    assert again.read_bytes() == b"content"
    digests = hash_parts([b"content"])
    assert FileStore(cache.root).link(digests.md5, digests.length, tmp_path / "x").digests == digests
    assert (tmp_path / "x").samefile(again)
    assert cache.entry("a") is None


def test_content_that_was_only_touched_is_hashed_and_kept(cache: Cache, tmp_path: Path) -> None:
    path = _entry(cache, "a", b"content")
    os.utime(path, (5, 5))
    digests = hash_file(path)
    assert FileStore(cache.root).link(digests.md5, digests.length, tmp_path / "x").digests == digests
    assert path.stat().st_mtime_ns == STAMP


def test_content_that_is_not_stored_is_not_linked(cache: Cache, tmp_path: Path) -> None:
    assert FileStore(cache.root).link("0" * 32, 3, tmp_path / "x") is None
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("size", [0, 1, SMALL])
def test_small_files_are_copied_write_protected(tmp_path: Path, size: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    assert bring(source, target) == hash_file(source) == hash_file(target)
    assert not source.samefile(target)
    assert target.stat().st_mode & 0o222 == 0


def test_large_files_take_no_second_room(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(SMALL + 1))
    link = tmp_path / "link"
    link.symlink_to(source)
    assert bring(link, target) == hash_file(source)
    # a clone where the file system can, else a name of the same file
    assert target.samefile(source) or target.stat().st_nlink == 1
    assert not target.is_symlink()


def test_a_missing_file_is_not_brought(tmp_path: Path) -> None:
    assert bring(tmp_path / "nothing", tmp_path / "target") is None
    assert not (tmp_path / "target").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for name, size in (("small", 3), ("large", SMALL + 1)):
        source, target = tmp_path / name, tmp_path / f"{name} target"
        source.write_bytes(b"x" * size)
        target.write_bytes(b"mine")
        with pytest.raises(FileExistsError):
            bring(source, target)
        assert target.read_bytes() == b"mine"
