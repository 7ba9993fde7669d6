"""Catalog tables mapped for SQLAlchemy: in a database of one's own, and a bag's own opened for reading."""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.dataset.project import DEMO as PROJECT
from tests.dataset.project import make_project
from tests.model.lab import DEMO, ODD, ODD_COLUMN, OTHER, fill

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError, DerivaMLTableNotFound
from deriva_ml.dataset import DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.ml import DerivaML
from deriva_ml.model import CatalogDataSource, DatabaseModel, DataLoader, DerivaMLDatabase, SchemaBuilder, SchemaORM
from deriva_ml.schema.session import Session


@pytest.fixture
def subjects(session: Session) -> list[str]:
    return fill(session.catalog)


@pytest.fixture
def orm(ml: DerivaML, subjects: list[str]) -> Iterator[SchemaORM]:
    ml.session.catalog.model(refresh=True)
    with SchemaBuilder(ml.session.model(), [DEMO, OTHER]).build() as built:
        DataLoader(built, CatalogDataSource(ml, [DEMO, OTHER])).load_tables()
        yield built


def test_tables_of_one_name_are_kept_apart(orm: SchemaORM) -> None:
    assert orm.list_tables() == [ODD, f"{DEMO}:Subject", f"{OTHER}:Subject"]
    mine, theirs = orm.get_orm_class(f"{DEMO}:Subject"), orm.get_orm_class(f"{OTHER}:Subject")
    assert mine is not theirs
    with orm.session() as session:
        assert {row.Name for row in session.scalars(sa.select(mine))} == {"s0", "s1", "s2"}
        assert {row.Kind for row in session.scalars(sa.select(theirs))} == {"k", "l"}
    with pytest.raises(DerivaMLTableNotFound, match=rf"(?s)name the schema.*{DEMO}:Subject, {OTHER}:Subject"):
        orm.get_orm_class("Subject")
    with pytest.raises(DerivaMLTableNotFound, match=r"(?s)Sujbect.*Subject"):
        orm.get_table(f"{DEMO}:Sujbect")


def test_values_are_pythons_own(orm: SchemaORM) -> None:
    odd = orm.get_orm_class(ODD)
    with orm.session() as session:
        full, empty = sorted(session.scalars(sa.select(odd)), key=lambda row: row.Subject is None)
        assert (full.Flag, full.Small, full.Whole, full.Real) == (True, -3, 2**53 + 1, 0.1)
        assert math.isnan(full.Odd)
        assert (full.Day, full.Time) == (dt.date(2024, 2, 29), dt.time(4, 5, 6, 500000))
        assert full.Moment == dt.datetime(2024, 2, 29, 12, 0, 0, 500000, dt.UTC)
        assert full.Plain_Moment == dt.datetime(2024, 2, 29, 12)
        assert (full.Info, full.Tags) == ({"n": [1, None, 'a "q",\n']}, ["a", "", None])
        assert (full.Text, full.Long, getattr(full, ODD_COLUMN)) == ("", "x\ny", "x")
        assert full.RCT.tzinfo is not None
        assert [getattr(empty, name) for name in ("Flag", "Real", "Day", "Moment", "Info", "Text")] == [None] * 6


def test_queries_compare_values_of_pythons_own(orm: SchemaORM) -> None:
    odd = orm.get_orm_class(ODD)
    there = dt.datetime(2024, 2, 29, 13, 0, 0, 500000, dt.timezone(dt.timedelta(hours=1)))
    with orm.session() as session:
        for condition in (
            odd.Moment == there,
            odd.Moment > there - dt.timedelta(microseconds=1),
            odd.Day < dt.date(2024, 3, 1),
            odd.Flag.is_(True),
            odd.Info["n"][0].as_integer() == 1,
            getattr(odd, ODD_COLUMN) == "x",
        ):
            assert session.scalar(sa.select(sa.func.count()).select_from(odd).where(condition)) == 1
        assert session.scalar(sa.select(odd.RID).where(odd.Moment > there)) is None


def test_references_lead_from_row_to_row_in_both_directions(orm: SchemaORM, subjects: list[str]) -> None:
    subject = orm.get_orm_class(f"{DEMO}:Subject")
    with orm.session() as session:
        first, second, third = (session.get(subject, rid) for rid in subjects)
        assert second.ref_Parent is first
        assert first.ref_Parent is None
        assert first.Subject_by_Parent == [second]
        assert [row.Kind for row in first.Subject_by_Of] == ["k", "l"]
        assert first.Subject_by_Of[0].ref_Of is first
        assert [getattr(row, ODD_COLUMN) for row in getattr(third, f"{ODD}_by_Subject")] == ["x"]
        assert repr(first) == f"<Subject {subjects[0]}>"


