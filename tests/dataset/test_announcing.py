"""Changes and their versions are one: whatever kills the process, all of it is there or nothing."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.killed import WORK, killing
from tests.dataset.project import ML, Project
from tests.fakes import Counting, Failing
from tests.serving import Served, served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.transport import Retry
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLCycleError,
    DerivaMLDatasetNotFound,
    DerivaMLRidsNotFound,
    DerivaMLUnreachable,
)
from deriva_ml.dataset import Dataset
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.dataset.versions import snapshot_of
from deriva_ml.schema.session import Session
from deriva_ml.wire.batch import Limits
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import table


def _over(session: Session, transport: Counting) -> Session:
    return replace(session, catalog=CatalogClient(transport, session.catalog_id, retry=Retry(attempts=1)))


def _images(dataset: Dataset, version: str | None = None) -> set[str]:
    return {str(row["RID"]) for row in dataset.list_dataset_members(version=version)["Image"]}


@dataclass(frozen=True)
class _State:
    """What there is of a dataset, and whether its history is whole."""

    members: dict[str, list[str]]
    types: list[str]
    versions: list[str]


def _state(dataset: Dataset) -> _State:
    rows = dataset.session.catalog.rows_by(ML, "Dataset_Version", "Dataset", [dataset.dataset_rid])
    history = dataset.dataset_history()
    assert all(row["Snapshot"] == snapshot_of({**row, "Snapshot": None}) for row in rows)
    (row,) = dataset.session.catalog.rows_by(ML, "Dataset", "RID", [dataset.dataset_rid])
    assert row["Version"] == history[-1].version_rid
    now = {name: sorted(str(row["RID"]) for row in rows) for name, rows in dataset.list_dataset_members().items()}
    then = dataset.list_dataset_members(version=dataset.current_version)
    assert now == {name: sorted(str(row["RID"]) for row in rows) for name, rows in then.items()}
    return _State(now, dataset.dataset_types, [f"{each.dataset_version} {each.description}" for each in history])


@pytest.mark.parametrize("name", sorted(WORK))
@pytest.mark.slow
def test_a_process_that_is_killed_at_any_request_leaves_all_or_nothing(
    small: Project, catalog_root: Path, name: str
) -> None:
    found: list[tuple[bool, bool]] = []
    with killing(catalog_root) as kill:
        for at in range(100):
            for when in ("before", "after"):
                nested = small.dataset([])
                dataset = small.dataset(small.images[:3])
                outer = small.dataset([dataset.dataset_rid])
                both = (dataset, outer)
                before = [_state(each) for each in both]
                what = {
                    "rid": dataset.dataset_rid,
                    "members": small.images[:3],
                    "more": small.images[3:6],
                    "subjects": small.subjects[:2],
                    "nested": nested.dataset_rid,
                }
                code = kill(name=name, at=at, when=when, **what)
                assert code in (0, -signal.SIGKILL)
                after = [_state(each) for each in both]
                changed = [one != other for one, other in zip(before, after, strict=True)]
                assert changed[0] is changed[1]
                found.append((code == 0, changed[0]))
                if changed[0]:
                    _check_whole(name, before[0], after[0], what)
                    assert len(after[1].versions) == len(before[1].versions) + 1
            if code == 0:
                break
    # It was killed before it began to change anything, and after it had changed everything.
    assert (False, False) in found
    assert (False, True) in found
    assert found[-1] == (True, True)
    assert (True, False) not in found


def _check_whole(name: str, before: _State, after: _State, what: dict[str, Any]) -> None:
    """All of the work is there, and one version tells of it."""
    images, more = set(what["members"]), set(what["more"])
    expected = {"add": images | more, "delete": set(), "type": images, "edit": (images | more) - {what["members"][0]}}
    assert set(after.members["Image"]) == expected[name]
    assert set(after.members["Subject"]) == (set(what["subjects"]) if name == "add" else set())
    assert after.members["Dataset"] == ([what["nested"]] if name == "edit" else [])
    assert after.types == (["Training"] if name in ("type", "edit") else [])
    assert len(after.versions) == len(before.versions) + 1


def test_an_edit_is_seen_by_its_thread_and_by_nobody_else(small: Project) -> None:
    nested = small.dataset([])
    dataset = small.dataset(small.images[:2])
    other = replace(small.session, catalog=CatalogClient(small.session.catalog.transport, small.session.catalog_id))
    elsewhere = Dataset(other, dataset.dataset_rid)
    with dataset.edit("Edited") as edit:
        edit.add_dataset_members([small.images[2], nested.dataset_rid])
        edit.delete_dataset_members([small.images[0]])
        edit.add_dataset_type("Labeled")
        assert _images(dataset) == set(small.images[1:3])
        assert _images(Dataset(small.session, dataset.dataset_rid)) == set(small.images[1:3])
        assert (dataset.dataset_types, elsewhere.dataset_types) == (["Labeled"], [])
        assert [child.dataset_rid for child in dataset.list_dataset_children()] == [nested.dataset_rid]
        assert _images(elsewhere) == set(small.images[:2])
        assert elsewhere.list_dataset_children() == []
        assert dataset.current_version == "0.2.0"
        assert dataset.is_dirty
        assert not elsewhere.is_dirty
    assert _images(elsewhere) == set(small.images[1:3])
    assert not dataset.is_dirty
    assert _state(elsewhere).versions[-1] == "0.3.0 Edited"
    assert nested.current_version == "0.2.0"


def test_what_is_wrong_is_said_where_it_is_called_for(small: Project) -> None:
    dataset, outer = small.dataset([]), small.dataset([])
    with dataset.edit("Edited") as edit:
        edit.add_dataset_members(small.images[:1])
        with pytest.raises(DerivaMLRidsNotFound):
            edit.add_dataset_members({"Image": ["9-ZZZZ"]})
        edit.add_dataset_members([outer.dataset_rid])
        with pytest.raises(DerivaMLCycleError):
            edit.add_dataset_members([dataset.dataset_rid])
    assert _images(dataset) == {small.images[0]}
    with pytest.raises(DerivaMLRidsNotFound):
        dataset.add_dataset_members({"Image": ["9-ZZZZ"]})
    with pytest.raises(DerivaMLDatasetNotFound):
        Dataset(small.session, "9-ZZZZ").add_dataset_members({"Image": small.images[:1]})
    assert _images(dataset) == {small.images[0]}


def test_another_dataset_that_is_changed_in_an_edit_has_its_own_version(small: Project) -> None:
    one, other = small.dataset([]), small.dataset([])
    with pytest.raises(ZeroDivisionError), one.edit("Fails"):
        one.add_dataset_members(small.images[:1])
        other.add_dataset_members(small.images[:2])
        raise ZeroDivisionError
    assert (_images(one), _images(other)) == (set(), set(small.images[:2]))
    assert (one.current_version, other.current_version) == ("0.1.0", "0.2.0")
    with one.edit("One"), other.edit("Other"):
        one.add_dataset_members(small.images[:1])
        other.delete_dataset_members(small.images[:2])
        assert (_images(one), _images(other)) == ({small.images[0]}, set())
    assert (_state(one).versions[-1], _state(other).versions[-1]) == ("0.2.0 One", "0.3.0 Other")


class _Small(Counting):
    """A service that takes little at a time."""

    @property
    def batch(self) -> Limits | None:
        return Limits(100, 4000)


@pytest.mark.parametrize("fails", [True, False])
def test_an_edit_that_is_too_large_for_one_request_is_several_and_whole(domain_project: Project, fails: bool) -> None:
    project = domain_project
    dataset = project.dataset([])
    counting = _Small(project.session.catalog.transport)
    edited = Dataset(_over(project.session, counting), dataset.dataset_rid)
    edited.session.model()
    try:
        with edited.edit("Much"):
            for start in range(0, 200, 20):
                edited.add_dataset_members({"Image": project.images[start : start + 20]})
            edited.delete_dataset_members(project.images[:1])
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert (_images(dataset), len(dataset.dataset_history())) == (set(), 1)
        assert not dataset.is_dirty
        return
    assert _images(dataset) == set(project.images[1:200])
    assert _state(dataset).versions[1:] == ["0.2.0 Much"]


@pytest.fixture
def domain_project(domain: Session) -> Project:
    from tests.dataset.project import make_project

    return make_project(domain, 200)


def test_new_datasets_are_made_whole_or_not_at_all(small: Project) -> None:
    counting = Counting(small.session.catalog.transport)
    session = _over(small.session, counting)
    session.model()
    wanted = [NewDataset(members={"Image": small.images[:2]}), NewDataset(children=[0], types=["Training"])]

    def there() -> int:
        return len(small.session.catalog.rows(table(ML, "Dataset")))

    with pytest.raises(DerivaMLRidsNotFound, match="9-ZZZZ"):
        create_datasets(session, [*wanted, NewDataset(members={"Image": ["9-ZZZZ"]})], small.execution)
    with pytest.raises(DerivaMLRidsNotFound, match="9-YYYY"):
        create_datasets(session, wanted, "9-YYYY")
    assert there() == 0
    for cut in range(20):
        dying = Failing(small.session.catalog.transport, lose=lambda _request, number, cut=cut: number >= cut)
        try:
            made = create_datasets(_over(small.session, dying), wanted, small.execution)
            break
        except DerivaMLUnreachable:
            assert there() == 0
    inner, outer = (Dataset(small.session, rid) for rid in made)
    assert (_state(inner).members["Image"], _state(outer).types) == (sorted(small.images[:2]), ["Training"])
    assert read_nesting(small.session).children(outer.dataset_rid) == (inner.dataset_rid,)


def test_a_lost_answer_is_an_error_and_leaves_what_was_done(small: Project) -> None:
    dataset = small.dataset([])

    class Silent(Counting):
        def send(self, request: Request) -> Response:
            answer = super().send(request)
            if request.body is not None and b'"commit":true' in bytes(request.body):  # type: ignore[arg-type]
                raise DerivaMLUnreachable("the answer was lost")
            return answer

    lossy = Dataset(_over(small.session, Silent(small.session.catalog.transport)), dataset.dataset_rid)
    with pytest.raises(DerivaMLUnreachable):
        lossy.add_dataset_members(small.images[:2])
    assert _state(dataset).members["Image"] == sorted(small.images[:2])


def _token(server: Served) -> dict[str, str]:
    return {"bearer-token": server.token}


def test_over_http_it_is_the_same(small: Project, catalog_root: Path) -> None:
    dataset = small.dataset([])
    with served(catalog_root) as server, open_connection(server.url, credential=_token(server)) as connection:
        catalog = connection.catalog(small.session.catalog_id)
        over = Dataset(replace(small.session, catalog=catalog, place=connection.place), dataset.dataset_rid)
        with over.edit("Over HTTP"):
            over.add_dataset_members(small.images[:3])
            over.delete_dataset_members(small.images[:1])
            assert _images(over) == set(small.images[1:3])
            assert _images(dataset) == set()
        with pytest.raises(DerivaMLCatalogError):
            over.session.catalog.insert(ML, "Dataset_Version", [{"Dataset": dataset.dataset_rid, "Version": "0.2.0"}])
    assert _state(dataset).versions[1:] == ["0.2.0 Over HTTP"]


def test_the_version_s_snapshot_shows_its_own_snapshot_and_pointer(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    entry = dataset.dataset_history()[-1]
    then = small.session.snapshot(str(entry.snapshot)).catalog
    (version,) = then.rows_by(ML, "Dataset_Version", "RID", [entry.version_rid])
    (row,) = then.rows_by(ML, "Dataset", "RID", [dataset.dataset_rid])
    assert (version["Snapshot"], row["Version"]) == (entry.snapshot, entry.version_rid)
