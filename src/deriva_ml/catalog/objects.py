"""The bytes of assets: up to the object store and down from it, through the catalog's transport.

What arrives is verified before it gets its name; what is there already is not sent again; a connection that breaks is
taken up at the byte that was reached.
"""

from __future__ import annotations

import errno
import hashlib
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from deriva_ml.catalog.exchange import check, read_whole
from deriva_ml.catalog.sending import JobNotes, Sender
from deriva_ml.catalog.transport import Retry, Transport
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.core.files import Digests, atomic_write, hash_file, hash_parts
from deriva_ml.core.values import dataclass
from deriva_ml.wire.hatrac import NAMESPACE_TYPE, parse_object_target
from deriva_ml.wire.http import Request, Response

__all__ = ["Head", "ObjectClient", "is_same", "object_headers"]

PLAIN = {"accept-encoding": "identity"}
"""Content travels as it is: its length and its ranges are those of the file."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Head:
    """What the store says of an object.

    Attributes:
        length: Size in bytes.
        md5: Hexadecimal MD5, if known.
        sha256: Hexadecimal SHA-256, if known.
        version: The version.
        url: The URL path with the version.
    """

    length: int
    md5: str | None
    sha256: str | None
    version: str | None
    url: str


class ObjectClient:
    """The objects of one service.

    Args:
        transport: The way to the service; shared, and closed by whoever made it.
        retry: When to take up a transfer that broke off.
    """

    def __init__(self, transport: Transport, *, retry: Retry | None = None) -> None:
        self.transport = transport
        self._retry = retry or Retry(attempts=5)

    # ------------------------------------------------------------------------------------------ up

    def put(
        self,
        name: str,
        source: Path | bytes,
        *,
        digests: Digests | None = None,
        content_type: str | None = None,
        filename: str | None = None,
        progress: Progress | None = None,
        jobs: JobNotes | None = None,
    ) -> str:
        """Store content under a name, unless it is there already; namespaces on the way are made.

        Args:
            name: The URL path, as ``wire.hatrac.object_name`` makes it.
            source: A file, or the content itself.
            digests: What the content is, if it has been hashed already.
            content_type: Its media type.
            filename: The name under which a browser saves it; by default the last part of ``name``.
            progress: Called with the number of bytes each time some have been sent.
            jobs: Where it is noted how far content that is sent in chunks has come, so that another attempt goes on.

        Returns:
            The URL path with the version.

        Raises:
            DerivaMLDataError: The name is not an object's, or the file is not what ``digests`` says.
        """
        target = parse_object_target(_relative(name))
        if target.version or target.sub or not target.name:
            raise DerivaMLDataError(f"Not the name of an object: {name}")
        if digests is None:
            digests = hash_parts([source]) if isinstance(source, bytes) else hash_file(source)
        present = self.find(target.url)
        if present is not None and is_same(present, digests):
            if jobs is not None:
                jobs.drop(target.url)
            return present.url
        headers = object_headers(digests, filename)
        if content_type:
            headers["content-type"] = content_type
        return Sender(self.transport, jobs).put(target.url, source, digests, headers, progress or _ignore)

    def create_namespace(self, name: str) -> None:
        """Make a namespace and those that it lies in; nothing happens if it is there."""
        target = parse_object_target(_relative(name))
        request = Request("PUT", f"{target.url}?parents=true", {"content-type": NAMESPACE_TYPE})
        answer = self.transport.send(request)
        if answer.status == 409 and "already exists" in answer.read().decode("utf-8", "replace"):
            return
        check(request, answer).read()

    # ------------------------------------------------------------------------------------------ asking

    def find(self, url: str) -> Head | None:
        """What the store says of an object; None if it has no such content."""
        request = Request("HEAD", _relative(url), PLAIN)
        answer = self.transport.send(request)
        if answer.status in {404, 409}:
            answer.read()
            return None
        return _head(url, check(request, answer))

    def head(self, url: str) -> Head:
        """What the store says of an object.

        Raises:
            DerivaMLCatalogError: Status 404 or 409: it has no such content.
        """
        request = Request("HEAD", _relative(url), PLAIN)
        return _head(url, check(request, self.transport.send(request)))

    def local_path(self, url: str) -> Path | None:
        """A file on this machine with an object's bytes, where the store keeps one; it must not be written."""
        return self.transport.local_path(_relative(url))

    def local_paths(self, urls: Sequence[str]) -> list[str | None]:
        """Such files for many objects, found in one step where the store is in this process."""
        targets = [_relative(url) for url in urls]
        if self.transport.bulk is not None:
            return self.transport.bulk.local_paths(targets)
        found = map(self.transport.local_path, targets)
        return [None if path is None else str(path) for path in found]

    def delete(self, url: str) -> None:
        """Delete an object, a version of it, or a namespace with all that is in it."""
        read_whole(self.transport, Request("DELETE", _relative(url)), self._retry)

    # ------------------------------------------------------------------------------------------ down

    def fetch(
        self,
        url: str,
        target: Path,
        *,
        md5: str | None = None,
        sha256: str | None = None,
        length: int | None = None,
        progress: Progress | None = None,
        durable: bool = True,
    ) -> Digests:
        """Bring an object to a file, which is there whole and verified, or not at all.

        Args:
            url: The object, best with its version.
            target: The file.
            md5: Hexadecimal MD5 that it must have; what the store says must hold in any case.
            sha256: Hexadecimal SHA-256 that it must have.
            length: Size that it must have.
            progress: Called with the number of bytes each time some have arrived; it is negative where what had
                arrived turned out to be worth nothing.
            durable: Wait until the content is on the disk.

        Raises:
            DerivaMLValidationError: What arrived is not what was asked for.
            DerivaMLUnreachable: The connection broke and could not be taken up again.
            DerivaMLDataError: The store cannot give all of the object.
            DerivaMLException: The file cannot be written.
        """
        try:
            with atomic_write(target, durable=durable) as out:
                download = _Download(self.transport, _relative(url), out, self._retry, progress or _ignore)
                digests = download.run()
                for kind, expected, actual in (
                    ("length", length, digests.length),
                    ("MD5", md5, digests.md5),
                    ("SHA-256", sha256, digests.sha256),
                    *download.announced(digests),
                ):
                    if expected is not None and expected != actual:
                        raise DerivaMLValidationError(
                            f"The content of {url} has {kind} {actual}, not {expected}.",
                            source=url,
                            hint="the record or the object is wrong: nothing was kept of it",
                        )
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            raise DerivaMLException(
                f"Cannot write {target}: {error.strerror or error}",
                source=url,
                hint="free some space on the disk" if full else "check the folder and its rights",
            ) from error
        return digests


