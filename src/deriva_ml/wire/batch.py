"""Several requests in one: how they are sent, and how their answers come back; no I/O.

An extension of the embedded service, said in its advertisement: ``POST /ermrest/catalog/<id>[@<snaptime>]/batch``.

1. The content is JSON: ``{"requests": [...], "commit": true}``. A member has ``method`` and ``target`` (below the
   catalog), and may have ``accept``, ``body`` (text), ``content_type``, and what the fields of `Member` say beside.
2. The answers come in order, in one content: of each a line of JSON with its status and header fields, then its content
   in parts, each behind a line with its length in bytes, and a line with 0 at the end. What ends before the last 0 is
   broken off.
3. A batch that only reads sees one moment. A member that is refused has its refusal as its answer.
4. A batch with changes is one transaction: they happen together or not at all, at one moment, and what a member reads
   shows the changes of those before it. The first refusal is the refusal of the batch; `FAILED` says whose it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final, TypeAlias

from deriva_ml.core.values import dataclass
from deriva_ml.wire.http import Response
from deriva_ml.wire.model import Document, Json

__all__ = [
    "DEFAULT_LIMITS",
    "END",
    "FAILED",
    "FEATURE",
    "MEDIA",
    "NOTHING",
    "RESOURCE",
    "SNAPTIME",
    "BatchBroken",
    "BatchSyntaxError",
    "Limits",
    "Member",
    "head",
    "length_line",
    "read_answers",
    "read_batch",
    "weigh",
    "write_batch",
]

FEATURE = "batch"
"""The feature of the service's advertisement."""

RESOURCE = "/batch"
"""The resource below a catalog."""

MEDIA = "application/vnd.deriva-ml.batch"
"""The media type of the answers."""

FAILED = "batch-member"
"""The header field of a refused batch that says which member is refused, counted from 0."""

SNAPTIME = "snaptime"
"""As a value of `Member.fill`: the moment of the batch's own transaction."""

METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
END = b"0\n"
"""What follows the last part of a member's content."""

_LONGEST_LINE = 1 << 16


class _Nothing:
    """Nothing is expected."""


NOTHING: Final = _Nothing()

