"""The language of the object store: names, versions, digests and ranges as text; no I/O.

A name is a path of segments, and its escapes are data that is kept as written: ``%2E%2E`` is a name like any other, and
no name ever becomes a path of the file system.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, unquote

from deriva_ml.core.values import dataclass

__all__ = [
    "NAMESPACE_TYPE",
    "ObjectTarget",
    "UnknownResource",
    "object_name",
    "parse_digest",
    "parse_disposition",
    "parse_object_target",
    "parse_range",
    "parse_tags",
    "version_of",
]

MOUNT = "/hatrac"
NAMESPACE_TYPE = "application/x-hatrac-namespace"
"""The content type that makes a namespace instead of an object."""

SEGMENT = re.compile(r"(?:[-._~A-Za-z0-9]|%[0-9A-Fa-f]{2})+")
RANGE = re.compile(r"([0-9]*)-([0-9]*)")
DISPOSITION = re.compile(r"filename\*=UTF-8''([-_.~A-Za-z0-9%]+)")
TAG = re.compile(r'(?:W/)?"((?:[^"\\]|\\.)*?)(?:-gzip)?"')

LONGEST_NAME = 8192
DEEPEST_NAME = 256
"""How many characters, and how many segments, a name may have: each name above it is looked up too."""

SUBRESOURCES = {"versions": 0, "metadata": 1, "acl": 2, "upload": 2}
"""What may follow a semicolon, and how many parts may follow that."""

NAME_RULE = (
    'Hatrac URL path names may only include characters A-Z, a-z, 0-9, "-", ".", "~", '
    "or UTF-8 bytes percent-encoded with 2-digit hex values."
)


class UnknownResource(ValueError):
    """A target that names no kind of resource."""


@dataclass(frozen=True, slots=True)
class ObjectTarget:
    """What a request to the object store is about.

    Attributes:
        name: The name, beginning with a slash, as it was written; empty for the root namespace.
        version: The version, or None.
        sub: ``versions``, ``metadata``, ``acl``, ``upload``, or empty for the thing itself.
        parts: What follows it: a metadata field; an access list and a role; a job and a chunk.
        parents: Namespaces that are missing on the way shall be made.
    """

    name: str
    version: str | None = None
    sub: str = ""
    parts: tuple[str, ...] = ()
    parents: bool = False

    @property
    def url(self) -> str:
        """The target's name as the store writes it, with its version if it has one."""
        return MOUNT + (self.name or "/") + (f":{self.version}" if self.version else "")


def parse_object_target(raw: str) -> ObjectTarget:
    """Read the raw target of a request to the object store.

    Args:
        raw: Path and query as they were sent, beginning with ``/hatrac``.

    Raises:
        UnknownResource: It names no kind of resource.
        ValueError: A name holds characters that names cannot.
    """
    path, _, query = raw.partition("?")
    if path != MOUNT and not path.startswith((f"{MOUNT}/", f"{MOUNT};")):
        raise UnknownResource(raw)
    name, semicolon, rest = path[len(MOUNT) :].partition(";")
    name, colon, version = name.partition(":")
    if colon and (not version or "/" in version or ":" in version):
        raise UnknownResource(raw)
    name = name.removesuffix("/")
    if len(name) > LONGEST_NAME or name.count("/") > DEEPEST_NAME:
        raise ValueError(f"Names have at most {LONGEST_NAME} characters and {DEEPEST_NAME} segments.")
    if not all(SEGMENT.fullmatch(segment) for segment in name.split("/")[1:]):
        raise ValueError(NAME_RULE)
    sub, parts = _subresource(raw, rest) if semicolon else ("", ())
    if version and sub in {"versions", "upload"}:
        raise UnknownResource(raw)
    parents = "parents=true" in re.split("[&;]", query.lower())
    return ObjectTarget(name, version or None, sub, parts, parents)


def _subresource(raw: str, text: str) -> tuple[str, tuple[str, ...]]:
    sub, *parts = text.removesuffix("/").split("/")
    if sub not in SUBRESOURCES or len(parts) > SUBRESOURCES[sub] or not all(parts):
        raise UnknownResource(raw)
    return sub, tuple(map(unquote, parts))


def object_name(*segments: str) -> str:
    """The URL path of an object or a namespace: each segment is escaped, so any text will do.

    Raises:
        ValueError: A segment is empty.
    """
    if not all(segments):
        raise ValueError(f"an object's name has an empty part: {segments!r}")
    return "/".join([MOUNT, *(quote(segment, safe="") for segment in segments)])


def version_of(url: str) -> str | None:
    """The version that an object's URL names, or None."""
    return parse_object_target(url).version


_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def parse_digest(text: str, size: int) -> bytes:
    """Read a digest in base64 or hexadecimal.

    Args:
        text: As it was sent.
        size: How many bytes it has: 16 or 32.

    Raises:
        ValueError: It is neither.
    """
    text = text.strip()
    if len(text) == 2 * size and _HEXADECIMAL.issuperset(text):
        return bytes.fromhex(text)
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f'Could not base64 decode "{text}". {error}') from error
    if len(digest) != size:
        raise ValueError(f'Could not base64 decode "{text}". It has {len(digest)} bytes, not {size}')
    return digest


def parse_disposition(text: str) -> str:
    """The file name in a Content-Disposition.

    Raises:
        ValueError: It is not of the one form that is kept, or the name holds a path divider.
    """
    match = DISPOSITION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'Cannot accept content-disposition "{text}".')
    try:
        name = unquote(match[1], errors="strict")
    except UnicodeDecodeError as error:
        raise ValueError(f'Cannot accept content-disposition "{text}".') from error
    if "/" in name or "\\" in name:
        raise ValueError(
            f'Invalid occurrence of path divider in content-disposition filename component "{name}" '
            "after URL and UTF-8 decoding."
        )
    return name


def parse_range(text: str, length: int) -> list[tuple[int, int]] | None:
    """The parts of some content that a Range header asks for and that exist.

    Args:
        text: The header's value.
        length: Length of the content.

    Returns:
        First and last position of each part; none, if no part exists; or None if the header says nothing.

    Raises:
        UnknownResource: The unit is not bytes.
    """
    unit, equals, ranges = text.strip().partition("=")
    if not equals:
        return None
    if unit.strip().lower() != "bytes":
        raise UnknownResource(unit)
    found = []
    for part in ranges.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None or not (match[1] or match[2].strip("0")):
            return None
        first, last = (_place(digits) for digits in match.groups())
        if first is None:
            start, stop = max(length - (last or 0), 0), length - 1
        elif last is not None and last < first:
            return None
        else:
            start, stop = first, length - 1 if last is None else min(last, length - 1)
        if start <= stop:
            found.append((start, stop))
    return found


def _place(digits: str) -> int | None:
    """A position; of one that lies beyond any content, some position that does so too."""
    return int(digits.lstrip("0")[:19] or 0) if digits else None


def parse_tags(text: str) -> frozenset[str]:
    """The entity tags in an If-Match or If-None-Match, without quotes; ``*`` stands for any."""
    return frozenset({"*"}) if text.strip() == "*" else frozenset(TAG.findall(text))