class _BrokenOff(DerivaMLUnreachable):
    """The content of an answer ended too early; what is missing can be asked for.

    Attributes:
        is_short: Not the connection broke: the store gave no more, or could not read it.
    """

    is_short = False

    def given_up(self, url: str) -> DerivaMLException:
        """What to say if asking again brought nothing."""
        if self.is_short:
            return DerivaMLDataError(
                f"The store cannot give all of an object: {self._msg}",
                source=url,
                hint="the object is damaged, and nothing was kept of it: deriva-ml-catalog fsck names what is, and a "
                "backup has it",
            )
        lost = DerivaMLUnreachable(self._msg, hint="see that the catalog is there, and repeat: nothing was kept")
        lost.was_repeated = True
        return lost


class _Download:
    """One object on its way to a file, over as many requests as it takes."""

    def __init__(self, transport: Transport, url: str, out: IO[bytes], retry: Retry, progress: Progress) -> None:
        self._transport = transport
        self._url = url
        self._out = out
        self._retry = retry
        self._progress = progress
        self._head: Head | None = None
        self._length = 0
        self._start()

    def _start(self) -> None:
        if self._length:
            self._progress(-self._length)
        self._md5, self._sha256, self._length = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        self._out.seek(0)
        self._out.truncate()

    def run(self) -> Digests:
        """Bring all of it."""
        attempt = 1
        while True:
            reached = self._length
            try:
                self._receive()
                return Digests(self._md5.hexdigest(), self._sha256.hexdigest(), self._length)
            except _BrokenOff as error:
                # Progress earns new patience: what is counted is attempts that brought nothing.
                attempt = 1 if self._length > reached else attempt
                if not self._retry.again(attempt):
                    raise error.given_up(self._url) from error
                attempt += 1

    def announced(self, digests: Digests) -> list[tuple[str, str | None, str]]:
        """What the store itself said of the content: kind, what it said, and what arrived."""
        if self._head is None:
            return []
        return [("MD5", self._head.md5, digests.md5), ("SHA-256", self._head.sha256, digests.sha256)]

    def _receive(self) -> None:
        headers = dict(PLAIN)
        if self._length and self._head is not None:
            headers["range"] = f"bytes={self._length}-"
        request = Request("GET", self._url, headers)
        answer = self._transport.send(request)
        if answer.status == 416:
            answer.read()
            if self._head is not None and self._length == self._head.length:
                return
            self._start()
            raise _BrokenOff(f"{self._url} changed while it was fetched.")
        check(request, answer)
        self._begin(answer)
        self._write(answer)
        if self._head is not None and self._length < self._head.length:
            error = _BrokenOff(f"{self._url} broke off after {self._length} of {self._head.length} bytes.")
            error.is_short = True
            raise error

    def _begin(self, answer: Response) -> None:
        """Take up where the last attempt stopped, or begin anew if the store gives all of it, or something else."""
        if answer.status == 206 and self._head is not None:
            if answer.headers.get("etag", "").strip('"') == self._head.version:
                return
            answer.close()
            self._head = None
            self._start()
            raise _BrokenOff(f"{self._url} changed while it was fetched.")
        self._start()
        self._head = _head(self._url, answer)

    def _write(self, answer: Response) -> None:
        try:
            for part in self._parts(answer):
                self._out.write(part)
                self._md5.update(part)
                self._sha256.update(part)
                self._length += len(part)
                self._progress(len(part))
        finally:
            answer.close()

    def _parts(self, answer: Response) -> Iterator[bytes]:
        """The parts of an answer; what goes wrong with them is the store's or the connection's, not the file's."""
        try:
            yield from answer.parts()
        except (OSError, DerivaMLUnreachable) as error:
            broken = _BrokenOff(f"{self._url} broke off after {self._length} bytes: {error}")
            broken.is_short = isinstance(error, OSError)  # a connection's errors have been translated
            raise broken from error


