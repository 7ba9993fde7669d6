"""Sizes of partitions and the functions that choose rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.exceptions import DerivaMLSelectionError
from deriva_ml.dataset.split_plan import (
    checked_choice,
    ordered_split,
    partition_sizes,
    random_split,
    sample_size,
    stratified_split,
)

LABELS = st.lists(st.sampled_from(["a", "b", "c", None, 1, 2.5]), min_size=4, max_size=60)


def test_sizes_are_fractions_or_numbers_and_training_takes_the_rest() -> None:
    assert partition_sizes(10) == {"Training": 8, "Testing": 2}
    assert partition_sizes(10, 3, None, 0.1) == {"Training": 6, "Testing": 3, "Validation": 1}
    assert partition_sizes(10, 0.2, 0.5) == {"Training": 5, "Testing": 2}
    assert partition_sizes(5, 0.5, 0.5) == {"Training": 2, "Testing": 2}
    assert partition_sizes(7, 0.25, 0.5, 0.25) == {"Training": 3, "Testing": 2, "Validation": 2}


@pytest.mark.parametrize(
    ("total", "sizes", "message"),
    [
        (10, (0.01,), "partition Testing of 10 elements would be empty"),
        (10, (8, 4), "Training 4, Testing 8.*need 12 elements and there are 10"),
        (10, (10,), "partition Training of 10 elements would be empty"),
        (10, (12,), "there are 10"),
        (10, (0.2, None, 0.01), "partition Validation of 10"),
        (10, (0,), "test_size=0 is no size"),
        (10, (-1,), "no size"),
        (10, (2.5,), "neither a fraction nor a whole number"),
        (10, (0.2, True), "train_size=True"),
        (0, (), "there are 0|would be empty"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_counts(total: int, sizes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition_sizes(total, *sizes)


def test_a_sample_has_a_size_too() -> None:
    assert (sample_size(10, 0.3), sample_size(10, 10)) == (3, 10)
    for size in (11, 0.01):
        with pytest.raises(ValueError, match="of 10 elements"):
            sample_size(10, size)


def test_the_same_seed_gives_the_same_rows_for_ever() -> None:
    found = random_split(range(12), {"Training": 8, "Testing": 4}, 42)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "Training": [0, 1, 3, 4, 6, 8, 9, 10],
        "Testing": [2, 5, 7, 11],
    }
    frame = pd.DataFrame({"x": ["a", "b", "a"] * 4})
    found = stratified_split("x")(frame, {"Training": 9, "Testing": 3}, 42)
    assert found["Testing"].tolist() == [5, 7, 11]


@given(st.integers(2, 80), st.integers(1, 40), st.integers(0, 2**64))
def test_a_random_choice_is_disjoint_complete_and_of_the_right_size(rows: int, testing: int, seed: int) -> None:
    sizes = {"Training": max(1, rows - testing), "Testing": min(testing, rows - 1)}
    found = random_split(range(rows), sizes, seed)
    choice = checked_choice(found, sizes, rows)
    assert {name: len(chosen) for name, chosen in choice.items()} == sizes
    assert sorted(at for chosen in choice.values() for at in chosen) == list(range(rows))


def test_without_chance_the_order_decides() -> None:
    found = ordered_split(range(6), {"Training": 3, "Testing": 2, "Validation": 1}, 0)
    assert [rows.tolist() for rows in found.values()] == [[0, 1, 2], [3, 4], [5]]


@given(LABELS, st.sampled_from(["drop", "include"]), st.integers(0, 9))
def test_a_stratified_choice_keeps_shares_and_gives_positions_of_the_whole_frame(
    labels: list[Any], missing: str, seed: int
) -> None:
    frame = pd.DataFrame({"other": range(len(labels)), "label": pd.Series(labels, dtype=object)})
    usable = [at for at, label in enumerate(labels) if label is not None or missing == "include"]
    if len(usable) < 3:
        return
    sizes = {"Training": len(usable) - 2, "Testing": 1, "Validation": 1}
    choice = checked_choice(stratified_split("label", missing)(frame, sizes, seed), sizes, len(labels))
    assert sorted(at for chosen in choice.values() for at in chosen) == usable
    counts = Counter(repr(labels[at]) for at in usable)
    trained = Counter(repr(labels[at]) for at in choice["Training"])
    for label, count in counts.items():
        assert abs(trained[label] - count * sizes["Training"] / len(usable)) < 2


def test_equal_shares_are_exact() -> None:
    frame = pd.DataFrame({"label": ["a"] * 60 + ["b"] * 30 + ["c"] * 10})
    found = stratified_split("label")(frame, {"Training": 70, "Testing": 20, "Validation": 10}, 7)
    for name, share in (("Training", 0.7), ("Testing", 0.2), ("Validation", 0.1)):
        assert Counter(frame["label"][found[name]]) == {"a": 60 * share, "b": 30 * share, "c": 10 * share}


def test_a_stratified_choice_that_cannot_be_made_says_why() -> None:
    frame = pd.DataFrame({"label": ["a", None, "b", None], "level": [1, 2, 3, 4]})
    sizes = {"Training": 2, "Testing": 1}
    with pytest.raises(ValueError, match="missing='skip'"):
        stratified_split("label", "skip")
    with pytest.raises(DerivaMLSelectionError) as caught:
        stratified_split("lable")(frame, sizes, 1)
    assert caught.value.allowed == ("label", "level")
    with pytest.raises(ValueError, match="no value in 2 of 4 rows"):
        stratified_split("label")(frame, sizes, 1)
    with pytest.raises(ValueError, match="need 3 rows with a value in label and there are 2"):
        stratified_split("label", "drop")(frame, sizes, 1)
    with pytest.raises(ValueError, match="need 5 rows and there are 4"):
        random_split(frame, {"Training": 4, "Testing": 1}, 1)
    with pytest.raises(ValueError, match="seed"):
        random_split(frame, sizes, -1)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"Training": [0]}, "gave the partitions Training"),
        ({"Training": [0, 1], "Testing": []}, "left the partition Testing of 4 rows empty"),
        ({"Training": [0, 4], "Testing": [1]}, "chose row 4 of 4"),
        ({"Training": [0, 0], "Testing": [1]}, "row 0 for Training and for Training"),
        ({"Training": [0, 1], "Testing": [1]}, "row 1 for Training and for Testing"),
    ],
)
def test_what_a_selection_function_gives_is_checked(found: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_choice(found, {"Training": 2, "Testing": 1}, 4)
