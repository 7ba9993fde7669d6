"""The service over HTTP: an ASGI application, and the server that runs it. Who asks, `sessions` finds out.

1. The request target reaches the service as it was sent, byte for byte: an escaped slash is data.
2. A request is handled in a thread of a bounded pool, since the service blocks; the event loop only carries bytes.
   Long bodies and streamed answers have threads of their own, so that slow clients never take those of the others.
3. Bodies stream in both directions; a client that goes away ends its request, and so does one that stalls.
4. When the server is told to stop, requests that are under way are finished, but nobody is waited for who stalls.

Extra: ``serve``.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import h11
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.server.patience import Gone, Patience, Stalled
from deriva_ml.wire.http import Request, Response

__all__ = ["Application", "check_certificate", "check_reach", "is_loopback", "listen", "serve"]

SMALL = 1 << 20
"""A body up to this size is read before its request is handled."""

GATHER = 1 << 16
"""Parts of an answer that are smaller than this are sent together."""

REQUEST_LINE = 1 << 20
"""The longest request line and header fields that are read, in bytes: lists of values in URLs grow long."""

LINGER_SECONDS = 5.0
"""How long what a refused client still sends is read, and dropped: bytes left unread would reset the connection, and
the client might never see why it was refused."""

FINAL_SECONDS = 2.0
"""How long the requests that a second signal ends may take to end."""

LOGGER = logging.getLogger(__name__)

Handler = Callable[[Request], Response]


class Application:
    """The service as an ASGI application.

    Args:
        handler: What answers a request, such as a `sessions.Gate`.
        threads: How many requests with short bodies are handled at a time.
        streams: How many long bodies are received at a time, and how many answers streamed.
        patience: How long is waited for clients.
    """

    def __init__(
        self, handler: Handler, *, threads: int = 32, streams: int = 200, patience: Patience | None = None
    ) -> None:
        self._handler = handler
        self._counts = (threads, streams, streams)
        self._limiters: list[anyio.CapacityLimiter] = []
        self.patience = patience or Patience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's event, as ASGI has it."""
        if scope["type"] != "http":
            raise ValueError(f"a {scope['type']} connection is not served here")
        outgoing = _Outgoing(send, self.patience)
        try:
            await self._exchange(scope, _Incoming(receive, self.patience), outgoing)
        except Stalled:
            await outgoing.refuse(408, b"The request did not arrive in time.\n")
        except Gone:
            return
        except Exception:
            LOGGER.exception("A request could not be answered: %s %s", scope["method"], scope["path"][:200])
            await outgoing.refuse(500, b"The request execution encountered a runtime error.\n")

    async def _exchange(self, scope: Scope, incoming: _Incoming, outgoing: _Outgoing) -> None:
        if not self._limiters:
            self._limiters = [anyio.CapacityLimiter(count) for count in self._counts]
        short, long, answers = self._limiters
        headers = _headers(scope)
        body = await _body(headers, incoming)
        request = Request(scope["method"], _target(scope), headers, body)
        # Whoever sends slowly keeps a thread waiting, but none of those that others need.
        limiter = long if isinstance(body, _Incoming) else short
        answer = await anyio.to_thread.run_sync(self._handler, request, limiter=limiter)
        try:
            if await outgoing.begin(answer, request.method):
                await anyio.to_thread.run_sync(outgoing.stream, answer, limiter=answers)
        finally:
            await anyio.to_thread.run_sync(answer.close, limiter=short) if _is_streamed(answer) else answer.close()


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


def _is_streamed(answer: Response) -> bool:
    return not isinstance(answer.body, bytes)


async def _body(headers: Mapping[str, str], incoming: _Incoming) -> bytes | IO[bytes] | None:
    length = headers.get("content-length", "")
    if not length and "transfer-encoding" not in headers:
        return None
    if length.isdigit() and int(length) <= SMALL:
        return await incoming.gather(int(length))
    return cast("IO[bytes]", incoming)


