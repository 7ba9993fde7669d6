"""Estimates: the rows and the files are those of the bag."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.dataset.project import Project
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import DerivaMLVersionNotFound
from deriva_ml.dataset import DatasetSpec, download_dataset_bag
from deriva_ml.dataset.estimate import bag_info, estimate_bag_size


def test_rows_and_files_are_those_of_the_bag(project: Project) -> None:
    inner = project.dataset(project.images[::2])
    outer = project.dataset([inner.dataset_rid, project.subjects[0]])
    spec = DatasetSpec(rid=outer.dataset_rid, version="0.2.0")  # type: ignore[arg-type]
    found = estimate_bag_size(project.session, spec)
    bag = download_dataset_bag(project.session, spec)
    assert set(found["tables"]) == set(bag.list_tables())
    for name, size in found["tables"].items():
        assert size["row_count"] == len(list(bag.get_table_as_dict(name))), name
    files = [path for path in (bag.path / "data/asset").rglob("*") if path.is_file()]
    assert found["total_asset_bytes"] == sum(path.stat().st_size for path in files)
    assert found["tables"]["Image"]["is_asset"]
    lines = sum(path.stat().st_size for path in (bag.path / "data").rglob("*.csv"))
    assert found["total_csv_bytes"] == pytest.approx(lines, rel=0.1)
    assert found["total_estimated_bytes"] == found["total_asset_bytes"] + found["total_csv_bytes"]
    assert found["total_rows"] == sum(size["row_count"] for size in found["tables"].values())
    assert found["total_asset_size"].endswith((" B", " KB"))


def test_excluded_tables_are_not_counted(small: Project) -> None:
    dataset = small.dataset(small.images)
    found = dataset.estimate_bag_size("0.2.0", exclude_tables={"Subject"})
    assert "Subject" not in found["tables"]
    assert found["tables"]["Image"]["row_count"] == 10


def test_the_cache_is_looked_at_for_the_version_that_is_asked_for(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    dataset.add_dataset_members(small.images[4:])
    assert dataset.bag_info("0.2.0")["status"] == "not_cached"
    whole = dataset.cache("0.2.0")
    assert whole["status"] == "cached_materialized"
    assert dataset.prefetch("0.3.0", materialize=False)["status"] == "cached_metadata_only"
    info = bag_info(small.session, DatasetSpec(rid=dataset.dataset_rid, version="0.2.0"))  # type: ignore[arg-type]
    assert info["versions_cached"] == ["0.2.0", "0.3.0"]
    assert info["cache_path"] == dataset.download_dataset_bag("0.2.0").path
    (info["cache_path"] / "data/schema.json").unlink()
    assert dataset.bag_info("0.2.0")["status"] == "cached_incomplete"


def test_an_unknown_version_is_said(small: Project) -> None:
    dataset = small.dataset([])
    with pytest.raises(DerivaMLVersionNotFound, match=r"0\.1\.0"):
        dataset.estimate_bag_size("9.0.0")


def test_requests_depend_on_the_tables_alone(project: Project) -> None:
    children = [project.dataset(project.images[n::5]) for n in range(5)]
    dataset = project.dataset([child.dataset_rid for child in children])
    counting = Counting(project.session.catalog.transport)
    watched = replace(project.session, catalog=CatalogClient(counting, project.session.catalog_id))
    watched.model()
    counting.reset()
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0")  # type: ignore[arg-type]
    found = estimate_bag_size(watched, spec)
    assert counting.count <= 2 * (len(found["tables"]) + 4)
