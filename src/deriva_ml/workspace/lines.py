"""An append-only file of lines that several processes of one machine may share.

1. A line is there when :meth:`Writer.append` returns: written, flushed and synced.
2. A line ends with a newline. What follows the last newline is the rest of a write that was cut short (a killed
   process, a power failure): readers leave it out, the next writer cuts it off.
3. Writers take turns by an advisory lock on the file; readers need no lock, since bytes once written never change.
4. A write that fails (a full disk) is taken back: the file ends where it ended before.
5. No file handle is kept between calls, so that an object survives a fork and has nothing to close.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.core.files import fsync_directory, human_size

__all__ = ["LineFile", "Writer"]


class LineFile:
    """A file of lines and how far this object has read it.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._lines = 0

    def read(self) -> list[tuple[int, bytes]]:
        """The whole lines added since the last call, with their numbers (from 1); none if there is no file."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._offset:
                raise self._changed("it is gone") from None
            return []
        try:
            return self._read(handle)
        finally:
            os.close(handle)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Take the turn to write; the file and its directory are made if this object has seen no line of it yet."""
        handle = self._open()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield Writer(self, handle)
        finally:
            os.close(handle)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            if self._offset or self.path.exists():
                return os.open(self.path, flags)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, flags | os.O_CREAT, 0o644)
            fsync_directory(self.path.parent)
        except FileNotFoundError:
            # a file that was read and is gone must not be begun anew without its first lines
            raise self._changed("it is gone") from None
        except OSError as error:
            raise self._unwritable(error) from error
        return handle

    def _read(self, handle: int) -> list[tuple[int, bytes]]:
        size = os.fstat(handle).st_size
        if size < self._offset:
            raise self._changed(f"it holds {human_size(size)} where {human_size(self._offset)} were written")
        if size == self._offset:
            return []
        content = self._content(handle, size - self._offset)
        whole = content[: content.rfind(b"\n") + 1]
        found = list(enumerate(whole.split(b"\n")[:-1], start=self._lines + 1))
        self._offset += len(whole)
        self._lines += len(found)
        return found

    def _content(self, handle: int, length: int) -> bytes:
        parts, at = [], self._offset
        while length and (part := os.pread(handle, length, at)):
            parts.append(part)
            at += len(part)
            length -= len(part)
        return b"".join(parts)

    def _write(self, handle: int, lines: Iterable[bytes]) -> None:
        lines = list(lines)
        payload = b"".join(line + b"\n" for line in lines)
        try:
            if os.fstat(handle).st_size > self._offset:
                os.ftruncate(handle, self._offset)
            rest, at = memoryview(payload), self._offset
            while rest:
                written = os.pwrite(handle, rest, at)
                rest, at = rest[written:], at + written
            os.fsync(handle)
        except OSError as error:
            os.ftruncate(handle, self._offset)
            raise self._unwritable(error) from error
        self._offset += len(payload)
        self._lines += len(lines)

    def _changed(self, what: str) -> DerivaMLDataError:
        return DerivaMLDataError(
            f"The file {self.path} was changed by something else: {what}.",
            hint="restore it from a copy; lines in it are only ever added",
        )

    def _unwritable(self, error: OSError) -> DerivaMLExecutionError:
        return DerivaMLExecutionError(
            f"Cannot write {self.path}: {error.strerror or error}.",
            source=str(self.path),
            hint="nothing of this call was recorded; remove the cause and call again",
        )


class Writer:
    """The turn to write a :class:`LineFile`; made by :meth:`LineFile.writing`."""

    def __init__(self, file: LineFile, handle: int) -> None:
        self._file = file
        self._handle = handle

    def unread(self) -> list[tuple[int, bytes]]:
        """What others have added since the last read. Call it before :meth:`append`, which writes after it."""
        return self._file._read(self._handle)  # noqa: SLF001 - the two classes are one

    def append(self, lines: Iterable[bytes]) -> None:
        """Add lines (without their newlines) durably; a torn rest of an earlier write is cut off.

        Raises:
            DerivaMLExecutionError: The disk refused; nothing was added.
        """
        self._file._write(self._handle, lines)  # noqa: SLF001 - the two classes are one
