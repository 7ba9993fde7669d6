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
from dataclasses import field

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDatasetNotFound
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.following import Edge, Route, edges_of, follow
from deriva_ml.dataset.key_reader import USUAL, Bounds, KeyReader, Lookup
from deriva_ml.dataset.keys import RowSet, TableKeys, count_rows
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.wire.model import Model, Table

__all__ = ["Edge", "Found", "Reach", "Route", "Walk", "nested_rows", "reach"]

Name = tuple[str, str]


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

    def opens_only(self, found: Table) -> bool:
        """What refers to datasets is entered at the beginning only."""
        return bool(found.references(self.dataset))

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
        steps = [edge for edge in edges_of(self.model, end) if self._may_enter(route, edge.table)]
        steps.sort(key=lambda edge: (edge.table.qualified, edge.on, edge.outward))
        return [Route(route.start, (*route.edges, edge)) for edge in steps]

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


class _Walker:
    """Follows the routes of a walk over keys."""

    def __init__(self, reader: KeyReader, walk: Walk, *, measured: bool = False) -> None:
        self._reader = reader
        self._walk = walk
        self._measured = measured
        self._nesting = walk.model.schemas[walk.ml_schema].tables[MLTable.dataset_dataset.value]

    def walk(self, dataset_rid: str) -> Reach:
        start = self._walk.dataset
        enterable = self._walk.enterable() if self._reader.together else []
        vocabularies = self._walk.vocabularies()
        if self._reader.together:
            terms = vocabularies if self._measured else []
            self._reader.glance([self._nesting, start, *enterable, *terms])
        descendants, pairs = nested_rows(self._reader, self._nesting, dataset_rid)
        datasets = (dataset_rid, *descendants)
        holders = set(datasets)
        self._reader.read([Lookup(start, ("RID",), holders)], self._ahead(enterable, holders))
        present = self._reader.keys(start).having(("RID",), holders)
        if dataset_rid not in self._reader.keys(start).values(("RID",), present):
            moment = self._reader.session.catalog.snaptime or "present"
            raise DerivaMLDatasetNotFound(dataset_rid, f"No dataset at {moment}")
        rows_of = {**follow(self._reader, self._walk, start, present), self._nesting.qualified: pairs}
        found = {
            name: Found(self._walk.model.schemas[name[0]].tables[name[1]], self._reader.keys_of[name], rows)
            for name, rows in rows_of.items()
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


def nested_rows(reader: KeyReader, nested: Table, dataset_rid: str) -> tuple[tuple[str, ...], RowSet]:
    """What is nested in a dataset, at any depth, and the rows that say so.

    Args:
        reader: Reads the keys.
        nested: The table that says which dataset holds which.
        dataset_rid: The dataset.
    """
    reader.read([Lookup(nested, ("Dataset",), None)])
    keys = reader.keys(nested)
    pairs = zip(keys.column("Dataset"), keys.column("Nested_Dataset"), strict=True)
    descendants = Nesting.of(pairs).descendants(dataset_rid)
    return descendants, keys.having(("Dataset",), {dataset_rid, *descendants})
