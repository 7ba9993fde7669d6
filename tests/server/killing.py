"""Sequences of requests of every kind, run in processes that are stopped at any of their writes.

A harness process (``python -m tests.server.killing SCENE``) loads everything once, under the library made of
``kill.c``; for each line that it reads it forks a child, which does the scene in a folder and is stopped there.
"""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.backup import back_up
from deriva_ml.server.catalogs import remove_database
from deriva_ml.server.connections import open_format
from deriva_ml.server.formats import Format
from deriva_ml.server.restore import restore
from deriva_ml.server.store import FORMAT
from deriva_ml.server.users import Users
from deriva_ml.wire.http import Request

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
TABLE = {
    "table_name": "T",
    "column_definitions": [
        *SYSTEM,
        {"name": "a", "type": {"typename": "text"}},
        {"name": "n", "type": {"typename": "int4"}},
    ],
    "keys": [{"unique_columns": ["RID"]}, {"unique_columns": ["a"]}],
}
REFERENCE = {
    "foreign_key_columns": [{"column_name": "t"}],
    "referenced_columns": [{"schema_name": "s", "table_name": "T", "column_name": "a"}],
    "on_delete": "CASCADE",
}
CHILD = {
    "table_name": "C",
    "column_definitions": [*SYSTEM, {"name": "t", "type": {"typename": "text"}}],
    "keys": [{"unique_columns": ["RID"]}],
    "foreign_keys": [REFERENCE],
}
BASE = "/ermrest/catalog/1"
NEXT = FORMAT.number + 1

Act = Callable[[], object]


def send(service: Service, method: str, target: str, body: object = None) -> str:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"} if content is not body else {}
    answer = service(Request(method, target, headers, content), local_client())
    text = answer.read().decode(errors="replace")
    if answer.status >= 400:
        raise Refused(f"{answer.status}: {method} {target}: {text}", answer.status)
    return answer.headers.get("location") or text


