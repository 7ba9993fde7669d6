"""A catalog that is reached through another process, which holds the connection and the credentials.

The process that works sends its requests to the one that is connected, over whatever carries questions and answers
between them; this module knows neither. Content that is long comes in parts, as it is asked for, so that neither side
holds more than a part of it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from deriva_ml.catalog.transport import CHUNK, Bulk, Retry, Transport, tuned
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire.batch import Limits
from deriva_ml.wire.http import Request, Response

__all__ = ["Answer", "Ask", "Piped", "answering"]

SEND, MORE, DROP, FILE = "catalog.send", "catalog.more", "catalog.drop", "catalog.file"

PART = 1 << 20
"""Bytes of an answer's content that travel at a time."""


class Answer(Protocol):
    """What came back: fields of JSON's kinds, and bytes."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The fields."""

    @property
    def payload(self) -> bytes:
        """The bytes."""


class Ask(Protocol):
    """Asks the connected process something, and waits for the answer."""

    def __call__(self, name: str, data: dict[str, Any], payload: bytes = b"") -> Answer:
        """Ask.

        Args:
            name: What is asked.
            data: Its arguments.
            payload: Bytes that belong to it.
        """


class Piped:
    """The way to a service through another process.

    Args:
        ask: Asks that process.
        batch: How many requests the service takes in one.
    """

    body_limit: int | None = CHUNK
    bulk: Bulk | None = None

    def __init__(self, ask: Ask, batch: Limits | None = None) -> None:
        self._ask = ask
        self._patience: dict[str, Any] = {}
        self.batch = batch

    def tuned(self, retry: Retry | None, timeout: tuple[float, float] | None, body_limit: int | None) -> Piped:
        """The same way with another patience, which the other process is asked to have."""
        made = Piped(self._ask, self.batch)
        told = {"retry": retry and [retry.attempts, retry.delay], "timeout": timeout and list(timeout)}
        made._patience = {**self._patience, **{name: value for name, value in told.items() if value}}
        made.body_limit = min(body_limit or CHUNK, CHUNK)  # what travels through the pipe is in memory on both sides
        return made

    def send(self, request: Request) -> Response:
        """Let the other process send a request.

        Raises:
            DerivaMLUnreachable: There was no answer.
        """
        data = {"method": request.method, "target": request.target, "headers": dict(request.headers), **self._patience}
        answer = self._ask(SEND, data, _content(request.body))
        lost = answer.data.get("unreachable")
        if lost is not None:
            raise DerivaMLUnreachable(str(lost["text"]), source=lost["source"], hint=lost["hint"])
        headers = {str(name): str(value) for name, value in answer.data["headers"].items()}
        number = answer.data.get("more")
        if number is None:
            return Response(int(answer.data["status"]), headers, answer.payload)
        return Response(int(answer.data["status"]), headers, _Parts(self._ask, int(number), answer.payload))

    def local_path(self, target: str) -> Path | None:
        """A file on this machine that holds the bytes of an object, if the service keeps it as one."""
        found = self._ask(FILE, {"target": target}).data.get("path")
        return None if found is None else Path(str(found))

    def close(self) -> None:
        """Do nothing: the connection is the other process's."""


class _Parts:
    """The content of an answer that comes in parts."""

    def __init__(self, ask: Ask, number: int, first: bytes) -> None:
        self._ask = ask
        self._number: int | None = number
        self._first = first

    def __iter__(self) -> Iterator[bytes]:
        first, self._first = self._first, b""
        if first:
            yield first
        while self._number is not None:
            answer = self._ask(MORE, {"number": self._number})
            if answer.data.get("unreachable") is not None:
                self._number = None
                lost = answer.data["unreachable"]
                raise DerivaMLUnreachable(str(lost["text"]), source=lost["source"], hint=lost["hint"])
            if not answer.data["more"]:
                self._number = None
            if answer.payload:
                yield answer.payload

    def close(self) -> None:
        """Let the other process forget the rest."""
        if self._number is not None:
            self._ask(DROP, {"number": self._number})
            self._number = None


def _content(body: bytes | IO[bytes] | None) -> bytes:
    """What a request brings; nothing longer than ``body_limit`` is sent in one."""
    if body is None or isinstance(body, bytes):
        return body or b""
    return body.read()


Handler = Callable[[Mapping[str, Any], bytes], "tuple[Mapping[str, Any], bytes]"]


def answering(transport: Transport) -> dict[str, Handler]:
    """What the connected process answers, by the name of what is asked.

    Args:
        transport: Its way to the service.
    """
    desk = _Desk(transport)
    return {SEND: desk.send, MORE: desk.more, DROP: desk.drop, FILE: desk.file}


class _Desk:
    """Answers for a service; several threads may ask."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._open: dict[int, tuple[Response, Iterator[bytes]]] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def send(self, data: Mapping[str, Any], payload: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Send a request, and give the answer or its first part."""
        headers = {str(name): str(value) for name, value in data["headers"].items()}
        brings = bool(payload) or str(data["method"]) in {"PUT", "POST"}
        request = Request(str(data["method"]), str(data["target"]), headers, payload if brings else None)
        try:
            answer = self._way(data).send(request)
        except DerivaMLUnreachable as error:
            return {"unreachable": _told(error)}, b""
        told = {"status": answer.status, "headers": answer.headers}
        if isinstance(answer.body, bytes) and len(answer.body) <= PART:
            return told, answer.body
        number = next(self._numbers)
        with self._lock:
            self._open[number] = answer, _even(answer.parts(PART))
        more, content = self._next(number)
        return ({**told, "more": number} if more else told), content

    def _way(self, data: Mapping[str, Any]) -> Transport:
        """The way to the service, with the patience that is asked for."""
        retry, timeout = data.get("retry"), data.get("timeout")
        if retry is None and timeout is None:
            return self._transport
        return tuned(self._transport, retry=retry and Retry(*retry), timeout=timeout and tuple(timeout))

    def more(self, data: Mapping[str, Any], _payload: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Give the next part of an answer."""
        try:
            more, content = self._next(int(data["number"]))
        except DerivaMLUnreachable as error:
            self._forget(int(data["number"]))
            return {"unreachable": _told(error)}, b""
        return {"more": more}, content

    def _next(self, number: int) -> tuple[bool, bytes]:
        with self._lock:
            _answer, parts = self._open[number]
        content = next(parts, b"")
        if not content:
            self._forget(number)
        return bool(content), content

    def _forget(self, number: int) -> None:
        with self._lock:
            found = self._open.pop(number, None)
        if found is not None:
            found[0].close()

    def drop(self, data: Mapping[str, Any], _payload: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Forget the rest of an answer."""
        self._forget(int(data["number"]))
        return {}, b""

    def file(self, data: Mapping[str, Any], _payload: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Say which file of this machine holds an object."""
        found = self._transport.local_path(str(data["target"]))
        return {"path": None if found is None else str(found)}, b""


def _even(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same content in parts of about ``PART`` bytes, none of them empty: each costs a question and an answer."""
    held: list[bytes] = []
    length = 0
    for part in parts:
        held.append(part)
        length += len(part)
        if length >= PART:
            yield b"".join(held)
            held, length = [], 0
    if length:
        yield b"".join(held)


def _told(error: DerivaMLUnreachable) -> dict[str, str | None]:
    return {"text": error._msg, "source": error.source, "hint": error.hint}  # noqa: SLF001 - the text without its parts
