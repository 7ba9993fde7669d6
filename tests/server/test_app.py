"""The service as a whole: folders, sessions, negotiation, preconditions, catalogs and aliases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.core.config import MARKER
from deriva_ml.server.app import FolderError, Service, create_folder, local_client, open_service
from deriva_ml.wire.http import ANONYMOUS, Client, Request, Response

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
TABLE = {
    "table_name": "T",
    "column_definitions": [*SYSTEM, {"name": "a", "type": {"typename": "text"}}],
    "keys": [{"unique_columns": ["RID"]}],
}


def send(
    service: Service,
    method: str,
    target: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    client: Client | None = None,
) -> Response:
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return service(Request(method, target, headers or {}, content), client or local_client())


def digests(root: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with catalog 1, which has the table ``s:T``."""
    create_folder(tmp_path)
    opened = open_service(tmp_path)
    for target, body in (("catalog", None), ("catalog/1/schema/s", None), ("catalog/1/schema/s/table", TABLE)):
        assert send(opened, "POST", f"/ermrest/{target}", body).status == 201
    yield opened
    opened.close()


# ---------------------------------------------------------------------------------------------- folders


def test_a_folder_has_one_identity_for_good(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    create_folder(root, identity="me")
    create_folder(root, identity="you")
    service = open_service(root)
    assert service.identity == "me"
    assert send(service, "GET", "/ermrest/").read().decode().count('"identity":"me"') == 1
    service.close()
    other = tmp_path / "c"
    create_folder(other)
    opened = open_service(other)
    assert len(opened.identity) == 36
    opened.close()


def test_what_is_not_a_folder_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="not a catalog"):
        open_service(tmp_path)
    with pytest.raises(FolderError, match="There is no catalog folder"):
        open_service(tmp_path / "absent")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(FolderError, match="not a folder"):
        create_folder(file)
    (tmp_path / MARKER).write_text("{")
    with pytest.raises(FolderError, match="cannot be read"):
        open_service(tmp_path)
    (tmp_path / MARKER).write_text('{"format": 99, "identity": "x"}')
    with pytest.raises(FolderError, match="format 99"):
        open_service(tmp_path)


def test_reading_a_folder_leaves_every_byte_as_it_was(service: Service) -> None:
    send(service, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "x"}])
    service.close()
    before = digests(service.root)
    again = open_service(service.root)
    for target in ("/ermrest/", "/ermrest/catalog/1", "/ermrest/catalog/1/schema", "/ermrest/catalog/1/entity/s:T"):
        assert send(again, "GET", target).status == 200
    assert send(again, "GET", "/hatrac/").status == 200
    assert send(again, "GET", "/authn/session").status == 200
    assert send(again, "DELETE", "/ermrest/catalog/1/entity/s:T/a=none").status == 404
    again.close()
    assert digests(service.root) == before


def test_the_first_write_lets_an_older_marker_record_its_place(tmp_path: Path) -> None:
    create_folder(tmp_path / "old", identity="me")
    marker = tmp_path / "old" / MARKER
    marker.write_text('{"format": 1, "identity": "me"}')
    opened = open_service(tmp_path / "old")
    send(opened, "GET", "/ermrest/")
    assert marker.read_text() == '{"format": 1, "identity": "me"}'
    send(opened, "POST", "/ermrest/catalog")
    opened.close()
    assert json.loads(marker.read_text())["place"]["inode"] == marker.stat().st_ino


# ---------------------------------------------------------------------------------------------- sessions and routing


