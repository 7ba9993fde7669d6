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
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.dataset_types import types_of
from deriva_ml.dataset.finding import delete_dataset, find_datasets
from deriva_ml.dataset.versions import histories
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


def _counts(session: Session, images: int, *, batches: bool) -> dict[str, int]:
    project = make_project(session, images)
    counting = Counting(session.catalog.transport, batches=batches)
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
    count("parents", lambda: Dataset(watched, children[0].dataset_rid).list_dataset_parents(recurse=True))
    count("compare", lambda: dataset.compare_versions("0.1.0", "0.4.0"))
    count("is dirty", lambda: dataset.is_dirty)
    count("markdown", lambda: dataset.to_markdown(show_children=True))
    count("types", lambda: types_of(watched, [child.dataset_rid for child in children]))
    count("executions", lambda: dataset.list_execution_uses())
    count("bag without files", lambda: download_dataset_bag(watched, _spec(dataset, "0.4.0", materialize=False)))
    count("bag", lambda: download_dataset_bag(watched, _spec(dataset, "0.4.0")))
    count("bag again", lambda: download_dataset_bag(watched, _spec(dataset, "0.4.0")))
    count("find", lambda: find_datasets(watched))
    count("delete members", lambda: dataset.delete_dataset_members(project.images))
    count("delete", lambda: delete_dataset(watched, dataset, recurse=True))
    return found


TOGETHER = {
    "add by table": 4,
    "add by rid": 6,
    "nest": 7,
    "increment": 3,
    "bag without files": 21,
    "delete members": 6,
}
"""What takes fewer requests where the service takes several in one."""


@pytest.fixture(scope="module")
def expected() -> dict[str, int]:
    """The most requests that each operation may take, at any size, one at a time."""
    return {
        "add by table": 8,
        "add by rid": 10,
        "nest": 11,
        "list": 4,
        "list recursively": 8,  # one of them asks whether the version's moment is in the catalog's past
        "children": 2,
        "increment": 6,
        "parents": 2,
        "compare": 18,
        "is dirty": 17,
        "markdown": 4,
        "types": 1,
        "executions": 2,
        "bag without files": 36,
        "bag": 1,
        "bag again": 1,
        "find": 1,
        "delete members": 10,
        "delete": 3,
    }


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("images", [10, 600])
def test_the_number_of_requests_does_not_grow_with_the_members(
    domain: Session, images: int, expected: dict[str, int], batches: bool
) -> None:
    found = _counts(domain, images, batches=batches)
    most = expected | TOGETHER if batches else expected
    assert {name: number for name, number in found.items() if number > most[name]} == {}


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


@pytest.mark.parametrize(("batches", "making", "changing"), [(True, 2, 3), (False, 6, 6)])
@pytest.mark.parametrize("connected", [3, 100])
def test_the_number_of_requests_does_not_grow_with_connected_datasets_or_their_versions(
    small: Project, connected: int, batches: bool, making: int, changing: int
) -> None:
    counting = Counting(small.session.catalog.transport, batches=batches)
    watched = _through(small.session, counting)
    watched.model()
    counting.reset()
    made = create_datasets(watched, [*[NewDataset()] * connected, NewDataset(children=range(connected))], None)
    assert counting.count == making
    holder = Dataset(watched, made[-1])
    for _ in range(connected // 30):
        holder.increment_dataset_version(VersionPart.patch)
    counting.reset()
    holder.increment_dataset_version(VersionPart.minor, "All of them")
    assert counting.count == changing
    numbers = {str(entries[-1].dataset_version) for entries in histories(small.session, made).values()}
    assert numbers == {"0.2.0"}
