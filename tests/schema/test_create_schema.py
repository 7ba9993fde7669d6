from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import Connection
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLValidationError
from deriva_ml.ml import DerivaML
from deriva_ml.schema.create_schema import SEED_TERMS, create_ml_schema, initialize_ml_schema
from deriva_ml.schema.tables import is_asset, is_association, is_vocabulary
from deriva_ml.wire.path import table


def test_a_fresh_catalog_passes_strict_validation(ml: DerivaML) -> None:
    report = ml.validate_schema(strict=True)
    assert report.issues == []
    assert "No issues found." in report.to_text()


def test_the_vocabularies_hold_the_platform_s_terms_only(client: CatalogClient) -> None:
    for vocabulary, terms in SEED_TERMS.items():
        assert {row["Name"] for row in client.rows(table("deriva-ml", str(vocabulary)))} == {str(t) for t in terms}
    assert client.rows(table("deriva-ml", "Feature_Name")) == []


def test_tables_are_recognised_for_what_they_are(client: CatalogClient) -> None:
    tables = client.model().schemas["deriva-ml"].tables
    assert {name for name, found in tables.items() if is_vocabulary(found)} == {
        "Feature_Name",
        "Asset_Type",
        "Asset_Role",
        "Workflow_Type",
        "Dataset_Type",
    }
    assert {name for name, found in tables.items() if is_asset(found)} == {
        "Execution_Metadata",
        "Execution_Asset",
        "File",
    }
    assert is_association(tables["Dataset_Dataset"])
    assert not is_association(tables["Execution_Execution"])
    assert is_association(tables["Execution_Execution"], pure=False)
    assert not is_association(tables["Dataset_Version"], pure=False)


def test_seeding_again_changes_nothing(client: CatalogClient) -> None:
    before = client.rows(table("deriva-ml", "Asset_Type"))
    initialize_ml_schema(client)
    assert client.rows(table("deriva-ml", "Asset_Type")) == before


def test_a_schema_that_is_there_is_not_made_again(client: CatalogClient) -> None:
    snaptime = client.latest_snaptime()
    with pytest.raises(DerivaMLCatalogError, match="409"):
        create_ml_schema(client)
    assert client.latest_snaptime() == snaptime


def test_records_are_numbered_alike_in_every_fresh_catalog(connection: Connection) -> None:
    rows = []
    for name in ("a", "b"):
        fresh = connection.create_catalog(name)
        create_ml_schema(fresh, project_name="test")
        rows.append({row["Name"]: row["RID"] for row in fresh.rows(table("deriva-ml", "Dataset_Type"))})
    assert rows[0] == rows[1]


def test_a_missing_table_column_and_term_are_each_reported(ml: DerivaML) -> None:
    client = ml.session.catalog
    client.drop_table("deriva-ml", "Dataset_File")
    client.drop_column("deriva-ml", "Workflow", "Version")
    client.drop_column("deriva-ml", "Execution", "Stop_Time")
    client.delete(table("deriva-ml", "Dataset_Type"))
    report = ml.validate_schema()
    assert {(issue.severity, issue.category) for issue in report.issues} == {
        ("error", "association_table"),
        ("error", "column"),
        ("info", "column"),
        ("error", "vocabulary_term"),
    }
    assert not report.is_valid
    assert "INVALID" in report.to_text()
    assert report.to_dict()["is_valid"] is False


def test_what_is_not_expected_is_an_error_only_if_strict(ml: DerivaML) -> None:
    client = ml.session.catalog
    client.create_column("deriva-ml", "Workflow", {"name": "Extra", "type": {"typename": "text"}})
    assert ml.validate_schema().is_valid
    assert [issue.category for issue in ml.validate_schema(strict=True).errors] == ["extra_column"]


def test_a_catalog_is_made_for_a_project(tmp_path: Path, settings: object) -> None:
    from deriva_ml.schema import create_ml_catalog

    catalog = create_ml_catalog(str(tmp_path / "new"), "my-project")
    with DerivaML(str(tmp_path / "new"), catalog.catalog_id) as ml:
        assert ml.lookup_term("Dataset_Type", "Training").id.startswith("my-project:")


def test_schemas_are_made_through_the_deriva_package_s_own_handles_too(connection: Connection) -> None:
    theirs = connection.deriva().catalog(connection.create_catalog().catalog_id)
    create_ml_schema(theirs, project_name="theirs")
    initialize_ml_schema(theirs.getCatalogModel())
    with DerivaML(str(connection.place.root), theirs.catalog_id) as ml:
        assert ml.validate_schema(strict=True).issues == []
        assert ml.lookup_term("Asset_Role", "Input").id.startswith("theirs:")
    with pytest.raises(DerivaMLValidationError, match="Not a catalog"):
        create_ml_schema("local")
