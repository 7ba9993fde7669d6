"""What is too much, or cannot be written, is refused clearly, and the catalog is as it was."""

from __future__ import annotations

import json
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.wire.http import Client, Request, Response

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
TABLE = {
    "table_name": "T",
    "column_definitions": [*SYSTEM, {"name": "a", "type": {"typename": "text"}}],
    "keys": [{"unique_columns": ["RID"]}],
}


def send(service: Service, method: str, target: str, body: object = None, client: Client | None = None) -> Response:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return service(Request(method, target, {}, content), client or local_client())


def fill(root: Path, rows: int = 10) -> None:
    create_folder(root)
    service = open_service(root)
    for target, body in (
        ("catalog", {"id": "1"}),
        ("catalog/1/schema/s", None),
        ("catalog/1/schema/s/table", TABLE),
    ):
        assert send(service, "POST", f"/ermrest/{target}", body).status == 201
    answer = send(service, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "x" * 200} for _ in range(rows)])
    assert answer.status == 200
    assert send(service, "PUT", "/hatrac/ns/o?parents=true", b"content").status == 201
    service.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "folder")
    return tmp_path / "folder"


# ---------------------------------------------------------------------------------------------- time


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Service]:
    fill(tmp_path / "folder", 3000)
    service = open_service(tmp_path / "folder", time_limit=0.3)
    yield service
    service.close()


SLOW = "/ermrest/catalog/1/aggregate/A:=s:T/B:=(a)=(s:T:a)/C:=(a)=(s:T:a)/n:=cnt(*)"


def test_a_query_that_takes_too_long_is_refused_as_the_original_does(hasty: Service) -> None:
    started = time.monotonic()
    answer = send(hasty, "GET", SLOW)
    assert answer.status == 400
    assert re.search(r"Query run time limit exceeded\.", answer.read().decode())
    assert time.monotonic() - started < 5
    # The connection serves the next request.
    assert send(hasty, "GET", "/ermrest/catalog/1/entity/s:T?limit=1").status == 200


def test_a_deletion_that_takes_too_long_is_undone(hasty: Service) -> None:
    slow = "/ermrest/catalog/1/entity/A:=s:T/B:=(a)=(s:T:a)/C:=(a)=(s:T:a)/$A"
    assert send(hasty, "DELETE", slow).status == 400
    counted = json.loads(send(hasty, "GET", "/ermrest/catalog/1/aggregate/s:T/n:=cnt(*)").read())
    assert counted == [{"n": 3000}]
    assert send(hasty, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "after"}]).status == 200


def test_an_answer_that_is_received_slowly_is_sent_to_its_end(hasty: Service) -> None:
    answer = send(hasty, "GET", "/ermrest/catalog/1/entity/s:T")
    parts = []
    for part in answer.parts():
        parts.append(part)
        time.sleep(0.4 if len(parts) < 3 else 0)
    assert len(json.loads(b"".join(parts))) == 3000


# ---------------------------------------------------------------------------------------------- a full disk

FULL = """
import json, resource, signal, sys
from pathlib import Path
from tests.server.test_limits import send
from deriva_ml.server.app import open_service
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
service = open_service(Path(sys.argv[1]))
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
said = []
for number in range(30):
    answer = send(service, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": f"{number}" * 2000}] * 20)
    said.append((answer.status, answer.read().decode()[-200:] if answer.status != 200 else ""))
answer = send(service, "PUT", "/hatrac/ns/big", b"x" * (limit + 1))
said.append((answer.status, answer.read().decode()))
said.append((send(service, "GET", "/ermrest/catalog/1/entity/s:T?limit=1").status, ""))
service.close()
sys.stdout.write(json.dumps(said))
"""


