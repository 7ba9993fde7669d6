"""Rows and model of a catalog: nothing lost, nothing twice, and few requests."""

from __future__ import annotations

import json

import pytest
from tests.catalog.conftest import table_document
from tests.fakes import Counting, Failing

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.service import create_catalog, delete_catalog, service_info, session_info
from deriva_ml.catalog.transport import InProcess, Retry
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLReadOnlyError,
    DerivaMLTableNotFound,
    DerivaMLUnreachable,
)
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import any_of, cnt, eq, max_, table

A = table("S", "A")


def numbers(client: CatalogClient, count: int, start: int = 0) -> list[str]:
    """Add rows to A; give their RIDs."""
    rows = client.insert("S", "A", [{"n": start + i, "t": f"text {i}"} for i in range(count)])
    return [str(row["RID"]) for row in rows]


def test_the_service_tells_its_identity_and_who_asks(bare: CatalogClient) -> None:
    assert service_info(bare.transport)["identity"]
    client = session_info(bare.transport)["client"]
    assert isinstance(client, dict)
    assert str(client["id"]).startswith("local:")


def test_a_catalog_can_be_made_and_deleted(transport: Counting) -> None:
    made = create_catalog(transport)
    assert made.info()["id"] == made.catalog_id
    delete_catalog(transport, made.catalog_id)
    with pytest.raises(DerivaMLCatalogError) as refused:
        made.info()
    assert refused.value.status == 404


def test_rows_are_stored_in_the_order_in_which_they_were_given(bare: CatalogClient) -> None:
    given = [{"n": n, "t": str(n)} for n in (5, 3, 9, 1)]
    stored = bare.insert("S", "A", given)
    assert [row["n"] for row in stored] == [5, 3, 9, 1]
    assert all(row["RID"] for row in stored)
    assert bare.insert("S", "A", []) == []


def test_batches_keep_the_order_and_every_row(bare: CatalogClient, transport: Counting) -> None:
    given = [{"n": n, "t": "x" * 3000} for n in range(3000)]
    stored = bare.insert("S", "A", given)
    assert [row["n"] for row in stored] == list(range(3000))
    assert transport.methods["POST"] == 3
    assert bare.aggregate(A, n=cnt("*"), top=max_("n")) == {"n": 3000, "top": 2999}


def test_a_column_that_no_row_has_takes_its_default(bare: CatalogClient, transport: Counting) -> None:
    bare.insert("S", "A", [{"n": 1}, {"n": 2}])
    target = next(target for method, target in transport.requests if method == "POST")
    assert target.endswith("?defaults=t,u")
    bare.insert("S", "A", [{"n": 3, "t": "a"}, {"n": 4}])
    assert [row["t"] for row in bare.rows(A.where(any_of("n", [3, 4])).sorted("n"))] == ["a", None]


def test_a_row_with_an_unknown_column_is_refused_with_the_nearest_names(bare: CatalogClient) -> None:
    with pytest.raises(DerivaMLDataError, match="tt") as refused:
        bare.insert("S", "A", [{"n": 1, "tt": "x"}])
    assert "t" in refused.value.allowed
    assert bare.rows(A) == []


def test_an_unknown_table_is_refused_with_the_nearest_names(bare: CatalogClient) -> None:
    with pytest.raises(DerivaMLTableNotFound) as refused:
        bare.insert("S", "AA", [{"n": 1}])
    assert "A" in refused.value.allowed


def test_conflicts_are_raised_or_skipped(bare: CatalogClient) -> None:
    numbers(bare, 2)
    with pytest.raises(DerivaMLCatalogError) as refused:
        bare.insert("S", "A", [{"n": 2}, {"n": 1}])
    assert refused.value.status == 409
    assert "duplicate key" in refused.value.detail
    assert bare.aggregate(A, n=cnt("*"))["n"] == 2
    added = bare.insert("S", "A", [{"n": 1}, {"n": 7}], on_conflict_skip=True)
    assert [row["n"] for row in added] == [7]


def test_leased_rids_become_rows(bare: CatalogClient) -> None:
    leased = bare.lease_rids(3)
    assert len(set(leased)) == 3
    rows = [{"RID": rid, "n": n} for n, rid in enumerate(leased)]
    assert [row["RID"] for row in bare.insert("S", "A", rows, nondefaults=["RID"])] == leased


@pytest.mark.parametrize("count", [0, 1, 1100])
def test_every_row_of_a_long_list_of_values_is_found(bare: CatalogClient, transport: Counting, count: int) -> None:
    rids = numbers(bare, count)
    transport.reset()
    found = bare.rows_by("S", "A", "RID", [*rids, None, *rids[:5]])
    assert sorted(str(row["RID"]) for row in found) == sorted(rids)
    assert transport.count <= 3
    assert all(len(target) <= 4096 for _, target in transport.requests)


