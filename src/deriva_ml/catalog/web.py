"""Documents and files of other services, by their URLs: what is public there. No credential is shown to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.transport import Http
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.core.files import Digests, atomic_write, hash_parts
from deriva_ml.wire.http import Request

__all__ = ["fetch_document", "fetch_file"]

DOCUMENT_BYTES = 4 << 20
"""The longest document that is read."""


def _split(url: str, source: str) -> tuple[str, str]:
    """Scheme and authority of a URL, and the target there."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise DerivaMLDataError(
            f"Not an address that can be fetched: {url!r}.", source=source, allowed=["http(s)://..."]
        )
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def fetch_document(url: str, *, source: str) -> dict[str, Any]:
    """The JSON object at a URL.

    Args:
        url: Where it is.
        source: What named it, for errors.

    Raises:
        DerivaMLDataError: There is something else.
        DerivaMLCatalogError: The service refused.
        DerivaMLUnreachable: The service does not answer.
    """
    host, target = _split(url, source)
    transport = Http(host)
    try:
        request = Request("GET", target, {"accept": "application/json"})
        answer = check(request, transport.send(request))
        content = b""
        for part in answer.parts():
            content += part
            if len(content) > DOCUMENT_BYTES:
                answer.close()
                break
        found = json.loads(content)
    except ValueError as error:
        raise DerivaMLDataError(f"{url} is no JSON document.", source=source) from error
    finally:
        transport.close()
    if not isinstance(found, dict):
        raise DerivaMLDataError(f"{url} is no JSON object.", source=source)
    return found


def fetch_file(url: str, target: Path, *, sha256: str | None, source: str) -> Digests:
    """Bring a file, which is there whole and verified, or not at all.

    Args:
        url: Where it is.
        target: The file.
        sha256: Hexadecimal SHA-256 that it must have, if it is known.
        source: What named it, for errors.

    Raises:
        DerivaMLValidationError: It is another file.
        DerivaMLCatalogError: The service refused.
        DerivaMLUnreachable: The service does not answer, or the connection broke.
    """
    host, path = _split(url, source)
    transport = Http(host)
    try:
        request = Request("GET", path, {"accept-encoding": "identity"})
        answer = check(request, transport.send(request))
        with atomic_write(target) as out:
            digests = hash_parts(answer.parts(), out)
            length = answer.headers.get("content-length")
            for kind, wanted, found in (("SHA-256", sha256, digests.sha256), ("length", length, str(digests.length))):
                if wanted is not None and wanted.lower() != found:
                    raise DerivaMLValidationError(
                        f"The file at {url} has {kind} {found}, not {wanted}.",
                        source=source,
                        hint="nothing was kept of it",
                    )
    finally:
        transport.close()
    return digests