def test_a_session_says_who_the_client_is(service: Service) -> None:
    me = json.loads(send(service, "GET", "/authn/session").read())
    assert me["client"]["id"] == local_client().id
    assert me["attributes"] == [me["client"]]
    anonymous = send(service, "GET", "/authn/session", client=ANONYMOUS)
    assert (anonymous.status, anonymous.read()) == (404, b"No existing login session found.\n")
    known = Client("u", "U", frozenset({"u", "g"}), "U U", "u@example.org")
    them = json.loads(send(service, "GET", "/authn/session", client=known).read())
    assert [one["id"] for one in them["attributes"]] == ["u", "g"]
    assert send(service, "DELETE", "/authn/session").status == 405


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/ermrest", 308),
        ("GET", "/elsewhere", 404),
        ("GET", "/ermrest/nothing", 404),
        ("GET", "/ermrest/catalog/1/nothing", 404),
        ("GET", "/ermrest/catalog/1/schema/s/table/T/referencedby", 404),
        ("GET", "/ermrest/catalog/1/entity_rid/", 404),
        ("GET", "/ermrest/catalog/1/history", 404),
        ("GET", "/ermrest/catalog/7", 404),
        ("PATCH", "/ermrest/catalog/1", 405),
        ("POST", "/ermrest/catalog/1/attribute/s:T/a", 405),
        ("DELETE", "/ermrest/catalog/1/annotation", 405),
        ("GET", "/ermrest/catalog/1/entity/s:T/", 400),
        ("GET", "/ermrest/catalog/1/schema/s/table/T/key/a,b", 409),
        ("GET", "/ermrest/catalog/1/schema/s/table/T/key/a", 404),
        ("GET", "/ermrest/catalog/1/schema/none/table", 409),
        ("GET", "/ermrest/catalog/1/schema/s/table/none/column", 409),
        ("GET", "/ermrest/catalog/1/schema/s:x/table", 400),
        ("GET", "/ermrest/catalog/1/textfacet/x", 200),
        ("POST", "/ermrest/catalog/1?vacuum", 204),
        ("PUT", "/ermrest/catalog/1/history/A,B/annotation", 400),
        ("GET", "/ermrest/catalog/1/schema/s/", 200),
        ("GET", "/ermrest/catalog/1/schema/s/table/T/", 200),
    ],
)
def test_targets_lead_where_they_should(service: Service, method: str, target: str, status: int) -> None:
    assert send(service, method, target).status == status


def test_head_and_options_tell_without_content(service: Service) -> None:
    full = send(service, "GET", "/ermrest/catalog/1/schema")
    head = send(service, "HEAD", "/ermrest/catalog/1/schema")
    assert head.read() == b""
    assert head.headers["content-length"] == str(len(full.read()))
    assert head.headers["etag"] == full.headers["etag"]
    options = send(service, "OPTIONS", "/ermrest/catalog/1/entity/s:T")
    assert options.headers["allow"] == "GET, POST, PUT, DELETE, HEAD, OPTIONS"
    assert send(service, "OPTIONS", "/ermrest/catalog").headers["allow"] == "POST, OPTIONS"


# ---------------------------------------------------------------------------------------------- negotiation, ETags


@pytest.mark.parametrize(
    ("query", "accept", "media"),
    [
        ("", None, "application/json"),
        ("", "*/*", "application/json"),
        ("", "text/html", "application/json"),
        ("", "text/csv", "text/csv"),
        ("", "text/csv;q=0.5, application/json", "application/json"),
        ("", "application/json;q=0.2,text/csv;q=0.9", "text/csv"),
        ("", "application/x-json-stream", "application/x-json-stream"),
        ("?accept=csv", "application/json", "text/csv"),
        ("?accept=application%2Fx-json-stream", None, "application/x-json-stream"),
        ("?accept=unknown", "text/csv", "text/csv"),
    ],
)
def test_the_answer_comes_in_the_form_that_is_asked_for(
    service: Service, query: str, accept: str | None, media: str
) -> None:
    headers = {"accept": accept} if accept else {}
    answer = send(service, "GET", f"/ermrest/catalog/1/entity/s:T{query}", headers=headers)
    assert answer.headers["content-type"] == media


