"""Each file of a folder is deleted, emptied, cut, changed or replaced: whoever uses the folder is told which it is.

What is answered at all is right: a row or an object that was damaged is refused, or its damage is told by fsck and by
whoever fetches it. The one exception is SQLite's own: of a log that lost its end nobody can say what was in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.server import crowd
from tests.serving import served

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.core.marker import settle_identity
from deriva_ml.server.app import create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.server.errors import FolderError
from deriva_ml.server.users import Users
from deriva_ml.wire.http import Request

CONTENT = b"content " * 5000
NAME = hashlib.sha256(CONTENT).hexdigest()
ROWS = [{"a": f"row {number}", "batch": "x" * 200} for number in range(400)]
OBJECT = f"objects/{NAME[:2]}/{NAME}"
FILES = ["deriva-ml-catalog.json", "service.db", "catalogs/1.db", "hatrac.db", "users.db", OBJECT]


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    """Change a bit in each of several places."""
    content = bytearray(path.read_bytes())
    for at in range(20, len(content), max(1, len(content) // 40)):
        content[at] ^= 4
    path.write_bytes(content)


def garble(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def divert(path: Path) -> None:
    """Another file in its place."""
    other = path.parent / f"other-{path.name}"
    other.write_text("not yours")
    path.unlink()
    path.symlink_to(other)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


ATTACKS: list[Callable[[Path], None]] = [delete, empty, cut, flip, garble, loop, divert, directory]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "catalog"
    crowd.make(root)
    with closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        crowd.ask(send, "POST", f"{crowd.BASE}/entity/s:T", ROWS)
        assert service(Request("PUT", "/hatrac/ns/o?parents=true", {}, CONTENT), local_client()).status == 201
    with closing(Users(root / "users.db")) as users:
        users.add("ann")
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(whole, tmp_path / "catalog"))
    settle_identity(copy)  # a copy gets an identity of its own when it is first met; that is said in the log
    return copy


def told(error: BaseException | str, path: Path) -> None:
    """The message names the file and is no traceback."""
    text = str(error)
    assert path.name in text, text
    assert "Traceback" not in text, text


def use(root: Path, path: Path) -> list[str]:
    """Read and write through a client; what is answered is right, what is not says why. Gives what was refused."""
    refused: list[str] = []

    def attempt(what: str, act: Callable[[], object], expected: object = None) -> None:
        try:
            found = act()
        except DerivaMLException as error:
            refused.append(what)
            if what != "object":
                told(error, path)
        else:
            assert expected is None or found == expected, what

    try:
        opened = open_connection(str(root))
    except DerivaMLException as error:
        told(error, path)
        return ["open"]
    with opened:
        client, objects = opened.catalog("1"), opened.objects()
        target = f"{crowd.BASE}/entity/s:T@sort(a)"
        names = sorted(str(row["a"]) for row in ROWS)
        attempt("list", opened.catalog_ids, ["1"])
        attempt("rows", lambda: _rows(crowd.ask(_raising(opened), "GET", target)), names)
        attempt("insert", lambda: client.insert("s", "T", [{"a": os.urandom(4).hex()}]) and None)
        attempt(
            "object",
            lambda: objects.fetch("/hatrac/ns/o", root.parent / "got") and (root.parent / "got").read_bytes(),
            CONTENT,
        )
        attempt("put", lambda: objects.put("/hatrac/ns/p", b"p") and None)
    return refused


def _rows(text: bytes) -> list[str]:
    return [row["a"] for row in json.loads(text) if row["a"].startswith("row")]


def _raising(opened: object) -> crowd.Send:
    from deriva_ml.catalog.exchange import check

    transport = opened.transport  # type: ignore[attr-defined]
    return lambda request: check(request, transport.send(request))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("name", FILES, ids=lambda name: name.partition("/")[0])
def test_a_file_that_was_attacked_is_named(root: Path, name: str, attack: Callable[[Path], None]) -> None:
    path = root / name
    attack(path)
    use(root, path)
    try:
        findings = check_folder(root).findings
        open_service(root).close()
    except FolderError as error:
        told(error, path)
        return
    said = [f"{finding.where} {finding.problem}" for finding in findings if not finding.is_leftover]
    if name == "users.db" and attack is delete:
        return  # a folder without users is whole
    if name == "deriva-ml-catalog.json" and attack in (flip, delete, divert):
        return  # opening said it, or the text that was changed says nothing
    assert any(path.name in text for text in said), (said, findings)


@pytest.mark.parametrize("attack", [delete, cut, garble], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_log_and_its_index_that_a_dead_process_left(
    whole: Path, tmp_path: Path, suffix: str, attack: Callable[[Path], None]
) -> None:
    """What is answered is some moment of the past, whole: the index is made anew, and a log ends where it is torn."""
    root = tmp_path / "catalog"
    held = tmp_path / "held"
    shutil.copytree(whole, held)
    with closing(open_service(held)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        for number in range(20):
            crowd.ask(
                send,
                "POST",
                f"{crowd.BASE}/entity/s:T",
                [{"a": f"{number}.{at}", "batch": str(number)} for at in range(5)],
            )
        shutil.copytree(held, root)
    attack(root / "catalogs" / f"1.db{suffix}")
    with closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        rows = json.loads(crowd.ask(send, "GET", f"{crowd.BASE}/entity/s:T?limit=1000"))
        batches = [row["batch"] for row in rows if len(row["batch"]) < 3]
        assert all(batches.count(batch) == 5 for batch in batches)
        assert sorted(map(int, set(batches))) == list(range(len(set(batches))))
        if suffix == "-shm":
            assert len(set(batches)) == 20
        crowd.ask(send, "POST", f"{crowd.BASE}/entity/s:T", [{"a": "goes on"}])
    assert check_folder(root).findings == []


COMMANDS = (["list"], ["info"], ["fsck"], ["fsck", "--repair"], ["user", "list"], ["user", "add", "bob"])


@pytest.mark.slow
@pytest.mark.parametrize("attack", [delete, cut, garble], ids=lambda attack: attack.__name__)
def test_commands_on_a_damaged_folder_end_without_a_traceback(
    whole: Path, tmp_path: Path, attack: Callable[[Path], None]
) -> None:
    script = """
