"""The files that a bag lacks: fetched later, wherever it lies, by us or by ``bdbag`` alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.dataset.distant import distant, is_object
from tests.dataset.project import Project, content
from tests.serving import served

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException, DerivaMLUnreachable
from deriva_ml.dataset import BagProgress, DatasetBag
from deriva_ml.ml import DerivaML


def _images(bag: DatasetBag) -> list[bytes]:
    return sorted(Path(str(row["Filename"])).read_bytes() for row in bag.list_dataset_members()["Image"])


def _bdbag(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    home = folder / "home of bdbag"
    home.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).with_name("bdbag")), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "HOME": str(home)}, check=False, timeout=120
    )


EXPECTED = sorted(content(number) for number in range(10))


def test_a_bag_of_the_cache_gets_its_files(small: Project) -> None:
    dataset = small.dataset(small.images)
    bag = dataset.download_dataset_bag("0.2.0", materialize=False)
    bare, seen = bag.path, []
    assert bag.materialize(fetch_concurrency=2, progress=seen.append) is bag
    assert bag.is_materialized
    assert _images(bag) == EXPECTED
    assert bag.path == dataset.download_dataset_bag("0.2.0").path != bare
    assert isinstance(seen[-1], BagProgress)
    assert seen[-1].files_done == 10
    seen.clear()
    bag.materialize(progress=seen.append)
    assert seen == []


def test_a_bag_elsewhere_finds_the_folder_by_its_identity(
    small: Project, catalog_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bag = small.dataset(small.images).download_dataset_bag("0.2.0", materialize=False)
    monkeypatch.setenv("DERIVA_ML_LOCAL", str(tmp_path / "nothing"))
    copied = tmp_path / "usb" / bag.path.name
    shutil.copytree(bag.path, copied)
    away = catalog_root.rename(tmp_path / "away")
    with pytest.raises(DerivaMLConfigurationError, match=f"(?s)in the folder {small.session.identity}.*no folder"):
        DatasetBag.open(copied).materialize()
    assert not (copied / "data/asset").exists()
    away.rename(catalog_root)
    assert _images(DatasetBag.open(copied).materialize()) == EXPECTED


def test_bdbag_alone_validates_and_materializes_a_bag_with_files(small: Project, tmp_path: Path) -> None:
    bag = small.dataset(small.images).download_dataset_bag("0.2.0")
    copied = tmp_path / bag.path.name
    shutil.copytree(bag.path, copied)
    for words in (["--validate", "full"], ["--validate", "completeness"], ["--materialize"]):
        done = _bdbag(tmp_path, *words, copied)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def bare(small: Project, catalog_root: Path, tmp_path: Path) -> object:
    """A bag without files, from the folder as it is served; its address, token and directory."""
    dataset = small.dataset(small.images)
    with served(catalog_root) as server:
        token = server.token
        with DerivaML(server.url, 1, credential={"bearer-token": token}, cache_dir=tmp_path / "far") as ml:
            bag = ml.lookup_dataset(dataset.dataset_rid).download_dataset_bag("0.2.0", materialize=False)
            copied = tmp_path / "usb" / bag.path.name
            shutil.copytree(bag.path, copied, copy_function=shutil.copyfile)
        yield server.url, token, copied


def test_bdbag_alone_fetches_from_a_served_folder(bare: tuple[str, str, Path], tmp_path: Path) -> None:
    url, token, bag = bare
    keychain = tmp_path / "keychain.json"
    entry = {"uri": f"{url}/", "auth_type": "bearer-token", "auth_params": {"token": token, "allow_redirects": "True"}}
    keychain.write_text(json.dumps([entry]))
    done = _bdbag(tmp_path, "--materialize", "--keychain-file", keychain, bag)
    assert done.returncode == 0, done.stderr
    assert _images(DatasetBag.open(bag)) == EXPECTED
    whole = {path.relative_to(bag) for path in bag.rglob("*") if path.is_file()}
    assert len([path for path in whole if path.parts[:2] == ("data", "asset")]) == 10


def test_a_bag_elsewhere_fetches_from_the_address_in_it(
    bare: tuple[str, str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, token, path = bare
    monkeypatch.setenv("DERIVA_ML_TOKEN", token)
    bag = DatasetBag.open(path)
    assert not bag.is_materialized
    bag.materialize()
    assert bag.path == path
    assert bag.is_materialized
    assert _images(bag) == EXPECTED
    assert not (path / "fetch.txt").exists()
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []
    assert _bdbag(tmp_path, "--validate", "full", path).returncode == 0
    assert url not in (path / "bag-info.txt").read_text()


def test_bags_of_a_folder_and_of_the_same_folder_served_are_the_same(
    small: Project, catalog_root: Path, tmp_path: Path
) -> None:
    dataset = small.dataset(small.images)
    here = dataset.download_dataset_bag("0.2.0").path
    with served(catalog_root) as server:
        credential = {"bearer-token": server.token}
        with DerivaML(server.url, 1, credential=credential, cache_dir=tmp_path / "far") as ml:
            there = ml.lookup_dataset(dataset.dataset_rid).download_dataset_bag("0.2.0").path
            one, other = (
                {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
                for root in (here, there)
            )
    assert one == other


def test_a_connection_that_breaks_is_taken_up_at_the_byte_reached(small: Project, tmp_path: Path) -> None:
    dataset = small.dataset(small.images)
    length = len(content(0))
    far, failing = distant(
        small.session,
        tmp_path / "cache",
        break_after=lambda request, _n: length // 2 if is_object(request) and "range" not in request.headers else None,
    )
    seen: list[BagProgress] = []
    bag = type(dataset)(far, dataset.dataset_rid).download_dataset_bag("0.2.0", progress=seen.append)
    assert _images(bag) == EXPECTED
    assert len([target for _method, target in failing.requests if target.startswith("/hatrac/")]) == 20
    assert seen[-1].bytes_done == seen[-1].bytes_total == sum(map(len, EXPECTED))
    assert seen[-1].seconds_left == 0
    assert seen[-1].rate > 0


def test_a_download_that_cannot_end_leaves_no_bag_and_the_next_succeeds(small: Project, tmp_path: Path) -> None:
    dataset = small.dataset(small.images)
    bare = dataset.download_dataset_bag("0.2.0", materialize=False)
    far, failing = distant(small.session, tmp_path / "cache", attempts=2, lose=lambda request, _n: is_object(request))
    bag = type(dataset)(far, dataset.dataset_rid).download_dataset_bag("0.2.0", materialize=False)
    before = bag.path
    with pytest.raises(DerivaMLUnreachable):
        bag.materialize()
    assert bag.path == before
    assert not bag.is_materialized
    assert not (before / "data/asset").exists()
    failing._lose = lambda _request, _number: False
    assert _images(bag.materialize()) == EXPECTED
    assert (before / "fetch.txt").read_bytes() == (bare.path / "fetch.txt").read_bytes()


def test_a_served_folder_that_dies_is_an_error_and_the_next_attempt_succeeds(
    small: Project, catalog_root: Path, tmp_path: Path
) -> None:
    dataset = small.dataset(small.images)
    with (
        served(catalog_root) as server,
        DerivaML(server.url, 1, credential={"bearer-token": server.token}, cache_dir=tmp_path / "far") as ml,
    ):
        bag = ml.lookup_dataset(dataset.dataset_rid).download_dataset_bag("0.2.0", materialize=False)
    bag._database.objects = None  # what a later process knows of it
    with pytest.raises(DerivaMLException):
        bag.materialize()
    assert not (bag.path / "data/asset").exists()
    assert dataset.download_dataset_bag("0.2.0").is_materialized


_FULL = """
import resource, sys
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.dataset import DatasetSpec, download_dataset_bag
from deriva_ml.ml import DerivaML

root, cache, rid, limit = sys.argv[1:]
with DerivaML(root, 1, cache_dir=cache) as ml:
    ml.lookup_dataset(rid)
    # the limit on a file's size stands for the full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        download_dataset_bag(ml, DatasetSpec(rid=rid, version="0.2.0"))
    except DerivaMLException as error:
        print(type(error).__name__, error)
    else:
        raise SystemExit("nothing was raised")
"""


@pytest.mark.parametrize("limit", [200, 2000, 60_000])
def test_a_full_disk_leaves_nothing_and_the_next_attempt_succeeds(
    small: Project, catalog_root: Path, tmp_path: Path, limit: int
) -> None:
    dataset = small.dataset(small.images)
    cache = tmp_path / "small disk"
    words = [str(catalog_root), str(cache), dataset.dataset_rid, str(limit)]
    command = [sys.executable, "-W", "error", "-c", _FULL, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Cannot keep" in done.stdout
    assert list(cache.rglob("Dataset_*")) == []
    with DerivaML(str(catalog_root), 1, cache_dir=cache) as ml:
        assert _images(ml.lookup_dataset(dataset.dataset_rid).download_dataset_bag("0.2.0")) == EXPECTED