def _ignore(_count: int) -> None:
    """Report nothing: the default of ``progress``."""


def _relative(url: str) -> str:
    """An object's URL as the transport sends it.

    Raises:
        DerivaMLDataError: It is not a URL of this kind of store.
    """
    if not url.startswith("/hatrac/"):
        raise DerivaMLDataError(
            f"Not an object of this catalog's store: {url}",
            hint="such a URL begins with /hatrac/; files that assets refer to elsewhere are brought here by "
            "deriva-ml-catalog localize",
        )
    return url


def object_headers(digests: Digests, filename: str | None) -> dict[str, str]:
    """What a request says of the content that it brings: its digests, and the name under which a browser saves it."""
    headers = {"content-md5": digests.md5_base64, "content-sha256": digests.sha256_base64}
    if filename:
        headers["content-disposition"] = f"filename*=UTF-8''{_quoted(filename)}"
    return headers


def _quoted(filename: str) -> str:
    from urllib.parse import quote

    return quote(filename.replace("/", "_").replace("\\", "_"), safe="")


def _hex(value: str | None) -> str | None:
    return b64decode(value).hex() if value else None


def _head(url: str, answer: Response) -> Head:
    headers = answer.headers
    where = headers.get("content-location") or url
    return Head(
        int(headers.get("content-length", "0")),
        _hex(headers.get("content-md5")),
        _hex(headers.get("content-sha256")) or _stored_sha256(headers.get("repr-digest", "")),
        headers.get("etag", "").strip('"') or None,
        where,
    )


def _stored_sha256(field: str) -> str | None:
    """The SHA-256 in a field ``Repr-Digest``, as hexadecimal digits."""
    found = re.search(r"(?:^|,\s*)sha-256=:([A-Za-z0-9+/]{43}=):", field)
    return _hex(found[1]) if found else None


def is_same(head: Head, digests: Digests) -> bool:
    """Whether the store has the very content; without any digest it may not have."""
    if head.length != digests.length:
        return False
    known = [pair for pair in ((head.sha256, digests.sha256), (head.md5, digests.md5)) if pair[0] is not None]
    return bool(known) and all(there == here for there, here in known)
