"""Content on its way up to the object store: whole, or in chunks that are taken up again where they stopped.

1. What is longer than the transport takes in one request goes as an upload job, chunk by chunk.
2. How far a job has come can be noted (:class:`JobNotes`). An attempt that ends because the service is away, or for
   another reason that may pass, then leaves the job, and the next one goes on at the chunk that was reached, also in
   another process.
3. Any other failure ends the job.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.transport import Transport
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLUnreachable, DerivaMLValidationError
from deriva_ml.core.files import Digests, atomic_write
from deriva_ml.wire.http import Request

__all__ = ["JobNotes", "Sender", "changed_since"]

SMALL = 1 << 20
"""Files up to this size are read at once."""

Progress = Callable[[int], None]


class JobNotes:
    """How far upload jobs have come, by the URL of their object.

    Args:
        path: The file that keeps it for other processes; without one it is known to this object only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._notes: dict[str, dict[str, Any]] = self._read()

    def find(self, url: str, sha256: str, chunk: int) -> tuple[str, int] | None:
        """The job that sends this content to this object in chunks of this length, and how many it has.

        Args:
            url: The object.
            sha256: The content.
            chunk: Bytes of a chunk.
        """
        note = self._notes.get(url)
        if note is None or (note.get("sha256"), note.get("chunk")) != (sha256, chunk):
            return None
        return str(note["job"]), int(note["done"])

    def set(self, url: str, sha256: str, chunk: int, job: str, done: int) -> None:
        """Note how far a job has come."""
        self._notes[url] = {"sha256": sha256, "chunk": chunk, "job": job, "done": done}
        self._write()

    def drop(self, url: str) -> None:
        """Forget the job of an object."""
        if self._notes.pop(url, None) is not None:
            self._write()

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._path is None:
            return {}
        try:
            found = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            # without notes everything is sent: they save time, and vouch for nothing
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self) -> None:
        if self._path is None:
            return
        if not self._notes:
            self._path.unlink(missing_ok=True)
            return
        with atomic_write(self._path, durable=False) as out:
            out.write(json.dumps(self._notes).encode())


class Sender:
    """Sends content to one service.

    Args:
        transport: The way to the service.
        notes: How far earlier attempts have come.
    """

    def __init__(self, transport: Transport, notes: JobNotes | None = None) -> None:
        self._transport = transport
        self._resumes = notes is not None
        self._notes = JobNotes() if notes is None else notes

    def put(self, url: str, source: Path | bytes, digests: Digests, headers: dict[str, str], progress: Progress) -> str:
        """Store content under a name, and give its URL with the version.

        Args:
            url: The object's URL path.
            source: A file, or the content itself.
            digests: What the content is.
            headers: What to say of it, its digests among it.
            progress: Called with the number of bytes each time some have been sent.

        Raises:
            DerivaMLValidationError: The file is not what ``digests`` says.
        """
        limit = self._transport.body_limit
        if limit is not None and digests.length > limit:
            return self._put_chunks(url, source, digests, headers, limit, progress)
        return self._put_whole(url, source, digests, headers, progress)

    def _put_whole(
        self, url: str, source: Path | bytes, digests: Digests, headers: dict[str, str], progress: Progress
    ) -> str:
        fields = {"content-type": "application/octet-stream", **headers, "content-length": str(digests.length)}
        with _open(source, digests) as body:
            content = body.read() if digests.length <= SMALL else cast("IO[bytes]", _Counted(body, progress))
            request = Request("PUT", f"{url}?parents=true", fields, content)
            answer = self._stored(request, source)
            if digests.length <= SMALL:
                progress(digests.length)
        return answer

    def _stored(self, request: Request, source: Path | bytes) -> str:
        """Send content; give the URL of what was stored."""
        try:
            return check(request, self._transport.send(request)).read().decode().strip()
        except DerivaMLCatalogError as error:
            if error.status in {400, 409} and "does not match" in error.detail and isinstance(source, Path):
                raise changed_since(source, error.detail) from error
            raise

    def _put_chunks(
        self,
        url: str,
        source: Path | bytes,
        digests: Digests,
        headers: dict[str, str],
        chunk: int,
        progress: Progress,
    ) -> str:
        job, reached = self._job(url, digests, headers, chunk)
        try:
            with _open(source, digests) as body:
                body.seek(reached * chunk)
                if reached:
                    progress(min(reached * chunk, digests.length))
                for position in range(reached, -(-digests.length // chunk)):
                    part = body.read(chunk)
                    # Each chunk is a request of its own that the transport repeats if need be.
                    sending = Request("PUT", f"{job}/{position}", {"content-type": "application/octet-stream"}, part)
                    check(sending, self._transport.send(sending)).read()
                    self._notes.set(url, digests.sha256, chunk, job, position + 1)
                    progress(len(part))
            stored = self._stored(Request("POST", job), source)
        except BaseException as error:
            if not self._resumes or not _may_go_on(error):
                self._notes.drop(url)
                self._cancel(job)
            raise
        self._notes.drop(url)
        return stored

    def _job(self, url: str, digests: Digests, headers: dict[str, str], chunk: int) -> tuple[str, int]:
        """The job to send chunks to, and how many it has already."""
        known = self._notes.find(url, digests.sha256, chunk)
        if known is not None:
            looking = Request("GET", known[0])
            answer = self._transport.send(looking)
            answer.read()
            if answer.status not in {404, 409}:
                check(looking, answer)
                return known
        document = {"chunk-length": chunk, "content-length": digests.length, **headers}
        document.setdefault("content-type", "application/octet-stream")
        json_type = {"content-type": "application/json"}
        begin = Request("POST", f"{url};upload?parents=true", json_type, json.dumps(document).encode())
        job = check(begin, self._transport.send(begin)).read().decode().strip()
        self._notes.set(url, digests.sha256, chunk, job, 0)
        return job, 0

    def _cancel(self, job: str) -> None:
        try:
            self._transport.send(Request("DELETE", job)).read()
        except DerivaMLUnreachable:
            return  # the first error is the one to show; the store forgets the job in time


def _may_go_on(error: BaseException) -> bool:
    """Whether an attempt ended for a reason that may pass, so that the next one can go on where it stopped."""
    if isinstance(error, DerivaMLCatalogError):
        return error.status >= 500
    return isinstance(error, DerivaMLUnreachable) or not isinstance(error, Exception)


def changed_since(source: Path, detail: str) -> DerivaMLValidationError:
    """What to say of a file that is not what it was when it was hashed.

    Args:
        source: The file.
        detail: What shows that.
    """
    return DerivaMLValidationError(
        f"{source} has changed since it was hashed: {detail}",
        source=str(source),
        hint="do not write to a file while it is uploaded",
    )


class _Counted(io.RawIOBase):
    """A file that tells how much of it has been read; it can be wound back, to be sent again."""

    def __init__(self, source: IO[bytes], progress: Progress) -> None:
        self._source = source
        self._progress = progress
        self._furthest = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        return self._source.tell()

    def fileno(self) -> int:
        return self._source.fileno()

    def read(self, size: int = -1, /) -> bytes:
        part = self._source.read(size)
        if (at := self._source.tell()) > self._furthest:
            self._progress(at - self._furthest)
            self._furthest = at
        return part


def _open(source: Path | bytes, digests: Digests) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    opened = source.open("rb")
    if source.stat().st_size != digests.length:
        opened.close()
        raise changed_since(source, f"it has {source.stat().st_size} bytes, not {digests.length}.")
    return opened
