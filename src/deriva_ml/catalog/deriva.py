"""The public ``deriva`` package, unmodified, on this library's transports.

Its handles speak HTTP through a ``requests`` session; here the session's adapter turns each request into one for a
transport, and the answer back. That package opens a new session wherever it makes one handle from another (a catalog
from a server, a server from a catalog, the latest snapshot, an alias), so each of its classes is subclassed just far
enough to carry the transport along.

This module imports ``deriva`` and ``requests`` and is itself imported only when such a handle is first asked for.
"""

from __future__ import annotations

import http.client
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, cast

import requests
import urllib3
from deriva.core import DerivaServer, ErmrestAlias, ErmrestCatalog, ErmrestSnapshot, HatracStore
from requests.adapters import BaseAdapter, HTTPAdapter

from deriva_ml.catalog.transport import Transport
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire.http import Request

__all__ = ["DerivaHandles", "TransportAdapter", "deriva_server", "ermrest_catalog", "hatrac_store"]

AUTHORITY = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
SCHEME = "https"


class TransportAdapter(BaseAdapter):
    """Carries the requests of a ``requests`` session over a transport.

    Args:
        transport: The transport; it is not closed with the session.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport
        self._builder = HTTPAdapter()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a prepared request; everything about the connection itself is the transport's business."""
        del stream, timeout, verify, cert, proxies
        headers = {_text(name).lower(): _text(value) for name, value in request.headers.items()}
        # The adapter gives whole content on demand, whatever way the transport brought it.
        headers["accept-encoding"] = "identity"
        asked = Request(request.method or "GET", request.path_url, headers, _body(request.body))
        try:
            answer = self._transport.send(asked)
        except DerivaMLUnreachable as error:
            raise requests.exceptions.ConnectionError(str(error), request=request) from error
        content = io.BytesIO(answer.body) if isinstance(answer.body, bytes) else _Stream(answer.parts(), answer.close)
        raw = urllib3.HTTPResponse(
            body=content,
            headers=answer.headers,
            status=answer.status,
            reason=http.client.responses.get(answer.status, ""),
            preload_content=False,
            request_method=asked.method,
        )
        return self._builder.build_response(request, raw)

    def close(self) -> None:
        """Do nothing: the transport has other users."""


