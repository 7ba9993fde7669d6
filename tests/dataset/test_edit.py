"""Several changes, one version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.dataset.project import Project
from tests.fakes import Failing

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.transport import Retry
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLDatasetNotFound,
    DerivaMLRidsNotFound,
    DerivaMLUnreachable,
)
from deriva_ml.dataset import Dataset


def _told(dataset: Dataset) -> list[tuple[str, str]]:
    return [(str(entry.dataset_version), entry.description) for entry in dataset.dataset_history()[1:]]


def _images(dataset: Dataset) -> set[str]:
    return {str(row["RID"]) for row in dataset.list_dataset_members()["Image"]}


def test_nested_edits_make_one_version_that_of_the_outermost(small: Project) -> None:
    dataset = small.dataset([])
    with dataset.edit("Outer") as outer:
        outer.add_dataset_members(small.images[:2])
        with dataset.edit("Inner") as inner:
            inner.add_dataset_type("Labeled")
        assert dataset.dataset_types == ["Labeled"]
    assert _told(dataset) == [("0.2.0", "Outer")]


def test_the_dataset_s_own_methods_belong_to_the_edit(small: Project) -> None:
    dataset = small.dataset([])
    with dataset.edit("In parts"):
        for image in small.images[:4]:
            dataset.add_dataset_members([image])
        dataset.add_dataset_types(["Training", "Labeled"])
        dataset.remove_dataset_type("Labeled")
        dataset.delete_dataset_members(small.images[:1])
    assert _told(dataset) == [("0.2.0", "In parts")]
    assert _images(dataset) == set(small.images[1:4])
    dataset.add_dataset_members(small.images[4:5])
    assert [number for number, _text in _told(dataset)] == ["0.2.0", "0.3.0"]


def test_another_thread_is_not_in_the_edit(small: Project) -> None:
    dataset = small.dataset([])
    with dataset.edit("Mine") as edit, ThreadPoolExecutor(1) as pool:
        edit.add_dataset_members(small.images[:1])
        pool.submit(dataset.add_dataset_members, small.images[1:2], description="Not mine").result()
    assert _told(dataset) == [("0.2.0", "Not mine"), ("0.3.0", "Mine")]


def test_an_edit_that_fails_leaves_the_dataset_as_it_was(small: Project) -> None:
    nested = small.dataset([])
    dataset = small.dataset(small.images[:3])
    dataset.add_dataset_type("Labeled")
    before = _told(dataset)
    with pytest.raises(ZeroDivisionError), dataset.edit("Fails") as edit:
        edit.add_dataset_members([*small.images[3:6], nested.dataset_rid])
        with dataset.edit("Inner"):
            dataset.delete_dataset_members(small.images[:2])
        edit.remove_dataset_type("Labeled")
        edit.add_dataset_types(["Training"])
        raise ZeroDivisionError
    assert (_told(dataset), dataset.dataset_types) == (before, ["Labeled"])
    assert _images(dataset) == set(small.images[:3])
    assert dataset.list_dataset_children() == []
    assert not dataset.is_dirty
    dataset.add_dataset_members(small.images[3:4])
    assert len(_told(dataset)) == len(before) + 1


def test_an_inner_edit_that_fails_takes_back_its_own_changes_only(small: Project) -> None:
    dataset = small.dataset([])
    with dataset.edit("Outer"):
        dataset.add_dataset_members(small.images[:1])
        with pytest.raises(DerivaMLDataError), dataset.edit("Inner"):
            dataset.add_dataset_members(small.images[1:2])
            dataset.delete_dataset_members(small.images[5:6])
    assert _images(dataset) == {small.images[0]}
    assert _told(dataset) == [("0.2.0", "Outer")]


def test_changes_that_cannot_be_taken_back_are_told_of(small: Project) -> None:
    dataset = small.dataset([])
    lost = Failing(
        small.session.catalog.transport, lose=lambda request, _number: request.method == "DELETE", batches=False
    )
    client = CatalogClient(lost, small.session.catalog_id, retry=Retry(attempts=1))
    cut = Dataset(replace(small.session, catalog=client), dataset.dataset_rid)
    with pytest.raises(ZeroDivisionError) as caught, cut.edit("Fails"):
        cut.add_dataset_members(small.images[:1])
        raise ZeroDivisionError
    assert "could not be taken back" in caught.value.__notes__[0]
    assert dataset.is_dirty


def test_a_call_that_fails_half_way_changes_nothing(small: Project) -> None:
    dataset = small.dataset([])
    with pytest.raises(DerivaMLRidsNotFound) as caught:
        dataset.add_dataset_members({"Image": small.images[:2], "Subject": [small.subjects[0], "9-ZZZZ"]})
    assert caught.value.missing == ("9-ZZZZ",)
    assert "Subject" in str(caught.value)
    assert _images(dataset) == set()
    assert _told(dataset) == []
    with pytest.raises(DerivaMLDatasetNotFound):
        Dataset(small.session, small.images[0]).add_dataset_members({"Image": small.images[:1]})
    with pytest.raises(DerivaMLDatasetNotFound):
        Dataset(small.session, "9-ZZZZ").add_dataset_type("Labeled")


def test_a_lost_connection_between_two_tables_takes_the_first_back(small: Project) -> None:
    dataset = small.dataset([])
    lost = Failing(
        small.session.catalog.transport,
        lose=lambda request, _number: request.method == "POST" and "Dataset_Subject" in request.target,
        batches=False,
    )
    client = CatalogClient(lost, small.session.catalog_id, retry=Retry(attempts=1))
    cut = Dataset(replace(small.session, catalog=client), dataset.dataset_rid)
    with pytest.raises(DerivaMLUnreachable):
        cut.add_dataset_members({"Image": small.images, "Subject": small.subjects})
    assert _images(dataset) == set()
    assert not dataset.is_dirty
