"""Work per operation, never per row: the number of requests is the same at 10 and at 600 members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataset.project import Project, content, make_project
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.dataset import Dataset, DatasetSpec, VersionPart, download_dataset_bag
from deriva_ml.dataset.dataset import delete_dataset, find_datasets
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request, Response


class Distant(Counting):
    """A service whose objects are on another machine; it counts, and is cut off where that is asked for."""

    def __init__(self, inner: Counting) -> None:
        super().__init__(inner)
        self.cut = False

    def local_path(self, target: str) -> Path | None:
        return None

    def send(self, request: Request) -> Response:
        if self.cut and request.target.startswith("/hatrac/"):
            raise DerivaMLUnreachable("cut off")
        return super().send(request)


def _through(session: Session, transport: Counting) -> Session:
    return replace(session, catalog=CatalogClient(transport, session.catalog_id), objects=ObjectClient(transport))


def _spec(dataset: Dataset, version: str, **more: object) -> DatasetSpec:
    return DatasetSpec(rid=dataset.dataset_rid, version=version, **more)  # type: ignore[arg-type]


def _counts(session: Session, images: int) -> dict[str, int]:
    project = make_project(session, images)
    counting = Counting(session.catalog.transport)
    watched = _through(session, counting)
    watched.model()
    children = [project.dataset([]) for _ in range(3 if images < 100 else 30)]
    dataset = Dataset.create_dataset(watched, project.execution)
    found: dict[str, int] = {}

    def count(name: str, work: Callable[[], object]) -> None:
        counting.reset()
        work()
        found[name] = counting.count

    half = images // 2
    count("add by table", lambda: dataset.add_dataset_members({"Image": project.images[:half]}))
    count("add by rid", lambda: dataset.add_dataset_members(project.images[half:]))
    count("nest", lambda: dataset.add_dataset_members([child.dataset_rid for child in children]))
    count("list", lambda: dataset.list_dataset_members())
    count("list recursively", lambda: dataset.list_dataset_members(recurse=True, version="0.3.0"))
    count("children", lambda: dataset.list_dataset_children(recurse=True))
    count("increment", lambda: dataset.increment_dataset_version(VersionPart.patch))
    count("bag without files", lambda: download_dataset_bag(watched, _spec(dataset, "0.4.0", materialize=False)))
    count("bag", lambda: download_dataset_bag(watched, _spec(dataset, "0.4.0")))
    count("bag again", lambda: download_dataset_bag(watched, _spec(dataset, "0.4.0")))
    count("find", lambda: find_datasets(watched))
    count("delete members", lambda: dataset.delete_dataset_members(project.images))
    count("delete", lambda: delete_dataset(watched, dataset, recurse=True))
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, int]:
    """The most requests that each operation may take, at any size."""
    return {
        "add by table": 7,
        "add by rid": 9,
        "nest": 10,
        "list": 4,
        "list recursively": 8,  # one of them asks whether the version's moment is in the catalog's past
        "children": 2,
        "increment": 5,
        "bag without files": 36,
        "bag": 1,
        "bag again": 1,
        "find": 1,
        "delete members": 9,
        "delete": 3,
    }


@pytest.mark.parametrize("images", [10, 600])
def test_the_number_of_requests_does_not_grow_with_the_members(
    domain: Session, images: int, expected: dict[str, int]
) -> None:
    found = _counts(domain, images)
    assert {name: number for name, number in found.items() if number > expected[name]} == {}


def test_distant_files_are_fetched_once_and_shared_by_versions(small: Project) -> None:
    distant = Distant(small.session.catalog.transport)  # type: ignore[arg-type]
    watched = _through(small.session, distant)
    dataset = small.dataset(small.images[:6])
    dataset.add_dataset_members(small.images[6:])
    first = download_dataset_bag(watched, _spec(dataset, "0.2.0"))
    fetched = [target for _method, target in distant.requests if target.startswith("/hatrac/")]
    assert len(fetched) == 6
    distant.reset()
    second = download_dataset_bag(watched, _spec(dataset, "0.3.0"))
    assert len([target for _method, target in distant.requests if target.startswith("/hatrac/")]) == 4
    for bag, number in ((first, 6), (second, 10)):
        rows = bag.list_dataset_members()["Image"]
        assert len(rows) == number
        assert all(
            Path(str(row["Filename"])).read_bytes() == content(small.images.index(str(row["RID"]))) for row in rows
        )


def test_a_store_that_is_cut_off_leaves_no_bag(small: Project) -> None:
    distant = Distant(small.session.catalog.transport)  # type: ignore[arg-type]
    distant.cut = True
    watched = _through(small.session, distant)
    watched = replace(watched, objects=ObjectClient(distant, retry=_once()))
    dataset = small.dataset(small.images)
    with pytest.raises(DerivaMLUnreachable):
        download_dataset_bag(watched, _spec(dataset, "0.2.0"))
    assert list(watched.cache_dir.rglob("Dataset_*")) == []
    distant.cut = False
    assert download_dataset_bag(watched, _spec(dataset, "0.2.0")).is_materialized


def _once() -> object:
    from deriva_ml.catalog.transport import Retry

    return Retry(attempts=1)
