"""Several requests of one catalog, answered together: ``POST .../batch``. Its form is that of `deriva_ml.wire.batch`.

Each member is answered as the same request by itself would be, with the same rights. Members that read have one view
and are answered while they are sent; members that change share one transaction, and their answers are kept, on the
disk where they are long, until it is known whether it lasts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from tempfile import SpooledTemporaryFile

from deriva_ml.core import codes
from deriva_ml.server.answers import refusal
from deriva_ml.server.data_resources import Streamed
from deriva_ml.server.errors import BadRequest, Forbidden, NotFound, ServiceError, translate
from deriva_ml.server.exchange import Exchange
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.batch import (
    DEFAULT_LIMITS,
    END,
    FAILED,
    MEDIA,
    NOTHING,
    RESOURCE,
    SNAPTIME,
    BatchSyntaxError,
    Limits,
    Member,
    head,
    length_line,
    read_batch,
)
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.json_text import read_json, write_json
from deriva_ml.wire.model import Json
from deriva_ml.wire.parse import PathSyntaxError, Target, parse_target
from deriva_ml.wire.syntax import DataPath

__all__ = ["answer_batch", "is_batch"]

AT_ONCE = 1 << 18
"""Answers that together are not longer than this are sent as a whole."""

IN_MEMORY = 8 << 20
"""So much of the answers of changes is kept in memory, the rest on the disk."""

PART = 1 << 18

Reading = Callable[[Exchange, View], Response]
Writing = Callable[[Exchange, Transaction], Response]


def is_batch(target: Target) -> bool:
    """Whether a target is the resource for several requests."""
    resource = target.resource
    return not isinstance(resource, DataPath) and len(resource) == 1 and f"/{resource[0].word}" == RESOURCE


def answer_batch(exchange: Exchange, read: Reading, write: Writing, limits: Limits = DEFAULT_LIMITS) -> Response:
    """Answer several requests.

    Args:
        exchange: The request that brings them.
        read: Answers one that reads, from a view.
        write: Answers one that changes, in a transaction.
        limits: How large the batch may be.

    Raises:
        BadRequest: It is no batch, or too large.
        ServiceError: It has changes, and a member is refused: nothing was changed.
    """
    try:
        members, commit = read_batch(_content(exchange.request, limits), limits)
    except BatchSyntaxError as error:
        raise BadRequest(f"Batch cannot be read: {error}.") from error
    if not any(member.changes for member in members):
        return _read_all(exchange, members, read)
    if exchange.target.snaptime is not None:
        raise Forbidden("modification to catalog at previous revision", anonymous=exchange.client.id is None)
    return _change_all(exchange, members, read, write, commit=commit)


def _content(request: Request, limits: Limits) -> bytes:
    """A request's content, or as much of it as shows that it is too long."""
    body = request.body
    return body if isinstance(body, bytes) else body.read(limits.bytes + 1) if body is not None else b""


def _headers(exchange: Exchange) -> dict[str, str]:
    return {"content-type": MEDIA, "vary": exchange.vary}


def _of_member(exchange: Exchange, member: Member, body: bytes | None) -> Exchange:
    """The member as the request that it is.

    Raises:
        BadRequest: Its target cannot be read, or is nothing that a batch may have.
    """
    prefix = exchange.request.target.partition("?")[0].rstrip("/").removesuffix(RESOURCE)
    headers = {"accept": member.accept} if member.accept is not None else {}
    if body is not None:
        headers["content-type"] = member.content_type
    request = Request(member.method, prefix + member.target, headers, body)
    try:
        target = parse_target(request.target)
    except PathSyntaxError as error:
        raise BadRequest(str(error)) from error
    named = (target.catalog, target.snaptime)
    if named != (exchange.target.catalog, exchange.target.snaptime) or is_batch(target):
        raise BadRequest("This target cannot be a member of a batch.")
    return replace(exchange, request=request, target=target)


# ---------------------------------------------------------------------------------------------- reading


def _read_all(exchange: Exchange, members: Sequence[Member], read: Reading) -> Response:
    with ExitStack() as stack:
        view = stack.enter_context(exchange.store.read(exchange.target.snaptime))
        frames = _frames(exchange, members, view, read)
        first: list[bytes] = []
        length = 0
        for frame in frames:
            first.append(frame)
            length += len(frame)
            if length > AT_ONCE:
                body = Streamed(chain(first, frames), stack.pop_all(), view.renew)
                return Response(200, _headers(exchange), body)
        return Response(200, _headers(exchange), b"".join(first))


def _frames(exchange: Exchange, members: Sequence[Member], view: View, read: Reading) -> Iterator[bytes]:
    for member in members:
        view.renew()
        try:
            answer = read(_of_member(exchange, member, None), view)
            _check_expected(member, answer)
        except (ServiceError, sqlite3.Error, UnicodeEncodeError, RecursionError) as error:
            answer = refusal(_refused(error, view))
        yield from _framed(answer)


