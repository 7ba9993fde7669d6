"""The catalog's model knows the kinds of table and takes tables in every form."""

from __future__ import annotations

import pytest

from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.core.exceptions import (
    AmbiguousAssociationException,
    DerivaMLTableNotFound,
    DerivaMLTableTypeError,
    NoAssociationException,
)
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.ml import DerivaML


@pytest.fixture
def lab(ml: DerivaML) -> DerivaML:
    ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text")]))
    ml.create_vocabulary("Color", "Colors.")
    ml.create_asset("Image", column_defs=[ColumnDefinition("Width", "int4")])
    ml.create_table(ml.define_association(["Subject", "Color"]))
    ml.add_dataset_element_type("Subject")
    return ml


def test_tables_are_those_of_the_deriva_package(lab: DerivaML) -> None:
    model = lab.model
    subject = model.name_to_table("Subject")
    assert subject.schema.name == "demo-schema"
    assert model.name_to_table(subject) is subject
    assert model.schemas["demo-schema"].tables["Subject"] is subject
    with pytest.raises(DerivaMLTableNotFound, match=r"(?s)Subjekt.*Subject"):
        model.name_to_table("Subjekt")


def test_our_functions_take_tables_of_the_deriva_package(lab: DerivaML) -> None:
    assert list(lab.get_table_as_dict(lab.model.name_to_table("Subject"))) == []
    assert lab.list_assets(lab.model.name_to_table("Image")) == []


def test_kinds_of_table_are_told_apart(lab: DerivaML) -> None:
    model = lab.model
    assert model.is_vocabulary("Color")
    assert not model.is_vocabulary("Subject")
    assert model.is_asset("Image")
    assert model.is_association("Subject_Color")
    assert not model.is_association("Subject")
    assert not model.is_association("Image_Execution")
    assert model.is_association("Image_Execution", pure=False)
    assert {table.name for table in model.find_assets()} == {"Image", "Execution_Asset", "Execution_Metadata", "File"}
    assert "Color" in {table.name for table in model.find_vocabularies()}
    assert model.asset_metadata("Image") == {"Width"}
    assert model.vocab_columns("Color")["Name"] == "Name"
    with pytest.raises(DerivaMLTableTypeError):
        model.asset_metadata("Subject")


def test_an_association_is_found_from_both_sides(lab: DerivaML) -> None:
    table, one, other = lab.model.find_association("Subject", "Color")
    assert (table.name, one, other) == ("Subject_Color", "Subject", "Color")
    table, one, other = lab.model.find_association("Color", "Subject")
    assert (table.name, one, other) == ("Subject_Color", "Color", "Subject")
    table, one, other = lab.model.find_association("Dataset", "Dataset")
    assert (table.name, one, other) == ("Dataset_Dataset", "Dataset", "Nested_Dataset")


def test_no_association_and_several_are_errors(lab: DerivaML) -> None:
    with pytest.raises(NoAssociationException, match="No table relates Subject and Image"):
        lab.model.find_association("Subject", "Image")
    lab.create_table(lab.define_association(["Subject", "Color"], table_name="Second"))
    with pytest.raises(AmbiguousAssociationException, match=r"(?s)2 tables relate.*Second") as caught:
        lab.model.find_association("Subject", "Color")
    assert sorted(caught.value.found) == ["demo-schema:Second", "demo-schema:Subject_Color"]


def test_an_association_with_a_vocabulary_refers_to_names(lab: DerivaML) -> None:
    lab.add_term("Color", "Red", "Red.")
    made = lab.session.catalog.insert("demo-schema", "Subject", [{"Name": "x"}])
    lab.session.catalog.insert("demo-schema", "Subject_Color", [{"Subject": made[0]["RID"], "Color": "Red"}])
    assert [row["Color"] for row in lab.get_table_as_dict("Subject_Color")] == ["Red"]


def test_a_new_table_is_in_the_model(lab: DerivaML) -> None:
    model = lab.model
    assert "Plain" not in model.schemas["demo-schema"].tables
    made = model.create_table(TableDefinition("Plain", []))
    assert model.name_to_table("Plain") is made


def test_datasets_are_told_from_other_records(lab: DerivaML) -> None:
    dataset = Dataset.create_dataset(lab, None, [], "x")
    term = lab.lookup_term("Dataset_Type", "Training")
    model = lab.model
    assert model.is_dataset_rid(dataset.dataset_rid)
    assert not model.is_dataset_rid(term.rid)
    lab.delete_dataset(dataset)
    assert not model.is_dataset_rid(dataset.dataset_rid)
    assert model.is_dataset_rid(dataset.dataset_rid, deleted=True)
    assert [table.name for table in model.list_dataset_element_types()] == ["Subject", "Dataset", "File"]


def test_the_description_is_plain_and_whole(lab: DerivaML) -> None:
    found = lab.model.get_schema_description()
    described = found["schemas"]["demo-schema"]["tables"]
    kinds = {name: one["kind"] for name, one in described.items()}
    assert kinds["Subject"] == "table"
    assert kinds["Color"] == "vocabulary"
    assert kinds["Image"] == "asset"
    assert kinds["Subject_Color"] == "association"
    assert [column["name"] for column in described["Subject"]["columns"]] == ["Name"]
    whole = lab.model.get_schema_description(include_system_columns=True)
    names = [column["name"] for column in whole["schemas"]["demo-schema"]["tables"]["Subject"]["columns"]]
    assert names == ["RID", "RCT", "RMT", "RCB", "RMB", "Name"]


def test_annotations_made_on_the_deriva_model_are_applied(lab: DerivaML) -> None:
    model = lab.model
    model.name_to_table("Subject").annotations["tag:example,2026:x"] = {"a": 1}
    model.apply()
    assert lab.session.table("Subject").annotations["tag:example,2026:x"] == {"a": 1}
    lab.apply_catalog_annotations(head_title="T")
    assert lab.model.chaise_config["headTitle"] == "T"
