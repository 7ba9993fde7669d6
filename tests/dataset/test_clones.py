"""A catalog made from another one's rows has no past of the other: its versions are refused, and can be made anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.dataset.project import DEMO, Project, make_project

from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLNotFoundError, DerivaMLReadOnlyError
from deriva_ml.dataset import Dataset, DatasetSpec
from deriva_ml.dataset.clones import reinitialize_dataset_versions
from deriva_ml.execution import ExecutionConfiguration
from deriva_ml.execution.input_check import check_inputs
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import table


@pytest.fixture
def clone(domain: Session, catalog_root: Path) -> Iterator[tuple[DerivaML, str, str]]:
    """A clone by the ``deriva`` package of a project with a dataset in a dataset: the clone, the inner, the outer."""
    project = make_project(domain, 6)
    inner = project.dataset(project.images)
    outer = project.dataset([inner.dataset_rid])
    with open_connection(str(catalog_root)) as connection:
        connection.create_catalog("clone")
        handles = connection.deriva()
        theirs, ours = handles.catalog("1"), handles.catalog("clone")
        theirs.clone_catalog(ours)
    with closing(DerivaML(str(catalog_root), "clone")) as ml:
        yield ml, inner.dataset_rid, outer.dataset_rid


def _spec(ml: DerivaML, rid: str, **more: object) -> DatasetSpec:
    version = str(Dataset(ml.session, rid).current_version)
    return DatasetSpec(rid=rid, version=version, **more)  # type: ignore[arg-type]


def test_versions_of_a_clone_are_refused_with_the_way_on(clone: tuple[DerivaML, str, str]) -> None:
    ml, inner, outer = clone
    spec = _spec(ml, outer)
    with pytest.raises(DerivaMLNotFoundError, match=r"renew-versions --host \S+ --catalog clone"):
        ml.download_dataset_bag(spec)
    with pytest.raises(DerivaMLNotFoundError, match=r"not in this catalog's past"):
        Dataset(ml.session, inner).list_dataset_members(version="0.2.0")
    with pytest.raises(DerivaMLNotFoundError, match=r"datasets\[0\][\s\S]*renew-versions"):
        check_inputs(ml.session, ExecutionConfiguration(datasets=[spec]))


def test_versions_made_anew_are_what_is_there_and_are_made_once(clone: tuple[DerivaML, str, str]) -> None:
    ml, inner, outer = clone
    before = {rid: Dataset(ml.session, rid).current_version for rid in (inner, outer)}
    renewed = ml.reinitialize_dataset_versions("data.example.org#7")
    assert [one.dataset_rid for one in renewed] == sorted((inner, outer))
    for one in renewed:
        assert one.before == before[one.dataset_rid]
        assert one.after == Dataset(ml.session, one.dataset_rid).current_version
        assert one.after > one.before
    assert len({entry.snapshot for rid in before for entry in Dataset(ml.session, rid).dataset_history()[-1:]}) == 1
    assert "data.example.org#7" in Dataset(ml.session, outer).dataset_history()[-1].description
    assert ml.reinitialize_dataset_versions() == []

    spec = _spec(ml, outer)
    assert len(check_inputs(ml.session, ExecutionConfiguration(datasets=[spec])).datasets) == 1
    bag = ml.download_dataset_bag(spec)
    assert len(list(bag.get_table_as_dict("Image"))) == 6
    # The version keeps what it shows.
    ml.session.catalog.delete(table(DEMO, "Dataset_Image"))
    members = Dataset(ml.session, inner).list_dataset_members(version=str(Dataset(ml.session, inner).current_version))
    assert len(members["Image"]) == 6


def test_only_datasets_that_came_from_elsewhere_get_one(clone: tuple[DerivaML, str, str]) -> None:
    ml, inner, outer = clone
    (execution,) = ml.session.catalog.insert("deriva-ml", "Execution", [{"Description": "here"}])
    own = Dataset.create_dataset(ml.session, str(execution["RID"]))
    assert {one.dataset_rid for one in reinitialize_dataset_versions(ml)} == {inner, outer}
    assert len(own.dataset_history()) == 1


def test_a_moment_of_an_older_catalog_that_lacks_the_dataset_is_refused(small: Project) -> None:
    dataset = small.dataset(small.images)
    catalog = small.session.catalog
    early = str(catalog.get("/history/,")["snaprange"][0])
    rows = catalog.attributes(table("deriva-ml", "Dataset_Version"), "RID")
    for moment in (early, "no moment"):
        catalog.update("deriva-ml", "Dataset_Version", [{**row, "Snapshot": moment} for row in rows])
        with pytest.raises(DerivaMLNotFoundError, match=r"not in this catalog's past"):
            dataset.list_dataset_members(version="0.2.0")
    assert [one.dataset_rid for one in reinitialize_dataset_versions(small.session)] == [dataset.dataset_rid]
    assert len(dataset.list_dataset_members(version="0.2.1")["Image"]) == 10


def test_a_snapshot_gets_no_versions(clone: tuple[DerivaML, str, str]) -> None:
    ml, _, _ = clone
    past = ml.session.snapshot(ml.session.catalog.latest_snaptime())
    with pytest.raises(DerivaMLReadOnlyError):
        reinitialize_dataset_versions(past)


def test_one_command_makes_them(clone: tuple[DerivaML, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    from deriva_ml.cli.catalog import main

    ml, inner, outer = clone
    place = ["--host", str(ml.session.place.root), "--catalog", "clone"]
    assert main(["renew-versions", *place, "--from", "nowhere"]) == 2
    assert "data.example.org#7" in capsys.readouterr().err
    assert main(["renew-versions", *place, "--from", "data.example.org#7", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {one["dataset"] for one in shown} == {inner, outer}
    assert main(["renew-versions", *place]) == 0
    assert "can be shown" in capsys.readouterr().out
    with closing(DerivaML(str(ml.session.place.root), "clone")) as again:
        found = again.catalog_provenance
        assert found is not None
        assert found.is_clone
        assert found.clone_details is not None
        assert found.clone_details.source_catalog_id == "7"
    assert len(list(ml.download_dataset_bag(_spec(ml, outer)).get_table_as_dict("Image"))) == 6
