"""Storing and reading values of features."""

from __future__ import annotations

import pytest
from tests.asset.sessions import over
from tests.fakes import Counting

from deriva_ml.core.ermrest import ColumnDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLMaterializeLimitExceeded,
    DerivaMLNotFoundError,
    DerivaMLValidationError,
)
from deriva_ml.feature.feature import create_feature
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.values import (
    add_features,
    feature_values,
    fetch_table_features,
    list_feature_values,
    select_by_workflow,
)
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document
from deriva_ml.schema.vocabulary import create_vocabulary


@pytest.fixture
def project(session: Session) -> Session:
    session.catalog.create_table("demo-schema", table_document("demo-schema", TableDef("Subject", [ColumnDef("Name")])))
    create_vocabulary(session, "Quality")
    session.catalog.insert(
        "demo-schema", "Quality", [{"Name": n, "Description": n} for n in ("Good", "Bad")], defaults=("ID", "URI")
    )
    return session


@pytest.fixture
def record(project: Session) -> type[FeatureRecord]:
    return create_feature(
        project, "Subject", "Health", ["Quality"], metadata=[ColumnDef("Score", "float8"), ColumnDef("Data", "jsonb")]
    )


def subjects(session: Session, count: int) -> list[str]:
    rows = session.catalog.insert("demo-schema", "Subject", [{"Name": f"s{number}"} for number in range(count)])
    return [str(row["RID"]) for row in rows]


def execution(session: Session, kind: str = "Training") -> tuple[str, str]:
    workflow = session.catalog.insert("deriva-ml", "Workflow", [{"Name": "w"}])[0]["RID"]
    session.catalog.insert("deriva-ml", "Workflow_Workflow_Type", [{"Workflow": workflow, "Workflow_Type": kind}])
    made = session.catalog.insert("deriva-ml", "Execution", [{"Workflow": workflow}])[0]["RID"]
    return str(made), str(workflow)


def test_values_are_stored_and_read_back_typed(project: Session, record: type[FeatureRecord]) -> None:
    run, _ = execution(project)
    (one, two) = subjects(project, 2)
    count = add_features(
        project,
        [
            record(Subject=one, Execution=run, Quality="Good", Score=0.5, Data={"a": [1, None]}),  # type: ignore[call-arg]
            record(Subject=two, Execution=run, Quality="Bad", Score=float("nan")),  # type: ignore[call-arg]
        ],
    )
    assert count == 2
    found = {value.target_rid: value for value in list_feature_values(project, "Subject", "Health")}
    assert isinstance(found[one], FeatureRecord)
    assert (found[one].column_value("Quality"), found[one].column_value("Score")) == ("Good", 0.5)
    assert found[one].column_value("Data") == {"a": [1, None]}
    assert found[one].Execution == run
    assert found[one].RCT is not None
    assert found[two].column_value("Score") != found[two].column_value("Score")


def test_nothing_and_a_mixture_are_refused(project: Session, record: type[FeatureRecord]) -> None:
    other = create_feature(project, "Subject", "Other", metadata=[ColumnDef("Score", "float8")])
    with pytest.raises(ValueError, match="features list must not be empty"):
        add_features(project, [])
    with pytest.raises(DerivaMLValidationError, match="Values of 2 features were given: Subject:Health, Subject:Other"):
        add_features(project, [record(Subject="x", Quality="Good"), other(Subject="x")])  # type: ignore[call-arg]


def test_a_value_without_execution_and_a_second_one_are_refused(project: Session, record: type[FeatureRecord]) -> None:
    run, _ = execution(project)
    (one,) = subjects(project, 1)
    with pytest.raises(DerivaMLValidationError, match="Value 1 of feature Subject:Health has no execution"):
        add_features(project, [record(Subject=one, Quality="Good")])  # type: ignore[call-arg]
    value = record(Subject=one, Execution=run, Quality="Good")  # type: ignore[call-arg]
    with pytest.raises(DerivaMLValidationError, match=f"two values for record {one}"):
        add_features(project, [value, value])
    add_features(project, [value])
    (other,) = subjects(project, 1)
    with pytest.raises(DerivaMLValidationError, match=f"for record {one} already; nothing was stored"):
        add_features(project, [record(Subject=other, Execution=run, Quality="Bad"), value])  # type: ignore[call-arg]
    assert len(list_feature_values(project, "Subject", "Health")) == 1


def test_values_are_selected_by_record_execution_and_workflow(project: Session, record: type[FeatureRecord]) -> None:
    (one, two) = subjects(project, 2)
    first, workflow = execution(project)
    second, _ = execution(project, "Testing")
    for run, quality in ((first, "Good"), (second, "Bad")):
        add_features(project, [record(Subject=one, Execution=run, Quality=quality)])  # type: ignore[call-arg]
    add_features(project, [record(Subject=two, Execution=first, Quality="Good")])  # type: ignore[call-arg]

    def read(**options: object) -> set[tuple[str, str]]:
        values = list_feature_values(project, "Subject", "Health", **options)  # type: ignore[arg-type]
        return {(value.target_rid, value.column_value("Quality")) for value in values}

    assert read() == {(one, "Good"), (one, "Bad"), (two, "Good")}
    assert read(selector=FeatureRecord.select_newest) == {(one, "Bad"), (two, "Good")}
    assert read(execution=second) == {(one, "Bad")}
    assert read(workflow=workflow) == {(one, "Good"), (two, "Good")}
    assert read(workflow="Testing") == {(one, "Bad")}
    assert read(target=two) == {(two, "Good")}
    values = list_feature_values(project, "Subject", "Health", target=one)
    assert select_by_workflow(project, values, "Training").column_value("Quality") == "Good"
    assert select_by_workflow(project, values, workflow).column_value("Quality") == "Good"
    with pytest.raises(DerivaMLNotFoundError, match="None of the 2 values was made by workflow Prediction"):
        select_by_workflow(project, values, "Prediction")


