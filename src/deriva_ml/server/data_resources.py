"""The data resources of a catalog: reading and writing rows through data paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, islice
from urllib.parse import quote

from deriva_ml.server import rows
from deriva_ml.server.answers import Answer, content_of, empty
from deriva_ml.server.errors import BadRequest, UnsupportedInput
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.http import Body, Request
from deriva_ml.wire.negotiate import accepted, plain_media_type
from deriva_ml.wire.parse import Target
from deriva_ml.wire.rows import CSV, JSON, JSON_STREAM
from deriva_ml.wire.syntax import DataPath

__all__ = ["METHODS", "Streamed", "change", "read"]

METHODS = {
    "entity": ("GET", "POST", "PUT", "DELETE"),
    "attribute": ("GET", "DELETE"),
    "attributegroup": ("GET", "PUT"),
    "aggregate": ("GET",),
}
MEDIA = {JSON: JSON, JSON_STREAM: JSON_STREAM, CSV: CSV}
SHORT = {"json": JSON, "csv": CSV}

FIRST_PARTS = 3
"""A result of fewer parts is sent as a whole."""


class Streamed:
    """Rows that are read while they are sent; the view is let go at the end, or by `close`.

    The time limit holds for each part: how long a client takes to receive an answer is not the query's time.
    """

    def __init__(self, parts: Iterator[bytes], stack: ExitStack, renew: Callable[[], None]) -> None:
        self._parts = parts
        self._stack = stack
        self._renew = renew

    def __iter__(self) -> Iterator[bytes]:
        with self._stack:
            for part in self._taken():
                yield part
                self._renew()

    def _taken(self) -> Iterator[bytes]:
        """The parts, which are forgotten here: a query that is still known of holds its connection at its moment."""
        parts, self._parts = self._parts, iter(())
        return parts

    def close(self) -> None:
        """Let the view go before the end."""
        self._taken()
        self._stack.close()


def _media(request: Request, target: Target, default: str) -> str:
    for asked in target.query.get("accept", ()):
        found = SHORT.get(asked) or MEDIA.get(asked)
        if found:
            return found
    return accepted(request.headers.get("accept"), MEDIA) or default


def _headers(target: Target, media: str) -> dict[str, str]:
    names = target.query.get("download", ())
    if not names or not names[0]:
        return {"content-type": media}
    suffix = "csv" if media == CSV else "json"
    return {
        "content-type": media,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(names[0], safe='')}.{suffix}",
    }


def _arrays_as_json(target: Target) -> bool:
    return "json" in target.query.get("arrays", ())


def read(request: Request, target: Target, view: View, stack: ExitStack) -> tuple[dict[str, str], Body]:
    """GET of a data path: the header fields and the content.

    Args:
        request: The request.
        target: Its target.
        view: The catalog as of a moment.
        stack: Closes the view; it is taken over where the rows are many, so that they are read as they are sent.
    """
    assert isinstance(target.resource, DataPath)
    media = _media(request, target, JSON)
    parts = rows.read(view, target.resource, media, arrays_as_json=_arrays_as_json(target))
    first = list(islice(parts, FIRST_PARTS))
    headers = _headers(target, media)
    if len(first) < FIRST_PARTS or request.method == "HEAD":
        return headers, b"".join(first)
    return headers, Streamed(chain(first, parts), stack.pop_all(), view.renew)


def change(request: Request, target: Target, tx: Transaction) -> Answer:
    """POST, PUT and DELETE of a data path."""
    path = target.resource
    assert isinstance(path, DataPath)
    if request.method == "DELETE":
        if path.sort or path.limit is not None:
            path = replace(path, sort=(), after=None, before=None, limit=None)
        (rows.delete if path.kind == "entity" else rows.delete_values)(tx, path)
        return empty()
    given = plain_media_type(request.headers.get("content-type"))
    if given is not None and given not in MEDIA:
        raise UnsupportedInput(given)
    written = _write(request, target, tx, path, given)
    tx.touch()
    media = _media(request, target, given or JSON)
    body = b"".join(rows.send(written, media, arrays_as_json=_arrays_as_json(target)))
    headers = _headers(target, media)
    return Answer(200, body, headers.pop("content-type"), headers)


def _write(request: Request, target: Target, tx: Transaction, path: DataPath, given: str | None) -> rows.Written:
    content = content_of(request)
    if path.kind == "attributegroup":
        return rows.update(tx, path, content, given)
    if request.method == "PUT":
        return rows.upsert(tx, path, content, given)
    actions = target.query.get("onconflict", ())
    if len(actions) > 1:
        raise BadRequest("Query parameter onconflict must have one value.")
    return rows.insert(
        tx,
        path,
        content,
        given,
        defaults=target.query.get("defaults", ()),
        nondefaults=target.query.get("nondefaults", ()),
        on_conflict=actions[0] if actions else None,
    )
