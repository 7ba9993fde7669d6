"""Datasets in datasets, as a graph that is read whole, once: never dataset by dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from deriva_ml.core.enums import MLTable
from deriva_ml.core.values import dataclass
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import table

__all__ = ["Nesting", "read_nesting"]

_NONE: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nesting:
    """Which dataset holds which.

    Attributes:
        below: The datasets directly in each one.
        above: The datasets that each one is directly in.
    """

    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    above: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Nesting:
        """Make the graph of (holder, held) pairs; neighbours are kept in the order of their RIDs."""
        below: dict[str, list[str]] = {}
        above: dict[str, list[str]] = {}
        for holder, held in sorted(set(pairs)):
            below.setdefault(holder, []).append(held)
            above.setdefault(held, []).append(holder)
        return cls(
            {rid: tuple(found) for rid, found in below.items()}, {rid: tuple(found) for rid, found in above.items()}
        )

    def children(self, rid: str) -> tuple[str, ...]:
        """The datasets directly in this one."""
        return self.below.get(rid, _NONE)

    def parents(self, rid: str) -> tuple[str, ...]:
        """The datasets that this one is directly in."""
        return self.above.get(rid, _NONE)

    def descendants(self, rid: str) -> tuple[str, ...]:
        """Everything below, nearest first, each once; a cycle in the data does not trap the walk."""
        return _reached(rid, (self.below,))

    def ancestors(self, rid: str) -> tuple[str, ...]:
        """Everything above, nearest first, each once."""
        return _reached(rid, (self.above,))

    def connected(self, rid: str) -> tuple[str, ...]:
        """Everything that can be reached by going up and down, in any order."""
        return _reached(rid, (self.below, self.above))

    def cycle_with(self, holder: str, held: Iterable[str]) -> tuple[str, ...] | None:
        """The cycle that putting some datasets into ``holder`` would close, as its members in order; None if none."""
        for rid in held:
            way = self._way(rid, holder)
            if way is not None:
                return (holder, *way)
        return None

    def _way(self, start: str, finish: str) -> tuple[str, ...] | None:
        """The shortest way down from one dataset to another, both included."""
        came_from: dict[str, str | None] = {start: None}
        front = [start]
        while front:
            following: list[str] = []
            for rid in front:
                if rid == finish:
                    return _back(came_from, rid)
                for child in self.children(rid):
                    if child not in came_from:
                        came_from[child] = rid
                        following.append(child)
            front = following
        return None


def _back(came_from: Mapping[str, str | None], last: str) -> tuple[str, ...]:
    way = [last]
    while (before := came_from[way[-1]]) is not None:
        way.append(before)
    return tuple(reversed(way))


def _reached(start: str, graphs: tuple[Mapping[str, tuple[str, ...]], ...]) -> tuple[str, ...]:
    found = {start: None}
    front = [start]
    while front:
        following = []
        for rid in front:
            for graph in graphs:
                for other in graph.get(rid, _NONE):
                    if other not in found:
                        found[other] = None
                        following.append(other)
        front = following
    return tuple(rid for rid in found if rid != start)


def read_nesting(session: Session) -> Nesting:
    """Read the whole graph in one request."""
    path = table(session.ml_schema, MLTable.dataset_dataset.value)
    rows = session.catalog.attributes(path, "Dataset", "Nested_Dataset")
    return Nesting.of((str(row["Dataset"]), str(row["Nested_Dataset"])) for row in rows)
