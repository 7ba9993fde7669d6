"""Objects: small ones, many small ones, and one of a gibibyte; stored in process, and over HTTP.

The baseline of a small object is a file written, flushed and named, beside a row of a plain SQLite file; of a large
one, reading it once with MD5 and SHA-256 side by side and writing it once, flushed. Content is not compressible.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from queue import Queue
from typing import IO

from figures import Sheet, best, typical_time

from catalog import served
from deriva_ml.catalog.deriva import DerivaHandles
from deriva_ml.catalog.transport import Http
from deriva_ml.connect import open_connection
from deriva_ml.server.app import Service, local_client, open_service
from deriva_ml.wire.http import Request

SMALL = 4096
BLOCK = 4 << 20

PEAK = """
import re, sys
from pathlib import Path
from deriva_ml.server.app import local_client, open_service
from deriva_ml.wire.http import Request

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6

service, before = open_service(Path(sys.argv[1])), peak()
with open(sys.argv[2], "rb", buffering=0) as source:
    headers = {"content-type": "application/octet-stream", "content-length": sys.argv[3]}
    answer = service(Request("PUT", "/hatrac/bench/peak", headers, source), local_client())
    assert answer.status == 201, answer.read()
print(peak(), before)
"""


class Plain:
    """The baseline of small objects: a file, and a row that names it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        self._connection.execute("CREATE TABLE object (name TEXT PRIMARY KEY, md5 TEXT, sha256 TEXT)")
        self._numbers = count()

    def put(self, content: bytes) -> None:
        """Store an object."""
        digests = (hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest())
        draft = self._folder / f"draft{next(self._numbers)}"
        with draft.open("xb", buffering=0) as out:
            out.write(content)
            os.fsync(out.fileno())
        draft.rename(self._folder / digests[1])
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self._connection.execute("INSERT INTO object VALUES (?, ?, ?)", (draft.name, *digests))


Put = Callable[[str, bytes], None]


def by_service(service: Service) -> Put:
    """Store by a call of the service."""
    client = local_client()

    def put(name: str, content: bytes) -> None:
        headers = {"content-type": "application/octet-stream", "content-length": str(len(content))}
        answer = service(Request("PUT", f"/hatrac/bench/{name}", headers, content), client)
        assert answer.status == 201, answer.read()

    return put


def by_client(handles: DerivaHandles) -> Put:
    """Store by the ``deriva`` package's own object store."""
    store = handles.store()

    def put(name: str, content: bytes) -> None:
        headers = {"content-type": "application/octet-stream"}
        store.put(f"/hatrac/bench/{name}", data=content, headers=headers)

    return put


def small(sheet: Sheet, plain: Plain, put: Put, way: str, rounds: int, at_most: float) -> None:
    """One small object after the other."""
    names = count()
    base = typical_time(lambda: plain.put(secrets.token_bytes(SMALL)), rounds) * 1000
    took = (
        typical_time(lambda: put(f"{way}{next(names)}".replace("'s ", "-"), secrets.token_bytes(SMALL)), rounds) * 1000
    )
    sheet.add(f"object of 4 KiB, {way}", took, "ms", baseline=base, at_most=at_most, real=7.5)


def many(sheet: Sheet, plain: Plain, put: Put, number: int) -> None:
    """Many small objects, one after the other."""
    contents = [secrets.token_bytes(SMALL) for _ in range(number)]

    def all_plain() -> None:
        for content in contents:
            plain.put(content)

    def all_ours() -> None:
        for at, content in enumerate(contents):
            put(f"many{at}", content)

    base, took = best(all_plain, 1), best(all_ours, 1)
    sheet.add(f"{number:,} objects of 4 KiB, service", took, "s", baseline=base, at_most=15 * number / 10_000)


# ---------------------------------------------------------------------------------------------- a large one


def write_large(path: Path, size: int) -> None:
    """Make a file whose content does not repeat."""
    chooser = random.Random(size)
    with path.open("wb") as out:
        for at in range(0, size, BLOCK):
            out.write(chooser.randbytes(min(BLOCK, size - at)))
        out.flush()
        os.fsync(out.fileno())


def _parts(source: IO[bytes]) -> Iterator[bytes]:
    while part := source.read(BLOCK):
        yield part


def read_hash_write(source: Path, target: Path) -> None:
    """The baseline: each digest in a thread of its own, and the writing in this one, a block at a time."""

    def feed(queue: Queue[bytes | None], update: Callable[[bytes], None]) -> None:
        while (part := queue.get()) is not None:
            update(part)

    queues: list[Queue[bytes | None]] = [Queue(2), Queue(2)]
    threads = [
        threading.Thread(target=feed, args=(queue, digest.update))
        for queue, digest in zip(queues, (hashlib.md5(), hashlib.sha256()), strict=True)
    ]
    for thread in threads:
        thread.start()
    with source.open("rb", buffering=0) as incoming, target.open("wb", buffering=0) as out:
        for part in _parts(incoming):
            for queue in queues:
                queue.put(part)
            out.write(part)
        os.fsync(out.fileno())
    for queue in queues:
        queue.put(None)
    for thread in threads:
        thread.join()


def large(sheet: Sheet, service: Service, root: Path, scratch: Path, size: int) -> None:
    """One large object: the time, in turn with the baseline, and the peak memory of a process of its own."""
    source, target, client = scratch / "large", scratch / "copy", local_client()
    write_large(source, size)
    headers = {"content-type": "application/octet-stream", "content-length": str(size)}

    def store(name: str) -> None:
        with source.open("rb", buffering=0) as body:
            answer = service(Request("PUT", name, headers, body), client)
            assert answer.status == 201, answer.read()

    pairs = []
    for number in range(3):
        base = best(lambda: read_hash_write(source, target), 1)
        target.unlink()
        name = f"/hatrac/bench/large{number}"
        pairs.append((best(partial(store, name), 1), base))
        # The content goes with its last record, so that the next one is written anew.
        assert service(Request("DELETE", name, {}), client).status == 204
    took, base = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    shown = f"object of {size / (1 << 20):,.0f} MiB"
    sheet.add(shown, took, "s", baseline=base, at_most=1.3 * base)
    command = [sys.executable, "-c", PEAK, str(root), str(source), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, before = map(float, done.stdout.split())
    sheet.add(f"{shown}, peak memory of its process", peak, "MB", baseline=before, at_most=100)


def main() -> int:
    """Measure and print; 1 if a target is missed."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rounds", type=int, default=300)
    flags.add_argument("--number", type=int, default=10_000)
    flags.add_argument("--size", type=int, default=1 << 30, help="bytes of the large object")
    args = flags.parse_args()
    sheet = Sheet("Objects", "a file and a row, flushed; reading with both digests and writing once")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        root, plain = scratch / "folder", Plain(scratch / "plain")
        with open_connection(str(root), create=True) as connection:
            connection.deriva().store().create_namespace("/hatrac/bench")
            small(sheet, plain, by_client(connection.deriva()), "deriva's client", args.rounds, 2)
        service = open_service(root)
        small(sheet, plain, by_service(service), "service", args.rounds, 2)
        many(sheet, plain, by_service(service), args.number)
        large(sheet, service, root, scratch, args.size)
        service.close()
        with served(root) as (url, token):
            transport = Http(url, {"bearer-token": token})
            small(sheet, plain, by_client(DerivaHandles(transport, url)), "served", args.rounds, 7.5)
            transport.close()
    sheet.add("peak memory of this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB")
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main())
