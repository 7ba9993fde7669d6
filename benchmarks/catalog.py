"""Rows and models: in the service itself, through the ``deriva`` package in process, and over HTTP.

The baseline of a row operation is the same statement on a plain SQLite file of the same rows, flushed at each commit;
of reading many rows, ``json.dumps`` of them; of writing many, ``json.loads`` and ``executemany``; of a model,
``json.dumps`` of the document. Every figure of a part is taken in one run.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from figures import Sheet, best, typical_time

from deriva_ml.catalog.deriva import DerivaHandles
from deriva_ml.catalog.transport import Http
from deriva_ml.connect import open_connection
from deriva_ml.server.app import local_client, open_service
from deriva_ml.wire.http import Request

TABLE = "/ermrest/catalog/1/entity/bench:sample"
SYSTEM = ("RID", "RCT", "RMT", "RCB", "RMB")
OWN = {"name": "text", "note": "text", "count": "int4", "level": "float8", "batch": "int4"}
PLAIN = (
    "CREATE TABLE sample (RID TEXT PRIMARY KEY, RCT INTEGER, RMT INTEGER, RCB TEXT, RMB TEXT, "
    "name TEXT, note TEXT, count INTEGER, level REAL, batch INTEGER)"
)

STARTED = """
import sys, time
from pathlib import Path
import deriva_ml.catalog.client, deriva_ml.connect, deriva_ml.server.app, deriva_ml.server.damage, getpass
start = time.process_time()
with deriva_ml.connect.open_connection(sys.argv[1]) as connection:
    rows = connection.catalog("1").rows_by("bench", "sample", "batch", [1])
