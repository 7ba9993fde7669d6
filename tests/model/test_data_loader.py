"""Rows of bags and catalogs into a mapped database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO as PROJECT
from tests.dataset.project import Project, make_project
from tests.model.lab import DEMO, KINDS, ODD, OTHER, fill

from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLNotFoundError,
    DerivaMLTableNotFound,
    DerivaMLValidationError,
)
from deriva_ml.dataset import DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.ml import DerivaML
from deriva_ml.model import BagDataSource, CatalogDataSource, DataLoader, DataSource, SchemaBuilder
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(replace(session, domain_schemas=frozenset({PROJECT}), default_schema=PROJECT), 6)


@pytest.fixture
def bag(project: Project) -> DatasetBag:
    dataset = project.dataset(project.images)
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version)
    return download_dataset_bag(project.session, spec)


class Listed:
    """A source of rows that are given."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self.given = rows

    def has_table(self, table: Table) -> bool:
        return table.name in self.given

    def get_table_data(self, table: Table) -> Iterator[dict[str, Any]]:
        yield from self.given[table.name]


def test_a_bag_is_loaded_whole_with_the_paths_of_its_files(bag: DatasetBag, project: Project) -> None:
    source = BagDataSource(bag.path)
    assert isinstance(source, DataSource)
    with SchemaBuilder(bag.database.model, [PROJECT, "deriva-ml"]).build() as orm:
        loaded = DataLoader(orm, source).load_tables()
        assert loaded == {each.name: bag.database.size(each)[0] for each in bag.database.tables()}
        assert loaded["Image"] == 6
        for table in bag.database.tables():
            wanted = list(bag.get_table_as_dict(table))
            assert [row["RID"] for row in orm.get_table_contents(table.name)] == [row["RID"] for row in wanted]
        rows = {row["RID"]: row for row in orm.get_table_contents("Image")}
        for row in bag.get_table_as_dict("Image"):
            assert Path(rows[row["RID"]]["Filename"]).read_bytes().startswith(b"image")
            names = ("Filename", "Score", "Usable", "Info", "Subject", "Description", "Length")
            assert [rows[row["RID"]][name] for name in names] == [row[name] for name in names]


def test_the_rows_of_a_bag_are_those_of_its_own_database(bag: DatasetBag) -> None:
    source = BagDataSource(bag.path, bag.database.model)
    assert [each.name for each in source.list_tables()] and source.has_table(bag.database.table("Image"))
    for table in bag.database.tables():
        assert list(source.get_table_data(table)) == list(bag.get_table_as_dict(table))
    assert list(source.get_table_data(bag.database.table("Workflow"))) == []


def test_what_is_loaded_twice_is_there_once(bag: DatasetBag, tmp_path: Path) -> None:
    for turn in range(2):
        with SchemaBuilder(bag.database.model, [PROJECT], tmp_path / "x.db").build() as orm:
            loader = DataLoader(orm, BagDataSource(bag.path))
            assert loader.load_tables()["Image"] == (0 if turn else 6)
            assert set(loader.load_tables().values()) == {0}
            assert len(list(orm.get_table_contents("Image"))) == 6


def test_conflicts_are_met_as_is_asked_for(ml: DerivaML) -> None:
    first, second = fill(ml.session.catalog)[:2]
    model = ml.session.catalog.model(refresh=True)
    with SchemaBuilder(model, [DEMO]).build() as orm:

        def names() -> list[str]:
            return [row["Name"] for row in orm.get_table_contents("Subject")]

        def load(on_conflict: str, *rows: dict[str, Any]) -> int:
            return DataLoader(orm, Listed({"Subject": list(rows)})).load_tables(on_conflict=on_conflict)["Subject"]

        assert load("error", {"RID": first, "Name": "a"}) == 1
        assert load("ignore", {"RID": first, "Name": "b"}, {"RID": second, "Name": "c"}) == 1
        assert names() == ["a", "c"]
        assert load("replace", {"RID": first, "Name": "d"}) == 1
        assert names() == ["d", "c"]
        with pytest.raises(DerivaMLDataError, match="Subject cannot be stored: UNIQUE"):
            load("error", {"RID": "1-ZZZ"}, {"RID": first})
        assert names() == ["d", "c"]
        with pytest.raises(DerivaMLValidationError, match="allowed: ignore, replace, error"):
            load("skip", {"RID": first})


def test_a_row_that_another_key_forbids_is_never_left_out_silently(ml: DerivaML) -> None:
    with SchemaBuilder(ml.session.model(), ["deriva-ml"]).build() as orm:
        rows = [{"RID": "1-A", "Name": "same"}, {"RID": "1-B", "Name": "same"}]
        with pytest.raises(DerivaMLDataError, match=r"Asset_Type cannot be stored: UNIQUE.*Name"):
            DataLoader(orm, Listed({"Asset_Type": rows})).load_tables()


