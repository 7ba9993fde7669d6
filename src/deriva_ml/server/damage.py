"""A database of a folder that cannot be used: which it is, and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deriva_ml.server.errors import FolderError, ServiceError

__all__ = ["damage_named", "name_damage"]

OF_FILES = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Errors for which the file is at fault, and not what was asked of it."""


@contextmanager
def damage_named(root: Path) -> Iterator[None]:
    """Name the database that is at fault where one of a folder's cannot be used in the block.

    Args:
        root: The folder.

    Raises:
        FolderError: It names the file.
    """
    try:
        yield
    except ServiceError as error:
        if error.status == 500:
            name_damage(root)
        raise
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in OF_FILES:
            raise
        raise _refusal(root, _unsound(root) or root, str(error)) from error


def name_damage(root: Path) -> None:
    """Name a damaged database of a folder, after the service has answered that it cannot go on.

    Args:
        root: The folder.

    Raises:
        FolderError: A database is damaged; it names the file.
    """
    bad = _unsound(root)
    if bad is not None:
        raise _refusal(root, bad, "it is damaged")


def _unsound(root: Path) -> Path | None:
    files = [root / "service.db", root / "hatrac.db", *sorted(root.glob("catalogs/*.db"))]
    return next((file for file in files if file.exists() and not _is_sound(file)), None)


def _refusal(root: Path, bad: Path, why: str) -> FolderError:
    return FolderError(
        f"The catalog folder's database {bad} cannot be used: {why}.",
        source=f"catalog folder {root}",
        hint="make sure that there is room and that you can write the file; deriva-ml-catalog fsck says more; if it is "
        "damaged, bring the folder back from a backup: deriva-ml-catalog restore",
    )


def _is_sound(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])
    except sqlite3.Error:
        return False
