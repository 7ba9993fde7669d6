"""A full disk: each request is refused by what it says, nothing is lost, and room is all that it takes to go on.

The disk is a small one of its own, in a mount namespace; where that is not permitted, and everywhere beside it, a limit
on the size of files stands for it, which fails every write.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.server.test_concurrency import TABLE
from tests.serving import served

from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.server.app import create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.wire.http import Request, Response
from deriva_ml.workspace.journal import Journal

SIZE = "8m"
SCRIPT = "from pathlib import Path; from tests.server import test_disk_full as t; t.{}(Path({!r}), {!r})"
UPLOAD = {"chunk-length": 200_000, "content-length": 200_000}
Send = Callable[[Request], Response]


@contextmanager
def full(disk: Path, kind: str, pid: int = 0) -> Iterator[None]:
    """Leave no room while the block lasts."""
    if kind == "limit":
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        return
    filling = disk / "filling"
    with filling.open("wb", buffering=0) as out:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while out.write(b"x" * size):
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        filling.unlink()


def ask(send: Send, method: str, target: str, body: object = None) -> tuple[int, str, dict[str, str]]:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"} if content is not body else {}
    answer = send(Request(method, target, headers, content))
    return answer.status, answer.read().decode(), dict(answer.headers)


def requests(job: str) -> list[tuple[str, str, object]]:
    """One of each kind that writes, each too large for what may be left in a file's last block."""
    rows = [{"a": f"{number}" * 200} for number in range(2000)]
    table = {**TABLE, "table_name": "U", "comment": "x" * 100_000}
    return [
        ("POST", "/ermrest/catalog/1/entity/s:T", rows),
        ("POST", "/ermrest/catalog/1/schema/s/table", table),
        ("PUT", "/hatrac/ns/new?parents=true", b"y" * 200_000),
        ("PUT", f"{job}/0", b"z" * 200_000),
        ("POST", "/ermrest/catalog", {"id": "2"}),
        ("DELETE", "/ermrest/catalog/1/schema/s/table/T/comment", None),
    ]


def begin(send: Send) -> str:
    """Rows, an object and an upload job; gives the job's path."""
    for method, target, body in (
        ("POST", "/ermrest/catalog", {"id": "1"}),
        ("POST", "/ermrest/catalog/1/schema/s", None),
        ("POST", "/ermrest/catalog/1/schema/s/table", {**TABLE, "comment": "a table"}),
        ("POST", "/ermrest/catalog/1/entity/s:T", [{"a": "first"}]),
        ("PUT", "/hatrac/ns/old?parents=true", b"old" * 1000),
    ):
        assert ask(send, method, target, body)[0] in (200, 201), target
    status, _, headers = ask(send, "POST", "/hatrac/ns/job;upload", UPLOAD)
    assert status == 201
    return headers["location"]


def still_there(send: Send) -> None:
    """What was written before can be read."""
    assert [row["a"] for row in json.loads(ask(send, "GET", "/ermrest/catalog/1/entity/s:T")[1])] == ["first"]
    assert ask(send, "GET", "/hatrac/ns/old")[1] == "old" * 1000


def attempt(send: Send, disk: Path, root: Path, kind: str, pid: int = 0) -> None:
    """Every request is refused while there is no room, and answered when there is."""
    job = begin(send)
    with full(disk, kind, pid):
        for method, target, body in requests(job)[:-1]:
            status, text, _ = ask(send, method, target, body)
            assert status == 507, (method, target, status, text)
            assert str(root) in text, text
            assert "free on its disk" in text, text
            still_there(send)
    still_there(send)
    for method, target, body in requests(job):
        status, text, _ = ask(send, method, target, body)
        assert status in (200, 201, 204), (method, target, status, text)
    assert ask(send, "POST", job)[0] == 201


def in_process(disk: Path, kind: str) -> None:
    """The service in this process, its connections open already, and then all of them anew."""
    root = disk / "catalog"
    create_folder(root)
    with closing(open_service(root)) as service:
        attempt(lambda request: service(request, local_client()), disk, root, kind)
    with full(disk, kind), closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        assert ask(send, "GET", "/ermrest/catalog/1/aggregate/s:T/n:=cnt(RID)")[1] == '[{"n":2001}]\n'
        assert ask(send, "GET", "/hatrac/ns/old")[1] == "old" * 1000
        status, text, _ = ask(send, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "more"}])
        assert status == 507, text
    assert check_folder(root).findings == []


