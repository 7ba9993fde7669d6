"""One catalog's database: connections, transactions, time, RIDs, and the model as of any moment.

A catalog is one SQLite file in WAL mode. Three rules make it safe under many threads and processes:

1. Writers begin with ``BEGIN IMMEDIATE`` on the process's one writing connection, which a lock guards; the time that
   SQLite may wait for another process is set before anything else is said to the database.
2. Readers have connections of their own, which cannot write, and see one moment for as long as a block lasts.
3. A write block that changed nothing is rolled back, so that a file changes only when its content does.

Time: each transaction has one moment ``now``, in microseconds, later than that of any earlier one, whatever the clock
says. It is the RCT and RMT of what is written, the start of the row versions, and the snaptime of the commit.

Rows: ``t_<table RID>`` holds the current versions and ``h_<table RID>`` those that ended, moved there by triggers. The
model is kept in the same way: one document per schema and per table, with the moments between which it held.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote as percent

from deriva_ml.core import codes
from deriva_ml.server.elements import FOREVER, Part, assemble, read_part, write_part
from deriva_ml.server.errors import Conflict, FolderError, Unavailable, translate
from deriva_ml.server.formats import Format, bring_up
from deriva_ml.server.functions import register_functions
from deriva_ml.wire.http import Client
from deriva_ml.wire.model import Column, Model, Schema, Table

__all__ = ["BUSY_SECONDS", "CatalogStore", "Frozen", "Transaction", "View", "connect", "open_format", "quote"]

FORMAT = Format(1)
BUSY_SECONDS = 60.0
"""How long a writer waits for the others before it is told to try again."""

MODELS_KEPT = 12
"""How many moments' models are kept in memory: the current one and the snapshots last asked for."""

IDLE_READERS = 4