def test_a_load_that_fails_leaves_nothing(ml: DerivaML) -> None:
    fill(ml.session.catalog)
    model = ml.session.catalog.model(refresh=True)
    for bad, error in (
        ({"Nmae": "x"}, r"(?s)column 'Nmae'.*Name"),
        ({"Name": object()}, "Subject cannot be stored"),
    ):
        with SchemaBuilder(model, [DEMO]).build() as orm:
            rows = [*({"RID": f"1-{n:03}", "Name": "x"} for n in range(25)), {"RID": "1-999", **bad}]
            with pytest.raises(DerivaMLDataError, match=error):
                DataLoader(orm, Listed({"Subject": rows})).load_tables(batch_size=10)
            assert list(orm.get_table_contents("Subject")) == []


def test_a_value_that_its_type_does_not_take_is_an_error(ml: DerivaML) -> None:
    fill(ml.session.catalog)
    with SchemaBuilder(ml.session.catalog.model(refresh=True), [DEMO]).build() as orm:
        for name, value in (("Moment", "yesterday"), ("Day", "2024-13-01"), ("Real", "much"), ("Flag", "perhaps")):
            with pytest.raises(DerivaMLDataError, match=r'row of Odd 50% "name" cannot be stored'):
                DataLoader(orm, Listed({ODD: [{"RID": "1-A", name: value}]})).load_tables()


def test_rows_travel_in_parts_and_progress_is_told(ml: DerivaML) -> None:
    fill(ml.session.catalog, 25)
    told: list[tuple[str, int]] = []
    with SchemaBuilder(ml.session.catalog.model(refresh=True), [DEMO, OTHER]).build() as orm:
        loader = DataLoader(orm, CatalogDataSource(ml, [DEMO, OTHER]))
        loaded = loader.load_tables(batch_size=10, progress_callback=lambda table, rows: told.append((table, rows)))
        assert loaded == {f"{DEMO}:Subject": 25, f"{OTHER}:Subject": 2, ODD: 2}
        assert [rows for table, rows in told if table == f"{DEMO}:Subject"] == [10, 20, 25]
        first = [table for table, _rows in told].index
        assert first(f"{DEMO}:Subject") < min(first(ODD), first(f"{OTHER}:Subject"))
        with pytest.raises(DerivaMLValidationError, match="part: 0"):
            loader.load_tables(batch_size=0)


def test_some_tables_only_are_loaded_if_they_are_named(ml: DerivaML) -> None:
    fill(ml.session.catalog)
    model = ml.session.catalog.model(refresh=True)
    with SchemaBuilder(model, [DEMO, OTHER]).build() as orm:
        loader = DataLoader(orm, CatalogDataSource(ml.session.catalog, [DEMO]))
        assert loader.load_tables([ml.model.name_to_table(ODD)]) == {ODD: 2}
        assert list(orm.get_table_contents(f"{DEMO}:Subject")) == []
        assert loader.load_tables() == {f"{DEMO}:Subject": 3, ODD: 0}
        with pytest.raises(DerivaMLTableNotFound, match="in demo-schema: other:Subject"):
            loader.load_tables([f"{OTHER}:Subject"])
        with pytest.raises(DerivaMLTableNotFound, match="Subjekt"):
            loader.load_tables(["Subjekt"])


def test_a_catalog_of_the_deriva_package_is_a_source_too(ml: DerivaML) -> None:
    fill(ml.session.catalog)
    with SchemaBuilder(ml.model, [DEMO]).build() as orm:
        assert DataLoader(orm, CatalogDataSource(ml.catalog, [DEMO])).load_tables() == {"Subject": 3, ODD: 2}
        (row,) = (row for row in orm.get_table_contents(ODD) if row["Subject"])
        assert row.keys() >= KINDS.keys()


def test_a_query_that_fails_is_an_error_and_nothing_is_loaded(ml: DerivaML) -> None:
    fill(ml.session.catalog)
    model = ml.session.catalog.model(refresh=True)
    source = CatalogDataSource(ml, [DEMO, OTHER])
    ml.connection.catalog(1).drop_table(DEMO, ODD)
    with SchemaBuilder(model, [DEMO, OTHER]).build() as orm:
        with pytest.raises(DerivaMLCatalogError, match="Odd"):
            DataLoader(orm, source).load_tables()
        assert list(orm.get_table_contents(f"{DEMO}:Subject")) == []


def test_what_is_no_bag_and_a_damaged_bag_are_errors(bag: DatasetBag, tmp_path: Path) -> None:
    with pytest.raises(DerivaMLNotFoundError, match=r"(?s)no data/schema.json.*DatasetBag.path"):
        BagDataSource(tmp_path)
    model = bag.database.model
    subject = model.schemas[PROJECT].tables["Subject"]
    folder = tmp_path / "data" / PROJECT
    folder.mkdir(parents=True)
    for text, error in (
        ("RID,Age\n1-A,5\n1-B,much\n", "Row 2 of Subject.csv cannot be read"),
        ("RID,Tags\n1-A,{x}\n", "Row 1 of Subject.csv"),
        ("RID,Age\n1-A\n", "Row 1 of Subject.csv"),
        ("RID,Aeg\n1-A,1\n", "Aeg"),
    ):
        (folder / "Subject.csv").write_text(text)
        with pytest.raises(DerivaMLDataError, match=error):
            list(BagDataSource(tmp_path, model).get_table_data(subject))
