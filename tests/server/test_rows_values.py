"""Odd values in columns of every type: each is refused as bad input, or comes back the same way from then on."""

from __future__ import annotations

import pytest

from deriva_ml.server.errors import ServiceError

TYPES = [
    "int2", "int4", "int8", "float4", "float8", "boolean", "text", "date", "timestamptz", "timestamp", "time", "timetz",
    "interval", "uuid", "json", "jsonb", "text[]", "int4[]", "float8[]", "timestamptz[]", "jsonb[]", "boolean[]",
    "color_rgb_hex", "ermrest_curie",
]  # fmt: skip
ODD = [
    None, True, False, 0, 1, -1, 1.5, 1e300, 10**20, 10**400, "", "x", "NaN", "inf", "{}", "{a}", "[1]", [], [1],
    [None], ["a"], [[1]], {}, {"a": 1}, "2001-01-01", "04:05", "1 day", "infinity", "é☃", "a\nb", 'a"b', "P1D", "-P1Y",
    "1 year ago", "2001-02-30", "9999-12-31T23:59:59.9999999", "0001-01-01T00:00+15", "24:00:00", "12:60", "#aabbcc",
    "NULL", "null", "0x1", "1_0", " 5 ", "+5", "\uff11",
]  # fmt: skip


def values(answer: list[dict]) -> list[dict]:
    """Rows without what the service fills in."""
    return [{name: value for name, value in row.items() if name.startswith("c")} for row in answer]


@pytest.mark.parametrize("typename", TYPES)
def test_what_is_accepted_comes_back_the_same_through_json_csv_and_sorting(make, typename):
    document = make.table("T", [make.column("c", typename)])
    tables, copy = make(document), make(document)
    for value in ODD:
        try:
            came = tables.post("T", [{"c": value}])[0]["c"]
        except ServiceError as error:
            assert error.status in (400, 409)
            continue
        assert tables.post("T", [{"c": came}])[0]["c"] == came
    stored = values(tables.get("/entity/S:T@sort(RID)"))
    assert stored
    if typename != "json":
        assert len(tables.get("/entity/S:T@sort(c)")) == len(stored)
    copy.post("T", tables.csv("/entity/S:T@sort(RID)"), content_type="text/csv")
    assert values(copy.get("/entity/S:T@sort(RID)")) == stored