class Refused(Exception):
    """The service refuses a request."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Scene:
    """What is done to a folder.

    Attributes:
        before: Made beforehand, by a process that is not stopped.
        acts: Gives what is done, one thing after the other; each happens or does not.
    """

    before: Callable[[Path], None]
    acts: Callable[[Path], Iterator[Act]]


def _requests(*made: tuple[str, str, object]) -> Callable[[Path], Iterator[Act]]:
    def acts(root: Path) -> Iterator[Act]:
        with closing(open_service(root)) as service:
            for method, target, body in made:
                yield lambda one=(method, target, body): send(service, *one)

    return acts


def _prepared(*made: tuple[str, str, object]) -> Callable[[Path], None]:
    def before(root: Path) -> None:
        create_folder(root)
        for act in _requests(*made)(root):
            act()

    return before


def nothing(root: Path) -> None:
    """Leave a place empty."""


def rows(prefix: int, count: int = 40, **more: object) -> list[dict[str, object]]:
    return [{"a": f"{prefix}.{at}", **more} for at in range(count)]


def _batch(*made: tuple[str, str, object]) -> dict[str, object]:
    requests = [
        {"method": method, "target": target} | ({} if body is None else {"body": json.dumps(body)})
        for method, target, body in made
    ]
    return {"requests": requests}


MODEL: list[tuple[str, str, object]] = [
    ("POST", "/ermrest/catalog", {"id": "1"}),
    ("POST", f"{BASE}/schema/s", None),
    ("POST", f"{BASE}/schema", [TABLE | {"schema_name": "s"}, CHILD | {"schema_name": "s"}]),
]


def _folder(root: Path) -> Iterator[Act]:
    yield lambda: create_folder(root)
    with closing(open_service(root)) as service:
        yield lambda: send(service, "POST", "/ermrest/catalog", {"id": "1"})
        yield lambda: send(service, "POST", "/ermrest/catalog", {"id": "2", "name": "second"})
        yield lambda: send(service, "PUT", "/ermrest/alias/main", {"alias_target": "1"})
        yield lambda: send(service, "DELETE", "/ermrest/catalog/2")
        yield lambda: remove_database(root, "2")
        yield lambda: send(service, "PUT", "/hatrac/first?parents=true", b"first")


def _upload(root: Path) -> Iterator[Act]:
    with closing(open_service(root)) as service:
        for number in range(2):
            jobs: list[str] = []
            document = {"chunk-length": 4000, "content-length": 9000}
            yield lambda jobs=jobs, number=number, document=document: jobs.append(
                send(service, "POST", f"/hatrac/ns/up{number};upload?parents=true", document)
            )
            for at, size in ((2, 1000), (0, 4000), (1, 4000)):
                yield lambda at=at, size=size, jobs=jobs: send(service, "PUT", f"{jobs[0]}/{at}", b"%d" % at * size)
            yield lambda jobs=jobs: send(service, "POST", jobs[0])
        yield lambda: send(service, "POST", "/hatrac/ns/gone;upload", {"chunk-length": 9, "content-length": 9})


def _bulk(root: Path) -> Iterator[Act]:
    """Many objects at once: files are taken in, and get their names together."""
    folder = root.parent.parent / "sources"
    folder.mkdir(exist_ok=True)
    contents = {"one": b"one" * 5000, "two": b"two" * 5000, "old": b"old" * 3000, "again": b"one" * 5000, "empty": b""}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with closing(open_service(root)) as service:
        yield lambda: put_all(service, {f"/hatrac/many/{name}": folder / name for name in contents})
        yield lambda: put_all(service, {"/hatrac/many/one": folder / "one", "/hatrac/ns/more": folder / "two"})


def put_all(service: Service, sources: dict[str, Path]) -> None:
    """Store files under names, all at once."""
    taken = []
    try:
        for path in sources.values():
            taken.append(service.take_in(path, lambda _count: None))
        requests = [Request("PUT", f"{url}?parents=true", {}) for url in sources]
        for answer in service.put_taken(requests, taken, local_client()):
            if answer.status >= 400:
                raise Refused(f"{answer.status}: {answer.read().decode(errors='replace')}", answer.status)
    except OSError as error:
        raise Refused(f"507: {error}", 507) from error
    finally:
        for one in taken:
            one.discard()


def _backups(root: Path) -> Iterator[Act]:
    for name in ("b", "b.tar", "b.tar.gz"):
        yield lambda name=name: back_up(root, root.parent / name, link=name != "b")
    yield lambda: restore(root.parent / "b", root.parent / "from-folder", identity="the same")
    yield lambda: restore(root.parent / "b.tar.gz", root.parent / "from-file", identity="the same")


def add_note(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE state ADD COLUMN note TEXT")
    connection.execute("UPDATE state SET note = 'brought up'")


def add_index(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE INDEX more ON elements (kind)")


LATER = Format(NEXT + 1, {FORMAT.number: add_note, NEXT: add_index})


def _migration(root: Path) -> Iterator[Act]:
    yield lambda: open_format(root / "catalogs" / "1.db", LATER, read_only=True).close()


def _people(root: Path) -> Iterator[Act]:
    with closing(Users(root / "users.db")) as users:
        yield lambda: users.add("ann", password="a long password", groups=["lab"])
        yield lambda: users.add("bob")
        yield lambda: users.join("lab", ["bob"])
        yield lambda: users.new_token("ann", keep=True)
        yield lambda: users.sign_in("ann", "a long password")
        yield lambda: users.set_password("ann", None)
        yield lambda: users.leave("lab", ["ann"])
        yield lambda: users.remove("bob")


def _truncation(root: Path) -> Iterator[Act]:
    with closing(open_service(root)) as service:
        latest = json.loads(send(service, "GET", f"{BASE}/history/,"))["snaprange"][1]
        amid = _moments(root)[-3]
        from deriva_ml.core import codes

        yield lambda: send(service, "DELETE", f"{BASE}/history/,{codes.encode(amid)}")
        yield lambda: send(service, "POST", f"{BASE}/entity/s:T", rows(7))
        yield lambda: send(service, "DELETE", f"{BASE}/history/,{latest}")


def _moments(root: Path) -> list[int]:
    path = root / "catalogs" / "1.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
        return [row[0] for row in db.execute("SELECT at FROM commits ORDER BY at")]


ANY = ",".join(f"1.{at}" for at in range(40))
FILLED: list[tuple[str, str, object]] = [
    *MODEL,
    ("POST", f"{BASE}/entity/s:T", rows(1, n=1)),
    ("POST", f"{BASE}/entity/s:C", [{"t": f"1.{at}"} for at in range(40)]),
    ("PUT", "/hatrac/ns/old?parents=true", b"old" * 3000),
]
SCENES: dict[str, Scene] = {
    "folder": Scene(nothing, _folder),
    "model": Scene(
        _prepared(*FILLED),
        _requests(
            ("POST", f"{BASE}/schema", [TABLE | {"schema_name": "s", "table_name": "U"}]),
            ("POST", f"{BASE}/schema/s/table/T/column", {"name": "b", "type": {"typename": "text"}, "default": "x"}),
            ("PUT", f"{BASE}/schema/s/table/T/column/n", {"type": {"typename": "text"}}),
            ("PUT", f"{BASE}/schema/s/table/T/column/b", {"name": "renamed"}),
            ("PUT", f"{BASE}/schema/s/table/T/annotation/tag%3Aone", {"x": 1}),
            ("PUT", f"{BASE}/acl/select", ["*"]),
            ("POST", f"{BASE}/schema/s/table/T/key", {"unique_columns": ["a", "n"]}),
            ("DELETE", f"{BASE}/schema/s/table/T/column/renamed", None),
            ("PUT", f"{BASE}/schema/s/table/T", {"table_name": "V"}),
            ("PUT", f"{BASE}/schema/s", {"schema_name": "z"}),
            ("DELETE", f"{BASE}/schema/z/table/C", None),
        ),
    ),
    "rows": Scene(
        _prepared(*MODEL),
        _requests(
            ("POST", f"{BASE}/entity/s:T", rows(1, 40, n=1)),
            ("POST", f"{BASE}/entity/s:T", rows(2, 3000, n=2)),
            ("POST", f"{BASE}/entity/s:C", [{"t": f"1.{at}"} for at in range(40)]),
            ("PUT", f"{BASE}/attributegroup/s:T/a;n", rows(1, n=100)),
            ("PUT", f"{BASE}/entity/s:T", [*rows(3, 20, n=3)]),
            ("DELETE", f"{BASE}/attribute/s:T/n=2/n", None),
            ("DELETE", f"{BASE}/entity/s:T/a=any({ANY})", None),
            ("POST", f"{BASE}/entity/s:T?onconflict=skip", rows(1, 60, n=4)),
        ),
    ),
    "batch": Scene(
        _prepared(*MODEL),
        _requests(
            (
                "POST",
                f"{BASE}/batch",
                _batch(
                    ("POST", "/entity/s:T", rows(1, 40, n=1)),
                    ("POST", "/entity/s:C", [{"t": f"1.{at}"} for at in range(40)]),
                    ("PUT", "/attributegroup/s:T/a;n", rows(1, n=100)),
                    ("DELETE", "/entity/s:T/a=1.1", None),
                ),
            ),
            ("POST", f"{BASE}/batch", {**_batch(("POST", "/entity/s:T", rows(3))), "commit": False}),
            ("POST", f"{BASE}/batch", _batch(("POST", "/entity/s:T", rows(4)), ("DELETE", "/entity/s:C", None))),
        ),
    ),
    "history": Scene(
        _prepared(
            *FILLED,
            ("PUT", f"{BASE}/attributegroup/s:T/a;n", rows(1, n=5)),
            ("PUT", f"{BASE}/attributegroup/s:T/a;n", rows(1, n=6)),
            ("DELETE", f"{BASE}/entity/s:T/a=any(1.1,1.2)", None),
        ),
        _truncation,
    ),
    "objects": Scene(
        _prepared(*FILLED),
        _requests(
            ("PUT", "/hatrac/ns/one?parents=true", b"one" * 5000),
            ("PUT", "/hatrac/ns/one", b"two" * 5000),
            ("PUT", "/hatrac/ns/same", b"one" * 5000),
            ("PUT", "/hatrac/deep/er?parents=true", b""),
            ("PUT", "/hatrac/ns/one;acl/read", ["*"]),
            ("DELETE", "/hatrac/ns/one", None),
            ("DELETE", "/hatrac/ns/same", None),
            ("DELETE", "/hatrac/ns", None),
        ),
    ),
    "bulk": Scene(_prepared(*FILLED), _bulk),
    "upload": Scene(_prepared(*FILLED), _upload),
    "backup": Scene(_prepared(*FILLED), _backups),
    "migration": Scene(_prepared(*FILLED), _migration),
    "users": Scene(_prepared(*FILLED), _people),
}


def perform(scene: Scene, root: Path, done: Callable[[int], None]) -> None:
    for number, act in enumerate(scene.acts(root)):
        act()
        done(number)


# ---------------------------------------------------------------------------------------------- the harness


def _child(scene: Scene, root: Path, after: int, failing: int) -> None:
    """Do the scene in a process that is stopped; what was done stands in a file beside the folder's own."""
    folder = root.parent.parent
    os.environ["KILL_AFTER"] = str(after)
    os.environ["KILL_ERRNO"] = str(failing)
    log = (folder / "done").open("w")
    log.write(str(-1))
    log.flush()

    def done(number: int) -> None:
        log.write(f" {number}")
        log.flush()

    os.environ["KILL_ROOT"] = f"{root.parent}/"
    try:
        perform(scene, root, done)
    except BaseException:
        (folder / "error").write_text(traceback.format_exc())
        os._exit(3)
    (folder / "count").write_text(str(ctypes.CDLL(None).kill_calls()))
    os._exit(0)


def harness(name: str) -> None:
    """Answer each line ``AFTER ERRNO ROOT`` with the status of the process that did the scene there."""
    scene = SCENES[name]
    with tempfile.TemporaryDirectory() as folder:
        # Everything that is imported on the way is there before the first fork.
        root = Path(folder) / "work" / "root"
        root.parent.mkdir()
        scene.before(root)
        perform(scene, root, lambda _number: None)
    for line in sys.stdin:
        after, failing, root_text = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if child == 0:
            _child(scene, Path(root_text), int(after), int(failing))
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


class Harness:
    """A harness process."""

    def __init__(self, library: Path, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.server.killing import harness; harness({name!r})"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "LD_PRELOAD": str(library)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, root: Path, after: int, failing: int = 0) -> int:
        """Do the scene; gives the exit code of its process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{after} {failing} {root}\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            raise AssertionError(self.process.communicate()[1])
        return int(said)


@contextmanager
def harnessed(library: Path, name: str) -> Iterator[Harness]:
    made = Harness(library, name)
    try:
        yield made
    finally:
        made.process.communicate(timeout=20)
