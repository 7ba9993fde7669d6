"""A database of a folder that cannot be used: which it is, and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deriva_ml.server.errors import FolderError

__all__ = ["damage_named"]

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
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in OF_FILES:
            raise
        files = [root / "service.db", root / "hatrac.db", *sorted(root.glob("catalogs/*.db"))]
        bad = next((file for file in files if file.exists() and not _is_sound(file)), root)
        raise FolderError(
            f"The catalog folder's database {bad} cannot be used: {error}.",
            source=f"catalog folder {root}",
            hint="make sure that there is room and that you can write the file; if it is damaged, bring the folder "
            "back from a backup (sqlite3 FILE .recover shows what is left)",
        ) from error


def _is_sound(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])
    except sqlite3.Error:
        return False
