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

9. The walk is over keys, in memory (``keys``): of each table that it enters, the RIDs and the columns of references are
   read once, when the first rows of it are asked for, or ahead of that where many requests go in one (``key_reader``);
   the tables that one step needs are read at the same time. Where few values are looked for, only their rows are read;
   so are those of a table that is too long. Rows themselves are read afterwards, by whoever wants them.

The number of requests does not depend on the number of members, rows, routes or nested datasets: it is about one for
each table, and where the service takes several in one, one or two, and one more for each step to long tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDatasetNotFound
from deriva_ml.dataset.key_reader import USUAL, Bounds, KeyReader, Lookup
from deriva_ml.dataset.keys import RowSet, TableKeys, Values, count_rows
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.wire.model import Model, Table

__all__ = ["Edge", "Found", "Reach", "Route", "Walk", "reach"]

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

    def enterable(self) -> list[Table]:
        """The tables that a route may enter, whatever rows there are."""
        start = Route(self.dataset)
        found: dict[Name, Table] = {}
        front = [start]
        while front:
            steps = {longer.end.qualified: longer for route in front for longer in self.onward(route)}
            new = {name: route.edges[-1] for name, route in steps.items() if name not in found}
            found |= {name: edge.table for name, edge in new.items()}
            # Which other tables a route has passed may shut a way for it, but not for all.
            front = [Route(self.dataset, (edge,)) for edge in new.values()]
        return list(found.values())

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
class Found:
    """The rows of one table that belong to a dataset.

    Attributes:
        table: The table.
        keys: What is known of its rows.
        rows: Those that belong to the dataset; None where all do (of a vocabulary).
        whole: Of a vocabulary, how many rows it has; 0 before it is read.
    """

    table: Table
    keys: TableKeys
    rows: RowSet | None
    whole: int = 0

    @property
    def count(self) -> int:
        """How many rows belong to the dataset; of a vocabulary none is counted before it is read."""
        return self.whole if self.rows is None else count_rows(self.rows)

    def rids(self) -> list[str]:
        """Their RIDs, in order; of a vocabulary none is known before it is read."""
        return [] if self.rows is None else self.keys.rids(self.rows)


@dataclass(frozen=True)
class Reach:
    """The rows that belong to a dataset as of one moment.

    Attributes:
        dataset_rid: The dataset.
        datasets: The dataset and everything nested in it.
        model: The model of that moment.
        tables: The rows of each table; a table without rows is absent, a vocabulary is there in any case.
    """

    dataset_rid: str
    datasets: tuple[str, ...]
    model: Model
    tables: Mapping[Name, Found]


def reach(
    session: Session,
    dataset_rid: str,
    exclude_tables: Iterable[str] = (),
    *,
    extra: Collection[str] = (),
    measured: bool = False,
    bounds: Bounds = USUAL,
) -> Reach:
    """Find everything that belongs to a dataset.

    Args:
        session: The catalog as of the version's snapshot.
        dataset_rid: The dataset.
        exclude_tables: Tables to leave out, as ``Table`` or ``schema:Table``.
        extra: Further columns to read where a table has them.
        measured: Find out how long lines of CSV are, and how many rows vocabularies have.
        bounds: How much is read in which way.

    Raises:
        DerivaMLTableNotFound: An excluded table does not exist.
        DerivaMLDatasetNotFound: The dataset did not exist at that moment.
    """
    excluded = frozenset(session.table(name).qualified for name in exclude_tables)
    walk = Walk(session.model(), session.ml_schema, session.domain_schemas, excluded)
    reader = KeyReader(session, walk.model, extra, measured=measured, bounds=bounds)
    return _Walker(reader, walk, measured=measured).walk(dataset_rid)


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


