"""A folder on a file system that is mounted read-only: all is read, each change is refused, nothing is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.test_disk_full import Send, ask, begin, command, requests, still_there
from tests.serving import served

from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.server.app import create_folder, local_client, open_service
from deriva_ml.server.users import Users
from deriva_ml.wire.http import Request

SCRIPT = "from pathlib import Path; from tests.server import test_read_only as t; t.{}(Path({!r}))"


def attempt(send: Send, job: str) -> None:
    still_there(send)
    for method, target, body in requests(job):
        status, text, _ = ask(send, method, target, body)
        assert (status, "cannot be written" in text) == (403, True), (method, target, status, text)
    still_there(send)


def in_process(root: Path) -> None:
    with closing(open_service(root)) as service:
        attempt(lambda request: service(request, local_client()), (root.parent / "job").read_text())


def over_http(root: Path) -> None:
    with served(root) as process:
        transport = Http(process.url, {"bearer-token": process.token}, retry=Retry(1))
        attempt(transport.send, (root.parent / "job").read_text())
        transport.close()


def commands(root: Path) -> None:
    elsewhere = root.parent
    for words in (
        ("list", "--root", root),
        ("info", "--root", root),
        ("fsck", "--root", root),
        ("fsck", "--repair", "--root", root),
        ("user", "list", "--root", root),
        ("backup", "--root", root, elsewhere / "b.tar"),
        ("backup", "--root", root, elsewhere / "b"),
        ("copy", f"{root}#1", elsewhere / "copy"),
        ("export", "--host", root, elsewhere / "exported"),
    ):
        code, text = command(*words)
        assert code == 0, (words, text)
    for words in (
        ("create", "--root", root),
        ("delete", "--root", root, "--catalog", "1", "--yes"),
        ("user", "add", "bob", "--root", root),
        ("grant", "reader", "ann", "--root", root),
        ("copy", f"{elsewhere / 'copy'}#1", root),
        ("restore", elsewhere / "b.tar", "--root", root / "inside"),
    ):
        code, text = command(*words)
        assert code == 2, (words, code, text)
        assert "cannot be written" in text or "Read-only" in text, (words, text)
        assert "unexpected" not in text, text


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("scene", [in_process.__name__, over_http.__name__, commands.__name__])
def test_a_folder_that_is_mounted_read_only(tmp_path: Path, scene: str) -> None:
    root = tmp_path / "catalog"
    unshare = shutil.which("unshare")
    mounting = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    words = [unshare or "", "-Urm", "sh", "-c", mounting, str(root)]
    create_folder(root)
    if unshare is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here, not even in a namespace")
    with closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        job = begin(send)
        (tmp_path / "job").write_text(job)
        if scene == commands.__name__:
            # What was never begun counts as a leftover, which cannot be removed here.
            assert ask(send, "DELETE", job)[0] == 204
        assert service(Request("GET", "/hatrac/ns/old"), local_client()).status == 200
    if scene == commands.__name__:
        with closing(Users(root / "users.db")) as users:
            users.add("ann")
    before = everything(root)
    done = subprocess.run(
        [*words, sys.executable, "-c", SCRIPT.format(scene, str(root))],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert everything(root) == before
