"""Many objects at once: the same as many requests, with one wait for the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deriva_ml.core.files import hash_file
from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.bulk import Taken
from deriva_ml.server.check import check_folder
from deriva_ml.wire.http import ANONYMOUS, Request, Response


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    create_folder(tmp_path / "root")
    with closing(open_service(tmp_path / "root")) as opened:
        yield opened


def take_in(service: Service, *paths: Path) -> list[Taken]:
    return [service.take_in(path, lambda _count: None) for path in paths]


def put(
    service: Service, names: list[str], taken: list[Taken], headers: dict[str, str] | None = None
) -> list[Response]:
    requests = [Request("PUT", f"{name}?parents=true", headers or {}) for name in names]
    return service.put_taken(requests, taken, local_client())


def get(service: Service, url: str) -> bytes:
    answer = service(Request("GET", url), local_client())
    assert answer.status == 200, url
    return answer.read()


def source(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def incoming(service: Service) -> list[Path]:
    folder = service.root / "objects" / "incoming"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_files_get_their_names_together(service: Service, tmp_path: Path) -> None:
    contents = [os.urandom(size) for size in (0, 1, 4096, 9 << 20)]
    paths = [source(tmp_path, str(number), content) for number, content in enumerate(contents)]
    counted: list[int] = []
    taken = [service.take_in(path, counted.append) for path in paths]
    assert [one.digests for one in taken] == [hash_file(path) for path in paths]
    assert sum(counted) == sum(map(len, contents))
    answers = put(service, [f"/hatrac/a/b/{number}" for number in range(4)], taken)
    assert [answer.status for answer in answers] == [201] * 4
    assert [get(service, answer.read().decode().strip()) for answer in answers] == contents
    assert incoming(service) == []
    assert check_folder(service.root).findings == []


def test_the_same_content_keeps_its_version_and_is_held_once(service: Service, tmp_path: Path) -> None:
    path = source(tmp_path, "x", b"x" * 5000)
    first = put(service, ["/hatrac/x", "/hatrac/y"], take_in(service, path, path))
    again = put(service, ["/hatrac/x"], take_in(service, path))
    assert again[0].read() == first[0].read()
    path.write_bytes(b"new")
    newer = put(service, ["/hatrac/x"], take_in(service, path))
    assert get(service, "/hatrac/x") == b"new"
    assert newer[0].read() != first[1].read()
    files = [path for path in (service.root / "objects").rglob("*") if path.is_file() and path not in incoming(service)]
    assert len(files) == 2


def test_a_refusal_concerns_its_own_object_only(service: Service, tmp_path: Path) -> None:
    paths = [source(tmp_path, name, name.encode()) for name in ("a", "b", "c")]
    put(service, ["/hatrac/space/in"], take_in(service, paths[0]))
    taken = take_in(service, *paths)
    answers = put(service, ["/hatrac/one", "/hatrac/space", "/hatrac/three"], taken)
    assert [answer.status for answer in answers] == [201, 409, 201]
    wrong = put(service, ["/hatrac/four"], take_in(service, paths[0]), {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="})
    assert wrong[0].status == 400
    assert b"does not match" in wrong[0].read()
    taken[1].discard()
    sizes = [path.stat().st_size for path in incoming(service)]
    assert sizes == [1]  # what the last call took in and nobody discarded


def test_what_is_discarded_leaves_nothing(service: Service, tmp_path: Path) -> None:
    (taken,) = take_in(service, source(tmp_path, "x", b"x"))
    assert len(incoming(service)) == 1
    taken.discard()
    taken.discard()
    assert incoming(service) == []


def test_a_file_that_cannot_be_read_leaves_nothing(service: Service, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        take_in(service, tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        take_in(service, tmp_path)

    def full(_count: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        service.take_in(source(tmp_path, "x", b"x"), full)
    assert incoming(service) == []


def test_content_whose_name_was_deleted_meanwhile_is_not_named_again(service: Service, tmp_path: Path) -> None:
    taken = take_in(service, source(tmp_path, "x", b"x"))
    put(service, ["/hatrac/one"], taken)
    assert put(service, ["/hatrac/two"], taken)[0].status == 201  # the store has it
    for name in ("one", "two"):
        service(Request("DELETE", f"/hatrac/{name}"), local_client()).read()
    assert put(service, ["/hatrac/three"], taken)[0].status == 409
    assert service(Request("GET", "/hatrac/three"), local_client()).status in (404, 409)


def test_the_files_of_many_objects_are_found_at_once_or_left_to_requests(service: Service, tmp_path: Path) -> None:
    paths = [source(tmp_path, name, name.encode()) for name in ("a", "b", "c")]
    answers = put(service, [f"/hatrac/space/{path.name}" for path in paths], take_in(service, *paths))
    first, second, third = (answer.read().decode().strip() for answer in answers)
    service(Request("DELETE", third), local_client()).read()
    asked = [second, first, third, "/hatrac/space/a", "/hatrac/other:" + first.partition(":")[2], "/hatrac/none:X"]
    found = service.local_paths(asked, local_client())
    assert [None if path is None else Path(path).read_bytes() for path in found] == [b"b", b"a", *[None] * 4]
    assert service.local_paths([], local_client()) == []
    # Whom access lists concern asks for each, so that they are obeyed.
    assert service.local_paths([first], ANONYMOUS) == [None]
    assert service.local_path(first, ANONYMOUS) is None
