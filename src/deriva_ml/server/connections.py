"""Connections to the databases of a folder: how they are opened, and for how long a request may use one.

The time that SQLite may wait for another process is set before anything else is said to a database. A database in a
folder that cannot be written is read as it lies; one of an earlier format is brought up before it is handed out.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote as percent

from deriva_ml.server.errors import FolderError, is_no_room
from deriva_ml.server.formats import Format, bring_up, format_of
from deriva_ml.server.functions import register_functions

__all__ = ["BUSY_SECONDS", "Frozen", "connect", "limit_time", "open_format", "quote", "unlimited"]

BUSY_SECONDS = 60.0
"""How long a writer waits for the others before it is told to try again."""

STEPS = 2000
"""How often the clock is looked at while a query runs: after so many of SQLite's own steps."""


def quote(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def connect(
    path: Path, *, read_only: bool, timeout: float = BUSY_SECONDS, alone: bool | None = None
) -> sqlite3.Connection:
    """Open a database of the service.

    Args:
        path: The file; it must exist.
        read_only: The connection cannot change the file.
        timeout: How many seconds to wait for another process.
        alone: Where the disk has no room for what users of the file share, the caller may have it alone, as `Frozen`;
            by default, if it only reads.

    Raises:
        FolderError: The file is not there or cannot be opened.
    """
    try:
        is_empty = path.stat().st_size == 0
    except (FileNotFoundError, NotADirectoryError):
        raise FolderError(
            f"The catalog's database is missing: {path}", hint="restore the folder from a backup"
        ) from None
    except OSError as error:
        raise FolderError(f"The catalog's database cannot be opened: {path} ({error.strerror}).") from error
    if is_empty:
        # SQLite would take it for a database without tables.
        raise FolderError(
            f"The catalog's database is damaged: {path} is empty.", hint="restore the folder from a backup"
        )
    try:
        return _opened(path, "frozen" if _is_frozen(path) else "shared", read_only=read_only, timeout=timeout)
    except sqlite3.OperationalError as error:
        if is_no_room(error) and (read_only if alone is None else alone):
            return _opened(path, "alone", read_only=read_only, timeout=timeout)
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
            raise
        raise FolderError(
            f"The catalog's database cannot be opened: {path} ({error}).",
            hint="if the folder cannot be written, what its last user left in the log cannot be read: "
            "open it once where it can be written",
        ) from error


def _opened(path: Path, how: str, *, read_only: bool, timeout: float) -> sqlite3.Connection:
    # The timeout comes first: a switch or a lock that has to wait before it is set would fail at once.
    connection = sqlite3.connect(
        f"file:{percent(str(path))}?immutable=1" if how == "frozen" else path,
        uri=how == "frozen",
        factory=sqlite3.Connection if how == "shared" else Frozen,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        if how == "alone":
            # The log's index is then kept in memory: on a full disk what is there can still be read, and saved.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A commit that was answered survives a loss of power, so the log is flushed at each one.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        register_functions(connection)
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


class Frozen(sqlite3.Connection):
    """A connection for one request, which cannot be shared.

    It is to a file in a folder that cannot be written: then it looks for no log, sees no later change, and another user
    of the folder may be able to write. Or it is to a file on a full disk, which it keeps from everybody else.
    """


def _is_frozen(path: Path) -> bool:
    """Whether nothing can be written beside a database, and nothing is there that would have to be read with it."""
    if os.access(path.parent, os.W_OK):
        return False
    log = path.with_name(f"{path.name}-wal")
    return not (log.exists() and log.stat().st_size)


def open_format(
    path: Path, wanted: Format, *, read_only: bool, timeout: float = BUSY_SECONDS, alone: bool | None = None
) -> sqlite3.Connection:
    """Open a database of the format that is wanted; one of an earlier format is brought up first.

    Raises:
        FolderError: The file is not there, or is of a later format.
    """
    connection = connect(path, read_only=read_only, timeout=timeout, alone=alone)
    try:
        number = format_of(connection)
    except BaseException:
        connection.close()
        raise
    if number == wanted.number:
        return connection
    connection.close()
    bring_up(path, number, wanted)
    return connect(path, read_only=read_only, timeout=timeout, alone=alone)


def unlimited() -> None:
    """Begin the time anew where there is no limit to it."""


def limit_time(connection: sqlite3.Connection, seconds: float | None) -> Callable[[], None]:
    """Limit the time of what is done with a connection from now on.

    Args:
        connection: The connection; ``set_progress_handler(None, 0)`` lifts the limit.
        seconds: The limit; None for none.

    Returns:
        What begins the time anew.
    """
    if seconds is None:
        return unlimited
    limit = seconds
    ends = [time.monotonic() + limit]
    connection.set_progress_handler(lambda: time.monotonic() > ends[0], STEPS)

    def renew() -> None:
        ends[0] = time.monotonic() + limit

    return renew
