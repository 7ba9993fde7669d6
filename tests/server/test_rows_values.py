"""Odd values in columns of every type: each is refused as bad input, or comes back the same way from then on."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from deriva_ml.server import rows
from deriva_ml.server.errors import ServiceError
from deriva_ml.wire.path import parse_path

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


# ---------------------------------------------------------------------------------------------- values at their edges


@pytest.mark.parametrize("text", ["1e9999999999999999999", "1e-99999999999999999999999", "[1e999999999999]"])
def test_a_number_of_json_beyond_all_size_is_bad_input_and_a_bad_literal(make, text):
    tables = make(make.table("T", [make.column("c", "jsonb")]))
    for refused in (lambda: tables.post("T", f'[{{"c": {text}}}]'), lambda: tables.get(f"/entity/S:T/c={quote(text)}")):
        with pytest.raises(ServiceError) as error:
            refused()
        assert error.value.status == 400


@pytest.mark.parametrize("text", ["9" * 5000, "1e131071", "-1" + "0" * 9000, "1e-16383"])
def test_a_long_number_in_json_is_kept_and_does_not_spoil_its_column(make, text):
    tables = make(make.table("T", [make.column("c", "jsonb"), make.column("n", "int4")]))
    # not by way of an answer in JSON: the test's reader has a limit of digits too
    with tables.store.write(tables.client) as tx:
        rows.insert(tx, parse_path("/entity/S:T"), f'[{{"n": 1, "c": {text}}}, {{"n": 2, "c": 2.5}}]'.encode())
    assert tables.get("/attribute/S:T/c=2.50/n") == [{"n": 2}]
    assert tables.get(f"/attribute/S:T/c={text}/n") == [{"n": 1}]
    shown = tables.csv("/attribute/S:T/n,c@sort(c)").split("\n")
    assert len(shown) == 4
    assert "2,2.5" in shown


def test_a_long_number_is_no_integer_of_a_column(make):
    tables = make(make.table("T", [make.column("n", "int4")]))
    with pytest.raises(ServiceError) as error:
        tables.post("T", f'[{{"n": {"9" * 5000}}}]')
    assert error.value.status == 400


@pytest.mark.parametrize("text", ["999999999999 years", "99999999999 days", "9999999999999999999 sec"])
def test_an_interval_beyond_all_range_is_refused(make, text):
    tables = make(make.table("T", [make.column("c", "interval")]))
    with pytest.raises(ServiceError) as error:
        tables.post("T", [{"c": text}])
    assert error.value.status == 400
    with pytest.raises(ServiceError) as error:
        tables.get(f"/entity/S:T/c::gt::{quote(text)}")
    assert error.value.status == 409


def test_the_longest_intervals_are_told_apart_sorted_and_found(make):
    tables = make(make.table("T", [make.column("c", "interval"), make.column("a", "interval[]")]))
    texts = ["-178000000 years", "-1 days", "00:00:00.000001", "999999999 days", "178000000 years", "178000001 years"]
    tables.post("T", [{"c": text, "a": [text]} for text in reversed(texts)])
    assert [row["c"] for row in tables.get("/attribute/S:T/c@sort(c)")] == texts
    assert [row["c"] for row in tables.get("/attribute/S:T/c,a@sort(a)")] == texts
    assert [row["c"] for row in tables.get("/attribute/S:T/c@sort(c)@after(178000000%20years)")] == texts[-1:]
    for text in texts:
        assert tables.get(f"/attribute/S:T/c={quote(text)}/c") == [{"c": text}]
        assert tables.get(f"/attribute/S:T/a={quote(text)}/c") == [{"c": text}]
    assert tables.get("/aggregate/S:T/n:=cnt_d(c)") == [{"n": 6}]


def test_rows_in_arrays_keep_every_digit_and_what_no_number_is(make):
    tables = make(make.table("T", [make.column("f", "float8"), make.column("n", "int8")]))
    values = [0.30000000000000004, "Infinity", "-Infinity", "NaN", 1e-300, 1.7976931348623157e308, None]
    tables.post("T", [{"f": value, "n": 9007199254740993} for value in values])
    for function in ("array", "array_d"):
        ((found,),) = (row.values() for row in tables.get(f"/aggregate/T:=S:T/rows:={function}(T:*)"))
        assert sorted([row["f"] for row in found], key=repr) == sorted(values, key=repr)
        assert {row["n"] for row in found} == {9007199254740993}


def test_a_sum_of_large_integers_has_all_its_digits(make):
    tables = make(make.table("T", [make.column("n", "int8"), make.column("m", "int4")]))
    tables.post("T", [{"n": 2**63 - 1, "m": 2**31 - 1}] * 3)
    assert tables.get("/aggregate/S:T/n:=sum(n),m:=sum(m)") == [{"n": 3 * (2**63 - 1), "m": 3 * (2**31 - 1)}]
    assert tables.get("/aggregate/S:T/n=0/n:=sum(n)") == [{"n": None}]
    assert tables.get("/attributegroup/S:T/m;n:=sum(n)@sort(n)@after(5)") == [{"m": 2**31 - 1, "n": 3 * (2**63 - 1)}]


def test_values_that_are_level_are_one_group_and_one_of_the_distinct(make):
    tables = make(
        make.table("T", [make.column("i", "interval"), make.column("j", "jsonb"), make.column("z", "timetz")])
    )
    levels = [["1 day", 2.0, "01:00:00+01"], ["24:00:00", 2, "00:00:00+00"], ["2 days", 3, "01:00:00+00"]]
    tables.post("T", [dict(zip("ijz", row, strict=True)) for row in levels])
    for column in "ijz":
        assert sorted(row["n"] for row in tables.get(f"/attributegroup/S:T/{column};n:=cnt(*)")) == [1, 2]
        ((found,),) = (row.values() for row in tables.get(f"/aggregate/S:T/d:=array_d({column})"))
        assert len(found) == 2
        assert tables.get(f"/aggregate/S:T/d:=cnt_d({column})") == [{"d": 2}]


def test_bins_have_bounds_that_are_finite(make):
    tables = make(make.table("T", [make.column("f", "float8")]))
    tables.post("T", [{"f": 1}])
    for bounds in ("0;Infinity", "-Infinity;0", "0;NaN", "NaN;1"):
        with pytest.raises(ServiceError) as error:
            tables.get(f"/attribute/S:T/b:=bin(f;2;{bounds})")
        assert error.value.status == 409
