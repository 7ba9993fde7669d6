"""Making datasets, describing them, finding and deleting them; who used them."""

from __future__ import annotations

import inspect

import pytest
from tests.dataset.project import ML, Project

from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLDatasetNotFound,
    DerivaMLInvalidTerm,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.dataset import Dataset
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.finding import delete_dataset, find_datasets
from deriva_ml.ml import DerivaML


def test_datasets_are_made_with_members_and_one_version_at_one_moment(small: Project) -> None:
    wanted = [
        NewDataset("one", ["Training"], members={"Image": small.images[:3]}),
        NewDataset("two", members={"Image": small.images[3:4], "Subject": small.subjects[:1]}),
        NewDataset("both", ["Split"], children=(0, 1)),
    ]
    made = [Dataset(small.session, rid) for rid in create_datasets(small.session, wanted, small.execution, "Made.")]
    histories = [dataset.dataset_history() for dataset in made]
    assert [[str(entry.dataset_version) for entry in entries] for entries in histories] == [["0.1.0"]] * 3
    assert len({entries[0].snapshot for entries in histories}) == 1
    assert len(made[2].list_dataset_members(recurse=True, version="0.1.0")["Image"]) == 4
    assert made[0].dataset_types == ["Training"]
    assert {use.dataset_role for use in made[1].list_execution_uses()} == {"output"}


@pytest.mark.parametrize(
    ("wanted", "execution", "error"),
    [
        (NewDataset(types=["Trainin"]), None, DerivaMLInvalidTerm),
        (NewDataset(), "9-ZZZZ", DerivaMLRidsNotFound),
        (NewDataset(members={"Image": ["9-ZZZZ"]}), None, DerivaMLRidsNotFound),
        (NewDataset(members={"Execution": []}), None, DerivaMLTableTypeError),
    ],
)
def test_what_cannot_be_made_leaves_nothing(small: Project, wanted, execution, error) -> None:
    with pytest.raises(error):
        create_datasets(small.session, [NewDataset("good", ["Training"]), wanted], execution)
    assert find_datasets(small.session, deleted=True) == []


def test_a_description_that_is_assigned_is_written(small: Project) -> None:
    dataset = small.dataset([], description="Old")
    dataset.description = "New"
    assert (dataset.description, find_datasets(small.session)[0].description) == ("New", "New")
    assert str(dataset.current_version) == "0.1.0"
    with pytest.raises(DerivaMLDatasetNotFound):
        Dataset(small.session, "9-ZZZZ").description = "Nowhere"
    with pytest.raises(DerivaMLReadOnlyError):
        Dataset(
            small.session.snapshot(str(dataset.dataset_history()[0].snapshot)), dataset.dataset_rid
        ).description = ""


def test_datasets_are_listed_by_rid_or_newest_first_or_as_the_caller_says(small: Project) -> None:
    made = [small.dataset([], description=text).dataset_rid for text in ("b", "c", "a")]
    assert [each.dataset_rid for each in find_datasets(small.session)] == made
    assert [each.dataset_rid for each in find_datasets(small.session, sort=True)] == made[::-1]
    by_text = find_datasets(small.session, sort=lambda dataset: dataset.description)
    assert [each.description for each in by_text] == ["a", "b", "c"]


def test_a_part_that_another_dataset_holds_is_not_deleted_with_the_whole(small: Project) -> None:
    shared, own = small.dataset([]), small.dataset([])
    whole, other = small.dataset([shared.dataset_rid, own.dataset_rid]), small.dataset([shared.dataset_rid])
    with pytest.raises(DerivaMLDataError, match=other.dataset_rid):
        delete_dataset(small.session, whole, recurse=True)
    assert len(find_datasets(small.session)) == 4
    delete_dataset(small.session, other)
    delete_dataset(small.session, whole, recurse=True)
    assert find_datasets(small.session) == []


def _uses(dataset: Dataset) -> list[tuple[str, str, str | None]]:
    return [(use.execution_rid, use.dataset_role, use.version) for use in dataset.list_execution_uses()]


def test_consumed_and_produced_are_told_apart_with_the_version(small: Project, ml: DerivaML) -> None:
    dataset = ml.lookup_dataset(small.dataset(small.images[:2]).dataset_rid)
    (reader,) = small.session.catalog.insert(ML, "Execution", [{"Description": "read it"}])
    link = {"Dataset": dataset.dataset_rid, "Execution": reader["RID"]}
    version = dataset.dataset_history()[0].version_rid
    small.session.catalog.insert(ML, "Dataset_Execution", [{**link, "Dataset_Version": version}])
    maker = small.execution
    assert _uses(dataset) == [(reader["RID"], "input", "0.1.0"), (maker, "output", "0.2.0")]
    assert {record.execution_rid for record in dataset.list_executions()} == {maker, reader["RID"]}
    assert [record.execution_rid for record in dataset.list_executions("input")] == [reader["RID"]]
    assert ml.list_dataset_executions(dataset.dataset_rid, "output")[0].description == "made the project"
    with pytest.raises(DerivaMLValidationError, match="Input"):
        dataset.list_executions("Input")  # type: ignore[arg-type]
    with pytest.raises(DerivaMLConfigurationError, match="DerivaML"):
        Dataset(small.session, dataset.dataset_rid).list_executions()
    small.session.catalog.drop_column(ML, "Dataset_Execution", "Dataset_Version")
    ml.session.catalog.model(refresh=True)
    assert _uses(dataset) == [(reader["RID"], "input", None), (maker, "output", "0.2.0")]


def test_a_dataset_is_shown_as_markdown_with_those_in_it(small: Project, ml: DerivaML) -> None:
    inner = small.dataset([], description="Inner\none")
    middle = small.dataset([inner.dataset_rid], dataset_types=["Training", "Labeled"])
    outer = ml.lookup_dataset(small.dataset([middle.dataset_rid, inner.dataset_rid]).dataset_rid)
    url = outer.get_chaise_url()
    assert url.endswith(f"/chaise/record/#1/deriva-ml:Dataset/RID={outer.dataset_rid}")
    assert outer.to_markdown() == f"- [{outer.dataset_rid}]({url}) v0.2.0 []"
    lines = outer.to_markdown(show_children=True, indent=1).splitlines()
    assert lines[0].startswith(f"  - [{outer.dataset_rid}](")
    assert sorted(len(line) - len(line.lstrip()) for line in lines) == [2, 4, 4, 6]
    assert [line.rpartition(") ")[2] for line in lines if f"[{inner.dataset_rid}]" in line] == [
        f"v{inner.current_version} []: Inner one"
    ] * 2
    (line,) = [line for line in lines if f"[{middle.dataset_rid}]" in line]
    assert line.endswith(f") v{middle.current_version} [Labeled, Training]")


def test_bound_methods_have_their_functions_signatures(small: Project) -> None:
    dataset = small.dataset([])
    assert list(inspect.signature(dataset.mark_dev).parameters) == ["description", "execution"]
    assert list(inspect.signature(dataset.release).parameters) == ["bump", "description", "execution"]
    assert list(inspect.signature(dataset.to_markdown).parameters) == ["show_children", "indent"]
    assert "Give the dataset its next development version" in str(dataset.mark_dev.__doc__)
