"""A small database beside the catalogs: few rows, read and written through one connection, by one thread at a time.

Such are the registry and the users of a folder. It is made whole or not at all, though two processes make it at once.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deriva_ml.core.files import fsync_directory
from deriva_ml.server.connections import Frozen
from deriva_ml.server.errors import Unavailable, translate

__all__ = ["SmallDatabase", "place_database", "place_new"]


def place_new(path: Path, make: Callable[[Path], object]) -> bool:
    """Put a new file into place whole, unless one is there already.

    Args:
        path: Its name.
        make: Is given the name to write the file under.

    Returns:
        Whether this call placed it.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
    try:
        make(temporary)
        with temporary.open("rb") as made:
            os.fsync(made.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        fsync_directory(path.parent)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def place_database(path: Path, script: str, *, mode: int = 0o644) -> None:
    """Make a database, unless one is there already.

    Args:
        path: The file.
        script: SQL that fills it.
        mode: Who may use the file, as far as the process's own mask lets them.
    """

    def make(temporary: Path) -> None:
        temporary.touch(mode, exist_ok=False)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.executescript(script)

    place_new(path, make)


class SmallDatabase:
    """The connection to one such database; made when it is first needed.

    Args:
        path: The file.
        connect: Opens it.
        busy_seconds: How long a thread waits for the others of this process; for ever, if it is negative.
    """

    def __init__(self, path: Path, connect: Callable[[Path], sqlite3.Connection], *, busy_seconds: float = -1) -> None:
        self.path = path
        self._connect = connect
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """The connection, for the block alone.

        Raises:
            ServiceError: The database refuses.
        """
        if not self._lock.acquire(timeout=self._busy_seconds):
            raise Unavailable
        try:
            if self._connection is None:
                self._connection = self._connect(self.path)
            yield self._connection
        except sqlite3.Error as error:
            refusal = translate(error, self.path)
            if refusal is None:
                raise
            raise refusal from error
        finally:
            if isinstance(self._connection, Frozen):
                self._connection.close()
                self._connection = None
            self._lock.release()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The connection, to change rows: all of the block, or nothing if it raises."""
        with self.open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
