"""A file of a folder that cannot be used: which it is, and what to do about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from deriva_ml.server.errors import FolderError, ServiceError, translate, translate_file

__all__ = ["damage_named", "name_damage", "unusable"]

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
        raise unusable(error, root) from error
    except OSError as error:
        raise unusable(error, root) from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in OF_FILES:
            raise
        raise _refusal(root, _unsound(root) or root, str(error)) from error


def unusable(error: Exception, path: Path) -> FolderError:
    """What to say, to who uses a folder without its service, where a file of it cannot be used.

    Args:
        error: What the system, the database or the service says.
        path: The file or folder, where the error does not name it.
    """
    known: ServiceError | None = None
    if isinstance(error, ServiceError):
        known = error
    elif isinstance(error, sqlite3.Error):
        known = translate(error, path)
    elif isinstance(error, OSError):
        known = translate_file(error, path)
    hints = {
        403: "make the folder writable, or name another",
        500: "bring the folder back from a backup: deriva-ml-catalog restore",
        503: "try again when the others are done; if the disk is at fault, deriva-ml-catalog fsck says more",
        507: "make room on that disk, and try again: nothing was lost",
    }
    if known is None:
        return FolderError(f"{path} cannot be used: {error}")
    return FolderError(known.detail, hint=hints.get(known.status))


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
    files = [root / "service.db", root / "hatrac.db", root / "users.db", *sorted(root.glob("catalogs/*.db"))]
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
