"""Model resources: what is made, changed and dropped, and that every snapshot still shows what was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.wire.http import Request

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]


def text(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": {"typename": "text"}, **more}


def table(name: str, *columns: dict[str, Any], keys: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "table_name": name,
        "column_definitions": [*SYSTEM, *columns],
        "keys": [{"unique_columns": ["RID"]}, *({"unique_columns": key.split(",")} for key in keys)],
        **more,
    }


def refer(column: str, far: str, far_column: str, **more: Any) -> dict[str, Any]:
    return {
        "foreign_key_columns": [{"column_name": column}],
        "referenced_columns": [{"schema_name": "s", "table_name": far, "column_name": far_column}],
        **more,
    }


class Catalog:
    """One catalog of a service, as one client sees it."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def send(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        answer = self.service(Request(method, f"/ermrest/catalog/1{target}", {}, content), local_client())
        got = answer.read()
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.status, json.loads(got) if is_json else got.decode()

    def ok(self, method: str, target: str, body: Any = None) -> Any:
        status, got = self.send(method, target, body)
        assert status in (200, 201, 204), (status, got)
        return got

    def refused(self, status: int, method: str, target: str, body: Any = None) -> str:
        got, message = self.send(method, target, body)
        assert got == status, (got, message)
        return str(message)

    def now(self) -> str:
        return str(self.ok("GET", "")["snaptime"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root: Path = tmp_path_factory.mktemp("ddl")
    create_folder(root)
    opened = open_service(root)
    assert opened(Request("POST", "/ermrest/catalog"), local_client()).status == 201
    yield opened
    opened.close()


@pytest.fixture
def catalog(service: Service) -> Iterator[Catalog]:
    """A catalog whose schema ``s`` is empty."""
    made = Catalog(service)
    made.ok("POST", "/schema/s")
    yield made
    tables = made.ok("GET", "/schema/s")["tables"]
    for name, one in tables.items():
        for fk in one["foreign_keys"]:
            far = fk["referenced_columns"]
            near = ",".join(column["column_name"] for column in fk["foreign_key_columns"])
            end = f"{far[0]['schema_name']}:{far[0]['table_name']}/{','.join(c['column_name'] for c in far)}"
            made.ok("DELETE", f"/schema/s/table/{name}/foreignkey/{near}/reference/{end}")
    for name in tables:
        made.ok("DELETE", f"/schema/s/table/{name}")
    made.ok("DELETE", "/schema/s")


def test_renames_reach_every_document_that_says_the_name(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", text("k", nullok=False), keys=("k",)))
    bindings = {"mine": {"types": ["select"], "projection": "a"}}
    catalog.ok(
        "POST", "/schema/s/table", table("B", text("a"), foreign_keys=[refer("a", "A", "k")], acl_bindings=bindings)
    )
    catalog.ok("POST", "/entity/s:A", [{"k": "x"}])
    catalog.ok("POST", "/entity/s:B", [{"a": "x"}])
    before = catalog.now()
    catalog.ok("PUT", "/schema/s/table/A", {"table_name": "A2"})
    catalog.ok("PUT", "/schema/s/table/A2/column/k", {"name": "k2"})
    catalog.ok("PUT", "/schema/s/table/B/column/a", {"name": "a2"})
    catalog.ok("PUT", "/schema/s", {"schema_name": "s2"})
    b = catalog.ok("GET", "/schema/s2/table/B")
    (fk,) = b["foreign_keys"]
    assert fk["foreign_key_columns"] == [{"schema_name": "s2", "table_name": "B", "column_name": "a2"}]
    assert fk["referenced_columns"] == [{"schema_name": "s2", "table_name": "A2", "column_name": "k2"}]
    assert fk["names"] == [["s2", "B_a_fkey"]]
    assert b["acl_bindings"]["mine"]["projection"] == ["a2"]
    assert catalog.ok("GET", "/schema/s2/table/A2")["keys"][1]["unique_columns"] == ["k2"]
    assert catalog.ok("GET", "/entity/s2:B/(a2)")[0]["k2"] == "x"
    assert "violates foreign key" in catalog.refused(409, "POST", "/entity/s2:B", [{"a2": "y"}])
    # the past keeps the old names
    assert catalog.ok("GET", f"@{before}/entity/s:B/(a)")[0]["k"] == "x"
    assert "A" in catalog.ok("GET", f"@{before}/schema/s")["tables"]
    catalog.ok("PUT", "/schema/s2", {"schema_name": "s"})


def test_a_type_change_converts_values_and_the_past_keeps_the_old_ones(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("N", {"name": "v", "type": {"typename": "float8"}}, text("w")))
    catalog.ok("POST", "/entity/s:N", [{"v": 0.5}, {"v": 1.5}, {"v": None}])
    before = catalog.now()
    rows = catalog.ok("GET", "/entity/s:N@sort(v)")
    catalog.ok("PUT", "/schema/s/table/N/column/v", {"type": {"typename": "int4"}})
    assert [row["v"] for row in catalog.ok("GET", "/entity/s:N@sort(v)")] == [0, 2, None]
    assert catalog.ok("GET", f"@{before}/entity/s:N@sort(v)") == rows
    catalog.ok("PUT", f"/attributegroup/s:N/RID;v", [{"RID": rows[0]["RID"], "v": 7}])  # noqa: F541
    assert catalog.ok("GET", f"@{before}/entity/s:N@sort(v)") == rows
    catalog.ok("PUT", "/schema/s/table/N/column/v", {"type": {"typename": "text"}})
    catalog.ok("POST", "/entity/s:N", [{"v": "abc"}])
    assert "cast" in catalog.refused(409, "PUT", "/schema/s/table/N/column/v", {"type": {"typename": "int4"}})
    assert sorted(row["v"] or "" for row in catalog.ok("GET", "/entity/s:N")) == ["", "2", "7", "abc"]


def test_a_keyed_column_stays_unique_through_a_type_change(catalog: Catalog) -> None:
    catalog.ok(
        "POST",
        "/schema/s/table",
        table("U", {"name": "v", "type": {"typename": "float8"}, "nullok": False}, keys=("v",)),
    )
    catalog.ok("POST", "/entity/s:U", [{"v": 1.2}, {"v": 1.4}])
    assert "unique" in catalog.refused(409, "PUT", "/schema/s/table/U/column/v", {"type": {"typename": "int4"}})
    catalog.ok("PUT", "/schema/s/table/U/column/v", {"type": {"typename": "text"}})
    assert "duplicate key" in catalog.refused(409, "POST", "/entity/s:U", [{"v": "1.2"}])


def test_a_type_change_leaves_no_foreign_key_between_types_that_cannot_be_compared(catalog: Catalog) -> None:
    number = {"type": {"typename": "int4"}}
    catalog.ok("POST", "/schema/s/table", table("A", text("k", **number), keys=("k",)))
    catalog.ok("POST", "/schema/s/table", table("B", text("a", **number), foreign_keys=[refer("a", "A", "k")]))
    for target in ("A/column/k", "B/column/a"):
        message = catalog.refused(409, "PUT", f"/schema/s/table/{target}", {"type": {"typename": "text"}})
        assert "incompatible types" in message
        assert catalog.ok("GET", f"/schema/s/table/{target}")["type"] == {"typename": "int4"}
        catalog.ok("PUT", f"/schema/s/table/{target}", {"type": {"typename": "int8"}})
    catalog.ok("POST", "/entity/s:A", [{"k": 2**40}])
    catalog.ok("POST", "/entity/s:B", [{"a": 2**40}])


@pytest.mark.parametrize(
    ("typename", "given", "shown"),
    [
        ("int4", "5", 5),
        ("boolean", "yes", True),
        ("boolean", 0, False),
        ("text", 5, "5"),
        ("text", "it's", "it's"),
        ("float8", "1.50", 1.5),
        ("float8", "NaN", "NaN"),
        ("date", "2001-1-2", "2001-01-02"),
        ("timestamptz", "2001-02-03T04:05:06+01:00", "2001-02-03 03:05:06+00"),
        ("timestamp", "2001-02-03T04:05:06", "2001-02-03 04:05:06"),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("jsonb", {"b": 1, "a": [None]}, {"b": 1, "a": [None]}),
        ("json", "x", "x"),
        ("ermrest_curie", "X:{RID}", "X:{RID}"),
        ("serial4", 5, None),
    ],
)
def test_a_default_is_shown_as_a_value_of_its_type(catalog: Catalog, typename: str, given: Any, shown: Any) -> None:
    column = {"name": "c", "type": {"typename": typename}, "default": given}
    made = catalog.ok("POST", "/schema/s/table", table("A", column, text("t")))
    assert made["column_definitions"][5]["default"] == shown
    assert catalog.ok("GET", "/schema/s/table/A/column/c")["default"] == shown
    # what is shown can be given back, as clones do
    assert catalog.ok("POST", "/schema/s/table", table("B", {**column, "default": shown}, text("t")))
    row = catalog.ok("POST", "/entity/s:A?defaults=c", [{"t": "x"}])[0]["c"]
    assert row == catalog.ok("POST", "/entity/s:B?defaults=c", [{"t": "x"}])[0]["c"]


@pytest.mark.parametrize(
    ("before", "after", "values", "converted"),
    [
        ("boolean", "int4", [True, False, None], [1, 0, None]),
        ("int4", "boolean", [0, 1, -3], [False, True, True]),
        ("int4", "jsonb", [1], None),
        ("boolean", "json", [True], None),
        ("text", "jsonb", ['{"a": 1}', "5"], [{"a": 1}, 5]),
        ("jsonb", "int4", [5], [5]),
        ("timestamptz", "time", ["2001-02-03T04:05:06.5+00:00"], ["04:05:06.5"]),
        ("timestamptz", "date", ["2001-02-03T23:30:00-01:00"], ["2001-02-04"]),
        ("date", "time", ["2001-02-03"], None),
        ("float8", "int4", [0.5, 1.5, -2.5], [0, 2, -2]),
        ("float8", "int4", ["NaN"], None),
        ("int4", "int2", [70000], None),
        ("interval", "text", ["26 hours"], ["26:00:00"]),
    ],
)
def test_values_go_over_as_an_explicit_cast_takes_them(
    catalog: Catalog, before: str, after: str, values: list[Any], converted: list[Any] | None
) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", {"name": "c", "type": {"typename": before}}))
    rows = catalog.ok("POST", "/entity/s:A", [{"c": value} for value in values])
    change = {"type": {"typename": after}}
    if converted is None:
        catalog.refused(409, "PUT", "/schema/s/table/A/column/c", change)
        assert catalog.ok("GET", "/entity/s:A@sort(RID)") == rows
    else:
        catalog.ok("PUT", "/schema/s/table/A/column/c", change)
        assert [row["c"] for row in catalog.ok("GET", "/attribute/s:A/RID,c@sort(RID)")] == converted


def test_a_default_must_go_over_into_a_column_s_new_type(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", text("c", default="x")))
    catalog.refused(409, "PUT", "/schema/s/table/A/column/c", {"type": {"typename": "int4"}})
    changed = catalog.ok("PUT", "/schema/s/table/A/column/c", {"type": {"typename": "int4"}, "default": "7"})
    assert changed["default"] == 7
    assert catalog.ok("PUT", "/schema/s/table/A/column/c", {"type": {"typename": "text"}})["default"] == "7"


def test_a_dropped_column_and_table_stay_in_the_past(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("D", text("a"), text("b")))
    catalog.ok("POST", "/entity/s:D", [{"a": "1", "b": "2"}])
    first = catalog.now()
    catalog.ok("DELETE", "/schema/s/table/D/column/b")
    catalog.ok("POST", "/schema/s/table/D/column", text("b", default="new"))
    second = catalog.now()
    assert catalog.ok("GET", "/entity/s:D")[0]["b"] == "new"
    catalog.ok("DELETE", "/schema/s/table/D")
    assert catalog.ok("GET", f"@{first}/entity/s:D")[0]["b"] == "2"
    assert catalog.ok("GET", f"@{second}/entity/s:D")[0]["b"] == "new"
    catalog.refused(409, "GET", "/entity/s:D")


def test_a_new_column_fills_the_rows_and_counts_as_their_change(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("C"))
    catalog.ok("POST", "/schema/s/table/C/column", text("x"))
    catalog.ok("POST", "/entity/s:C", [{"x": "a"}, {"x": "b"}])
    old = {row["RID"]: row["RMT"] for row in catalog.ok("GET", "/entity/s:C")}
    catalog.refused(409, "POST", "/schema/s/table/C/column", text("y", nullok=False))
    catalog.ok("POST", "/schema/s/table/C/column", text("y", nullok=False, default="d"))
    catalog.ok("POST", "/schema/s/table/C/column", {"name": "n", "type": {"typename": "serial4"}})
    rows = catalog.ok("GET", "/entity/s:C@sort(n)")
    assert [(row["y"], row["n"]) for row in rows] == [("d", 1), ("d", 2)]
    assert all(row["RMT"] > old[row["RID"]] for row in rows)
    assert catalog.ok("POST", "/entity/s:C?defaults=n,y", [{"x": "c"}])[0]["n"] == 3


def test_rows_that_violate_a_new_constraint_refuse_it(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", text("k", nullok=False), keys=("k",)))
    catalog.ok("POST", "/schema/s/table", table("B", text("a")))
    catalog.ok("POST", "/entity/s:B", [{"a": "x"}, {"a": "x"}, {"a": None}])
    assert "duplicated" in catalog.refused(409, "POST", "/schema/s/table/B/key", {"unique_columns": ["a"]})
    assert "not present" in catalog.refused(409, "POST", "/schema/s/table/B/foreignkey", refer("a", "A", "k"))
    catalog.refused(409, "PUT", "/schema/s/table/B/column/a", {"nullok": False})
    catalog.ok("POST", "/entity/s:A", [{"k": "x"}])
    assert catalog.ok("POST", "/schema/s/table/B/foreignkey", refer("a", "A", "k"))[0]["names"] == [["s", "B_a_fkey"]]


def test_what_is_referred_to_cannot_be_dropped(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", text("k", nullok=False), keys=("k",)))
    catalog.ok("POST", "/schema/s/table", table("B", text("a"), foreign_keys=[refer("a", "A", "k")]))
    for target in ("/schema/s", "/schema/s/table/A", "/schema/s/table/A/key/k", "/schema/s/table/A/column/k"):
        assert "depend" in catalog.refused(409, "DELETE", target)
    for target, status in (
        ("/schema/s/table/A/key/RID", 409),
        ("/schema/s/table/A/column/RCT", 403),
        ("/schema/public", 409),
    ):
        catalog.refused(status, "DELETE", target)
    catalog.ok("DELETE", "/schema/s/table/B/column/a")
    assert catalog.ok("GET", "/schema/s/table/B")["foreign_keys"] == []


def test_system_columns_stay_what_they_are(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("A"))
    for change in ({"name": "X"}, {"type": {"typename": "text"}}, {"nullok": True}, {"default": "x"}):
        catalog.refused(403, "PUT", "/schema/s/table/A/column/RID", change)
    assert catalog.ok("PUT", "/schema/s/table/A/column/RID", {"comment": "c"})["comment"] == "c"


def test_a_bulk_request_is_all_or_nothing_and_refers_forward(catalog: Catalog) -> None:
    a = table("A", text("b"), foreign_keys=[refer("b", "B", "k")], schema_name="s")
    b = table("B", text("k", nullok=False), keys=("k",), schema_name="s")
    catalog.refused(409, "POST", "/schema", [a, {**b, "foreign_keys": [refer("k", "nowhere", "x")]}])
    assert catalog.ok("GET", "/schema/s")["tables"] == {}
    made = catalog.ok("POST", "/schema", [a, b])
    assert [one["table_name"] for one in made] == ["A", "B"]
    assert made[0]["foreign_keys"][0]["referenced_columns"][0]["table_name"] == "B"


def test_names_are_shortened_and_numbered(catalog: Catalog) -> None:
    long = "column_with_a_rather_long_name_of_its_own"
    made = catalog.ok("POST", "/schema/s/table", table("T", text(long), text("b"), keys=(f"{long},b",)))
    name = made["keys"][1]["names"][0][1]
    assert len(name.encode()) <= 63
    assert name.endswith("_key")
    catalog.ok("POST", "/schema/s/table", table("T_x", text("y"), keys=("y",)))
    other = catalog.ok("POST", "/schema/s/table", table("T2", text("x_y")))
    assert other["keys"][0]["names"] == [["s", "T2_RID_key"]]
    catalog.refused(400, "POST", "/schema/s/table", table("n" * 64))
    catalog.refused(409, "POST", "/schema/s/table/T2/key", {"unique_columns": ["x_y"], "names": [["s", "T2_RID_key"]]})


@pytest.mark.parametrize(
    ("status", "binding"),
    [
        (400, {"types": [], "projection": "v"}),
        (400, {"types": ["insert"], "projection": "v"}),
        (400, {"types": ["select"]}),
        (400, {"types": ["select"], "projection": "v", "other": 1}),
        (400, {"types": ["select"], "projection": [{"out": 1}, "v"]}),
        (400, {"types": ["select"], "projection": []}),
        (400, {"types": ["select"], "projection": [{"context": "x", "outbound": ["s", "f"]}, "v"]}),
        (400, True),
        (409, {"types": ["select"], "projection": "nowhere"}),
        (409, {"types": ["select"], "projection": [{"outbound": ["s", "none"]}, "v"]}),
        (409, {"types": ["select"], "projection": "n", "projection_type": "acl"}),
    ],
)
def test_bindings_are_checked_against_the_model(catalog: Catalog, status: int, binding: Any) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", text("v"), {"name": "n", "type": {"typename": "int4"}}))
    catalog.refused(status, "PUT", "/schema/s/table/A/acl_binding/b", binding)
    assert catalog.ok("GET", "/schema/s/table/A/acl_binding") == {}


def test_bindings_follow_foreign_keys_and_get_their_defaults(catalog: Catalog) -> None:
    catalog.ok("POST", "/schema/s/table", table("A", text("k", nullok=False), keys=("k",)))
    catalog.ok("POST", "/schema/s/table", table("B", text("a"), foreign_keys=[refer("a", "A", "k")]))
    path = [{"outbound": ["s", "B_a_fkey"], "alias": "x"}, {"filter": ["x", "k"], "operand": "1"}, "RCB"]
    got = catalog.ok("PUT", "/schema/s/table/B/acl_binding/b", {"types": ["select"], "projection": path})
    assert got == {"types": ["select"], "projection": path, "projection_type": "acl", "scope_acl": ["*"]}
    assert catalog.ok("PUT", "/schema/s/table/B/column/a/acl_binding/b", False) is False


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(
    [
        *("table_name", "schema_name", "column_definitions", "keys", "foreign_keys", "annotations", "acls", "comment"),
        *("acl_bindings", "kind", "name", "type", "default", "nullok", "unique_columns", "names", "schemas", "tables"),
        *("foreign_key_columns", "referenced_columns", "on_delete", "on_update", "typename", "is_array", "base_type"),
    ]
)


def mutated(base: Any, path: list[Any], member: str, value: Any) -> Any:
    """A document with one member somewhere in it replaced."""
    copy = json.loads(json.dumps(base))
    place = copy
    for step in path:
        if isinstance(place, dict):
            inner = place.get(step)
        else:
            inner = place[step % len(place)] if place and isinstance(step, int) else None
        if not isinstance(inner, dict | list):
            break
        place = inner
    if isinstance(place, dict):
        place[member] = value
    elif isinstance(place, list):
        place.append(value)
    return copy


STEPS = st.lists(st.sampled_from(["column_definitions", "keys", "foreign_keys", "type", 0, 1, 5, "names"]), max_size=3)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    target=st.sampled_from(
        [
            ("POST", "/schema"),
            ("POST", "/schema/s/table"),
            ("PUT", "/schema/s/table/A"),
            ("PUT", "/schema/s/table/A/column/v"),
            ("POST", "/schema/s/table/A/column"),
            ("POST", "/schema/s/table/A/key"),
            ("POST", "/schema/s/table/A/foreignkey"),
            ("PUT", "/schema/s/table/A/key/v"),
            ("PUT", "/schema/s/table/A/acl_binding/b"),
            ("PUT", "/schema/s/table/A/acl"),
            ("PUT", "/schema/s/table/A/annotation"),
            ("PUT", "/acl"),
        ]
    ),
    steps=STEPS,
    member=MEMBERS,
    value=JSONS,
    whole=st.booleans(),
)
def test_no_document_whatever_is_in_it_makes_the_service_fail(
    catalog: Catalog, target: tuple[str, str], steps: list[Any], member: str, value: Any, whole: bool
) -> None:
    names = catalog.ok("GET", "/schema/s")["tables"]
    if "A" not in names:
        catalog.ok("POST", "/schema/s/table", table("A", text("v", nullok=False), keys=("v",)))
    base = table("M", text("v"), keys=("v",), foreign_keys=[refer("v", "A", "v")], schema_name="s")
    document = value if whole else mutated(base, steps, member, value)
    status, answer = catalog.send(*target, document)
    assert status < 500, (status, answer)
    model = catalog.ok("GET", "/schema")
    assert set(model["schemas"]) >= {"public", "s"}
    for name in set(model["schemas"]) - {"public", "s"}:
        pytest.fail(f"made the schema {name}")
    for name in set(catalog.ok("GET", "/schema/s")["tables"]):
        one = catalog.ok("GET", "/schema/s")["tables"][name]
        for fk in one["foreign_keys"]:
            far = fk["referenced_columns"][0]
            near = fk["foreign_key_columns"][0]["column_name"]
            end = f"{far['schema_name']}:{far['table_name']}/{far['column_name']}"
            catalog.send("DELETE", f"/schema/s/table/{quote(name, safe='')}/foreignkey/{near}/reference/{end}")
    for name in set(catalog.ok("GET", "/schema/s")["tables"]):
        catalog.send("DELETE", f"/schema/s/table/{quote(name, safe='')}")