def test_writes_answer_in_the_form_of_their_input(service: Service) -> None:
    target = "/ermrest/catalog/1/entity/s:T"
    answer = send(service, "POST", target, b"a\nx\n", {"content-type": "text/csv; charset=utf-8"})
    assert answer.headers["content-type"] == "text/csv"
    answer = send(service, "POST", target, b"a\ny\n", {"content-type": "text/csv", "accept": "application/json"})
    assert json.loads(answer.read())[0]["a"] == "y"
    assert send(service, "POST", target, b"<a/>", {"content-type": "text/xml"}).status == 415
    named = send(service, "GET", f"{target}?accept=csv&download=my%20rows")
    assert named.headers["content-disposition"] == "attachment; filename*=UTF-8''my%20rows.csv"


def test_tags_change_with_every_commit_and_answer_304_until_then(service: Service) -> None:
    data, model = "/ermrest/catalog/1/entity/s:T", "/ermrest/catalog/1/schema"
    tags = {target: send(service, "GET", target).headers["etag"] for target in (data, model)}
    for target, tag in tags.items():
        same = send(service, "GET", target, headers={"if-none-match": f'"x", W/{tag[:-1]}-gzip"'})
        assert (same.status, same.read(), same.headers["etag"]) == (304, b"", tag)
    posted = send(service, "POST", data, [{"a": "x"}])
    assert posted.headers["etag"] == send(service, "GET", data).headers["etag"] != tags[data]
    assert send(service, "GET", model).headers["etag"] == tags[model]
    send(service, "PUT", "/ermrest/catalog/1/schema/s/comment", b"c")
    assert send(service, "GET", model).headers["etag"] != tags[model]
    assert send(service, "GET", data, headers={"accept": "text/csv"}).headers["etag"] != posted.headers["etag"]


def test_preconditions_guard_changes(service: Service) -> None:
    target = "/ermrest/catalog/1/entity/s:T"
    tag = send(service, "GET", target).headers["etag"]
    assert send(service, "POST", target, [{"a": "1"}], {"if-match": tag}).status == 200
    late = send(service, "POST", target, [{"a": "2"}], {"if-match": tag})
    assert late.status == 412
    assert late.headers["etag"] != tag
    assert send(service, "POST", target, [{"a": "2"}], {"if-none-match": "*"}).status == 412
    assert send(service, "DELETE", target, headers={"if-match": "*"}).status == 204


# ---------------------------------------------------------------------------------------------- many rows


def test_many_rows_are_streamed_and_may_be_left_half_read(service: Service) -> None:
    target = "/ermrest/catalog/1/entity/s:T"
    assert send(service, "POST", target, [{"a": str(n)} for n in range(9000)]).status == 200
    whole = send(service, "GET", target)
    assert not isinstance(whole.body, bytes)
    assert len(json.loads(whole.read())) == 9000
    for _ in range(20):
        half = send(service, "GET", target)
        next(iter(half.body))
        half.close()
    assert send(service, "DELETE", target).status == 204


# ---------------------------------------------------------------------------------------------- catalogs


def test_catalogs_are_numbered_and_their_ids_are_not_used_twice(service: Service) -> None:
    assert json.loads(send(service, "POST", "/ermrest/catalog", {}).read()) == {"id": "2"}
    assert send(service, "DELETE", "/ermrest/catalog/2").status == 204
    assert send(service, "GET", "/ermrest/catalog/2").status == 404
    assert send(service, "POST", "/ermrest/catalog", {"id": "2"}).status == 409
    assert json.loads(send(service, "POST", "/ermrest/catalog", {}).read()) == {"id": "3"}
    assert send(service, "POST", "/ermrest/catalog", {"id": "../../x"}).status == 201
    assert send(service, "GET", "/ermrest/catalog/..%2F..%2Fx").status == 200
    assert {path.name for path in (service.root / "catalogs").glob("*.db")} >= {"%2E%2E%2F%2E%2E%2Fx.db"}


