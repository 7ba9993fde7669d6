"""Making, finding and removing features."""

from __future__ import annotations

import json

import pytest

from deriva_ml.asset.asset import create_asset
from deriva_ml.core.ermrest import ColumnDef, KeyDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLInvalidTerm,
    DerivaMLNotFoundError,
    DerivaMLTableNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.feature.feature import (
    create_feature,
    delete_feature,
    feature_record_class,
    find_features,
    find_features_referencing,
    lookup_feature,
)
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document
from deriva_ml.schema.vocabulary import create_vocabulary, lookup_term


@pytest.fixture
def project(session: Session) -> Session:
    """A project with subjects, images and a vocabulary."""
    session.catalog.create_table("demo-schema", table_document("demo-schema", TableDef("Subject", [ColumnDef("Name")])))
    create_asset(session, "Mask")
    create_vocabulary(session, "Quality")
    return session


def names(columns: object) -> set[str]:
    return {column.name for column in columns}  # type: ignore[attr-defined]


def test_a_feature_is_found_again_with_the_kinds_of_its_columns(project: Session) -> None:
    record = create_feature(
        project, "Subject", "Health", ["Quality"], ["Mask"], [ColumnDef("Score", "float8"), "Subject_Note"][:1],
        comment="How well.",
    )  # fmt: skip
    assert record.__name__ == "SubjectFeatureHealth"
    feature = lookup_feature(project, "Subject", "Health")
    assert feature.feature_table.name == "Execution_Subject_Health"
    assert feature.target_table.name == "Subject"
    assert feature.feature_name == "Health"
    assert names(feature.feature_columns) == {"Quality", "Mask", "Score"}
    assert names(feature.term_columns) == {"Quality"}
    assert names(feature.asset_columns) == {"Mask"}
    assert names(feature.value_columns) == {"Score"}
    assert names(record.feature_columns()) == {"Quality", "Mask", "Score"}
    assert lookup_term(project, "Feature_Name", "Health").description == "How well."


def test_features_are_listed_by_table(project: Session) -> None:
    create_feature(project, "Subject", "Health", metadata=[ColumnDef("Score", "float8")])
    create_feature(project, "Mask", "Health", metadata=[ColumnDef("Score", "float8")])
    create_feature(project, "Mask", "Grade", metadata=[ColumnDef("Score", "float8")])
    assert {str(feature) for feature in find_features(project)} == {"Subject:Health", "Mask:Health", "Mask:Grade"}
    assert {str(feature) for feature in find_features(project, "Mask")} == {"Mask:Health", "Mask:Grade"}


def test_associations_that_are_no_features_are_not_taken_for_them(project: Session) -> None:
    assert find_features(project) == []


def test_a_feature_may_refer_to_its_own_kind_of_table_and_to_others(project: Session) -> None:
    create_feature(project, "Mask", "Owner", metadata=["Subject"])
    feature = lookup_feature(project, "Mask", "Owner")
    assert names(feature.value_columns) == {"Subject"}
    (column,) = feature.value_columns
    assert feature.referenced(column) == project.table("Subject")