STEPS = 2000
"""How often the clock is looked at while a query runs: after so many of SQLite's own steps."""

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


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def connect(path: Path, *, read_only: bool, timeout: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open a database of the service.

    Args:
        path: The file; it must exist.
        read_only: The connection cannot change the file.
        timeout: How many seconds to wait for another process.

    Raises:
        FolderError: The file is not there or cannot be opened.
    """
    if not path.exists():
        raise FolderError(f"The catalog's database is missing: {path}", hint="restore the folder from a backup")
    # The timeout comes first: a switch or a lock that has to wait before it is set would fail at once.
    frozen = _is_frozen(path)
    connection = sqlite3.connect(
        f"file:{percent(str(path))}?immutable=1" if frozen else path,
        uri=frozen,
        factory=Frozen if frozen else sqlite3.Connection,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        # A commit that was answered survives a loss of power, so the log is flushed at each one.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        register_functions(connection)
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
            raise
        raise FolderError(
            f"The catalog's database cannot be opened: {path} ({error}).",
            hint="if the folder cannot be written, what its last user left in the log cannot be read: "
            "open it once where it can be written",
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


class Frozen(sqlite3.Connection):
    """A connection to a file in a folder that cannot be written: it looks for no log, and sees no later change.

    It is for one request: another user of the folder may be able to write.
    """


def _is_frozen(path: Path) -> bool:
    """Whether nothing can be written beside a database, and nothing is there that would have to be read with it."""
    if os.access(path.parent, os.W_OK):
        return False
    log = path.with_name(f"{path.name}-wal")
    return not (log.exists() and log.stat().st_size)


def open_format(path: Path, wanted: Format, *, read_only: bool, timeout: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open a database of the format that is wanted; one of an earlier format is brought up first.

    Raises:
        FolderError: The file is not there, or is of a later format.
    """
    connection = connect(path, read_only=read_only, timeout=timeout)
    try:
        is_changed = bring_up(connection, path, wanted)
    except BaseException:
        connection.close()
        raise
    if not is_changed:
        return connection
    connection.close()
    return connect(path, read_only=read_only, timeout=timeout)


def microseconds() -> int:
    """The clock: microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def _unlimited() -> None:
    """Begin the time anew where there is no limit to it."""


ModelLoader: TypeAlias = "Callable[[sqlite3.Connection, int], Model]"
"""Gives the model as of a moment at which it changed."""


class View:
    """A catalog as of one moment: what reading needs.

    Attributes:
        connection: The database, inside a transaction.
        snaptime: The moment: the newest commit at or before the one that was asked for.
        model_snaptime: The newest commit of the model at or before it.
        model: The model as of the moment.
        latest: The newest commit of all.
        amended: When the past was last amended.
        is_snapshot: A moment was named, so nothing can be written and ended row versions may be needed.
        renew: Begins the request's time anew: called before each part of an answer that is read while it is sent.
    """

    def __init__(
        self,
        load: ModelLoader,
        connection: sqlite3.Connection,
        snaptime: int,
        model_snaptime: int,
        amended: int | None = None,
    ) -> None:
        self._load = load
        self.connection = connection
        self.snaptime = snaptime
        self.model_snaptime = model_snaptime
        self.latest = snaptime
        self.amended = amended
        self.is_snapshot = False
        self.renew: Callable[[], None] = _unlimited

    @property
    def model(self) -> Model:
        """The model as of the moment."""
        return self._load(self.connection, self.model_snaptime)

    def column(self, column: Column) -> str:
        """The quoted name of the physical column."""
        return quote(column.storage)

    def source(self, table: Table) -> str:
        """What to select from: the table's rows as of the moment, with their physical columns."""
        name = quote(f"t_{table.rid}")
        if self.snaptime >= self.latest:
            return name
        moment = self.snaptime
        ended = quote(f"h_{table.rid}")
        columns = ", ".join([quote(column.storage) for column in table.columns] + ["_from"])
        current = f"SELECT {columns} FROM {name} WHERE _from <= {moment}"
        if self.connection.execute(f"SELECT 1 FROM {ended} WHERE _until > {moment} LIMIT 1").fetchone() is None:
            # Nothing has ended since: the simple form keeps every index of the table in use.
            return f"({current})"
        return f"({current} UNION ALL SELECT {columns} FROM {ended} WHERE _from <= {moment} AND _until > {moment})"


class Transaction(View):
    """A change of a catalog, whole or not at all.

    Attributes:
        now: The moment of the change: RCT and RMT of what is written.
        client: Who changes it.
        is_committed: The block is over and something changed.
    """

    def __init__(
        self, store: CatalogStore, connection: sqlite3.Connection, client: Client, state: tuple[int, int, int]
    ) -> None:
        last, model, rid = state
        super().__init__(store.model_at, connection, last, model)
        self.store = store
        self.client = client
        self.now = max(store.clock(), last + 1)
        self._rid = rid
        self._first_rid = rid
        self._touched = False
        self.is_committed = False
        self._model: Model | None = None
        self._parts: dict[str, Part] | None = None

    @property
    def model(self) -> Model:
        """The model with the changes made so far."""
        if self._parts is None:
            return super().model
        if self._model is None:
            self._model = assemble(self._parts.values(), codes.encode(self.now))
        return self._model

    @property
    def is_touched(self) -> bool:
        """Something was changed."""
        return self._touched

    @property
    def is_model_changed(self) -> bool:
        """The model was changed."""
        return self._parts is not None

    def touch(self) -> None:
        """Say that data changed: the catalog's snaptime becomes ``now``."""
        self._touched = True

    def next_rids(self, n: int) -> list[str]:
        """Draw RIDs from the catalog's sequence."""
        first = self._rid + 1
        self._rid += n
        self._touched = True
        return codes.encode_all(range(first, first + n))

    def reserve_rid(self, rid: str) -> None:
        """Move the sequence beyond an RID that a client supplied; text that is no RID is let be."""
        try:
            number = codes.decode(rid)
        except ValueError:
            return
        # A client's RID may be odd where the sequence is even, or so large that nothing could follow it.
        if self._rid < number < 1 << 62:
            self._rid = number

    def next_serials(self, column: Column, n: int) -> range:
        """Draw numbers from the counter of a serial column."""
        self.connection.execute("INSERT OR IGNORE INTO serials VALUES (?, 0)", (column.storage,))
        row = self.connection.execute(
            "UPDATE serials SET last = last + ? WHERE storage = ? RETURNING last", (n, column.storage)
        ).fetchone()
        self._touched = True
        return range(row[0] - n + 1, row[0] + 1)

    def put(self, value: Model | Schema | Table) -> None:
        """Make this the current version of a table, of a schema (its tables aside), or of the catalog's own part."""
        part, text = write_part(value)
        self._end(part.rid)
        self.connection.execute(
            "INSERT INTO elements VALUES (?, ?, ?, ?, ?)", (part.rid, part.kind, self.now, FOREVER, text)
        )
        self._overlay()[part.rid] = part

    def remove(self, value: Schema | Table) -> None:
        """End a schema or table: from now on it is not in the model."""
        self._end(value.rid)
        self._overlay().pop(value.rid, None)

    def _end(self, rid: str) -> None:
        current = "rid = ? AND _until = ?"
        # What this very transaction wrote was never visible to anyone.
        self.connection.execute(f"DELETE FROM elements WHERE {current} AND _from = ?", (rid, FOREVER, self.now))
        self.connection.execute(f"UPDATE elements SET _until = ? WHERE {current}", (self.now, rid, FOREVER))

    def _overlay(self) -> dict[str, Part]:
        if self._parts is None:
            self._parts = dict(self.store.parts_at(self.connection, self.model_snaptime))
        self._model = None
        self._touched = True
        return self._parts

    def finish(self) -> None:
        """Write down the moment, just before the commit."""
        execute = self.connection.execute
        execute("INSERT INTO commits VALUES (?)", (self.now,))
        if self._parts is not None:
            execute("INSERT INTO models VALUES (?)", (self.now,))
            execute("UPDATE state SET model = ?", (self.now,))
        if self._rid != self._first_rid:
            execute("UPDATE state SET rid = ?", (self._rid,))


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
        self._amended: int | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._parts: dict[tuple[str, int], Part] = {}
        self._models: OrderedDict[int, Model] = OrderedDict()
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
            self._note(amended)
            view = View(self.model_at, connection, latest, model, amended)
            view.renew = self._limit(connection)
            if snaptime is not None:
                view.is_snapshot = True
                view.snaptime, view.model_snaptime = self._clamp(connection, snaptime)
            yield view
        except sqlite3.Error as error:
            refusal = translate(error)
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

    def _limit(self, connection: sqlite3.Connection) -> Callable[[], None]:
        """Limit the time of what is done with a connection from now on; gives what begins the time anew."""
        limit = self.time_limit
        if limit is None:
            return _unlimited
        ends = [time.monotonic() + limit]
        connection.set_progress_handler(lambda: time.monotonic() > ends[0], STEPS)

        def renew() -> None:
            ends[0] = time.monotonic() + limit

        return renew

    def _note(self, amended: int | None) -> None:
        """Forget what is cached of the model if its past was amended since, perhaps by another process."""
        if amended != self._amended:
            self.forget_models()
            self._amended = amended

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.rollback()
        connection.set_progress_handler(None, 0)
        with self._lock:
            if not self._closed and not isinstance(connection, Frozen) and len(self._readers) < IDLE_READERS:
                self._readers.append(connection)
                return
        connection.close()

    # ------------------------------------------------------------------------------------------ the model

    def parts_at(self, connection: sqlite3.Connection, moment: int) -> dict[str, Part]:
        """What the model is made of as of a moment, by RID; each version is read from its document once."""
        rows = connection.execute(
            "SELECT rid, _from FROM elements WHERE _until > ? AND _from <= ?", (moment, moment)
        ).fetchall()
        with self._lock:
            known = {rid: self._parts.get((rid, since)) for rid, since in rows}
        found: dict[str, Part] = {}
        for rid, since in rows:
            part = known[rid]
            if part is None:
                kind, text = connection.execute(
                    "SELECT kind, doc FROM elements WHERE rid = ? AND _from = ?", (rid, since)
                ).fetchone()
                part = read_part(kind, rid, text)
                with self._lock:
                    self._parts[rid, since] = part
            found[rid] = part
        return found

    def model_at(self, connection: sqlite3.Connection, moment: int) -> Model:
        """The model as of a moment at which it changed."""
        with self._lock:
            model = self._models.get(moment)
            if model is not None:
                self._models.move_to_end(moment)
                return model
        parts = self.parts_at(connection, moment)
        model = assemble(parts.values(), codes.encode(moment))
        with self._lock:
            self._models[moment] = model
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
            if len(self._parts) > 8 * max(64, len(parts)):
                self._parts.clear()
        return model

    def forget_models(self) -> None:
        """Drop what is cached of the model: its past was changed."""
        with self._lock:
            self._models.clear()
            self._parts.clear()

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
            refusal = translate(error)
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
            self._note(amended)
            transaction = Transaction(self, connection, client, (state[0], state[1], state[2]))
            self._limit(connection)
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
