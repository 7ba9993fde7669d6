"""Content-addressed files: the bytes of the object store.

1. A file's name is the SHA-256 of its content (``objects/ab/ab12...``), so two objects with the same bytes take the
   space of one, and no name that a client chose ever reaches the file system.
2. Content is written once, hashed on the way, into a file of its own below ``objects/incoming``, and flushed; it takes
   its final name inside the database transaction that records it. So there is no record without its content, and what
   a crash leaves behind has no record and is swept.
3. A file is never changed once it has its final name; it is read-only, so that a hard link to it can be handed out.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deriva_ml.core.files import HASH_BLOCK as BLOCK
from deriva_ml.core.files import Digests, copy_hashing, fsync_directory, hash_blocks, read_parts, write_all
from deriva_ml.wire.http import Body

__all__ = ["Gathering", "Incoming", "ObjectFiles"]

SMALL = 1 << 16
"""Content up to this size is read at once."""

ABANDONED = 3600.0
"""After so many seconds without a write, an incoming file is taken to be left over."""


class Incoming:
    """Content that has been received and has no record yet.

    Attributes:
        digests: What it is.
    """

    def __init__(self, digests: Digests, path: Path | None, content: bytes | None) -> None:
        self.digests = digests
        self._path = path
        self._content = content

    @property
    def path(self) -> Path | None:
        """The file that holds it, or None while it is in memory only."""
        return self._path

    def discard(self) -> None:
        """Remove the file, unless it has been published."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def take(self) -> tuple[Path | None, bytes | None]:
        """Hand over the file or the bytes, to be published."""
        path, self._path = self._path, None
        return path, self._content


