"""Datasets in a catalog: versions, types, members, nesting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.dataset.project import ML, Project

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLCycleError,
    DerivaMLDataError,
    DerivaMLDatasetNotFound,
    DerivaMLInvalidTerm,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
    DerivaMLVersionNotFound,
)
from deriva_ml.dataset import Dataset, DatasetSpec, VersionPart, download_dataset_bag
from deriva_ml.dataset.finding import delete_dataset, find_datasets, lookup_dataset
from deriva_ml.dataset.members import add_dataset_element_type, list_dataset_element_types
from deriva_ml.dataset.versions import find_version, snapshot_of
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import eq, table


def fresh_client(session: Session) -> CatalogClient:
    return CatalogClient(session.catalog.transport, session.catalog_id)


def _numbers(dataset: Dataset) -> list[str]:
    return [str(entry.dataset_version) for entry in dataset.dataset_history()]


# ---------------------------------------------------------------------------------------------- making and versions


def test_a_new_dataset_has_its_first_version_its_types_and_its_producer(small: Project) -> None:
    made = Dataset.create_dataset(small.session, small.execution, ["Training", "Labeled"], "To train with")
    assert made.dataset_types == ["Labeled", "Training"]
    (entry,) = made.dataset_history()
    assert (str(entry.dataset_version), entry.description) == ("0.1.0", "Initial dataset creation.")
    assert entry.execution_rid == small.execution
    assert [use.execution_rid for use in made.list_execution_uses()] == [small.execution]
    assert made == Dataset(small.session, made.dataset_rid)
    assert lookup_dataset(small.session, made.dataset_rid).description == "To train with"


@pytest.mark.parametrize("types", [None, [], "Training"])
def test_a_dataset_may_have_no_types_or_one(small: Project, types: list[str] | str | None) -> None:
    made = Dataset.create_dataset(small.session, small.execution, types, version="1.0.0")
    assert made.dataset_types == (["Training"] if types else [])
    assert made.current_version == "1.0.0"


def test_an_unknown_type_leaves_no_dataset_behind(small: Project) -> None:
    with pytest.raises(DerivaMLInvalidTerm, match="Training"):
        Dataset.create_dataset(small.session, small.execution, ["Trainin"])
    assert find_datasets(small.session) == []


def test_a_version_s_snapshot_shows_its_members_its_row_and_nothing_later(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    first = dataset.dataset_history()[-1]
    dataset.add_dataset_members(small.images[4:6])
    assert str(first.dataset_version) == "0.2.0"
    at_first = small.session.snapshot(str(first.snapshot)).catalog
    assert len(at_first.rows(table("demo-schema", "Dataset_Image"))) == 4
    assert len(at_first.rows_by(ML, "Dataset_Version", "RID", [first.version_rid])) == 1
    assert len(dataset.list_dataset_members(version="0.2.0")["Image"]) == 4
    assert len(dataset.list_dataset_members()["Image"]) == 6
    (row,) = small.session.catalog.rows_by(ML, "Dataset", "RID", [dataset.dataset_rid])
    assert row["Version"] == dataset.dataset_history()[-1].version_rid


def test_a_version_whose_snapshot_was_never_recorded_is_read_by_its_creation(small: Project) -> None:
    dataset = small.dataset(small.images[:2])
    entry = dataset.dataset_history()[-1]
    small.session.catalog.update(ML, "Dataset_Version", [{"RID": entry.version_rid, "Snapshot": None}])
    (row,) = small.session.catalog.rows_by(ML, "Dataset_Version", "RID", [entry.version_rid])
    assert row["Snapshot"] is None
    assert snapshot_of(row) == entry.snapshot
    assert find_version(small.session, dataset.dataset_rid, entry.dataset_version) == entry


@pytest.mark.parametrize("snapshot", ["garbage", "1", "3ZZ-ZZZZ-ZZZZ-ZZZZ"])
def test_a_snapshot_that_the_catalog_does_not_have_is_named(small: Project, snapshot: str) -> None:
    dataset = small.dataset(small.images[:2])
    entry = dataset.dataset_history()[-1]
    small.session.catalog.update(ML, "Dataset_Version", [{"RID": entry.version_rid, "Snapshot": snapshot}])
    spec = DatasetSpec.model_validate({"rid": dataset.dataset_rid, "version": "0.2.0"})
    for work in (
        lambda: dataset.list_dataset_members(version="0.2.0"),
        lambda: dataset.list_dataset_children(version="0.2.0"),
        lambda: download_dataset_bag(small.session, spec),
    ):
        with pytest.raises(
            DerivaMLDataError, match=f"0.2.0 of dataset {dataset.dataset_rid} names the moment {snapshot}"
        ):
            work()
    assert dataset.increment_dataset_version(VersionPart.patch) == "0.2.1"
    assert len(dataset.list_dataset_members(version="0.2.1")["Image"]) == 2


def test_a_number_of_another_form_is_passed_over(small: Project) -> None:
    dataset = small.dataset([])
    small.session.catalog.insert(ML, "Dataset_Version", [{"Dataset": dataset.dataset_rid, "Version": "9.0.0rc1"}])
    assert _numbers(dataset) == ["0.1.0"]
    assert dataset.increment_dataset_version(VersionPart.minor) == "0.2.0"


def test_incrementing_takes_connected_datasets_along_each_from_its_own_version(small: Project) -> None:
    child = small.dataset([], version="3.0.0")
    parent = small.dataset([child.dataset_rid])
    other = small.dataset([child.dataset_rid])
    alone = small.dataset([])
    before = [each.current_version for each in (child, parent, other, alone)]
    assert child.increment_dataset_version(VersionPart.major, "Cleaned") == "4.0.0"
    assert [str(v) for v in before] == ["3.2.0", "0.3.0", "0.2.0", "0.1.0"]
    assert [str(each.current_version) for each in (child, parent, other, alone)] == ["4.0.0", "1.0.0", "1.0.0", "0.1.0"]
    assert parent.dataset_history()[-1].snapshot == child.dataset_history()[-1].snapshot


def test_two_who_race_for_a_number_both_get_a_version(small: Project) -> None:
    dataset = small.dataset([])
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(dataset.increment_dataset_version, VersionPart.minor) for _ in range(4)]
        assert sorted(str(each.result()) for each in made) == ["0.2.0", "0.3.0", "0.4.0", "0.5.0"]


def test_an_unknown_version_names_the_known_ones(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    with pytest.raises(DerivaMLVersionNotFound) as caught:
        dataset.list_dataset_members(version="9.0.0")
    assert caught.value.known == ("0.2.0", "0.1.0")


def test_a_rid_that_is_no_dataset_is_told_apart(small: Project) -> None:
    with pytest.raises(DerivaMLDatasetNotFound, match="demo-schema:Image"):
        lookup_dataset(small.session, small.images[0])
    with pytest.raises(DerivaMLDatasetNotFound, match="demo-schema:Image"):
        Dataset(small.session, small.images[0]).dataset_history()
    with pytest.raises(DerivaMLDatasetNotFound, match="no record"):
        lookup_dataset(small.session, "ZZZZ-ZZZZ")
    with pytest.raises(DerivaMLDatasetNotFound):
        Dataset(small.session, small.images[0]).increment_dataset_version(VersionPart.minor)


# ---------------------------------------------------------------------------------------------- types


def test_each_call_that_changes_types_makes_one_version_and_no_change_makes_none(small: Project) -> None:
    dataset = small.dataset([])
    dataset.add_dataset_types(["Training", "Labeled"])
    dataset.add_dataset_type("Training")
    dataset.remove_dataset_type("Labeled")
    dataset.remove_dataset_type("Testing")
    assert dataset.dataset_types == ["Training"]
    assert [entry.description for entry in dataset.dataset_history()[1:]] == [
        "Added dataset type(s): Training, Labeled",
        "Removed dataset type: Labeled",
    ]


# ---------------------------------------------------------------------------------------------- members


def test_members_are_listed_by_table_as_rows(project: Project) -> None:
    dataset = project.dataset([*project.images, project.subjects[0]])
    listed = dataset.list_dataset_members()
    assert list(listed) == ["Image", "Subject", "Dataset", "File"]
    assert [row["RID"] for row in listed["Image"]] == sorted(project.images)
    assert [row["RID"] for row in listed["Subject"]] == [project.subjects[0]]
    assert listed["Dataset"] == listed["File"] == []
    assert len(dataset.list_dataset_members(limit=1)["Image"]) == 1
    assert _numbers(dataset) == ["0.1.0", "0.2.0"]


def test_members_can_be_given_by_table_and_repeated(small: Project) -> None:
    dataset = small.dataset([])
    dataset.add_dataset_members({"Image": small.images[:2] * 2, "Subject": []}, description="By table")
    dataset.add_dataset_members(small.images[:3], validate=False)
    assert len(dataset.list_dataset_members()["Image"]) == 3
    assert [entry.description for entry in dataset.dataset_history()[1:]] == [
        "By table",
        "Updated dataset via add_dataset_members",
    ]


def test_a_mistake_among_the_members_changes_nothing(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    child = small.dataset([])
    with pytest.raises(DerivaMLRidsNotFound) as missing:
        dataset.add_dataset_members([small.images[1], "9-ZZZZ"])
    assert missing.value.missing == ("9-ZZZZ",)
    with pytest.raises(DerivaMLTableTypeError, match="Execution"):
        dataset.add_dataset_members([small.images[1], small.execution])
    with pytest.raises(DerivaMLDataError, match=small.images[0]):
        dataset.add_dataset_members([child.dataset_rid, *small.images[:2]])
    assert len(dataset.list_dataset_members()["Image"]) == 1
    assert _numbers(dataset) == ["0.1.0", "0.2.0"]


def test_one_text_is_not_taken_for_many_members(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    for members in (small.images[1], {"Image": small.images[1]}):
        with pytest.raises(DerivaMLValidationError, match="is one text, not several"):
            dataset.add_dataset_members(members)
        with pytest.raises(DerivaMLValidationError, match="is one text, not several"):
            dataset.delete_dataset_members(members)
    assert str(dataset.current_version) == "0.2.0"


def test_deleting_members_makes_one_version_and_leaves_the_records(project: Project) -> None:
    dataset = project.dataset(project.images)
    dataset.delete_dataset_members(project.images[: len(project.images) // 2 + 1])
    assert len(dataset.list_dataset_members()["Image"]) == len(project.images) - len(project.images) // 2 - 1
    assert len(dataset.list_dataset_members(version="0.2.0")["Image"]) == len(project.images)
    assert _numbers(dataset) == ["0.1.0", "0.2.0", "0.3.0"]
    assert len(project.session.catalog.rows(table("demo-schema", "Image"))) == len(project.images)
    with pytest.raises(DerivaMLDataError, match=project.images[0]):
        dataset.delete_dataset_members([project.images[0]])


def test_an_edit_is_one_version(small: Project) -> None:
    dataset = small.dataset([])
    with dataset.edit("Reworked", VersionPart.major) as changes:
        changes.add_dataset_members(small.images[:4])
        changes.delete_dataset_members(small.images[:1])
        changes.add_dataset_types(["Training"])
        changes.add_dataset_members({"Subject": small.subjects[:1]})
    assert _numbers(dataset) == ["0.1.0", "1.0.0"]
    assert dataset.dataset_history()[-1].description == "Reworked"
    assert len(dataset.list_dataset_members(version="1.0.0")["Image"]) == 3
    with dataset.edit("Nothing"):
        pass
    assert _numbers(dataset) == ["0.1.0", "1.0.0"]


# ---------------------------------------------------------------------------------------------- nesting


def test_nested_datasets_are_walked_both_ways_and_their_members_listed_once(small: Project) -> None:
    inner = small.dataset(small.images[:3], description="inner")
    middle = small.dataset([inner.dataset_rid, *small.images[2:5]], description="middle")
    outer = small.dataset([middle.dataset_rid, inner.dataset_rid, small.images[9]], description="outer")
    assert set(outer.list_dataset_children()) == {middle, inner}
    assert [each.description for each in middle.list_dataset_children()] == ["inner"]
    assert set(inner.list_dataset_parents()) == {middle, outer}
    assert set(inner.list_dataset_parents(recurse=True)) == {middle, outer}
    listed = outer.list_dataset_members(recurse=True)
    assert [row["RID"] for row in listed["Image"]] == sorted([*small.images[:5], small.images[9]])
    assert {row["RID"] for row in listed["Dataset"]} == {inner.dataset_rid, middle.dataset_rid}
    assert outer.list_dataset_children(version="0.1.0") == []


def test_a_dataset_never_comes_to_hold_itself(small: Project) -> None:
    inner = small.dataset([])
    middle = small.dataset([inner.dataset_rid])
    outer = small.dataset([middle.dataset_rid])
    for members in ([inner.dataset_rid], [outer.dataset_rid]):
        with pytest.raises(DerivaMLCycleError) as caught:
            inner.add_dataset_members(members)
        assert caught.value.cycle_nodes[0] == caught.value.cycle_nodes[-1] == inner.dataset_rid
    assert inner.list_dataset_children() == []


# ---------------------------------------------------------------------------------------------- element types


def test_a_table_becomes_an_element_type_once(small: Project) -> None:
    session = small.session
    assert [each.name for each in list_dataset_element_types(session)] == ["Image", "Subject", "Dataset", "File"]
    assert add_dataset_element_type(session, "Image").name == "Image"
    assert add_dataset_element_type(session, "Grade").name == "Grade"
    assert "Grade" in [each.name for each in list_dataset_element_types(session)]
    assert add_dataset_element_type(session, "Grade").name == "Grade"
    with pytest.raises(DerivaMLTableTypeError, match="Execution"):
        add_dataset_element_type(session, "Execution")


def test_two_who_make_an_element_type_at_once_both_have_it(small: Project) -> None:
    with ThreadPoolExecutor(4) as pool:
        sessions = [replace(small.session, catalog=fresh_client(small.session)) for _ in range(4)]
        made = [pool.submit(add_dataset_element_type, session, "Grade") for session in sessions]
        assert {each.result().name for each in made} == {"Grade"}


# ---------------------------------------------------------------------------------------------- finding and deleting


def test_deleting_is_soft_and_refused_inside_another_dataset(small: Project) -> None:
    session = small.session
    inner = small.dataset([])
    outer = small.dataset([inner.dataset_rid])
    with pytest.raises(DerivaMLDataError, match=outer.dataset_rid):
        delete_dataset(session, inner)
    delete_dataset(session, outer, recurse=True)
    assert find_datasets(session) == []
    assert set(find_datasets(session, deleted=True)) == {inner, outer}
    with pytest.raises(DerivaMLDatasetNotFound, match="deleted"):
        lookup_dataset(session, DatasetSpec(rid=inner.dataset_rid, version="0.1.0"))  # type: ignore[arg-type]
    assert lookup_dataset(session, inner.dataset_rid, deleted=True) == inner


def test_a_snapshot_is_not_changed(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    past = Dataset(small.session.snapshot(str(dataset.dataset_history()[-1].snapshot)), dataset.dataset_rid)
    for change in (
        lambda: past.add_dataset_members(small.images[1:2]),
        lambda: past.delete_dataset_members(small.images[:1]),
        lambda: past.add_dataset_type("Training"),
        lambda: past.increment_dataset_version(VersionPart.minor),
    ):
        with pytest.raises(DerivaMLReadOnlyError):
            change()


def test_a_version_number_that_is_taken_is_a_conflict(small: Project) -> None:
    dataset = small.dataset([])
    row = {"Dataset": dataset.dataset_rid, "Version": "0.1.0"}
    with pytest.raises(DerivaMLCatalogError, match="409"):
        small.session.catalog.insert(ML, "Dataset_Version", [row])
    assert len(small.session.catalog.rows(table(ML, "Dataset_Version").where(eq("Dataset", dataset.dataset_rid)))) == 1


def test_sessions_and_instances_are_taken_alike(session: Session) -> None:
    made = Dataset.create_dataset(session, None, description="Nobody's")
    assert made.list_execution_uses() == []
    assert made.dataset_history()[0].execution_rid is None
