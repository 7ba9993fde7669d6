"""The object store's records: names, versions, access lists and upload jobs, in one SQLite database.

1. The database is made by the first write; until then a store is empty and reading it writes nothing.
2. A name that was deleted stays, marked, so that it is never given out again.
3. A version belongs to one name (its home) and may be listed under others, from which it was renamed away.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from base64 import b32encode
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from deriva_ml.core.files import Digests
from deriva_ml.core.values import dataclass
from deriva_ml.server.connections import Frozen, open_format
from deriva_ml.server.errors import FolderError
from deriva_ml.server.formats import Format
from deriva_ml.server.small_database import place_new

__all__ = ["Acls", "Job", "Name", "NameStore", "Records", "Version", "new_id"]

FORMAT = Format(1)

SCHEMA = """
CREATE TABLE name (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES name, path TEXT NOT NULL UNIQUE,
                   is_namespace INTEGER NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0, acls TEXT NOT NULL);
CREATE INDEX name_parent ON name (parent, path);
CREATE TABLE version (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
                      name INTEGER NOT NULL REFERENCES name, sha256 TEXT NOT NULL, md5 TEXT NOT NULL,
                      length INTEGER NOT NULL, metadata TEXT NOT NULL, acls TEXT NOT NULL);
CREATE INDEX version_name ON version (name);
CREATE INDEX version_sha256 ON version (sha256);
CREATE TABLE listed (name INTEGER NOT NULL REFERENCES name, seq INTEGER NOT NULL REFERENCES version,
                     PRIMARY KEY (name, seq)) WITHOUT ROWID;
