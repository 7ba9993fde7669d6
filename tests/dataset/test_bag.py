"""Bags: what is in them, that they are whole, the same everywhere, and found again."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataset.project import DEMO, Project, content

from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLDatasetNotFound,
    DerivaMLException,
    DerivaMLTableNotFound,
    DerivaMLVersionNotFound,
)
from deriva_ml.dataset import BagProgress, Dataset, DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document


def _spec(dataset: Dataset, version: str = "0.2.0", **more: object) -> DatasetSpec:
    return DatasetSpec(rid=dataset.dataset_rid, version=version, **more)  # type: ignore[arg-type]


def _rids(bag: DatasetBag, table: str) -> list[str]:
    return [str(row["RID"]) for row in bag.get_table_as_dict(table)]


def _files(bag: DatasetBag) -> dict[str, bytes]:
    return {path.relative_to(bag.path).as_posix(): path.read_bytes() for path in _paths(bag.path)}


def _paths(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


def _validate(bag: DatasetBag, settings_file: Path) -> None:
    from bdbag import bdbag_api

    bdbag_api.validate_bag(str(bag.path), config_file=str(settings_file / "bdbag.json"))


# ---------------------------------------------------------------------------------------------- contents


def test_a_bag_holds_the_members_what_they_refer_to_their_features_and_the_vocabularies(project: Project) -> None:
    chosen = project.images[::2]
    dataset = project.dataset(chosen)
    bag = download_dataset_bag(project.session, _spec(dataset))
    assert _rids(bag, "Image") == sorted(chosen)
    assert _rids(bag, "Subject") == sorted(project.subjects)
    assert len(_rids(bag, "Execution_Image_Quality")) == len(chosen)
    assert _rids(bag, "Execution") == [project.execution]
    assert {str(row["Name"]) for row in bag.get_table_as_dict("Grade")} == {"good", "bad"}
    assert len(_rids(bag, "Dataset_Type")) == 8
    assert bag.list_tables() == sorted(
        [
            "Asset_Role",
            "Asset_Type",
            "Dataset",
            "Dataset_Execution",
            "Dataset_Image",
            "Dataset_Type",
            "Dataset_Version",
            "Execution",
            "Execution_Image_Quality",
            "Feature_Name",
            "Grade",
            "Image",
            "Image_Execution",
            "Subject",
            "Workflow_Type",
        ]
    )


def test_a_subject_brings_its_images_but_not_their_other_datasets(small: Project) -> None:
    other = small.dataset(small.images)
    dataset = small.dataset(small.subjects[:2])
    bag = download_dataset_bag(small.session, _spec(dataset))
    assert _rids(bag, "Image") == sorted(small.images[:4])
    assert _rids(bag, "Dataset") == [dataset.dataset_rid]
    assert _rids(bag, "Dataset_Image") == []
    versions = csv.reader((bag.path / "data/deriva-ml/Dataset_Version.csv").read_text().splitlines())
    assert other.dataset_rid not in {value for row in versions for value in row}


def test_one_execution_does_not_bring_all_that_it_made(small: Project) -> None:
    dataset = small.dataset(small.images[:1])
    bag = download_dataset_bag(small.session, _spec(dataset))
    assert _rids(bag, "Image_Execution") != []
    assert _rids(bag, "Image") == small.images[:1]
    assert len(list((bag.path / "data/asset").iterdir())) == 1


def test_a_bag_of_a_version_does_not_show_what_came_later(small: Project) -> None:
    dataset = small.dataset(small.images[:4])
    dataset.add_dataset_members(small.images[4:])
    small.session.catalog.update("demo-schema", "Subject", [{"RID": small.subjects[0], "Name": "renamed"}])
    old = download_dataset_bag(small.session, _spec(dataset, "0.2.0"))
    new = download_dataset_bag(small.session, _spec(dataset, "0.3.0"))
    assert (len(_rids(old, "Image")), len(_rids(new, "Image"))) == (4, 10)
    assert (str(old.current_version), str(new.current_version)) == ("0.2.0", "0.3.0")
    assert "subject 0" in {row["Name"] for row in old.get_table_as_dict("Subject")}
    assert len(list((old.path / "data/asset").iterdir())) == 4


def test_nested_datasets_are_in_the_bag_with_their_members(project: Project) -> None:
    images = project.images
    inner = project.dataset(images[: len(images) // 2], description="inner")
    outer = project.dataset([inner.dataset_rid, *images[len(images) // 2 :]], description="outer")
    bag = download_dataset_bag(project.session, _spec(outer, materialize=False))
    (child,) = bag.list_dataset_children()
    assert (child.dataset_rid, child.description) == (inner.dataset_rid, "inner")
    assert child.list_dataset_parents() == [bag]
    assert [row["RID"] for row in bag.list_dataset_members(recurse=True)["Image"]] == sorted(images)
    assert [row["RID"] for row in child.list_dataset_members()["Image"]] == sorted(images[: len(images) // 2])
    for recurse in (False, True):
        assert bag.list_dataset_members(recurse=recurse) == outer.list_dataset_members(recurse, version="0.2.0")


def test_excluded_tables_are_left_out_with_what_they_lead_to(small: Project) -> None:
    dataset = small.dataset(small.images)
    bag = download_dataset_bag(small.session, _spec(dataset, exclude_tables={"Subject", "Execution_Image_Quality"}))
    assert _rids(bag, "Subject") == _rids(bag, "Execution_Image_Quality") == []
    assert len(_rids(bag, "Image")) == 10
    with pytest.raises(DerivaMLTableNotFound, match="Subject"):
        download_dataset_bag(small.session, _spec(dataset, exclude_tables={"Subjct"}))


def test_a_project_that_leaves_a_schema_out_has_bags_of_its_own(small: Project) -> None:
    session = small.session
    session.catalog.create_schema("other schema", "Another project's.")
    definition = TableDef("Note", [ColumnDef("Image")], (), [ForeignKeyDef(["Image"], DEMO, "Image")])
    session.catalog.create_table("other schema", table_document("other schema", definition))
    session.catalog.insert("other schema", "Note", [{"Image": small.images[0]}])
    dataset = small.dataset(small.images)
    wide = replace(session, domain_schemas=session.domain_schemas | {"other schema"})
    assert "Note" not in download_dataset_bag(session, _spec(dataset, materialize=False)).list_tables()
    bag = download_dataset_bag(wide, _spec(dataset, materialize=False))
    assert "Note" in bag.list_tables()
    assert len(_rids(bag, "other schema:Note")) == 1
    before = _files(bag)
    shutil.rmtree(session.cache_dir)
    session.catalog.create_schema("later", "Made after the version.")
    wider = replace(wide, domain_schemas=wide.domain_schemas | {"later"})
    assert _files(download_dataset_bag(wider, _spec(dataset, materialize=False))) == before


def test_an_empty_dataset_has_a_bag(small: Project, tmp_path: Path) -> None:
    bag = download_dataset_bag(small.session, _spec(small.dataset([]), "0.1.0"))
    _validate(bag, tmp_path)
    assert all(rows == [] for rows in bag.list_dataset_members().values())


# ---------------------------------------------------------------------------------------------- wholeness


def test_bdbag_validates_the_bag_with_its_files(project: Project, tmp_path: Path) -> None:
    dataset = project.dataset(project.images)
    bag = download_dataset_bag(project.session, _spec(dataset))
    assert bag.is_materialized
    _validate(bag, tmp_path)
    for row in bag.list_dataset_members()["Image"]:
        assert Path(str(row["Filename"])).read_bytes() == content(project.images.index(str(row["RID"])))


def test_bdbag_accepts_the_structure_of_the_bag_without_its_files(project: Project, tmp_path: Path) -> None:
    from bdbag import bdbag_api

    dataset = project.dataset(project.images)
    bag = download_dataset_bag(project.session, _spec(dataset, materialize=False))
    assert not bag.is_materialized
    opened = bdbag_api.bdbagit.BDBag(str(bag.path))
    opened._validate_structure()
    opened._validate_bagittxt()
    opened._validate_fetch()
    opened._validate_completeness()
    assert len(list(opened.fetch_entries())) == len(project.images)
    assert str(bag.list_dataset_members()["Image"][0]["Filename"]).startswith("image ")
    bdbag_api.validate_bag_structure(str(bag.path))


def test_the_files_listed_are_exactly_those_of_the_rows(project: Project, tmp_path: Path) -> None:
    dataset = project.dataset(project.images[::2])
    bag = download_dataset_bag(project.session, _spec(dataset))
    bare = download_dataset_bag(replace(project.session, cache_dir=tmp_path), _spec(dataset, materialize=False))
    listed = (bare.path / "fetch.txt").read_text().splitlines()
    assert len(listed) == len(_rids(bag, "Image")) == len(list((bag.path / "data/asset").iterdir()))
    assert not (bag.path / "fetch.txt").exists()
    with (bag.path / "data/demo-schema/Image.csv").open(newline="") as lines:
        assert [row["RID"] for row in csv.DictReader(lines)] == _rids(bag, "Image")


def test_a_missing_object_leaves_no_bag_and_the_next_attempt_succeeds(small: Project, catalog_root: Path) -> None:
    dataset = small.dataset(small.images)
    digest = hashlib.sha256(content(3)).hexdigest()
    (stored,) = (path for path in (catalog_root / "objects").rglob(f"{digest}*") if path.is_file())
    hidden = stored.with_name("hidden")
    stored.rename(hidden)
    with pytest.raises(DerivaMLException, match=r"image 3, 50%\.png"):
        download_dataset_bag(small.session, _spec(dataset))
    assert list(small.session.cache_dir.rglob("Dataset_*")) == []
    hidden.rename(stored)
    assert download_dataset_bag(small.session, _spec(dataset)).is_materialized


def test_an_object_that_is_cut_off_is_named_and_the_next_attempt_succeeds(small: Project) -> None:
    dataset = small.dataset(small.images)
    stored = small.session.objects.local_path("/hatrac/Image/3.png")
    assert stored is not None
    whole = stored.read_bytes()
    stored.chmod(0o600)
    stored.write_bytes(whole[:20])
    with pytest.raises(DerivaMLException, match=r"(?s)could not be fetched: \w+/Image/image 3.*20 of 320 bytes"):
        download_dataset_bag(small.session, _spec(dataset))
    assert list(small.session.cache_dir.rglob("Dataset_*")) == []
    stored.write_bytes(whole)
    assert download_dataset_bag(small.session, _spec(dataset)).is_materialized


def test_a_wrong_md5_in_the_catalog_is_an_error_that_names_the_file(small: Project) -> None:
    small.session.catalog.update("demo-schema", "Image", [{"RID": small.images[2], "MD5": "0" * 32}])
    dataset = small.dataset(small.images)
    with pytest.raises(DerivaMLException, match="image 2"):
        download_dataset_bag(small.session, _spec(dataset))
    assert list(small.session.cache_dir.rglob("Dataset_*")) == []


@pytest.mark.parametrize("name", ["data/demo-schema/Image.csv", "manifest-md5.txt", "tables.db"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_file_of_the_cache_is_repaired(small: Project, tmp_path: Path, name: str, damage: str) -> None:
    dataset = small.dataset(small.images)
    bag = download_dataset_bag(small.session, _spec(dataset))
    before = _files(bag)
    _damage(bag.path.parent / name if name == "tables.db" else bag.path / name, damage)
    again = download_dataset_bag(small.session, _spec(dataset))
    assert _files(again) == before
    assert len(again.list_dataset_members()["Image"]) == 10
    _validate(again, tmp_path)


def test_a_damaged_asset_and_a_foreign_file_are_repaired(small: Project, tmp_path: Path) -> None:
    dataset = small.dataset(small.images)
    bag = download_dataset_bag(small.session, _spec(dataset))
    before = _files(bag)
    _damage(Path(str(bag.list_dataset_members()["Image"][4]["Filename"])), "changed")
    (bag.path / "data/asset/foreign.txt").write_text("what is this?")
    again = download_dataset_bag(small.session, _spec(dataset))
    assert _files(again) == before
    _validate(again, tmp_path)


def _damage(path: Path, how: str) -> None:
    content_ = path.read_bytes()
    path.unlink()  # a file of its own: the bag's may be the object store's too
    if how == "changed":
        path.write_bytes(bytes([content_[0] ^ 1]) + content_[1:])


# ---------------------------------------------------------------------------------------------- reproducible, cached


@pytest.mark.parametrize("materialize", [True, False])
def test_two_folders_of_one_backup_give_the_same_bytes(
    small: Project, catalog_root: Path, tmp_path: Path, materialize: bool
) -> None:
    dataset = small.dataset([*small.images, *small.subjects])
    bags = []
    for name in ("one", "other"):
        copy = tmp_path / name
        shutil.copytree(catalog_root, copy)
        with open_connection(str(copy)) as connection:
            session = _session(small.session, connection, tmp_path / f"{name} cache")
            files = _files(download_dataset_bag(session, _spec(dataset, materialize=materialize)))
            # That list alone, which no manifest has, tells which folder it is.
            listed = files.pop("fetch.txt", b"")
            assert listed.count(f"deriva-ml://{connection.identity}/".encode()) == len(listed.splitlines())
            bags.append({**files, "fetch.txt": listed.replace(connection.identity.encode(), b"")})
    assert bags[0] == bags[1]
    assert len(bags[0]) > 20


def test_the_bag_with_files_has_the_same_manifests_as_that_without(small: Project) -> None:
    dataset = small.dataset(small.images)
    bare = _files(download_dataset_bag(small.session, _spec(dataset, materialize=False)))
    whole = _files(download_dataset_bag(small.session, _spec(dataset)))
    assert {name: data for name, data in whole.items() if not name.startswith("data/asset/")} == {
        name: data for name, data in bare.items() if name != "fetch.txt"
    }


def _session(session: Session, connection: Connection, cache: Path) -> Session:
    return replace(
        session,
        catalog=connection.catalog(session.catalog_id),
        objects=connection.objects(),
        place=connection.place,
        identity=connection.identity,
        cache_dir=cache,
    )


def test_writing_into_a_file_of_the_cache_leaves_the_catalog_whole(small: Project, catalog_root: Path) -> None:
    bag = download_dataset_bag(small.session, _spec(small.dataset(small.images)))
    digest = hashlib.sha256(content(0)).hexdigest()
    (stored,) = (path for path in (catalog_root / "objects").rglob(f"{digest}*") if path.is_file())
    files = [Path(str(row["Filename"])) for row in bag.list_dataset_members()["Image"]]
    assert stored.stat().st_ino not in {path.stat().st_ino for path in files}
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)


def test_two_versions_store_what_they_share_once(small: Project) -> None:
    dataset = small.dataset(small.images[:6])
    dataset.add_dataset_members(small.images[6:])
    bags = [download_dataset_bag(small.session, _spec(dataset, version)) for version in ("0.2.0", "0.3.0")]
    one, other = ({path.stat().st_ino for path in (bag.path / "data").rglob("*") if path.is_file()} for bag in bags)
    files = {path.stat().st_ino for path in (bags[0].path / "data/asset").rglob("*") if path.is_file()}
    assert files <= one & other
    assert len(files) == 6
    vocabulary = "data/deriva-ml/Asset_Type.csv"
    assert (bags[0].path / vocabulary).samefile(bags[1].path / vocabulary)


def test_a_bag_with_files_serves_a_request_for_one_without(small: Project) -> None:
    dataset = small.dataset(small.images)
    whole = download_dataset_bag(small.session, _spec(dataset))
    bare = download_dataset_bag(small.session, _spec(dataset, materialize=False))
    assert bare.path == whole.path


_DOWNLOAD = """
import sys
from deriva_ml.dataset import DatasetSpec, download_dataset_bag
from deriva_ml.ml import DerivaML

