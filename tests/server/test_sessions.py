"""Who a request over HTTP comes from, and ``/authn``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from deriva_ml.server.app import create_folder, local_client, open_service
from deriva_ml.server.sessions import COOKIE, Gate
from deriva_ml.server.users import Users, users_of
from deriva_ml.wire.http import Client, Request, Response


def echo(request: Request, client: Client) -> Response:
    return Response(200, {"content-type": "text/plain"}, f"{client.id}".encode())


class Site:
    def __init__(self, root: Path) -> None:
        self.users = users_of(root)
        self.tokens = {name: self.users.add(name, password=f"{name} secret", groups=["lab"]) for name in ("ann", "bob")}
        self.gate = Gate(echo, {"owner": local_client()}, self.users)

    def __call__(
        self, method: str, target: str, secret: str | None = None, body: bytes | None = None, **more: str
    ) -> Response:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if secret is not None:
            headers["authorization"] = f"Bearer {secret}"
        return self.gate(Request(method, target, headers, body))

    def sign_in(self, name: str, password: str) -> Response:
        return self("POST", "/authn/session", body=urlencode({"username": name, "password": password}).encode())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.users.close()


def cookie_of(answer: Response) -> str:
    return answer.headers["set-cookie"].split(";")[0]


def test_tokens_and_cookies_say_who_asks(site: Site) -> None:
    for name, token in site.tokens.items():
        assert site("GET", "/x", token).read() == name.encode()
        assert site("GET", "/x", cookie=f"a=b; {COOKIE}={token}; c=d").read() == name.encode()
    assert site("GET", "/x").read() == b"None"
    assert site("GET", "/x", cookie=f"{COOKIE}=old").read() == b"None"
    assert site("GET", "/x", cookie="other=1").read() == b"None"


@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer ", "Bearer", "Basic YTpi", "", "wrong"])
def test_who_presents_a_wrong_token_is_refused_even_with_a_good_cookie(site: Site, given: str) -> None:
    answer = site("GET", "/x", authorization=given, cookie=f"{COOKIE}={site.tokens['ann']}")
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_folder_without_users_is_closed_to_all_but_the_owner_s_token(tmp_path: Path) -> None:
    gate = Gate(echo, {"owner": local_client()}, Users(tmp_path / "users.db"))
    for headers in ({}, {"cookie": f"{COOKIE}=x"}, {"authorization": "Bearer x"}):
        for target in ("/x", "/authn/session", "/ermrest/"):
            for method in ("GET", "POST", "PUT", "DELETE"):
                assert gate(Request(method, target, headers)).status == 401
    known = gate(Request("GET", "/x", {"authorization": "Bearer owner"}))
    assert known.read() == str(local_client().id).encode()


def test_a_session_from_beginning_to_end(site: Site) -> None:
    assert site("GET", "/authn/session").status == 404
    began = site.sign_in("ann", "ann secret")
    assert began.status == 200
    attributes = began.headers["set-cookie"].split("; ")[1:]
    assert {"Path=/", "HttpOnly", "SameSite=Lax"} < set(attributes)
    assert "Secure" not in attributes
    cookie = cookie_of(began)
    document = json.loads(site("GET", "/authn/session", cookie=cookie).read())
    assert document["client"] == {"id": "ann", "display_name": "ann"}
    assert [one["id"] for one in document["attributes"]] == ["ann", "lab"]
    assert document["vary_headers"] == ["cookie"]
    assert document["tracking"] is None
    assert document["seconds_remaining"] > 3600
    assert document["since"] < document["expires"]
    prolonged = site("PUT", "/authn/session", cookie=cookie)
    assert cookie_of(prolonged) == cookie
    later = json.loads(prolonged.read())
    assert later["expires"] > document["expires"]
    assert later["since"] == document["since"]
    ended = site("DELETE", "/authn/session", cookie=cookie)
    assert (ended.status, json.loads(ended.read())) == (200, {"logout_url": "/"})
    assert "Max-Age=0" in ended.headers["set-cookie"]
    for method in ("GET", "PUT", "DELETE"):
        answer = site(method, "/authn/session", cookie=cookie)
        assert (answer.status, answer.read()) == (404, b"No existing login session found.\n")


def test_a_wrong_password_begins_nothing(site: Site) -> None:
    for name, password in (("ann", "wrong"), ("ann", ""), ("nobody", "x"), ("ann", "bob secret")):
        answer = site.sign_in(name, password)
        assert (answer.status, answer.read()) == (401, b"Session establishment failed.\n")
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"username=ann", b"&" * 100, b"{}"])
def test_a_form_that_is_none_begins_nothing(site: Site, body: bytes) -> None:
    assert site("POST", "/authn/session", body=body).status in (400, 401)


def test_a_long_form_is_not_read(site: Site) -> None:
    assert site("POST", "/authn/session", body=b"x", content_length="1000000").status == 400


def test_a_token_shows_its_user_and_survives_the_end_of_a_session(site: Site) -> None:
    token = site.tokens["bob"]
    assert json.loads(site("GET", "/authn/session", token).read())["client"]["id"] == "bob"
    assert site("PUT", "/authn/session", token).status == 200
    assert site("DELETE", "/authn/session", token).status == 200
    assert site("GET", "/x", token).read() == b"bob"


def test_removal_ends_token_and_session_at_once(site: Site) -> None:
    cookie = cookie_of(site.sign_in("ann", "ann secret"))
    site.users.remove("ann")
    assert site("GET", "/x", site.tokens["ann"]).status == 401
    assert site("GET", "/x", cookie=cookie).read() == b"None"
    assert site("GET", "/authn/session", cookie=cookie).status == 404
    assert site("GET", "/x", site.tokens["bob"]).read() == b"bob"


def test_cookies_are_for_tls_only_where_there_is_tls(site: Site) -> None:
    site.gate = Gate(echo, {}, site.users, is_secure=True)
    assert "Secure" in site.sign_in("ann", "ann secret").headers["set-cookie"].split("; ")


def test_a_page_of_another_origin_changes_nothing_with_the_user_s_cookie(site: Site) -> None:
    cookie = cookie_of(site.sign_in("ann", "ann secret"))
    for method in ("POST", "PUT", "DELETE"):
        for origin in ("http://evil.example", "null", "http://localhost:1"):
            assert site(method, "/x", cookie=cookie, origin=origin, host="localhost:8765").status == 403
        assert site(method, "/x", cookie=cookie, origin="http://localhost:8765", host="localhost:8765").status == 200
    assert site("GET", "/x", cookie=cookie, origin="http://evil.example", host="localhost:8765").status == 200
    # A token in a header is put there by a program, never by a browser on its own.
    assert site("POST", "/x", site.tokens["ann"], origin="http://evil.example", host="localhost:8765").status == 200


def test_what_clients_ask_before_they_sign_in(site: Site) -> None:
    assert json.loads(site("GET", "/authn/discovery").read()) == {}
    assert json.loads(site("GET", "/authn/preauth").read()).keys() == {"redirect_url", "authentication_type"}
    assert site("POST", "/authn/preauth").status == 405
    assert site("PATCH", "/authn/session").status == 405
    assert site("GET", "/authn/nothing").status == 404


def test_heads_have_no_content(site: Site) -> None:
    answer = site("HEAD", "/authn/session", site.tokens["ann"])
    assert (answer.status, answer.read()) == (200, b"")


def test_the_session_in_process_is_the_local_user_s(tmp_path: Path) -> None:
    create_folder(tmp_path)
    service = open_service(tmp_path)
    answer = service(Request("GET", "/authn/session"), local_client())
    document = json.loads(answer.read())
    service.close()
    assert document["client"]["id"] == local_client().id
    assert [one["id"] for one in document["attributes"]] == [local_client().id]
