"""Following foreign keys over the keys of tables, by rules that somebody else makes.

A route is not followed further if it finds no rows, or if the same rows have been followed from the same table by a
route that had passed no table which this one has not: nothing new can be found then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from deriva_ml.core.values import dataclass
from deriva_ml.dataset.key_reader import KeyReader, Lookup
from deriva_ml.dataset.keys import RowSet, Values
from deriva_ml.wire.model import Model, Table

__all__ = ["Edge", "Route", "Rules", "edges_of", "follow"]

Name = tuple[str, str]
Columns = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """One step of a route.

    Attributes:
        table: The table that the step enters.
        on: Pairs of a column before and a column after the step that are equal.
        outward: The step follows a reference in its own direction.
    """

    table: Table
    on: tuple[tuple[str, str], ...]
    outward: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Steps from the table of datasets to another table."""

    start: Table
    edges: tuple[Edge, ...] = ()

    @property
    def end(self) -> Table:
        """The table that the route leads to."""
        return self.edges[-1].table if self.edges else self.start

    def passes(self, name: Name) -> bool:
        """Whether a table lies on the route."""
        return self.start.qualified == name or any(edge.table.qualified == name for edge in self.edges)


class Rules(Protocol):
    """Where routes may go."""

    def onward(self, route: Route) -> list[Route]:
        """The routes that are one step longer, in a fixed order."""

    def opens_only(self, found: Table) -> bool:
        """Whether a table can be entered by the first step of a route only."""


def edges_of(model: Model, end: Table) -> Iterable[Edge]:
    """The steps that a model allows from a table: along its references, and back along those to it."""
    for fkey in end.foreign_keys:
        target = model.table(*fkey.referenced_table)
        if target is not None:
            yield Edge(target, tuple(zip(fkey.columns, fkey.referenced_columns, strict=True)), outward=True)
    for fkey in model.referenced_by(end):
        source = model.table(*fkey.table)
        if source is not None:
            yield Edge(source, tuple(zip(fkey.referenced_columns, fkey.columns, strict=True)), outward=False)


def follow(reader: KeyReader, rules: Rules, start: Table, present: RowSet) -> dict[Name, RowSet]:
    """The rows of each table that routes lead to.

    Args:
        reader: Reads the keys.
        rules: Where routes may go.
        start: The table where they begin.
        present: The rows of it.
    """
    follower = _Follower(reader, rules)
    follower.follow(Route(start), present)
    return follower.found


@dataclass(frozen=True, slots=True)
class _Step:
    """The last step of a route, and the rows before it."""

    route: Route
    before: Name
    rows: RowSet

    @property
    def edge(self) -> Edge:
        return self.route.edges[-1]

    @property
    def mine(self) -> Columns:
        return tuple(pair[0] for pair in self.edge.on)

    @property
    def theirs(self) -> Columns:
        return tuple(pair[1] for pair in self.edge.on)


class _Follower:
    def __init__(self, reader: KeyReader, rules: Rules) -> None:
        self._reader = reader
        self._rules = rules
        self.found: dict[Name, RowSet] = {}
        self._followed: dict[Name, list[tuple[frozenset[Name], RowSet]]] = {}

    def follow(self, start: Route, present: RowSet) -> None:
        """Follow every route, the short ones first: what they find is known to the long ones."""
        self.found[start.end.qualified] = present
        front = [(start, present)]
        while front:
            steps = [
                _Step(longer, route.end.qualified, rows)
                for route, rows in front
                if rows and not self._is_followed(route, rows)
                for longer in self._rules.onward(route)
            ]
            front = self._take(steps)

    def _take(self, steps: Sequence[_Step]) -> list[tuple[Route, RowSet]]:
        """The rows that each step leads to; what must be read for them is read before, at the same time."""
        # Routes that differ only in how they came to the same rows look for the same values.
        looked: dict[tuple[Name, RowSet, Columns], Values] = {}
        for step in steps:
            key = (step.before, step.rows, step.mine)
            if key not in looked:
                looked[key] = self._reader.keys_of[step.before].values(step.mine, step.rows)
        values = [looked[step.before, step.rows, step.mine] for step in steps]
        self._reader.read(
            [
                Lookup(step.edge.table, step.theirs, each, is_key=step.edge.outward)
                for step, each in zip(steps, values, strict=True)
                if each
            ]
        )
        found: dict[tuple[Name, Columns, int], RowSet] = {}
        front = []
        for step, each in zip(steps, values, strict=True):
            if not each:
                continue
            name = step.edge.table.qualified
            goal = (name, step.theirs, id(each))
            if goal not in found:
                found[goal] = self._reader.keys_of[name].having(step.theirs, each)
                self.found[name] = self.found.get(name, 0) | found[goal]
            front.append((step.route, found[goal]))
        return front

    def _is_followed(self, route: Route, rows: RowSet) -> bool:
        """Whether nothing new can be found behind a route; else the route is noted."""
        # To have passed a table that is entered at the beginning only shuts no way.
        passed = frozenset(edge.table.qualified for edge in route.edges if not self._rules.opens_only(edge.table))
        before = self._followed.setdefault(route.end.qualified, [])
        if any(others <= passed and not rows & ~known for others, known in before):
            return True
        before.append((passed, rows))
        return False
