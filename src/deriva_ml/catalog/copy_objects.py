"""The objects of a catalog that is copied: from one object store to another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLUnreachable,
)
from deriva_ml.core.files import hash_file
from deriva_ml.wire.hatrac import object_name, parse_object_target
from deriva_ml.wire.http import Request

__all__ = ["Carrier"]


class Carrier:
    """Brings objects from one store to the other, each once.

    Args:
        source: The objects.
        target: Where they are to be.
        brought: Told the bytes of each object that was brought.
        missed: Told what could not be brought, in words.
    """

    def __init__(
        self,
        source: ObjectClient,
        target: ObjectClient,
        brought: Callable[[int], None],
        missed: Callable[[str], None],
    ) -> None:
        self._source = source
        self._target = target
        self._brought = brought
        self._missed = missed
        self._known: dict[str, str] = {}

    def carry(self, url: str, where: str) -> str:
        """Bring an object; give its URL in the other store, which is the old one if there is no such object."""
        found = self._known.get(url)
        if found is None:
            try:
                found = self._bring(url)
            except (DerivaMLException, ValueError) as error:
                if _is_of_the_way(error):
                    raise
                self._missed(f"{where}: {url}: {str(error).splitlines()[0]}")
                found = url
            self._known[url] = found
        return found

    def _bring(self, url: str) -> str:
        target = parse_object_target(url)
        name = object_name(*(part for part in target.name.split("/") if part))
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
                filename=unquote(filename) or target.name.rpartition("/")[2],
            )
            self._brought(path.stat().st_size)
        return stored if target.version else stored.rpartition(":")[0]


def _is_of_the_way(error: Exception) -> bool:
    """Whether an error would meet any other object, too: nothing more can be brought."""
    if isinstance(error, DerivaMLCatalogError):
        return error.status >= 500
    return isinstance(error, DerivaMLUnreachable)
