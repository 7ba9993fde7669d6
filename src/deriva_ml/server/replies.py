"""What the object store answers: documents, lists, refusals, and the rules of preconditions and rights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from http import HTTPStatus

from deriva_ml.server.access import is_local
from deriva_ml.server.names import Name, Version
from deriva_ml.wire.hatrac import MOUNT, parse_tags
from deriva_ml.wire.http import Client, Request, Response
from deriva_ml.wire.model import Json
from deriva_ml.wire.negotiate import accepted

__all__ = [
    "Refusal",
    "check_tag",
    "content_tag",
    "created",
    "document",
    "done",
    "enforce",
    "lines",
    "not_found",
    "permitted",
    "readable",
    "text",
    "url_of",
    "wrong_method",
]

ERROR_PAGE = """<!doctype html>
<html lang=en>
<title>{status} {phrase}</title>
<h1>{phrase}</h1>
<p>{text}</p>
"""

LINK_PAGE = """<!doctype html>
<html lang=en>
<title>{title}</title>
<h1>{title}</h1>
<ul>
{items}</ul>
"""

LISTS = {"application/json": "json", "text/uri-list": "uris", "text/html": "html"}
REFUSALS = {"text/plain": "text", "text/html": "html"}

WRONG_METHOD = "The method is not allowed for the requested URL."
NO_RESOURCE = (
    "The requested URL was not found on the server. "
    "If you entered the URL manually please check your spelling and try again."
)


class Refusal(Exception):
    """A request is refused; the answer says why in one line."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        body = f"{message}\n".encode()
        fields = {"content-type": "text/plain", "content-length": str(len(body))}
        self.answer = Response(status, {**fields, **(headers or {})}, body)


def url_of(path: str, version: str | None = None) -> str:
    """The URL path of a name, or of a version of it."""
    return MOUNT + (path or "/") + (f":{version}" if version else "")


def not_found(what: str) -> Refusal:
    """There is no such thing."""
    return Refusal(404, f"Resource {what} not found.")


def _page(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = ERROR_PAGE.format(status=status, phrase=HTTPStatus(status).phrase, text=message).encode()
    fields = {"content-type": "text/html; charset=utf-8", "content-length": str(len(body))}
    return Response(status, {**fields, **(headers or {})}, body)


def readable(request: Request, refusal: Response) -> Response:
    """A refusal as a page, for who would rather have that than a line of text."""
    line = refusal.read()
    is_line = bool(line) and refusal.headers.get("content-type") == "text/plain"
    if not is_line or accepted(request.headers.get("accept"), REFUSALS) != "html":
        return refusal
    from html import escape  # pages are rare, and its table of entities is large

    page = ERROR_PAGE.format(
        status=refusal.status, phrase=HTTPStatus(refusal.status).phrase, text=escape(line.decode().strip())
    )
    body = page.encode("ascii", "xmlcharrefreplace")
    headers = {**refusal.headers, "content-type": "text/html", "content-length": str(len(body))}
    return Response(refusal.status, headers, body)


def no_resource() -> Response:
    """The URL is of no kind that the store knows."""
    return _page(404, NO_RESOURCE)


def wrong_method(allowed: str) -> Response:
    """The resource does not know the method."""
    return _page(405, WRONG_METHOD, {"allow": allowed})


def done() -> Response:
    """It was done, and there is nothing to say."""
    return Response(204, {"content-type": "text/html; charset=utf-8"})


def created(*urls: str, location: bool = True) -> Response:
    """Something was made: its URL."""
    body = "".join(f"{url}\n" for url in urls).encode()
    headers = {"content-type": "text/uri-list", "content-length": str(len(body))}
    if location:
        headers["location"] = urls[0]
    return Response(201, headers, body)


def _tagged(request: Request, content_type: str, body: bytes, *, etag: bool = True) -> Response:
    headers = {"content-type": content_type, "content-length": str(len(body)), "vary": "cookie"}
    if etag:
        headers["etag"] = content_tag(body)
        check_tag(request, headers["etag"])
    return Response(200, headers, body)


def content_tag(content: bytes) -> str:
    """An entity tag that changes with the content."""
    return f'"{hashlib.sha256(content).hexdigest()[:24]}"'


def document(request: Request, value: Json, *, etag: bool = True) -> Response:
    """A JSON document."""
    return _tagged(request, "application/json", f"{json.dumps(value)}\n".encode(), etag=etag)


def text(request: Request, value: str) -> Response:
    """A line of text."""
    return _tagged(request, "text/plain", f"{value}\n".encode())


def lines(request: Request, urls: list[str], *, etag: bool = True) -> Response:
    """A list of URLs: as JSON, or one per line or as a page of links for who asks for that."""
    form = accepted(request.headers.get("accept"), LISTS)
    if form == "uris":
        return _tagged(request, "text/uri-list", ("\n".join(urls) + "\n").encode(), etag=etag)
    if form == "html":
        from html import escape

        items = "".join(f'<li><a href="{escape(url)}">{escape(url)}</a></li>\n' for url in urls)
        page = LINK_PAGE.format(title=escape(request.target.partition("?")[0]), items=items)
        return _tagged(request, "text/html", page.encode("ascii", "xmlcharrefreplace"), etag=etag)
    return document(request, list(urls), etag=etag)


def check_tag(request: Request, etag: str | None) -> None:
    """Check a request's preconditions against the tag of what is there.

    Args:
        request: The request.
        etag: The tag, in quotes; None if nothing is there.

    Raises:
        Refusal: Status 304 for reading what the client has already; 412 for anything else that does not fit.
    """
    name = (etag or "").strip('"')
    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    fields = {"etag": etag or "None", "vary": "cookie"}
    if wanted is not None and (etag is None or not parse_tags(wanted) & {name, "*"}):
        raise Refusal(412, "Resource state does not match requested preconditions.", fields)
    if unwanted is not None and etag is not None and parse_tags(unwanted) & {name, "*"}:
        if request.method in {"GET", "HEAD"}:
            refusal = Refusal(304, "")
            refusal.answer = Response(304, fields)
            raise refusal
        raise Refusal(412, "Resource state does not match requested preconditions.", fields)


def permitted(client: Client, access: Collection[str], own: Name | Version, above: Collection[Name | None]) -> bool:
    """Whether a client holds a right on something.

    Args:
        client: Who asks.
        access: The lists that grant the right, such as ``read`` and ``owner``.
        own: The thing.
        above: What it lies in; its ``subtree-`` lists count too.
    """
    if is_local(client):
        return True
    roles = {"*", *client.roles, *([client.id] if client.id else [])}
    if any(roles & set(own.acls.get(kind, ())) for kind in access):
        return True
    return any(
        roles & set(name.acls.get(f"subtree-{kind}", ())) for name in above if name is not None for kind in access
    )


def enforce(
    client: Client, access: Collection[str], own: Name | Version, above: Collection[Name | None], url: str
) -> None:
    """Refuse a client that does not hold a right.

    Raises:
        Refusal: Status 401 for a client that nobody knows, 403 for another.
    """
    if not permitted(client, access, own, above):
        if client.id is None:
            raise Refusal(401, f"Authentication required for access to {url}")
        raise Refusal(403, f"Access to {url} forbidden.")