def _refused(error: Exception, view: View) -> ServiceError:
    """What a member's fault amounts to.

    Raises:
        Exception: It is a defect.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, sqlite3.Error):
        known = translate(error, view.path)
        if known is None:
            raise error
        return known
    return BadRequest(f"The request cannot be processed: {type(error).__name__}.")


def _framed(answer: Response) -> Iterator[bytes]:
    yield head(answer.status, answer.headers)
    try:
        for part in answer.parts():
            if part:
                yield length_line(part)
                yield part
    finally:
        answer.close()
    yield END


def _check_expected(member: Member, answer: Response) -> None:
    if member.expect is not NOTHING and json.loads(answer.read()) != member.expect:
        raise ServiceError(412, "The answer is not the one that was expected.")


# ---------------------------------------------------------------------------------------------- changing


class _Undone(Exception):
    """Changes that shall not last are undone."""


class _Answers:
    """Answers of members, kept until they can be sent."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - it outlives this call
        self._length = 0

    def add(self, answer: Response) -> None:
        for frame in _framed(answer):
            self._length += self._file.write(frame)

    def body(self) -> bytes | _Answers:
        self._file.seek(0)
        if self._length > IN_MEMORY:
            return self
        content = self._file.read()
        self.close()
        return content

    def __iter__(self) -> Iterator[bytes]:
        with self._file:
            while part := self._file.read(PART):
                yield part

    def close(self) -> None:
        self._file.close()


def _change_all(
    exchange: Exchange, members: Sequence[Member], read: Reading, write: Writing, *, commit: bool
) -> Response:
    answers = _Answers()
    try:
        try:
            with exchange.store.write(exchange.client) as tx:
                _answer_each(exchange, members, tx, (read, write), answers)
                if not commit:
                    raise _Undone
            tx.known_clients.add(exchange.client)
        except _Undone:
            """As was asked for."""
        return Response(200, _headers(exchange), answers.body())
    except BaseException:
        answers.close()
        raise


def _answer_each(
    exchange: Exchange, members: Sequence[Member], tx: Transaction, how: tuple[Reading, Writing], answers: _Answers
) -> None:
    read, write = how
    needed = {source[0] for member in members for source in member.fill.values() if isinstance(source, tuple)}
    known: dict[int, list[dict[str, Json]]] = {}
    for place, member in enumerate(members):
        tx.renew()
        try:
            each = _of_member(exchange, member, _body(member, tx, known))
            answer = _changed(member, each, tx, write) if member.changes else read(each, tx)
            _check_expected(member, answer)
            if place in needed:
                known[place] = _rows(answer.read())
        except (ServiceError, sqlite3.Error, UnicodeEncodeError, RecursionError) as error:
            refused = _refused(error, tx)
            refused.headers = {**refused.headers, FAILED: str(place)}
            raise refused from error
        answers.add(answer)


def _changed(member: Member, exchange: Exchange, tx: Transaction, write: Writing) -> Response:
    """The answer of a member with changes; one that finds nothing to delete may be let be."""
    try:
        return write(exchange, tx)
    except NotFound as error:
        # Rows are looked for before any is deleted: nothing has happened.
        if not (member.missing_ok and member.method == "DELETE" and exchange.is_data):
            raise
        return refusal(error)


def _body(member: Member, tx: Transaction, known: dict[int, list[dict[str, Json]]]) -> bytes | None:
    """A member's content, with what is filled in.

    Raises:
        BadRequest: It is not rows, or not as many as those that it is filled from.
    """
    if member.body is None:
        return None
    if not member.fill:
        return member.body.encode()
    rows = _rows(member.body.encode())
    for column, source in member.fill.items():
        if isinstance(source, str):
            assert source == SNAPTIME
            moment = codes.encode(tx.now)
            values: list[Json] = [moment] * len(rows)
        else:
            place, name = source
            values = [row.get(name) for row in known[place]]
        if len(values) != len(rows):
            raise BadRequest(f"Column {column} cannot be filled: {len(rows)} rows, but {len(values)} values.")
        for row, value in zip(rows, values, strict=True):
            row[column] = value
    return write_json(list(rows)).encode()


def _rows(content: bytes) -> list[dict[str, Json]]:
    try:
        document = read_json(content.decode())
    except ValueError as error:
        raise BadRequest("What is filled in, or from, must be rows in JSON.") from error
    if not isinstance(document, list):
        raise BadRequest("What is filled in, or from, must be rows in JSON.")
    rows = [row for row in document if isinstance(row, dict)]
    if len(rows) != len(document):
        raise BadRequest("What is filled in, or from, must be rows in JSON.")
    return rows
