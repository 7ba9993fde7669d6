"""The parts of ERMrest's answers and requests that all of its resources share."""

from __future__ import annotations

import json
from dataclasses import field
from math import isfinite

from deriva_ml.core.values import dataclass
from deriva_ml.server.errors import BadRequest, ServiceError
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.json_text import read_json
from deriva_ml.wire.model import Json

__all__ = ["EMPTY", "Answer", "content_of", "empty", "json_body", "json_text", "refusal", "text_body"]

HTML = "text/html; charset=utf-8"
TEXT = "text/plain"
JSON = "application/json"

DEEPEST = 200
"""How deep a document may be nested. What is stored must be read again from wherever a caller's stack stands then."""

NO_SUCH_PAGE = (
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    "<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling "
    "and try again.</p>\n"
)


@dataclass(slots=True)
class Answer:
    """What a resource answers, before the fields that depend on the catalog's moment are added."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, headers: dict[str, str]) -> Response:
        """The response, with further fields."""
        return Response(self.status, {"content-type": self.content_type, **self.headers, **headers}, self.body)


EMPTY = b""


def empty(status: int = 204) -> Answer:
    """An answer without content."""
    return Answer(status, b"", HTML if status == 204 else TEXT)


def json_text(document: Json, *, end: bytes = b"\n") -> bytes:
    """A document as it is sent: compact, in UTF-8, one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + end


def refusal(error: ServiceError) -> Response:
    """The response for a refused request."""
    return Response(error.status, {"content-type": TEXT, **error.headers}, error.text.encode(errors="replace"))


def no_such_page() -> Response:
    """The response for a path that no resource has."""
    return Response(404, {"content-type": HTML}, NO_SUCH_PAGE.encode())


def content_of(request: Request) -> bytes:
    """All of a request's content."""
    body = request.body
    if body is None:
        return b""
    return body if isinstance(body, bytes) else body.read()


def text_body(request: Request) -> str:
    """A request's content as text that can be stored."""
    try:
        text = content_of(request).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("Request content is not valid UTF-8.") from error
    if "\0" in text:
        raise BadRequest("Request content holds a NUL character, which cannot be stored.")
    return text


def json_body(request: Request) -> Json:
    """A request's content as JSON that can be stored, and be written as JSON again."""
    try:
        document = read_json(text_body(request), exact=False)
        _check_depth_and_numbers(document)
    except ValueError as error:
        raise BadRequest("Could not deserialize JSON input.") from error
    return document


def _check_depth_and_numbers(document: Json) -> None:
    level: list[Json] = [document]
    for _ in range(DEEPEST + 1):
        below: list[Json] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, float) and not isfinite(value):
                raise ValueError("a number is out of range")
        if not below:
            return
        level = below
    raise ValueError("nested too deeply")
