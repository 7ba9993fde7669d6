"""Columns of keys and sets of rows, against plain lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.dataset import keys as module
from deriva_ml.dataset.keys import TableKeys, count_rows

_ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "x", "y"])), max_size=30)


def _keys(rows: list[tuple[str, str]]) -> TableKeys:
    keys = TableKeys(("RID", "One", "Other"))
    keys.add([[f"R{n}" for n in range(len(rows))], [one for one, _ in rows], [other for _, other in rows]])
    return keys


@given(rows=_ROWS, wanted=st.sets(st.sampled_from(["x", "y", "z"])))
def test_rows_with_a_value_are_found_and_give_their_values(rows: list[tuple[str, str]], wanted: set[str]) -> None:
    keys = _keys(rows)
    found = keys.having(("Other",), wanted)
    expected = [n for n, (_one, other) in enumerate(rows) if other in wanted]
    assert keys.rids(found) == sorted(f"R{n}" for n in expected)
    assert count_rows(found) == len(expected)
    assert keys.values(("One",), found) == {rows[n][0] for n in expected}
    assert keys.values(("One", "Other"), found) == {rows[n] for n in expected}


@given(rows=_ROWS)
def test_null_has_no_partner(rows: list[tuple[str, str]]) -> None:
    keys = _keys(rows)
    everything = keys.having(("RID",), {f"R{n}" for n in range(len(rows))})
    assert keys.values(("Other",), everything) == {other for _one, other in rows} - {""}
    assert keys.values(("One", "Other"), everything) == {row for row in rows if row[1]}


def test_rows_that_come_again_are_left_out() -> None:
    keys = _keys([("a", "x"), ("b", "y")])
    before = keys.having(("One",), {"b"})
    keys.add([["R1", "R7"], ["b", "c"], ["y", "x"]])
    assert keys.column("RID") == ["R0", "R1", "R7"]
    assert keys.rids(before) == ["R1"]
    assert keys.rids(keys.having(("Other",), {"x"})) == ["R0", "R7"]


@pytest.mark.parametrize("odd", ["", "\x1f"])
def test_a_long_column_is_the_same_column(odd: str) -> None:
    values = [f"v{n}" for n in range(module._MANY + 1)]
    values[5] = odd
    keys = TableKeys(("RID", "One"))
    keys.add([[f"R{n}" for n in range(len(values))], values])
    assert keys.column("One") == values


def test_what_was_asked_for_is_complete() -> None:
    keys = _keys([("a", "x")])
    assert not keys.is_complete(("One",), {"a"})
    keys.completed(("One",), {"a", "b"})
    assert keys.is_complete(("One",), {"b"})
    assert not keys.is_complete(("One",), {"b", "c"})
    keys.whole = True
    assert keys.is_complete(("Other",), {"c"})
