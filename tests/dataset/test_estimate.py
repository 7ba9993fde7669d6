"""Estimates: the rows and the files are those of the bag."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.dataset.project import Project, make_project
from tests.fakes import Counting
from tests.serving import served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLVersionNotFound
from deriva_ml.dataset import Dataset, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.estimate import bag_info, estimate_bag_size
from deriva_ml.dataset.reach import Walk
from deriva_ml.schema.session import Session


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


def _estimated(session: Session, dataset: Dataset, *, batches: bool) -> tuple[dict[str, Any], int]:
    counting = Counting(session.catalog.transport, batches=batches)
    watched = replace(session, catalog=CatalogClient(counting, session.catalog_id))
    spec = DatasetSpec(rid=dataset.dataset_rid, version=str(dataset.current_version))  # type: ignore[arg-type]
    return estimate_bag_size(watched, spec), counting.count


def _reachable(session: Session) -> int:
    walk = Walk(session.model(), session.ml_schema, session.domain_schemas)
    return len(walk.enterable()) + len(walk.vocabularies()) + 1


def test_requests_depend_on_the_tables_alone_or_on_nothing(project: Project) -> None:
    children = [project.dataset(project.images[n::5]) for n in range(min(5, len(project.images)))]
    dataset = project.dataset([child.dataset_rid for child in children])
    together, few = _estimated(project.session, dataset, batches=True)
    apart, more = _estimated(project.session, dataset, batches=False)
    assert few <= 4
    assert more <= _reachable(project.session) + 3
    assert together["total_csv_bytes"] == pytest.approx(apart["total_csv_bytes"], rel=0.1)
    assert _exact(together) == _exact(apart)


def _exact(told: dict[str, Any]) -> dict[str, tuple[int, bool, int]]:
    return {name: (size["row_count"], size["is_asset"], size["asset_bytes"]) for name, size in told["tables"].items()}


@pytest.mark.parametrize("share", ["much", "little"])
def test_long_tables_cost_a_few_requests_more(domain: Session, share: str) -> None:
    project = make_project(domain, 2500)
    everything = project.dataset(project.images)
    dataset = everything if share == "much" else project.dataset(project.images[:3])
    told, few = _estimated(domain, dataset, batches=True)
    assert told["tables"]["Image"]["row_count"] == (2500 if share == "much" else 3)
    assert few <= (5 if share == "much" else 8)
    again, more = _estimated(domain, dataset, batches=False)
    assert more <= _reachable(domain) + 3
    assert {name: size["row_count"] for name, size in told["tables"].items()} == {
        name: size["row_count"] for name, size in again["tables"].items()
    }
    assert told["total_csv_bytes"] == pytest.approx(again["total_csv_bytes"], rel=0.1)


def test_a_served_folder_is_asked_as_few_times(small: Project) -> None:
    dataset = small.dataset(small.images)
    root = small.session.place.root
    assert root is not None
    inside, few = _estimated(small.session, dataset, batches=True)
    with served(root) as server, open_connection(server.url, credential={"bearer-token": server.token}) as outside:
        catalog = outside.catalog(small.session.catalog_id)
        over = replace(small.session, catalog=catalog, place=outside.place)
        assert _estimated(over, dataset, batches=True) == (inside, few)