CREATE INDEX listed_seq ON listed (seq);
CREATE TABLE job (id TEXT PRIMARY KEY, name INTEGER NOT NULL REFERENCES name, document TEXT NOT NULL,
                  owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX job_name ON job (name);
CREATE TABLE chunk (job TEXT NOT NULL REFERENCES job, position INTEGER NOT NULL, PRIMARY KEY (job, position))
    WITHOUT ROWID;
"""

Acls = dict[str, list[str]]

NAMESPACE_ACLS = ("owner", "create", "read", "subtree-owner", "subtree-create", "subtree-read", "subtree-update")
OBJECT_ACLS = ("owner", "update", "read", "subtree-owner", "subtree-read")
VERSION_ACLS = ("owner", "read")


@dataclass(frozen=True, slots=True)
class Name:
    """A namespace or an object."""

    id: int
    path: str
    is_namespace: bool
    is_deleted: bool
    acls_text: str

    @property
    def acls(self) -> Acls:
        """The access lists; read only where they decide, which for a client in process is nowhere."""
        lists: Acls = json.loads(self.acls_text)
        return lists


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object; ``metadata`` is what the client said of it, digests included, as it is shown."""

    seq: int
    id: str
    path: str
    digests: Digests
    metadata: dict[str, str]
    acls: Acls


@dataclass(frozen=True, slots=True)
class Job:
    """An upload in parts; ``document`` is what the client said of it."""

    id: str
    path: str
    document: dict[str, str | int]
    owner: list[str]

    @property
    def chunk_length(self) -> int:
        """Bytes of each chunk but the last."""
        return int(self.document["chunk-length"])

    @property
    def content_length(self) -> int:
        """Bytes of all chunks together."""
        return int(self.document["content-length"])

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.content_length // self.chunk_length)

    def length_of(self, position: int) -> int:
        """Bytes of one chunk."""
        return min(self.chunk_length, self.content_length - position * self.chunk_length)


def new_id() -> str:
    """An id for a version or a job: 128 random bits as 26 characters."""
    return b32encode(secrets.token_bytes(16)).decode().rstrip("=")


def _acls(kinds: tuple[str, ...], owner: Collection[str]) -> str:
    return json.dumps({kind: list(owner) if kind == "owner" else [] for kind in kinds})


class Records:
    """The records inside one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # ------------------------------------------------------------------------------------------ names

    def chain(self, path: str) -> list[Name | None]:
        """A name with all that it lies in, from the root down; None for what there is not."""
        segments = path.split("/")
        paths = ["/".join(segments[:count]) for count in range(1, len(segments) + 1)]
        marks = ",".join("?" * len(paths))
        rows = self._connection.execute(
            f"SELECT id, path, is_namespace, is_deleted, acls FROM name WHERE path IN ({marks})", paths
        )
        found = {row[1]: Name(row[0], row[1], bool(row[2]), bool(row[3]), row[4]) for row in rows}
        return [found.get(one) for one in paths]

    def children(self, name: Name) -> list[str]:
        """The paths of what lies directly in a namespace, in order."""
        rows = self._connection.execute(
            "SELECT path FROM name WHERE parent = ? AND NOT is_deleted ORDER BY path", (name.id,)
        )
        return [str(row[0]) for row in rows]

    def add_name(self, path: str, parent: Name, *, is_namespace: bool, owner: Collection[str]) -> Name:
        """Make a namespace or an object."""
        acls = _acls(NAMESPACE_ACLS if is_namespace else OBJECT_ACLS, owner)
        made = self._connection.execute(
            "INSERT INTO name (parent, path, is_namespace, acls) VALUES (?, ?, ?, ?)",
            (parent.id, path, is_namespace, acls),
        )
        return Name(int(made.lastrowid or 0), path, is_namespace, False, acls)

    def delete_names(self, name: Name) -> tuple[list[str], list[str]]:
        """Delete a name and all that lies in it; give the contents and the jobs that may have become unused."""
        below = """WITH RECURSIVE below (id) AS (
            VALUES (:top) UNION ALL SELECT name.id FROM name JOIN below ON name.parent = below.id) """
        top = {"top": name.id}
        run = self._connection.execute
        seqs = "SELECT seq FROM version WHERE name IN below"
        contents = [row[0] for row in run(f"{below} SELECT DISTINCT sha256 FROM version WHERE name IN below", top)]
        jobs = [row[0] for row in run(f"{below} SELECT id FROM job WHERE name IN below", top)]
        run(f"{below} DELETE FROM listed WHERE name IN below OR seq IN ({seqs})", top)
        run(f"{below} DELETE FROM version WHERE name IN below", top)
        run(f"{below} DELETE FROM chunk WHERE job IN (SELECT id FROM job WHERE name IN below)", top)
        run(f"{below} DELETE FROM job WHERE name IN below", top)
        run(f"{below} UPDATE name SET is_deleted = 1 WHERE id IN below", top)
        return contents, jobs

    def set_name_acls(self, name: Name, acls: Acls) -> None:
        """Replace the access lists of a namespace or an object."""
        self._connection.execute("UPDATE name SET acls = ? WHERE id = ?", (json.dumps(acls), name.id))

    # ------------------------------------------------------------------------------------------ versions

    _VERSION = """SELECT version.seq, version.id, home.path, sha256, md5, length, metadata, version.acls
        FROM version JOIN name AS home ON home.id = version.name"""

    def _versions(self, condition: str, values: tuple[str | int, ...]) -> list[Version]:
        rows = self._connection.execute(f"{self._VERSION} {condition}", values)
        return [
            Version(seq, vid, path, Digests(md5, sha256, length), json.loads(metadata), json.loads(acls))
            for seq, vid, path, sha256, md5, length, metadata, acls in rows
        ]

    def versions(self, name: Name, limit: int = -1) -> list[Version]:
        """The versions listed under an object, the newest first."""
        condition = "JOIN listed ON listed.seq = version.seq WHERE listed.name = ? ORDER BY listed.seq DESC LIMIT ?"
        return self._versions(condition, (name.id, limit))

    def current(self, name: Name) -> Version | None:
        """The newest version of an object, if it has any."""
        return next(iter(self.versions(name, 1)), None)

    def version(self, name: Name, version_id: str) -> Version | None:
        """A version that is listed under an object."""
        condition = "JOIN listed ON listed.seq = version.seq WHERE listed.name = ? AND version.id = ?"
        return next(iter(self._versions(condition, (name.id, version_id))), None)

    def contents(self, version_ids: Collection[str]) -> dict[tuple[str, str], str]:
        """The contents of versions, as SHA-256 by the path of their home and their id."""
        rows = self._connection.execute(
            """SELECT home.path, version.id, sha256 FROM version JOIN name AS home ON home.id = version.name
            WHERE version.id IN (SELECT value FROM json_each(?)) AND NOT home.is_deleted""",
            (json.dumps(list(version_ids)),),
        )
        return {(path, version_id): sha256 for path, version_id, sha256 in rows}

    def add_version(
        self, name: Name, version_id: str, digests: Digests, metadata: Mapping[str, str], owner: Collection[str]
    ) -> None:
        """Record a new version, which becomes the current one."""
        made = self._connection.execute(
            "INSERT INTO version (id, name, sha256, md5, length, metadata, acls) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                version_id,
                name.id,
                digests.sha256,
                digests.md5,
                digests.length,
                json.dumps(dict(metadata)),
                _acls(VERSION_ACLS, owner),
            ),
        )
        self._connection.execute("INSERT INTO listed VALUES (?, ?)", (name.id, made.lastrowid))

    def move_versions(self, versions: Collection[Version], target: Name) -> list[Version]:
        """Give versions a new home; where they were they stay listed. Give those that were elsewhere before."""
        moved = [version for version in versions if version.path != target.path]
        for version in moved:
            self._connection.execute("UPDATE version SET name = ? WHERE seq = ?", (target.id, version.seq))
            self._connection.execute("INSERT OR IGNORE INTO listed VALUES (?, ?)", (target.id, version.seq))
        return moved

    def delete_version(self, version: Version) -> None:
        """Delete a version, wherever it is listed."""
        self._connection.execute("DELETE FROM listed WHERE seq = ?", (version.seq,))
        self._connection.execute("DELETE FROM version WHERE seq = ?", (version.seq,))

    def set_metadata(self, version: Version, metadata: Mapping[str, str]) -> None:
        """Replace what is said of a version."""
        self._connection.execute(
            "UPDATE version SET metadata = ? WHERE seq = ?", (json.dumps(dict(metadata)), version.seq)
        )

    def set_version_acls(self, version: Version, acls: Acls) -> None:
        """Replace the access lists of a version."""
        self._connection.execute("UPDATE version SET acls = ? WHERE seq = ?", (json.dumps(acls), version.seq))

    def is_used(self, sha256: str) -> bool:
        """Whether some version has this content."""
        row = self._connection.execute("SELECT 1 FROM version WHERE sha256 = ? LIMIT 1", (sha256,)).fetchone()
        return row is not None

    # ------------------------------------------------------------------------------------------ upload jobs

    def add_job(self, job_id: str, name: Name, document: Mapping[str, str | int], owner: Collection[str]) -> None:
        """Begin an upload job."""
        self._connection.execute(
            "INSERT INTO job VALUES (?, ?, ?, ?)",
            (job_id, name.id, json.dumps(dict(document)), json.dumps(list(owner))),
        )

    def jobs(self, name: Name, job_id: str | None = None) -> list[Job]:
        """The upload jobs of an object, or the one with this id."""
        condition = "job.name = ?" + (" AND job.id = ?" if job_id else "")
        rows = self._connection.execute(
            f"SELECT id, document, owner FROM job WHERE {condition} ORDER BY id",
            (name.id, *([job_id] if job_id else [])),
        )
        return [Job(row[0], name.path, json.loads(row[1]), json.loads(row[2])) for row in rows]

    def set_chunk(self, job: Job, position: int, *, is_there: bool) -> None:
        """Say whether a chunk of a job is there."""
        statement = (
            "INSERT OR IGNORE INTO chunk VALUES (?, ?)"
            if is_there
            else "DELETE FROM chunk WHERE (job, position) = (?, ?)"
        )
        self._connection.execute(statement, (job.id, position))

    def count_chunks(self, job: Job) -> int:
        """How many chunks of a job are there."""
        return int(self._connection.execute("SELECT count(*) FROM chunk WHERE job = ?", (job.id,)).fetchone()[0])

    def delete_job(self, job: Job) -> None:
        """End an upload job."""
        self.forget_job(job.id)

    def forget_job(self, job_id: str) -> None:
        """End the upload job of this id, if there is one."""
        self._connection.execute("DELETE FROM chunk WHERE job = ?", (job_id,))
        self._connection.execute("DELETE FROM job WHERE id = ?", (job_id,))


class NameStore:
    """The database of the records.

    Args:
        path: The file; made by the first write.
        owner: Roles that own the root namespace of a new store.
        wanted: The format of the file.
    """

    def __init__(self, path: Path, owner: Collection[str] = (), *, wanted: Format = FORMAT) -> None:
        self.path = path
        self._format = wanted
        self._owner = tuple(owner)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._idle: list[sqlite3.Connection] = []
        self._empty: sqlite3.Connection | None = None
        self._closed = False

    @contextmanager
    def read(self) -> Iterator[Records]:
        """The records as of one moment."""
        if self._is_new():
            with self._lock:
                yield Records(self._nothing())
            return
        connection = self._borrow()
        try:
            connection.execute("BEGIN")
            try:
                yield Records(connection)
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._give_back(connection)

    @contextmanager
    def write(self) -> Iterator[Records]:
        """Change the records: whole at the end of the block, or, if it raises, not at all."""
        with self._writing:
            if self._writer is None:
                self._create()
                self._writer = self._open(read_only=False)
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Records(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connections."""
        with self._writing, self._lock:
            self._closed = True
            for connection in (self._writer, self._empty, *self._idle):
                if connection is not None:
                    connection.close()
            self._writer = self._empty = None
            self._idle.clear()

    def _is_new(self) -> bool:
        """Whether the database is still to be made.

        Raises:
            FolderError: It is lost: there are objects.
        """
        if self.path.exists():
            return False
        if not self.path.parent.is_dir():
            raise FolderError(f"The catalog's folder is gone: {self.path.parent}", hint="was it moved?")
        contents = (self.path.parent / "objects").glob("[0-9a-f][0-9a-f]/*")
        if next(contents, None) is None:
            return True
        if self.path.exists():
            return False  # another process made it meanwhile
        raise FolderError(
            f"The records of the object store are missing: {self.path}", hint="restore the folder from a backup"
        )

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        return open_format(self.path, self._format, read_only=read_only)

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._open(read_only=True)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and not isinstance(connection, Frozen) and len(self._idle) < 4:
                self._idle.append(connection)
                return
        connection.close()

    def _nothing(self) -> sqlite3.Connection:
        """A database in memory for as long as there is no other: it holds the root namespace only."""
        if self._empty is None:
            self._empty = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._fill(self._empty)
        return self._empty

    def _fill(self, connection: sqlite3.Connection) -> None:
        connection.executescript(SCHEMA)
        connection.execute(
            "INSERT INTO name (path, is_namespace, acls) VALUES ('', 1, ?)", (_acls(NAMESPACE_ACLS, self._owner),)
        )
        connection.execute(f"PRAGMA user_version = {FORMAT.number}")

    def _create(self) -> None:
        """Make the database, whole or not at all, even if another process does so at the same time."""
        if not self._is_new():
            return

        def make(draft: Path) -> None:
            with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                self._fill(connection)

        place_new(self.path, make)
