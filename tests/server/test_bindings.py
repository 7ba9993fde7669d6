"""Dynamic access: filters in a binding mean what the same filters mean in a path."""

from __future__ import annotations

from typing import Any

import pytest

from deriva_ml.wire.http import Client

ANN = Client("ann", roles=frozenset({"ann"}))


@pytest.fixture
def things(site):
    site.ok("PUT", "/acl/enumerate", ["*"])
    columns = [("t", "text"), ("n", "int4"), ("f", "float8"), ("d", "date"), ("tags", "text[]"), ("b", "boolean")]
    site.ok("POST", "/schema/S/table", site.table("T", [site.column(*one) for one in columns]))
    rows = [
        {"t": "a", "n": 1, "f": 0.5, "d": "2001-01-01", "tags": ["x", "y"], "b": True},
        {"t": "B", "n": 10, "f": "Infinity", "d": "2002-01-01", "tags": [], "b": False},
        {"t": "\u00e4", "n": None, "f": "NaN", "d": None, "tags": None, "b": None},
    ]
    site.ok("POST", "/entity/S:T", rows)
    return site


@pytest.mark.parametrize(
    ("column", "operator", "operand"),
    [
        ("t", "::gt::", "a"),
        ("t", "::leq::", "B"),
        ("t", "=", "it's"),
        ("n", "=", 10),
        ("n", "::geq::", "1"),
        ("n", "::null::", None),
        ("f", "::gt::", 0.25),
        ("f", "=", "NaN"),
        ("f", "::lt::", "Infinity"),
        ("d", "::geq::", "2001-06-01"),
        ("tags", "=", "x"),
        ("tags", "::gt::", "x"),
        ("b", "=", True),
        ("t", "::ciregexp::", "^b$"),
    ],
)
@pytest.mark.parametrize("negate", [False, True])
def test_a_filter_chooses_the_rows_that_it_chooses_in_a_path(
    things, column: str, operator: str, operand: Any, *, negate: bool
) -> None:
    step = {"filter": column, "operator": operator, "negate": negate}
    if operand is not None:
        step["operand"] = operand
    binding = {"types": ["select"], "projection": [step, "RID"], "projection_type": "nonnull"}
    things.ok("PUT", "/schema/S/table/T/acl_binding/b", binding)
    value = "" if operand is None else str(operand).replace("'", "%27").replace("^", "%5E")
    path = f"/entity/S:T/{'!' if negate else ''}{column}{operator}{value.replace('$', '%24')}@sort(RID)"
    assert things.ok("GET", "/entity/S:T@sort(RID)", client=ANN) == things.ok("GET", path)


@pytest.mark.parametrize(
    "step",
    [
        {"filter": "n", "operator": "zz", "operand": 1},
        {"filter": "n", "operator": ["="], "operand": 1},
        {"filter": "n", "operand": "x"},
        {"filter": "n", "operand": {}},
        {"and": [{"filter": "n"}]},
        {"outbound": ["S", "T_fk"], "alias": 5},
    ],
)
def test_a_filter_that_no_row_could_be_tested_with_is_refused(things, step: dict[str, Any]) -> None:
    things.ok("POST", "/schema/S/table/T/column", things.column("up", "text"))
    fk = things.reference(["up"], "T", ["RID"], names=[["S", "T_fk"]])
    things.ok("POST", "/schema/S/table/T/foreignkey", fk)
    binding = {"types": ["select"], "projection": [step, "RID"], "projection_type": "nonnull"}
    assert things("PUT", "/schema/S/table/T/acl_binding/b", binding)[0] == 400
    assert things.ok("GET", "/schema/S/table/T/acl_binding") == {}
