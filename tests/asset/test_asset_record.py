"""Metadata of assets as objects."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deriva_ml.asset.asset_record import AssetRecord, asset_record_class, checked_metadata
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef
from deriva_ml.core.exceptions import DerivaMLTableNotFound, DerivaMLTableTypeError, DerivaMLValidationError
from deriva_ml.ml import DerivaML
from deriva_ml.schema.tables import asset_document, vocabulary_document
from deriva_ml.wire.model import Model, Table
from deriva_ml.wire.model_documents import model_from_document


@pytest.fixture
def model() -> Model:
    columns = [
        ColumnDef("Width", "int4", nullok=False),
        ColumnDef("Note", "text", default="none"),
        ColumnDef("When", "timestamptz"),
        ColumnDef("Extra", "jsonb"),
        ColumnDef("schema", "text"),
        ColumnDef("Colour", "text"),
    ]
    image = asset_document("s", "Image", columns, [ForeignKeyDef(["Colour"], "s", "Colour", ["Name"])])
    tables = {"Image": image, "Colour": vocabulary_document("s", "Colour", "s")}
    return model_from_document({"snaptime": "1", "schemas": {"s": {"schema_name": "s", "tables": tables}}})  # type: ignore[dict-item]


def colours(table: Table) -> dict[str, str]:
    assert table.name == "Colour"
    return {"Red": "Red", "crimson": "Red"}


def test_a_class_has_the_metadata_columns_alone(model: Model) -> None:
    cls = asset_record_class(model, "Image")
    assert cls.__name__ == "ImageAssetRecord"
    assert issubclass(cls, AssetRecord)
    record = cls(Width=3, schema="x")  # type: ignore[call-arg]
    assert record.to_metadata() == {"Width": 3, "Note": "none", "schema": "x"}
    with pytest.raises(ValidationError, match="Filename"):
        cls(Width=3, Filename="a")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Field required"):
        cls()


def test_other_tables_are_refused(model: Model) -> None:
    with pytest.raises(DerivaMLTableTypeError, match="Colour is not of type asset table"):
        asset_record_class(model, "Colour")
    with pytest.raises(DerivaMLTableNotFound) as caught:
        asset_record_class(model, "Imag")
    assert "Image" in caught.value.allowed


def test_any_form_of_a_catalogs_model_will_do(ml: DerivaML) -> None:
    ml.create_asset("Scan", column_defs=[ColumnDef("Width", "int4")])
    theirs = ml.catalog.getCatalogModel()
    for one in (ml.model, ml, ml.session, ml.session.model(), theirs):
        for table in ("Scan", "demo-schema:Scan", ml.model.name_to_table("Scan")):
            assert list(asset_record_class(one, table).model_fields) == ["Width"]
        with pytest.raises(DerivaMLTableNotFound, match="Scan"):
            asset_record_class(one, "Scna")
    with pytest.raises(DerivaMLValidationError, match="Not the model of a catalog"):
        asset_record_class(5, "Scan")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Width": "wide"}, "Width: Input should be a valid integer"),
        ({"Width": 1, "Widht": 2}, "Widht: the table has no such column"),
        ({"Note": "x"}, "Width: a value is required"),
        ({"Width": None}, "Width: a value is required"),
        ({"Width": 1, "Colour": "Blue"}, "'Blue' is not a term of vocabulary Colour; allowed: Red"),
    ],
)
def test_metadata_that_does_not_fit_is_an_error_that_names_the_column(
    model: Model, given: dict[str, object], words: str
) -> None:
    cls = asset_record_class(model, "Image", colours)
    with pytest.raises(DerivaMLValidationError, match=f"The metadata of output x does not fit: .*{words}"):
        checked_metadata(cls, given, "output x")


def test_the_nearest_column_is_named(model: Model) -> None:
    with pytest.raises(DerivaMLValidationError) as caught:
        checked_metadata(asset_record_class(model, "Image"), {"Width": 1, "Widht": 2}, "x")
    assert caught.value.allowed == ("Width",)


def test_metadata_that_fits_is_normalised(model: Model) -> None:
    cls = asset_record_class(model, "Image", colours)
    assert checked_metadata(cls, {"Width": 1, "Colour": "crimson", "When": None}, "x") == {
        "Width": 1, "Note": "none", "Colour": "Red",
    }  # fmt: skip
