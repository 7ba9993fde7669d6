"""Many threads and processes on one folder: nothing lost, nothing refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from deriva_ml.server.app import Service, create_folder, local_client, open_service
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
