"""The objects of a catalog that is copied: from one object store to another.

Over a network several are brought at a time: most are small, and each takes a few requests. Access lists that objects
and their namespaces have of their own come along, as far as the source shows them: owners do not, since who makes the
copy owns it, and a namespace that was there before keeps its lists, as it is not the copy's alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLUnreachable,
)
from deriva_ml.core.files import hash_file
from deriva_ml.wire.hatrac import NAMESPACE_TYPE, parse_object_target
from deriva_ml.wire.http import Request, Response

__all__ = ["AT_A_TIME", "MOUNT", "Carrier"]

AT_A_TIME = 6
"""Objects that are under way at once, where a network is between."""

MOUNT = "/hatrac/"


class Carrier:
    """Brings objects from one store to the other, each once.

    Args:
        source: The objects.
        target: Where they are to be.
        brought: Told the bytes of each object that was brought.
        missed: Told what could not be brought, in words.
        origin: The address of the source (``https://host``), by which rows may name its objects.
    """

    def __init__(
        self,
        source: ObjectClient,
        target: ObjectClient,
        brought: Callable[[int], None],
        missed: Callable[[str], None],
        *,
        origin: str | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._brought = brought
        self._missed = missed
        self._prefix = f"{origin.rstrip('/')}{MOUNT}" if origin else None
        self._known: dict[str, str] = {}
        self._namespaces: set[str] = set()
        is_distant = any(one.transport.body_limit is not None for one in (source, target))
        self._at_a_time = AT_A_TIME if is_distant else 1

    def is_object(self, value: object) -> bool:
        """Whether a value is the URL of an object of the source."""
        return isinstance(value, str) and self._relative(value) is not None

    def _relative(self, url: str) -> str | None:
        if url.startswith(MOUNT):
            return url
        if self._prefix is not None and url.startswith(self._prefix):
            return MOUNT + url[len(self._prefix) :]
        return None

    def carry(self, url: str) -> str:
        """The URL of an object that was brought in the other store; the old one if there is no such object."""
        return self._known[url]

    def bring(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Bring objects, several at a time.

        Args:
            wanted: URLs, and where each is named.

        Raises:
            DerivaMLUnreachable: A service does not answer; other objects would meet the same.
            DerivaMLCatalogError: A service is in trouble (500 and above).
        """
        new = {url: where for url, where in wanted if url not in self._known}
        for url in new:
            self._prepare(url)
        if self._at_a_time == 1 or len(new) < 2:
            for url, where in new.items():
                self._note(url, *self._try(url, where))
            return
        with ThreadPoolExecutor(self._at_a_time, "copy-objects") as pool:
            try:
                for url, done in zip(new, pool.map(self._try, new, new.values()), strict=True):
                    self._note(url, *done)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _note(self, url: str, stored: str, size: int | None, problem: str | None) -> None:
        self._known[url] = stored
        if problem is not None:
            self._missed(problem)
        if size is not None:
            self._brought(size)

    def _try(self, url: str, where: str) -> tuple[str, int | None, str | None]:
        """Bring an object: its new URL and size, or what was wrong."""
        try:
            stored, size = self._bring(str(self._relative(url)))
        except (DerivaMLException, ValueError) as error:
            if _is_of_the_way(error):
                raise
            return url, None, f"{where}: {url}: {str(error).splitlines()[0]}"
        return stored, size, None

    # ------------------------------------------------------------------------------------------ namespaces and rights

    def _prepare(self, url: str) -> None:
        """Make the namespaces that an object lies in, from the top, with the lists that they have in the source."""
        for name in _namespaces_of(str(self._relative(url))):
            if name not in self._namespaces:
                self._namespaces.add(name)
                request = Request("PUT", name, {"content-type": NAMESPACE_TYPE})
                # One that is there already, or may not be made, is left as it is: the object itself is the test.
                if _settled(request, self._target.transport.send(request)).status == 201:
                    self._share(name, name)

    def _share(self, source: str, target: str) -> None:
        """Add who is in the access lists of something in the source to those of its copy."""
        asked = Request("GET", f"{source};acl")
        answer = _settled(asked, self._source.transport.send(asked))
        if answer.status != 200:
            return  # its lists are its owner's to see
        for access, roles in json.loads(answer.read()).items():
            for role in roles if access != "owner" else ():
                change = Request("PUT", f"{target};acl/{access}/{quote(role, safe='')}")
                if _settled(change, self._target.transport.send(change)).status >= 400:
                    self._missed(f"{role} in the access list {access} of {source}")

    # ------------------------------------------------------------------------------------------ content

    def _bring(self, url: str) -> tuple[str, int]:
        target = parse_object_target(url)
        name = MOUNT + "/".join(_parts(target.name))  # escapes are part of a name, and stay as they are written
        request = Request("HEAD", url)
        answer = check(request, self._source.transport.send(request))
        filename = answer.headers.get("content-disposition", "").partition("filename*=UTF-8''")[2]
        local = self._source.local_path(url)
        with tempfile.TemporaryDirectory(prefix="deriva-ml-copy-") as folder:
            path = local or Path(folder) / "content"
            if local is None:
                self._source.fetch(url, path)
            digests = hash_file(path)
            if answer.headers.get("content-sha256", digests.sha256_base64) != digests.sha256_base64:
                raise DerivaMLDataError("its content is not what it was when it was stored")
            stored = self._target.put(
                name,
                path,
                digests=digests,
                content_type=answer.headers.get("content-type"),
                filename=unquote(filename or target.name.rpartition("/")[2]),
            )
            size = path.stat().st_size
        plain = stored.rpartition(":")[0]
        self._share(url.partition(":")[0], plain)
        if target.version:
            self._share(url, stored)
        return stored if target.version else plain, size


def _namespaces_of(url: str) -> Iterator[str]:
    """The namespaces above an object, below the root, from the top; none if it is no name of an object."""
    try:
        parts = _parts(parse_object_target(url).name)
    except ValueError:
        return
    for count in range(1, len(parts)):
        yield MOUNT + "/".join(parts[:count])


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part]


def _settled(request: Request, answer: Response) -> Response:
    """An answer that has arrived, whatever it is, unless the service is in trouble."""
    answer.read()
    return check(request, answer) if answer.status >= 500 else answer


def _is_of_the_way(error: Exception) -> bool:
    """Whether an error would meet any other object, too: nothing more can be brought."""
    if isinstance(error, DerivaMLCatalogError):
        return error.status >= 500
    return isinstance(error, DerivaMLUnreachable)