def test_rows_are_streamed_as_dictionaries(orm: SchemaORM, subjects: list[str]) -> None:
    rows = list(orm.get_table_contents(f"{DEMO}:Subject", batch_size=1))
    assert [row["RID"] for row in rows] == sorted(subjects)
    assert {row["Name"] for row in rows} == {"s0", "s1", "s2"}
    assert len(rows[0]) == 7


def test_a_database_in_memory_is_one_for_all_threads(orm: SchemaORM) -> None:
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(len(list(orm.get_table_contents(f"{OTHER}:Subject")))))
    thread.start()
    thread.join()
    assert counts == [2]


def test_the_model_of_the_deriva_package_gives_the_same_tables(ml: DerivaML, subjects: list[str]) -> None:
    ours = ml.session.catalog.model(refresh=True)
    for model in (ml.model, ml.catalog.getCatalogModel()):
        with SchemaBuilder(model, [DEMO, OTHER]).build() as theirs, SchemaBuilder(ours, [DEMO, OTHER]).build() as mine:
            assert theirs.list_tables() == mine.list_tables()
            for name in mine.list_tables():
                one, other = mine.get_table(name), theirs.get_table(name)
                assert [(c.name, str(c.type)) for c in one.columns] == [(c.name, str(c.type)) for c in other.columns]
                assert len(one.foreign_keys) == len(other.foreign_keys)
            assert theirs.get_orm_class(ml.model.name_to_table(ODD)).__name__ == ODD


def test_every_table_of_a_catalog_can_be_mapped(ml: DerivaML) -> None:
    with SchemaBuilder(ml.session.model(), ml.session.model().schemas).build() as orm:
        assert "Dataset" in orm.list_tables()
        workflow, execution = orm.get_orm_class("Workflow"), orm.get_orm_class("Execution")
        with orm.session() as session:
            session.add_all([workflow(RID="1-A", Name="w"), execution(RID="1-B", Workflow="1-A")])
            session.commit()
            assert session.get(execution, "1-B").ref_Workflow.Name == "w"
        with pytest.raises(TypeError, match="Nmae"):
            workflow(Nmae="w")


def test_a_database_in_a_file_stays_and_is_opened_again(session: Session, tmp_path: Path) -> None:
    fill(session.catalog)
    model = session.catalog.model(refresh=True)
    for place in (tmp_path, tmp_path / "main.db"):
        with SchemaBuilder(model, DEMO, place).build() as orm:
            DataLoader(orm, CatalogDataSource(session, DEMO)).load_tables()
            assert len(list(orm.get_table_contents("Subject"))) == 3
    assert [path.name for path in tmp_path.glob("*.db")] == ["main.db"]
    with SchemaBuilder(model, [DEMO], str(tmp_path / "new" / "x.db")).build() as orm:
        assert list(orm.get_table_contents("Subject")) == []
    with closing(sqlite3.connect(tmp_path / "main.db")) as database:
        database.execute(f'ALTER TABLE "{DEMO}:Subject" RENAME COLUMN "Name" TO "Title"')
        database.commit()
    with pytest.raises(DerivaMLDataError, match=r"(?s)Subject with other columns than the model: Name, Title.*main.db"):
        SchemaBuilder(model, [DEMO], tmp_path).build()


def test_a_schema_that_there_is_not_is_named_with_the_nearest(ml: DerivaML) -> None:
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)demo_schema.*demo-schema"):
        SchemaBuilder(ml.session.model(), ["demo_schema"])


def test_a_bags_own_database_is_mapped_without_being_copied(session: Session, tmp_path: Path) -> None:
    project = make_project(replace(session, domain_schemas=frozenset({PROJECT}), default_schema=PROJECT), 4)
    dataset = project.dataset(project.images)
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version)
    bag = download_dataset_bag(project.session, spec)
    before = bag.database.database.read_bytes()
    lying = DatabaseModel(None, bag.path, tmp_path / "a ? b # c %41")
    for orm in (DerivaMLDatabase(bag.database).orm(), lying.orm(), DerivaMLDatabase(DatasetBag(lying).database).orm()):
        with orm:
            image = orm.get_orm_class("Image")
            with orm.session() as opened:
                rows = opened.scalars(sa.select(image).order_by(image.Score)).all()
                assert [row.RID for row in rows] == project.images
                assert [row.Usable for row in rows] == [False, True, True, False]
                assert rows[1].Info == {"n": [1, None, 'a "quote",\n']}
                assert rows[3].ref_Subject.Tags == ["a", ""]
                assert rows[0].Filename == "image 0, 50%.png"
                assert [row.Grade for row in rows[1].Execution_Image_Quality_by_Image] == ["good"]
                assert dt.datetime.now(dt.UTC) > rows[0].RCT
                with pytest.raises(sa.exc.OperationalError, match="readonly"):
                    opened.execute(sa.delete(image))
            with pytest.raises(DerivaMLTableNotFound, match="Directory"):
                orm.get_orm_class("Directory")
    assert bag.database.database.read_bytes() == before
