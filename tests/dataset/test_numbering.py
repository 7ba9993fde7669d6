"""Versions under races and crashes: no number twice, nothing lost, the pointer right in the end."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.dataset.project import ML, Project
from tests.fakes import Counting, Failing

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.transport import Retry
from deriva_ml.core.exceptions import DerivaMLCycleError, DerivaMLRidsNotFound, DerivaMLUnreachable
from deriva_ml.dataset import Dataset, VersionPart
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.dataset.versions import snapshot_of
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request, Response


def _check(dataset: Dataset, members: set[str]) -> None:
    """The history is consistent, and the current version shows what is there now."""
    entries = dataset.dataset_history()
    numbers = [entry.dataset_version for entry in entries]
    assert len(set(numbers)) == len(numbers)
    newest = max(entries, key=lambda entry: str(entry.snapshot))
    assert newest.dataset_version == max(numbers) == dataset.current_version
    (row,) = dataset.session.catalog.rows_by(ML, "Dataset", "RID", [dataset.dataset_rid])
    assert row["Version"] == entries[-1].version_rid
    for rows in (dataset.list_dataset_members(), dataset.list_dataset_members(version=dataset.current_version)):
        assert {row["RID"] for row in rows["Image"]} == members
    rows = dataset.session.catalog.rows_by(ML, "Dataset_Version", "Dataset", [dataset.dataset_rid])
    assert all(row["Snapshot"] == snapshot_of({**row, "Snapshot": None}) for row in rows)


def _add(root: str, rid: str, members: list[str]) -> None:
    with DerivaML(root, 1, domain_schemas=["demo-schema"]) as ml:
        dataset = ml.lookup_dataset(rid)
        for member in members:
            dataset.add_dataset_members([member])


def test_threads_that_add_members_and_versions_at_once_lose_nothing(small: Project) -> None:
    dataset = small.dataset([])
    parts = [VersionPart.patch, VersionPart.major, VersionPart.minor]
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(dataset.add_dataset_members, [rid]) for rid in small.images]
        work += [pool.submit(dataset.increment_dataset_version, part) for part in parts * 2]
        for each in work:
            each.result()
    _check(dataset, set(small.images))
    assert len(dataset.dataset_history()) >= 1 + 10 + 6


def test_processes_that_add_members_at_once_lose_nothing(small: Project, catalog_root) -> None:
    dataset = small.dataset([])
    outer = small.dataset([dataset.dataset_rid])
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        work = [pool.submit(_add, str(catalog_root), dataset.dataset_rid, small.images[at::3]) for at in range(3)]
        for each in work:
            each.result()
    _check(dataset, set(small.images))
    _check(outer, set())


class _Meanwhile(Counting):
    """Does something once, just before a request that is told."""

    def __init__(self, inner, when, work, *, batches: bool = True) -> None:
        super().__init__(inner, batches=batches)
        self.when, self.work = when, work

    def send(self, request: Request) -> Response:
        if self.work is not None and self.when(request):
            work, self.work = self.work, None
            work()
        return super().send(request)


def _through(session: Session, transport: Counting) -> Session:
    client = CatalogClient(transport, session.catalog_id, retry=Retry(attempts=1))
    return replace(session, catalog=client)


def _writes_versions(request: Request) -> bool:
    if request.target.endswith("/batch"):
        return b'"commit":true' in request.body and b"entity/deriva-ml:Dataset_Version?" in request.body
    return request.method == "POST" and "Dataset_Version" in request.target


@pytest.mark.parametrize(("batches", "numbers"), [(True, ["1.0.0", "1.1.0"]), (False, ["0.2.0", "1.0.0", "1.1.0"])])
def test_a_change_that_was_overtaken_by_a_higher_number_comes_after_it(
    small: Project, batches: bool, numbers: list[str]
) -> None:
    dataset = small.dataset([])
    overtake = _Meanwhile(
        small.session.catalog.transport,
        _writes_versions,
        lambda: dataset.increment_dataset_version(VersionPart.major),
        batches=batches,
    )
    slow = Dataset(_through(small.session, overtake), dataset.dataset_rid)
    slow.add_dataset_members(small.images[:1])
    assert overtake.work is None
    assert [str(entry.dataset_version) for entry in dataset.dataset_history()] == ["0.1.0", *numbers]
    _check(dataset, {small.images[0]})


def test_who_is_nested_meanwhile_is_told_too(small: Project) -> None:
    dataset, outer = small.dataset([]), small.dataset([])
    meanwhile = _Meanwhile(
        small.session.catalog.transport,
        _writes_versions,
        lambda: outer.add_dataset_members([dataset.dataset_rid]),
    )
    Dataset(_through(small.session, meanwhile), dataset.dataset_rid).add_dataset_members(small.images[:1])
    assert (dataset.current_version, outer.current_version) == ("0.3.0", "0.3.0")
    _check(dataset, {small.images[0]})


def test_the_pointer_is_right_though_another_writer_is_faster(small: Project) -> None:
    dataset = small.dataset([])
    faster = _Meanwhile(
        small.session.catalog.transport,
        lambda request: request.method == "PUT" and request.target.endswith("Dataset/RID;Version"),
        lambda: dataset.add_dataset_members(small.images[1:2]),
        batches=False,
    )
    slow = Dataset(_through(small.session, faster), dataset.dataset_rid)
    slow.add_dataset_members(small.images[:1])
    assert faster.work is None
    _check(dataset, set(small.images[:2]))


def _requests_of(small: Project, work, *, batches: bool) -> list[tuple[str, str]]:
    counting = Counting(small.session.catalog.transport, batches=batches)
    work(Dataset(_through(small.session, counting), small.dataset([]).dataset_rid))
    return counting.requests


@pytest.mark.parametrize("batches", [True, False])
def test_a_crash_between_any_two_requests_leaves_a_consistent_history(small: Project, batches: bool) -> None:
    requests = _requests_of(small, lambda dataset: dataset.add_dataset_members(small.images[:3]), batches=batches)
    for cut in range(len(requests)):
        dataset = small.dataset([])
        dying = Failing(
            small.session.catalog.transport, lose=lambda _request, number, cut=cut: number >= cut, batches=batches
        )
        with pytest.raises(DerivaMLUnreachable):
            Dataset(_through(small.session, dying), dataset.dataset_rid).add_dataset_members(small.images[:3])
        was_added = bool(dataset.list_dataset_members()["Image"])
        told = len(dataset.list_dataset_members(version=dataset.current_version)["Image"]) == 3
        assert dataset.is_dirty is (was_added and not told)
        assert not (batches and was_added)
        dataset.add_dataset_members(small.images[:4], validate=False)
        _check(dataset, set(small.images[:4]))


@pytest.mark.parametrize("batches", [True, False])
def test_who_nests_two_datasets_into_each_other_at_once_makes_no_cycle(small: Project, batches: bool) -> None:
    one, other = small.dataset([]), small.dataset([])
    meanwhile = _Meanwhile(
        small.session.catalog.transport,
        _writes_versions
        if batches
        else lambda request: request.method == "POST" and "Dataset_Dataset?" in request.target,
        lambda: other.add_dataset_members([one.dataset_rid]),
        batches=batches,
    )
    with pytest.raises(DerivaMLCycleError):
        Dataset(_through(small.session, meanwhile), one.dataset_rid).add_dataset_members([other.dataset_rid])
    assert meanwhile.work is None
    nesting = read_nesting(small.session)
    assert (nesting.children(one.dataset_rid), nesting.children(other.dataset_rid)) == ((), (one.dataset_rid,))


def test_a_version_of_an_execution_that_does_not_exist_is_refused(small: Project) -> None:
    dataset = small.dataset([])
    with pytest.raises(DerivaMLRidsNotFound) as caught:
        dataset.increment_dataset_version(VersionPart.minor, "By nobody", "9-ZZZZ")
    assert caught.value.missing == ("9-ZZZZ",)
    assert dataset.current_version == "0.1.0"
