"""What belongs to a dataset: the only enumerator of it, for bags, estimates and whatever else asks.

1. The walk starts at the table of datasets and follows foreign keys in both directions, within the project's schemas
   and the ML schema, never twice through one table on a route.
2. Nesting is not walked: the nested datasets, at any depth, are starting points beside the dataset itself.
3. A table that refers to datasets is entered from there only: from a member no other dataset is reached.
4. ``Execution`` and ``Workflow`` are ends: their rows are part of the result, what lies behind them is not. Else one
   execution would bring everything that it ever made.
5. Vocabularies are not walked to: each is taken whole.
6. Excluded tables are neither entered nor passed.
7. A route is not followed further if it finds no rows, or if the same rows have been followed from the same table by a
   route that had passed no table which this one has not: nothing new can be found then.
8. Rows that several routes find are one row: the result holds each RID of a table once, in order.

9. What rows of one table refer to, and what refers to them, is asked for once, whatever the number of routes.

The number of requests depends on the model (about one for each reference that has rows, one for each vocabulary), not
on the number of members, rows or, up to some hundreds, nested datasets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDatasetNotFound
from deriva_ml.dataset.members import chunks
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.wire.model import Json, Model, Table
from deriva_ml.wire.path import any_of, table

__all__ = ["Edge", "Reach", "Route", "Walk", "reach"]

Row = dict[str, Json]
Name = tuple[str, str]
Columns = tuple[str, ...]
Values = tuple[Json, ...]

_LIST_BYTES = 1500
"""The length of the list of datasets in one request: the joins of the route need room too."""


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


@dataclass(frozen=True)
class Walk:
    """The rules of the walk, over a model; it reads no rows.

    Attributes:
        model: The model, as of the version's snapshot.
        ml_schema: Name of the ML schema.
        domain_schemas: The project's schemas.
        excluded: Tables that are left out.
    """

    model: Model
    ml_schema: str
    domain_schemas: Collection[str]
    excluded: Collection[Name] = field(default_factory=frozenset)

    @property
    def dataset(self) -> Table:
        """The table of datasets."""
        return self.model.schemas[self.ml_schema].tables[MLTable.dataset.value]

    def vocabularies(self) -> list[Table]:
        """The vocabularies, which are taken whole."""
        return [found for found in self._tables() if is_vocabulary(found) and found.qualified not in self.excluded]

    def _tables(self) -> Iterator[Table]:
        for schema in (self.ml_schema, *sorted(self.domain_schemas)):
            if schema in self.model.schemas:
                yield from self.model.schemas[schema].tables.values()

    def onward(self, route: Route) -> list[Route]:
        """The routes that are one step longer, in a fixed order."""
        end = route.end
        if route.edges and self._is_terminal(end):
            return []
        steps = [edge for edge in self._edges(end) if self._may_enter(route, edge.table)]
        steps.sort(key=lambda edge: (edge.table.qualified, edge.on, edge.outward))
        return [Route(route.start, (*route.edges, edge)) for edge in steps]

    def _edges(self, end: Table) -> Iterator[Edge]:
        for fkey in end.foreign_keys:
            target = self.model.table(*fkey.referenced_table)
            if target is not None:
                yield Edge(target, tuple(zip(fkey.columns, fkey.referenced_columns, strict=True)), outward=True)
        for fkey in self.model.referenced_by(end):
            source = self.model.table(*fkey.table)
            if source is not None:
                yield Edge(source, tuple(zip(fkey.referenced_columns, fkey.columns, strict=True)), outward=False)

    def _is_terminal(self, found: Table) -> bool:
        return found.qualified in {
            (self.ml_schema, MLTable.execution.value),
            (self.ml_schema, MLTable.workflow.value),
        }

    def _may_enter(self, route: Route, found: Table) -> bool:
        if found.schema != self.ml_schema and found.schema not in self.domain_schemas:
            return False
        if found.qualified in self.excluded or found.qualified == (self.ml_schema, MLTable.dataset_dataset.value):
            return False
        if is_vocabulary(found) or route.passes(found.qualified):
            return False
        return not (route.edges and found.references(self.dataset))


@dataclass(frozen=True)
class Reach:
    """The rows that belong to a dataset as of one moment.

    Attributes:
        dataset_rid: The dataset.
        datasets: The dataset and everything nested in it.
        model: The model of that moment.
        rows: The rows of each table, by RID; a table without rows is absent.
    """

    dataset_rid: str
    datasets: tuple[str, ...]
    model: Model
    rows: Mapping[Name, Sequence[Row]]


def reach(session: Session, dataset_rid: str, exclude_tables: Iterable[str] = ()) -> Reach:
    """Read everything that belongs to a dataset.

    Args:
        session: The catalog as of the version's snapshot.
        dataset_rid: The dataset.
        exclude_tables: Tables to leave out, as ``Table`` or ``schema:Table``.

    Raises:
        DerivaMLTableNotFound: An excluded table does not exist.
        DerivaMLDatasetNotFound: The dataset did not exist at that moment.
    """
    excluded = frozenset(session.table(name).qualified for name in exclude_tables)
    return _Reader(session, Walk(session.model(), session.ml_schema, session.domain_schemas, excluded)).read(
        dataset_rid
    )


class _Reader:
    """Reads rows along the routes of a walk, and no row's partners twice."""

    def __init__(self, session: Session, walk: Walk) -> None:
        self._session = session
        self._walk = walk
        self._found: dict[Name, dict[str, Row]] = {}
        self._by_value: dict[tuple[Name, Columns], dict[Values, set[str]]] = {}
        self._complete: dict[tuple[Name, Columns], set[Values]] = {}
        self._followed: dict[Name, list[tuple[frozenset[Name], frozenset[str]]]] = {}

    def read(self, dataset_rid: str) -> Reach:
        nested = (self._walk.ml_schema, MLTable.dataset_dataset.value)
        pairs = self._session.catalog.rows(table(*nested))
        nesting = Nesting.of((str(row["Dataset"]), str(row["Nested_Dataset"])) for row in pairs)
        datasets = (dataset_rid, *nesting.descendants(dataset_rid))
        holders = frozenset(datasets)
        self._keep(nested, [row for row in pairs if row["Dataset"] in holders])
        start = Route(self._walk.dataset)
        self._fetch(start, datasets)
        present = frozenset(self._found[start.end.qualified])
        if dataset_rid not in present:
            raise DerivaMLDatasetNotFound(dataset_rid, f"No dataset at {self._session.catalog.snaptime or 'present'}")
        self._follow(start, present, datasets)
        for vocabulary in self._walk.vocabularies():
            self._keep(vocabulary.qualified, self._session.catalog.rows(table(*vocabulary.qualified)))
        rows = {name: [by_rid[rid] for rid in sorted(by_rid)] for name, by_rid in sorted(self._found.items()) if by_rid}
        return Reach(dataset_rid, datasets, self._walk.model, rows)

    def _keep(self, name: Name, rows: Iterable[Row]) -> None:
        known = self._found.setdefault(name, {})
        new = [row for row in rows if str(row["RID"]) not in known]
        known.update((str(row["RID"]), row) for row in new)
        for (owner, columns), by_value in self._by_value.items():
            if owner == name:
                _note(by_value, columns, new)

    def _follow(self, start: Route, present: frozenset[str], datasets: Sequence[str]) -> None:
        """Follow every route, the short ones first: what they find is known to the long ones."""
        front = deque([(start, present)])
        while front:
            route, rids = front.popleft()
            if rids and not self._is_followed(route, rids):
                for longer in self._walk.onward(route):
                    front.append((longer, self._step(longer, route.end.qualified, rids, datasets)))

    def _is_followed(self, route: Route, rids: frozenset[str]) -> bool:
        """Rule 7; else the route is noted."""
        # What refers to datasets is entered at the beginning only: to have passed it shuts no way.
        passed = frozenset(
            edge.table.qualified for edge in route.edges if not edge.table.references(self._walk.dataset)
        )
        before = self._followed.setdefault(route.end.qualified, [])
        if any(others <= passed and rids <= known for others, known in before):
            return True
        before.append((passed, rids))
        return False

    def _step(self, longer: Route, before: Name, rids: frozenset[str], datasets: Sequence[str]) -> frozenset[str]:
        """The rows that the last step of a route leads to, of the rows before it; read if they are not known."""
        edge = longer.edges[-1]
        mine, theirs = tuple(pair[0] for pair in edge.on), tuple(pair[1] for pair in edge.on)
        rows = self._found[before]
        values = {value for rid in rids if None not in (value := tuple(rows[rid][column] for column in mine))}
        by_value = self._index(edge.table.qualified, theirs)
        # A value of a key has one row: if it is there, nothing is missing.
        complete = by_value.keys() if edge.outward else self._complete.setdefault((edge.table.qualified, theirs), set())
        if not values <= complete:
            self._fetch(longer, datasets)
            if not edge.outward:
                self._complete[(edge.table.qualified, theirs)] |= values
        return frozenset(rid for value in values for rid in by_value.get(value, ()))

    def _index(self, name: Name, columns: Columns) -> dict[Values, set[str]]:
        """The RIDs of a table's known rows by the values of some columns."""
        if (name, columns) not in self._by_value:
            by_value: dict[Values, set[str]] = {}
            _note(by_value, columns, self._found.get(name, {}).values())
            self._by_value[(name, columns)] = by_value
        return self._by_value[(name, columns)]

    def _fetch(self, route: Route, datasets: Sequence[str]) -> None:
        for chunk in chunks(datasets, _LIST_BYTES):
            path = table(route.start.schema, route.start.name, alias="start").where(any_of("RID", chunk))
            for edge in route.edges:
                path = path.link(edge.table.schema, edge.table.name, on=edge.on)
            self._keep(route.end.qualified, self._session.catalog.rows(path))


def _note(by_value: dict[Values, set[str]], columns: Columns, rows: Iterable[Row]) -> None:
    for row in rows:
        by_value.setdefault(tuple(row[column] for column in columns), set()).add(str(row["RID"]))
