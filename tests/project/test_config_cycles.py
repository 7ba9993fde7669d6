"""Circles of imports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.project.config_cycles import import_cycles


def test_a_circle_is_given_once_by_its_shortest_way() -> None:
    imports = {"a": ["b"], "b": ["c", "a"], "c": ["a"], "d": ["a", "os"], "e": ["e"]}
    assert import_cycles(imports) == [["a", "b"], ["e"]]


names = st.sampled_from("abcdef")


@given(st.dictionaries(names, st.lists(names)))
def test_every_circle_is_one_and_no_module_of_a_circle_is_missed(imports: dict[str, list[str]]) -> None:
    cycles = import_cycles(imports)
    for cycle in cycles:
        for name, following in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert following in imports[name]
    assert bool(cycles) == any(_leads_to(imports, name, name) for name in imports)


def _leads_to(imports: dict[str, list[str]], start: str, end: str) -> bool:
    seen: set[str] = set()
    left = list(imports[start])
    while left:
        name = left.pop()
        if name == end:
            return True
        if name in imports and name not in seen:
            seen.add(name)
            left += imports[name]
    return False