def test_long_and_strange_values_are_split_by_the_bytes_they_take(bare: CatalogClient, transport: Counting) -> None:
    texts = [f"ü/,;:%+ {i} " + "é" * 300 for i in range(40)]
    bare.insert("S", "A", [{"n": i, "t": text} for i, text in enumerate(texts)])
    transport.reset()
    found = bare.rows_by("S", "A", "t", texts, columns=["n", "t"])
    assert {row["t"] for row in found} == set(texts)
    assert set(found[0]) == {"n", "t"}
    assert 1 < transport.count <= 40
    assert all(len(target) <= 4096 for _, target in transport.requests)


def test_many_rids_are_resolved_in_few_requests(bare: CatalogClient, transport: Counting) -> None:
    rids = numbers(bare, 1100)
    transport.reset()
    assert bare.resolve_rids(rids) == dict.fromkeys(rids, ("S", "A"))
    assert transport.count <= 3


def test_rids_of_several_tables_and_of_none_are_told_apart(bare: CatalogClient) -> None:
    [a] = numbers(bare, 1)
    b = str(bare.insert("S", "B", [{"x": "x", "a": 0}])[0]["RID"])
    [gone] = numbers(bare, 1, start=9)
    assert bare.delete(A.where(eq("RID", gone)))
    asked = [a, b, a.lower(), gone, "ZZZZ-ZZZ0", "no rid at all", ""]
    assert bare.resolve_rids(asked) == {a: ("S", "A"), b: ("S", "B"), a.lower(): ("S", "A")}


def test_update_changes_what_a_row_has_and_nothing_else(bare: CatalogClient) -> None:
    one, two = numbers(bare, 2)
    changed = bare.update("S", "A", [{"RID": one, "t": "new"}, {"RID": two, "u": "also"}, {"RID": "2", "t": "nobody"}])
    assert len(changed) == 2
    rows = {row["RID"]: (row["t"], row["u"]) for row in bare.rows(A)}
    assert rows == {one: ("new", None), two: ("text 1", "also")}


def test_update_by_another_key(bare: CatalogClient) -> None:
    numbers(bare, 1)
    bare.update("S", "A", [{"n": 0, "t": None, "u": "ignored"}], keys=["n"], columns=["t"])
    assert [(row["t"], row["u"]) for row in bare.rows(A)] == [(None, None)]


def test_upsert_adds_and_overwrites(bare: CatalogClient) -> None:
    numbers(bare, 1)
    bare.upsert("S", "A", [{"n": 0, "t": "over"}, {"n": 1, "t": "added"}])
    assert [(row["n"], row["t"]) for row in bare.rows(A.sorted("n"))] == [(0, "over"), (1, "added")]


def test_delete_says_whether_there_was_anything(bare: CatalogClient) -> None:
    numbers(bare, 2)
    assert bare.delete(A.where(eq("n", 1)))
    assert not bare.delete(A.where(eq("n", 1)))
    with pytest.raises(DerivaMLCatalogError):
        CatalogClient(bare.transport, "404").delete(A)


def test_a_snapshot_shows_the_past_and_cannot_be_changed(bare: CatalogClient) -> None:
    numbers(bare, 2)
    then = bare.snapshot(bare.latest_snaptime())
    bare.insert("S", "A", [{"n": 7}])
    bare.create_table("S", table_document("Later", z="text"))
    assert len(then.rows(A)) == 2
    assert then.model().table("S", "Later") is None
    with pytest.raises(DerivaMLReadOnlyError):
        then.insert("S", "A", [{"n": 8}])


def test_joins_and_groups(bare: CatalogClient) -> None:
    numbers(bare, 3)
    bare.insert("S", "B", [{"x": "p", "a": 1}, {"x": "q", "a": 1}, {"x": "r", "a": 2}])
    joined = bare.attributes(table("S", "B").link("S", "A", on=[("a", "n")], alias="A").context("B"), "x", t=("A", "t"))
    assert {(row["x"], row["t"]) for row in joined} == {("p", "text 1"), ("q", "text 1"), ("r", "text 2")}
    grouped = bare.attributegroup(table("S", "B"), ["a"], n=cnt("*"))
    assert {(row["a"], row["n"]) for row in grouped} == {(1, 2), (2, 1)}


# ---------------------------------------------------------------------------------------------- the model


