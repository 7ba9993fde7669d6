"""The past is changed where it is asked for, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.server.check import check_folder
from deriva_ml.wire.http import Client, Request, Response

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
TABLE = {
    "table_name": "T",
    "column_definitions": [
        *SYSTEM,
        {"name": "a", "type": {"typename": "text"}},
        {"name": "n", "type": {"typename": "int4"}},
    ],
    "keys": [{"unique_columns": ["RID"]}],
}
BASE = "/ermrest/catalog/1"


class Past:
    """A catalog whose one row was changed several times: the moments, and what was so at each."""

    def __init__(self, service: Service) -> None:
        self.service = service
        assert self.send("POST", "/ermrest/catalog", {"id": "1"}).status == 201
        assert self.send("POST", f"{BASE}/schema/s").status == 201
        self.document: dict[str, Any] = json.loads(self.send("POST", f"{BASE}/schema/s/table", TABLE).read())
        self.rids = {column["name"]: column["RID"] for column in self.document["column_definitions"]}
        (row,) = json.loads(self.send("POST", f"{BASE}/entity/s:T", [{"a": "v0", "n": 0}]).read())
        self.moments = [self.now()]
        for number in range(1, 5):
            body = [{"RID": row["RID"], "a": f"v{number}", "n": number}]
            assert self.send("PUT", f"{BASE}/attributegroup/s:T/RID;a,n", body).status == 200
            self.moments.append(self.now())

    def send(self, method: str, target: str, body: Any = None, client: Client | None = None) -> Response:
        content = None if body is None else json.dumps(body).encode()
        return self.service(Request(method, target, {}, content), client or local_client())

    def now(self) -> str:
        return str(json.loads(self.send("GET", BASE).read())["snaptime"])

    def values(self, name: str = "a") -> list[Any]:
        return [json.loads(self.send("GET", f"{BASE}@{moment}/entity/s:T").read())[0][name] for moment in self.moments]

    def seen(self, moment: str, what: str) -> Any:
        answer = self.send("GET", f"{BASE}@{moment}/schema/s/table/T/{what}")
        return json.loads(answer.read())


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    create_folder(tmp_path)
    service = open_service(tmp_path)
    yield Past(service)
    service.close()
    assert check_folder(tmp_path).findings == []


def test_a_column_is_redacted_in_the_versions_of_a_period(past: Past) -> None:
    _, first, _, last, _ = past.moments
    etag = past.send("GET", f"{BASE}@{first}/entity/s:T").headers["etag"]
    target = f"{BASE}/history/{first},{last}/attribute/{past.rids['a']}"
    assert json.loads(past.send("GET", target).read())["snaprange"] == [first, last]
    assert past.send("DELETE", target).status == 204
    assert past.values() == ["v0", None, None, "v3", "v4"]
    assert past.values("n") == [0, 1, 2, 3, 4]
    assert past.send("GET", f"{BASE}@{first}/entity/s:T").headers["etag"] != etag
    assert json.loads(past.send("GET", f"{BASE}/history/,").read())["amendver"]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [("n", "2", ["v0", "v1", None, "v3", "v4"]), ("a", '"v1"', ["v0", None, "v2", "v3", "v4"]), ("n", "9", None)],
)
def test_only_the_versions_that_a_filter_names_are_redacted(
    past: Past, column: str, value: str, expected: list[Any] | None
) -> None:
    before = past.values()
    condition = f"{past.rids[column]}={quote(value, safe='')}"
    period = f"{past.moments[0]},{past.moments[-1]}"
    target = f"{BASE}/history/{period}/attribute/{past.rids['a']}/{condition}"
    assert past.send("DELETE", target).status == 204
    assert past.values() == (expected or before)


def test_annotations_are_amended_for_a_period_only(past: Past) -> None:
    _, first, _, last, _ = past.moments
    target = f"{BASE}/history/{first},{last}/annotation"
    assert past.send("PUT", f"{target}/{past.document['RID']}", {"note": 1}).status == 204
    assert [past.seen(moment, "annotation") for moment in past.moments] == [{}, {"note": 1}, {"note": 1}, {}, {}]
    assert past.send("PUT", f"{target}/{past.rids['a']}", {"col": 2}).status == 204
    seen = [past.seen(moment, "column/a/annotation") for moment in past.moments]
    assert seen == [{}, {"col": 2}, {"col": 2}, {}, {}]
    assert past.seen(first, "annotation") == {"note": 1}
    assert json.loads(past.send("GET", f"{BASE}/schema/s/table/T/annotation").read()) == {}
    # The model can be changed afterwards as before.
    assert past.send("PUT", f"{BASE}/schema/s/table/T/annotation/now", 3).status == 201
    assert past.seen(past.now(), "annotation") == {"now": 3}
    assert past.values() == ["v0", "v1", "v2", "v3", "v4"]


def test_a_later_amendment_takes_the_place_of_an_earlier_one(past: Past) -> None:
    rid = past.document["RID"]
    assert (
        past.send("PUT", f"{BASE}/history/{past.moments[1]},{past.moments[4]}/annotation/{rid}", {"x": 1}).status == 204
    )
    assert (
        past.send("PUT", f"{BASE}/history/{past.moments[2]},{past.moments[3]}/annotation/{rid}", {"y": 2}).status == 204
    )
    assert [past.seen(moment, "annotation") for moment in past.moments] == [{}, {"x": 1}, {"y": 2}, {"x": 1}, {}]


def test_what_is_open_reaches_up_to_now_and_not_beyond(past: Past) -> None:
    rid = past.document["RID"]
    assert past.send("PUT", f"{BASE}/history/{past.moments[2]},/annotation/{rid}", {"x": 1}).status == 204
    assert [past.seen(moment, "annotation") for moment in past.moments] == [{}, {}, {"x": 1}, {"x": 1}, {"x": 1}]
    assert past.seen(past.now(), "annotation") == {}
    assert json.loads(past.send("GET", f"{BASE}/schema/s/table/T/annotation").read()) == {}


def test_amended_access_lists_decide_who_sees_a_snapshot(past: Past) -> None:
    reader = Client("reader", roles=frozenset({"reader"}))
    period = f"{past.moments[1]},{past.moments[2]}"
    acls = {"enumerate": ["*"], "select": ["reader"]}
    whole = {"owner": [local_client().id], **acls}
    assert past.send("PUT", f"{BASE}/history/{period}/acl", whole).status == 204
    statuses = [past.send("GET", f"{BASE}@{moment}/entity/s:T", client=reader).status for moment in past.moments]
    assert statuses == [403, 200, 403, 403, 403]
    bindings = {"own": {"types": ["select"], "projection": "RCB", "projection_type": "acl"}}
    target = f"{BASE}/history/{period}/acl_binding/{past.document['RID']}"
    assert past.send("PUT", target, bindings).status == 204
    assert list(past.seen(past.moments[1], "acl_binding")) == ["own"]


def test_other_processes_see_what_was_amended(past: Past) -> None:
    other = open_service(past.service.root)
    request = Request("GET", f"{BASE}@{past.moments[1]}/schema/s/table/T/annotation")
    assert json.loads(other(request, local_client()).read()) == {}
    target = f"{BASE}/history/{past.moments[1]},{past.moments[2]}/annotation/{past.document['RID']}"
    assert past.send("PUT", target, {"x": 1}).status == 204
    assert json.loads(other(request, local_client()).read()) == {"x": 1}
    other.close()


@pytest.mark.parametrize(
    ("method", "what", "body", "status"),
    [
        ("DELETE", "{a},/attribute/{col}", None, 400),
        ("DELETE", ",{b}/attribute/{col}", None, 400),
        ("DELETE", "{a},{b}/attribute/{rid}", None, 400),
        ("DELETE", "{a},{b}/attribute/9ZZZ", None, 404),
        ("DELETE", "{a},{b}/attribute/{col}/{col}=nojson", None, 400),
        ("DELETE", "{a},{b}/attribute/{col}/9ZZZ=1", None, 404),
        ("DELETE", "{a},{b}/attribute/{col}/x/y", None, 404),
        ("DELETE", "{a},{b}/attribute", None, 404),
        ("PUT", "{a},{b}/annotation/9ZZZ", {}, 404),
        ("PUT", "{a},{b}/annotation/{table}", [], 400),
        ("PUT", "{a},{b}/acl/{table}", {"nonsense": []}, 409),
        ("PUT", "{a},{b}/acl/{table}", {"select": "x"}, 400),
        ("PUT", "{a},{b}/acl_binding", {}, 404),
        ("PUT", "{b},{a}/annotation", {}, 404),
        ("DELETE", "{a},{b}/annotation", None, 405),
    ],
)
def test_what_makes_no_sense_is_refused(past: Past, method: str, what: str, body: Any, status: int) -> None:
    names = {
        "a": past.moments[1],
        "b": past.moments[3],
        "col": past.rids["a"],
        "rid": past.rids["RID"],
        "table": past.document["RID"],
    }
    assert past.send(method, f"{BASE}/history/{what.format(**names)}", body).status == status
    assert past.values() == ["v0", "v1", "v2", "v3", "v4"]


def test_who_does_not_own_the_catalog_changes_no_past(past: Past) -> None:
    other = Client("other", roles=frozenset({"other"}))
    acls = {"owner": [local_client().id], "enumerate": ["*"], "select": ["*"]}
    assert past.send("PUT", f"{BASE}/acl", acls).status == 200
    period = f"{past.moments[1]},{past.moments[3]}"
    assert past.send("DELETE", f"{BASE}/history/{period}/attribute/{past.rids['a']}", client=other).status == 403
    assert past.send("PUT", f"{BASE}/history/{period}/annotation", {}, client=other).status == 403
