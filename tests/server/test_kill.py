"""A process that is stopped before any of its writes, flushes and renames leaves a whole folder.

The stops come from a small library that stands before the C library's calls (``kill.c``). After each one, everything
that can be seen of the folder is either as it was before the request that was under way or as it is after it; nothing
else is there; what is left over is swept. ``DERIVA_ML_KILL_POINTS`` says at how many points, evenly spread, or ``all``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.server.killing import LATER, SCENES, Harness, harnessed, perform, send

from deriva_ml.core.marker import settle_identity
from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.server.claims import draft_of
from deriva_ml.server.connections import open_format
from deriva_ml.server.formats import kept_copy
from deriva_ml.server.restore import restore
from deriva_ml.server.store import FORMAT
from deriva_ml.server.sweep import sweep
from deriva_ml.server.users import Users
from deriva_ml.wire.http import Request

POINTS = os.environ.get("DERIVA_ML_KILL_POINTS", "16")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and Linux")
    made = tmp_path_factory.mktemp("kill") / "kill.so"
    source = Path(__file__).with_name("kill.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


# ---------------------------------------------------------------------------------------------- what can be seen


def get(service: Service, target: str) -> Any:
    answer = service(Request("GET", target), local_client())
    text = answer.read()
    assert answer.status == 200, (target, answer.status, text)
    return json.loads(text)


def query(path: Path, sql: str) -> list[Any]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def seen(root: Path) -> Any:
    """Everything that is to be seen of a folder, less what the clock and chance have put there."""
    if not (root / "deriva-ml-catalog.json").exists():
        return None
    entries = query(root / "service.db", "SELECT id, is_catalog, deleted, doc FROM entries ORDER BY id")
    with closing(open_service(root)) as service:
        catalogs = {one[0]: _catalog(service, one[0]) for one in entries if one[1] and not one[2]}
    with closing(Users(root / "users.db")) as known:
        users = known.users() if known.path.exists() else []
    return {
        "entries": entries,
        "catalogs": catalogs,
        "objects": _objects(root / "hatrac.db"),
        "users": [(one.name, one.groups, one.has_password, one.tokens, one.sessions) for one in users],
        "backups": _backups(root.parent),
    }


def _catalog(service: Service, name: str) -> Any:
    path = service.root / "catalogs" / f"{name}.db"
    if query(path, "PRAGMA user_version") == [(LATER.number,)]:
        return _brought_up(path)
    base = f"/ermrest/catalog/{name}"
    document = get(service, f"{base}/schema")
    document.pop("snaptime")
    assert get(service, f"{base}@{get(service, base + '/')['snaptime']}/schema")
    current = {}
    for schema in document["schemas"].values():
        for table in schema["tables"].values() if schema["schema_name"] != "public" else ():
            target = f"entity/{schema['schema_name']}:{table['table_name']}@sort(RID)"
            current[target] = [
                {key: value for key, value in row.items() if key not in ("RCT", "RMT")}
                for row in get(service, f"{base}/{target}")
            ]
    tables = query(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'h_*'")
    past = {table: query(path, f'SELECT count(*) FROM "{table}"') for (table,) in tables}
    return {
        "rows": current,
        "past": past,
        "commits": query(path, "SELECT (SELECT count(*) FROM commits), (SELECT count(*) FROM models)"),
        "model": document,
    }


def _brought_up(path: Path) -> str:
    """A database after its migration: all steps, and beside it what it was."""
    assert query(path, "SELECT note FROM state") == [("brought up",)]
    assert query(path, "SELECT 1 FROM sqlite_master WHERE name = 'more'")
    copy = kept_copy(path, FORMAT.number)
    assert query(copy, "PRAGMA user_version") == [(FORMAT.number,)]
    assert query(copy, "PRAGMA integrity_check") == [("ok",)]
    return "brought up"


def _objects(path: Path) -> Any:
    names = "SELECT path, is_namespace, is_deleted, acls FROM name WHERE parent NOT NULL ORDER BY path"
    versions = "SELECT path, sha256, md5, length, version.acls FROM version JOIN name ON name.id = version.name"
    jobs = "SELECT path, document, (SELECT group_concat(position) FROM chunk WHERE job = job.id) FROM job JOIN name"
    return [
        query(path, names),
        query(path, f"{versions} ORDER BY seq"),
        query(path, f"{jobs} ON name.id = job.name ORDER BY path"),
    ]


def _backups(folder: Path) -> Any:
    found = {}
    for name in ("b", "b.tar", "b.tar.gz"):
        if (folder / name).exists():
            found[name] = back_in(folder / name, folder / "again")
    for name in ("from-folder", "from-file"):
        if (folder / name).exists():
            assert check_folder(folder / name).findings == []
            found[name] = open_service(folder / name).identity
    return found


def back_in(backup: Path, place: Path) -> int:
    """Restore a backup, which verifies it; gives the number of its objects."""
    made = restore(backup, place)
    assert check_folder(place).findings == []
    shutil.rmtree(place)
    return made.objects


# ---------------------------------------------------------------------------------------------- being stopped


@dataclass
class Course:
    """A scene that nobody stops.

    Attributes:
        harness: What does it again.
        template: A folder as it is before.
        states: What is to be seen before the first act, and after each.
        total: How many writes there are.
    """

    harness: Harness
    template: Path
    states: list[Any]
    total: int

    def begin(self, folder: Path) -> Path:
        """A new folder as it is before; gives its root."""
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(self.template.parent, folder / "work", symlinks=True)
        root = folder / "work" / "root"
        if root.exists():
            settle_identity(root)
        return root

    def check(self, root: Path, point: int) -> None:
        """Compare what is there with what was answered: the next act may have happened too, whole."""
        answered = int((root.parent.parent / "done").read_text().split()[-1])
        now = seen(root)
        possible = self.states[answered + 1 : answered + 3]
        assert now in possible, (point, answered)


@pytest.fixture(scope="module", params=SCENES)
def course(library: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Course]:
    scene = SCENES[request.param]
    folder = tmp_path_factory.mktemp("course")
    template = folder / "template" / "root"
    template.parent.mkdir()
    scene.before(template)
    with harnessed(library, request.param) as harness:
        made = Course(harness, template, [], 0)
        root = made.begin(folder / "states")
        made.states.append(seen(root))
        perform(scene, root, lambda _number: made.states.append(seen(root)))
        root = made.begin(folder / "count")
        assert harness.run(root, 0) == 0, (folder / "count" / "error").read_text()
        assert seen(root) == made.states[-1]
        made.total = int((folder / "count" / "count").read_text())
        yield made


def points(total: int) -> list[int]:
    """At which writes to stop."""
    count = total if POINTS == "all" else min(int(POINTS), total)
    return [1 + (2 * at + 1) * total // (2 * count) for at in range(count)] if count < total else [*range(1, total + 1)]


def is_made(root: Path) -> bool:
    return (root / "deriva-ml-catalog.json").exists()


def test_a_folder_is_whole_wherever_a_process_is_killed(course: Course, tmp_path: Path) -> None:
    for point in points(course.total):
        root = course.begin(tmp_path / "killed")
        assert course.harness.run(root, point) == -9, point
        if is_made(root):
            course.check(root, point)
        else:
            create_folder(root)
        clean(root, point)


def clean(root: Path, point: int) -> None:
    """Nothing is wrong but leftovers, which a sweep removes; and the folder goes on."""
    catalog = root / "catalogs" / "1.db"
    if catalog.exists():
        open_format(catalog, LATER, read_only=True).close()
        assert _brought_up(catalog)
        kept_copy(catalog, FORMAT.number).replace(catalog)
    findings = check_folder(root).findings
    assert {finding.kind for finding in findings} <= {"leftover"}, (point, findings)
    sweep(root, findings)
    assert check_folder(root).findings == [], point
    for name in ("b", "b.tar", "b.tar.gz", "from-folder", "from-file"):
        draft_of(root.parent / name)
    left = [path.name for path in root.parent.rglob("*") if ".part" in path.name]
    assert left == [], point
    with closing(open_service(root)) as service:
        send(service, "POST", "/ermrest/catalog", {"id": "after"})
        send(service, "PUT", "/hatrac/after", b"goes on")


@pytest.mark.parametrize("failing", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_a_folder_is_whole_wherever_the_disk_begins_to_fail(course: Course, tmp_path: Path, failing: int) -> None:
    for point in points(course.total):
        root = course.begin(tmp_path / "failing")
        code = course.harness.run(root, point, failing)
        if code:
            error = (tmp_path / "failing" / "error").read_text()
            assert code == 3, (point, error)
            assert is_said(error), (point, error)
        if is_made(root):
            course.check(root, point)
        else:
            create_folder(root)
        clean(root, point)


def is_said(error: str) -> bool:
    """Whether a traceback ends with an error that is made for a user, and names a file."""
    last = [line for line in error.splitlines() if line and not line.startswith((" ", "Traceback"))][-1]
    kinds = ("tests.server.killing.Refused: 50", "deriva_ml.server.errors.", "deriva_ml.server.users.")
    return any(kind in error for kind in kinds) and "OperationalError" not in last and "OSError" not in last
