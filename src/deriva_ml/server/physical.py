"""The SQL that makes the tables, triggers and indexes under a model's table.

``t_<RID>`` holds current rows, ``h_<RID>`` ended versions with ``_from`` and ``_until``. A column is declared with the
affinity of its type's stored form. Every key and foreign key has an index; the other columns get theirs when the table
has become large, so that a small one is as quick to write, and to open, as it can be. Nothing physical is changed or
dropped while a snapshot may need it: a column that is dropped leaves the model only, and a column whose type changes
gets a new physical column.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from deriva_ml.server.errors import Conflict
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, ForeignKey, Key, Model, Table
from deriva_ml.wire.values import codec

__all__ = [
    "add_column",
    "add_indexes",
    "columns_of",
    "create",
    "drop",
    "drop_column_index",
    "drop_index",
    "index_columns",
    "is_large",
    "set_indexes_aside",
    "silence",
    "storage_name",
    "watch",
]

NOT_NULL = ("RID", "RCT", "RMT")

LARGE = 4096
"""From so many rows on, a look-up by reading them all costs more than the rest of a request."""

REBUILT = 3
"""Up to so many rows for each one that comes, indexes are made anew sooner than they are kept while the rows come."""

UNINDEXED = frozenset({"boolean", "float4", "float8", "json", "jsonb", "markdown", "longtext"})
"""Types whose values are few, or long, or seldom looked for one by one."""

PREFERENCES = "tag:isrd.isi.edu,2018:indexing-preferences"
"""The annotation that says of a column, a table, a schema or the catalog which indexes are wanted."""


def _quoted(names: Iterable[str], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in names)


def _declared(column: Column) -> str:
    return f'"{column.storage}" {codec(column.type).affinity}'


def columns_of(connection: sqlite3.Connection, rid: str) -> list[str]:
    """The physical columns of a table, those of dropped and retyped columns too, without ``_from``."""
    rows = connection.execute(f'PRAGMA table_info("t_{rid}")').fetchall()
    return [row[1] for row in rows if row[1] != "_from"]


def create(connection: sqlite3.Connection, table: Table) -> None:
    """Make the physical tables of a new table, with its triggers and indexes."""
    storages = [column.storage for column in table.columns]
    ended = [_declared(column) for column in table.columns]
    own = [text + " NOT NULL" if name in NOT_NULL else text for name, text in zip(storages, ended, strict=True)]
    connection.execute(f'CREATE TABLE "t_{table.rid}" ({", ".join(own)}, _from INTEGER NOT NULL)')
    connection.execute(
        f'CREATE TABLE "h_{table.rid}" ({", ".join(ended)}, _from INTEGER NOT NULL, _until INTEGER NOT NULL)'
    )
    connection.execute(f'CREATE INDEX "h_{table.rid}_rid" ON "h_{table.rid}" (RID, _from)')
    connection.execute(f'CREATE INDEX "h_{table.rid}_until" ON "h_{table.rid}" (_until)')
    watch(connection, table.rid, storages)
    add_indexes(connection, table, (*table.keys, *table.foreign_keys))


def watch(connection: sqlite3.Connection, rid: str, storages: Sequence[str]) -> None:
    """Make the triggers that keep ended versions, and the index of RIDs."""
    now = "(SELECT now FROM state)"
    keep = (
        f'INSERT INTO "h_{rid}" ({_quoted(storages)}, _from, _until) '
        f"VALUES ({_quoted(storages, 'OLD.')}, OLD._from, {now});"
    )
    # A version that the same transaction made was never visible, so it has no history.
    for event in ("UPDATE", "DELETE"):
        connection.execute(
            f'CREATE TRIGGER "t_{rid}_{event.lower()}" AFTER {event} ON "t_{rid}" '
            f"WHEN OLD._from < {now} BEGIN {keep} END"
        )
    connection.execute(
        f'CREATE TRIGGER "t_{rid}_insert" AFTER INSERT ON "t_{rid}" '
        f"BEGIN INSERT OR IGNORE INTO rids VALUES (NEW.RID, '{rid}'); END"
    )


def silence(connection: sqlite3.Connection, rid: str) -> None:
    """Drop the triggers, so that physical columns can be added or filled without making history."""
    for event in ("update", "delete", "insert"):
        connection.execute(f'DROP TRIGGER "t_{rid}_{event}"')


def add_column(connection: sqlite3.Connection, rid: str, column: Column) -> None:
    """Add a physical column, empty, to a table and its history."""
    silence(connection, rid)
    for name in ("t", "h"):
        connection.execute(f'ALTER TABLE "{name}_{rid}" ADD COLUMN {_declared(column)}')
    watch(connection, rid, columns_of(connection, rid))


def add_indexes(connection: sqlite3.Connection, table: Table, constraints: Iterable[Key | ForeignKey]) -> None:
    """Make the unique index of each key and the plain one of each foreign key, and both for ended rows too.

    Raises:
        Conflict: The rows are not unique.
    """
    for constraint in constraints:
        unique = "UNIQUE " if isinstance(constraint, Key) else ""
        columns = _quoted(column.storage for name in constraint.columns if (column := table.column(name)) is not None)
        if constraint.columns != ("RID",):
            connection.execute(f'CREATE INDEX "e_{constraint.rid}" ON "h_{table.rid}" ({columns})')
        try:
            connection.execute(f'CREATE {unique}INDEX "i_{constraint.rid}" ON "t_{table.rid}" ({columns})')
        except sqlite3.IntegrityError as error:
            raise Conflict(
                f'could not create unique index "{constraint.name[1]}"\n'
                f"DETAIL:  Key ({', '.join(constraint.columns)}) is duplicated.\n"
            ) from error


def is_large(connection: sqlite3.Connection, rid: str) -> bool:
    """Whether a table has, or has had, so many rows that its columns are indexed."""
    return _last(connection, rid) >= LARGE


def _last(connection: sqlite3.Connection, rid: str) -> int:
    """About how many rows a table has: the number of the last one."""
    return connection.execute(f'SELECT max(rowid) FROM "t_{rid}"').fetchone()[0] or 0


def index_columns(connection: sqlite3.Connection, model: Model, table: Table) -> bool:
    """Make the indexes of single columns that a large table lacks; gives whether there were any to make.

    The time of creation is indexed with the RID, so that the latest rows are found in an order that is total.
    """
    leading = {constraint.columns[0] for constraint in table.constraints}
    there = {row[1] for row in connection.execute(f'PRAGMA index_list("t_{table.rid}")')}
    lacking = [
        column
        for column in table.columns
        if column.name not in leading
        and _column_index(table.rid, column) not in there
        and _is_indexed(model, table, column)
    ]
    for column in lacking:
        columns = _quoted([column.storage, "RID"] if column.name == "RCT" else [column.storage])
        connection.execute(f'CREATE INDEX "{_column_index(table.rid, column)}" ON "t_{table.rid}" ({columns})')
    return bool(lacking)


def set_indexes_aside(connection: sqlite3.Connection, table: Table, count: int) -> bool:
    """Drop the indexes of single columns before many rows come, where making them anew is quicker than keeping them.

    Args:
        connection: The database, inside a transaction.
        table: The table.
        count: How many rows are to come.

    Returns:
        Whether there were any, so that `index_columns` is due when the rows are in.
    """
    if count < LARGE or _last(connection, table.rid) > REBUILT * count:
        return False
    there = {row[1] for row in connection.execute(f'PRAGMA index_list("t_{table.rid}")')}
    doomed = [column for column in table.columns if _column_index(table.rid, column) in there]
    for column in doomed:
        drop_column_index(connection, table.rid, column)
    return bool(doomed)


def _is_indexed(model: Model, table: Table, column: Column) -> bool:
    if column.name in ("RMT", "RCB", "RMB") or column.type.is_array or column.type.name in UNINDEXED:
        return False
    schema = model.schemas.get(table.schema)
    for element in (column, table, schema, model):
        preference = element.annotations.get(PREFERENCES) if element is not None else None
        if isinstance(preference, dict) and preference.get("btree") is not None:
            return preference["btree"] is not False
    return True


def _column_index(rid: str, column: Column) -> str:
    return f"x_{rid}_{column.storage}"


def drop_column_index(connection: sqlite3.Connection, rid: str, column: Column) -> None:
    """Drop the index of a single column, if there is one."""
    connection.execute(f'DROP INDEX IF EXISTS "{_column_index(rid, column)}"')


def drop_index(connection: sqlite3.Connection, constraint: Key | ForeignKey) -> None:
    """Drop the indexes of a key or foreign key."""
    for name in ("i", "e"):
        connection.execute(f'DROP INDEX IF EXISTS "{name}_{constraint.rid}"')


def drop(connection: sqlite3.Connection, rid: str) -> None:
    """Drop the physical tables of a table that no snapshot can need any more."""
    for name in ("t", "h"):
        connection.execute(f'DROP TABLE IF EXISTS "{name}_{rid}"')
    connection.execute("DELETE FROM rids WHERE home = ?", (rid,))


def storage_name(name: str, rid: str, *, generation: int = 0) -> str:
    """The name of a physical column: a system column's own, else from the column's RID and how often it was retyped."""
    if name in SYSTEM_COLUMNS:
        return name
    return f"c_{rid}" + (f"_{generation}" if generation else "")