print((time.process_time() - start) * 1000, len(rows))
"""


def sample(at: int) -> dict[str, Any]:
    """A row; ten of a thousand share a batch."""
    return {"name": f"sample {at}", "note": f"a note on {at}", "count": at, "level": at / 7, "batch": at // 10}


def table(name: str) -> dict[str, Any]:
    """The document of a table with the columns of `sample`, and a key of the name."""
    system = [{"name": one, "type": {"typename": f"ermrest_{one.lower()}"}, "nullok": one[-1] == "B"} for one in SYSTEM]
    own = [{"name": one, "type": {"typename": kind}} for one, kind in OWN.items()]
    keys = [{"unique_columns": ["RID"]}]
    return {"schema_name": "bench", "table_name": name, "column_definitions": [*system, *own], "keys": keys}


class Plain:
    """The baseline: the same rows in a SQLite file with nothing around it."""

    def __init__(self, path: Path, rows: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + PLAIN)
        self._connection.execute("CREATE INDEX by_batch ON sample (batch)")
        self._next = 0
        self.bulk = best(lambda: self.insert([sample(at) for at in range(rows)]), 1)
        self.body = json.dumps([sample(at) for at in range(rows)]).encode()

    def insert(self, rows: list[dict[str, Any]]) -> None:
        """Insert rows, in one transaction."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        first, self._next = self._next, self._next + len(rows)
        values = ((f"R{first + at}", 0, 0, "", "", *row.values()) for at, row in enumerate(rows))
        self._connection.executemany("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        execute("COMMIT")

    def read(self, column: str, value: object) -> list[Any]:
        """Rows by the value of a column, as JSON."""
        found = self._connection.execute(f"SELECT * FROM sample WHERE {column} = ?", (value,)).fetchall()
        json.dumps(found)
        return found


# ---------------------------------------------------------------------------------------------- the three ways in


@contextmanager
def served(root: Path) -> Iterator[tuple[str, str]]:
    """A folder served by the command: its URL and token."""
    command = [sys.executable, "-m", "deriva_ml.cli.catalog", "serve", "--root", str(root), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        url = re.search(r"https?://\S+", lines[0])
        assert url, lines
        yield url[0], lines[1].removeprefix("Token: ").strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)


Send = Callable[[str, str, bytes | None], bytes]
"""Sends a request to a path below ``/ermrest/catalog/1`` and gives the content of the answer."""


def by_client(handles: DerivaHandles) -> Send:
    """By the ``deriva`` package's own client; streamed answers are not cached by it."""
    catalog = handles.catalog("1")

    def send(method: str, path: str, body: bytes | None) -> bytes:
        headers = {"content-type": "application/json"}
        answer = catalog.get(path, stream=True) if method == "GET" else catalog.post(path, data=body, headers=headers)
        content: bytes = answer.content
        return content

    return send


def by_service(root: Path) -> tuple[Send, Callable[[], None]]:
    """By a call of the service."""
    service, client = open_service(root), local_client()

    def send(method: str, path: str, body: bytes | None) -> bytes:
        headers = {"accept": "application/json", "content-type": "application/json"}
        answer = service(Request(method, f"/ermrest/catalog/1{path}", headers, body), client)
        content = answer.read()
        assert answer.status < 300, content
        return content

    return send, service.close


# ---------------------------------------------------------------------------------------------- what is measured


def row_operations(sheet: Sheet, plain: Plain, send: Send, way: str, limit: float, args: argparse.Namespace) -> None:
    """One row in, one row by its RID, ten rows by a column."""
    entity = "/entity/bench:sample"
    first: dict[str, Any] = json.loads(send("GET", f"{entity}?limit=1", None))[0]
    rounds, numbers = args.rounds, iter(range(10**9, 2 * 10**9))
    body = lambda: json.dumps([sample(next(numbers))]).encode()  # noqa: E731

    def ten() -> None:
        found = send("GET", f"{entity}/batch={args.rows // 20}", None)
        assert found.count(b'"RID"') == 10, found

    operations = (
        ("insert of one row", lambda: send("POST", entity, body()), lambda: plain.insert([sample(0)]), 13.6),
        (
            "read by RID",
            lambda: send("GET", f"{entity}/RID={first['RID']}", None),
            lambda: plain.read("RID", "R7"),
            4.8,
        ),
        ("filtered read of ten rows", ten, lambda: plain.read("batch", args.rows // 20), 4.6),
    )
    for what, ours, theirs, real in operations:
        base, took = typical_time(theirs, rounds), typical_time(ours, rounds)
        most = real if limit == 0 else limit
        sheet.add(f"{what}, {way}", took * 1000, "ms", baseline=base * 1000, at_most=most, real=real)


def many_rows(sheet: Sheet, plain: Plain, send: Send, way: str, args: argparse.Namespace, *, is_served: bool) -> None:
    """All rows in by one POST, and out as JSON."""
    rows, name = args.rows, f"bulk{secrets.token_hex(4)}"
    send("POST", "/schema/bench/table", json.dumps(table(name)).encode())
    loads = best(lambda: json.loads(plain.body), 3)
    took = best(lambda: send("POST", f"/entity/bench:{name}", plain.body), 1)
    at_least = 6_100 if is_served else 50_000
    base = rows / (loads + plain.bulk)
    sheet.add(f"insert of {rows:,} rows, {way}", rows / took, "rows/s", baseline=base, at_least=at_least, real=6_100)
    content = send("GET", f"/entity/bench:{name}", None)
    held = json.loads(content)
    assert len(held) == rows
    dumps = best(lambda: json.dumps(held), 3)
    took = best(lambda: send("GET", f"/entity/bench:{name}", None), 3)
    at_least = 114_000 if is_served else 150_000
    sheet.add(
        f"read of {rows:,} rows, {way}", rows / took, "rows/s", baseline=rows / dumps, at_least=at_least, real=114_000
    )


def model(sheet: Sheet, root: Path, args: argparse.Namespace) -> None:
    """The whole model of some tables: first in a service, after a change, and when nothing changed."""
    send, close = by_service(root)
    send("POST", "/schema/wide", None)
    tables = [table(f"t{at}") | {"schema_name": "wide"} for at in range(args.tables)]
    send("POST", "/schema", json.dumps(tables).encode())
    document = json.loads(send("GET", "/schema", None))
    base = typical_time(lambda: json.dumps(document), 20) * 1000
    warm = typical_time(lambda: send("GET", "/schema", None), args.rounds) * 1000

    def changed() -> float:
        comment = json.dumps(f"comment {time.time_ns()}").encode()
        send("PUT", "/schema/wide/table/t0/comment", comment)
        return best(lambda: send("GET", "/schema", None), 1) * 1000

    after = median(changed() for _ in range(min(20, args.rounds)))
    close()

    def cold() -> float:
        fresh, end = by_service(root)
        fresh("GET", "/", None)
        took = best(lambda: fresh("GET", "/schema", None), 1) * 1000
        end()
        return took

    first = median(cold() for _ in range(min(20, args.rounds)))
    for what, took in (("first in a process", first), ("after a change", after), ("when nothing changed", warm)):
        sheet.add(f"model of {args.tables} tables, {what}", took, "ms", baseline=base, at_most=20)


def opening(sheet: Sheet, root: Path, rounds: int) -> None:
    """Opening a folder and answering the first request, imports aside."""

    def once() -> float:
        done = subprocess.run([sys.executable, "-c", STARTED, str(root)], capture_output=True, text=True, check=True)
        took, found = done.stdout.split()
        assert int(found) == 10
        return float(took)

    once()
    sheet.add("opening and the first request", median(once() for _ in range(rounds)), "ms CPU", at_most=30)


def main() -> int:
    """Measure and print; 1 if a target is missed."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rows", type=int, default=100_000)
    flags.add_argument("--rounds", type=int, default=300)
    flags.add_argument("--tables", type=int, default=100)
    args = flags.parse_args()
    sheet = Sheet("Rows and models", "plain sqlite3, flushed at each commit; json.loads and json.dumps of the rows")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "folder"
        with open_connection(str(root), create=True) as connection:
            connection.create_catalog(1)
            client = by_client(connection.deriva())
            client("POST", "/schema/bench", None)
            client("POST", "/schema/bench/table", json.dumps(table("sample")).encode())
            plain = Plain(Path(scratch) / "plain.db", args.rows)
            client("POST", "/entity/bench:sample", plain.body)
            row_operations(sheet, plain, client, "deriva's client", 2.0, args)
            many_rows(sheet, plain, client, "deriva's client", args, is_served=False)
        service, close = by_service(root)
        row_operations(sheet, plain, service, "service", 0.5, args)
        many_rows(sheet, plain, service, "service", args, is_served=False)
        close()
        with served(root) as (url, token):
            transport = Http(url, {"bearer-token": token})
            over_http = by_client(DerivaHandles(transport, url))
            row_operations(sheet, plain, over_http, "served", 0.0, args)
            many_rows(sheet, plain, over_http, "served", args, is_served=True)
            transport.close()
        model(sheet, root, args)
        opening(sheet, root, min(11, args.rounds))
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main())
