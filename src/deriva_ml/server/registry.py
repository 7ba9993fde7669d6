"""Which catalogs and aliases a folder holds: the service's own database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from deriva_ml.core.values import dataclass
from deriva_ml.server.connections import BUSY_SECONDS, open_format
from deriva_ml.server.formats import Format
from deriva_ml.server.small_database import SmallDatabase, place_database
from deriva_ml.wire.model import Document

__all__ = ["FORMAT", "Entry", "Registry"]

FORMAT = Format(0)

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, is_catalog INTEGER NOT NULL, doc TEXT NOT NULL,
                                    deleted INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
"""Every catalog and alias that there ever was; ids are not used twice."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A catalog or an alias.

    Attributes:
        id: Its id.
        is_catalog: It has a database of its own; an alias has not.
        doc: What is known of it beside its content: ``name``, ``description``, ``clone_source``, ``owner``,
            ``alias_target``, ``is_persistent``.
    """

    id: str
    is_catalog: bool
    doc: Document


class Registry:
    """The entries of a folder.

    Args:
        path: The database; `create` makes it.
        busy_seconds: How long to wait for other processes.
    """

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._database = SmallDatabase(
            path,
            lambda file: open_format(file, FORMAT, read_only=False, timeout=busy_seconds, alone=True),
            busy_seconds=busy_seconds,
        )

    @staticmethod
    def create(path: Path) -> None:
        """Make the database, unless it is there."""
        if not path.exists():
            place_database(path, SCHEMA)

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        """Change entries: all of the block, or nothing if it raises."""
        return self._database.write()

    def find(self, entry_id: str) -> Entry | None:
        """The catalog or alias of this id, if there is one."""
        with self._database.open() as connection:
            row = connection.execute(
                "SELECT id, is_catalog, doc FROM entries WHERE id = ? AND deleted = 0", (entry_id,)
            ).fetchone()
        return Entry(row[0], bool(row[1]), json.loads(row[2])) if row else None

    def entries(self) -> list[Entry]:
        """All catalogs and aliases."""
        with self._database.open() as connection:
            rows = connection.execute("SELECT id, is_catalog, doc FROM entries WHERE deleted = 0").fetchall()
        return [Entry(row[0], bool(row[1]), json.loads(row[2])) for row in rows]

    @staticmethod
    def is_used(connection: sqlite3.Connection, entry_id: str, *, aliases: bool = True) -> bool:
        """Something has this id, or a catalog had it: the id of a deleted catalog is not given out again.

        Args:
            connection: Of a `write` block.
            entry_id: The id.
            aliases: The id of a deleted alias counts as well.
        """
        row = connection.execute("SELECT is_catalog, deleted FROM entries WHERE id = ?", (entry_id,)).fetchone()
        return row is not None and (aliases or bool(row[0]) or not row[1])

    @staticmethod
    def is_live(connection: sqlite3.Connection, entry_id: str) -> bool:
        """A catalog or an alias has this id now.

        Args:
            connection: Of a `write` block.
            entry_id: The id.
        """
        row = connection.execute("SELECT 1 FROM entries WHERE id = ? AND NOT deleted", (entry_id,)).fetchone()
        return row is not None

    @staticmethod
    def next_id(connection: sqlite3.Connection) -> str:
        """The next serial number."""
        rows = connection.execute("SELECT id FROM entries WHERE id GLOB '[1-9]*' AND id NOT GLOB '*[^0-9]*'")
        return str(max((int(row[0]) for row in rows), default=0) + 1)

    @staticmethod
    def put(connection: sqlite3.Connection, entry: Entry) -> None:
        """Write an entry, anew or over its old form."""
        connection.execute(
            "INSERT INTO entries (id, is_catalog, doc) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, deleted = 0",
            (entry.id, entry.is_catalog, json.dumps(entry.doc)),
        )

    @staticmethod
    def delete(connection: sqlite3.Connection, entry_id: str) -> None:
        """Mark an entry as deleted."""
        connection.execute("UPDATE entries SET deleted = 1 WHERE id = ?", (entry_id,))

    def close(self) -> None:
        """Close the database."""
        self._database.close()
