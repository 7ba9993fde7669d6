"""Reading a bag."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.dataset.project import DEMO, Project

from deriva_ml.core.exceptions import DerivaMLDatasetNotFound, DerivaMLNotFoundError, DerivaMLTableNotFound
from deriva_ml.dataset import DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.feature.select import newest
from deriva_ml.wire.path import table


def _bag(project: Project, **more: object) -> DatasetBag:
    dataset = project.dataset(project.images, dataset_types=["Training"], description="All images")
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", **more)  # type: ignore[arg-type]
    return download_dataset_bag(project.session, spec)


def test_a_bag_says_what_the_dataset_is(small: Project) -> None:
    bag = _bag(small)
    assert (bag.description, bag.dataset_types, str(bag.current_version)) == ("All images", ["Training"], "0.2.0")
    assert [str(entry.dataset_version) for entry in bag.dataset_history()] == ["0.1.0", "0.2.0"]
    assert bag.list_executions() == [small.execution]
    assert [each.name for each in bag.list_dataset_element_types()] == ["Image", "Subject", "Dataset", "File"]
    assert bag.list_dataset_children() == bag.list_dataset_parents() == []


@pytest.mark.parametrize("name", ["Image", "Subject", "Execution_Image_Quality", "Grade", "Dataset_Type"])
def test_rows_have_the_values_that_the_catalog_has(project: Project, name: str) -> None:
    bag = _bag(project, materialize=False)
    found = project.session.table(name)
    expected = project.session.catalog.rows(table(found.schema, found.name).sorted("RID"))
    assert list(bag.get_table_as_dict(name)) == expected


def test_a_table_is_a_data_frame_with_all_columns_even_without_rows(small: Project) -> None:
    bag = _bag(small)
    frame = bag.get_table_as_dataframe("Image")
    assert len(frame) == 10
    assert list(bag.get_table_as_dataframe("File").columns)[:5] == ["RID", "RCT", "RMT", "RCB", "RMB"]
    assert len(bag.get_table_as_dataframe("File")) == 0
    assert list(bag.get_table_as_dict(f"{DEMO}:Image")) == list(bag.get_table_as_dict("Image"))
    with pytest.raises(DerivaMLTableNotFound, match="Image"):
        bag.get_table_as_dict("Imag")


def test_features_are_read_as_records(project: Project) -> None:
    bag = _bag(project, materialize=False)
    assert [feature.feature_name for feature in bag.find_features("Image")] == ["Quality"]
    assert bag.find_features("Subject") == []
    values = bag.list_feature_values("Image", "Quality")
    assert {(each.Image, each.Grade) for each in values} == {  # type: ignore[attr-defined]
        (rid, "good" if n % 2 else "bad") for n, rid in enumerate(project.images)
    }
    assert bag.fetch_table_features("Image", selector=newest).keys() == {"Quality"}
    with pytest.raises(DerivaMLNotFoundError, match="Quality"):
        bag.list_feature_values("Image", "Qualty")


def test_a_dataset_that_is_not_in_the_bag_is_named(small: Project) -> None:
    bag = _bag(small)
    with pytest.raises(DerivaMLDatasetNotFound, match=bag.dataset_rid):
        DatasetBag(BagDatabase(bag.path, bag.path.parent / "tables.db"), "9-ZZZZ")


def test_a_bag_is_read_by_many_threads_at_once_and_leaves_its_files_alone(small: Project) -> None:
    bag = _bag(small)
    database = bag.path.parent / "tables.db"
    before = database.stat()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: len(bag.list_dataset_members()["Image"]), range(16)))
    assert found == [10] * 16
    assert (database.stat().st_mtime_ns, database.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [path.name for path in database.parent.iterdir() if "tables" in path.name] == ["tables.db"]


def test_a_database_of_another_format_is_built_anew(small: Project, tmp_path: object) -> None:
    bag = _bag(small)
    other = bag.path.parent.parent / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE old (a)")
    connection.close()
    assert len(DatasetBag.open(bag.path, other).list_dataset_members()["Image"]) == 10
    other.write_bytes(b"not a database at all" * 100)
    assert len(DatasetBag.open(bag.path, other).list_dataset_members()["Image"]) == 10


def test_a_bag_is_read_without_the_catalog(small: Project, catalog_root: Path, tmp_path: Path) -> None:
    shutil.copytree(_bag(small).path, tmp_path / "elsewhere" / "bag")
    shutil.rmtree(catalog_root)
    bag = DatasetBag.open(tmp_path / "elsewhere" / "bag")
    assert bag.is_materialized
    assert len(bag.list_dataset_members()["Image"]) == 10
    assert len(bag.denormalize_as_dataframe(["Image", "Execution_Image_Quality", "Subject"])) == 10
    assert len(bag.restructure_assets(tmp_path / "out", group_by=["Quality"])) == 10
    assert [label for _sample, label in bag.as_torch_dataset("Image", targets=["Quality"])].count("good") == 5
