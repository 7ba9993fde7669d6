"""A bag as the read side of a catalog."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataset.project import DEMO, ML, Project, make_project

from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLDatasetNotFound,
    DerivaMLInvalidTerm,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
)
from deriva_ml.dataset import DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.feature.select import newest
from deriva_ml.model import DatabaseModel, DerivaMLDatabase
from deriva_ml.schema.rids import resolve_rids
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import list_vocabulary_terms, lookup_term


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(replace(session, domain_schemas=frozenset({DEMO}), default_schema=DEMO), 6)


def _bag(project: Project, members: list[str]) -> DatasetBag:
    dataset = project.dataset(members, dataset_types=["Training"])
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version)
    return download_dataset_bag(project.session, spec)


def test_it_answers_as_the_catalog_does(project: Project) -> None:
    inner = project.dataset(project.images[:2])
    bag = _bag(project, [inner.dataset_rid, *project.images[2:]])
    database = DerivaMLDatabase(bag.database)
    session = project.session
    assert (database.ml_schema, database.domain_schemas, database.default_schema) == (ML, {DEMO}, DEMO)
    assert database.catalog_id.startswith(f"{bag.dataset_rid}@")
    assert {each.dataset_rid for each in database.find_datasets()} == {bag.dataset_rid, inner.dataset_rid}
    assert database.lookup_dataset(inner.dataset_rid).list_dataset_parents() == [bag]
    assert database.lookup_dataset(DatasetSpec(rid=bag.dataset_rid, version="0.2.0")) == bag  # type: ignore[arg-type]
    assert [each.name for each in database.list_dataset_element_types()] == ["Image", "Subject", "Dataset", "File"]
    assert [each.name for each in database.list_vocabulary_terms("Grade")] == [
        each.name for each in list_vocabulary_terms(session, "Grade")
    ]
    assert database.lookup_term("Grade", "good").rid == lookup_term(session, "Grade", "good").rid
    rows = {str(row["RID"]): row for row in database.get_table_as_dict("Image")}
    assert rows.keys() == set(project.images)
    assert all(Path(str(row["Filename"])).is_file() for row in rows.values())
    assert len(database.get_table_as_dataframe("Subject")) == 3
    assert [each.name for each in database.list_asset_tables()] == ["Image"]


def test_records_are_found_by_their_rid(project: Project) -> None:
    database = DerivaMLDatabase(_bag(project, project.images).database)
    wanted = [*project.images, *project.subjects, project.execution]
    found = database.resolve_rids(wanted)
    assert {rid: (each.rid, each.table_name) for rid, each in found.items()} == {
        rid: (each.rid, each.table_name) for rid, each in resolve_rids(project.session, wanted).items()
    }
    assert database.resolve_rid(project.images[0]).table.name == "Image"
    assert database.retrieve_rid(project.subjects[0])["Name"] == "subject 0"
    with pytest.raises(DerivaMLRidsNotFound, match="9-ZZZZ"):
        database.resolve_rids([project.images[0], "9-ZZZZ"])
    with pytest.raises(DerivaMLRidsNotFound, match=project.images[0]):
        database.resolve_rids([project.images[0]], [database.database.table("Subject")])


def test_features_are_read_with_filters_and_selectors(project: Project) -> None:
    (workflow,) = project.session.catalog.insert(ML, "Workflow", [{"Name": "w", "URL": "u", "Checksum": "c"}])
    (second,) = project.session.catalog.insert(ML, "Execution", [{"Description": "b", "Workflow": workflow["RID"]}])
    row = {"Image": project.images[0], "Execution": second["RID"], "Grade": "good"}
    project.session.catalog.insert(DEMO, "Execution_Image_Quality", [row], defaults=["Feature_Name"])
    bag = _bag(project, project.images)
    database = DerivaMLDatabase(bag.database)
    assert len(database.list_feature_values("Image", "Quality")) == 7
    assert len(database.feature_values("Image", "Quality", newest)) == 6
    called: list[int] = []
    database.feature_values("Image", "Quality", lambda records: called.append(len(records)) or records[0])  # type: ignore[func-returns-value]
    assert called == [2]
    assert database.feature_values("Image", "Quality", lambda _records: None) != []  # type: ignore[arg-type,return-value]
    assert len(database.feature_values("Image", "Quality", lambda _records: None)) == 5  # type: ignore[arg-type,return-value]
    (value,) = bag.feature_values("Image", "Quality", execution_rids=[str(second["RID"])])
    assert value.target_rid == project.images[0]
    (again,) = bag.feature_values("Image", "Quality", workflow=str(workflow["RID"]))
    assert again.to_row() == value.to_row()
    with pytest.raises(DerivaMLDataError, match="more than 6 values of Image:Quality"):
        bag.feature_values("Image", "Quality", materialize_limit=6)
    assert bag.feature_values("Image", "Quality", workflow="no such type") == []
    assert set(database.fetch_table_features("Image")) == {"Quality"}
    record = database.lookup_feature("Image", "Quality").feature_record_class()
    with pytest.raises(ValueError, match="goood"):
        record(Image=project.images[0], Grade="goood")


def test_what_is_not_there_is_said_with_what_is(project: Project) -> None:
    database = DerivaMLDatabase(_bag(project, project.images[:1]).database)
    with pytest.raises(DerivaMLDatasetNotFound, match="9-ZZZZ"):
        database.lookup_dataset("9-ZZZZ")
    with pytest.raises(DerivaMLInvalidTerm, match="good"):
        database.lookup_term("Grade", "goood")
    with pytest.raises(DerivaMLTableTypeError, match="Subject"):
        database.lookup_term("Subject", "good")


@pytest.mark.parametrize("name", ["create_dataset", "pathBuilder", "catalog_snapshot", "add_term", "add_features"])
def test_what_needs_the_catalog_is_refused_with_advice(project: Project, name: str) -> None:
    database = DerivaMLDatabase(_bag(project, project.images[:1]).database)
    with pytest.raises(DerivaMLReadOnlyError, match=f"(?s){name}.*DerivaML"):
        getattr(database, name)(*(() if name == "pathBuilder" else ("anything",)))
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = database.no_such_thing


def test_a_deleted_dataset_is_found_only_if_asked_for(project: Project) -> None:
    inner = project.dataset(project.images[:1])
    project.session.catalog.update(ML, "Dataset", [{"RID": inner.dataset_rid, "Deleted": True}])
    bag = _bag(project, [inner.dataset_rid])
    database = DerivaMLDatabase(bag.database)
    assert database.find_datasets() == [bag]
    assert len(database.find_datasets(deleted=True)) == 2
    with pytest.raises(DerivaMLDatasetNotFound, match="was deleted"):
        database.lookup_dataset(inner.dataset_rid)
    assert database.lookup_dataset(inner.dataset_rid, deleted=True).dataset_rid == inner.dataset_rid


def test_a_bag_that_lies_anywhere_gets_a_database_of_its_own(project: Project, tmp_path: Path) -> None:
    one, two = _bag(project, project.images[:1]), _bag(project, project.images[1:3])
    for number, bag in enumerate((one, two)):
        # Another bag at the same place is another bag.
        shutil.rmtree(tmp_path / "here", ignore_errors=True)
        shutil.copytree(bag.path, tmp_path / "here" / "bag")
        model = DatabaseModel(None, tmp_path / "here" / "bag", tmp_path / "work")
        assert model.database.name == "main.db"
        assert model.database.is_relative_to(tmp_path / "work" / "databases")
        assert len(list(DerivaMLDatabase(model).get_table_as_dict("Image"))) == number + 1
        assert len(DatasetBag.open(tmp_path / "here" / "bag").list_dataset_members()["Image"]) == number + 1
