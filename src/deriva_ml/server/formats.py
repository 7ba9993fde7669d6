"""The formats of the databases: which one a file has, and how an older one becomes the current one.

A file of a later format is refused, with its number. One of an earlier format is brought up when it is first opened:
a copy of it is kept beside it, then all steps happen in one transaction, so that a process that ends in the middle
leaves the file as it was. Several processes may find the same old file: one of them brings it up, the others wait.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import field
from pathlib import Path

from deriva_ml.core.files import fsync_directory
from deriva_ml.core.values import dataclass
from deriva_ml.server.errors import FolderError

__all__ = ["Format", "bring_up", "format_of", "kept_copy", "refuse_later"]

Step = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True)
class Format:
    """The format of one kind of database.

    Attributes:
        number: The format that is read and written.
        steps: For each earlier format that can be brought up, what makes the next one of it, inside a transaction.
    """

    number: int
    steps: Mapping[int, Step] = field(default_factory=dict)


def format_of(connection: sqlite3.Connection) -> int:
    """The format that a database says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def kept_copy(path: Path, number: int) -> Path:
    """Where the copy of a file lies that had an earlier format."""
    return path.with_name(f"{path.name}.format-{number}")


def refuse_later(path: Path, number: int, known: int) -> None:
    """Refuse a database that a later version of deriva-ml has made.

    Args:
        path: The file.
        number: Its format.
        known: The latest that is known here.

    Raises:
        FolderError: It is later.
    """
    if number > known:
        raise FolderError(
            f"{path} is of format {number}; this version of deriva-ml reads format {known}.",
            hint="use the version of deriva-ml that made it, or a later one",
        )


def bring_up(path: Path, number: int, wanted: Format) -> None:
    """Bring a database to the format that is wanted.

    Args:
        path: The file; who calls this has no connection to it.
        number: The format that it has, unless another process has brought it up since; not the one that is wanted.
        wanted: The format.

    Raises:
        FolderError: It is of a later format, or of one that cannot be brought up.
    """
    refuse_later(path, number, wanted.number)
    missing = next((step for step in range(number, wanted.number) if step not in wanted.steps), None)
    if missing is not None:
        raise FolderError(
            f"{path} is of format {number}; this version of deriva-ml reads format {wanted.number}.",
            hint="open the folder once with an earlier version of deriva-ml that knows both",
        )
    try:
        _take_steps(path, wanted)
    except (OSError, sqlite3.Error) as error:
        raise FolderError(
            f"{path} is of format {number} and has to be brought to format {wanted.number}, which fails: {error}.",
            hint="make the folder writable, see that there is room for a copy of the file, and open it once",
        ) from error


def _take_steps(path: Path, wanted: Format) -> None:
    with closing(sqlite3.connect(path, timeout=60.0, isolation_level=None)) as writer:
        writer.execute("PRAGMA synchronous = FULL")
        writer.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have done it while this one waited.
            for step in range(format_of(writer), wanted.number):
                _keep(path, step)
                wanted.steps[step](writer)
                writer.execute(f"PRAGMA user_version = {step + 1}")
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                writer.execute("ROLLBACK")
            raise


def _keep(path: Path, number: int) -> None:
    """Keep a copy of a file as it is before a transaction that holds its write lock."""
    copy = kept_copy(path, number)
    # Later steps of one transaction see nothing new in the file: the first copy is the one that counts.
    if copy.exists() or any(kept_copy(path, earlier).exists() for earlier in range(number)):
        return
    part = path.with_name(f".{copy.name}.{os.urandom(4).hex()}.part")
    try:
        with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
        with part.open("rb") as made:
            os.fsync(made.fileno())
        part.replace(copy)
        fsync_directory(path.parent)
    finally:
        part.unlink(missing_ok=True)
