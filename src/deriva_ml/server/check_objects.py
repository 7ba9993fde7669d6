"""Whether the object store is whole: every record has its content, every file its record."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from deriva_ml.core.files import hash_file
from deriva_ml.server.connections import connect
from deriva_ml.server.errors import FolderError
from deriva_ml.server.finding import Finding
from deriva_ml.server.objects import ABANDONED
from deriva_ml.server.replies import url_of

__all__ = ["JOB_SECONDS", "RECENT", "age_of", "check_objects", "is_idle"]

JOB_SECONDS = 7 * 86400.0
"""An upload job without a new chunk for so long is taken to be abandoned."""

RECENT = 300.0
"""While others use a folder, content that is younger may be about to be recorded."""

Progress = Callable[[int, int], None]


def check_objects(root: Path, progress: Progress) -> tuple[int, int, list[Finding]]:
    """Check the object store of a folder.

    Args:
        root: The folder.
        progress: Called with the bytes read so far and those to be read.

    Returns:
        How many versions there are, how many bytes were read, and what is wrong.
    """
    database, folder = root / "hatrac.db", root / "objects"
    files = {path.name: path for path in folder.glob("[0-9a-f][0-9a-f]/*")}
    if not os.path.lexists(database):
        lost = [Finding("record", "hatrac.db", f"missing, and there are {len(files)} objects")] if files else []
        return 0, 0, [*lost, *_incoming(root, idle=False)]
    idle = False
    try:
        idle = is_idle(database)
        with closing(connect(database, read_only=True)) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            if said != ["ok"]:
                return 0, 0, [Finding("database", "hatrac.db", line) for line in said]
            # One moment of the records; a file that comes later is looked up again when leftovers are swept.
            connection.execute("BEGIN")
            findings = list(_records(connection))
            count, content, found = _contents(connection, folder, progress)
            findings += found
            findings += _orphans(connection, files, idle=idle)
            findings += _jobs(connection, folder, idle=idle)
    except (sqlite3.Error, FolderError) as error:
        return 0, 0, [Finding("database", "hatrac.db", str(error).partition("\n")[0])]
    return count, content, [*findings, *_incoming(root, idle=idle)]


def is_idle(database: Path) -> bool:
    """Whether no other process has a database open: its last user takes the log's index away."""
    with closing(connect(database, read_only=True)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not database.with_name(f"{database.name}-shm").exists()


def _records(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Records that refer to records that are not there."""
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Finding("record", f"hatrac.db {table} {rowid or ''}".strip(), f"refers to no {parent}")
    query = (
        "SELECT path, version.id FROM version JOIN name ON name.id = version.name "
        "WHERE is_deleted OR is_namespace OR NOT EXISTS (SELECT 1 FROM listed WHERE listed.seq = version.seq)"
    )
    for path, version in connection.execute(query):
        yield Finding("record", url_of(path, version), "is a version of an object that is not there")


def _contents(connection: sqlite3.Connection, folder: Path, progress: Progress) -> tuple[int, int, list[Finding]]:
    """Read every content once, and compare it with every record of it."""
    wanted: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    count = 0
    rows = connection.execute(
        "SELECT sha256, path, version.id, md5, length FROM version JOIN name ON name.id = version.name ORDER BY seq"
    )
    for sha256, path, version, md5, length in rows:
        wanted[sha256].append((url_of(path, version), md5, length))
        count += 1
    total = sum(records[0][2] for records in wanted.values())
    done = 0
    findings: list[Finding] = []
    for sha256, records in wanted.items():
        findings += _content(folder / sha256[:2] / sha256, sha256, records)
        done += records[0][2]
        progress(done, total)
    return count, done, findings


def _content(path: Path, sha256: str, records: list[tuple[str, str, int]]) -> Iterator[Finding]:
    place = f"objects/{sha256[:2]}/{sha256}"
    try:
        found = hash_file(path)
    except FileNotFoundError:
        for where, _, _ in records:
            yield Finding("object", where, f"its content is missing: {place}")
        return
    except OSError as error:
        for where, _, _ in records:
            yield Finding("object", where, f"its content cannot be read: {place}: {error.strerror}")
        return
    for where, md5, length in records:
        if found.length != length:
            yield Finding("object", where, f"{place} has {found.length} bytes, and the record says {length}")
        elif found.sha256 != sha256:
            yield Finding("object", where, f"the bytes of {place} have changed: their SHA-256 is {found.sha256}")
        elif found.md5 != md5:
            yield Finding("object", where, f"{place} has MD5 {found.md5}, and the record says {md5}")


def _orphans(connection: sqlite3.Connection, files: dict[str, Path], *, idle: bool) -> Iterator[Finding]:
    known = {str(row[0]) for row in connection.execute("SELECT DISTINCT sha256 FROM version")}
    for name in sorted(files.keys() - known):
        # Content has its name just before its record is committed: where others write, what is new is not judged.
        if idle or age_of(files[name]) > RECENT:
            yield Finding("leftover", f"objects/{name[:2]}/{name}", "no object has this content", path=files[name])


def age_of(path: Path) -> float:
    """Seconds since a file was written; none, if it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _jobs(connection: sqlite3.Connection, folder: Path, *, idle: bool) -> Iterator[Finding]:
    """Upload jobs that nobody goes on with, and files of jobs that are over."""
    query = "SELECT job.id, path, document FROM job JOIN name ON name.id = job.name"
    jobs = {row[0]: row[1:] for row in connection.execute(query)}
    files = {path.name: path for path in (folder / "jobs").glob("*")}
    for name in sorted(files.keys() - jobs.keys()):
        yield Finding("leftover", f"objects/jobs/{name}", "its upload job is over", path=files[name])
    marked = {row[0] for row in connection.execute("SELECT DISTINCT job FROM chunk")}
    for job, (path, document) in sorted(jobs.items()):
        where = f"{url_of(path)};upload/{job}"
        if job not in files:
            if job in marked and int(json.loads(document)["content-length"]):
                yield Finding("leftover", where, "what was uploaded of it is missing", job=job)
            elif idle:
                yield Finding("leftover", where, "an upload that was never begun", job=job)
        elif time.time() - files[job].stat().st_mtime > JOB_SECONDS:
            yield Finding("leftover", where, "an upload without a new part for a week", path=files[job], job=job)


def _incoming(root: Path, *, idle: bool) -> Iterator[Finding]:
    """Parts of content whose writers are gone: all of them, if nobody uses the folder."""
    for path in sorted((root / "objects" / "incoming").glob("*")):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue  # its writer was not dead but done
        if idle or age > ABANDONED:
            yield Finding("leftover", str(path.relative_to(root)), "content that was never stored", path=path)