def test_an_alias_leads_to_its_catalog_and_may_be_bound_anew(service: Service) -> None:
    send(service, "POST", "/ermrest/catalog", {"id": "2", "name": "two"})
    alias = "/ermrest/alias/now"
    assert send(service, "POST", "/ermrest/alias", {"id": "now", "alias_target": "1"}).status == 201
    assert json.loads(send(service, "GET", "/ermrest/catalog/now/schema").read())["alias_target"] == "1"
    assert send(service, "PUT", alias, {"alias_target": "2"}).status == 200
    assert json.loads(send(service, "GET", "/ermrest/catalog/now").read())["name"] == "two"
    assert send(service, "PUT", alias, {"alias_target": None}).status == 200
    assert send(service, "GET", "/ermrest/catalog/now").status == 409
    assert send(service, "PUT", "/ermrest/alias/1", {}).status in (404, 409)
    assert send(service, "DELETE", alias).status == 204
    assert send(service, "GET", "/ermrest/catalog/now").status == 404


def test_clients_without_rights_see_nothing_and_make_nothing(service: Service) -> None:
    stranger = Client("stranger", roles=frozenset({"stranger"}))
    for client, status in ((ANONYMOUS, 401), (stranger, 403)):
        assert send(service, "POST", "/ermrest/catalog", client=client).status == status
        for target in ("", "/schema", "/entity/s:T", "/entity_rid/2"):
            assert send(service, "GET", f"/ermrest/catalog/1{target}", client=client).status == status
        assert send(service, "POST", "/ermrest/catalog/1/entity/s:T", [{"a": "x"}], client=client).status == status


def test_history_is_ranged_and_truncated(service: Service) -> None:
    target = "/ermrest/catalog/1"
    rid = json.loads(send(service, "POST", f"{target}/entity/s:T", [{"a": "1"}]).read())[0]["RID"]
    first = json.loads(send(service, "GET", target).read())["snaptime"]
    send(service, "DELETE", f"{target}/entity/s:T")
    assert json.loads(send(service, "GET", f"{target}/entity_rid/{rid}").read())["last_visible_snaptime"] == first
    whole = json.loads(send(service, "GET", f"{target}/history/,").read())["snaprange"]
    assert send(service, "GET", f"{target}@{whole[0]}/schema").status == 200
    assert send(service, "DELETE", f"{target}/history/,").status == 400
    assert send(service, "DELETE", f"{target}/history/{first},{first}").status == 400
    assert send(service, "DELETE", f"{target}/history/,{first}").status == 204
    assert send(service, "GET", f"{target}@{whole[0]}/schema").status == 409
    assert len(json.loads(send(service, "GET", f"{target}@{first}/entity/s:T").read())) == 1
    now = json.loads(send(service, "GET", target).read())["snaptime"]
    assert send(service, "DELETE", f"{target}/history/,{now}").status == 204
    assert send(service, "GET", f"{target}@{first}/entity/s:T").status == 409
    assert send(service, "GET", f"{target}/entity_rid/{rid}").status == 404


# ---------------------------------------------------------------------------------------------- anything at all

PIECES = st.sampled_from(
    [
        *("catalog", "1", "schema", "s", "table", "T", "entity", "attribute", "attributegroup", "aggregate", "public"),
        *("column", "a", "RID", "key", "foreignkey", "reference", "acl", "acl_binding", "annotation", "comment", "x"),
        *("history", "entity_rid", "alias", "/", "/", "/", "/", ":", ",", ";", "=", "@", "?", "&", "!", "$", "(", ")"),
        *("::null::", ":=", "%2F", "%00", "%C3", "%", "any", "@sort", "limit", "accept", "..", "'", '"', "é", " "),
    ]
)
BODIES = st.one_of(
    st.none(), st.binary(max_size=20), st.sampled_from([b"[]", b"{}", b"[{}]", b'["\\ud800"]', b"[" * 9999])
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    start=st.sampled_from(
        ["/ermrest/", "/ermrest/catalog/1/", "/ermrest/catalog/1/entity/s:T", "/ermrest/catalog/1/schema/s/"]
    ),
    pieces=st.lists(PIECES, max_size=8),
    body=BODIES,
)
def test_no_request_makes_the_service_fail(
    service: Service, method: str, start: str, pieces: list[str], body: bytes | None
) -> None:
    answer = send(service, method, start + "".join(pieces), body)
    answer.read()
    assert answer.status < 500 or answer.status == 501, (answer.status, answer.read())