class _Walker:
    """Follows the routes of a walk over keys."""

    def __init__(self, reader: KeyReader, walk: Walk, *, measured: bool = False) -> None:
        self._reader = reader
        self._walk = walk
        self._measured = measured
        self._nesting = walk.model.schemas[walk.ml_schema].tables[MLTable.dataset_dataset.value]
        self._found: dict[Name, RowSet] = {}
        self._followed: dict[Name, list[tuple[frozenset[Name], RowSet]]] = {}

    def walk(self, dataset_rid: str) -> Reach:
        start = self._walk.dataset
        enterable = self._walk.enterable() if self._reader.together else []
        vocabularies = self._walk.vocabularies()
        if self._reader.together:
            terms = vocabularies if self._measured else []
            self._reader.glance([self._nesting, start, *enterable, *terms])
        datasets = (dataset_rid, *self._nested(dataset_rid))
        holders = set(datasets)
        self._reader.read([Lookup(start, ("RID",), holders)], self._ahead(enterable, holders))
        present = self._reader.keys(start).having(("RID",), holders)
        if dataset_rid not in self._reader.keys(start).values(("RID",), present):
            moment = self._reader.session.catalog.snaptime or "present"
            raise DerivaMLDatasetNotFound(dataset_rid, f"No dataset at {moment}")
        self._found[start.qualified] = present
        self._follow(Route(start), present)
        found = {
            name: Found(self._walk.model.schemas[name[0]].tables[name[1]], self._reader.keys_of[name], rows)
            for name, rows in self._found.items()
            if rows
        }
        found |= {each.table.qualified: each for each in self._vocabularies(vocabularies)}
        return Reach(dataset_rid, datasets, self._walk.model, dict(sorted(found.items())))

    def _vocabularies(self, tables: Sequence[Table]) -> Iterator[Found]:
        if not self._measured:
            yield from (Found(each, TableKeys(("RID",)), None) for each in tables)
            return
        if not self._reader.together:
            self._reader.glance(tables)
        counts = self._reader.count(tables)
        yield from (Found(each, self._reader.keys(each), None, counts[each.qualified]) for each in tables)

    def _ahead(self, enterable: Sequence[Table], holders: Collection[str]) -> Sequence[Table]:
        """What to read ahead: if the dataset holds much of what there is, nearly everything will be needed."""
        pairs = [
            (each, name)
            for each in enterable
            for fkey in each.foreign_keys
            if fkey.referenced_table == self._walk.dataset.qualified and len(fkey.columns) == 1
            for name in fkey.columns
        ]
        return enterable if self._reader.share(pairs, holders) >= self._reader.bounds.share else ()

    def _nested(self, dataset_rid: str) -> tuple[str, ...]:
        self._reader.read([Lookup(self._nesting, ("Dataset",), None)])
        keys = self._reader.keys(self._nesting)
        pairs = zip(keys.column("Dataset"), keys.column("Nested_Dataset"), strict=True)
        descendants = Nesting.of(pairs).descendants(dataset_rid)
        self._found[self._nesting.qualified] = keys.having(("Dataset",), {dataset_rid, *descendants})
        return descendants

    def _follow(self, start: Route, present: RowSet) -> None:
        """Follow every route, the short ones first: what they find is known to the long ones."""
        front = [(start, present)]
        while front:
            steps = [
                _Step(longer, route.end.qualified, rows)
                for route, rows in front
                if rows and not self._is_followed(route, rows)
                for longer in self._walk.onward(route)
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
                self._found[name] = self._found.get(name, 0) | found[goal]
            front.append((step.route, found[goal]))
        return front

    def _is_followed(self, route: Route, rows: RowSet) -> bool:
        """Rule 7; else the route is noted."""
        # What refers to datasets is entered at the beginning only: to have passed it shuts no way.
        passed = frozenset(
            edge.table.qualified for edge in route.edges if not edge.table.references(self._walk.dataset)
        )
        before = self._followed.setdefault(route.end.qualified, [])
        if any(others <= passed and not rows & ~known for others, known in before):
            return True
        before.append((passed, rows))
        return False
