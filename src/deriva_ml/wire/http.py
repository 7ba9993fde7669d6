"""Requests and responses as values, and the small rules of HTTP that both ends share; no I/O.

The embedded service and the client that uses it meet only here: as the two ends of one
``send(request) -> response``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import IO

from deriva_ml.core.values import dataclass

__all__ = ["ANONYMOUS", "Body", "Client", "Request", "Response"]

Body = bytes | Iterable[bytes]
"""Content of a message: all of it, or its parts in order."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends a request.

    Attributes:
        id: The client's id as the catalog records it, or None for an anonymous client.
        display_name: A name to show.
        roles: Ids of the groups and attributes that the client holds, its own id among them.
        full_name: Full name, if known.
        email: Mail address, if known.
    """

    id: str | None
    display_name: str = ""
    roles: frozenset[str] = frozenset()
    full_name: str | None = None
    email: str | None = None


ANONYMOUS = Client(None)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a catalog service.

    Attributes:
        method: ``GET``, ``HEAD``, ``POST``, ``PUT``, ``DELETE`` or ``OPTIONS``.
        target: The raw request target, path and query together, never decoded.
        headers: Header fields; the names are lower case.
        body: Content: bytes, or a file that is read in parts, or None.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | IO[bytes] | None = None


@dataclass(slots=True)
class Response:
    """One answer of a catalog service.

    Attributes:
        status: The HTTP status.
        headers: Header fields; the names are lower case.
        body: Content: bytes, or parts to be read once, in order.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = b""

    def read(self) -> bytes:
        """All of the content; parts are joined on the first call."""
        if not isinstance(self.body, bytes):
            self.body = b"".join(self.body)
        return self.body

    def parts(self, size: int = 1 << 20) -> Iterator[bytes]:
        """The content in parts of at most ``size`` bytes where it is held whole, else as the service gave them."""
        if isinstance(self.body, bytes):
            whole = self.body
            yield from (whole[at : at + size] for at in range(0, len(whole), size))
        else:
            yield from self.body

    def close(self) -> None:
        """Let go of whatever stands behind content that was not read to its end."""
        close = getattr(self.body, "close", None)
        if close is not None:
            close()