class _Incoming(io.RawIOBase):
    """A request's body as a file, for a thread of the pool."""

    def __init__(self, receive: Receive, patience: Patience) -> None:
        self._receive = receive
        self._patience = patience
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
            message = await self._patience.wait(self._receive)
            if message["type"] == "http.disconnect":
                raise Gone("the client went away in the middle of its request")
            self._is_over = not message.get("more_body", False)
            parts.append(message.get("body", b""))
            length += len(parts[-1])
        whole = b"".join(parts)
        cut = length if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]


class _Outgoing:
    """The way of an answer to its client."""

    def __init__(self, send: Send, patience: Patience) -> None:
        self._send = send
        self._patience = patience
        self._has_begun = False

    async def _pass(self, message: Message) -> None:
        await self._patience.wait(lambda: self._send(message))

    async def begin(self, answer: Response, method: str) -> bool:
        """Send an answer's head, and its content where it is held whole; say whether the rest is to be streamed."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        is_empty = method == "HEAD" or answer.status in {204, 304}
        body = answer.body
        if isinstance(body, bytes) and not is_empty and "content-length" not in answer.headers:
            headers.append((b"content-length", str(len(body)).encode()))
        self._has_begun = True
        await self._pass({"type": "http.response.start", "status": answer.status, "headers": headers})
        if not is_empty and not isinstance(body, bytes):
            return True
        await self._pass({"type": "http.response.body", "body": b"" if is_empty else body})
        return False

    def stream(self, answer: Response) -> None:
        """Send an answer's content part by part, in a thread of the pool: making the parts takes time."""
        for part in _gathered(answer):
            anyio.from_thread.run(self._pass, {"type": "http.response.body", "body": part, "more_body": True})
        anyio.from_thread.run(self._pass, {"type": "http.response.body", "body": b""})

    async def refuse(self, status: int, text: bytes) -> None:
        """Say why there is no answer, unless one has begun: then its end is missing, which the client sees."""
        if self._has_begun:
            return
        headers = {"content-type": "text/plain", "connection": "close"}
        try:
            await self.begin(Response(status, headers, text), "GET")
        except Gone:
            return


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
        why = (getattr(error, "strerror", None) or str(error)).rstrip(".")
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
        http=_Protocol,
        ws="none",
        lifespan="off",
        # What goes wrong with a request, the application says; what goes wrong with a client, nobody has to read.
        log_level="critical",
        access_log=False,
        h11_max_incomplete_event_size=REQUEST_LINE,
        timeout_graceful_shutdown=30,
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    _Server(config, application.patience).run(sockets=[listener])


class _Server(uvicorn.Server):  # type: ignore[misc]  # untyped here: the lint environment has no uvicorn
    """A server that does not wait for clients who stall when it is told to stop."""

    def __init__(self, config: uvicorn.Config, patience: Patience) -> None:
        super().__init__(config)
        self._patience = patience

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._patience.stop()
        await super().shutdown(sockets=sockets)
        # Where it was told to stop twice, requests are still there: they end in an orderly way, if at once.
        self._patience.end()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=FINAL_SECONDS)


class _Protocol(H11Protocol):  # type: ignore[misc]
    """HTTP whose request lines may be long, and that says so when one is longer."""

    _is_refused = False

    def data_received(self, data: bytes) -> None:
        if not self._is_refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        if len(self.conn.trailing_data[0]) <= REQUEST_LINE:
            super().send_400_response(msg)
            return
        text = f"Request line and header fields are longer than {REQUEST_LINE} bytes.\n".encode()
        fields = [("content-type", "text/plain"), ("content-length", str(len(text))), ("connection", "close")]
        head = h11.Response(status_code=431, headers=fields, reason=b"Request Header Fields Too Large")
        for event in (head, h11.Data(data=text), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._part()

    def _part(self) -> None:
        """Close the connection once the client has read the answer and closed its side, or will not for long."""
        self._is_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
