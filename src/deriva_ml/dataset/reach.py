"""What belongs to a dataset: the only enumerator of it, for bags, estimates and whatever else asks.

1. The walk starts at the table of datasets and follows foreign keys in both directions, within the project's schemas
   and the ML schema, never twice through one table on a route.
2. Nesting is not walked: the nested datasets, at any depth, are starting points beside the dataset itself.
3. A table that refers to datasets is entered from there only: from a member no other dataset is reached.
4. ``Execution`` and ``Workflow`` are ends: their rows are part of the result, what lies behind them is not. Else one
   execution would bring everything that it ever made.
5. Vocabularies are not walked to: each is taken whole.
6. Excluded tables are neither entered nor passed.
7. A route that finds no rows is not followed further.
8. Rows that several routes find are one row: the result holds each RID of a table once, in order.

The number of requests depends on the model (one for each route that has rows, one for each vocabulary), not on the
number of members, rows or, up to some hundreds, nested datasets.
"""

from __future__ import annotations

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
    """Reads rows along the routes of a walk."""

    def __init__(self, session: Session, walk: Walk) -> None:
        self._session = session
        self._walk = walk
        self._found: dict[Name, dict[str, Row]] = {}

    def read(self, dataset_rid: str) -> Reach:
        nested = (self._walk.ml_schema, MLTable.dataset_dataset.value)
        pairs = self._session.catalog.rows(table(*nested))
        nesting = Nesting.of((str(row["Dataset"]), str(row["Nested_Dataset"])) for row in pairs)
        datasets = (dataset_rid, *nesting.descendants(dataset_rid))
        self._keep(nested, [row for row in pairs if row["Dataset"] in datasets])
        start = Route(self._walk.dataset)
        self._follow(start, self._fetch(start, datasets), datasets)
        if dataset_rid not in self._found.get(start.end.qualified, {}):
            raise DerivaMLDatasetNotFound(dataset_rid, f"No dataset at {self._session.catalog.snaptime or 'present'}")
        for vocabulary in self._walk.vocabularies():
            self._keep(vocabulary.qualified, self._session.catalog.rows(table(*vocabulary.qualified)))
        rows = {name: [by_rid[rid] for rid in sorted(by_rid)] for name, by_rid in sorted(self._found.items()) if by_rid}
        return Reach(dataset_rid, datasets, self._walk.model, rows)

    def _keep(self, name: Name, rows: Iterable[Row]) -> None:
        self._found.setdefault(name, {}).update((str(row["RID"]), row) for row in rows)

    def _follow(self, route: Route, rows: Sequence[Row], datasets: Sequence[str]) -> None:
        self._keep(route.end.qualified, rows)
        if not rows:
            return
        for longer in self._walk.onward(route):
            found = self._known(longer.edges[-1], rows)
            self._follow(longer, self._fetch(longer, datasets) if found is None else found, datasets)

    def _known(self, edge: Edge, rows: Sequence[Row]) -> list[Row] | None:
        """The rows behind a reference, if all of them have been read along another route; None if not."""
        if not edge.outward or [after for _before, after in edge.on] != ["RID"]:
            return None
        column = edge.on[0][0]
        wanted = {str(row[column]) for row in rows if row[column] is not None}
        known = self._found.get(edge.table.qualified, {})
        return [known[rid] for rid in wanted] if wanted <= known.keys() else None

    def _fetch(self, route: Route, datasets: Sequence[str]) -> list[Row]:
        found: dict[str, Row] = {}
        for chunk in chunks(datasets, _LIST_BYTES):
            path = table(route.start.schema, route.start.name, alias="start").where(any_of("RID", chunk))
            for edge in route.edges:
                path = path.link(edge.table.schema, edge.table.name, on=edge.on)
            found.update((str(row["RID"]), row) for row in self._session.catalog.rows(path))
        return list(found.values())
