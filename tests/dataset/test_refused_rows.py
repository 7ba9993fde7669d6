"""Rows that the copy's service refuses: cut or left out, with what follows for others."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.clone_result import OrphanStrategy
from deriva_ml.catalog.copy_part import Part, Report, copy_part
from deriva_ml.connect import open_connection
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import DerivaMLOrphansFound
from deriva_ml.dataset.part import select_part
from deriva_ml.dataset.part_orphans import Settling
from deriva_ml.dataset.part_rules import PartRules, part_document, tables_without_rows
from deriva_ml.dataset.reach_rows import found_rows
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import table

LONG = "é" * 1500
"""A text of 3,000 bytes."""


class Indexing(Counting):
    """Stands for a service on PostgreSQL, which cannot be had here: it refuses values too long for an index."""

    def send(self, request: Request) -> Response:
        if request.method == "POST" and "/entity/" in request.target:
            rows = json.loads(request.body if isinstance(request.body, bytes) else b"".join(request.body or ()))
            if any(isinstance(value, str) and len(value.encode()) > 2704 for row in rows for value in row.values()):
                return Response(400, {"content-type": "text/plain"}, b"index row size 3016 exceeds btree maximum 2704")
        return super().send(request)


def _tables(session: Session) -> str:
    """Notes under a heading, pages of notes, and marks on pages; one note is long."""
    catalog = session.catalog
    catalog.create_tables(
        [
            table_document(DEMO, TableDef("Heading", [ColumnDef("Text")])),
            table_document(
                DEMO,
                TableDef(
                    "Note",
                    [ColumnDef("Text"), ColumnDef("Heading")],
                    [KeyDef(["Text"])],
                    [ForeignKeyDef(["Heading"], DEMO, "Heading")],
                ),
            ),
            table_document(
                DEMO,
                TableDef("Page", [ColumnDef("Note", nullok=False)], (), [ForeignKeyDef(["Note"], DEMO, "Note")]),
            ),
            table_document(DEMO, TableDef("Mark", [ColumnDef("Page")], (), [ForeignKeyDef(["Page"], DEMO, "Page")])),
        ]
    )
    (heading,) = catalog.insert(DEMO, "Heading", [{"Text": "h"}])
    texts = [*(f"note {n}" for n in range(40)), LONG]
    notes = catalog.insert(DEMO, "Note", [{"Text": text, "Heading": heading["RID"]} for text in texts])
    pages = catalog.insert(DEMO, "Page", [{"Note": row["RID"]} for row in notes])
    catalog.insert(DEMO, "Mark", [{"Page": row["RID"]} for row in pages])
    return str(heading["RID"])


def _copy(
    session: Session, root: str, target: CatalogClient, strategy: OrphanStrategy, *, truncate: bool
) -> tuple[Report, Settling]:
    now = session.snapshot(session.catalog.latest_snaptime())
    model = now.model()
    start = model.schemas[DEMO].tables["Heading"]
    part = select_part(now, PartRules(model, "deriva-ml", start, tables_without_rows(model, set())), root)
    document, _ = part_document(now.catalog.get("/schema"), part.tables, (), annotations=True, policy=True)
    settling = Settling(part, (), strategy)
    settling.settle()

    def rows(name: tuple[str, str]) -> Iterator[list[Row]]:
        return found_rows(now, part.found(name))

    def settle(lost: Mapping[tuple[str, str], Collection[str]]) -> Any:
        return settling.without(lost)

    asked = Part(document, part.counts(), rows, settling.nulled_rids(), settle)
    return copy_part(now.catalog, target, asked, truncate=truncate), settling


@pytest.fixture
def target(tmp_path: Path) -> Iterator[CatalogClient]:
    with open_connection(str(tmp_path / "target"), create=True) as connection:
        made = connection.create_catalog()
        yield CatalogClient(Indexing(connection.transport), made.catalog_id)


def _counts(target: CatalogClient) -> dict[str, int]:
    return {name: len(target.rows(table(DEMO, name))) for name in ("Heading", "Note", "Page", "Mark")}


def test_a_value_that_is_too_long_is_cut_if_asked_for(domain: Session, target: CatalogClient) -> None:
    report, settling = _copy(domain, _tables(domain), target, OrphanStrategy.FAIL, truncate=True)
    assert report.skipped == []
    (cut,) = report.truncated
    assert cut.endswith("Text: 1500 characters")
    assert _counts(target) == {"Heading": 1, "Note": 41, "Page": 41, "Mark": 41}
    longest = max((str(row["Text"]) for row in target.rows(table(DEMO, "Note"))), key=len)
    assert longest == "é" * 1300
    assert settling.done == []


def test_a_row_that_is_refused_is_left_out_with_what_refers_to_it(domain: Session, target: CatalogClient) -> None:
    report, settling = _copy(domain, _tables(domain), target, OrphanStrategy.DELETE, truncate=False)
    (skipped,) = report.skipped
    assert "index row size" in skipped
    assert _counts(target) == {"Heading": 1, "Note": 40, "Page": 40, "Mark": 40}
    assert [each.count for each in settling.done] == [1, 1]
    assert report.missing == []


def test_references_to_a_row_that_is_refused_are_made_null_where_they_may_be(
    domain: Session, target: CatalogClient
) -> None:
    report, settling = _copy(domain, _tables(domain), target, OrphanStrategy.NULLIFY, truncate=False)
    assert _counts(target) == {"Heading": 1, "Note": 40, "Page": 40, "Mark": 41}
    assert [row["Page"] for row in target.rows(table(DEMO, "Mark"))].count(None) == 1
    assert {each.action for each in settling.done} == {OrphanStrategy.DELETE, OrphanStrategy.NULLIFY}
    assert len(target.model(refresh=True).schemas[DEMO].tables["Mark"].foreign_keys) == 1
    assert report.missing == []


def test_a_refused_row_that_others_refer_to_ends_the_copy_unless_something_is_to_be_done(
    domain: Session, target: CatalogClient
) -> None:
    with pytest.raises(DerivaMLOrphansFound, match="1 rows of demo-schema:Page refer by Note"):
        _copy(domain, _tables(domain), target, OrphanStrategy.FAIL, truncate=False)
