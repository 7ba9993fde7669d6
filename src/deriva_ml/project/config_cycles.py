"""Modules of a package that import each other in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["import_cycles"]


def import_cycles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The shortest circle through each group of modules that import each other, each group once.

    Args:
        imports: The modules that each module imports; others than the package's own are left out.
    """
    graph = {name: [other for other in found if other in imports] for name, found in imports.items()}
    seen: set[str] = set()
    cycles = []
    for name in sorted(graph):
        if name not in seen and (cycle := _shortest(graph, name)):
            cycles.append(cycle)
            seen |= _reachable(graph, name) & {other for other in graph if name in _reachable(graph, other)}
    return cycles


def _reachable(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = list(graph[start])
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += graph[name]
    return found


def _shortest(graph: Mapping[str, Iterable[str]], start: str) -> list[str]:
    """The shortest way from a module back to itself; empty if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        longer = []
        for way in ways:
            for following in graph[way[-1]]:
                if following == start:
                    return way
                if following not in seen:
                    seen.add(following)
                    longer.append([*way, following])
        ways = longer
    return []