def test_optional_columns_may_be_empty_and_others_may_not(project: Session) -> None:
    record = create_feature(project, "Subject", "Health", terms=["Quality"], assets=["Mask"], optional=["Mask"])
    assert not record.model_fields["Mask"].is_required()
    assert record.model_fields["Quality"].is_required()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"target_table": "Subjekt"}, DerivaMLTableNotFound, "Subject"),
        ({"terms": ["Subject"]}, DerivaMLTableTypeError, "Subject is not of type vocabulary"),
        ({"assets": ["Quality"]}, DerivaMLTableTypeError, "Quality is not of type asset table"),
        ({"optional": ["Scor"], "metadata": [ColumnDef("Score")]}, DerivaMLValidationError, "Score"),
        ({"metadata": [ColumnDef("Execution")]}, DerivaMLDataError, "two columns called Execution"),
        ({"terms": ["Quality"], "metadata": [ColumnDef("Quality")]}, DerivaMLDataError, "two columns called Quality"),
        ({"metadata": [{"name": "x"}]}, DerivaMLValidationError, "Not the definition of a column"),
        ({"feature_name": "x" * 60}, DerivaMLValidationError, "more than 63 bytes"),
        ({"feature_name": " "}, DerivaMLValidationError, "needs a name"),
        ({"metadata": [5]}, DerivaMLValidationError, "Not the definition of a column: 5"),
        ({"metadata": [ColumnDef("RCT")]}, DerivaMLDataError, "two columns called RCT"),
        ({"target_table": "Execution"}, DerivaMLDataError, "A table called Execution can have no features"),
        ({"schema": "deme-schema"}, DerivaMLConfigurationError, "demo-schema"),
    ],
)
def test_a_wrong_request_is_refused_and_makes_nothing(
    project: Session, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        create_feature(project, **{"target_table": "Subject", "feature_name": "Health", **arguments})  # type: ignore[arg-type]
    assert find_features(project) == []
    with pytest.raises(DerivaMLInvalidTerm):
        lookup_term(project, "Feature_Name", "Health")


def test_a_feature_is_made_once(project: Session) -> None:
    create_feature(project, "Subject", "Health", terms=["Quality"])
    with pytest.raises(DerivaMLDataError, match="Subject:Health exists already"):
        create_feature(project, "Subject", "Health", terms=["Quality"])


def test_a_feature_that_is_not_there_is_an_error_with_the_nearest(project: Session) -> None:
    create_feature(project, "Subject", "Health", terms=["Quality"])
    with pytest.raises(DerivaMLNotFoundError, match="Feature Subject:Helth doesn't exist") as caught:
        feature_record_class(project, "Subject", "Helth")
    assert caught.value.allowed == ("Health",)


def test_a_removed_feature_is_gone(project: Session) -> None:
    create_feature(project, "Subject", "Health", terms=["Quality"])
    assert delete_feature(project, "Subject", "Health")
    assert not delete_feature(project, "Subject", "Health")
    assert find_features(project) == []
    create_feature(project, "Subject", "Health", terms=["Quality"])


def test_metadata_may_be_columns_tables_and_keys_in_each_form(project: Session, ml: DerivaML) -> None:
    visit = TableDef("Visit", [ColumnDef("Place"), ColumnDef("Day", "date")], [KeyDef(["Place", "Day"])])
    project.catalog.create_table("demo-schema", table_document("demo-schema", visit))
    key = next(key for key in project.table("Visit").keys if len(key.columns) == 2)
    theirs = ml.model.name_to_table("Subject")
    create_feature(
        project,
        "Mask",
        "Everything",
        metadata=[ColumnDef("Score", "float8"), {"name": "Count", "type": "int4", "nullok": False}, theirs, key],
        optional=["Score", "Visit_Day"],
    )
    feature = lookup_feature(project, "Mask", "Everything")
    table = feature.feature_table
    kinds = {column.name: (column.type.name, column.nullok) for column in feature.feature_columns}
    assert kinds == {
        "Score": ("float8", True),
        "Count": ("int4", False),
        "Subject": ("text", False),
        "Visit_Place": ("text", False),
        "Visit_Day": ("date", True),
    }
    assert any(fkey.referenced_columns == ("Place", "Day") for fkey in table.foreign_keys)
    their_key = next(key for key in ml.model.name_to_table("Visit").keys if len(key.unique_columns) == 2)
    create_feature(project, "Mask", "Again", metadata=[their_key, "Subject"])
    assert names(lookup_feature(project, "Mask", "Again").feature_columns) == {"Visit_Place", "Visit_Day", "Subject"}


def test_one_name_is_taken_for_a_list_of_one(project: Session) -> None:
    create_feature(project, "Subject", "Health", terms="Quality", assets="Mask", optional="Mask")
    feature = lookup_feature(project, "Subject", "Health")
    assert {column.name: column.nullok for column in feature.feature_columns} == {"Quality": False, "Mask": True}


def test_tables_of_one_name_in_several_schemas_have_features_of_their_own(project: Session, ml: DerivaML) -> None:
    project.catalog.create_schema("other", "Another project.")
    project.catalog.create_table("other", table_document("other", TableDef("Subject", [ColumnDef("Name")])))
    with DerivaML(ml.host_name, 1, default_schema="demo-schema") as both:
        create_feature(both.session, "demo-schema:Subject", "Health", terms=["Quality"])
        with pytest.raises(DerivaMLDataError, match="table Execution_Subject_Health, which schema demo-schema has"):
            create_feature(both.session, "other:Subject", "Health", metadata=[ColumnDef("Score", "float8")])
        record = create_feature(
            both.session, "other:Subject", "Health", metadata=[ColumnDef("Score", "float8")], schema="other"
        )
        assert names(lookup_feature(both.session, "other:Subject", "Health").feature_columns) == {"Score"}
        assert names(lookup_feature(both.session, "demo-schema:Subject", "Health").feature_columns) == {"Quality"}
        assert record.of_feature().feature_table.schema == "other"
        # a feature of a table of the ML schema
        create_feature(both.session, "Dataset", "Grade", metadata=[ColumnDef("Score", "float8")])
        assert [str(each) for each in find_features(both.session, "Dataset")] == ["Dataset:Grade"]
    with DerivaML(ml.host_name, 1) as undecided, pytest.raises(DerivaMLConfigurationError, match="no default schema"):
        undecided.create_feature("other:Subject", "More", terms=["Quality"])


def test_the_table_of_a_new_feature_joins_the_menu_if_there_is_one(project: Session, ml: DerivaML) -> None:
    def menu() -> str:
        return json.dumps(dict(ml.session.model().annotations))

    ml.create_feature("Subject", "Before", terms=["Quality"])
    assert "Execution_Subject_Before" not in menu()
    ml.apply_catalog_annotations()
    ml.create_feature("Subject", "Health", terms=["Quality"])
    assert "Execution_Subject_Health" in menu()
    ml.create_feature("Subject", "Hidden", terms=["Quality"], update_navbar=False)
    assert "Execution_Subject_Hidden" not in menu()


def test_features_that_have_to_do_with_a_table_are_found(project: Session) -> None:
    create_feature(project, "Subject", "Health", ["Quality"], comment="c")
    create_feature(project, "Subject", "Outline", assets=["Mask"], comment="c")
    create_feature(project, "Mask", "Fit", metadata=[ColumnDef("Score", "float8")], comment="c")

    def found(*arguments: str) -> set[str]:
        return {feature.feature_name for feature in find_features_referencing(project, *arguments)}

    assert found("Subject") == found("Subject", "RID") == {"Health", "Outline"}
    assert found("Mask") == {"Outline", "Fit"}
    assert found("Quality") == found("Quality", "Name") == {"Health"}
    assert found("Quality", "ID") == set()
    assert found("Workflow") == set()
    with pytest.raises(DerivaMLNotFoundError, match=r"(?s)Quality has no column Nam\..*Name"):
        found("Quality", "Nam")
    with pytest.raises(DerivaMLTableNotFound):
        found("Subjekt")
