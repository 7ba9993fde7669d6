"""A process that is killed before any of its writes, flushes and renames leaves a whole folder.

The kills come from a small library that stands before the C library's calls (``kill.c``); ``DERIVA_ML_KILL_POINTS``
says at how many points, evenly spread, or ``all``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.server.sweep import sweep
from deriva_ml.wire.http import Request

POINTS = os.environ.get("DERIVA_ML_KILL_POINTS", "8")
SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
COLUMNS = [*SYSTEM, {"name": "a", "type": {"typename": "text"}}, {"name": "n", "type": {"typename": "int4"}}]
TABLE = {
    "table_name": "T",
    "column_definitions": COLUMNS,
    "keys": [{"unique_columns": ["RID"]}, {"unique_columns": ["a"]}],
}
CHILD = {
    "table_name": "C",
    "column_definitions": [*SYSTEM, {"name": "t", "type": {"typename": "text"}}],
    "keys": [{"unique_columns": ["RID"]}],
    "foreign_keys": [
        {
            "foreign_key_columns": [{"column_name": "t"}],
            "referenced_columns": [{"schema_name": "s", "table_name": "T", "column_name": "a"}],
            "on_delete": "CASCADE",
        }
    ],
}
BLOCK = 7
"""Rows in one request."""

SCRIPT = """
import sys
from pathlib import Path
from tests.server.test_kill import work
work(Path(sys.argv[1]))
"""


def send(service: Service, method: str, target: str, body: object = None, *codes: int) -> int:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    answer = service(Request(method, target, {}, content), local_client())
    text = answer.read()
    assert answer.status in (codes or (200, 201, 204)), (method, target, answer.status, text)
    return answer.status


def rows(number: int) -> list[dict[str, object]]:
    return [{"a": f"{number}.{at}", "n": number} for at in range(BLOCK)]


def work(root: Path) -> None:
    """A sequence of requests of every kind; each that is answered is printed."""
    create_folder(root)
    service = open_service(root)
    base = "/ermrest/catalog/1"
    requests: list[tuple[str, str, object]] = [
        ("POST", "/ermrest/catalog", {"id": "1"}),
        ("POST", f"{base}/schema/s", None),
        ("POST", f"{base}/schema/s/table", TABLE),
        ("POST", f"{base}/schema/s/table", CHILD),
        ("POST", f"{base}/entity/s:T", rows(0)),
        ("POST", f"{base}/entity/s:T", rows(1)),
        ("POST", f"{base}/entity/s:C", [{"t": f"1.{at}"} for at in range(BLOCK)]),
        ("PUT", f"{base}/attributegroup/s:T/a;n", [{"a": f"0.{at}", "n": 100} for at in range(BLOCK)]),
        ("PUT", "/hatrac/ns/one?parents=true", b"one" * 5000),
        ("PUT", "/hatrac/ns/two", b"two" * 5000),
        ("PUT", f"{base}/schema/s/table/T/column/n", {"type": {"typename": "text"}}),
        ("DELETE", f"{base}/entity/s:T/a=any({','.join(f'1.{at}' for at in range(BLOCK))})", None),
        ("DELETE", "/hatrac/ns/two", None),
        ("POST", "/ermrest/catalog", {"id": "2"}),
        ("DELETE", f"{base}/schema/s/table/C", None),
        ("DELETE", "/ermrest/catalog/2", None),
    ]
    for number, (method, target, body) in enumerate(requests):
        send(service, method, target, body)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    service.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and Linux")
    made = tmp_path_factory.mktemp("kill") / "kill.so"
    source = Path(__file__).with_name("kill.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


def run(library: Path, root: Path, after: int, count: Path | None = None) -> tuple[int, list[int]]:
    environment = {**os.environ, "LD_PRELOAD": str(library), "KILL_ROOT": f"{root}/", "KILL_AFTER": str(after)}
    if count is not None:
        environment["KILL_COUNT"] = str(count)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(root)], env=environment, capture_output=True, timeout=60)
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode, [int(line) for line in done.stdout.split()]


@pytest.fixture(scope="module")
def total(library: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many writes there are when nobody is killed."""
    folder = tmp_path_factory.mktemp("whole")
    code, answered = run(library, folder / "root", 0, folder / "count")
    assert code == 0
    assert answered[-1] == 15
    return int((folder / "count").read_text())


def get(service: Service, target: str) -> object:
    answer = service(Request("GET", target), local_client())
    return json.loads(answer.read()) if answer.status == 200 else None


def check(root: Path, answered: int) -> None:
    """Compare what is there with what was answered: the next request may have happened too, whole."""
    service = open_service(root)
    base = "/ermrest/catalog/1"
    done = answered + 1
    schema = get(service, f"{base}/schema")
    assert schema is not None or done < 1
    tables = set((schema or {"schemas": {}})["schemas"].get("s", {"tables": {}})["tables"])  # type: ignore[index]
    expected = [set(), {"T"}, {"T", "C"}][min(max(done - 2, 0), 2)] if done < 15 else {"T"}
    assert tables == expected or done in (2, 3, 14)
    if "T" in tables:
        found = [(row["a"], str(row["n"])) for row in get(service, f"{base}/entity/s:T@sort(a)")]  # type: ignore[union-attr]
        first = {value for name, value in found if name.startswith("0.")}
        assert len(found) % BLOCK == 0
        assert len(first) <= 1
        for threshold, state in ((5, {"0"}), (8, {"100"})):
            if done >= threshold and (done < 7 or threshold == 8):
                assert first == state
        second = len([name for name, _ in found if name.startswith("1.")])
        assert second == (BLOCK if 6 <= done < 12 else 0) or done in (5, 11)
    for name, since, until in (("one", 9, 99), ("two", 10, 13)):
        answer = service(Request("GET", f"/hatrac/ns/{name}"), local_client())
        content = answer.read()
        assert answer.status in (200, 404, 409)
        if answer.status == 200:
            assert content == name.encode() * 5000
        assert (answer.status == 200) == (since <= done < until) or done in (since - 1, until - 1)
    service.close()


def points() -> list[int]:
    return list(range(int(POINTS) if POINTS != "all" else 1))


@pytest.mark.parametrize("point", points())
def test_a_folder_is_whole_wherever_its_writer_is_killed(library: Path, total: int, tmp_path: Path, point: int) -> None:
    places = range(1, total + 1) if POINTS == "all" else [1 + (2 * point + 1) * (total - 1) // (2 * int(POINTS))]
    for after in places:
        root = tmp_path / f"at-{after}"
        code, answered = run(library, root, after)
        assert code == -9, after
        if not (root / "deriva-ml-catalog.json").exists():
            assert answered == []
            create_folder(root)
        check(root, answered[-1] if answered else -1)
        findings = check_folder(root).findings
        assert {finding.kind for finding in findings} <= {"leftover"}, (after, findings)
        sweep(root, findings)
        assert check_folder(root).findings == [], after
        service = open_service(root)
        send(service, "POST", "/ermrest/catalog", {"id": "after"})
        send(service, "PUT", "/hatrac/after", b"goes on")
        service.close()
        shutil.rmtree(root)
