"""Many threads and processes on one folder: nothing lost, nothing refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.server import crowd
from tests.serving import served

from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.wire.http import Request

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
TABLE = {
    "table_name": "T",
    "column_definitions": [*SYSTEM, {"name": "a", "type": {"typename": "text"}}],
    "keys": [{"unique_columns": ["RID"]}, {"unique_columns": ["a"]}],
}

PROCESS = """
import sys
from pathlib import Path
from tests.server.test_concurrency import make, write
root, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
service = make(root)
write(service, name, count)
service.close()
"""


def call(service: Service, method: str, target: str, body: object = None) -> tuple[int, bytes]:
    content = None if body is None else json.dumps(body).encode()
    answer = service(Request(method, f"/ermrest/catalog{target}", {}, content), local_client())
    return answer.status, answer.read()


def make(root: Path) -> Service:
    """Make the folder, the catalog and the table, unless another process was first."""
    create_folder(root)
    service = open_service(root)
    for target, body in (("", {"id": "c"}), ("/c/schema/s", None), ("/c/schema/s/table", TABLE)):
        status, text = call(service, "POST", target, body)
        assert status in (201, 409), (target, status, text)
    return service


def write(service: Service, name: str, count: int) -> None:
    for number in range(count):
        status, text = call(service, "POST", "/c/entity/s:T", [{"a": f"{name}.{number}"}])
        assert status == 200, text
        if number % 20 == 0:
            status, text = call(service, "GET", f"/c/entity/s:T/a={name}.{number}")
            assert len(json.loads(text)) == 1


def test_processes_that_start_at_once_share_a_folder_and_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    processes, count = 6, 200
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(root), str(number), str(count)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    problems = [process.communicate(timeout=100)[1] for process in started]
    assert [process.returncode for process in started] == [0] * processes, problems
    service = open_service(root)
    rows = json.loads(call(service, "GET", "/c/entity/s:T")[1])
    service.close()
    assert {row["a"] for row in rows} == {f"{p}.{n}" for p in range(processes) for n in range(count)}
    assert len({row["RID"] for row in rows}) == len(rows)
    assert len({row["RMT"] for row in rows}) == len(rows)
    left = {path.name for path in root.rglob("*") if path.is_file()}
    assert left == {"deriva-ml-catalog.json", "service.db", "c.db"}


def test_threads_share_a_service(tmp_path: Path) -> None:
    service = make(tmp_path)
    problems: list[BaseException] = []

    def run(name: str) -> None:
        try:
            write(service, name, 60)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = json.loads(call(service, "GET", "/c/entity/s:T")[1])
    service.close()
    assert not problems
    assert len({row["a"] for row in rows}) == 360


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    service = make(tmp_path)
    store = service.ermrest.catalogs.store("c")
    with store.write(local_client()) as tx:
        tx.touch()
        assert call(service, "GET", "/c/entity/s:T") == (200, b"[]\n")
        assert call(service, "GET", "/c/schema")[0] == 200
    service.close()


# ---------------------------------------------------------------------------------------------- a crowd

FULL = os.environ.get("DERIVA_ML_CROWD") == "full"
"""With ``DERIVA_ML_CROWD=full`` each writer writes a thousand rows, which takes minutes; else some tens."""

WRITERS, READERS, ROWS = 16, 16, 1000 if FULL else 40


def gather(root: Path, url: str = "", token: str = "") -> None:
    words = [str(root), str(WRITERS), str(READERS), str(ROWS), url, token]
    done = subprocess.run(
        [sys.executable, "-m", "tests.server.crowd", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert (done.returncode, done.stderr) == (0, "")


def nothing_is_lost(root: Path) -> None:
    with closing(open_service(root)) as service:
        rows = json.loads(service(Request("GET", "/ermrest/catalog/1/entity/s:T"), local_client()).read())
        written = [name for number in range(WRITERS) for request in crowd.names(number, ROWS) for name in request]
        assert sorted(row["a"] for row in rows) == sorted(written)
        assert len({row["RID"] for row in rows}) == len(rows)
        # Each request has a moment of its own, and all of its rows have it.
        moments: dict[str, set[str]] = {}
        for row in rows:
            moments.setdefault(row["RCT"], set()).add(row["batch"] or row["a"])
        assert all(len(requests) == 1 for requests in moments.values())
        assert len(moments) == sum(len(crowd.names(number, ROWS)) for number in range(WRITERS))
    assert check_folder(root).findings == []


@pytest.mark.slow
@pytest.mark.timeout(1800 if FULL else 120)
def test_sixteen_writers_and_sixteen_readers_at_once(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    crowd.make(root)
    gather(root)
    nothing_is_lost(root)


@pytest.mark.slow
@pytest.mark.timeout(1800 if FULL else 120)
def test_sixteen_writers_and_sixteen_readers_half_of_them_over_http(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    crowd.make(root)
    with served(root) as process:
        gather(root, process.url, process.token)
    nothing_is_lost(root)


HOLDER = """
import sys
from pathlib import Path
from deriva_ml.server.app import local_client, open_service
from deriva_ml.server.rows import insert
from deriva_ml.wire.path import parse_path
service = open_service(Path(sys.argv[1]))
with service.ermrest.catalogs.store("1").write(local_client()) as tx:
    insert(tx, parse_path("/entity/s:T"), b'[{"a": "held"}]', "application/json")
    print("held", flush=True)
    assert sys.stdin.readline() == "go on\\n"
service.close()
"""


def test_readers_in_other_processes_do_not_wait_for_a_writer_that_holds_its_transaction_open(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    crowd.make(root)
    with served(root) as process, closing(open_service(root)) as service:
        over_http = Http(process.url, {"bearer-token": process.token}, retry=Retry(1))
        ways = [over_http.send, lambda request: service(request, local_client())]
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        # The writer goes on only when it is told to, so an answer now is one that did not wait for it.
        for send in ways:
            assert crowd.ask(send, "GET", f"{crowd.BASE}/entity/s:T") == b"[]\n"
            assert crowd.ask(send, "GET", f"{crowd.BASE}/schema")
        before = json.loads(crowd.ask(ways[0], "GET", f"{crowd.BASE}/"))["snaptime"]
        assert holder.poll() is None
        holder.communicate("go on\n", timeout=60)
        assert holder.returncode == 0
        for send in ways:
            assert [row["a"] for row in json.loads(crowd.ask(send, "GET", f"{crowd.BASE}/entity/s:T"))] == ["held"]
            assert crowd.ask(send, "GET", f"{crowd.BASE}@{before}/entity/s:T") == b"[]\n"
        over_http.close()


def test_sixty_four_processes_make_one_folder(tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    script = f"""
import os, sys
from pathlib import Path
from deriva_ml.server.app import create_folder, open_service
begin, start = os.pipe()
children = []
for number in range(64):
    child = os.fork()
    if child == 0:
        os.close(start)
        os.read(begin, 1)
        try:
            create_folder(Path({str(root)!r}))
            service = open_service(Path({str(root)!r}))
            os.write(1, (service.identity + "\\n").encode())
            service.close()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(start)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    identities = done.stdout.split()
    assert len(identities) == 64
    assert len(set(identities)) == 1
    assert sorted(path.name for path in root.iterdir()) == [
        "catalogs",
        "deriva-ml-catalog.json",
        "objects",
        "service.db",
    ]
    assert check_folder(root).findings == []
