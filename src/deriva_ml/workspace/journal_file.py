"""The SQLite file of a journal: made, opened, and closed again; several processes use it at once.

1. One block is one transaction. Writers begin with ``BEGIN IMMEDIATE`` and wait for one another; the waiting time is
   set before anything else, since the switch to write-ahead logging needs it too.
2. The file is open for the time of a block, unless it is kept.
3. A connection that was inherited through a fork is not used.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.core.files import make_directory, unusable_directory

__all__ = ["JournalFile"]

FORMAT = 1
WAIT_S = 60.0

_SCHEMA = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    execution TEXT NOT NULL, catalog TEXT NOT NULL, catalog_id TEXT NOT NULL,
    workflow TEXT, status TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '', synced INTEGER NOT NULL DEFAULT 0,
    upload_state TEXT NOT NULL DEFAULT 'none', directory TEXT NOT NULL, error TEXT,
    host TEXT NOT NULL, boot TEXT NOT NULL, namespace TEXT NOT NULL, pid INTEGER NOT NULL, process_start TEXT NOT NULL,
    started TEXT NOT NULL, heartbeat TEXT NOT NULL, stopped TEXT,
    UNIQUE (catalog, catalog_id, execution)
) STRICT;
CREATE TABLE step (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    at TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX step_run ON step (run);
"""


class JournalFile:
    """The file of a journal.

    Args:
        path: The SQLite file; it is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._kept = False
        self._blocks = 0
        self._owner = 0

    def keep(self) -> None:
        """Leave the file open after the next block, until it is closed."""
        self._kept = True

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Within the block the file is opened once, by who needs it first, and closed at the end, not before."""
        with self._lock:
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                self._rest()

    def close(self) -> None:
        """Close the file; in a block in which it is to be at hand, at the end of that."""
        with self._lock:
            self._kept = False
            self._rest()

    def _rest(self) -> None:
        if not self._kept and not self._blocks:
            self._give_back()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes; on the disk when the block ends, undone if it raises."""
        with self.reading() as sql:
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
            except BaseException:
                sql.execute("ROLLBACK")
                raise
            sql.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The open file; it is closed after the block unless it is kept.

        Raises:
            DerivaMLExecutionError: The disk refused.
            DerivaMLConfigurationError: The directory cannot be used.
            DerivaMLDataError: The file is of another format.
        """
        with self._lock, self._translated():
            try:
                yield self._open()
            finally:
                self._rest()

    def _give_back(self) -> None:
        if self._connection is not None and self._owner == os.getpid():
            self._connection.close()
        self._connection = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise unusable_directory(self.path.parent, OSError(None, f"its {self.path.name}: {error}")) from error
            raise DerivaMLExecutionError(
                f"The journal {self.path} cannot be used: {error}.",
                source=str(self.path),
                hint="make room on the disk, or move the file away: only the history of runs on this machine is in it",
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._owner == os.getpid():
            return self._connection
        # a connection that was inherited through a fork must not be used, nor closed
        make_directory(self.path.parent)
        sql = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            sql.row_factory = sqlite3.Row
            sql.execute("PRAGMA journal_mode = WAL")
            sql.execute("PRAGMA synchronous = FULL")
            sql.execute("PRAGMA foreign_keys = ON")
            self._prepare(sql)
        except BaseException:
            sql.close()
            raise
        self._connection, self._owner = sql, os.getpid()
        return sql

    def _prepare(self, sql: sqlite3.Connection) -> None:
        """Make the tables, once, whichever process is first."""
        if self._format(sql) == 0:
            sql.execute("BEGIN IMMEDIATE")
            try:
                if self._format(sql) == 0:
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        sql.execute(statement)
                    sql.execute(f"PRAGMA user_version = {FORMAT}")
            except BaseException:
                sql.execute("ROLLBACK")
                raise
            sql.execute("COMMIT")
        if (found := self._format(sql)) != FORMAT:
            raise DerivaMLDataError(
                f"The journal {self.path} is of format {found}.",
                allowed=[str(FORMAT)],
                hint="use the version of deriva-ml that wrote it",
            )

    def _format(self, sql: sqlite3.Connection) -> int:
        return int(sql.execute("PRAGMA user_version").fetchone()[0])