Source: TypeAlias = "str | tuple[int, str]"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be.

    Attributes:
        requests: How many members it may have.
        bytes: How long its content may be.
    """

    requests: int
    bytes: int

    def document(self) -> Document:
        """What the service advertises."""
        return {"requests": self.requests, "bytes": self.bytes}

    @classmethod
    def advertised(cls, service: object) -> Limits | None:
        """The limits of a service, from its advertisement; None if it has no such resource."""
        features = service.get("features") if isinstance(service, Mapping) else None
        found = features.get(FEATURE) if isinstance(features, Mapping) else None
        if not isinstance(found, Mapping):
            return None
        requests, bytes_ = found.get("requests"), found.get("bytes")
        if not isinstance(requests, int) or not isinstance(bytes_, int) or min(requests, bytes_) < 1:
            return None
        return cls(requests, bytes_)


DEFAULT_LIMITS = Limits(1000, 32 << 20)


@dataclass(frozen=True, slots=True)
class Member:
    """One request of a batch.

    Attributes:
        method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
        target: The target below the catalog, beginning with a slash.
        accept: The media types to answer in.
        body: The content.
        content_type: Its media type.
        fill: Columns of the content's rows that get their values here: `SNAPTIME`, or the place of an earlier member
            and a column of its answer, whose rows correspond to these in order.
        expect: The document that must be the answer; another one is a refusal with status 412.
        missing_ok: That there is nothing to delete is no refusal.
    """

    method: str
    target: str
    accept: str | None = None
    body: str | None = None
    content_type: str = "application/json"
    fill: Mapping[str, Source] = field(default_factory=dict)
    expect: Json | _Nothing = NOTHING
    missing_ok: bool = False

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"


class BatchSyntaxError(ValueError):
    """The content is no batch."""


class BatchBroken(Exception):
    """Answers ended too early."""


# ---------------------------------------------------------------------------------------------- the request


def write_batch(members: Iterable[Member], *, commit: bool = True) -> bytes:
    """The content of a request with several members.

    Args:
        members: The members.
        commit: Whether changes shall last; else they are undone again when all members have been answered.
    """
    document = {"requests": [_member_document(member) for member in members], "commit": commit}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def weigh(member: Member) -> int:
    """How many bytes of a batch a member takes."""
    return len(json.dumps(_member_document(member), ensure_ascii=False, separators=(",", ":")).encode()) + 1


def _member_document(member: Member) -> dict[str, Any]:
    document: dict[str, Any] = {"method": member.method, "target": member.target}
    if member.accept is not None:
        document["accept"] = member.accept
    if member.body is not None:
        document |= {"body": member.body, "content_type": member.content_type}
    if member.fill:
        document["fill"] = member.fill
    if member.expect is not NOTHING:
        document["expect"] = member.expect
    if member.missing_ok:
        document["missing_ok"] = True
    return document


def read_batch(content: bytes, limits: Limits) -> tuple[list[Member], bool]:
    """The members of a request's content, and whether changes shall last.

    Raises:
        BatchSyntaxError: It is no batch, or one beyond the limits.
    """
    if len(content) > limits.bytes:
        raise BatchSyntaxError(f"a batch has at most {limits.bytes} bytes, and this one has more")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BatchSyntaxError(f"a batch is JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("requests"), list):
        raise BatchSyntaxError('a batch is an object with a list "requests"')
    if unknown := sorted(document.keys() - {"requests", "commit"}):
        raise BatchSyntaxError(f"a batch has no field {unknown[0]!r}")
    commit = document.get("commit", True)
    if not isinstance(commit, bool):
        raise BatchSyntaxError('"commit" is true or false')
    requests = document["requests"]
    if not 1 <= len(requests) <= limits.requests:
        raise BatchSyntaxError(f"a batch has 1 to {limits.requests} requests, this one has {len(requests)}")
    return [_read_member(at, each) for at, each in enumerate(requests)], commit


_TEXTS = ("method", "target", "accept", "body", "content_type")
_FIELDS = {*_TEXTS, "fill", "expect", "missing_ok"}


def _read_member(at: int, document: object) -> Member:
    if not isinstance(document, dict):
        raise BatchSyntaxError(f"request {at} is no object")
    if unknown := sorted(document.keys() - _FIELDS):
        raise BatchSyntaxError(f"request {at} has no field {unknown[0]!r}")
    for name in _TEXTS:
        if document.get(name) is not None and not isinstance(document[name], str):
            raise BatchSyntaxError(f"request {at}: {name!r} is text")
    if document.get("method") not in METHODS:
        raise BatchSyntaxError(f"request {at}: the method is one of {', '.join(sorted(METHODS))}")
    if not str(document.get("target", "")).startswith("/"):
        raise BatchSyntaxError(f"request {at}: the target is below the catalog and begins with a slash")
    if not isinstance(document.get("missing_ok", False), bool):
        raise BatchSyntaxError(f"request {at}: 'missing_ok' is true or false")
    given = {name: document[name] for name in (*_TEXTS, "expect", "missing_ok") if name in document}
    return Member(**given, fill=_read_fill(at, document.get("fill", {})))


def _read_fill(at: int, document: object) -> dict[str, Source]:
    if not isinstance(document, dict):
        raise BatchSyntaxError(f"request {at}: 'fill' is an object")
    found: dict[str, Source] = {}
    for column, source in document.items():
        if source == SNAPTIME:
            found[column] = SNAPTIME
            continue
        match source:
            case [int(place), str(name)] if 0 <= place < at:
                found[column] = (place, name)
            case _:
                raise BatchSyntaxError(
                    f"request {at}: {column!r} is filled by {SNAPTIME!r}, or by an earlier request's number and column"
                )
    return found


# ---------------------------------------------------------------------------------------------- the answers


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The line that begins a member's answer."""
    return json.dumps([status, dict(headers)], separators=(",", ":")).encode() + b"\n"


def length_line(part: bytes) -> bytes:
    """The line before a part of a member's content, which must not be empty."""
    return b"%d\n" % len(part)


class _Source:
    """Bytes that arrive in parts, taken line by line and by number."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._held = b""
        self._at = 0

    def _more(self) -> None:
        part = next(self._parts, None)
        if part is None:
            raise BatchBroken("the answers of a batch ended too early")
        self._held = self._held[self._at :] + part
        self._at = 0

    def line(self) -> bytes:
        while (end := self._held.find(b"\n", self._at)) < 0:
            if len(self._held) - self._at > _LONGEST_LINE:
                raise BatchBroken("the answers of a batch hold a line without an end")
            self._more()
        line = self._held[self._at : end]
        self._at = end + 1
        return line

    def take(self, count: int) -> Iterator[bytes]:
        """The next bytes, in the parts in which they are there."""
        while count:
            if self._at == len(self._held):
                self._more()
            part = self._held[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            if part:
                yield part

    def number(self) -> int:
        line = self.line()
        if not line.isdigit():
            raise BatchBroken("the answers of a batch hold no length where one must be")
        return int(line)


def _content(source: _Source) -> Iterator[bytes]:
    while size := source.number():
        yield from source.take(size)


def read_answers(parts: Iterable[bytes], members: Sequence[Member]) -> Iterator[Response]:
    """The answers of the members, in order; what is left unread of one is passed over before the next.

    Raises:
        BatchBroken: They end too early.
    """
    source = _Source(parts)
    for _member in members:
        try:
            status, headers = json.loads(source.line())
        except ValueError as error:
            raise BatchBroken("the answers of a batch hold no answer where one must be") from error
        content = _content(source)
        yield Response(status, headers, content)
        for _rest in content:
            """What nobody read."""
