"""The bags in the cache: listed, deleted, fetched beforehand."""

from __future__ import annotations

from tests.dataset.project import Project

from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.cached_bags import cache_dataset, delete_cached_bag, list_cached_bags


def test_bags_are_listed_with_their_versions_and_sizes(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    dataset.add_dataset_members(small.images[4:])
    assert list_cached_bags(small.session) == []
    bare = dataset.download_dataset_bag("0.3.0", materialize=False)
    whole = dataset.download_dataset_bag("0.2.0")
    first, second = list_cached_bags(small.session)
    assert (first.dataset_rid, first.version, first.materialized) == (dataset.dataset_rid, "0.2.0", True)
    assert (second.dataset_rid, second.version, second.materialized) == (dataset.dataset_rid, "0.3.0", False)
    assert (first.path, second.path) == (whole.path, bare.path)
    files = [path for path in whole.path.parent.rglob("*") if path.is_file() and path.name != ".seal.json"]
    assert first.size_bytes == sum(path.stat().st_size for path in files)


def test_bags_are_deleted_by_dataset_and_by_version(small: Project) -> None:
    dataset, other = small.dataset(small.images), small.dataset(small.subjects)
    dataset.increment_dataset_version("patch")
    for version in ("0.2.0", "0.2.1"):
        dataset.download_dataset_bag(version)
    other.download_dataset_bag("0.2.0")
    assert delete_cached_bag(small.session, dataset.dataset_rid, "0.2.1") == 1
    assert [bag.version for bag in list_cached_bags(small.session)] == ["0.2.0", "0.2.0"]
    assert delete_cached_bag(small.session, dataset.dataset_rid) == 1
    assert [bag.dataset_rid for bag in list_cached_bags(small.session)] == [other.dataset_rid]
    assert delete_cached_bag(small.session, dataset.dataset_rid) == 0
    assert dataset.download_dataset_bag("0.2.0").is_materialized


def test_a_dataset_that_was_cached_needs_nothing_more(small: Project) -> None:
    dataset = small.dataset(small.images)
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", materialize=False)  # type: ignore[arg-type]
    assert cache_dataset(small.session, spec)["status"] == "cached_materialized"
    assert cache_dataset(small.session, spec, materialize=False)["status"] == "cached_materialized"
