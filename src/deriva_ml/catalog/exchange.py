"""One request and its whole answer, with what the catalog objects to raised as an error."""

from __future__ import annotations

import json
from typing import Any

from deriva_ml.catalog.transport import Retry, Transport
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.targets import CATALOGS

__all__ = ["check", "json_body", "read_whole"]


def check(request: Request, answer: Response) -> Response:
    """Give the answer if it is one; raise what the catalog objects to.

    Raises:
        DerivaMLAuthenticationError: The catalog does not know the client, or grants too little.
        DerivaMLCatalogError: Any other refusal.
    """
    if answer.status < 400:
        return answer
    detail = answer.read().decode("utf-8", "replace").strip()
    if answer.status in {401, 403}:
        unknown = answer.status == 401
        raise DerivaMLAuthenticationError(
            f"The catalog {'does not know who asks' if unknown else 'does not allow this'} ({answer.status}): {detail}",
            source=f"{request.method} {request.target[:200]}",
            hint=_hint(request, unknown=unknown),
        )
    raise DerivaMLCatalogError(answer.status, detail, method=request.method, target=request.target[:500])


def _hint(request: Request, *, unknown: bool) -> str:
    if unknown:
        return "log in with deriva-auth, or set DERIVA_ML_TOKEN for a served folder"
    if request.method == "POST" and request.target == CATALOGS:
        return "who is to make catalogs belongs to the group admin; in a served folder: deriva-ml-catalog group add"
    return "ask the owner of the catalog for the right"


def read_whole(transport: Transport, request: Request, retry: Retry) -> Response:
    """Send a request and read all of its answer; a connection lost in the middle of one that only reads is retried."""
    attempt = 1
    while True:
        answer = transport.send(request)  # which has tried again itself, if that could help
        try:
            answer.read()
        except DerivaMLUnreachable:
            if request.method not in {"GET", "HEAD"} or not retry.again(attempt):
                raise
            attempt += 1
        else:
            return check(request, answer)


def json_body(document: Any) -> bytes:
    """A document as the body of a request.

    Raises:
        DerivaMLValidationError: A text in it is none.
    """
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DerivaMLValidationError(
            f"No catalog can hold the text {text[max(0, error.start - 40) : error.end]!r}.",
            hint="it holds half of a surrogate pair, as bytes do that were read as text and are none",
        ) from error
