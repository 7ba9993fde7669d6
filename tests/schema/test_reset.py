"""A catalog that is emptied."""

from __future__ import annotations

from deriva_ml.asset.asset import create_asset
from deriva_ml.ml import DerivaML
from deriva_ml.schema import reset_ml_schema


def test_everything_but_the_service_s_own_schemas_is_dropped_and_the_ml_schema_made_anew(ml: DerivaML) -> None:
    create_asset(ml.session, "Image")
    ml.add_dataset_element_type("Image")
    ml.create_feature("Image", "Owner", metadata=["Workflow"])
    ml.add_term("Workflow_Type", "Mine", "Of my own.")
    before = ml.session.catalog.latest_snaptime()
    reset_ml_schema(ml.catalog)
    with DerivaML(ml.host_name, 1) as fresh:
        assert set(fresh.session.model().schemas) == {"public", "deriva-ml"}
        assert fresh.validate_schema(strict=True).issues == []
        assert "Mine" not in {term.name for term in fresh.list_vocabulary_terms("Workflow_Type")}
    assert "Image" in {table.name for table in ml.catalog_snapshot(before).list_asset_tables()}
    reset_ml_schema(ml.session.catalog, "ml-of-another-name")
    assert "ml-of-another-name" in ml.session.catalog.model(refresh=True).schemas
