"""Many files on their way up to the object store.

A file's name there contains its hash, so it is hashed before it can be sent. Where the store is in this process, it
takes the file in at the same time, so that it is read once, and many get their names in one step. Elsewhere they are
sent one by one, several at a time. Either way there is an answer for each, and what ends the attempt is raised.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.objects import ObjectClient, object_headers
from deriva_ml.catalog.sending import JobNotes, changed_since
from deriva_ml.catalog.transport import Bulk, TakenContent
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.files import Digests, hash_file
from deriva_ml.core.values import dataclass
from deriva_ml.wire.http import Request

__all__ = ["Content", "Naming", "Outgoing"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
Progress = Callable[[int], None]


@dataclass(slots=True)
class Content:
    """A file that has been hashed, and that the store may have taken in already.

    Attributes:
        source: The file.
        digests: What it is.
        taken: What the store has taken in, where it is in this process.
    """

    source: Path
    digests: Digests
    taken: TakenContent | None = None

    def discard(self) -> None:
        """Let the store forget what has got no name."""
        if self.taken is not None:
            self.taken.discard()


@dataclass(frozen=True, slots=True)
class Naming:
    """What an object is to be called, and what it holds.

    Attributes:
        url: The object's URL path.
        content: What it holds.
        filename: The name under which a browser saves it.
    """

    url: str
    content: Content
    filename: str


class Outgoing:
    """Sends many files to one store.

    Args:
        objects: The store.
        threads: How many files are on their way at once.
        jobs: How far content that is sent in chunks has come.
    """

    def __init__(self, objects: ObjectClient, threads: int = 4, jobs: JobNotes | None = None) -> None:
        self._objects = objects
        self._threads = threads
        self._jobs = jobs
        self._bulk: Bulk | None = objects.transport.bulk

    @property
    def takes_in(self) -> bool:
        """Whether the bytes are in the store once :meth:`prepare` is done with them."""
        return self._bulk is not None

    def prepare(self, source: Path, progress: Progress) -> Content:
        """Hash a file, and let the store take it in if it is in this process.

        Args:
            source: The file.
            progress: Called with the number of bytes each time some have been taken in; not for those only hashed.

        Raises:
            DerivaMLUploadError: The file cannot be read, or the store's disk refuses.
            DerivaMLValidationError: The file was written to meanwhile.
        """
        try:
            before = source.stat()
            if self._bulk is None:
                content = Content(source, hash_file(source))
            else:
                taken = self._bulk.take_in(source, progress)
                content = Content(source, taken.digests, taken)
            after = source.stat()
        except OSError as error:
            raise _unreadable(source, error) from error
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            content.discard()
            raise changed_since(source, "it was written to while it was read.")
        return content

    def put(self, namings: Sequence[Naming], progress: Callable[[Naming, int], None]) -> list[str | DerivaMLException]:
        """Give each file its name in the store: the URL with the version, or why there is none.

        Args:
            namings: What is to be called how.
            progress: Called with the file and a number of bytes each time some have been sent.

        Raises:
            DerivaMLUnreachable: The service is away.
            DerivaMLAuthenticationError: It does not know the caller, or grants too little.
        """
        if self._bulk is not None:
            return self._put_at_once(self._bulk, namings)
        with ThreadPoolExecutor(self._threads, "deriva-ml-upload") as pool:
            try:
                return list(pool.map(lambda naming: self._put_one(naming, progress), namings))
            except BaseException:
                # what ends the attempt must not wait for hundreds of others to fail the same way
                pool.shutdown(cancel_futures=True)
                raise

    def _put_one(self, naming: Naming, progress: Callable[[Naming, int], None]) -> str | DerivaMLException:
        content = naming.content
        try:
            return self._objects.put(
                naming.url,
                content.source,
                digests=content.digests,
                filename=naming.filename,
                progress=lambda count: progress(naming, count),
                jobs=self._jobs,
            )
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            return error
        except OSError as error:
            return _unreadable(content.source, error)

    @staticmethod
    def _put_at_once(bulk: Bulk, namings: Sequence[Naming]) -> list[str | DerivaMLException]:
        requests, taken = [], []
        for naming in namings:
            digests = naming.content.digests
            headers = {
                "content-type": "application/octet-stream",
                **object_headers(digests, naming.filename),
                "content-length": str(digests.length),
            }
            assert naming.content.taken is not None
            requests.append(Request("PUT", f"{naming.url}?parents=true", headers))
            taken.append(naming.content.taken)
        if not requests:
            return []
        answers: list[str | DerivaMLException] = []
        for request, answer in zip(requests, bulk.put(requests, taken), strict=True):
            try:
                answers.append(check(request, answer).read().decode().strip())
            except DerivaMLAuthenticationError:
                raise
            except DerivaMLException as error:
                answers.append(error)
        return answers


def _unreadable(source: Path, error: OSError) -> DerivaMLUploadError:
    if error.errno in FULL:
        return DerivaMLUploadError(
            f"{source} cannot be stored: {error.strerror}.",
            source=str(error.filename or source),
            hint="make room on the disk of the catalog, then upload again: what is done is not repeated",
        )
    return DerivaMLUploadError(f"{source} cannot be read: {error.strerror or error}", source=str(source))
