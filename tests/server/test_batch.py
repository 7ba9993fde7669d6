"""Several requests in one: each is answered as by itself, changes all or nothing."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from tests.server.conftest import OWNER, Site

from deriva_ml.server.app import open_service
from deriva_ml.wire.batch import FAILED, MEDIA, Limits, Member, read_answers, write_batch
from deriva_ml.wire.http import Client, Request, Response

ANN = Client("ann", roles=frozenset({"ann"}))
NOBODY = Client(None)


def post(site: Site, members: list[Member], client: Client = OWNER, *, commit: bool = True, at: str = "1") -> Response:
    body = write_batch(members, commit=commit)
    return site.service(Request("POST", f"/ermrest/catalog/{at}/batch", {}, body), client)


def told(answer: Response, members: list[Member]) -> list[tuple[int, Any]]:
    """Statuses and documents of the members of an answer."""
    assert (answer.status, answer.headers["content-type"]) == (200, MEDIA), answer.read()
    found = []
    for each in read_answers(answer.parts(), members):
        content = each.read()
        found.append((each.status, json.loads(content) if each.status == 200 and content else content.decode()))
    return found


def asked(site: Site, *members: Member, client: Client = OWNER, commit: bool = True) -> list[tuple[int, Any]]:
    return told(post(site, list(members), client, commit=commit), list(members))


def add(*numbers: int, table: str = "T", **more: Any) -> Member:
    return Member("POST", f"/entity/S:{table}", body=json.dumps([{"n": number} for number in numbers]), **more)


NUMBERS = Member("GET", "/attribute/S:T/n@sort(n)")


def numbers(site: Site) -> list[int]:
    return [row["n"] for row in site.ok("GET", "/attribute/S:T/n@sort(n)")]


@pytest.fixture
def tables(site: Site) -> Site:
    for name in ("T", "U"):
        columns = [site.column("n", "int4"), site.column("t", "text"), site.column("r", "text")]
        site.ok("POST", "/schema/S/table", site.table(name, columns, keys=[["n"]]))
    return site


def test_the_service_says_how_large_a_batch_may_be(tables: Site) -> None:
    document = json.loads(tables.service(Request("GET", "/ermrest/"), OWNER).read())
    limits = Limits.advertised(document)
    assert limits is not None
    members = [NUMBERS] * (limits.requests + 1)
    refused = post(tables, members)
    assert (refused.status, b"1000" in refused.read()) == (400, True)
    large = [Member("POST", "/entity/S:T", body=" " * limits.bytes)]
    assert post(tables, large).status == 400
    assert len(asked(tables, *members[1:])) == limits.requests


def test_each_member_is_answered_as_the_same_request_by_itself(tables: Site) -> None:
    tables.ok("POST", "/entity/S:T", [{"n": 1}, {"n": 2}])
    targets = ["/entity/S:T", "/aggregate/S:T/c:=cnt(RID)", "/schema", "/schema/S/table/T", "/", "/entity/S:X", "/%%"]
    members = [Member("GET", target) for target in [*targets, "/entity/S:T"]]
    members[-1] = Member("GET", "/entity/S:T", accept="text/csv")
    answer = post(tables, members)
    for member, each in zip(members, read_answers(answer.parts(), members), strict=True):
        headers = {"accept": member.accept} if member.accept else {}
        single = tables.service(Request("GET", f"/ermrest/catalog/1{member.target}", headers), OWNER)
        assert (each.status, each.read(), each.headers) == (single.status, single.read(), single.headers)


def test_what_a_batch_may_not_have_is_refused(tables: Site) -> None:
    [refused] = asked(tables, Member("GET", "/batch"))
    assert refused[0] == 400
    for member in (Member("POST", "/batch", body="{}"), Member("DELETE", "/"), Member("DELETE", "/history/,")):
        answer = post(tables, [add(1), member])
        assert (answer.status, answer.headers.get(FAILED)) == (400, "1")
    assert post(tables, [add(1), Member("GET", "/nothing/here")]).status == 404
    assert tables.raw("GET", "/catalog/1/batch", None)[0] == 405
    assert tables.raw("POST", "/catalog/9/batch", write_batch([NUMBERS]))[0] == 404
    assert numbers(tables) == []


def test_changes_happen_at_one_moment_and_are_seen_by_those_that_follow(tables: Site) -> None:
    before = tables.ok("GET", "/")["snaptime"]
    first, seen, second, gone = asked(
        tables, add(1, 2), NUMBERS, add(3, table="U"), Member("DELETE", "/entity/S:T/n=2")
    )
    assert [row["n"] for row in seen[1]] == [1, 2]
    assert (gone[0], numbers(tables)) == (204, [1])
    assert {row["RCT"] for row in first[1] + second[1]} == {first[1][0]["RCT"]}
    after = tables.ok("GET", "/")["snaptime"]
    assert after != before
    _status, found = tables.raw("GET", f"/catalog/1@{after}/entity/S:T", None)
    assert [row["n"] for row in json.loads(found)] == [1]
    _status, found = tables.raw("GET", f"/catalog/1@{before}/entity/S:T", None)
    assert json.loads(found) == []


def test_the_first_refusal_undoes_everything_and_says_whose_it_is(tables: Site) -> None:
    tables.ok("POST", "/entity/S:T", [{"n": 2}])
    before = tables.ok("GET", "/")["snaptime"]
    answer = post(tables, [add(1), add(7, table="U"), add(2), add(9)])
    single = tables("POST", "/entity/S:T", [{"n": 2}])
    assert (answer.status, answer.headers[FAILED], answer.read().decode()) == (409, "2", single[1])
    assert (numbers(tables), tables.ok("GET", "/entity/S:U")) == ([2], [])
    assert tables.ok("GET", "/")["snaptime"] == before


def test_changes_that_shall_not_last_are_answered_and_undone(tables: Site) -> None:
    tables.ok("POST", "/entity/S:T", [{"n": 1}])
    before = tables.ok("GET", "/")["snaptime"]
    _added, seen, _gone, rest = asked(
        tables, add(2), NUMBERS, Member("DELETE", "/entity/S:T/n=1"), NUMBERS, commit=False
    )
    assert ([row["n"] for row in seen[1]], [row["n"] for row in rest[1]]) == ([1, 2], [2])
    assert numbers(tables) == [1]
    assert tables.ok("GET", "/")["snaptime"] == before
    [again] = tables.ok("POST", "/entity/S:T", [{"n": 2}])
    assert tables.ok("GET", f"/entity_rid/{again['RID']}")["table_name"] == "T"


def test_tables_may_be_made_filled_and_read_together(tables: Site) -> None:
    document = tables.table("V", [tables.column("n", "int4")], keys=[["n"]])
    members = [
        Member("POST", "/schema/S/table", body=json.dumps(document)),
        add(5, table="V"),
        Member("GET", "/entity/S:V"),
        Member("GET", "/schema"),
    ]
    *_rest, rows, schema = asked(tables, *members, commit=False)
    assert ([row["n"] for row in rows[1]], "V" in schema[1]["schemas"]["S"]["tables"]) == ([5], True)
    assert "V" not in tables.ok("GET", "/schema")["schemas"]["S"]["tables"]
    asked(tables, *members)
    assert "V" in tables.ok("GET", "/schema")["schemas"]["S"]["tables"]


def test_columns_are_filled_with_the_moment_and_with_what_came_before(tables: Site) -> None:
    update = Member("PUT", "/attributegroup/S:T/n;r", body='[{"n":1},{"n":2}]', fill={"r": (0, "RID"), "t": "snaptime"})
    insert = Member("POST", "/entity/S:U", body='[{"n":1,"t":null},{"n":2,"t":null}]', fill={"t": "snaptime"})
    added, _changed, stored = asked(tables, add(1, 2), update, insert)
    found = tables.ok("GET", "/entity/S:T@sort(n)")
    assert [row["r"] for row in found] == [row["RID"] for row in added[1]]
    assert {row["t"] for row in stored[1]} == {tables.ok("GET", "/")["snaptime"]}
    short = Member("PUT", "/attributegroup/S:T/n;r", body='[{"n":1}]', fill={"r": (0, "RID")})
    assert post(tables, [add(3, 4), short]).status == 400
    assert post(tables, [Member("POST", "/entity/S:T", body="{}", fill={"t": "snaptime"})]).status == 400
    assert numbers(tables) == [1, 2]


def test_an_answer_that_is_not_as_expected_stops_the_changes(tables: Site) -> None:
    none = Member("GET", "/aggregate/S:T/c:=cnt(RID)", expect=[{"c": 0}])
    assert asked(tables, none, add(1))[0] == (200, [{"c": 0}])
    answer = post(tables, [none, add(2)])
    assert (answer.status, answer.headers[FAILED]) == (412, "0")
    assert numbers(tables) == [1]
    [refused, seen] = asked(tables, none, NUMBERS)
    assert (refused[0], seen[1]) == (412, [{"n": 1}])


def test_nothing_to_delete_is_a_refusal_unless_it_may_be_so(tables: Site) -> None:
    nothing = Member("DELETE", "/entity/S:T/n=9")
    answer = post(tables, [add(1), nothing])
    assert (answer.status, numbers(tables)) == (404, [])
    added, gone = asked(tables, add(1), Member("DELETE", "/entity/S:T/n=9", missing_ok=True))
    assert (added[0], gone[0], numbers(tables)) == (200, 404, [1])
    assert post(tables, [add(2), Member("DELETE", "/entity/S:X", missing_ok=True)]).status == 409


def test_the_past_is_read_together_and_not_changed(tables: Site) -> None:
    tables.ok("POST", "/entity/S:T", [{"n": 1}])
    moment = tables.ok("GET", "/")["snaptime"]
    tables.ok("POST", "/entity/S:T", [{"n": 2}])
    assert told(post(tables, [NUMBERS] * 2, at=f"1@{moment}"), [NUMBERS] * 2) == [(200, [{"n": 1}])] * 2
    assert post(tables, [NUMBERS, add(3)], at=f"1@{moment}").status == 403


def test_rights_are_those_of_single_requests(tables: Site) -> None:
    tables.ok("PUT", "/acl/enumerate", ["*"])
    tables.ok("PUT", "/schema/S/table/T/acl/select", ["ann"])
    tables.ok("PUT", "/schema/S/table/U/acl", {"insert": ["ann"], "select": [], "enumerate": ["*"]})
    tables.ok("POST", "/entity/S:T", [{"n": 1}])
    members = [NUMBERS, Member("GET", "/entity/S:U"), Member("GET", "/schema/S/table/T/acl")]
    for client in (ANN, NOBODY):
        found = [status for status, _document in asked(tables, *members, client=client)]
        singly = [tables("GET", member.target, client=client)[0] for member in members]
        assert found == singly
    assert [status for status, _document in asked(tables, *members, client=ANN)] == [200, 403, 403]
    refused = post(tables, [add(1, table="U"), add(5)], ANN)
    assert (refused.status, refused.headers[FAILED]) == (403, "1")
    assert post(tables, [add(1, table="U")], NOBODY).status == 401
    assert tables.ok("GET", "/entity/S:U") == []
    tables.ok("PUT", "/acl/enumerate", [])
    assert post(tables, [add(1, table="U")], ANN).status == 403


def test_a_batch_leaves_no_false_belief_about_indexes(tables: Site) -> None:
    """What a batch that is undone has indexed is indexed again by the next one."""
    many = [add(*range(start, start + 3000)) for start in (0, 3000)]
    asked(tables, *many, commit=False)
    asked(tables, *many)
    store = tables.service.ermrest.catalogs.store("1")
    rid = next(table.rid for table in store_model(store).tables() if table.name == "T")
    with store.read() as view:
        indexes = view.connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (f"t_{rid}",)
        ).fetchone()
    fresh = tables.table(
        "W", [tables.column(name, kind) for name, kind in (("n", "int4"), ("t", "text"), ("r", "text"))]
    )
    fresh["keys"].append({"unique_columns": ["n"]})
    tables.ok("POST", "/schema/S/table", fresh)
    for start in (0, 3000):
        tables.ok("POST", "/entity/S:W", [{"n": number} for number in range(start, start + 3000)])
    other = next(table.rid for table in store_model(store).tables() if table.name == "W")
    with store.read() as view:
        wanted = view.connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (f"t_{other}",)
        ).fetchone()
    assert indexes == wanted


def store_model(store: Any) -> Any:
    with store.read() as view:
        return view.model


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.slow
def test_long_answers_are_not_held_in_memory(tables: Site, changes: bool) -> None:
    text = "x" * 1000
    for start in range(0, 30_000, 10_000):
        tables.ok("POST", "/entity/S:T", [{"n": number, "t": text} for number in range(start, start + 10_000)])
    members = [Member("GET", "/entity/S:T")] * 2 + [add(-1)] * changes
    service = open_service(tables.service.root)
    tracemalloc.start()
    answer = service(Request("POST", "/ermrest/catalog/1/batch", {}, write_batch(members, commit=False)), OWNER)
    length = sum(len(part) for each in read_answers(answer.parts(), members) for part in each.parts())
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    service.close()
    assert length > 60_000_000
    assert peak < 30_000_000


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_an_answer_that_is_not_read_to_its_end_lets_the_catalog_go(tables: Site, single: bool, begun: bool) -> None:
    tables.ok("POST", "/entity/S:T", [{"n": number, "t": "x" * 500} for number in range(10_000)])
    target = "/ermrest/catalog/1/entity/S:T"
    ask = [Member("GET", "/entity/S:T")]
    answer = tables.service(Request("GET", target), OWNER) if single else post(tables, ask)
    assert not isinstance(answer.body, bytes)
    if begun:
        next(iter(answer.body))
    answer.close()
    tables.ok("DELETE", "/entity/S:T")
    assert numbers(tables) == []
