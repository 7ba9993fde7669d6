"""Who comes over HTTP, and ``/authn``: bearer tokens, cookie sessions, clients whom nobody knows.

A request says who sends it by ``Authorization: Bearer SECRET`` or by the cookie ``webauthn=SECRET``; either takes a
token or a session. What it says is decided for each request anew:

1. A bearer secret that is nobody's is refused: who presents one wants to be known by it.
2. A cookie that is nobody's counts as none: it may be an old one, and public things are still public.
3. Who is not known reaches the service as an anonymous client, and its access lists decide; a folder without users
   has nobody to show anything to, and asks everyone for the token that its server was started with.
4. A cookie is sent by a browser whether its user wants it or not, so it moves nothing for pages of another origin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.answers import Answer, content_of, json_text, no_such_page, refusal
from deriva_ml.server.errors import BadRequest, Forbidden, MethodNotAllowed, ServiceError
from deriva_ml.server.users import SESSION_SECONDS, Session, Users
from deriva_ml.wire.http import ANONYMOUS, Client, Request, Response
from deriva_ml.wire.model import Document, Json

__all__ = ["COOKIE", "Gate", "session_answer"]

COOKIE = "webauthn"

FORM_LIMIT = 1 << 16
"""The longest sign-in form that is read, in bytes."""

SAFE = ("GET", "HEAD", "OPTIONS")

NO_SESSION = "No existing login session found.\n"

Service = Callable[[Request, Client], Response]


class Gate:
    """The service for requests that come over HTTP.

    Args:
        service: The service behind the gate.
        tokens: Who holds which token, beside the users.
        users: The users of the folder.
        is_secure: Requests come over TLS, so cookies are never to be sent otherwise.
    """

    def __init__(
        self,
        service: Service,
        tokens: Mapping[str, Client] | None = None,
        users: Users | None = None,
        *,
        is_secure: bool = False,
    ) -> None:
        self._service = service
        # Tokens are looked up by their hash: neither their text nor the time a comparison takes is given away.
        self._clients = {_fingerprint(token): client for token, client in (tokens or {}).items()}
        self._users = users
        self._is_secure = is_secure

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        try:
            return self._admit(request)
        except ServiceError as error:
            return refusal(error)

    def _admit(self, request: Request) -> Response:
        bearer = _bearer(request)
        secret = _cookie(request) if bearer is None else bearer
        session = self._known(secret)
        if session is None and (bearer is not None or not self._has_users()):
            return _unknown()
        if session is not None and bearer is None:
            _need_same_origin(request)
        path = request.target.partition("?")[0].rstrip("/")
        if path.startswith("/authn/"):
            return self._authn(path, request, session, secret)
        return self._service(request, session.client if session else ANONYMOUS)

    def _has_users(self) -> bool:
        return self._users is not None and self._users.exist()

    def _known(self, secret: str) -> Session | None:
        if not secret:
            return None
        client = self._clients.get(_fingerprint(secret))
        if client is not None:
            return Session(client, time.time(), None)
        return self._users.known(secret) if self._users is not None else None

    # ------------------------------------------------------------------------------------------ /authn

    def _authn(self, path: str, request: Request, session: Session | None, secret: str) -> Response:
        if path in ("/authn/preauth", "/authn/discovery"):
            return _preparation(path, request)
        if path != "/authn/session":
            return no_such_page()
        if request.method == "POST":
            return self._sign_in(request)
        if request.method not in (*SAFE, "PUT", "DELETE"):
            raise MethodNotAllowed((*SAFE, "PUT", "POST", "DELETE"))
        if request.method == "OPTIONS":
            return Response(200, {"allow": ", ".join((*SAFE, "PUT", "POST", "DELETE"))})
        if session is None:
            return session_answer(request, ANONYMOUS)
        if request.method == "DELETE":
            return self._sign_out(secret)
        headers = {}
        if request.method == "PUT" and self._users is not None and session.expires is not None:
            self._users.prolong(secret)
            session = self._known(secret) or session
            headers = {"set-cookie": self._set_cookie(secret)}
        return session_answer(request, session.client, since=session.since, expires=session.expires, headers=headers)

    def _sign_in(self, request: Request) -> Response:
        name, password = _form(request)
        secret = self._users.sign_in(name, password) if self._users is not None else None
        session = self._known(secret) if secret else None
        if secret is None or session is None:
            return Response(401, _plain(), b"Session establishment failed.\n")
        headers = {"set-cookie": self._set_cookie(secret)}
        return session_answer(request, session.client, since=session.since, expires=session.expires, headers=headers)

    def _sign_out(self, secret: str) -> Response:
        if self._users is not None:
            self._users.sign_out(secret)
        headers = {"set-cookie": self._set_cookie("", 0), "cache-control": "no-store"}
        return Answer(body=json_text({"logout_url": "/"})).response(headers)

    def _set_cookie(self, secret: str, seconds: int = SESSION_SECONDS) -> str:
        secure = "; Secure" if self._is_secure else ""
        return f"{COOKIE}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def session_answer(
    request: Request,
    client: Client,
    *,
    since: float | None = None,
    expires: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Who the client is: the document of ``/authn/session``.

    Args:
        request: The request.
        client: The client.
        since: When the session began, in seconds since 1970; by default now.
        expires: When it ends; by default it has always its full time before it.
        headers: Further fields of the answer.
    """
    if client.id is None:
        return Response(404, _plain(), NO_SESSION.encode())
    who: Document = {"id": client.id, "display_name": client.display_name or client.id}
    for name, value in (("full_name", client.full_name), ("email", client.email)):
        if value is not None:
            who[name] = value
    now = time.time()
    since, expires = since or now, expires or now + SESSION_SECONDS
    attributes: list[Json] = [dict(who)]
    attributes.extend({"id": role, "display_name": role} for role in sorted(client.roles - {LOCAL_ROLE, client.id}))
    document: Document = {
        "client": who,
        "attributes": attributes,
        "since": datetime.fromtimestamp(since, UTC).isoformat(" "),
        "expires": datetime.fromtimestamp(expires, UTC).isoformat(" "),
        "seconds_remaining": max(0, int(expires - now)),
        "vary_headers": ["cookie"],
        "tracking": None,
    }
    fields = {"cache-control": "no-store", "vary": "cookie", **(headers or {})}
    return Answer(body=b"" if request.method == "HEAD" else json_text(document)).response(fields)