class _Stream(io.RawIOBase):
    """The parts of an answer as a file that is read once."""

    def __init__(self, parts: Iterator[bytes], close: Callable[[], None]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")
        self._let_go = close

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._let_go()
        super().close()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _body(body: Any) -> bytes | IO[bytes] | None:
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        return cast("IO[bytes]", body)
    return b"".join(body)


class _Carried:
    """What the subclasses share: a session on a transport, and handles that hand it on."""

    transport: Transport
    _session: requests.Session

    def _get_new_session(self, session_config: Any = None) -> None:
        super()._get_new_session(session_config)  # type: ignore[misc]  # of the deriva class beside this one
        adapter = TransportAdapter(self.transport)
        for prefix in list(self._session.adapters):
            self._session.mount(prefix, adapter)


class _Server(_Carried, DerivaServer):  # type: ignore[misc]  # deriva has no type information
    def __init__(self, transport: Transport, authority: str) -> None:
        self.transport = transport
        super().__init__(SCHEME, authority)

    def connect_ermrest(self, catalog_id: Any, snaptime: str | None = None) -> Any:
        """Connect to a catalog, or to a snapshot of it, on the same transport."""
        catalog_id, _, moment = str(catalog_id).partition("@")
        return _catalog(self.transport, self.server, catalog_id, snaptime or moment or None)

    def create_ermrest_catalog(self, *args: Any, **named: Any) -> Any:
        """Make a catalog and connect to it, on the same transport."""
        return self.connect_ermrest(super().create_ermrest_catalog(*args, **named).catalog_id)

    def connect_ermrest_alias(self, id: str) -> Any:  # noqa: A002  # the name is deriva's
        """Connect to an alias, on the same transport."""
        return _Alias(self.transport, self.server, id)

    def create_ermrest_alias(self, *args: Any, **named: Any) -> Any:
        """Make an alias and connect to it, on the same transport."""
        return self.connect_ermrest_alias(super().create_ermrest_alias(*args, **named).alias_id)


class _Alias(_Carried, ErmrestAlias):  # type: ignore[misc]  # deriva has no type information
    def __init__(self, transport: Transport, authority: str, alias_id: str) -> None:
        self.transport = transport
        super().__init__(SCHEME, authority, alias_id)


class _Catalog(_Carried, ErmrestCatalog):  # type: ignore[misc]  # deriva has no type information
    def __init__(self, transport: Transport, authority: str, catalog_id: str) -> None:
        self.transport = transport
        super().__init__(SCHEME, authority, catalog_id)

    @property
    def deriva_server(self) -> Any:
        """The server of this catalog, on the same transport."""
        return _Server(self.transport, self._server)

    def latest_snapshot(self) -> Any:
        """The latest snapshot of this catalog, on the same transport."""
        snaptime = self.get("/").json()["snaptime"]
        return _Snapshot(self.transport, self._server, self._catalog_id, snaptime)


class _Snapshot(_Carried, ErmrestSnapshot):  # type: ignore[misc]  # deriva has no type information
    def __init__(self, transport: Transport, authority: str, catalog_id: str, snaptime: str) -> None:
        self.transport = transport
        super().__init__(SCHEME, authority, catalog_id, snaptime)

    @property
    def deriva_server(self) -> Any:
        """The server of this catalog, on the same transport."""
        return _Server(self.transport, self._server)

    def latest_snapshot(self) -> Any:
        """The latest snapshot of the catalog, on the same transport."""
        return _Catalog(self.transport, self._server, self._catalog_id).latest_snapshot()


class _Store(_Carried, HatracStore):  # type: ignore[misc]  # deriva has no type information
    def __init__(self, transport: Transport, authority: str) -> None:
        self.transport = transport
        super().__init__(SCHEME, authority)


def _authority(hostname: str) -> str:
    """A host as a URL can hold it: a folder's path cannot, and only a name is needed."""
    host = hostname.partition("://")[2] or hostname
    return host if AUTHORITY.fullmatch(host) else "local"


def _catalog(transport: Transport, authority: str, catalog_id: str, snaptime: str | None) -> Any:
    if snaptime:
        return _Snapshot(transport, authority, catalog_id, snaptime)
    return _Catalog(transport, authority, catalog_id)


class DerivaHandles:
    """The ``deriva`` package's handles of one service.

    Args:
        transport: The way to the service; shared, and closed by whoever made it.
        hostname: The service's name, shown in URLs.
    """

    def __init__(self, transport: Transport, hostname: str) -> None:
        self._transport = transport
        self._authority = _authority(hostname)

    def server(self) -> DerivaServer:
        """The service as a whole."""
        return _Server(self._transport, self._authority)

    def catalog(self, catalog_id: str, snaptime: str | None = None) -> ErmrestCatalog:
        """A catalog, or a snapshot of it."""
        return _catalog(self._transport, self._authority, catalog_id, snaptime)

    def store(self) -> HatracStore:
        """The object store."""
        return _Store(self._transport, self._authority)


def deriva_server(transport: Transport, hostname: str) -> DerivaServer:
    """The ``deriva`` package's handle of a service.

    Args:
        transport: The way to the service.
        hostname: Its name, shown in URLs.
    """
    return DerivaHandles(transport, hostname).server()


def ermrest_catalog(
    transport: Transport, hostname: str, catalog_id: str, snaptime: str | None = None
) -> ErmrestCatalog:
    """The ``deriva`` package's handle of a catalog, or of a snapshot of it.

    Args:
        transport: The way to the service.
        hostname: Its name, shown in URLs.
        catalog_id: The catalog.
        snaptime: The moment, for a snapshot.
    """
    return DerivaHandles(transport, hostname).catalog(catalog_id, snaptime)


def hatrac_store(transport: Transport, hostname: str) -> HatracStore:
    """The ``deriva`` package's handle of an object store.

    Args:
        transport: The way to the service.
        hostname: Its name, shown in URLs.
    """
    return DerivaHandles(transport, hostname).store()