def test_the_model_is_fetched_once_and_again_after_a_change(bare: CatalogClient, transport: Counting) -> None:
    first = bare.model()
    transport.reset()
    assert bare.model() is first
    numbers(bare, 1)
    assert bare.model() is first
    assert transport.methods["GET"] == 0
    assert bare.model(refresh=True) is first  # 304: nothing has changed
    bare.create_column("S", "A", {"name": "later", "type": {"typename": "text"}})
    assert bare.table("S", "A").column("later") is not None
    assert bare.model() is not first


def test_another_client_s_change_is_seen_on_refresh(bare: CatalogClient) -> None:
    other = CatalogClient(bare.transport, "1")
    assert other.model().table("S", "New") is None
    bare.create_table("S", table_document("New", z="text"))
    assert other.model().table("S", "New") is None
    assert other.model(refresh=True).table("S", "New") is not None


def test_tables_in_bulk_with_references_among_them(bare: CatalogClient, transport: Counting) -> None:
    child = table_document("Child", c="text", p="text")
    child["foreign_keys"] = [
        {
            "foreign_key_columns": [{"schema_name": "S", "table_name": "Child", "column_name": "p"}],
            "referenced_columns": [{"schema_name": "S", "table_name": "Parent", "column_name": "k"}],
        }
    ]
    made = bare.create_tables([child, table_document("Parent", k="text")])
    assert sorted(made_table.name for made_table in made) == ["Child", "Parent"]
    assert transport.methods["POST"] == 1
    [fk] = bare.table("S", "Child").foreign_keys
    bare.drop_foreign_key(fk)
    assert bare.table("S", "Child").foreign_keys == ()


def test_elements_can_be_altered_annotated_and_dropped(bare: CatalogClient) -> None:
    bare.set_annotation("tag:x,2020:y", {"a": [1]}, "S", "A", "t")
    assert bare.table("S", "A").columns_by_name["t"].annotations["tag:x,2020:y"] == {"a": [1]}
    bare.set_annotation("tag:x,2020:y", None, "S", "A", "t")
    assert "tag:x,2020:y" not in bare.table("S", "A").columns_by_name["t"].annotations
    bare.set_annotation("tag:x,2020:z", True)
    assert bare.model().annotations["tag:x,2020:z"] is True
    bare.alter({"comment": "words"}, "S", "A")
    assert bare.table("S", "A").comment == "words"
    bare.create_key("S", "A", {"unique_columns": ["t"]})
    bare.drop_key("S", "A", ["t"])
    bare.drop_column("S", "A", "u")
    bare.drop_table("S", "B")
    bare.drop_table("S", "A")
    bare.drop_schema("S")
    assert "S" not in bare.model().schemas


# ---------------------------------------------------------------------------------------------- faults


def test_an_answer_that_breaks_off_is_asked_for_again_when_that_is_harmless(bare: CatalogClient) -> None:
    numbers(bare, 50)
    waits: list[float] = []
    breaking = Failing(bare.transport, break_after=lambda request, number: 100 if number in (0, 1) else None)
    client = CatalogClient(breaking, "1", retry=Retry(attempts=3, sleep=waits.append))
    assert len(client.rows(A)) == 50
    assert (breaking.count, len(waits)) == (3, 2)


def test_a_write_whose_answer_is_lost_is_not_repeated(bare: CatalogClient) -> None:
    losing = Failing(bare.transport, break_after=lambda request, number: 10 if request.method == "POST" else None)
    client = CatalogClient(losing, "1", retry=Retry(attempts=3, sleep=lambda _seconds: None))
    with pytest.raises(DerivaMLUnreachable):
        client.insert("S", "A", [{"n": 1}])
    assert losing.methods["POST"] == 1
    assert bare.aggregate(A, n=cnt("*"))["n"] == 1


@pytest.mark.parametrize(("status", "words"), [(401, "log in"), (403, "ask the owner")])
def test_missing_rights_say_what_to_do(status: int, words: str) -> None:
    def refuse(request: Request) -> Response:
        return Response(status, {}, b"Access forbidden.\n")

    with pytest.raises(DerivaMLAuthenticationError, match=words):
        CatalogClient(InProcess(refuse), "1").rows(A)


def test_a_refusal_carries_status_text_and_request() -> None:
    def refuse(request: Request) -> Response:
        assert json.loads(request.body or b"") == [{"ID": None}]  # type: ignore[arg-type]
        return Response(409, {}, b"Request conflicts with state of server.\n")

    with pytest.raises(DerivaMLCatalogError) as refused:
        CatalogClient(InProcess(refuse), "1").lease_rids(1)
    error = refused.value
    assert (error.status, error.method, error.detail) == (409, "POST", "Request conflicts with state of server.")
