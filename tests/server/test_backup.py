"""A backup is taken while others write, and gives back the same catalog."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import Connection, open_connection
from deriva_ml.server.backup import back_up
from deriva_ml.server.check import check_folder
from deriva_ml.server.claims import claimed
from deriva_ml.server.errors import FolderError
from deriva_ml.server.restore import restore
from deriva_ml.server.users import Users
from deriva_ml.wire.path import table

WORKFLOW = ("deriva-ml", "Workflow")


@pytest.fixture
def filled(connection: Connection, client: CatalogClient, catalog_root: Path) -> Path:
    client.insert(*WORKFLOW, [{"Name": f"w{n}"} for n in range(20)])
    connection.objects().put("/hatrac/a/one", b"one")
    connection.objects().put("/hatrac/a/two", b"two" * 1000)
    return catalog_root


def content(root: Path) -> tuple[object, ...]:
    with open_connection(str(root)) as opened:
        client = opened.catalog(1)
        return (
            client.info()["snaptime"],
            client.rows(table(*WORKFLOW)),
            client.get("/schema"),
            opened.objects().head("/hatrac/a/two"),
        )


@pytest.mark.parametrize("name", ["backup", "backup.tar", "backup.tar.gz"])
def test_a_restored_folder_holds_what_the_first_one_held(filled: Path, tmp_path: Path, name: str) -> None:
    before = content(filled)
    made = back_up(filled, tmp_path / name)
    assert made.catalogs == ("1",)
    assert made.objects == 2
    restored = restore(tmp_path / name, tmp_path / "again")
    assert content(tmp_path / "again") == before
    assert check_folder(tmp_path / "again").findings == []
    assert check_folder(filled).findings == []
    assert restored.identity != made.identity
    restore(tmp_path / name, tmp_path / "instead", identity=made.identity)
    with open_connection(str(tmp_path / "instead")) as opened:
        assert opened.identity == made.identity


def test_nothing_is_overwritten(filled: Path, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "b.tar")
    with pytest.raises(FolderError, match=r"already.*b\.tar"):
        back_up(filled, tmp_path / "b.tar")
    with pytest.raises(FolderError, match="already"):
        restore(tmp_path / "b.tar", filled)
    with pytest.raises(FolderError, match="itself"):
        back_up(filled, filled / "inside")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("name", ["backup", "backup.tar", "backup.tar.gz"])
def test_a_backup_brings_users_back_with_their_secrets_hashed(filled: Path, tmp_path: Path, name: str) -> None:
    with closing(Users(filled / "users.db")) as users:
        token = users.add("ann", password="a long password", groups=["lab"])
        assert users.sign_in("ann", "a long password")
    made = back_up(filled, tmp_path / name)
    assert made.users
    assert stat.S_IMODE(private(tmp_path / name).stat().st_mode) == 0o600
    for path in tmp_path.glob("backup/**/*.db") if name == "backup" else [tmp_path / name]:
        assert token.encode() not in path.read_bytes()
    assert restore(tmp_path / name, tmp_path / "again").users
    assert stat.S_IMODE((tmp_path / "again" / "users.db").stat().st_mode) == 0o600
    with closing(Users(tmp_path / "again" / "users.db")) as users:
        known = users.users()
        assert [(one.name, one.groups, one.tokens, one.sessions) for one in known] == [("ann", ("lab",), 1, 0)]
        assert users.known(token)
        assert users.sign_in("ann", "a long password")
    assert check_folder(tmp_path / "again").findings == []


def private(backup: Path) -> Path:
    """The file of a backup that holds secrets."""
    return backup / "users.db" if backup.is_dir() else backup


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_users_may_be_left_out(filled: Path, tmp_path: Path, name: str) -> None:
    with closing(Users(filled / "users.db")) as users:
        users.add("ann")
    made = back_up(filled, tmp_path / name, with_users=False)
    assert not made.users
    restore(tmp_path / name, tmp_path / "again")
    assert not (tmp_path / "again" / "users.db").exists()


def test_a_backup_of_the_first_layout_is_restored(filled: Path, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "b")
    path = tmp_path / "b" / "deriva-ml-backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backup": 1}))
    restore(tmp_path / "b", tmp_path / "again")
    assert content(tmp_path / "again") == content(filled)


def test_what_a_dead_process_left_of_a_backup_is_removed_and_of_a_living_one_is_not(
    filled: Path, tmp_path: Path
) -> None:
    dead, alive = tmp_path / ".b.00000000.part", tmp_path / ".b.00000001.part"
    (dead / "catalogs").mkdir(parents=True)
    inside = filled / ".backup.00000002.part"
    with claimed(alive, folder=True), claimed(inside, folder=True):
        assert check_folder(filled).findings == []
        back_up(filled, tmp_path / "b")
        assert (dead.exists(), alive.exists(), inside.exists()) == (False, True, True)
    inside.mkdir()
    os.utime(inside, (0, 0))  # what is young may be of a process that did not claim it yet
    assert [finding.path for finding in check_folder(filled).findings] == [inside]


def test_a_backup_is_no_catalog_folder(filled: Path, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "b")
    with pytest.raises(FolderError, match="not a catalog"):
        open_connection(str(tmp_path / "b"))


@pytest.mark.parametrize("victim", ["service.db", "catalogs/1.db", "hatrac.db", "object", "manifest", "missing"])
def test_a_damaged_backup_is_not_restored(filled: Path, tmp_path: Path, victim: str) -> None:
    back_up(filled, tmp_path / "b", link=False)
    objects = sorted((tmp_path / "b" / "objects").glob("*/*"))
    path = {"object": objects[0], "missing": objects[0], "manifest": tmp_path / "b" / "deriva-ml-backup.json"}.get(
        victim, tmp_path / "b" / victim
    )
    if victim == "missing":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(FolderError, match=r"damaged|not a backup"):
        restore(tmp_path / "b", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".part")] == []


def test_an_archive_that_names_other_places_is_refused(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(tmp_path / "evil", "../evil2")
    with pytest.raises(FolderError, match="not a backup"):
        restore(tmp_path / "evil.tar", tmp_path / "again")
    assert not (tmp_path.parent / "evil2").exists()


def test_a_backup_of_a_later_version_is_refused_by_its_number(filled: Path, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "b")
    path = tmp_path / "b" / "deriva-ml-backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(FolderError, match="format 9"):
        restore(tmp_path / "b", tmp_path / "again")


def test_a_backup_taken_while_others_write_is_whole(filled: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with open_connection(str(filled)) as opened:
                client, objects = opened.catalog(1), opened.objects()
                count = 0
                while not stop.is_set():
                    url = objects.put(f"/hatrac/w{number}/{count}", f"{number} {count}".encode() * 50)
                    client.insert(*WORKFLOW, [{"Name": f"{number}-{count}", "URL": url}])
                    if count % 5 == 4:
                        client.delete(table(*WORKFLOW).where(_name(f"{number}-{count}")))
                        objects.delete(url.rpartition(":")[0])
                    count += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(4):
            back_up(filled, tmp_path / (f"b{number}" + (".tar" if number % 2 else "")))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    for number in range(4):
        root = tmp_path / f"r{number}"
        restore(tmp_path / (f"b{number}" + (".tar" if number % 2 else "")), root)
        # An object may be gone by the time its row is; what is recorded of objects is whole.
        kinds = {finding.kind for finding in check_folder(root).findings}
        assert kinds <= {"url"}
        shutil.rmtree(root)


def _name(text: str) -> object:
    from deriva_ml.wire.path import eq

    return eq("Name", text)


def test_uploads_under_way_are_left_out(filled: Path, tmp_path: Path) -> None:
    with open_connection(str(filled)) as opened:
        from deriva_ml.wire.http import Request

        document = json.dumps({"chunk-length": 5, "content-length": 10}).encode()
        begun = opened.transport.send(
            Request("POST", "/hatrac/a/job;upload", {"content-type": "application/json"}, document)
        )
        job = begun.read().decode().strip()
        with closing(opened.transport.send(Request("PUT", f"{job}/0", {}, b"12345"))) as done:
            assert done.status == 204
        back_up(filled, tmp_path / "b")
    restore(tmp_path / "b", tmp_path / "again")
    assert check_folder(tmp_path / "again").findings == []
