"""The parts of ERMrest's answers and requests that all of its resources share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from deriva_ml.server.errors import BadRequest, ServiceError
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.model import Json

__all__ = ["EMPTY", "Answer", "content_of", "empty", "json_body", "json_text", "refusal", "text_body"]

HTML = "text/html; charset=utf-8"
TEXT = "text/plain"
JSON = "application/json"

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
    """A request's content as text."""
    try:
        return content_of(request).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("Request content is not valid UTF-8.") from error


def json_body(request: Request) -> Json:
    """A request's content as JSON."""
    try:
        document: Json = json.loads(text_body(request), parse_constant=_no_constant)
        # A lone half of a surrogate pair can be escaped in JSON and cannot be stored.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest("Could not deserialize JSON input.") from error
    return document


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")
