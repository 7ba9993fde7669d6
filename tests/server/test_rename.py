"""Renames: whatever says the old name says the new one afterwards, bindings of access lists included."""

from __future__ import annotations

import pytest

from deriva_ml.wire.http import Client

ANN = Client("ann", roles=frozenset({"ann"}))


@pytest.fixture
def ruled(site):
    """Parents that name who may see them, and children that are seen with their parent."""
    site.ok("PUT", "/acl/enumerate", ["*"])
    member = site.column("member", "text")
    site.ok("POST", "/schema/S/table", site.table("Parent", [member, site.column("n", "int4")], keys=[["n"]]))
    fk = site.reference(["parent"], "Parent", ["n"], names=[["S", "Child_Parent"]])
    site.ok("POST", "/schema/S/table", site.table("Child", [site.column("parent", "int4")], references=[fk]))
    site.ok(
        "POST", "/entity/S:Parent", [{"n": 1, "member": "ann"}, {"n": 2, "member": "bob"}, {"n": 3, "member": "ann"}]
    )
    site.ok("POST", "/entity/S:Child", [{"parent": 1}, {"parent": 2}, {"parent": 3}])
    binding = {
        "types": ["select"],
        "projection": [
            {"outbound": ["S", "Child_Parent"], "alias": "P"},
            {
                "and": [
                    {"filter": ["P", "n"], "operator": "::lt::", "operand": 3},
                    {"filter": "n", "operator": "::gt::"},
                ]
            },
            {"filter": ["base", "parent"], "operand": 1},
            "member",
        ],
    }
    binding["projection"][1]["and"][1]["operand"] = 0
    site.ok("PUT", "/schema/S/table/Child/acl_binding/own", binding)
    # one of a column, whose name stands at the end only
    site.ok("PUT", "/schema/S/table/Parent/acl/select", ["ann"])
    hidden = {"types": ["select"], "projection": ["member"]}
    site.ok("PUT", "/schema/S/table/Parent/column/member/acl/select", [])
    site.ok("PUT", "/schema/S/table/Parent/column/member/acl_binding/own", hidden)
    return site


def seen(site, child: str = "S:Child", parent: str = "S:Parent") -> tuple[list, list]:
    children = site.ok("GET", f"/entity/{child}", client=ANN)
    parents = site.ok("GET", f"/entity/{parent}@sort(RID)", client=ANN)
    return [list(row.values())[5] for row in children], [list(row.values())[5] for row in parents]


def test_bindings_go_on_when_columns_tables_schemas_and_references_are_renamed(ruled) -> None:
    expected = ([1], ["ann", None, "ann"])
    assert seen(ruled) == expected
    ruled.ok("PUT", "/schema/S/table/Parent/column/member", {"name": "m' \u00e9"})
    assert seen(ruled) == expected
    ruled.ok("PUT", "/schema/S/table/Parent/column/n", {"name": "number", "comment": "c"})
    ruled.ok("PUT", "/schema/S/table/Child/column/parent", {"name": "up"})
    assert seen(ruled) == expected
    ruled.ok("PUT", "/schema/S/table/Child/foreignkey/up/reference/S:Parent/number", {"names": [["S", "link"]]})
    ruled.ok("PUT", "/schema/S/table/Parent", {"table_name": "P2"})
    ruled.ok("PUT", "/schema/S", {"schema_name": "S2"})
    ruled.ok("POST", "/schema/S3")
    ruled.ok("PUT", "/schema/S2/table/Child", {"schema_name": "S3"})
    assert seen(ruled, "S3:Child", "S2:P2") == expected
    projection = ruled.ok("GET", "/schema/S3/table/Child/acl_binding/own")["projection"]
    assert projection == [
        {"outbound": ["S3", "link"], "alias": "P"},
        {
            "and": [
                {"filter": ["P", "number"], "operator": "::lt::", "operand": 3},
                {"filter": "number", "operator": "::gt::", "operand": 0},
            ]
        },
        {"filter": ["base", "up"], "operand": 1},
        "m' \u00e9",
    ]


def test_a_column_of_the_same_name_elsewhere_is_another(ruled) -> None:
    ruled.ok("POST", "/schema/S/table/Child/column", ruled.column("member", "text"))
    ruled.ok("PUT", "/schema/S/table/Child/column/member", {"name": "other"})
    assert ruled.ok("GET", "/schema/S/table/Child/acl_binding/own")["projection"][-1] == "member"
    assert seen(ruled)[0] == [1]


def test_a_binding_that_leads_nowhere_is_kept_and_gives_nothing(ruled) -> None:
    ruled.ok("DELETE", "/schema/S/table/Child/foreignkey/parent/reference/S:Parent/n")
    before = ruled.ok("GET", "/schema/S/table/Child/acl_binding/own")
    ruled.ok("PUT", "/schema/S/table/Parent/column/member", {"name": "who"})
    assert ruled.ok("GET", "/schema/S/table/Child/acl_binding/own") == before
    assert ruled.ok("GET", "/entity/S:Child", client=ANN) == []


def test_one_request_renames_a_reference_and_binds_along_it(ruled) -> None:
    binding = {"types": ["insert"], "projection": [{"inbound": ["S", "new"]}, "RCB"], "projection_type": "acl"}
    change = {"names": [["S", "new"]], "acl_bindings": {"b": binding}}
    changed = ruled.ok("PUT", "/schema/S/table/Child/foreignkey/parent/reference/S:Parent/n", change)
    assert changed["names"] == [["S", "new"]]
    assert changed["acl_bindings"]["b"]["projection"] == binding["projection"]
