"""The service over HTTP: an ASGI application, and the server that runs it. Who asks, `sessions` finds out.

1. The request target reaches the service as it was sent, byte for byte: an escaped slash is data.
2. A request is handled from beginning to end in one thread of a bounded pool, since the service blocks; the event loop
   only carries bytes.
3. Bodies stream in both directions; a client that goes away ends its request.

Extra: ``serve``.
"""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import uvicorn
from starlette.types import Receive, Scope, Send

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.wire.http import Request, Response

__all__ = ["Application", "check_certificate", "check_reach", "is_loopback", "listen", "serve"]

SMALL = 1 << 20
"""A body up to this size is read before its request is handled."""

GATHER = 1 << 16
"""Parts of an answer that are smaller than this are sent together."""

REQUEST_LINE = 1 << 20
"""The longest request line and header fields that are read, in bytes: lists of values in URLs grow long."""

Handler = Callable[[Request], Response]


class Gone(ConnectionError):
    """The client went away."""


class Application:
    """The service as an ASGI application.

    Args:
        handler: What answers a request, such as a `sessions.Gate`.
        threads: How many requests are handled at a time.
    """

    def __init__(self, handler: Handler, *, threads: int = 32) -> None:
        self._handler = handler
        self._threads = threads
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's event, as ASGI has it."""
        if scope["type"] != "http":
            raise ValueError(f"a {scope['type']} connection is not served here")
        headers = _headers(scope)
        body = await _body(headers, receive)
        request = Request(scope["method"], _target(scope), headers, body)
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        await anyio.to_thread.run_sync(self._answer, request, send, limiter=self._limiter)

    def _answer(self, request: Request, send: Send) -> None:
        """Handle a request, in a thread of the pool."""
        try:
            answer = self._handler(request)
            try:
                _send(answer, request.method, send)
            finally:
                answer.close()
        except Gone:
            return


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


def is_loopback(host: str) -> bool:
    """An address that other machines cannot reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_reach(host: str, *, is_secure: bool, has_users: bool) -> None:
    """Refuse an address that other machines can reach, unless the service is fit for them.

    Args:
        host: The address to listen on.
        is_secure: The service speaks TLS.
        has_users: The folder has users, each with a token of their own.

    Raises:
        DerivaMLConfigurationError: Other machines could reach it, and it is not fit for them.
    """
    if is_loopback(host) or (is_secure and has_users):
        return
    if not is_secure:
        why = "other machines could reach it, and tokens and data would travel in clear"
        hint = "add --tls-cert and --tls-key, or serve on loopback and forward the port, for instance with ssh -L"
    else:
        why = "other machines could reach it, and the folder has no users to tell apart"
        hint = "make one first: deriva-ml-catalog user add NAME --root FOLDER"
    raise DerivaMLConfigurationError(
        f"The catalog is not served on {host!r}: {why}.",
        source="--host",
        allowed=["127.0.0.1", "::1", "localhost"],
        hint=hint,
    )


def check_certificate(certificate: Path, key: Path) -> None:
    """Refuse a certificate and key that TLS cannot be spoken with.

    Raises:
        DerivaMLConfigurationError: A file cannot be read, or they do not belong together.
    """
    for path, option in ((certificate, "--tls-cert"), (key, "--tls-key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise DerivaMLConfigurationError(f"Cannot read {path}: {error.strerror}.", source=option) from error
    try:
        # A password that is asked for on a terminal would hold up a server, so an encrypted key is refused.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise DerivaMLConfigurationError(
            f"TLS cannot be spoken with {certificate} and {key}: {error}.",
            source="--tls-cert, --tls-key",
            hint="name the certificate chain and its private key, both in PEM form, the key without a password",
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; whether the address is fit, `check_reach` says.

    Args:
        host: An address of this machine.
        port: The port; 0 for any that is free.

    Raises:
        DerivaMLConfigurationError: The address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, the event loop knows that it is TCP and switches off the delay of small packets.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or str(error)
        raise DerivaMLConfigurationError(
            f"Cannot listen on {host}:{port}: {why}.", source="--host, --port", hint="choose another port"
        ) from error
    return listener


def serve(
    application: Application,
    listener: socket.socket,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve until the process is told to stop; requests that are under way are finished.

    Args:
        application: What answers.
        listener: Where requests arrive.
        certificate: A certificate chain, for TLS.
        key: Its private key.
    """
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
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run(sockets=[listener])
