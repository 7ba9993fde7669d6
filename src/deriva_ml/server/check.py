"""Whether a folder is whole: each database, each row's references, each object's bytes, each URL.

Nothing is changed here. What is found is either damage, which a backup mends, or a leftover of a process that ended too
early, which `deriva_ml.server.sweep` removes.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

from deriva_ml.core.values import dataclass
from deriva_ml.server.catalogs import database_path
from deriva_ml.server.check_model import check_model
from deriva_ml.server.check_objects import RECENT, age_of, check_objects, is_idle
from deriva_ml.server.claims import is_claimed
from deriva_ml.server.connections import connect, quote
from deriva_ml.server.errors import FolderError, ServiceError
from deriva_ml.server.finding import Finding
from deriva_ml.server.store import CatalogStore
from deriva_ml.server.view import View
from deriva_ml.wire.hatrac import parse_object_target
from deriva_ml.wire.model import Table

__all__ = ["Checked", "check_database", "check_folder", "report"]

ROWS_NAMED = 20
"""How many rows are named of each thing that is wrong; the rest is counted."""

DRAFTS = (".*.part*", "catalogs/.*.part*", ".hatrac.db.*", ".backup-*")
"""What files and folders are called while they are made."""

ASSET_TAG = "tag:isrd.isi.edu,2017:asset"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, for a report.

    Attributes:
        findings: What is wrong, in the order in which it was found.
        catalogs: How many catalogs were checked.
        objects: How many object versions were checked.
        content: Bytes of objects that were read.
        urls: How many URLs in catalogs were followed.
    """

    findings: list[Finding]
    catalogs: int
    objects: int
    content: int
    urls: int


def check_folder(root: Path, *, progress: Callable[[int, int], None] | None = None) -> Checked:
    """Check all of a folder, which the service has been able to open.

    Args:
        root: The folder.
        progress: Called with the bytes of objects read so far, and those to be read.
    """
    findings: list[Finding] = []
    ids = _registered(root, findings)
    findings.extend(_unregistered(root, ids, idle=_is_idle(root / "service.db")))
    if os.path.lexists(root / "users.db"):
        findings.extend(check_database(root / "users.db", "users"))
    objects, content, found = check_objects(root, progress or (lambda _done, _all: None))
    urls = 0
    with _Versions(root) as versions:
        for catalog_id in ids:
            path = database_path(root, catalog_id)
            if not path.exists():
                findings.append(Finding("database", f"catalog {catalog_id}", f"its database {path.name} is missing"))
                continue
            findings.extend(bad := list(check_database(path, f"catalog {catalog_id}")))
            if not bad:
                urls += _check_catalog(path, catalog_id, versions, findings)
    findings.extend(found)
    return Checked(findings, len(ids), objects, content, urls)


def check_database(path: Path, where: str) -> Iterator[Finding]:
    """What SQLite itself finds wrong with a file."""
    try:
        with closing(connect(path, read_only=True)) as connection:
            said = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({ROWS_NAMED})")]
    except (sqlite3.Error, FolderError) as error:
        said = [str(error).partition("\n")[0]]
    if said != ["ok"]:
        for line in said:
            yield Finding("database", where, f"{path.name}: {line}")


def _registered(root: Path, findings: list[Finding]) -> list[str]:
    """The ids of the folder's catalogs."""
    path = root / "service.db"
    findings.extend(bad := list(check_database(path, "registry")))
    if bad:
        return []
    with closing(connect(path, read_only=True)) as connection:
        rows = connection.execute("SELECT id FROM entries WHERE is_catalog AND NOT deleted ORDER BY id")
        return [str(row[0]) for row in rows]


def _is_idle(path: Path) -> bool:
    """Whether nobody else has a database open; of one that cannot be used, that is not known."""
    try:
        return is_idle(path)
    except (sqlite3.Error, FolderError):
        return False


def _unregistered(root: Path, ids: list[str], *, idle: bool) -> Iterator[Finding]:
    """Databases that no catalog has any more, and halves of files that were being made."""
    known = {database_path(root, catalog_id).name for catalog_id in ids}
    # Without its registry nothing can be said about a folder's databases.
    for path in sorted((root / "catalogs").glob("*.db")) if known else ():
        if path.name not in known and not path.name.startswith("."):
            yield Finding("leftover", f"catalogs/{path.name}", "belongs to no catalog of this folder", path=path)
    for path in sorted(path for pattern in DRAFTS for path in root.glob(pattern)):
        # Where others use the folder, what is young may be about to get its name.
        if not is_claimed(path) and (idle or age_of(path) > RECENT):
            yield Finding("leftover", str(path.relative_to(root)), "was never finished", path=path)


# ---------------------------------------------------------------------------------------------- one catalog


