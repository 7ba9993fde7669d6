"""Content-addressed files: whole or not there, once each, and the same bytes for ever."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml.server.objects import BLOCK, ObjectFiles, hash_blocks
from deriva_ml.wire.http import Response


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class FullDisk(io.RawIOBase):
    """A body that arrives in part before the disk is full."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1, /) -> bytes:
        part = self._content.read(1000)
        if not part:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return part


def store(files: ObjectFiles, body: bytes | io.IOBase) -> str:
    with files.receive(body) as incoming:  # type: ignore[arg-type]
        files.publish(incoming)
        return incoming.digests.sha256


@pytest.mark.parametrize("as_stream", [False, True])
def test_content_is_kept_under_its_sha256(tmp_path: Path, as_stream: bool) -> None:
    files = ObjectFiles(tmp_path)
    content = b"some content"
    sha256 = store(files, io.BytesIO(content) if as_stream else content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert files.path(sha256).read_bytes() == content
    assert files.path(sha256).stat().st_mode & 0o222 == 0


def test_the_same_bytes_take_their_space_once(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    for body in (b"twice", io.BytesIO(b"twice"), b"twice"):
        store(files, body)
    assert len(files_below(tmp_path)) == 1


def test_content_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    with files.receive(b"never"):
        pass
    with pytest.raises(KeyError), files.receive(io.BytesIO(b"neither")):
        raise KeyError
    assert files_below(tmp_path) == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    with pytest.raises(OSError, match="No space"):
        store(files, FullDisk(b"x" * 5000))
    assert files_below(tmp_path) == []


def test_content_removed_between_arrival_and_publication_is_written_again(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    sha256 = store(files, b"fleeting")
    with files.receive(b"fleeting") as incoming:
        files.remove(sha256)
        files.publish(incoming)
    assert files.path(sha256).read_bytes() == b"fleeting"


def test_a_truncated_file_is_replaced_when_its_content_comes_again(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    sha256 = store(files, b"whole content")
    files.path(sha256).unlink()
    files.path(sha256).write_bytes(b"whole")
    store(files, b"whole content")
    assert files.path(sha256).read_bytes() == b"whole content"


@given(content=st.binary(max_size=3000), first=st.integers(0, 3000), length=st.integers(0, 3000))
@settings(max_examples=40)
def test_any_part_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, first: int, length: int
) -> None:
    files = ObjectFiles(tmp_path_factory.mktemp("objects"))
    sha256 = store(files, content)
    first = min(first, len(content))
    length = min(length, len(content) - first)
    assert Response(200, {}, files.read(sha256, first, length)).read() == content[first : first + length]


def test_large_content_is_read_in_parts_and_survives_its_removal(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    content = os.urandom(3 << 20)
    sha256 = store(files, content)
    answer = Response(200, {}, files.read(sha256, 100, len(content) - 100))
    files.remove(sha256)
    assert answer.read() == content[100:]


def test_a_reader_who_leaves_early_closes_the_file(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    answer = Response(200, {}, files.read(store(files, os.urandom(1 << 20)), 0, 1 << 20))
    answer.close()


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_digests_do_not_depend_on_how_the_content_is_cut(size: int) -> None:
    content = os.urandom(size)
    out = io.BytesIO()
    digests = hash_blocks(iter([content[at : at + BLOCK] for at in range(0, size, BLOCK)]), out)
    assert out.getvalue() == content
    assert digests.sha256 == hashlib.sha256(content).hexdigest()
    assert digests.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert digests.length == size


def test_sweeping_removes_what_a_crash_left_and_nothing_else(tmp_path: Path) -> None:
    now = [1000.0]
    files = ObjectFiles(tmp_path, clock=lambda: now[0])
    sha256 = store(files, b"kept")
    left = tmp_path / "incoming" / "left"
    left.write_bytes(b"half")
    os.utime(left, (now[0], now[0]))
    assert files.sweep() == 0
    now[0] += 7200
    assert files.sweep() == 1
    assert files_below(tmp_path) == [files.path(sha256)]


def write_chunk(files: ObjectFiles, offset: int, length: int, body: bytes | io.BytesIO) -> None:
    with files.gathering("JOB") as gathering:
        gathering.write(offset, length, body)


def test_a_job_file_shared_with_an_object_is_copied_before_it_is_written(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    write_chunk(files, 0, 4, b"good")
    with files.gathering("JOB", alone=True) as gathering:
        files.publish_job("JOB", digests := gathering.finish(4))  # and a crash before the record was made
    write_chunk(files, 0, 4, b"evil")
    assert files.path(digests.sha256).read_bytes() == b"good"
    assert files.job_path("JOB").read_bytes() == b"evil"


def test_a_chunk_never_reaches_beyond_its_place(tmp_path: Path) -> None:
    files = ObjectFiles(tmp_path)
    write_chunk(files, 4, 4, b"next")
    write_chunk(files, 0, 4, io.BytesIO(b"far too long"))
    assert files.job_path("JOB").read_bytes() == b"far next"
