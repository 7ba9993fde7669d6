"""What the service answers when it refuses: a status and one line of text."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import human_size

__all__ = [
    "FULL",
    "BadRequest",
    "Conflict",
    "FolderError",
    "Forbidden",
    "MethodNotAllowed",
    "NoRoom",
    "NotFound",
    "PreconditionFailed",
    "ServiceError",
    "Unavailable",
    "UnsupportedInput",
    "is_no_room",
    "translate",
    "translate_file",
]

SENTENCES = {
    304: "",
    400: "Request malformed.",
    401: "Access requires authentication.",
    403: "Access forbidden.",
    404: "Resource not found.",
    405: "Request method not allowed on this resource.",
    409: "Request conflicts with state of server.",
    411: "Length required.",
    412: "Resource state does not match requested preconditions.",
    413: "Request too large.",
    415: "The request input type is not supported.",
    416: "Requested range not satisfiable.",
    500: "The request execution encountered a runtime error.",
    501: "Request not implemented for this resource.",
    503: "The service is temporarily unavailable.",
    507: "There is no room for what the request brings.",
}
"""The sentence of each status; the original's words, since clients show them."""


class ServiceError(Exception):
    """A request is refused.

    Args:
        status: The HTTP status.
        detail: What was wrong with it; one line, without the status's own sentence.
        headers: Further header fields of the answer.
    """

    def __init__(self, status: int, detail: str = "", *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}

    @property
    def text(self) -> str:
        """The body of the answer."""
        sentence = SENTENCES.get(self.status, "Request refused.")
        return f"{sentence} Detail: {self.detail}\n" if self.detail else f"{sentence}\n"


class BadRequest(ServiceError):
    """The request cannot be read."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(400, detail)


class Forbidden(ServiceError):
    """The client may not do this; an anonymous one is asked to log in instead."""

    def __init__(self, detail: str, *, anonymous: bool = False) -> None:
        super().__init__(401 if anonymous else 403, detail)


class NotFound(ServiceError):
    """The resource does not exist."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(404, detail)


class MethodNotAllowed(ServiceError):
    """The resource exists and does not know the method."""

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(405, headers={"allow": ", ".join(allowed)} if allowed else None)


class Conflict(ServiceError):
    """The request does not fit the model or the rows."""

    def __init__(self, detail: str) -> None:
        super().__init__(409, detail)


class PreconditionFailed(ServiceError):
    """Someone else changed the resource since."""

    def __init__(self, etag: str) -> None:
        super().__init__(412, headers={"etag": etag})


class UnsupportedInput(ServiceError):
    """The body is of a media type that is not read here."""

    def __init__(self, content_type: str) -> None:
        super().__init__(415, f"{content_type} input not supported")


class Unavailable(ServiceError):
    """The request may succeed when it is repeated."""

    def __init__(self, detail: str = "Transaction aborted.") -> None:
        super().__init__(503, detail)


class NoRoom(ServiceError):
    """The disk takes no more; to repeat the request is of no use before somebody has made room.

    Args:
        path: The file or folder that could not be written.
        why: What the system says.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(507, f"{path} cannot be written: {why}; {_room(path)}.")


def _room(path: Path) -> str:
    """How much is free on the disk of a file, which need not be there."""
    for folder in (path, *path.parents):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        return f"{human_size(found.f_bavail * found.f_frsize)} are free on its disk"
    return "how much is free on its disk is not known"


class FolderError(DerivaMLConfigurationError):
    """A folder is not a catalog's, or not one that this version can read."""


NOT_STORED = {
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_WRITE,
}
"""SQLite calls a disk full only where the system says ENOSPC; a quota or a limit of the process is one of these."""


def is_no_room(error: sqlite3.Error) -> bool:
    """Whether a database could not be used because the disk takes no more."""
    extended = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF == sqlite3.SQLITE_FULL or extended in NOT_STORED


def translate(error: sqlite3.Error, path: Path) -> ServiceError | None:
    """The refusal that a fault of a database amounts to, or None if it is a defect of the service.

    Args:
        error: The fault.
        path: The database.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Unavailable("Transaction aborted: other writers held the catalog for too long.")
    if is_no_room(error):
        return NoRoom(path, str(error))
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}:
        return Unavailable(f"{path} cannot be used: {error}.")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return ServiceError(403, f"The catalog's folder cannot be written: {path}: {error}.")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return ServiceError(500, f"A database is damaged: {path}: {error}; deriva-ml-catalog fsck says more.")
    if code == sqlite3.SQLITE_INTERRUPT:
        return BadRequest("Query run time limit exceeded.")
    if code == sqlite3.SQLITE_TOOBIG:
        return BadRequest(f"A value or a query is too long: {error}.")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict(f"Input data violates model. ERROR:  {error}")
    return None


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
GONE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def translate_file(error: OSError, path: Path) -> ServiceError | None:
    """The refusal that a fault of a file amounts to, or None if it is a defect of the service.

    Args:
        error: The fault.
        path: What was to be written, where the fault does not say.
    """
    where = Path(error.filename) if isinstance(error.filename, str) else path
    if error.errno in FULL:
        return NoRoom(where, error.strerror or str(error))
    if error.errno in CLOSED:
        return ServiceError(403, f"{where} cannot be written: {error.strerror}.")
    if error.errno in GONE:
        return ServiceError(409, f"{where} cannot be used: {error.strerror}; was the folder moved or damaged?")
    if error.errno == errno.EIO:
        return Unavailable(f"{where} cannot be used: {error.strerror}.")
    return None
