"""A bag that the public deriva-ml made is found by its MINID, verified, and read as any other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.dataset import foreign
from tests.dataset.project import DEMO, ML, Project, content, make_project
from tests.serving import served

from deriva_ml.catalog.sharing import grant
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLValidationError,
)
from deriva_ml.dataset import Dataset, DatasetBag, fetch_minid, open_minid
from deriva_ml.dataset.foreign_bag import ForeignBag
from deriva_ml.schema.session import Session
from deriva_ml.server.users import users_of

IMAGES = 5


@pytest.fixture
def lab(domain: Session) -> Project:
    return make_project(domain, IMAGES)


@pytest.fixture
def dataset(lab: Project) -> Dataset:
    return lab.dataset(lab.images[:4], dataset_types=["Training"])


@pytest.fixture
def services() -> Iterator[foreign.Services]:
    with foreign.services() as made:
        yield made


def snapshot_of(dataset: Dataset) -> str:
    return str(dataset.dataset_history()[-1].snapshot)


def published(
    services: foreign.Services, lab: Project, dataset: Dataset, tmp_path: Path, *, kind: str = "zip", **changes: Any
) -> str:
    snapshot = snapshot_of(dataset)
    bag = foreign.write_bag(lab, dataset.dataset_rid, snapshot, tmp_path / "theirs", files=4)
    return foreign.publish(services, dataset.dataset_rid, snapshot, foreign.pack(bag, kind), **changes)


def same(bag: DatasetBag, ours: DatasetBag) -> None:
    for name in ("Dataset", "Dataset_Version", "Dataset_Image", "Image", "Subject", "Execution_Image_Quality", "Grade"):
        theirs, mine = list(bag.get_table_as_dict(name)), list(ours.get_table_as_dict(name))
        for row in (*theirs, *mine):
            row.pop("Filename", None)
        assert theirs == mine, name
        assert theirs, name


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_the_bag_of_a_minid_reads_as_our_own_of_the_version(
    lab: Project, dataset: Dataset, services: foreign.Services, tmp_path: Path, kind: str
) -> None:
    published(services, lab, dataset, tmp_path, kind=kind)
    minid = fetch_minid("minid:abc", dataset.current_version, resolver=f"{services.url}/")
    assert (minid.dataset_rid, minid.dataset_snapshot) == (dataset.dataset_rid, snapshot_of(dataset))
    bag = open_minid(minid, tmp_path / "kept")
    assert bag.dataset_rid == dataset.dataset_rid
    same(bag, dataset.download_dataset_bag(dataset.current_version))
    assert bag.current_version == dataset.current_version
    assert {row["RID"] for row in bag.list_dataset_members()["Image"]} == set(lab.images[:4])
    for row in bag.get_table_as_dict("Image"):
        assert Path(row["Filename"]).read_bytes() == content(lab.images.index(row["RID"]))
    assert len(list(bag.feature_values("Image", "Quality"))) == 4
    fetched = len(services.seen)
    assert open_minid(minid, tmp_path / "kept").path == bag.path
    assert len(services.seen) == fetched
    assert not any("authorization" in each or "cookie" in each for each in services.seen)


def test_a_version_with_a_recorded_minid_is_read_from_there(
    lab: Project, dataset: Dataset, services: foreign.Services, tmp_path: Path
) -> None:
    version = dataset.current_version
    with pytest.raises(DerivaMLConfigurationError, match="No MINID is recorded"):
        dataset.download_dataset_bag(version, use_minid=True)
    url = published(services, lab, dataset, tmp_path)
    row = dataset.dataset_history()[-1].version_rid
    lab.session.catalog.update(ML, "Dataset_Version", [{"RID": row, "Minid": url, "Minid_Spec_Hash": "0" * 64}])
    bag = dataset.download_dataset_bag(version, use_minid=True)
    assert {each["RID"] for each in bag.get_table_as_dict("Image")} == set(lab.images[:4])
    assert "/store/bag" in {each["path"] for each in services.seen}
    with pytest.raises(DerivaMLConfigurationError, match="as it was exported"):
        dataset.download_dataset_bag(version, use_minid=True, exclude_tables={"Subject"})
    services.pages["/minid:abc"]["metadata"]["RID"] = "1-AAAA@2SX"
    with pytest.raises(DerivaMLValidationError, match="stands for 1-AAAA@2SX"):
        dataset.download_dataset_bag(version, use_minid=True)


def test_files_that_the_archive_lacks_are_fetched_from_where_it_says(
    lab: Project, dataset: Dataset, services: foreign.Services, catalog_root: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    users = users_of(catalog_root)
    users.add("ann")
    users.close()
    monkeypatch.setenv("DERIVA_ML_TOKEN", "a-token-for-another-host")
    snapshot = snapshot_of(dataset)
    with served(catalog_root) as server:
        bag = foreign.write_bag(lab, dataset.dataset_rid, snapshot, tmp_path / "t", files=1, base=server.url)
        foreign.publish(services, dataset.dataset_rid, snapshot, foreign.pack(bag, "zip"))
        minid = fetch_minid(f"{services.url}/minid:abc", "0.2.0")
        opened = open_minid(minid, tmp_path / "kept")
        there = [Path(row["Filename"]).is_absolute() for row in opened.get_table_as_dict("Image")]
        assert there.count(True) == 1
        grant(lab.session.catalog.transport, "1", "*", "reader")
        # Whoever is not known may read: the token of the environment would be refused, and is not shown.
        opened.materialize()
        for row in opened.get_table_as_dict("Image"):
            assert Path(row["Filename"]).read_bytes() == content(lab.images.index(row["RID"]))
        again = open_minid(minid, tmp_path / "kept", materialize=True)
        assert all(Path(row["Filename"]).exists() for row in again.get_table_as_dict("Image"))


def test_what_is_not_what_the_page_says_is_refused_and_nothing_is_kept(
    lab: Project, dataset: Dataset, services: foreign.Services, tmp_path: Path
) -> None:
    url = published(services, lab, dataset, tmp_path)
    minid = fetch_minid(url, "0.2.0")
    services.pages["/store/bag"] = services.pages["/store/bag"][:-1] + b"x"
    with pytest.raises(DerivaMLValidationError, match="SHA-256"):
        open_minid(minid, tmp_path / "kept")
    without = fetch_minid(published(services, lab, dataset, tmp_path / "b", checksums=[]), "0.2.0")
    with pytest.raises(DerivaMLDataError, match="no SHA-256"):
        open_minid(without, tmp_path / "kept")
    other = published(services, lab, dataset, tmp_path / "c", metadata={"RID": "1-AAAA@2SX-AAAA-AAAA"})
    with pytest.raises(DerivaMLValidationError, match="stands for dataset 1-AAAA"):
        open_minid(fetch_minid(other, "0.2.0"), tmp_path / "kept")
    services.pages["/store/bag"] = None
    with pytest.raises(DerivaMLCatalogError, match="404"):
        open_minid(fetch_minid(other, "0.2.0"), tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("[0-9A-Za-z]*"))


def test_a_page_that_is_no_bag_s_says_what_it_lacks(services: foreign.Services) -> None:
    services.pages |= {"/a": {"identifier": "x"}, "/b": b"<html>", "/c": ["list"]}
    with pytest.raises(DerivaMLDataError, match="compact_uri, location, RID"):
        fetch_minid(f"{services.url}/a", "1.0.0")
    with pytest.raises(DerivaMLDataError, match="no JSON document"):
        fetch_minid(f"{services.url}/b", "1.0.0")
    with pytest.raises(DerivaMLDataError, match="no JSON object"):
        fetch_minid(f"{services.url}/c", "1.0.0")
    with pytest.raises(DerivaMLDataError, match="Not a MINID"):
        fetch_minid("abc", "1.0.0")
    with pytest.raises(DerivaMLDataError, match="Not an address that can be fetched"):
        fetch_minid("file://host/etc/passwd", "1.0.0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("data/Grade.csv", "not what its manifest says"),
        ("-data/Grade.csv", "lacks data/Grade.csv"),
        ("-data/schema.json", "no model"),
        ("-manifest-md5.txt", "no manifest"),
        ("+data/Strange.csv", "no tables Strange"),
        ("+data/Subject.csv", "no tables Subject"),
    ],
)
def test_a_bag_that_is_not_whole_is_refused(
    lab: Project, dataset: Dataset, tmp_path: Path, damage: str, said: str
) -> None:
    snapshot = snapshot_of(dataset)
    bag = foreign.write_bag(lab, dataset.dataset_rid, snapshot, tmp_path / "t", files=4)
    path = bag / damage.lstrip("+-")
    if damage.startswith("-"):
        path.unlink()
    else:
        path.write_text("RID,No_Such\n1,2\n")
    with pytest.raises(DerivaMLDataError, match=said):
        ForeignBag(bag).write(tmp_path / "ours", dataset.dataset_rid, snapshot, {})


def test_tables_of_one_name_are_told_apart_by_their_columns(lab: Project, dataset: Dataset, tmp_path: Path) -> None:
    from deriva_ml.core.ermrest import ColumnDef, TableDef
    from deriva_ml.schema.tables import table_document

    catalog = lab.session.catalog
    catalog.create_schema("other")
    catalog.create_table("other", table_document("other", TableDef("Subject", [ColumnDef("Colour")])))
    snapshot = catalog.latest_snaptime()
    bag = foreign.write_bag(lab, dataset.dataset_rid, snapshot, tmp_path / "t", files=4)
    written = ForeignBag(bag).write(tmp_path / "ours", dataset.dataset_rid, snapshot, {})
    assert f"data/{DEMO}/Subject.csv" in written
    assert "data/other/Subject.csv" not in written
    shutil.rmtree(tmp_path / "ours")
    (bag / "data" / "Subject.csv").write_text("RID\n1\n")
    foreign.seal(bag, {})
    with pytest.raises(DerivaMLDataError, match="2 tables Subject"):
        ForeignBag(bag).write(tmp_path / "ours", dataset.dataset_rid, snapshot, {})