class ObjectFiles:
    """The files of one store.

    Args:
        folder: Where they are kept; made when the first one is written.
        clock: Seconds since 1970.
        below: The files of another store, which are read where this one has none; never written.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time, below: Path | None = None) -> None:
        self.folder = folder
        self._below = below
        self._incoming = folder / "incoming"
        self._jobs = folder / "jobs"
        self._clock = clock

    def path(self, sha256: str) -> Path:
        """Where content is, or would be."""
        return self.folder / sha256[:2] / sha256

    def found(self, sha256: str) -> Path:
        """Where content is to be read: here, or in the store below."""
        path = self.path(sha256)
        if self._below is None or path.exists():
            return path
        return self._below / sha256[:2] / sha256

    def job_path(self, job: str) -> Path:
        """Where the chunks of an upload job are gathered."""
        return self._jobs / job

    @contextmanager
    def receive(self, body: bytes | IO[bytes] | None) -> Iterator[Incoming]:
        """Take in content: hashed once, and on the disk at the end unless it is there already.

        Unless it is published inside the block, nothing of it remains.
        """
        if body is None or isinstance(body, bytes):
            content = body or b""
            digests = Digests(
                hashlib.md5(content, usedforsecurity=False).hexdigest(),
                hashlib.sha256(content).hexdigest(),
                len(content),
            )
            known = self._is_there(self.path(digests.sha256), digests.length)
            incoming = Incoming(digests, None if known else self._write(content), content)
        else:
            incoming = self._receive_stream(body)
        try:
            yield incoming
        finally:
            incoming.discard()

    def _write(self, content: bytes) -> Path:
        with self._new_file() as (out, path):
            write_all(out, content)
        return path

    def _receive_stream(self, body: IO[bytes]) -> Incoming:
        with self._new_file() as (out, path):
            digests = hash_blocks(read_parts(body, BLOCK), out)
        return Incoming(digests, path, None)

    def take_in(self, source: IO[bytes], progress: Callable[[int], None]) -> Incoming:
        """Take in a file ahead of its name, hashed on the way; the caller flushes and publishes, or discards it."""
        with self._new_file(flush=False) as (out, path):
            digests = copy_hashing(source, out, progress)
        return Incoming(digests, path, None)

    @contextmanager
    def _new_file(self, *, flush: bool = True) -> Iterator[tuple[IO[bytes], Path]]:
        """A new file below ``incoming``: whole, and on the disk if it is to be, after the block, or gone."""
        self._prepare(self._incoming)
        handle, name = tempfile.mkstemp(dir=self._incoming)
        path = Path(name)
        try:
            with os.fdopen(handle, "w+b", buffering=0) as out:
                yield out, path
                os.fchmod(out.fileno(), 0o444)
                if flush:
                    os.fsync(out.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _prepare(self, folder: Path) -> None:
        """Make a folder of the store, but never the folder that the store is in: that one may have been moved away."""
        if not folder.is_dir():
            self.folder.mkdir(exist_ok=True)
            folder.mkdir(exist_ok=True)

    @staticmethod
    def _is_there(path: Path, length: int) -> bool:
        try:
            return path.stat().st_size == length
        except FileNotFoundError:
            return False

    def publish(self, incoming: Incoming, *, flush: bool = True) -> None:
        """Give content its final name. To be called while holding the database's write lock.

        Args:
            incoming: The content.
            flush: Make the name durable; else the caller does, before the transaction ends.
        """
        target = self.path(incoming.digests.sha256)
        path, content = incoming.take()
        if self._is_there(target, incoming.digests.length):
            if path is not None:
                path.unlink(missing_ok=True)
            return
        # Content that was there when it was received may have been removed since, with its last record.
        ready = path if path is not None else self._write(content or b"")
        self._make_room(target)
        ready.replace(target)
        if flush:
            fsync_directory(target.parent)

    def publish_job(self, job: str, digests: Digests) -> None:
        """Give what an upload job has gathered its final name. To be called while holding the database's write lock.

        The job keeps its file: should the transaction fail, the job is as it was. The caller drops it afterwards.
        """
        target = self.path(digests.sha256)
        if self._is_there(target, digests.length):
            return
        self._make_room(target)
        target.unlink(missing_ok=True)
        self.job_path(job).chmod(0o444)
        target.hardlink_to(self.job_path(job))
        fsync_directory(target.parent)

    @staticmethod
    def _make_room(target: Path) -> None:
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            fsync_directory(target.parent.parent)

    def remove(self, sha256: str) -> None:
        """Remove content that has no record any more. To be called while holding the database's write lock."""
        self.path(sha256).unlink(missing_ok=True)

    def read(self, sha256: str, first: int, length: int) -> Body:
        """A part of some content; it stays readable to its end even if it is removed meanwhile.

        Raises:
            FileNotFoundError: The content is not there.
        """
        source = self.found(sha256).open("rb", buffering=0)
        try:
            source.seek(first)
            if length <= SMALL:
                with source:
                    return source.read(length)
        except BaseException:
            source.close()
            raise
        return FilePart(source, length)

    @contextmanager
    def gathering(self, job: str, *, alone: bool = False) -> Iterator[Gathering]:
        """What an upload job has gathered: to write chunks to it, with others, or alone to make an object of it."""
        self._prepare(self._jobs)
        path = self.job_path(job)
        with self._locked(path, alone=alone) as handle:
            try:
                yield Gathering(handle)
            except BaseException:
                if os.fstat(handle).st_size == 0:
                    path.unlink(missing_ok=True)  # there was nothing, perhaps not even a job any more
                raise

    @contextmanager
    def _locked(self, path: Path, *, alone: bool) -> Iterator[int]:
        """A job's file, open and locked, which is no object's."""
        while True:
            handle, is_writable = _open_job(path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
                links = os.fstat(handle).st_nlink
                if links == 1 and is_writable:
                    yield handle
                    return
                # As after a crash while it was published; or it was removed, and another takes its name next time.
                if links == 1:
                    os.fchmod(handle, 0o600)
                elif links > 1:
                    self._own(path, handle)
            finally:
                os.close(handle)

    def _own(self, path: Path, handle: int) -> None:
        """Put a copy into the place of a job's file."""
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink == 1 or not os.path.samestat(os.fstat(handle), path.stat()):
            return  # another process was first
        with self._new_file() as (out, copy), os.fdopen(os.dup(handle), "rb", buffering=0) as source:
            source.seek(0)
            for part in read_parts(source, BLOCK):
                write_all(out, part)
        copy.chmod(0o600)
        copy.replace(path)

    def drop_job(self, job: str) -> None:
        """Remove what an upload job has gathered."""
        self.job_path(job).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove incoming files that a crash left over; give their number."""
        swept = 0
        if not self._incoming.is_dir():
            return swept
        for path in self._incoming.iterdir():
            try:
                if self._clock() - path.stat().st_mtime > ABANDONED:
                    path.unlink()
                    swept += 1
            except FileNotFoundError:
                continue  # its writer was not dead but done
        return swept


class Gathering:
    """The open file in which an upload job gathers its chunks, each at its place."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, offset: int, length: int, body: bytes | IO[bytes] | None) -> Digests:
        """Write a chunk to its place, and flush it; nothing is written beyond ``length`` bytes."""
        source = io.BytesIO(body or b"") if body is None or isinstance(body, bytes) else body
        with os.fdopen(os.dup(self._handle), "wb", buffering=0) as out:
            try:
                out.seek(offset)
            except OSError as error:  # no file of this system can be so long
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error
            digests = hash_blocks(_at_most(source, length), out)
            os.fsync(out.fileno())
        return digests

    def finish(self, length: int) -> Digests:
        """Hash all of it; it has exactly ``length`` bytes afterwards."""
        if os.fstat(self._handle).st_size != length:
            os.ftruncate(self._handle, length)
            os.fsync(self._handle)
        with os.fdopen(os.dup(self._handle), "rb", buffering=0) as source:
            source.seek(0)
            return hash_blocks(read_parts(source, BLOCK))


class FilePart:
    """A part of an open file, read once, in blocks."""

    def __init__(self, source: IO[bytes], length: int) -> None:
        self._source = source
        self._left = length

    def __iter__(self) -> Iterator[bytes]:
        with self._source as source:
            while self._left:
                block = source.read(min(1 << 20, self._left))
                if not block:
                    raise OSError(f"an object's file is {self._left} bytes shorter than its record says")
                self._left -= len(block)
                yield block

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _open_job(path: Path) -> tuple[int, bool]:
    """Open a job's file, made if need be; say whether it can be written, which an object's cannot."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600), True
    except PermissionError:
        return os.open(path, os.O_RDONLY), False


def _at_most(source: IO[bytes], length: int) -> Iterator[bytes]:
    while length and (part := source.read(min(BLOCK, length))):
        length -= len(part)
        yield part
