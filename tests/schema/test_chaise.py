"""The menu of a catalog's web interface follows its tables."""

from __future__ import annotations

import pytest

from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLReadOnlyError, DerivaMLTableNotFound
from deriva_ml.ml import DerivaML
from deriva_ml.schema.chaise import BULK_UPLOAD, CHAISE_CONFIG


def menu(ml: DerivaML) -> dict[str, list[str]]:
    annotation = ml.session.catalog.model(refresh=True).annotations[CHAISE_CONFIG]
    assert isinstance(annotation, dict)
    return {
        item["name"]: [child["name"] for child in item.get("children", [])] for item in annotation["navbarMenu"]["menu"]
    }


def test_the_menu_groups_tables_by_what_they_are(ml: DerivaML) -> None:
    ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text")]))
    ml.create_vocabulary("Color", "Colors.")
    ml.create_asset("Image")
    ml.apply_catalog_annotations("Brand", "Title")
    found = menu(ml)
    assert "Subject" in found["demo-schema"]
    assert "Color" in found["Vocabulary"]
    assert "Image" in found["Assets"]
    assert {"Dataset", "Execution", "Workflow"} <= set(found["Deriva-ML"])
    assert list(found)[-2:] == ["Catalog Registry", "Documentation"]
    annotation = ml.session.model().annotations[CHAISE_CONFIG]
    assert isinstance(annotation, dict)
    assert (annotation["navbarBrandText"], annotation["headTitle"]) == ("Brand", "Title")


def test_new_tables_join_a_menu_that_is_there(ml: DerivaML) -> None:
    ml.create_vocabulary("Early")
    assert CHAISE_CONFIG not in ml.session.model().annotations
    ml.apply_catalog_annotations()
    ml.create_vocabulary("Late")
    ml.create_table(TableDefinition("Thing", []))
    ml.create_vocabulary("Hidden", update_navbar=False)
    assert {"Early", "Late"} <= set(menu(ml)["Vocabulary"])
    assert "Hidden" not in menu(ml)["Vocabulary"]
    assert menu(ml)["demo-schema"] == ["Thing"]


def test_the_upload_rules_name_every_asset_table_of_the_project(ml: DerivaML) -> None:
    ml.create_asset("Image")
    ml.apply_catalog_annotations()
    rules = ml.session.catalog.model(refresh=True).annotations[BULK_UPLOAD]
    assert isinstance(rules, dict)
    assert [rule.get("target_table") for rule in rules["asset_mappings"]] == [None, ["demo-schema", "Image"]]


def test_a_url_names_catalog_and_table(ml: DerivaML) -> None:
    assert ml.chaise_url("Dataset").endswith("/chaise/recordset/#1/deriva-ml:Dataset")
    with pytest.raises(DerivaMLTableNotFound):
        ml.chaise_url("Datasett")


def test_a_page_needs_a_table_for_pages(ml: DerivaML) -> None:
    with pytest.raises(DerivaMLConfigurationError, match="www:demo-schema"):
        ml.add_page("Title", "Text")
    ml.session.catalog.create_schema("www")
    columns = [ColumnDefinition("Title", "text"), ColumnDefinition("Content", "markdown")]
    ml.create_table(TableDefinition("demo-schema", columns), schema="www")
    rid = ml.add_page("Title", "Text")
    assert ml.retrieve_rid(rid)["Content"] == "Text"


def test_a_snapshot_takes_no_menu(ml: DerivaML) -> None:
    past = ml.catalog_snapshot(ml.session.catalog.latest_snaptime())
    with past, pytest.raises(DerivaMLReadOnlyError):
        past.apply_catalog_annotations()
