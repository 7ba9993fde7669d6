"""Bytes up and down: verified, whole or not there, sent once, taken up where they broke off."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from tests.fakes import Counting, Failing

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.transport import InProcess, Retry
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.core.files import Digests, hash_parts
from deriva_ml.wire.hatrac import object_name
from deriva_ml.wire.http import Request, Response

CONTENT = os.urandom(300_000)
NAME = object_name("ns", "sub", "ä file, 1.bin")


def patient(attempts: int = 4) -> Retry:
    return Retry(attempts=attempts, sleep=lambda _seconds: None)


@pytest.fixture
def objects(transport: Counting) -> ObjectClient:
    return ObjectClient(transport, retry=patient())


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("size", [0, 10, 300_000, (1 << 20) + 1])
@pytest.mark.parametrize("from_file", [False, True])
def test_what_is_put_comes_back(objects: ObjectClient, tmp_path: Path, size: int, from_file: bool) -> None:
    content = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(content)
    sent: list[int] = []
    url = objects.put(NAME, source if from_file else content, content_type="x/y", progress=sent.append)
    assert url.startswith(f"{NAME}:")
    assert sum(sent) == size
    arrived: list[int] = []
    digests = objects.fetch(url, tmp_path / "target", md5=md5(content), length=size, progress=arrived.append)
    assert (tmp_path / "target").read_bytes() == content
    assert sum(arrived) == size
    head = objects.head(url)
    assert (head.length, head.md5, head.sha256) == (size, digests.md5, digests.sha256)
    assert head.version == url.rpartition(":")[2]


def test_content_that_is_there_is_not_sent_again(objects: ObjectClient, transport: Counting) -> None:
    url = objects.put(NAME, CONTENT)
    transport.reset()
    assert objects.put(NAME, CONTENT) == url
    assert transport.methods == {"HEAD": 1}
    assert objects.put(NAME, b"other") != url
    assert objects.head(url).length == len(CONTENT)


def test_a_name_without_content_takes_some(objects: ObjectClient) -> None:
    objects.delete(objects.put(NAME, b"first"))
    assert objects.find(NAME) is None
    assert objects.put(NAME, b"second")


@pytest.mark.parametrize(
    "bad", ["", "/ns/a", "https://elsewhere.example.org/hatrac/a", "/hatrac/a:VERSION", "/hatrac/"]
)
def test_what_is_no_name_is_refused(objects: ObjectClient, bad: str) -> None:
    with pytest.raises(DerivaMLDataError):
        objects.put(bad, b"x")


def test_a_file_that_changed_since_it_was_hashed_is_refused(objects: ObjectClient, tmp_path: Path) -> None:
    source = tmp_path / "log"
    for later in (b"grown beyond", b"other"):
        source.write_bytes(b"start")
        known = hash_parts([b"start"])
        source.write_bytes(later)
        with pytest.raises(DerivaMLValidationError, match="has changed since"):
            objects.put(NAME, source, digests=known)
    assert objects.find(NAME) is None


def test_large_content_goes_in_chunks_where_bodies_are_limited(transport: Counting, tmp_path: Path) -> None:
    limited = Counting(transport, body_limit=70_000)
    objects = ObjectClient(limited)
    sent: list[int] = []
    url = objects.put(NAME, CONTENT, progress=sent.append)
    assert limited.methods == {"HEAD": 1, "POST": 2, "PUT": 5}
    assert sum(sent) == len(CONTENT)
    objects.fetch(url, tmp_path / "target", md5=md5(CONTENT))


def test_a_chunk_that_is_lost_ends_the_job(transport: Counting) -> None:
    losing = Failing(transport, lose=lambda request, number: number == 4, body_limit=70_000)
    with pytest.raises(DerivaMLUnreachable):
        ObjectClient(losing).put(NAME, CONTENT)
    assert transport.requests[-1][0] == "DELETE"
    assert ObjectClient(transport).find(NAME) is None


def test_namespaces_can_be_made_twice(objects: ObjectClient) -> None:
    objects.create_namespace("/hatrac/a/b")
    objects.create_namespace("/hatrac/a/b")
    objects.put("/hatrac/o", b"x")
    with pytest.raises(DerivaMLCatalogError):
        objects.create_namespace("/hatrac/o/below")


def test_the_file_behind_an_object_is_given_where_it_is_local(
    objects: ObjectClient, transport: Counting, tmp_path: Path
) -> None:
    url = objects.put(NAME, CONTENT)
    path = objects.local_path(url)
    assert path is not None
    assert path.read_bytes() == CONTENT
    (tmp_path / "link").hardlink_to(path)
    objects.delete(url)
    assert objects.local_path(url) is None
    assert (tmp_path / "link").read_bytes() == CONTENT
    assert ObjectClient(Failing(transport)).local_path(url) is None


# ---------------------------------------------------------------------------------------------- faults


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_broken_download_goes_on_where_it_stopped(objects: ObjectClient, tmp_path: Path) -> None:
    url = objects.put(NAME, CONTENT)
    # Five times there is some progress, so five failures do not exhaust a patience of two attempts.
    breaking = Failing(objects.transport, break_after=lambda request, number: 50_000 if number < 5 else None)
    digests = ObjectClient(breaking, retry=patient(2)).fetch(url, tmp_path / "down" / "target", md5=md5(CONTENT))
    assert digests.length == len(CONTENT)
    assert (tmp_path / "down" / "target").read_bytes() == CONTENT
    assert breaking.count == 6


def test_a_download_that_makes_no_progress_is_given_up(objects: ObjectClient, tmp_path: Path) -> None:
    url = objects.put(NAME, CONTENT)
    down = tmp_path / "down"
    dead = Failing(objects.transport, break_after=lambda request, number: 0)
    with pytest.raises(DerivaMLUnreachable) as caught:
        ObjectClient(dead, retry=patient(3)).fetch(url, down / "target")
    assert type(caught.value) is DerivaMLUnreachable
    assert caught.value.was_repeated
    assert dead.count == 3
    assert leftovers(down) == []


def test_an_object_that_the_store_has_in_part_only_is_damage_not_a_lost_connection(
    objects: ObjectClient, tmp_path: Path
) -> None:
    url = objects.put(NAME, CONTENT)
    stored = objects.local_path(url)
    assert stored is not None
    stored.chmod(0o600)
    stored.write_bytes(CONTENT[:1000])
    with pytest.raises(DerivaMLDataError, match=r"cannot give all of an object.*broke off after 1000") as caught:
        objects.fetch(url, tmp_path / "down" / "target")
    assert not isinstance(caught.value, DerivaMLUnreachable)
    assert "fsck" in str(caught.value.hint)
    assert leftovers(tmp_path / "down") == []
    stored.write_bytes(CONTENT)
    objects.fetch(url, tmp_path / "down" / "target")
    assert (tmp_path / "down" / "target").read_bytes() == CONTENT


def test_a_wrong_digest_or_length_leaves_nothing(objects: ObjectClient, tmp_path: Path) -> None:
    url = objects.put(NAME, CONTENT)
    down = tmp_path / "down"
    for wrong in ({"md5": md5(b"x")}, {"sha256": "0" * 64}, {"length": 1}):
        with pytest.raises(DerivaMLValidationError):
            objects.fetch(url, down / "target", **wrong)  # type: ignore[arg-type]
        assert leftovers(down) == []


def test_what_was_there_before_stays_when_a_download_fails(objects: ObjectClient, tmp_path: Path) -> None:
    url = objects.put(NAME, CONTENT)
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(DerivaMLValidationError):
        objects.fetch(url, target, md5=md5(b"x"))
    assert target.read_bytes() == b"old"


def test_content_damaged_on_the_way_is_noticed_without_a_known_digest(objects: ObjectClient, tmp_path: Path) -> None:
    url = objects.put(NAME, CONTENT)

    def damage(request: Request) -> Response:
        answer = objects.transport.send(request)
        if request.method == "GET":
            answer.body = b"?" + answer.read()[1:]
        return answer

    with pytest.raises(DerivaMLValidationError):
        ObjectClient(InProcess(damage)).fetch(url, tmp_path / "target")


def test_an_object_that_changes_during_a_download_is_fetched_anew(objects: ObjectClient, tmp_path: Path) -> None:
    objects.put(NAME, CONTENT)
    newer = os.urandom(len(CONTENT))

    def replace(_seconds: float) -> None:
        objects.put(NAME, newer)

    breaking = Failing(objects.transport, break_after=lambda request, number: 100_000 if number == 0 else None)
    ObjectClient(breaking, retry=Retry(attempts=4, sleep=replace)).fetch(NAME, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == newer


def test_a_missing_object_is_said(objects: ObjectClient, tmp_path: Path) -> None:
    with pytest.raises(DerivaMLCatalogError) as refused:
        objects.fetch("/hatrac/none", tmp_path / "target")
    assert refused.value.status == 404
    assert leftovers(tmp_path / "bare") != []
    assert not (tmp_path / "target").exists()


def test_a_full_disk_is_said_and_leaves_nothing(objects: ObjectClient, tmp_path: Path) -> None:
    url = objects.put(NAME, CONTENT)
    down = tmp_path / "down"

    def full(_count: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DerivaMLException, match=r"(?s)No space left.*free some space"):
        objects.fetch(url, down / "target", progress=full)
    assert leftovers(down) == []


def test_digests_that_are_given_are_not_computed_again(objects: ObjectClient, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    known = Digests(md5(CONTENT), hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    url = objects.put(NAME, source, digests=known)
    source.unlink()
    assert objects.put(NAME, source, digests=known) == url  # not even opened: the store has it