def test_features_of_a_table_are_fetched_by_name(project: Session, record: type[FeatureRecord]) -> None:
    create_feature(project, "Subject", "Other", metadata=[ColumnDef("Score", "float8")])
    run, _ = execution(project)
    (one,) = subjects(project, 1)
    add_features(project, [record(Subject=one, Execution=run, Quality="Good")])  # type: ignore[call-arg]
    fetched = fetch_table_features(project, "Subject")
    assert {name: len(values) for name, values in fetched.items()} == {"Health": 1, "Other": 0}
    assert list(fetch_table_features(project, "Subject", "Health")) == ["Health"]
    with pytest.raises(DerivaMLNotFoundError, match="Feature 'Helth' not found on table 'Subject'") as caught:
        fetch_table_features(project, "Subject", "Helth")
    assert "Health" in caught.value.allowed


@pytest.mark.parametrize("count", [10, 200])
def test_reading_takes_one_request_however_many_values_there_are(
    project: Session, record: type[FeatureRecord], count: int
) -> None:
    run, _ = execution(project)
    rows = [record(Subject=rid, Execution=run, Quality="Good") for rid in subjects(project, count)]  # type: ignore[call-arg]
    add_features(project, rows)
    transport = Counting(project.catalog.transport)
    session = over(project, transport)
    transport.reset()
    assert len(list_feature_values(session, "Subject", "Health")) == count
    assert transport.count == 1


def test_values_of_executions_and_workflows_are_asked_for_in_one_request(
    project: Session, record: type[FeatureRecord]
) -> None:
    project.catalog.update(
        "deriva-ml",
        "Workflow_Type",
        [
            {"RID": row["RID"], "Synonyms": ["Exam"]}
            for row in project.catalog.rows_by("deriva-ml", "Workflow_Type", "Name", ["Testing"])
        ],
        columns=["Synonyms"],
    )
    (one, two) = subjects(project, 2)
    (first, workflow), (second, _), (third, _) = execution(project), execution(project, "Testing"), execution(project)
    project.catalog.insert(
        "deriva-ml", "Workflow_Workflow_Type", [{"Workflow": workflow, "Workflow_Type": "Embedding"}]
    )
    for run in (first, second, third):
        add_features(
            project,
            [record(Subject=rid, Execution=run, Quality="Good") for rid in (one, two)],  # type: ignore[call-arg]
        )
    transport = Counting(project.catalog.transport)
    session = over(project, transport)
    session.model()

    def made_by(**options: object) -> tuple[list[str], int]:
        transport.reset()
        values = feature_values(session, "Subject", "Health", **options)  # type: ignore[arg-type]
        return sorted(str(value.Execution) for value in values), transport.count

    assert made_by(execution_rids=[first, second]) == (sorted([first, first, second, second]), 1)
    assert made_by(execution_rids=[]) == ([], 0)
    assert made_by(workflow=workflow) == ([first, first], 1)
    assert made_by(workflow="Training") == (sorted([first, first, third, third]), 1)
    assert made_by(workflow="Exam") == ([second, second], 1)
    assert made_by(workflow="Training", execution_rids=[third, second]) == ([third, third], 1)
    assert made_by(workflow="Training", targets=[one]) == (sorted([first, third]), 1)
    assert made_by(execution_rids=[first, *(f"1-{n:04d}" for n in range(2000))])[0] == [first, first]
    assert made_by(workflow="Prediction")[0] == []
    with pytest.raises(DerivaMLNotFoundError, match="There is no workflow Trainning") as caught:
        made_by(workflow="Trainning")
    assert caught.value.allowed[0] == "Training"


def test_more_values_than_the_caller_is_ready_for_are_an_error(project: Session, record: type[FeatureRecord]) -> None:
    (first, _), (second, _) = execution(project), execution(project)
    for run in (first, second):
        add_features(
            project,
            [record(Subject=rid, Execution=run, Quality="Good") for rid in subjects(project, 3)],  # type: ignore[call-arg]
        )
    assert len(feature_values(project, "Subject", "Health", materialize_limit=6)) == 6
    assert len(feature_values(project, "Subject", "Health", materialize_limit=3, execution_rids=[first])) == 3
    with pytest.raises(
        DerivaMLMaterializeLimitExceeded, match="more than 5 values of feature Subject:Health"
    ) as caught:
        feature_values(project, "Subject", "Health", materialize_limit=5)
    assert caught.value.limit == 5


def test_a_record_for_which_the_selector_takes_nothing_is_left_out(
    project: Session, record: type[FeatureRecord]
) -> None:
    (one, two) = subjects(project, 2)
    (first, _), (second, _) = execution(project), execution(project)
    for run, quality in ((first, "Good"), (second, "Bad")):
        add_features(project, [record(Subject=one, Execution=run, Quality=quality)])  # type: ignore[call-arg]
    add_features(project, [record(Subject=two, Execution=first, Quality="Good")])  # type: ignore[call-arg]
    (left,) = feature_values(project, "Subject", "Health", lambda values: None)
    assert left.target_rid == two
    votes = feature_values(project, "Subject", "Health", FeatureRecord.select_majority_vote())
    assert {value.target_rid: value.column_value("Quality") for value in votes} == {one: "Bad", two: "Good"}