def _preparation(path: str, request: Request) -> Response:
    """What a client asks before it signs in: how that is done, and which other services it could sign in with."""
    if request.method not in SAFE:
        raise MethodNotAllowed(SAFE)
    document: Document = {}
    if path == "/authn/preauth":
        document = {"authentication_type": "password", "redirect_url": "/authn/session"}
    return Answer(body=b"" if request.method == "HEAD" else json_text(document)).response({"cache-control": "no-store"})


def _unknown() -> Response:
    # The connection stays: were it closed on who is still sending, the answer would often be lost.
    fields = {**_plain(), "www-authenticate": "Bearer"}
    return Response(401, fields, b"Access requires authentication.\n")


def _plain() -> dict[str, str]:
    return {"content-type": "text/plain", "cache-control": "no-store"}


def _fingerprint(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _bearer(request: Request) -> str | None:
    """The bearer secret; empty where there is something else in its place, which nobody has."""
    given = request.headers.get("authorization")
    if given is None:
        return None
    scheme, _, secret = given.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _cookie(request: Request) -> str:
    for part in request.headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value.strip().strip('"')
    return ""


def _need_same_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if request.method in SAFE or origin is None:
        return
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden(f"a page of {origin} cannot act in the name of who is signed in here")


def _form(request: Request) -> tuple[str, str]:
    """User name and password of a sign-in form."""
    length = request.headers.get("content-length", "")
    if not isinstance(request.body, bytes | None) or (length.isdigit() and int(length) > FORM_LIMIT):
        raise BadRequest("A sign-in form is sent with its length, and is short.")
    try:
        fields = parse_qs(content_of(request).decode(), keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise BadRequest("The sign-in form cannot be read.") from error
    return fields.get("username", [""])[0], fields.get("password", [""])[0]
