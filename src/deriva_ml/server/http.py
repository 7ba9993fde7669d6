"""The service over HTTP: an ASGI application behind bearer tokens, and the server that runs it.

1. The request target reaches the service as it was sent, byte for byte: an escaped slash is data.
2. A request is handled from beginning to end in one thread of a bounded pool, since the service blocks; the event loop
   only carries bytes.
3. Bodies stream in both directions; a client that goes away ends its request.

Extra: ``serve``.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import IO, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.wire.http import Client, Request, Response

__all__ = ["Application", "check_loopback", "listen", "serve"]

SMALL = 1 << 20
"""A body up to this size is read before its request is handled."""

GATHER = 1 << 16
"""Parts of an answer that are smaller than this are sent together."""

REQUEST_LINE = 1 << 20
"""The longest request line and header fields that are read, in bytes: lists of values in URLs grow long."""

Service = Callable[[Request, Client], Response]


class Gone(ConnectionError):
    """The client went away."""


class Application:
    """The service as an ASGI application.

    Args:
        service: The service.
        tokens: Who holds which bearer token.
        threads: How many requests are handled at a time.
    """

    def __init__(self, service: Service, tokens: Mapping[str, Client], *, threads: int = 32) -> None:
        self._service = service
        # Tokens are looked up by their hash: neither their text nor the time a comparison takes is given away.
        self._clients = {_fingerprint(token): client for token, client in tokens.items()}
        self._threads = threads
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's event, as ASGI has it."""
        if scope["type"] != "http":
            raise ValueError(f"a {scope['type']} connection is not served here")
        headers = _headers(scope)
        client = self._identify(headers)
        if client is None:
            refusal = PlainTextResponse(
                "Access requires authentication.\n", 401, {"www-authenticate": "Bearer", "connection": "close"}
            )
            refusal.headers["content-type"] = "text/plain"
            await refusal(scope, receive, send)
            return
        body = await _body(headers, receive)
        request = Request(scope["method"], _target(scope), headers, body)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        await anyio.to_thread.run_sync(self._answer, request, client, send, limiter=self._limiter)

    def _identify(self, headers: Mapping[str, str]) -> Client | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self._clients.get(_fingerprint(token.strip())) if scheme.lower() == "bearer" else None

    def _answer(self, request: Request, client: Client, send: Send) -> None:
        """Handle a request, in a thread of the pool."""
        try:
            answer = self._service(request, client)
            try:
                _send(answer, request.method, send)
            finally:
                answer.close()
        except Gone:
            return


def _fingerprint(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _target(scope: Scope) -> str:
    query = scope["query_string"]
    raw: bytes = scope["raw_path"] + (b"?" + query if query else b"")
    return raw.decode("latin-1")


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes | IO[bytes] | None:
    length = headers.get("content-length", "")
    if not length and "transfer-encoding" not in headers:
        return None
    incoming = _Incoming(receive)
    if length.isdigit() and int(length) <= SMALL:
        return await incoming.gather(int(length))
    return cast("IO[bytes]", incoming)


class _Incoming(io.RawIOBase):
    """A request's body as a file, for a thread of the pool."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._rest = b""
        self._is_over = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return anyio.from_thread.run(self.gather, size)

    async def gather(self, size: int) -> bytes:
        """The next ``size`` bytes, or what there is before the end; all of it if negative."""
        parts = [self._rest]
        length = len(self._rest)
        while not self._is_over and (size < 0 or length < size):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone("the client went away in the middle of its request")
            self._is_over = not message.get("more_body", False)
            parts.append(message.get("body", b""))
            length += len(parts[-1])
        whole = b"".join(parts)
        cut = length if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]


def _send(answer: Response, method: str, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    is_empty = method == "HEAD" or answer.status in {204, 304}
    if isinstance(answer.body, bytes) and not is_empty and "content-length" not in answer.headers:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    anyio.from_thread.run(send, {"type": "http.response.start", "status": answer.status, "headers": headers})
    for part in () if is_empty else _gathered(answer):
        anyio.from_thread.run(send, {"type": "http.response.body", "body": part, "more_body": True})
    anyio.from_thread.run(send, {"type": "http.response.body", "body": b""})


def _gathered(answer: Response) -> Iterator[bytes]:
    """The parts of an answer, small ones joined: each one sent is a trip to the event loop."""
    pending: list[bytes] = []
    size = 0
    for part in answer.parts():
        pending.append(part)
        size += len(part)
        if size >= GATHER:
            yield b"".join(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending)


def check_loopback(host: str) -> None:
    """Refuse an address that other machines can reach.

    Raises:
        DerivaMLConfigurationError: The address is not one of this machine's loopback.
    """
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise DerivaMLConfigurationError(
            f"The catalog is not served on {host}: other machines could reach it, and the token would travel in clear.",
            source="--host",
            allowed=["127.0.0.1", "::1", "localhost"],
            hint="serve on loopback and forward the port, for instance with ssh -L",
        )


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket on loopback.

    Args:
        host: An address of the loopback.
        port: The port; 0 for any that is free.

    Raises:
        DerivaMLConfigurationError: The address is not loopback, or the port is taken.
    """
    check_loopback(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, the event loop knows that it is TCP and switches off the delay of small packets.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DerivaMLConfigurationError(
            f"Cannot listen on {host}:{port}: {error.strerror}.", source="--port", hint="choose another port"
        ) from error
    return listener


def serve(application: Application, listener: socket.socket) -> None:
    """Serve until the process is told to stop; requests that are under way are finished."""
    config = uvicorn.Config(
        application,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        h11_max_incomplete_event_size=REQUEST_LINE,
        timeout_graceful_shutdown=30,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])
