"""Selectors of one value among several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError
from deriva_ml.feature.feature import features_of_model
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.values import selected
from deriva_ml.schema.tables import Associate, association_document, table_document, vocabulary_document
from deriva_ml.wire.model_documents import model_from_document


def make(*terms: str) -> type[FeatureRecord]:
    feature = association_document(
        "s",
        "Execution_Subject_F",
        [Associate("s", "Execution"), Associate("s", "Subject"), Associate("s", "Feature_Name", "Name")],
        [ColumnDef("Score", "float8"), *(ColumnDef(term) for term in terms)],
        [ForeignKeyDef([term], "s", term, ["Name"]) for term in terms],
    )
    for column in feature["column_definitions"]:  # type: ignore[union-attr]
        if column["name"] == "Feature_Name":  # type: ignore[index, call-overload]
            column["default"] = "F"  # type: ignore[index, call-overload]
    tables = [
        table_document("s", TableDef("Execution")),
        table_document("s", TableDef("Subject")),
        vocabulary_document("s", "Feature_Name", "s"),
        *(vocabulary_document("s", term, "s") for term in terms),
        feature,
    ]
    schema = {"schema_name": "s", "tables": {t["table_name"]: t for t in tables}}
    (found,) = features_of_model(model_from_document({"snaptime": "1", "schemas": {"s": schema}}))  # type: ignore[dict-item]
    return found.feature_record_class()


RECORD = make("Quality")


def value(quality: str, at: int | str, execution: str = "1-0001", subject: str = "1-000A") -> FeatureRecord:
    moment = at if isinstance(at, str) else f"2026-01-01T00:00:{at:02}+00:00"
    return RECORD.from_row({"Subject": subject, "Quality": quality, "Execution": execution, "RCT": moment})


def quality(record: FeatureRecord) -> str:
    return str(record.column_value("Quality"))


def test_newest_and_first_go_by_the_moment_not_by_its_text() -> None:
    early = value("early", "2026-01-01T12:00:00.2+00:00")
    late = value("late", "2026-01-01T12:00:00.15-01:00")
    assert quality(FeatureRecord.select_newest([late, early])) == "late"
    assert quality(FeatureRecord.select_latest([late, early])) == "late"
    assert quality(FeatureRecord.select_first([late, early])) == "early"


def test_a_value_that_is_not_stored_yet_is_the_oldest() -> None:
    fresh = RECORD(Subject="1-000A", Quality="fresh")  # type: ignore[call-arg]
    assert quality(FeatureRecord.select_newest([value("stored", 1), fresh])) == "stored"


def test_by_execution() -> None:
    records = [value("a", 1, "1-0001"), value("b", 2, "1-0002"), value("c", 3, "1-0001")]
    assert quality(FeatureRecord.select_by_execution("1-0001")(records)) == "c"
    with pytest.raises(DerivaMLNotFoundError, match="Execution 1-0003 made no value of feature F") as caught:
        FeatureRecord.select_by_execution("1-0003")(records)
    assert caught.value.allowed == ("1-0001", "1-0002")


def test_majority_vote_takes_the_most_frequent_and_of_equals_the_newest() -> None:
    vote = RECORD.select_majority_vote()
    assert quality(vote([value("a", 1), value("a", 2), value("b", 3)])) == "a"
    assert quality(vote([value("a", 1), value("b", 2), value("b", 3), value("a", 4)])) == "a"
    assert quality(vote([value("a", 4), value("b", 2)])) == "a"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 59)), min_size=1, max_size=12))
def test_majority_vote_agrees_with_counting(votes: list[tuple[str, int]]) -> None:
    chosen = quality(RECORD.select_majority_vote("Quality")([value(name, at) for name, at in votes]))
    names = [name for name, _ in votes]
    assert names.count(chosen) == max(names.count(name) for name in names)


def test_majority_vote_on_a_value_column_and_on_none() -> None:
    records = [RECORD.from_row({"Subject": "x", "Score": score}) for score in (1.0, 2.0, 2.0)]
    assert RECORD.select_majority_vote("Score")(records).column_value("Score") == 2.0
    with pytest.raises(DerivaMLDataError, match="no column Scores") as caught:
        RECORD.select_majority_vote("Scores")(records)
    assert "Score" in caught.value.allowed


@pytest.mark.parametrize("terms", [(), ("Quality", "Grade")])
def test_majority_vote_asks_for_the_column_where_it_is_not_clear(terms: tuple[str, ...]) -> None:
    cls = make(*terms)
    with pytest.raises(DerivaMLDataError, match=f"{len(terms)} term columns"):
        cls.select_majority_vote()([cls.from_row({"Subject": "x"})])


def test_a_selector_decides_only_where_there_are_several() -> None:
    records = [value("a", 1, subject="X"), value("b", 1, subject="Y"), value("c", 2, subject="Y")]
    asked: list[int] = []

    def selector(values: object) -> FeatureRecord:
        asked.append(len(values))  # type: ignore[arg-type]
        return values[-1]  # type: ignore[index]

    assert [quality(record) for record in selected(records, selector)] == ["a", "c"]
    assert asked == [2]
