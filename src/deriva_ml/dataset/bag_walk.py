"""Which records of a bag belong to one of its datasets: the walk that makes bags, over the bag's own tables."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable

from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.joined_sql import quoted, sql_name
from deriva_ml.dataset.reach import Edge, Route, Walk
from deriva_ml.wire.model import Table

__all__ = ["belonging"]

Name = tuple[str, str]
Rids = frozenset[str]


def belonging(database: BagDatabase, datasets: Iterable[str], table: Table) -> list[str]:
    """The records of a table that belong to some datasets, without those nested in them.

    Args:
        database: The bag's tables.
        datasets: The datasets.
        table: The table.

    Returns:
        RIDs, in order.
    """
    return sorted(_Walker(database, table).found(frozenset(datasets)))


class _Walker:
    """Follows every route of the walk that may lead to a table, and no rows twice."""

    def __init__(self, database: BagDatabase, target: Table) -> None:
        self._database = database
        self._target = target.qualified
        self._walk = Walk(database.model, database.ml_schema, database.domain_schemas)
        self._followed: dict[Name, list[tuple[frozenset[Name], Rids]]] = {}

    def found(self, datasets: Rids) -> Rids:
        start = Route(self._walk.dataset)
        if start.end.qualified == self._target:
            return datasets
        found: set[str] = set()
        front = deque([(start, datasets)])
        while front:
            route, rids = front.popleft()
            if route.end.qualified == self._target:
                found |= rids
            elif rids and not self._is_followed(route, rids):
                for longer in self._onward(route):
                    front.append((longer, self._step(route.end, longer.edges[-1], rids)))
        return frozenset(found)

    def _onward(self, route: Route) -> list[Route]:
        """The longer routes that have rows in the bag, and lead to the table or on."""
        return [
            longer
            for longer in self._walk.onward(route)
            if self._database.has(longer.end) and (longer.end.qualified == self._target or self._walk.onward(longer))
        ]

    def _step(self, before: Table, edge: Edge, rids: Rids) -> Rids:
        on = " AND ".join(f"a.{quoted(mine)} = b.{quoted(theirs)}" for mine, theirs in edge.on)
        sql = (
            f"SELECT DISTINCT b.RID FROM {sql_name(before)} AS a JOIN {sql_name(edge.table)} AS b ON {on} "
            "WHERE a.RID IN (SELECT value FROM json_each(?))"
        )
        return frozenset(str(rid) for (rid,) in self._database.query(sql, [json.dumps(sorted(rids))]))

    def _is_followed(self, route: Route, rids: Rids) -> bool:
        """Whether these rows were followed from this table already, on a way that shut out no more than this one."""
        passed = frozenset(
            edge.table.qualified for edge in route.edges if not edge.table.references(self._walk.dataset)
        )
        before = self._followed.setdefault(route.end.qualified, [])
        if any(others <= passed and rids <= known for others, known in before):
            return True
        before.append((passed, rids))
        return False
