"""A column's values in another type: what ``ALTER COLUMN ... TYPE`` does.

The values go into a new physical column, so that snapshots from before the change still find the old ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from deriva_ml.server import physical
from deriva_ml.server.collation import base_type
from deriva_ml.server.connections import quote
from deriva_ml.server.errors import Conflict
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import Column, ColumnType, Table
from deriva_ml.wire.values import Stored, codec, is_serial

__all__ = ["convert_column"]

JSON = ("json", "jsonb")
INTEGERS = ("int2", "int4", "int8")
MOMENT_TO_TIME = frozenset({("timestamp", "time"), ("timestamptz", "time"), ("timestamptz", "timetz")})


def convert_column(tx: Transaction, table: Table, old: Column, new: Column) -> Column:
    """Make the physical column of a retyped column and fill it; gives the column with its new storage.

    Raises:
        Conflict: A value cannot be had in the new type.
    """
    connection = tx.connection
    if is_serial(new.type) and not is_serial(old.type):
        raise Conflict(f'type "{new.type.name}" does not exist')
    taken = set(physical.columns_of(connection, table.rid))
    generation = 1
    while physical.storage_name(new.name, new.rid, generation=generation) in taken:
        generation += 1
    made = replace(new, storage=physical.storage_name(new.name, new.rid, generation=generation))
    physical.drop_column_index(connection, table.rid, old)
    physical.add_column(connection, table.rid, made)
    name, before, after = quote(f"t_{table.rid}"), quote(old.storage), quote(made.storage)
    change = _converter(old.type, new.type)
    try:
        values = [
            (change(value), value)
            for (value,) in connection.execute(f"SELECT DISTINCT {before} FROM {name} WHERE {before} IS NOT NULL")
        ]
    except (ValueError, OverflowError) as error:
        raise Conflict(f'column "{new.name}" cannot be cast to type {new.type.name}: {error}') from error
    # The row itself does not change, so no version of it ends here.
    physical.silence(connection, table.rid)
    _fill(connection, name, before, after, values)
    physical.watch(connection, table.rid, physical.columns_of(connection, table.rid))
    return made


def _fill(
    connection: sqlite3.Connection, name: str, before: str, after: str, values: list[tuple[Stored, Stored]]
) -> None:
    connection.execute("CREATE TEMP TABLE conversion (old PRIMARY KEY, new)")
    try:
        connection.executemany("INSERT INTO temp.conversion (new, old) VALUES (?, ?)", values)
        connection.execute(
            f"UPDATE {name} SET {after} = (SELECT new FROM temp.conversion WHERE old = {before}) "
            f"WHERE {before} IS NOT NULL"
        )
    finally:
        connection.execute("DROP TABLE temp.conversion")


def _converter(old: ColumnType, new: ColumnType) -> Callable[[Stored], Stored]:
    """What PostgreSQL's explicit cast does: by the value's text, where there is no better way."""
    read, text = codec(new).read, codec(old).text
    before, after = base_type(old).name, base_type(new).name
    if after in JSON and before not in (*JSON, "text"):
        raise Conflict(f"cannot cast type {old.name} to {new.name}")
    if before.startswith("float") and after in INTEGERS:
        # half to even
        return lambda value: read(str(round(float(value or 0))))
    if (before, after) == ("int4", "boolean"):
        return lambda value: read("true" if value else "false")
    if (before, after) == ("boolean", "int4"):
        return lambda value: read("1" if value else "0")
    if (before, after) in MOMENT_TO_TIME:
        return lambda value: read(text(value).split(" ")[1])
    return lambda value: read(text(value))
