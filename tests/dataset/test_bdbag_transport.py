"""The command ``bdbag`` alone materialises bags of a folder, wherever the folder is by then."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.dataset.project import Project, content
from tests.serving import served

from deriva_ml.dataset import DatasetBag
from deriva_ml.ml import DerivaML
from deriva_ml.server.backup import back_up
from deriva_ml.server.restore import restore

EXPECTED = sorted(content(number) for number in range(10))


class Machine:
    """A user's home on some machine, with the commands in it."""

    def __init__(self, home: Path, local: Path) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        self._environ = {**os.environ, "HOME": str(home), "DERIVA_ML_LOCAL": str(local)}

    def command(self, name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command and give what became of it."""
        command = [str(Path(sys.executable).with_name(name)), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=self._environ, check=False, timeout=120)

    def done(self, name: str, *words: str | Path) -> str:
        """Run a command that succeeds."""
        done = self.command(name, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def bag(small: Project, tmp_path: Path) -> Path:
    """A bag without its files, away from the cache."""
    made = small.dataset(small.images).download_dataset_bag("0.2.0", materialize=False)
    copied = tmp_path / "usb" / made.path.name
    shutil.copytree(made.path, copied, copy_function=shutil.copyfile)
    return copied


@pytest.fixture
def machine(small: Project, tmp_path: Path) -> Iterator[Machine]:
    """The machine on which the folder was used; no folder is the default one."""
    del small
    made = Machine(tmp_path / "home", tmp_path / "nothing")
    made.done("deriva-ml-catalog", "bdbag")
    yield made


def _is_whole(bag: Path) -> bool:
    members = DatasetBag.open(bag).list_dataset_members()["Image"]
    return sorted(Path(str(row["Filename"])).read_bytes() for row in members) == EXPECTED


def _hashed(bag: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bag.iterdir() if path.is_file() and path.name != "fetch.txt"}


def test_nobody_needs_to_be_told_where_the_folder_is(machine: Machine, bag: Path, small: Project) -> None:
    before = _hashed(bag)
    machine.done("bdbag", "--materialize", bag)
    assert _is_whole(bag)
    assert _hashed(bag) == before
    whole = DerivaML(small.session.place.hostname, 1)
    with whole as ml:
        made = ml.lookup_dataset(bag.name.removeprefix("Dataset_")).download_dataset_bag("0.2.0").path
    assert {path.name: path.read_bytes() for path in made.iterdir() if path.is_file()} == before


def test_all_files_are_fetched_once_more_and_validated(machine: Machine, bag: Path) -> None:
    machine.done("bdbag", "--resolve-fetch", "missing", "--validate", "full", bag)
    file = next((bag / "data/asset").rglob("*.png"))
    file.unlink()
    file.write_bytes(b"something else")
    machine.done("bdbag", "--resolve-fetch", "all", "--validate", "full", bag)
    assert _is_whole(bag)


def test_a_folder_that_was_moved_is_found_where_it_was_used_last(
    machine: Machine, bag: Path, catalog_root: Path, tmp_path: Path
) -> None:
    moved = catalog_root.rename(tmp_path / "moved")
    failed = machine.command("bdbag", "--materialize", bag)
    assert failed.returncode != 0
    assert "No catalog folder that this machine knows has /hatrac/" in failed.stderr
    assert not [path for path in (bag / "data").rglob("*") if path.is_file() and "asset" in path.parts]
    with DerivaML(str(moved), 1) as ml:
        ml.lookup_dataset(bag.name.removeprefix("Dataset_")).download_dataset_bag("0.2.0", materialize=False)
    machine.done("bdbag", "--materialize", bag)
    assert _is_whole(bag)


def _restored(root: Path, target: Path) -> None:
    back_up(root, target.with_suffix(".tar"))
    restore(target.with_suffix(".tar"), target)


def _copied(root: Path, target: Path) -> None:
    shutil.copytree(root, target)


@pytest.mark.parametrize("copy", [_restored, _copied])
def test_a_copy_on_another_machine_serves_as_well(
    bag: Path, small: Project, catalog_root: Path, tmp_path: Path, copy: Callable[[Path, Path], None]
) -> None:
    del small
    other = tmp_path / "other machine"
    other.mkdir()
    copy(catalog_root, other / "catalog")
    shutil.rmtree(catalog_root)
    machine = Machine(other / "home", other / "nothing")
    machine.done("deriva-ml-catalog", "bdbag")
    assert machine.command("bdbag", "--materialize", bag).returncode != 0
    machine.done("deriva-ml-catalog", "bdbag", "--folder", other / "catalog")
    machine.done("bdbag", "--materialize", bag)
    assert _is_whole(bag)


def test_what_the_default_folder_has_needs_no_name(bag: Path, catalog_root: Path, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "new home", catalog_root)
    machine.done("deriva-ml-catalog", "bdbag")
    machine.done("bdbag", "--materialize", bag)
    assert _is_whole(bag)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_an_object_that_is_missing_or_damaged_is_named_and_not_brought(
    machine: Machine, bag: Path, catalog_root: Path, damage: Callable[[Path], object]
) -> None:
    digest = hashlib.sha256(content(3)).hexdigest()
    (stored,) = (path for path in (catalog_root / "objects").rglob(f"{digest}*") if path.is_file())
    stored.chmod(0o644)
    damage(stored)
    failed = machine.command("bdbag", "--materialize", bag)
    assert failed.returncode != 0
    assert "image 3, 50%.png could not be fetched" in failed.stderr
    brought = [path.read_bytes() for path in (bag / "data/asset").rglob("*") if path.is_file()]
    assert sorted([*brought, content(3)]) == EXPECTED


def test_a_folder_may_be_served_meanwhile(machine: Machine, bag: Path, catalog_root: Path) -> None:
    with served(catalog_root):
        machine.done("bdbag", "--materialize", bag)
    assert _is_whole(bag)


def test_a_bag_that_names_no_folder_is_materialized_too(machine: Machine, bag: Path, small: Project) -> None:
    listed = (bag / "fetch.txt").read_text()
    assert f"deriva-ml://{small.session.identity}/hatrac/" in listed
    (bag / "fetch.txt").write_text(listed.replace(f"deriva-ml://{small.session.identity}/", "deriva-ml:/"))
    machine.done("bdbag", "--materialize", bag)
    assert _is_whole(bag)


def test_after_it_was_taken_back_bdbag_is_as_before(machine: Machine, bag: Path) -> None:
    assert "already" in machine.done("deriva-ml-catalog", "bdbag")
    assert "any more" in machine.done("deriva-ml-catalog", "bdbag", "--remove")
    assert "so far" in machine.done("deriva-ml-catalog", "bdbag", "--remove")
    failed = machine.command("bdbag", "--materialize", bag)
    assert failed.returncode != 0
    assert 'Transfer protocol "deriva-ml" is not supported' in failed.stderr