def served_folder(disk: Path, kind: str) -> None:
    """The same over HTTP; the client does not try again what only room can help."""
    root = disk / "catalog"
    create_folder(root)
    waits: list[float] = []
    with served(root) as process:
        transport = Http(process.url, {"bearer-token": process.token}, retry=Retry(sleep=waits.append))
        attempt(transport.send, disk, root, kind, process.process.pid)
        transport.close()
    assert waits == []
    assert check_folder(root).findings == []


def command(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "deriva_ml.cli.catalog", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "DERIVA_ML_LOCAL": "/nowhere"},
    )
    return done.returncode, done.stderr + done.stdout


def commands(disk: Path, kind: str) -> None:
    """What the user types: a message and an exit code, nothing half made, and success when there is room."""
    root, elsewhere = disk / "catalog", disk.parent / "elsewhere"
    elsewhere.mkdir()
    create_folder(root)
    with closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        assert ask(send, "DELETE", begin(send))[0] == 204
    assert command("backup", "--root", root, elsewhere / "b.tar")[0] == 0
    writing: list[tuple[int, tuple[object, ...], str]] = [
        (1, ("create", "--root", root, "--catalog", "9"), "room"),
        (2, ("create", "--root", disk / "new", "--catalog", "9"), "room"),
        (2, ("user", "add", "ann", "--root", root), "users.db"),
        (2, ("backup", "--root", root, disk / "b.tar"), "room"),
        (2, ("backup", "--root", root, disk / "b"), "room"),
        (2, ("restore", elsewhere / "b.tar", "--root", disk / "restored"), "room"),
        (2, ("copy", f"{root}#1", disk / "copy"), "room"),
        (2, ("export", "--host", root, disk / "exported"), "has room"),
    ]
    reading: list[tuple[object, ...]] = [("list", "--root", root), ("info", "--root", root), ("fsck", "--root", root)]
    if kind == "disk":
        # Where only this disk is full, what is on it can be brought to another.
        reading += [("backup", "--root", root, elsewhere / "saved.tar"), ("copy", f"{root}#1", elsewhere / "saved")]
    before = sorted(disk.iterdir())
    with full(disk, kind):
        for code, words, said in writing:
            status, text = command(*words)
            assert (status, said in text) == (code, True), (words, status, text)
            assert "Traceback" not in text, text
            assert "unexpected" not in text, text
        for words in reading:
            status, text = command(*words)
            assert status == 0, (words, text)
    # A folder whose making was broken off is begun anew.
    assert set(disk.iterdir()) - set(before) <= {disk / "new", disk / "copy"}
    for _, words, _ in writing:
        status, text = command(*words)
        assert status == 0, (words, text)
    status, text = command("fsck", "--root", root)
    assert (status, "all is well" in text) == (0, True), text


def journal(disk: Path, kind: str) -> None:
    """This machine's own record of runs."""
    with Journal(disk / "journal.db") as runs:
        runs.open_run("1-A", directory=disk)
        with full(disk, kind):
            message = ""
            try:
                for number in range(100):
                    runs.note("1-A", "said", f"{number}" * 4000)
            except DerivaMLException as error:
                message = str(error)
            assert str(disk / "journal.db") in message, message
            assert "room" in message, message
            assert runs.run("1-A").execution == "1-A"
        runs.note("1-A", "said", "after")
        assert runs.steps("1-A")[-1].detail == "after"


SCENES = [
    in_process.__name__,
    served_folder.__name__,
    pytest.param(commands.__name__, marks=pytest.mark.slow),
    journal.__name__,
]


def run(words: list[str]) -> None:
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def small_disk() -> Callable[[Path, str], list[str]]:
    """The words of a command that runs a script with a small disk of its own at a place."""
    unshare = shutil.which("unshare")
    words = [unshare or "", "-Urm", "sh", "-c", f'mount -t tmpfs -o size={SIZE} small "$0" && exec "$@"']
    if unshare is None or subprocess.run([*words, "/mnt", "true"], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here, not even in a namespace")
    return lambda place, script: [*words, str(place), sys.executable, "-c", script]


@pytest.mark.parametrize("scene", SCENES)
def test_a_full_disk_of_its_own(small_disk: Callable[[Path, str], list[str]], tmp_path: Path, scene: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    run(small_disk(disk, SCRIPT.format(scene, str(disk), "disk")))


@pytest.mark.parametrize("scene", SCENES)
def test_a_limit_that_stands_for_a_full_disk(tmp_path: Path, scene: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    run([sys.executable, "-c", SCRIPT.format(scene, str(disk), "limit")])
