"""Development versions, releases, and what differs between two versions."""

from __future__ import annotations

import pytest
from tests.dataset.project import DEMO, Project

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLVersionNotFound
from deriva_ml.dataset import Dataset, DatasetSpec, VersionPart, download_dataset_bag


def _numbers(dataset: Dataset) -> list[str]:
    return [str(entry.dataset_version) for entry in dataset.dataset_history()]


def test_in_development_changes_make_development_versions_until_the_release(small: Project) -> None:
    dataset = small.dataset(small.images[:2])
    assert not dataset.is_dirty
    assert dataset.mark_dev("Cleaning") == "0.2.1.dev1"
    assert dataset.is_dirty
    dataset.add_dataset_members(small.images[2:4])
    dataset.add_dataset_type("Labeled")
    assert dataset.current_version == "0.2.1.dev3"
    assert dataset.release("minor", "Cleaned", small.execution) == "0.3.0"
    assert not dataset.is_dirty
    assert _numbers(dataset) == ["0.1.0", "0.2.0", "0.2.1.dev1", "0.2.1.dev2", "0.2.1.dev3", "0.3.0"]
    entry = dataset.dataset_history()[-1]
    assert (entry.description, entry.execution_rid) == ("Cleaned", small.execution)
    dataset.delete_dataset_members(small.images[:1])
    assert dataset.current_version == "0.4.0"


@pytest.mark.parametrize(("part", "number"), [("patch", "0.2.1"), ("minor", "0.3.0"), (VersionPart.major, "1.0.0")])
def test_a_release_of_any_part_comes_after_the_development_versions(
    small: Project, part: VersionPart | str, number: str
) -> None:
    dataset = small.dataset(small.images[:1])
    dataset.mark_dev()
    dataset.mark_dev()
    assert dataset.release(part) == number == dataset.current_version


def test_a_dataset_in_development_gets_no_release_by_its_neighbours(small: Project) -> None:
    inner = small.dataset([])
    outer = small.dataset([inner.dataset_rid])
    inner.mark_dev()
    assert str(outer.current_version) == "0.2.0"
    outer.add_dataset_members(small.images[:1])
    assert (str(outer.current_version), str(inner.current_version)) == ("0.3.0", "0.2.1.dev2")
    inner.add_dataset_members(small.images[1:2])
    assert (str(outer.current_version), str(inner.current_version)) == ("0.4.0", "0.2.1.dev3")
    inner.release()
    assert (str(outer.current_version), str(inner.current_version)) == ("0.4.0", "0.3.0")


def test_a_bag_of_a_development_version_can_be_had_and_says_that_it_is_one(small: Project) -> None:
    dataset = small.dataset(small.images[:2])
    dataset.mark_dev()
    dataset.add_dataset_members(small.images[2:3])
    spec = DatasetSpec.model_validate({"rid": dataset.dataset_rid, "version": "0.2.1.dev2", "materialize": False})
    bag = download_dataset_bag(small.session, spec)
    dataset.add_dataset_members(small.images[3:4])
    assert len(bag.list_dataset_members()["Image"]) == 3
    assert str(bag.current_version) == "0.2.1.dev2"
    assert not bag.current_version.is_release
    assert "Dataset-Version: 0.2.1.dev2" in (bag.path / "bag-info.txt").read_text()


def test_versions_are_compared_by_members_their_records_and_types(small: Project) -> None:
    nested = small.dataset(small.images[5:6])
    dataset = small.dataset(small.images[:4])
    with dataset.edit("Reworked") as edit:
        edit.delete_dataset_members(small.images[:1])
        edit.add_dataset_members([small.images[4], nested.dataset_rid])
        edit.add_dataset_types(["Labeled"])
    catalog = small.session.catalog
    catalog.update(DEMO, "Image", [{"RID": small.images[2], "Score": 99.0}])
    dataset.increment_dataset_version(VersionPart.patch)
    found = dataset.compare_versions("0.2.0", "0.3.1")
    assert (found.added["Image"], found.added["Dataset"]) == (tuple(small.images[4:6]), (nested.dataset_rid,))
    assert (found.removed, found.changed) == ({"Image": (small.images[0],)}, {"Image": (small.images[2],)})
    assert (found.types_added, found.types_removed) == (("Labeled",), ())
    back = dataset.compare_versions("0.3.1", "0.2.0")
    assert (back.added, back.removed["Dataset"]) == (found.removed, found.added["Dataset"])
    assert not dataset.compare_versions("0.3.1")
    assert not dataset.compare_versions("0.2.0", "0.2.0")
    with pytest.raises(DerivaMLVersionNotFound):
        dataset.compare_versions("0.2.0", "7.0.0")


def test_the_difference_from_the_last_release_is_told(small: Project) -> None:
    dataset = small.dataset(small.images[:2])
    assert not dataset.release_diff()
    dataset.mark_dev()
    dataset.add_dataset_members(small.images[2:3])
    found = dataset.release_diff()
    assert (str(found.before), found.after, found.added) == ("0.2.0", None, {"Image": (small.images[2],)})
    past = Dataset(small.session.snapshot(str(dataset.dataset_history()[-1].snapshot)), dataset.dataset_rid)
    with pytest.raises(DerivaMLDataError, match="snapshot"):
        past.release_diff()
