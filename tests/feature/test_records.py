"""Records of features, without a catalog."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.feature.feature import features_of_model
from deriva_ml.feature.records import FeatureRecord, record_class
from deriva_ml.schema.tables import (
    Associate,
    asset_document,
    association_document,
    table_document,
    vocabulary_document,
)
from deriva_ml.wire.model import Table
from deriva_ml.wire.model_documents import model_from_document

COLUMNS = [
    ("Small", "int2"), ("Count", "int4"), ("Big", "int8"), ("Score", "float8"), ("Good", "boolean"), ("Note", "text"),
    ("Day", "date"), ("At", "timestamptz"), ("Extra", "jsonb"), ("Vector", "float4[]"), ("copy", "text"),
    ("_odd", "text"), ("two words", "text"), ("value", "float8"), ("model_name", "text"),
]  # fmt: skip


def document() -> dict[str, object]:
    feature = association_document(
        "s",
        "Execution_Subject_F",
        [Associate("s", "Execution"), Associate("s", "Subject"), Associate("s", "Feature_Name", "Name")],
        [
            *(ColumnDef(name, kind) for name, kind in COLUMNS),
            ColumnDef("Quality", nullok=False),
            ColumnDef("Mask"),
            ColumnDef("Level", "int4", nullok=False, default=7),
        ],
        [ForeignKeyDef(["Quality"], "s", "Quality", ["Name"]), ForeignKeyDef(["Mask"], "s", "Mask")],
    )
    for column in feature["column_definitions"]:  # type: ignore[union-attr]
        if column["name"] == "Feature_Name":  # type: ignore[index, call-overload]
            column["default"] = "F"  # type: ignore[index, call-overload]
    tables = [
        table_document("s", TableDef("Execution")),
        table_document("s", TableDef("Subject")),
        vocabulary_document("s", "Feature_Name", "s"),
        vocabulary_document("s", "Quality", "s"),
        asset_document("s", "Mask"),
        feature,
    ]
    return {"snaptime": "1", "schemas": {"s": {"schema_name": "s", "tables": {t["table_name"]: t for t in tables}}}}


class Vocabulary:
    """Terms that may change; counts how often they were read."""

    def __init__(self) -> None:
        self.terms = {"Good": "Good", "fine": "Good", "Bad": "Bad"}
        self.reads = 0

    def __call__(self, table: Table) -> Mapping[str, str]:
        assert table.name == "Quality"
        self.reads += 1
        return dict(self.terms)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary()


@pytest.fixture
def record(vocabulary: Vocabulary) -> type[FeatureRecord]:
    (feature,) = features_of_model(model_from_document(document()), read_terms=vocabulary)  # type: ignore[arg-type]
    return feature.feature_record_class()


def test_the_name_and_the_required_fields(record: type[FeatureRecord]) -> None:
    assert record.__name__ == "SubjectFeatureF"
    made = record(Subject="1-ABCD", Quality="Good")  # type: ignore[call-arg]
    assert (made.Feature_Name, made.Execution, made.target_rid) == ("F", None, "1-ABCD")
    assert made.column_value("Level") == 7
    with pytest.raises(ValidationError, match="Subject\n  Field required"):
        record(Quality="Good")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Quality\n  Field required"):
        record(Subject="1-ABCD")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("Small", 5, 5),
        ("Count", np.int64(5), 5),
        ("Count", np.int32(-5), -5),
        ("Score", np.float32(0.5), 0.5),
        ("Score", 3, 3.0),
        ("Good", np.bool_(True), True),
        ("Day", date(2026, 1, 2), "2026-01-02"),
        ("At", datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        ("Extra", {"a": [1]}, {"a": [1]}),
        ("Vector", np.array([0.5, 1.0]), [0.5, 1.0]),
        ("copy", "x", "x"),
        ("_odd", "x", "x"),
        ("two words", "x", "x"),
        ("value", 1.5, 1.5),
        ("model_name", "m", "m"),
        ("Quality", "fine", "Good"),
    ],
)
def test_values_of_the_right_type_are_taken(
    record: type[FeatureRecord], field: str, given: object, kept: object
) -> None:
    made = record(**{"Subject": "1-ABCD", "Quality": "Good", field: given})
    assert made.column_value(field) == kept
    assert type(made.column_value(field)) is type(kept)
    assert made.to_row()[field] == kept
    assert record.from_row(made.to_row()).column_value(field) == kept


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("Small", 40_000), ("Count", 2**31), ("Big", 2**63), ("Count", 1.5), ("Count", "many"), ("Score", "high"),
        ("Good", "perhaps"), ("Note", 5), ("Day", 5), ("Vector", [1.0, "x"]), ("Scor", 1.0), ("Quality", None),
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_are_errors_that_name_the_field(
    record: type[FeatureRecord], field: str, given: object
) -> None:
    with pytest.raises(ValidationError) as caught:
        record(**{"Subject": "1-ABCD", "Quality": "Good", field: given})
    assert str(caught.value.errors()[0]["loc"][0]) == field


def test_an_unknown_term_is_an_error_with_the_allowed_ones(record: type[FeatureRecord]) -> None:
    with pytest.raises(ValidationError, match="'Goood' is not a term of vocabulary Quality; allowed: Good"):
        record(Subject="1-ABCD", Quality="Goood")  # type: ignore[call-arg]


def test_the_vocabulary_is_read_once_and_again_only_for_what_it_lacked(
    record: type[FeatureRecord], vocabulary: Vocabulary
) -> None:
    assert vocabulary.reads == 0
    for _ in range(10):
        record(Subject="1-ABCD", Quality="Good")  # type: ignore[call-arg]
    assert vocabulary.reads == 1
    vocabulary.terms["New"] = "New"
    record(Subject="1-ABCD", Quality="New")  # type: ignore[call-arg]
    assert vocabulary.reads == 2


def test_an_asset_may_be_a_path_until_it_is_stored(record: type[FeatureRecord], tmp_path: Path) -> None:
    made = record(Subject="1-ABCD", Quality="Good", Mask=tmp_path / "m.png")  # type: ignore[call-arg]
    assert made.to_row()["Mask"] == tmp_path / "m.png"


def test_numbers_that_json_does_not_know_go_to_the_catalog_as_words_and_come_back(record: type[FeatureRecord]) -> None:
    for number, word in ((math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")):
        row = record(Subject="1-ABCD", Quality="Good", Score=number).to_row()  # type: ignore[call-arg]
        assert row["Score"] == word
        back = record.from_row(row).column_value("Score")
        assert back == number or (math.isnan(back) and math.isnan(number))


def test_rows_from_the_catalog_are_taken_as_they_are(record: type[FeatureRecord], vocabulary: Vocabulary) -> None:
    made = record.from_row({"Subject": "1-ABCD", "Quality": "Gone", "RCT": "2026-01-01T00:00:00+00:00", "RID": "X"})
    assert (made.column_value("Quality"), made.RCT) == ("Gone", "2026-01-01T00:00:00+00:00")
    assert vocabulary.reads == 0


def test_without_a_reader_terms_are_not_checked() -> None:
    (feature,) = features_of_model(model_from_document(document()))  # type: ignore[arg-type]
    assert record_class(feature)(Subject="1-ABCD", Quality="Anything").column_value("Quality") == "Anything"  # type: ignore[call-arg]


def test_the_base_class_says_that_it_is_of_no_feature() -> None:
    with pytest.raises(TypeError, match="is not the class of a feature"):
        FeatureRecord.feature_columns()


def test_a_name_that_is_no_field_is_an_error_with_the_nearest_fields(record: type[FeatureRecord]) -> None:
    with pytest.raises(ValidationError) as caught:
        record(Subject="1-ABCD", Qualty="Good", wto_words="x", Quality="Good")  # type: ignore[call-arg]
    assert {str(error["loc"][0]) for error in caught.value.errors()} == {"Qualty", "wto_words"}
    assert "SubjectFeatureF has no field Qualty; allowed: Quality" in str(caught.value)
    assert "has no field wto_words; allowed: two words" in str(caught.value)


def test_what_is_assigned_later_is_checked_too(record: type[FeatureRecord]) -> None:
    made = record(Subject="1-ABCD", Quality="Good", **{"two words": "x"})  # type: ignore[arg-type]
    made.Quality = "fine"  # type: ignore[attr-defined]
    assert made.to_row()["Quality"] == "Good"
    with pytest.raises(ValidationError, match="'Bat' is not a term of vocabulary Quality; allowed: Bad"):
        made.Quality = "Bat"  # type: ignore[attr-defined]
    with pytest.raises(ValidationError, match="Count"):
        made.Count = "many"  # type: ignore[attr-defined]
    made.Execution = "1-0001"
    assert made.to_row()["Execution"] == "1-0001"
    read = record.from_row({"Subject": "1-ABCD", "Quality": "Gone"})
    read.Execution = "1-0001"
    assert read.column_value("Quality") == "Gone"


def test_a_record_is_of_its_own_feature_and_of_a_target(record: type[FeatureRecord]) -> None:
    assert record(Subject="1-ABCD", Quality="Good", Feature_Name="F").Feature_Name == "F"  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="'G' is not the feature of these records; allowed: F"):
        record(Subject="1-ABCD", Quality="Good", Feature_Name="G")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="Subject"):
        record(Subject=None, Quality="Good")  # type: ignore[call-arg]