import json, sys
from deriva_ml.cli.catalog import main
for words in json.loads(sys.argv[1]):
    print(words, main(words), flush=True)
"""
    words = []
    for number, name in enumerate(FILES):
        root = Path(shutil.copytree(whole, tmp_path / str(number)))
        attack(root / name)
        words += [[*command, "--root", str(root)] for command in COMMANDS]
        words.append(["backup", "--root", str(root), str(tmp_path / f"b{number}")])
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(words)],
        capture_output=True,
        text=True,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr, done.stderr
    codes = re.findall(r"\] (\d+)$", done.stdout, re.MULTILINE)
    assert len(codes) == len(words)
    assert set(codes) <= {"0", "1", "2"}


def test_a_folder_that_is_moved_while_it_is_open_loses_nothing(root: Path) -> None:
    moved = root.parent / "moved"
    with closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        crowd.ask(send, "POST", f"{crowd.BASE}/entity/s:T", [{"a": "before"}])
        root.rename(moved)
        answers = [
            service(Request("POST", f"{crowd.BASE}/entity/s:T", {}, b'[{"a": "after"}]'), local_client()),
            service(Request("PUT", "/hatrac/ns/after", {}, b"after"), local_client()),
            service(Request("GET", f"{crowd.BASE}/entity/s:T"), local_client()),
        ]
        for answer in answers:
            text = answer.read()
            assert answer.status in (200, 201, 409), text
            assert answer.status != 409 or str(root).encode() in text, text
    # Nothing was made at the old place.
    assert not root.exists()
    with closing(open_service(moved)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        found = {row["a"] for row in json.loads(crowd.ask(send, "GET", f"{crowd.BASE}/entity/s:T"))}
        assert ("after" in found) == (answers[0].status == 200)
        put = service(Request("GET", "/hatrac/ns/after"), local_client())
        assert (put.status == 200) == (answers[1].status == 201)
    assert [one for one in check_folder(moved).findings if not one.is_leftover] == []


def test_a_clock_that_is_set_back_changes_no_order(root: Path) -> None:
    times = iter([4_000_000_000_000_000, 3_000_000_000_000_000, 0, 5, 4_000_000_000_000_001])
    with closing(open_service(root, clock=lambda: next(times))) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        moments = []
        for number in range(5):
            crowd.ask(send, "POST", f"{crowd.BASE}/entity/s:T", [{"a": f"c{number}"}])
            moments.append(json.loads(crowd.ask(send, "GET", f"{crowd.BASE}/"))["snaptime"])
        for number, moment in enumerate(moments):
            found = json.loads(crowd.ask(send, "GET", f"{crowd.BASE}@{moment}/entity/s:T"))
            assert len(found) == len(ROWS) + number + 1
    assert len(set(moments)) == 5


def test_a_served_folder_whose_object_and_catalog_are_damaged_goes_on(root: Path) -> None:
    with closing(Users(root / "users.db")) as users:
        users.remove("ann")
    with (
        served(root) as process,
        closing(Http(process.url, {"bearer-token": process.token}, retry=Retry(1))) as transport,
    ):
        (root / OBJECT).chmod(0o644)
        flip(root / OBJECT)
        with pytest.raises(DerivaMLException, match="SHA-256"):
            ObjectClient(transport).fetch("/hatrac/ns/o", root.parent / "got")
        (root / "catalogs" / "1.db").write_bytes(b"")
        answer = transport.send(Request("GET", f"{crowd.BASE}/entity/s:T"))
        assert (answer.status, b"1.db" in answer.read()) == (409, True)
        assert transport.send(Request("GET", "/ermrest/")).status == 200


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else; test_limits covers the others")
@pytest.mark.parametrize("name", ["catalogs", "objects"])
def test_permissions_that_were_removed_are_said(root: Path, name: str) -> None:
    for path in (root, *root.parents[:2], *root.rglob("*")):
        path.chmod(0o777)
    for path in root.parents:
        if path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    (root / name).chmod(0)
    script = """
import os, sys
from pathlib import Path
from contextlib import closing
from deriva_ml.server.app import open_service
from deriva_ml.cli.catalog import main
from tests.server import test_attacks
os.environ["HOME"] = sys.argv[1]
test_attacks.use(Path(sys.argv[2]), Path(sys.argv[2]) / sys.argv[3])  # loads everything, as root
os.setgid(65534), os.setuid(65534)
print(test_attacks.use(Path(sys.argv[2]), Path(sys.argv[2]) / sys.argv[3]))
print(main(["fsck", "--root", sys.argv[2]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(root.parent), str(root), name],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    (root / name).chmod(0o777)
    assert done.returncode == 0, done.stderr
    assert "unexpected" not in done.stderr
    refused, code = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert ("rows" in refused) == (name == "catalogs"), refused
    assert code in ("1", "2"), done.stdout + done.stderr


def test_a_folder_that_is_complete_is_not_made_anew(root: Path) -> None:
    (root / "service.db").unlink()
    create_folder(root)
    assert not (root / "service.db").exists()