@pytest.mark.parametrize("size", [300_000, 500_000, 1_000_000])
def test_a_full_disk_is_said_and_does_no_harm(root: Path, size: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(root), str(size)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    *posts, put, read = json.loads(done.stdout)
    refused = [text for status, text in posts if status != 200]
    assert refused
    assert {status for status, _ in posts} <= {200, 507}
    assert all("disk" in text for text in refused)
    assert put[0] == 507
    assert "cannot be written" in put[1]
    assert read[0] == 200
    # Without the limit all is as the answers said.
    service = open_service(root)
    counted = json.loads(send(service, "GET", "/ermrest/catalog/1/aggregate/s:T/n:=cnt(*)").read())
    assert counted == [{"n": 10 + 20 * sum(status == 200 for status, _ in posts)}]
    assert send(service, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "after"}]).status == 200
    service.close()
    assert check_folder(root).findings == []


def test_the_limit_of_this_test_is_not_that_of_others() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# ---------------------------------------------------------------------------------------------- a folder for readers

READ_ONLY = """
import json, os, sys
from pathlib import Path
from tests.server.test_limits import REQUESTS, send
from deriva_ml.server.app import open_service
def work(root):
    service = open_service(Path(root))
    said = []
    for method, target, body in REQUESTS:
        answer = send(service, method, target, body)
        said.append((answer.status, answer.read().decode()))
    service.close()
    return said
work(sys.argv[1])  # loads all modules, which the other user may not be able to
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
sys.stdout.write(json.dumps(work(sys.argv[2])))
"""
REQUESTS = (
    ("GET", "/ermrest/catalog/1", None),
    ("GET", "/ermrest/catalog/1/entity/s:T", None),
    ("GET", "/hatrac/ns/o", None),
    ("POST", "/ermrest/catalog/1/entity/s:T", [{"a": "x"}]),
    ("POST", "/ermrest/catalog", {}),
    ("PUT", "/hatrac/ns/p", b"p"),
    ("PUT", "/hatrac/ns/o", b"content"),
    ("GET", "/ermrest/catalog/1/entity/s:T", None),
)


@pytest.fixture
def public() -> Iterator[Path]:
    """A place that other users can reach; root, who may write anywhere, has to become one of them."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(place)


def lock(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def as_reader(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", READ_ONLY, *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_folder_that_cannot_be_written_is_read(root: Path, public: Path) -> None:
    fill(public / "folder")
    before = {path: path.read_bytes() for path in public.rglob("*") if path.is_file()}
    lock(public / "folder")
    done = as_reader(root, public / "folder")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [status for status, _ in said] == [200, 200, 200, 403, 403, 403, 403, 200], said
    assert all("cannot be written" in text for status, text in said if status == 403), said
    assert len(json.loads(said[-1][1])) == 10
    assert {path: path.read_bytes() for path in public.rglob("*") if path.is_file()} == before


def test_a_log_that_cannot_be_read_with_its_database_is_said(root: Path, public: Path) -> None:
    fill(public / "folder")
    held = open_service(public / "folder")
    assert send(held, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "in the log"}]).status == 200
    # As after a crash of the machine: a log, and no index of it.
    shutil.copytree(public / "folder", public / "other", ignore=shutil.ignore_patterns("*-shm"))
    held.close()
    lock(public / "other")
    done = as_reader(root, public / "other")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said[1][0] == 409
    assert "cannot be opened" in said[1][1]
    assert "once where it can be written" in said[1][1]


def test_a_damaged_database_is_said_and_not_a_traceback(root: Path) -> None:
    (root / "catalogs" / "1.db").write_bytes(b"this was a database" * 1000)
    service = open_service(root)
    answer = send(service, "GET", "/ermrest/catalog/1/entity/s:T")
    assert (answer.status, "fsck" in answer.read().decode()) == (500, True)
    service.close()


def test_the_time_of_a_batch_begins_anew_with_each_member(root: Path) -> None:
    limit = 1.0
    service = open_service(root, time_limit=limit)
    store = service.ermrest.catalogs.store("1")
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT max(i) FROM n"
    with store.write(local_client()) as tx:
        time.sleep(limit + 0.1)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            tx.connection.execute(long).fetchone()
        tx.renew()
        assert tx.connection.execute(long).fetchone() == (20000,)
    service.close()
