"""The graph of datasets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.dataset.nesting import Nesting

NODES = st.sampled_from("ABCDEFGH")
PAIRS = st.lists(st.tuples(NODES, NODES), max_size=16)


def _closure(pairs: list[tuple[str, str]], start: str) -> set[str]:
    found: set[str] = set()
    while True:
        more = {held for holder, held in pairs if holder in found | {start}} - found
        if not more:
            return found - {start}
        found |= more


@given(PAIRS, NODES)
def test_descendants_and_ancestors_are_what_a_closure_finds_even_with_cycles(
    pairs: list[tuple[str, str]], start: str
) -> None:
    nesting = Nesting.of(pairs)
    back = [(held, holder) for holder, held in pairs]
    assert set(nesting.descendants(start)) == _closure(pairs, start)
    assert set(nesting.ancestors(start)) == _closure(back, start)
    assert set(nesting.connected(start)) == _closure(pairs + back, start)
    assert len(set(nesting.connected(start))) == len(nesting.connected(start))


@given(PAIRS, NODES, NODES)
def test_a_cycle_is_announced_exactly_where_the_new_pair_would_close_one(
    pairs: list[tuple[str, str]], holder: str, held: str
) -> None:
    cycle = Nesting.of(pairs).cycle_with(holder, [held])
    assert (cycle is not None) == (held == holder or holder in _closure(pairs, held))
    if cycle is not None:
        assert cycle[0] == cycle[-1] == holder
        assert set(pairwise(cycle)) <= {*pairs, (holder, held)}


def test_the_cycle_names_its_members_in_order() -> None:
    nesting = Nesting.of([("A", "B"), ("B", "C")])
    assert nesting.cycle_with("C", ["A"]) == ("C", "A", "B", "C")
    assert nesting.cycle_with("A", ["A"]) == ("A", "A")
    assert nesting.cycle_with("A", ["C"]) is None
    assert nesting.children("A") == ("B",)
    assert nesting.parents("B") == ("A",)
