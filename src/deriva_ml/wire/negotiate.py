"""Negotiation between client and service: media types by Accept, preconditions by ETag; no I/O.

Two quirks of the original are mended here: of several media types the one with the highest weight wins, and a GET whose
``If-Match`` fails is answered 412.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from functools import lru_cache

__all__ = ["CONDITIONS", "Precondition", "accepted", "check", "make_etag", "plain_media_type"]

CONDITIONS = frozenset({"if-match", "if-none-match"})
"""The fields that hold preconditions."""

_TAG = re.compile(r'(?:W/)?"([^"]*)"|(\*)')


def plain_media_type(header: str | None) -> str | None:
    """The media type of a Content-Type field, without its parameters."""
    if not header:
        return None
    return header.partition(";")[0].strip().lower() or None


def accepted(header: str | None, supported: Mapping[str, str]) -> str | None:
    """What an Accept field asks for.

    Args:
        header: The field.
        supported: What to give for each media type.

    Returns:
        The supported type of the highest weight, the first among equals; None if none is named.
    """
    best: tuple[float, str] | None = None
    for member in (header or "").split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        found = supported.get(name.lower())
        weight = _weight(parameters)
        if found is not None and weight > 0 and (best is None or weight > best[0]):
            best = (weight, found)
    return best[1] if best else None


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 1.0
    return 1.0


@lru_cache(maxsize=256)
def _digest(roles: frozenset[str]) -> str:
    text = json.dumps(sorted(roles))
    return base64.urlsafe_b64encode(hashlib.md5(text.encode(), usedforsecurity=False).digest()).decode()


def make_etag(roles: frozenset[str], accept: str, version: str) -> str:
    """The tag of a resource: it differs with who asks, in what form, and with every commit."""
    accept = accept.replace('"', "'").replace("\\", "/")
    return f'"{_digest(roles)};{accept};{version}"'


def _matches(header: str, etag: str) -> bool:
    own = _opaque(etag.strip('"'))
    return any(star or _opaque(tag) == own for tag, star in _TAG.findall(header))


def _opaque(tag: str) -> str:
    return tag.removesuffix("-gzip")


class Precondition(Enum):
    """What the preconditions of a request come to."""

    HOLDS = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


def check(headers: Mapping[str, str], etag: str, *, is_read: bool) -> Precondition:
    """Compare a request's preconditions with the tag of what it names.

    Args:
        headers: The request's fields, their names in lower case.
        etag: The current tag.
        is_read: The request changes nothing.
    """
    if "if-match" in headers and not _matches(headers["if-match"], etag):
        return Precondition.FAILED
    if "if-none-match" in headers and _matches(headers["if-none-match"], etag):
        return Precondition.NOT_MODIFIED if is_read else Precondition.FAILED
    return Precondition.HOLDS
