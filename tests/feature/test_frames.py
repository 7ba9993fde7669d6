"""The values of a feature as a data frame, kept in the working directory."""

from __future__ import annotations

import pytest

from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.ml import DerivaML


@pytest.fixture
def scored(ml: DerivaML) -> tuple[DerivaML, list[str], str]:
    """Two subjects and a score of the first, given by a run."""
    ml.create_table(TableDefinition("Subject", [ColumnDefinition("Name", "text")]))
    ml.create_feature("Subject", "Score", metadata=[ColumnDefinition("Value", "float8")])
    catalog = ml.session.catalog
    rids = [str(row["RID"]) for row in catalog.insert("demo-schema", "Subject", [{"Name": "a"}, {"Name": "b"}])]
    run = str(catalog.insert("deriva-ml", "Execution", [{"Description": "x"}])[0]["RID"])
    record = ml.feature_record_class("Subject", "Score")
    ml.add_features([record(Subject=rids[0], Value=0.5, Execution=run)])  # type: ignore[call-arg]
    return ml, rids, run


def test_all_columns_are_there_with_and_without_values(scored):
    ml, rids, run = scored
    frame = ml.cache_features("Subject", "Score")
    assert list(frame.columns) == ["Subject", "Execution", "Feature_Name", "Value", "RCT"]
    assert frame[["Subject", "Execution", "Value"]].to_dict("records") == [
        {"Subject": rids[0], "Execution": run, "Value": 0.5}
    ]
    ml.create_feature("Subject", "Empty", metadata=[ColumnDefinition("Value", "float8")])
    assert list(ml.cache_features("Subject", "Empty").columns)[-2:] == ["Value", "RCT"]


def test_values_are_kept_until_they_are_asked_for_again(scored):
    ml, rids, run = scored
    assert len(ml.cache_features("Subject", "Score")) == 1
    record = ml.feature_record_class("Subject", "Score")
    ml.add_features([record(Subject=rids[1], Value=0.7, Execution=run)])
    assert len(ml.cache_features("Subject", "Score")) == 1
    assert len(ml.cache_features("Subject", "Score", execution=run)) == 2
    assert len(ml.cache_features("Subject", "Score", force=True)) == 2
    assert ml.working_data.list_tables() == ["features_Subject_Score"]


def test_a_table_is_kept_until_it_is_asked_for_again(scored):
    ml, _rids, _run = scored
    assert ml.cache_table("Subject")["Name"].tolist() == ["a", "b"]
    ml.session.catalog.insert("demo-schema", "Subject", [{"Name": "c"}])
    assert len(ml.cache_table("Subject")) == 2
    assert len(ml.cache_table("Subject", force=True)) == 3


def test_a_path_for_a_table_is_made(scored):
    ml, _rids, _run = scored
    path = ml.table_path("Subject")
    assert path.parent.is_dir()
    assert path.parts[-4:] == ("table", "demo-schema", "Subject", "Subject.csv")
    assert ml.table_path("Execution", schema="deriva-ml").parts[-3:] == ("deriva-ml", "Execution", "Execution.csv")
