"""Many processes at work on one folder at once: writers that leave nothing out, readers that look at everything."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.server.app import create_folder, local_client, open_service
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
        {"name": "batch", "type": {"typename": "text"}},
    ],
    "keys": [{"unique_columns": ["RID"]}, {"unique_columns": ["a"]}],
}
BATCH = 10
"""Rows of one request that has several."""

BASE = "/ermrest/catalog/1"

Send = Callable[[Request], object]


def ask(send: Send, method: str, target: str, body: object = None) -> bytes:
    """The content of an answer, which no user would take for an error."""
    content = None if body is None else json.dumps(body).encode()
    answer = send(Request(method, target, {"content-type": "application/json"} if content else {}, content))
    text = answer.read()  # type: ignore[attr-defined]
    assert answer.status in (200, 201, 204), (method, target, answer.status, text)  # type: ignore[attr-defined]
    return text


def make(root: Path) -> None:
    create_folder(root)
    with closing(open_service(root)) as service:
        send = lambda request: service(request, local_client())  # noqa: E731
        ask(send, "POST", "/ermrest/catalog", {"id": "1"})
        ask(send, "POST", f"{BASE}/schema/s")
        ask(send, "POST", f"{BASE}/schema/s/table", TABLE)


def names(writer: int, count: int) -> list[list[str]]:
    """The requests of a writer: of ten rows one in twenty, of one row the others; ``count`` rows in all."""
    requests: list[list[str]] = []
    written = 0
    while written < count:
        size = min(BATCH if len(requests) % 20 == 19 else 1, count - written)
        requests.append([f"{writer}.{written + at}" for at in range(size)])
        written += size
    return requests


def write(send: Send, writer: int, count: int) -> None:
    for number, request in enumerate(names(writer, count)):
        batch = f"{writer}.{number}.{len(request)}" if len(request) > 1 else None
        ask(send, "POST", f"{BASE}/entity/s:T", [{"a": name, "batch": batch} for name in request])


def look(send: Send, is_over: Callable[[], bool]) -> int:
    """Read until the writers are done: whole requests only, never less than before, snapshots as they were."""
    rounds, most = 0, 0
    kept: list[tuple[str, bytes]] = []
    while True:
        over = is_over()
        batches = json.loads(ask(send, "GET", f"{BASE}/attributegroup/s:T/!batch::null::/batch;n:=cnt(RID)"))
        assert all(one["batch"].endswith(f".{one['n']}") for one in batches), batches
        found = json.loads(ask(send, "GET", f"{BASE}/aggregate/s:T/n:=cnt(RID),d:=cnt_d(a)"))[0]
        assert found["n"] == found["d"] >= most, (found, most)
        most = found["n"]
        snaptime = json.loads(ask(send, "GET", f"{BASE}/"))["snaptime"]
        kept.append((f"{BASE}@{snaptime}/attribute/s:T/a@sort(a)?limit=2000", b""))
        kept[:] = kept[-3:]
        for at, (target, before) in enumerate(kept):
            now = ask(send, "GET", target)
            assert before in (b"", now), target
            kept[at] = (target, now)
        rounds += 1
        if over:
            return rounds


def member(root: Path, url: str, token: str, kind: str, number: int, count: int, done: int) -> None:
    """One process; over HTTP where a URL is given."""
    if url:
        transport = Http(url, {"bearer-token": token}, retry=Retry(1))
        send: Send = transport.send
        close = transport.close
    else:
        service = open_service(root)
        send = lambda request: service(request, local_client())  # noqa: E731
        close = service.close
    with closing(_Closing(close)):
        if kind == "writer":
            write(send, number, count)
        else:
            look(send, lambda: Path(f"{root}.over").exists())


class _Closing:
    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


def crowd(root: Path, writers: int, readers: int, count: int, url: str, token: str) -> int:
    """Start all of them at once; gives how many failed, which is said on standard error.

    Args:
        root: The folder.
        writers: How many write.
        readers: How many read.
        count: How many rows each writer writes.
        url: Where every second one goes over HTTP; empty for nobody.
        token: The token for it.
    """
    begin, start = os.pipe()
    children: dict[int, str] = {}
    for kind, how_many in (("writer", writers), ("reader", readers)):
        for number in range(how_many):
            child = os.fork()
            if child == 0:
                os.close(start)
                os.read(begin, 1)  # ends for all of them at the same moment
                try:
                    member(root, url if number % 2 else "", token, kind, number, count, begin)
                except BaseException:
                    sys.stderr.write(f"{kind} {number}: {traceback.format_exc()}")
                    sys.stderr.flush()
                    os._exit(1)
                os._exit(0)
            children[child] = kind
    os.close(start)
    failed, left = 0, writers
    while children:
        child, status = os.wait()
        left -= children.pop(child) == "writer"
        failed += status != 0
        if not left:
            Path(f"{root}.over").touch()
    return failed


if __name__ == "__main__":
    folder, writer_count, reader_count, row_count, where, secret = sys.argv[1:]
    # What is needed is loaded before the first fork.
    with closing(open_service(Path(folder))) as opened:
        ask(lambda request: opened(request, local_client()), "GET", f"{BASE}/entity/s:T")
    sys.exit(crowd(Path(folder), int(writer_count), int(reader_count), int(row_count), where, secret))