root, cache, rid = sys.argv[1:]
with DerivaML(root, 1, cache_dir=cache) as ml:
    bag = download_dataset_bag(ml, DatasetSpec(rid=rid, version="0.2.0"))
    print(bag.path, len(bag.list_dataset_members()["Image"]))
"""


def test_two_processes_that_want_one_bag_get_the_same(small: Project, catalog_root: Path) -> None:
    dataset = small.dataset(small.images)
    cache = small.session.cache_dir
    command = [sys.executable, "-W", "error", "-c", _DOWNLOAD, str(catalog_root), str(cache), dataset.dataset_rid]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, other = (process.communicate(timeout=60)[0] for process in running)
    assert one == other
    assert one.endswith(" 10\n")
    assert len(list(cache.glob(f"{dataset.dataset_rid}_*"))) == 1


def test_progress_ends_with_all_files_and_bytes(project: Project) -> None:
    seen: list[BagProgress] = []
    dataset = project.dataset(project.images)
    download_dataset_bag(project.session, _spec(dataset), progress=seen.append)
    total = sum(len(content(n)) for n in range(len(project.images)))
    assert seen[-1] == BagProgress(len(project.images), len(project.images), total, total)
    assert [each.files_done for each in seen] == sorted(each.files_done for each in seen)
    seen.clear()
    download_dataset_bag(project.session, _spec(dataset), progress=seen.append)
    assert seen == []


# ---------------------------------------------------------------------------------------------- errors


def test_what_cannot_be_downloaded_is_told_apart(small: Project) -> None:
    dataset = small.dataset([])
    with pytest.raises(DerivaMLVersionNotFound, match=r"0\.1\.0") as unknown:
        download_dataset_bag(small.session, _spec(dataset, "7.0.0"), source="configs/datasets.py")
    assert unknown.value.source == "configs/datasets.py"
    with pytest.raises(DerivaMLDatasetNotFound, match="demo-schema:Image"):
        download_dataset_bag(small.session, DatasetSpec(rid=small.images[0], version="0.1.0"))  # type: ignore[arg-type]


def test_a_bag_opens_where_it_was_copied_to_without_a_catalog(small: Project, tmp_path: Path) -> None:
    bag = download_dataset_bag(small.session, _spec(small.dataset(small.images)))
    copied = tmp_path / "usb stick" / bag.path.name
    shutil.copytree(bag.path, copied)
    opened = DatasetBag.open(copied)
    assert opened.dataset_rid == bag.dataset_rid
    assert os.fspath(copied) in str(opened.list_dataset_members()["Image"][0]["Filename"])
    assert (copied.parent / f"{copied.name}.db").exists()
