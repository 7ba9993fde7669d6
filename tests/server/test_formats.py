"""A file of a later format is refused by its number; one of an earlier format is brought up, and a copy is kept."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.test_disk_full import command
from tests.serving import served

from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.core.files import hash_file
from deriva_ml.server.backup import MANIFEST, back_up
from deriva_ml.server.connections import open_format
from deriva_ml.server.errors import FolderError
from deriva_ml.server.formats import Format, format_of, kept_copy
from deriva_ml.server.names import NameStore
from deriva_ml.server.restore import restore
from deriva_ml.server.store import FORMAT, CatalogStore
from deriva_ml.wire.http import Request

NEXT = FORMAT.number + 1


def set_format(path: Path, number: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {number}")


def read_format(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return format_of(db)


def add_note(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE state ADD COLUMN note TEXT")
    connection.execute("UPDATE state SET note = 'brought up'")


@pytest.fixture
def old(catalog_root: Path) -> Path:
    """A catalog's database, which is old to who wants the next format."""
    return catalog_root / "catalogs" / "1.db"


def test_a_folder_of_a_later_format_is_refused(catalog_root: Path) -> None:
    marker = catalog_root / "deriva-ml-catalog.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 7}))
    with pytest.raises(FolderError, match="format 7"):
        open_connection(str(catalog_root))
    done = subprocess.run(
        [sys.executable, "-m", "deriva_ml.cli.catalog", "info", "--root", str(catalog_root)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "format 7" in done.stderr) == (2, True)


def test_a_catalog_s_database_of_a_later_format_is_refused(catalog_root: Path, old: Path) -> None:
    set_format(old, 8)
    before = old.read_bytes()
    with open_connection(str(catalog_root)) as opened:
        with pytest.raises(DerivaMLCatalogError, match="format 8"):
            opened.catalog(1).info()
        with pytest.raises(DerivaMLCatalogError, match="format 8"):
            opened.catalog(1).create_schema("s")
    assert old.read_bytes() == before


def test_object_records_of_a_later_format_are_refused(catalog_root: Path) -> None:
    with open_connection(str(catalog_root)) as opened:
        opened.objects().put("/hatrac/ns/o", b"o")
    set_format(catalog_root / "hatrac.db", 9)
    with open_connection(str(catalog_root)) as opened, pytest.raises(DerivaMLCatalogError, match="format 9"):
        opened.objects().put("/hatrac/ns/p", b"p")


def test_an_older_file_is_brought_up_once_and_a_copy_is_kept(old: Path) -> None:
    wanted = Format(NEXT, {FORMAT.number: add_note})
    store = CatalogStore(old, wanted=wanted)
    with store.read() as view:
        assert view.connection.execute("SELECT note FROM state").fetchone() == ("brought up",)
        assert view.model.table("deriva-ml", "Workflow")
    store.close()
    assert read_format(old) == NEXT
    copy = kept_copy(old, FORMAT.number)
    assert read_format(copy) == FORMAT.number
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert "note" not in [row[1] for row in db.execute("PRAGMA table_info(state)")]
    again = CatalogStore(old, wanted=wanted)
    with again.read() as view:
        assert view.latest
    again.close()


def test_object_records_are_brought_up_too(catalog_root: Path) -> None:
    path = catalog_root / "hatrac.db"
    NameStore(path).close()
    with open_connection(str(catalog_root)) as opened:
        opened.objects().put("/hatrac/ns/o", b"o")
    store = NameStore(
        path, wanted=Format(NEXT, {FORMAT.number: lambda db: db.execute("CREATE TABLE more (a)") and None})
    )
    with store.read() as records:
        assert records.chain("/ns/o")
    store.close()
    assert read_format(path) == NEXT


def test_a_step_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        add_note(connection)
        raise RuntimeError("no")

    store = CatalogStore(old, wanted=Format(NEXT, {FORMAT.number: fail}))
    with pytest.raises(RuntimeError, match="no"), store.read():
        pass
    store.close()
    assert read_format(old) == FORMAT.number
    whole = CatalogStore(old)
    with whole.read() as view:
        assert view.model.table("deriva-ml", "Workflow")
    whole.close()


def test_several_steps_happen_together(old: Path) -> None:
    wanted = Format(NEXT + 1, {FORMAT.number: add_note, NEXT: lambda db: db.execute("CREATE TABLE more (a)") and None})
    open_format(old, wanted, read_only=True).close()
    assert read_format(old) == NEXT + 1
    assert [path.name for path in old.parent.iterdir() if ".format-" in path.name] == [f"1.db.format-{FORMAT.number}"]


def test_a_gap_in_the_steps_is_refused(old: Path) -> None:
    with pytest.raises(FolderError, match=f"format {FORMAT.number};.*format {NEXT + 1}"):
        open_format(old, Format(NEXT + 1, {NEXT: add_note}), read_only=True)


def test_two_that_find_the_same_old_file_bring_it_up_once(old: Path) -> None:
    done: list[int] = []

    def step(connection: sqlite3.Connection) -> None:
        add_note(connection)
        done.append(1)

    wanted = Format(NEXT, {FORMAT.number: step})
    threads = [threading.Thread(target=lambda: open_format(old, wanted, read_only=True).close()) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [1]


LATER = ["service.db", "catalogs/1.db", "hatrac.db"]


@pytest.mark.parametrize("name", LATER)
def test_a_served_folder_with_a_database_of_a_later_format_says_so(catalog_root: Path, name: str) -> None:
    with open_connection(str(catalog_root)) as opened:
        opened.objects().put("/hatrac/ns/o", b"o")
    set_format(catalog_root / name, 8)
    targets = {"hatrac.db": "/hatrac/ns/o"}
    with served(catalog_root) as process:
        transport = Http(process.url, {"bearer-token": process.token}, retry=Retry(1))
        answer = transport.send(Request("GET", targets.get(name, "/ermrest/catalog/1/schema")))
        text = answer.read().decode()
        assert (answer.status, "is of format 8" in text, Path(name).name in text) == (409, True, True), text
        transport.close()


def test_a_folder_of_a_later_format_is_not_served(catalog_root: Path) -> None:
    marker = catalog_root / "deriva-ml-catalog.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 7}))
    code, text = command("serve", "--root", catalog_root, "--port", "0")
    assert (code, "format 7" in text) == (2, True), text


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LATER, "users.db"])
def test_commands_refuse_a_database_of_a_later_format(catalog_root: Path, tmp_path: Path, name: str) -> None:
    with open_connection(str(catalog_root)) as opened:
        opened.objects().put("/hatrac/ns/o", b"o")
    assert command("user", "add", "ann", "--root", catalog_root)[0] == 0
    back_up(catalog_root, tmp_path / "earlier")
    set_format(catalog_root / name, 8)
    words = [("backup", "--root", catalog_root, tmp_path / "b.tar")]
    if name in ("service.db", "catalogs/1.db"):
        words.append(("list", "--root", catalog_root))
    if name == "users.db":
        words.append(("user", "list", "--root", catalog_root))
    for one in words:
        code, text = command(*one)
        assert code in (1, 2), (one, text)
        assert "format 8" in text, (one, text)
        assert "unexpected" not in text, (one, text)
    assert not (tmp_path / "b.tar").exists()


def test_a_backup_that_holds_a_database_of_a_later_format_is_not_restored(catalog_root: Path, tmp_path: Path) -> None:
    back_up(catalog_root, tmp_path / "b")
    set_format(tmp_path / "b" / "catalogs" / "1.db", 8)
    manifest = tmp_path / "b" / MANIFEST
    content = json.loads(manifest.read_text())
    content["databases"]["catalogs/1.db"] = hash_file(tmp_path / "b" / "catalogs" / "1.db").sha256
    manifest.write_text(json.dumps(content))
    with pytest.raises(FolderError, match="format 8"):
        restore(tmp_path / "b", tmp_path / "again")
    assert not (tmp_path / "again").exists()
