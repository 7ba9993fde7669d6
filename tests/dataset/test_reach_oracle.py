"""What belongs to a dataset, against every simple route tried one by one over rows in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import pytest
from tests.dataset.project import DEMO, ML
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.dataset.key_reader import Bounds
from deriva_ml.dataset.reach import Route, Walk, reach
from deriva_ml.dataset.reach_rows import found_rows
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import Associate, association_document, table_document
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import table

BOUNDS = [
    Bounds(),
    Bounds(glance=2, ahead=5),
    Bounds(glance=2, ahead=100, share=0.0),
    Bounds(glance=2, share=2.0),
    Bounds(glance=2, share=2.0, many_lists=0, few_lists=0),
    Bounds(glance=2, share=2.0, many_lists=0, few_lists=0, measured=4, long=4),
]
"""Large and small tables, known at once, read ahead, by values and whole; and tables too long for either."""

TABLES = {"A": (), "B": ("A",), "C": ("A", "B"), "D": ("B", "C"), "E": ("D", "A", "C")}
"""Each table with those that it refers to: there are many ways between any two."""

Row = dict[str, Json]


def _make(session: Session, rows: int, dice: random.Random) -> dict[str, list[str]]:
    documents = []
    for name, others in TABLES.items():
        columns = [ColumnDef("Number", "int4"), *(ColumnDef(other) for other in others)]
        references = [ForeignKeyDef([other], DEMO, other) for other in others]
        documents.append(table_document(DEMO, TableDef(name, columns, (), references)))
        documents.append(
            association_document(DEMO, f"Dataset_{name}", [Associate(ML, "Dataset"), Associate(DEMO, name)])
        )
    documents.append(association_document(DEMO, "A_D", [Associate(DEMO, "A"), Associate(DEMO, "D")]))
    session.catalog.create_tables(documents)
    made: dict[str, list[str]] = {}
    for name, others in TABLES.items():
        values: list[Row] = [
            {"Number": number, **{other: dice.choice([None, *made[other]]) for other in others}}
            for number in range(rows)
        ]
        inserted = session.catalog.insert(DEMO, name, values)
        made[name] = [str(row["RID"]) for row in inserted]
    pairs = {(dice.choice(made["A"]), dice.choice(made["D"])) for _ in range(rows)}
    session.catalog.insert(DEMO, "A_D", [{"A": a, "D": d} for a, d in sorted(pairs)])
    return made


def _expected(session: Session, walk: Walk, datasets: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    """Every route of the walk, with no row left out of account and none read twice over."""
    everything: dict[tuple[str, str], list[Row]] = {
        found.qualified: session.catalog.rows(table(*found.qualified))
        for schema in (DEMO, ML)
        for found in walk.model.schemas[schema].tables.values()
    }
    found: dict[tuple[str, str], set[str]] = {}
    start = [row for row in everything[(ML, "Dataset")] if row["RID"] in set(datasets)]
    front: list[tuple[Route, list[Row]]] = [(Route(walk.dataset), start)]
    while front:
        route, rows = front.pop()
        found.setdefault(route.end.qualified, set()).update(str(row["RID"]) for row in rows)
        for longer in walk.onward(route):
            edge = longer.edges[-1]
            keys = {tuple(row[mine] for mine, _theirs in edge.on) for row in rows}
            keys = {key for key in keys if None not in key}
            behind = [
                row
                for row in everything[edge.table.qualified]
                if tuple(row[theirs] for _mine, theirs in edge.on) in keys
            ]
            front.append((longer, behind))
    return {name: rids for name, rids in found.items() if rids}


@pytest.mark.parametrize("seed", range(6))
def test_reach_finds_exactly_what_all_routes_together_find(domain: Session, seed: int) -> None:
    dice = random.Random(seed)
    rids = _make(domain, 12, dice)
    every = [rid for name in TABLES for rid in rids[name]]
    inner = Dataset.create_dataset(domain, None)
    inner.add_dataset_members(dice.sample(every, 3))
    outer = Dataset.create_dataset(domain, None)
    outer.add_dataset_members([inner.dataset_rid, *dice.sample(every, 2)])
    other = Dataset.create_dataset(domain, None)
    other.add_dataset_members(every)
    walk = Walk(domain.model(), ML, domain.domain_schemas)
    vocabularies = {vocabulary.qualified for vocabulary in walk.vocabularies()}
    expected = _expected(domain, walk, [outer.dataset_rid, inner.dataset_rid])
    for session, bounds, measured in product(_ways(domain), BOUNDS, (False, True)):
        found = reach(session, outer.dataset_rid, bounds=bounds, measured=measured)
        actual = {name: set(each.rids()) for name, each in found.tables.items() if name not in vocabularies}
        nested = actual.pop((ML, "Dataset_Dataset"))
        assert len(nested) == 1
        assert actual == expected, (bounds, measured)
        assert set(found.datasets) == {outer.dataset_rid, inner.dataset_rid}
        for name, each in found.tables.items():
            rows = [str(row["RID"]) for part in found_rows(session, each) for row in part]
            assert name in vocabularies or sorted(rows) == sorted(actual.get(name, nested)), (name, bounds)
            if measured and name in vocabularies:
                assert each.count == len(rows)
            if measured:
                assert each.keys.line_length > 0 or not rows


def _ways(session: Session) -> list[Session]:
    """The catalog with several requests in one, and with one at a time."""
    counting = Counting(session.catalog.transport, batches=False)
    return [session, replace(session, catalog=CatalogClient(counting, session.catalog_id))]
