"""What a request to the object store says of the content that it brings, or of the part that it asks for."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import IO
from urllib.parse import quote, unquote

from deriva_ml.core.files import Digests
from deriva_ml.server.objects import Incoming
from deriva_ml.server.replies import Refusal, url_of
from deriva_ml.wire.hatrac import UnknownResource, parse_digest, parse_disposition, parse_object_target, parse_range
from deriva_ml.wire.http import Request

__all__ = [
    "announced",
    "body_of",
    "canonical_metadata",
    "check_received",
    "default_disposition",
    "digest_mismatch",
    "document_body",
    "media_type",
    "range_of",
    "read_json",
    "rename_command",
]


CONTENT_TYPE = re.compile(r"[!-~](?:[ -~]{0,998}[!-~])?")
"""What can be sent back in a field of an answer."""

DISPOSITION_LIMIT = 8192
"""The longest Content-Disposition: readers of HTTP refuse long fields."""

DOCUMENT_LIMIT = 1 << 22
"""The longest document that is read, in bytes: access lists, descriptions of uploads, metadata, commands."""


def media_type(request: Request) -> str:
    """The media type of a request's body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def body_of(request: Request) -> bytes | IO[bytes] | None:
    """A request's body, whose length must be known."""
    if "chunked" in request.headers.get("transfer-encoding", "") and "content-length" not in request.headers:
        raise Refusal(411, "Content-Length header required.")
    return request.body


def announced(request: Request, content_type: str) -> dict[str, str]:
    """What the client says of the content, in the form in which it is kept."""
    given: dict[str, str] = {}
    if content_type:
        given["content-type"] = content_type
    for name in ("content-md5", "content-sha256", "content-disposition"):
        if value := request.headers.get(name, "").strip():
            given[name] = value
    return canonical_metadata(given)


def canonical_metadata(given: dict[str, str]) -> dict[str, str]:
    """Metadata with digests in base64.

    Raises:
        Refusal: A value cannot be accepted.
    """
    try:
        if "content-type" in given and not CONTENT_TYPE.fullmatch(given["content-type"]):
            raise ValueError(f"Cannot accept content-type {given['content-type'][:100]!r}.")
        if len(given.get("content-disposition", "")) > DISPOSITION_LIMIT:
            raise ValueError(f"Cannot accept content-disposition of more than {DISPOSITION_LIMIT} characters.")
        if "content-disposition" in given:
            parse_disposition(given["content-disposition"])
        sizes = {"content-md5": 16, "content-sha256": 32}
        digests = {n: b64encode(parse_digest(given[n], size)).decode() for n, size in sizes.items() if n in given}
    except ValueError as error:
        raise Refusal(400, str(error)) from error
    return {**given, **digests}


def check_received(request: Request, incoming: Incoming, metadata: dict[str, str]) -> None:
    """Refuse content that is not what the client announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) != incoming.digests.length:
        # Not a 400: the object must not come into being because a connection broke.
        raise Refusal(408, f"Received {incoming.digests.length} of {announced} bytes.")
    if mismatch := digest_mismatch(incoming.digests, metadata):
        kind, received, expected = mismatch
        raise Refusal(400, f"Received content {kind} {received} does not match expected {expected}.")


def digest_mismatch(digests: Digests, metadata: dict[str, str]) -> tuple[str, str, str] | None:
    """The first digest that is not as announced: its kind, what it is, and what it should be."""
    for name, kind, actual in (
        ("content-md5", "MD5", digests.md5_base64),
        ("content-sha256", "SHA256", digests.sha256_base64),
    ):
        if name in metadata and metadata[name] != actual:
            return kind, actual, metadata[name]
    return None


def range_of(request: Request, url: str, length: int, etag: str) -> tuple[int, int] | None:
    """First and last position of the part that a request asks for; None for all.

    Args:
        request: The request.
        url: What it is about.
        length: Length of the content.
        etag: The tag of the content: a part of other content than the client has (``If-Range``) is of no use to it.
    """
    given = request.headers.get("range")
    if given is None or request.headers.get("if-range", etag).strip() != etag:
        return None
    try:
        parts = parse_range(given, length)
    except UnknownResource as error:
        raise Refusal(501, f'Range requests with units "{error}" not implemented.') from error
    if parts is None:
        return None
    if not parts:
        raise Refusal(416, f"Range not satisfiable for resource {url}.", {"content-range": f"bytes */{length}"})
    if len(parts) > 1:
        raise Refusal(501, f"Multiple range request not implemented for resource {url}.")
    return parts[0]


def default_disposition(path: str) -> str:
    """A file name for content that has none of its own: the last part of the object's name."""
    segment = unquote(path.rpartition("/")[2], errors="replace").replace("/", "_").replace("\\", "_")
    return f"filename*=UTF-8''{quote(segment, safe='')}"


def rename_command(request: Request) -> tuple[str, list[str] | None, bool]:
    """Source, versions (None for all), and whether access lists go along."""
    if media_type(request) != "application/json":
        raise Refusal(400, "Only application/json input is accepted for commands.")
    command = read_json(request)
    if not isinstance(command, dict):
        raise Refusal(400, "Command input must be a JSON object.")
    known = {"command", "source_name", "source_versions", "versions", "copy_acls"}
    if command.get("command") != "rename_from" or set(command) - known:
        raise Refusal(400, "Unknown command or unknown fields; only rename_from is understood.")
    source, wanted = command.get("source_name"), command.get("source_versions", command.get("versions"))
    is_list = wanted is None or (isinstance(wanted, list) and all(isinstance(item, str) for item in wanted))
    if not isinstance(source, str) or not is_list or not isinstance(command.get("copy_acls", False), bool):
        raise Refusal(400, "A field of the command is missing or of the wrong type.")
    try:
        name = parse_object_target(url_of(source)).name
    except ValueError as error:
        raise Refusal(400, f"Not an object's name: {source}") from error
    return name, wanted, command.get("copy_acls", False)


def document_body(request: Request) -> bytes:
    """A request's body that is a document, and so not long.

    Raises:
        Refusal: It is longer than any document is.
    """
    body = request.body or b""
    content = body if isinstance(body, bytes) else body.read(DOCUMENT_LIMIT + 1)
    if len(content) > DOCUMENT_LIMIT:
        raise Refusal(413, f"Request body is longer than {DOCUMENT_LIMIT} bytes.")
    return content


def read_json(request: Request, message: str = "Error reading JSON input.") -> object:
    """The JSON document in a request's body."""
    try:
        return json.loads(document_body(request))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, message) from error