def _check_catalog(path: Path, catalog_id: str, versions: _Versions, findings: list[Finding]) -> int:
    where = f"catalog {catalog_id}"
    store = CatalogStore(path)
    urls = 0
    try:
        with store.read() as view:
            findings.extend(bad := list(check_model(view, where)))
            lacking = {finding.table for finding in bad if finding.table}
            for table in view.model.tables():
                if table.rid not in lacking:
                    findings.extend(_references(view, table, where, lacking))
                    urls += _urls(view, table, where, versions, findings)
    except (sqlite3.Error, ServiceError, FolderError, ValueError, KeyError, TypeError) as error:
        findings.append(Finding("model", where, f"cannot be read: {type(error).__name__}: {error}"))
    finally:
        store.close()
    return urls


def _references(view: View, table: Table, where: str, lacking: set[str]) -> Iterator[Finding]:
    """Rows whose foreign keys refer to nothing."""
    for fk in table.foreign_keys:
        target = view.model.table(*fk.referenced_table)
        if target is None or target.rid in lacking:
            continue
        near = [quote(table.columns_by_name[name].storage) for name in fk.columns]
        far = [quote(target.columns_by_name[name].storage) for name in fk.referenced_columns]
        present = " AND ".join(f"c.{name} IS NOT NULL" for name in near)
        joined = " AND ".join(f"p.{b} = c.{a}" for a, b in zip(near, far, strict=True))
        rows = view.connection.execute(
            f'SELECT c.RID FROM "t_{table.rid}" AS c WHERE {present} '
            f'AND NOT EXISTS (SELECT 1 FROM "t_{target.rid}" AS p WHERE {joined})'
        ).fetchall()
        problem = f"{', '.join(fk.columns)} refers to no row of {target.schema}:{target.name} ({fk.name[1]})"
        yield from named("reference", where, table, [str(row[0]) for row in rows], problem)


def named(kind: str, where: str, table: Table, rids: list[str], problem: str) -> Iterator[Finding]:
    """One finding for each of some rows, and one for the rest of them."""
    place = f"{where} {table.schema}:{table.name}"
    for rid in rids[:ROWS_NAMED]:
        yield Finding(kind, f"{place} RID {rid}", problem)
    if len(rids) > ROWS_NAMED:
        yield Finding(kind, place, f"{problem}: {len(rids) - ROWS_NAMED} more rows")


def _urls(view: View, table: Table, where: str, versions: _Versions, findings: list[Finding]) -> int:
    """Follow the URLs of a table's assets."""
    count = 0
    for column in table.columns:
        tag = column.annotations.get(ASSET_TAG)
        if column.name != "URL" and tag is None:
            continue
        said = {
            name: quote(table.columns_by_name[name].storage)
            for name in ("Length", "MD5")
            if table.column(name) is not None
        }
        own = quote(column.storage)
        fields = ", ".join(["RID", own, said.get("Length", "NULL"), said.get("MD5", "NULL")])
        rows = view.connection.execute(f"SELECT {fields} FROM \"t_{table.rid}\" WHERE {own} LIKE '/hatrac/%'")
        for rid, url, length, md5 in rows:
            count += 1
            problem = versions.problem(str(url), length, md5)
            if problem:
                findings.append(Finding("url", f"{where} {table.schema}:{table.name} RID {rid}", f"{url} {problem}"))
    return count


class _Versions:
    """What the object store has, by URL."""

    def __init__(self, root: Path) -> None:
        path = root / "hatrac.db"
        self._connection: sqlite3.Connection | None = None
        self._is_lost = False
        try:
            self._connection = connect(path, read_only=True) if os.path.lexists(path) else None
        except (sqlite3.Error, FolderError):
            self._is_lost = True  # which is a finding of its own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def problem(self, url: str, length: object, md5: object) -> str | None:
        """What is wrong with a URL, and with what the row says of its content."""
        if self._is_lost:
            return "cannot be followed: the records of the object store cannot be read"
        try:
            target = parse_object_target(url)
            row = self._find(target.name, target.version)
        except (ValueError, sqlite3.Error) as error:
            return f"cannot be followed: {error}"
        if row is None:
            return "names no object"
        if length is not None and length != row[0]:
            return f"has {row[0]} bytes, not {length} as the row says"
        if md5 and md5 != row[1]:
            return f"has MD5 {row[1]}, not {md5} as the row says"
        return None

    def _find(self, name: str, version: str | None) -> tuple[int, str] | None:
        if self._connection is None:
            return None
        found: tuple[int, str] | None = self._connection.execute(
            "SELECT version.length, version.md5 FROM name JOIN listed ON listed.name = name.id "
            "JOIN version ON version.seq = listed.seq "
            "WHERE path = ? AND NOT is_deleted AND (? IS NULL OR version.id = ?) ORDER BY version.seq DESC LIMIT 1",
            (name, version or None, version or None),
        ).fetchone()
        return found


def report(checked: Checked, removed: Sequence[Finding] = ()) -> str:
    """What was found, and what of it has been removed, as one JSON document."""
    return json.dumps(
        {
            "clean": len(removed) == len(checked.findings),
            "catalogs": checked.catalogs,
            "objects": checked.objects,
            "bytes": checked.content,
            "urls": checked.urls,
            "findings": [finding.document() for finding in checked.findings if finding not in removed],
            "removed": [finding.document() for finding in removed],
        },
        indent=1,
        ensure_ascii=False,
    )
