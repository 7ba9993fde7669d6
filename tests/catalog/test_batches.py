"""What is sent is cut into parts that fit, and nothing of it is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.catalog.batches import by_changes, parts, value_parts


@given(st.lists(st.integers(0, 20)), st.integers(1, 30), st.none() | st.integers(1, 5))
def test_parts_keep_order_and_fit_unless_one_item_is_too_heavy(weights: list[int], room: int, most: int | None) -> None:
    made = list(parts(weights, int, room, most))
    assert [weight for part in made for weight in part] == weights
    assert all(part for part in made)
    assert all(len(part) == 1 or sum(part) <= room for part in made)
    assert all(len(part) <= (most or len(part)) for part in made)


@given(st.lists(st.text(max_size=8) | st.none()), st.integers(-5, 40))
def test_values_are_sent_once_and_nulls_never(values: list[str | None], room: int) -> None:
    sent = [value for part in value_parts(values, room) for value in part]
    assert sent == list(dict.fromkeys(value for value in values if value is not None))


def test_rows_are_changed_in_the_columns_that_they_have() -> None:
    rows = [{"RID": "1", "a": 1, "RMT": "x"}, {"RID": "2", "b": 2}, {"RID": "3", "a": 3}, {"RID": "4"}]
    assert by_changes(rows, ["RID"]) == {
        ("a",): [{"RID": "1", "a": 1}, {"RID": "3", "a": 3}],
        ("b",): [{"RID": "2", "b": 2}],
    }
    assert by_changes(rows[:1], ["RID"], ["b"]) == {("b",): [{"RID": "1", "b": None}]}
