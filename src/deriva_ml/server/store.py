"""One catalog's database: who may read and who may write it, and when.

A catalog is one SQLite file in WAL mode. Three rules make it safe under many threads and processes:

1. Writers begin with ``BEGIN IMMEDIATE`` on the process's one writing connection, which a lock guards.
2. Readers have connections of their own, which cannot write, and see one moment for as long as a block lasts.
3. A write block that changed nothing is rolled back, so that a file changes only when its content does.

Rows: ``t_<table RID>`` holds the current versions and ``h_<table RID>`` those that ended, moved there by triggers. The
model is kept in the same way: one document per schema and per table, with the moments between which it held.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deriva_ml.core import codes
from deriva_ml.server.connections import BUSY_SECONDS, Frozen, limit_time, open_format
from deriva_ml.server.elements import FOREVER
from deriva_ml.server.errors import Conflict, Unavailable, translate
from deriva_ml.server.formats import Format
from deriva_ml.server.model_cache import ModelCache
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.http import Client

__all__ = ["FORMAT", "SCHEMA", "CatalogStore", "microseconds"]

FORMAT = Format(1)

IDLE_READERS = 4

SCHEMA = """
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 0), now INTEGER NOT NULL, model INTEGER NOT NULL,
                    rid INTEGER NOT NULL, amended INTEGER);
CREATE TABLE commits (at INTEGER PRIMARY KEY);
CREATE TABLE models (at INTEGER PRIMARY KEY);
CREATE TABLE elements (rid TEXT NOT NULL, kind TEXT NOT NULL, _from INTEGER NOT NULL, _until INTEGER NOT NULL,
                       doc TEXT NOT NULL, PRIMARY KEY (rid, _from)) WITHOUT ROWID;
CREATE INDEX elements_until ON elements (_until);
CREATE TABLE rids (rid TEXT NOT NULL, home TEXT NOT NULL, PRIMARY KEY (rid, home)) WITHOUT ROWID;
CREATE TABLE serials (storage TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO state VALUES (0, 0, 0, 0, NULL);
"""


def microseconds() -> int:
    """The clock: microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class CatalogStore:
    """One catalog's database.

    Args:
        path: The database file.
        clock: Gives microseconds since 1970.
        busy_seconds: How long to wait for other writers.
        time_limit: For how many seconds a request may work on the database, beside waiting; None for ever.
        wanted: The format of the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int] = microseconds,
        busy_seconds: float = BUSY_SECONDS,
        time_limit: float | None = None,
        wanted: Format = FORMAT,
    ) -> None:
        self.path = path
        self.clock = clock
        self.busy_seconds = busy_seconds
        self.time_limit = time_limit
        self._format = wanted
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._models = ModelCache()
        self.known_clients: set[Client] = set()
        """Clients whose rows in ``ERMrest_Client`` are known to be up to date."""
        self.indexed: dict[str, int] = {}
        """For tables whose columns are known to have their indexes, by RID, as of which change of the model."""

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty database; the model and its tables are made by the first transaction."""
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA page_size = 4096")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA user_version = {FORMAT.number}")
            connection.executescript(SCHEMA)
        finally:
            connection.close()

    # ------------------------------------------------------------------------------------------ reading

    @contextmanager
    def read(self, snaptime: str | None = None) -> Iterator[View]:
        """See the catalog as it is, or as it was, for as long as the block lasts.

        Args:
            snaptime: A moment in ERMrest's form; it is taken down to the newest commit at or before it.

        Raises:
            Conflict: The moment is before the first that is known.
        """
        connection = self._borrow()
        try:
            connection.execute("BEGIN")
            latest, model, amended = connection.execute("SELECT now, model, amended FROM state").fetchone()
            self._models.note(amended)
            view = View(self._models.model_at, connection, latest, model, amended)
            view.path = self.path
            view.renew = limit_time(connection, self.time_limit)
            if snaptime is not None:
                view.is_snapshot = True
                view.snaptime, view.model_snaptime = self._clamp(connection, snaptime)
            yield view
        except sqlite3.Error as error:
            refusal = translate(error, self.path)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            self._give_back(connection)

    @staticmethod
    def _clamp(connection: sqlite3.Connection, snaptime: str) -> tuple[int, int]:
        """The newest commit, and the newest one of the model, at or before a moment."""
        try:
            # A moment beyond what the database can count is later than now, hence now.
            moment = min(codes.decode(snaptime), FOREVER)
            row = connection.execute(
                "SELECT (SELECT max(at) FROM commits WHERE at <= :at), (SELECT max(at) FROM models WHERE at <= :at)",
                {"at": moment},
            ).fetchone()
        except ValueError:
            row = (None, None)
        if row[0] is None or row[1] is None:
            raise Conflict(f'Requested catalog revision "{snaptime}" is prior to any known revision.')
        return int(row[0]), int(row[1])

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise Unavailable("The catalog was closed.")
            if self._readers:
                return self._readers.pop()
        return open_format(self.path, self._format, read_only=True, timeout=self.busy_seconds)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.rollback()
        connection.set_progress_handler(None, 0)
        with self._lock:
            if not self._closed and not isinstance(connection, Frozen) and len(self._readers) < IDLE_READERS:
                self._readers.append(connection)
                return
        connection.close()

    # ------------------------------------------------------------------------------------------ writing

    @contextmanager
    def write(self, client: Client) -> Iterator[Transaction]:
        """Change the catalog: everything in the block happens together, or nothing does if it raises.

        Args:
            client: Who changes it.

        Raises:
            Unavailable: Other writers held the catalog for too long.
        """
        if not self._writing.acquire(timeout=self.busy_seconds):
            raise Unavailable("Transaction aborted: other writers held the catalog for too long.")
        try:
            yield from self._transaction(client)
        except sqlite3.Error as error:
            refusal = translate(error, self.path)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            self._writing.release()

    def _transaction(self, client: Client) -> Iterator[Transaction]:
        connection = self._writer
        if connection is None:
            if self._closed:
                raise Unavailable("The catalog was closed.")
            connection = self._writer = open_format(self.path, self._format, read_only=False, timeout=self.busy_seconds)
        connection.execute("BEGIN IMMEDIATE")
        try:
            *state, amended = connection.execute("SELECT now, model, rid, amended FROM state").fetchone()
            self._models.note(amended)
            transaction = Transaction(
                self._models,
                connection,
                client,
                (state[0], state[1], state[2]),
                clock=self.clock(),
                known_clients=self.known_clients,
                indexed=dict(self.indexed),
            )
            transaction.path = self.path
            transaction.renew = limit_time(connection, self.time_limit)
            # The triggers that move ended rows into the history read the moment from here.
            connection.execute("UPDATE state SET now = ?", (transaction.now,))
            changes = connection.total_changes
            yield transaction
            if transaction.is_touched or connection.total_changes != changes:
                transaction.finish()
                # What has been done in time is not undone because of its flush to the disk.
                connection.set_progress_handler(None, 0)
                connection.execute("COMMIT")
                transaction.is_committed = True
                self.indexed.update(transaction.indexed)
            else:
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")
        except BaseException:
            connection.set_progress_handler(None, 0)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close every connection that is not in use; those in use are closed as their blocks end."""
        with self._lock:
            self._closed = True
            readers, self._readers = self._readers, []
        for connection in readers:
            connection.close()
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
