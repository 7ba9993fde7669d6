"""Counting what is written in one go, as it is on the disk and without a hand in the code that writes."""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

__all__ = ["Count", "commits", "openings"]


class Count:
    """A number that is known when the block is over.

    Attributes:
        number: The number.
    """

    def __init__(self) -> None:
        self.number = 0


@contextmanager
def commits(database: Path) -> Iterator[Count]:
    """Count the transactions that are committed to a database of SQLite's in the block, by any process.

    Each ends with a frame of the write-ahead log that says how large the database is by then. As long as somebody
    reads the state of before, the log is only added to.

    Args:
        database: The file.

    Raises:
        RuntimeError: It has no write-ahead log, or somebody reads in it for long.
    """
    count = Count()
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if mode != "wal" or busy:
            raise RuntimeError(f"{database}, {mode}, {busy=}: its log cannot be read off")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            yield count
        finally:
            count.number = _committed(Path(f"{database}-wal"))
            connection.execute("ROLLBACK")


def _committed(log: Path) -> int:
    """How many of a log's frames end a transaction."""
    with log.open("rb") as opened:
        header = opened.read(32)
        if len(header) < 32:
            return 0
        page_size, salt = struct.unpack(">8xI4x8s8x", header)
        found = 0
        while len(frame := opened.read(24)) == 24:
            size, frame_salt = struct.unpack(">4xI8s8x", frame)
            if frame_salt != salt:
                break
            found += size > 0
            opened.seek(page_size, os.SEEK_CUR)
        return found


@contextmanager
def openings(path: Path) -> Iterator[Count]:
    """Count how often this process opens a file to write to it in the block.

    Args:
        path: The file; each turn to write to it must open it.
    """
    count, wanted, is_over = Count(), os.fspath(path), False

    def note(event: str, arguments: tuple[object, ...]) -> None:
        # A hook stays for good.
        if not is_over and event == "open" and arguments[0] == wanted:
            flags = arguments[2]
            count.number += isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))

    sys.addaudithook(note)
    try:
        yield count
    finally:
        is_over = True
