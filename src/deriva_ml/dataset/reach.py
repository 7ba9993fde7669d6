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
   read once, in one request, when the first rows of it are asked for; the tables that one step needs are read at the
   same time. Where few values are looked for, only their rows are read; so are those of a table that is too long.
   Rows themselves are read afterwards, by whoever wants them.

The number of requests depends on the model (at most about one for each table), not on the number of members, rows,
routes or nested datasets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDatasetNotFound
from deriva_ml.dataset.following import Edge, Route, edges_of, follow
from deriva_ml.dataset.key_reader import KeyReader, Lookup
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
    """

    table: Table
    keys: TableKeys
    rows: RowSet | None

    @property
    def count(self) -> int:
        """How many rows belong to the dataset; of a vocabulary none is counted before it is read."""
        return 0 if self.rows is None else count_rows(self.rows)

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
    session: Session, dataset_rid: str, exclude_tables: Iterable[str] = (), *, extra: Collection[str] = ()
) -> Reach:
    """Find everything that belongs to a dataset.

    Args:
        session: The catalog as of the version's snapshot.
        dataset_rid: The dataset.
        exclude_tables: Tables to leave out, as ``Table`` or ``schema:Table``.
        extra: Further columns to read where a table has them.

    Raises:
        DerivaMLTableNotFound: An excluded table does not exist.
        DerivaMLDatasetNotFound: The dataset did not exist at that moment.
    """
    excluded = frozenset(session.table(name).qualified for name in exclude_tables)
    walk = Walk(session.model(), session.ml_schema, session.domain_schemas, excluded)
    return _Walker(KeyReader(session, walk.model, extra), walk).walk(dataset_rid)


class _Walker:
    """Follows the routes of a walk over keys."""

    def __init__(self, reader: KeyReader, walk: Walk) -> None:
        self._reader = reader
        self._walk = walk

    def walk(self, dataset_rid: str) -> Reach:
        start = self._walk.dataset
        nested = self._walk.model.schemas[self._walk.ml_schema].tables[MLTable.dataset_dataset.value]
        descendants, pairs = nested_rows(self._reader, nested, dataset_rid)
        datasets = (dataset_rid, *descendants)
        holders = set(datasets)
        wanted = [Lookup(start, ("RID",), holders)]
        self._reader.read(wanted)
        present = self._reader.keys(start).having(("RID",), holders)
        if dataset_rid not in self._reader.keys(start).values(("RID",), present):
            moment = self._reader.session.catalog.snaptime or "present"
            raise DerivaMLDatasetNotFound(dataset_rid, f"No dataset at {moment}")
        rows_of = {**follow(self._reader, self._walk, start, present), nested.qualified: pairs}
        found = {
            name: Found(self._walk.model.schemas[name[0]].tables[name[1]], self._reader.keys_of[name], rows)
            for name, rows in rows_of.items()
            if rows
        }
        found |= {each.qualified: Found(each, TableKeys(("RID",)), None) for each in self._walk.vocabularies()}
        return Reach(dataset_rid, datasets, self._walk.model, dict(sorted(found.items())))


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
