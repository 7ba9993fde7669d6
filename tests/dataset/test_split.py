"""Dividing datasets of a catalog, and what is recorded of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.dataset.project import DEMO, ML, Project
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import (
    DerivaMLDatasetNotFound,
    DerivaMLDenormalizeError,
    DerivaMLInvalidTerm,
    DerivaMLMissingExtra,
    DerivaMLSelectionError,
)
from deriva_ml.core.files import require
from deriva_ml.dataset import Dataset, SplitResult, split_dataset, stratified_split, subsample
from deriva_ml.ml import DerivaML
from deriva_ml.wire.path import eq, table

LABEL = "Execution_Image_Quality.Grade"
TABLES = ["Image", "Execution_Image_Quality"]


def _parts(small: Project, result: SplitResult) -> dict[str, list[str]]:
    parts = {"Training": result.training, "Testing": result.testing, "Validation": result.validation}
    return {
        name: [str(row["RID"]) for row in Dataset(small.session, part.rid).list_dataset_members()["Image"]]
        for name, part in parts.items()
        if part is not None
    }


def _config(ml: DerivaML, execution: str, name: str) -> dict[str, Any]:
    files = [asset for asset in ml.list_assets("Execution_Metadata") if asset.filename == name]
    (file,) = [asset for asset in files if asset.list_executions("Output")[0].execution_rid == execution]
    found: dict[str, Any] = json.loads(file.download(ml.working_dir / "read").read_text())
    return found


def test_a_random_split_is_recorded_with_its_source_its_parameters_and_one_version_each(
    small: Project, ml: DerivaML
) -> None:
    nested = small.dataset(small.images[:4])
    source = small.dataset([nested.dataset_rid, *small.images[2:], small.subjects[0]])
    result = split_dataset(ml, source.dataset_rid, val_size=2, element_table="Image", testing_types=["Labeled"])
    parts = _parts(small, result)
    assert {name: len(rids) for name, rids in parts.items()} == {"Training": 6, "Testing": 2, "Validation": 2}
    assert sorted(rid for rids in parts.values() for rid in rids) == sorted(small.images)
    whole = Dataset(ml, result.split.rid)
    assert {child.dataset_rid for child in whole.list_dataset_children(version="0.1.0")} == {
        result.training.rid,
        result.testing.rid,
        result.validation.rid if result.validation else "",
    }
    for part, types in ((result.training, ["Training"]), (result.testing, ["Labeled", "Testing"])):
        dataset = ml.lookup_dataset(part.rid)
        assert (dataset.dataset_types, [str(e.dataset_version) for e in dataset.dataset_history()]) == (
            types,
            ["0.1.0"],
        )
        assert f"{part.count} of 10 records of Image" in dataset.description
    assert whole.dataset_types == ["Split"]
    assert (result.source_version, result.strategy, result.split.count) == ("0.2.0", "random", 10)
    execution = str(result.execution_rid)
    uses = [(use.execution_rid, use.version) for use in source.list_execution_uses("input")]
    assert uses == [(execution, "0.2.0")]
    assert whole.list_executions("output")[0].status == "Completed"
    workflow = ml.lookup_workflow(str(whole.list_executions()[0].workflow_rid))
    assert (workflow.name, workflow.workflow_types) == ("Dataset Split", ["Dataset_Split"])
    config = _config(ml, execution, "split_config.json")
    assert (config["seed"], config["val_size"], config["test_size"]) == (42, 2, 0.2)
    assert config["result"]["training"] == result.training.model_dump()


def test_the_same_seed_divides_in_the_same_way_and_another_one_otherwise(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    run = _run(ml)
    results = [split_dataset(ml, source.dataset_rid, run, seed=seed, test_size=5) for seed in (1, 1, 2)]
    first, again, other = [_parts(small, result)["Testing"] for result in results]
    assert first == again != other
    ordered = split_dataset(ml, source.dataset_rid, run, shuffle=False, test_size=3)
    assert _parts(small, ordered)["Testing"] == sorted(small.images)[7:]


def _run(ml: DerivaML) -> Any:
    ml.add_term("Workflow_Type", "Test", "A test")
    workflow = ml.create_workflow("Test", "Test")
    workflow.url, workflow.checksum = "https://example.org/test", "0"
    return ml.create_execution(workflow=workflow, description="A test")


def test_a_split_on_behalf_of_a_run_is_that_run_s(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    with _run(ml).execute() as run:
        result = split_dataset(ml, source.dataset_rid, run)
        sample = subsample(ml, source.dataset_rid, run, size=0.5, dataset_types=["Labeled"], description="Half")
    run.upload_execution_outputs()
    assert result.execution_rid == sample.execution_rid == run.execution_rid
    assert [dataset.dataset_rid for dataset in run.list_input_datasets()] == [source.dataset_rid]
    assert _config(ml, run.execution_rid, "split_config.json")["result"]["split"]["rid"] == result.split.rid
    assert _config(ml, run.execution_rid, "subsample_config.json")["size"] == 0.5
    half = ml.lookup_dataset(sample.sample.rid)
    assert (half.dataset_types, half.description[:6], sample.sample.count) == (["Labeled"], "Half: ", 5)
    assert len(half.list_dataset_members(version="0.1.0")["Image"]) == 5


def test_a_stratified_split_keeps_the_shares_of_a_feature_s_values(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images[:8])
    result = split_dataset(
        ml, source.dataset_rid, _run(ml), test_size=4, stratify_by_column=LABEL, include_tables=TABLES
    )
    assert result.strategy == f"stratified by {LABEL}"
    for rids in _parts(small, result).values():
        assert Counter(small.images.index(rid) % 2 for rid in rids) == {0: 2, 1: 2}


def test_elements_without_a_value_are_refused_left_out_or_a_stratum(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    links = small.session.catalog.rows(table(DEMO, "Execution_Image_Quality"))
    for link in links[:4]:
        path = table(DEMO, "Execution_Image_Quality")
        small.session.catalog.delete(path.where(eq("RID", str(link["RID"]))))
    source.increment_dataset_version("patch")
    more: dict[str, Any] = {"stratify_by_column": LABEL, "include_tables": TABLES, "test_size": 0.5}
    with pytest.raises(ValueError, match="no value in 4 of 10 rows"):
        split_dataset(ml, source.dataset_rid, dry_run=True, **more)
    run = _run(ml)
    dropped = _parts(small, split_dataset(ml, source.dataset_rid, run, stratify_missing="drop", **more))
    assert {name: len(rids) for name, rids in dropped.items()} == {"Training": 3, "Testing": 3}
    without = {str(link["Image"]) for link in links[:4]}
    assert not without & {rid for rids in dropped.values() for rid in rids}
    included = _parts(small, split_dataset(ml, source.dataset_rid, run, stratify_missing="include", **more))
    assert [len(without & set(rids)) for rids in included.values()] == [2, 2]


@pytest.mark.parametrize("include", [None, ["Image", "Subject"]])
@pytest.mark.parametrize("column", ["Subject", "Image.Subject"])
def test_all_records_of_a_subject_stay_on_one_side(
    small: Project, ml: DerivaML, include: list[str] | None, column: str
) -> None:
    source = small.dataset(small.images)
    result = split_dataset(ml, source.dataset_rid, _run(ml), partition_by=column, test_size=2, include_tables=include)
    parts = _parts(small, result)
    subjects = {name: {small.images.index(rid) // 2 for rid in rids} for name, rids in parts.items()}
    assert not subjects["Training"] & subjects["Testing"]
    assert {name: len(rids) for name, rids in parts.items()} == {"Training": 6, "Testing": 4}
    assert result.strategy == f"random, undivided by {column}"


def test_groups_are_stratified_by_their_most_frequent_value(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    more: dict[str, Any] = {"include_tables": TABLES, "partition_by": "Subject", "test_size": 2, "dry_run": True}
    result = split_dataset(ml, source.dataset_rid, stratify_by_column=LABEL, **more)
    assert (result.training.count, result.testing.count) == (6, 4)
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    source.increment_dataset_version("patch")
    with pytest.raises(ValueError, match="1 of 10 records of Image have no Subject"):
        split_dataset(ml, source.dataset_rid, **more)


def test_a_record_with_contradicting_values_needs_a_decision(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    (other,) = small.session.catalog.insert(ML, "Execution", [{"Description": "graded again"}])
    values = [{"Image": rid, "Execution": other["RID"], "Grade": "good"} for rid in small.images]
    small.session.catalog.insert(DEMO, "Execution_Image_Quality", values, defaults=["Feature_Name"])
    source.increment_dataset_version("patch")
    more: dict[str, Any] = {"stratify_by_column": LABEL, "include_tables": TABLES, "dry_run": True}
    with pytest.raises(DerivaMLSelectionError, match=r"5 of 10 records of Image have several values") as caught:
        split_dataset(ml, source.dataset_rid, **more)
    assert "row_per" in str(caught.value.hint)
    result = split_dataset(ml, source.dataset_rid, row_per="Execution_Image_Quality", **more)
    assert result.training.count + result.testing.count == 10


def test_a_join_goes_by_the_tables_that_are_named_and_the_run_says_so(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    by = {"stratify_by_column": "Grade.Name", "include_tables": ["Image", "Grade"], "via": [TABLES[1]]}
    result = split_dataset(ml, source.dataset_rid, test_size=4, **by)
    parts = _parts(small, result)
    graded = {name: Counter(small.images.index(rid) % 2 for rid in rids) for name, rids in parts.items()}
    assert graded == {"Training": {0: 3, 1: 3}, "Testing": {0: 2, 1: 2}}
    assert _config(ml, str(result.execution_rid), "split_config.json")["via"] == [TABLES[1]]
    sample = subsample(ml, source.dataset_rid, size=4, **by)
    assert sample.sample.count == 4
    assert _config(ml, str(sample.execution_rid), "subsample_config.json")["via"] == [TABLES[1]]
    before = small.session.catalog.latest_snaptime()
    with pytest.raises(DerivaMLDenormalizeError, match="No way between the tables to join goes by Workflow"):
        split_dataset(ml, source.dataset_rid, **{**by, "via": ["Workflow"]})
    assert small.session.catalog.latest_snaptime() == before


def test_a_function_of_one_s_own_chooses(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)

    def by_score(df: Any, partition_sizes: dict[str, int], seed: int) -> dict[str, Any]:
        order = df["Image.Score"].argsort().to_numpy()
        return {"Testing": order[: partition_sizes["Testing"]], "Training": order[partition_sizes["Testing"] :]}

    result = split_dataset(ml, source.dataset_rid, _run(ml), selection_fn=by_score, include_tables=["Image"])
    assert sorted(_parts(small, result)["Testing"]) == sorted(small.images[:2])
    assert "by_score" in result.strategy
    given = stratified_split(LABEL)
    again = split_dataset(ml, source.dataset_rid, selection_fn=given, include_tables=TABLES, dry_run=True)
    assert again.testing.count == 2


def test_a_dry_run_writes_nothing(small: Project, ml: DerivaML) -> None:
    source = small.dataset(small.images)
    before = small.session.catalog.latest_snaptime()
    result = split_dataset(ml, source.dataset_rid, dry_run=True)
    sample = subsample(ml, source.dataset_rid, size=3, dry_run=True)
    assert small.session.catalog.latest_snaptime() == before
    assert (result.split.rid, result.training.version, result.training.count) == ("(dry run)", "(dry run)", 8)
    assert (sample.dry_run, sample.sample.rid, sample.sample.count) == (True, "(dry run)", 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stratify_by_column": LABEL}, "needs include_tables"),
        ({"selection_fn": stratified_split(LABEL)}, "needs include_tables"),
        ({"selection_fn": stratified_split(LABEL), "stratify_by_column": LABEL}, "exclude each other"),
        ({"stratify_by_column": "Image.Nothing", "include_tables": TABLES}, "no column 'Image.Nothing'"),
        ({"include_tables": ["Subject"]}, "lacks Image"),
        ({"row_per": "Subject", "include_tables": ["Image"]}, "row_per"),
        ({"via": "Subject", "include_tables": ["Image"]}, "via: 'Subject' is one text, not several"),
        ({"via": ["Subject"]}, "via needs include_tables"),
        ({"partition_by": "Nothing"}, "no column 'Nothing'"),
        ({"element_table": "Subject"}, "no members of Subject .members: Image 10"),
        ({"element_table": "Imag"}, "Imag is no element type"),
        ({"test_size": 20}, "there are 10"),
        ({"stratify_by_column": LABEL, "include_tables": TABLES, "shuffle": False}, "random"),
    ],
)
def test_what_cannot_be_divided_is_refused_and_nothing_written(
    small: Project, ml: DerivaML, wrong: dict[str, Any], message: str
) -> None:
    source = small.dataset(small.images)
    before = small.session.catalog.latest_snaptime()
    with pytest.raises(ValueError, match=message):
        split_dataset(ml, source.dataset_rid, **wrong)
    assert small.session.catalog.latest_snaptime() == before


def test_unknown_datasets_types_and_tables_are_named(small: Project, ml: DerivaML) -> None:
    source = small.dataset([*small.images, small.subjects[0]])
    with pytest.raises(ValueError, match=r"2 tables \(Image 10, Subject 1\)"):
        split_dataset(ml, source.dataset_rid)
    with pytest.raises(ValueError, match="0 tables"):
        split_dataset(ml, small.dataset([]).dataset_rid)
    with pytest.raises(DerivaMLDatasetNotFound):
        split_dataset(ml, small.images[0])
    with pytest.raises(DerivaMLInvalidTerm) as caught:
        split_dataset(ml, source.dataset_rid, element_table="Image", training_types=["Labelled"])
    assert "Labeled" in caught.value.allowed


def test_the_number_of_requests_does_not_grow_with_the_elements(project: Project, ml: DerivaML) -> None:
    if len(project.images) == 1:
        return
    run = _run(ml)
    counting = Counting(project.session.catalog.transport)
    ml.session = replace(ml.session, catalog=CatalogClient(counting, ml.session.catalog_id))
    ml.session.model()
    source = project.dataset(project.images)
    counting.reset()
    split_dataset(ml, source.dataset_rid, run, partition_by="Subject", val_size=0.2)
    assert counting.count <= 52


def test_a_package_that_is_missing_is_named_with_the_extra() -> None:
    with pytest.raises(DerivaMLMissingExtra, match="split"):
        require("numpy_that_is_not_there", "split")
