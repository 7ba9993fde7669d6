"""What is wrong with a folder is found and named, and nothing else is."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import Connection
from deriva_ml.server.check import check_folder, report
from deriva_ml.server.sweep import sweep
from deriva_ml.wire.http import Request


@pytest.fixture
def root(connection: Connection, client: CatalogClient, catalog_root: Path) -> Path:
    """A folder with rows that refer to each other, assets and objects; closed."""
    url = connection.objects().put("/hatrac/a/one", b"content of one")
    connection.objects().put("/hatrac/a/two", b"content of two")
    head = connection.objects().head(url)
    (workflow,) = client.insert("deriva-ml", "Workflow", [{"Name": "w"}])
    client.insert("deriva-ml", "Execution", [{"Workflow": workflow["RID"], "Status": "Created"}])
    client.insert(
        "deriva-ml",
        "Execution_Metadata",
        [{"URL": url, "Filename": "one", "Length": head.length, "MD5": head.md5}],
    )
    connection.close()
    return catalog_root


def physical(root: Path, table: str) -> tuple[str, dict[str, str]]:
    """The physical name of a table, and those of its columns."""
    with closing(sqlite3.connect(root / "catalogs" / "1.db")) as db:
        for (text,) in db.execute("SELECT doc FROM elements WHERE kind = 'table'"):
            document = json.loads(text)
            if document["table_name"] == table:
                return f"t_{document['RID']}", {c["name"]: c["storage"] for c in document["column_definitions"]}
    raise LookupError(table)


def change(root: Path, database: str, *statements: str) -> None:
    with closing(sqlite3.connect(root / database)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def found(root: Path) -> list[tuple[str, str]]:
    return [(finding.kind, f"{finding.where}: {finding.problem}") for finding in check_folder(root).findings]


def test_a_whole_folder_is_clean_and_stays_as_it_was(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    seen: list[tuple[int, int]] = []
    checked = check_folder(root, progress=lambda done, total: seen.append((done, total)))
    assert checked.findings == []
    assert (checked.catalogs, checked.objects, checked.urls, checked.content) == (1, 2, 1, 28)
    assert seen[-1] == (28, 28)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert json.loads(report(checked))["clean"] is True


def an_object(root: Path) -> Path:
    return min((root / "objects").glob("[0-9a-f][0-9a-f]/*"))


def flip(root: Path) -> None:
    path = an_object(root)
    path.chmod(0o644)
    path.write_bytes(b"X" + path.read_bytes()[1:])


def shorten(root: Path) -> None:
    path = an_object(root)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def dangle(root: Path) -> None:
    table, columns = physical(root, "Execution")
    change(root, "catalogs/1.db", f'UPDATE "{table}" SET "{columns["Workflow"]}" = \'9-ZZZZ\'')


def point_elsewhere(root: Path) -> None:
    table, columns = physical(root, "Execution_Metadata")
    change(root, "catalogs/1.db", f'UPDATE "{table}" SET "{columns["URL"]}" = \'/hatrac/a/none:ABC\'')


def grow(root: Path) -> None:
    table, columns = physical(root, "Execution_Metadata")
    change(root, "catalogs/1.db", f'UPDATE "{table}" SET "{columns["Length"]}" = 99')


def drop_table(root: Path) -> None:
    table, _ = physical(root, "Workflow")
    change(root, "catalogs/1.db", f'DROP TABLE "{table}"')


def drop_trigger(root: Path) -> None:
    table, _ = physical(root, "Workflow")
    change(root, "catalogs/1.db", f'DROP TRIGGER "{table}_update"')


def overwrite(root: Path) -> None:
    path = root / "catalogs" / "1.db"
    content = bytearray(path.read_bytes())
    content[8192:32768] = os.urandom(32768 - 8192)
    path.write_bytes(bytes(content))


def lose_registry_entry(root: Path) -> None:
    change(root, "service.db", "INSERT INTO entries VALUES ('7', 1, '{}', 0)")


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (flip, "object", "SHA-256"),
        (shorten, "object", "13 bytes"),
        (lambda root: an_object(root).unlink(), "object", "missing"),
        (lambda root: change(root, "hatrac.db", "UPDATE version SET md5 = 'ff'"), "object", "MD5"),
        (lambda root: change(root, "hatrac.db", "DELETE FROM listed WHERE seq = 1"), "record", "/hatrac/a/one:"),
        (lambda root: (root / "hatrac.db").unlink(), "record", "hatrac.db"),
        (dangle, "reference", "refers to no row of deriva-ml:Workflow"),
        (point_elsewhere, "url", "/hatrac/a/none:ABC names no object"),
        (grow, "url", "not 99"),
        (drop_table, "model", "Workflow"),
        (drop_trigger, "model", "history at update"),
        (overwrite, "database", "catalog 1"),
        (lambda root: (root / "catalogs" / "1.db").unlink(), "database", "1.db is missing"),
        (lose_registry_entry, "database", "catalog 7"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value).replace("/", " "),
)
def test_damage_is_named(root: Path, damage: Callable[[Path], object], kind: str, said: str) -> None:
    damage(root)
    findings = found(root)
    assert [text for one, text in findings if one == kind and said in text], findings
    # What is damaged is never taken for something that may be swept away.
    assert sweep(root, check_folder(root).findings) == [] or kind in ("record", "object", "database")


def test_records_that_are_lost_do_not_make_their_objects_rubbish(root: Path) -> None:
    kept = sorted((root / "objects").glob("[0-9a-f][0-9a-f]/*"))
    (root / "hatrac.db").unlink()
    sweep(root, check_folder(root).findings)
    assert sorted((root / "objects").glob("[0-9a-f][0-9a-f]/*")) == kept


def test_leftovers_are_found_and_swept(root: Path) -> None:
    (root / "objects" / "incoming").mkdir(exist_ok=True)
    (root / "objects" / "jobs").mkdir(exist_ok=True)
    left = [
        root / "objects" / "incoming" / "tmpabc",
        root / "objects" / "jobs" / "GONE",
        root / "objects" / "ab" / ("ab" + "0" * 62),
        root / "catalogs" / "9.db",
        root / "catalogs" / ".5.db.0123.part",
        root / ".backup-12" / "file",
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left over")
    findings = check_folder(root).findings
    assert {finding.kind for finding in findings} == {"leftover"}
    assert len(findings) == len(left)
    assert len(sweep(root, findings)) == len(left)
    assert not any(path.exists() for path in left)
    assert found(root) == []


def test_what_another_process_is_writing_is_let_be(catalog_root: Path, connection: Connection) -> None:
    connection.objects().put("/hatrac/a/one", b"one")
    path = catalog_root / "objects" / "incoming" / "tmpabc"
    path.write_bytes(b"at this moment")
    assert found(catalog_root) == []
    os.utime(path, (time.time() - 7200,) * 2)
    assert len(found(catalog_root)) == 1


def test_an_upload_that_can_go_on_is_kept_and_an_abandoned_one_swept(
    catalog_root: Path, connection: Connection
) -> None:
    document = json.dumps({"chunk-length": 5, "content-length": 10}).encode()
    begin = Request("POST", "/hatrac/a/job;upload?parents=true", {"content-type": "application/json"}, document)
    job = connection.transport.send(begin).read().decode().strip()
    assert connection.transport.send(Request("PUT", f"{job}/0", {}, b"12345")).status == 204
    connection.close()
    assert found(catalog_root) == []
    (path,) = (catalog_root / "objects" / "jobs").iterdir()
    os.utime(path, (time.time() - 8 * 86400,) * 2)
    findings = check_folder(catalog_root).findings
    assert [finding.where for finding in findings] == [job]
    sweep(catalog_root, findings)
    assert found(catalog_root) == []


def test_content_that_came_into_use_since_the_check_is_not_swept(catalog_root: Path, connection: Connection) -> None:
    import hashlib

    connection.objects().put("/hatrac/a/first", b"first")
    name = hashlib.sha256(b"late").hexdigest()
    path = catalog_root / "objects" / name[:2] / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"late")
    assert found(catalog_root) == []  # another process has the folder open, and may be about to record it
    os.utime(path, (time.time() - 3600,) * 2)
    findings = check_folder(catalog_root).findings
    assert len(findings) == 1
    connection.objects().put("/hatrac/a/late", b"late")
    assert sweep(catalog_root, findings) == []
    assert path.read_bytes() == b"late"
