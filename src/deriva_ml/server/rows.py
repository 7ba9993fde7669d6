"""Rows of a catalog, read and written through data paths.

Reading gives bytes in one of the media types of `deriva_ml.wire.rows`, some rows at a time; writing gives what the
answer tells of, which `send` turns into bytes. Whoever calls decides about media types, ETags and statuses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from deriva_ml.server import insert as inserting
from deriva_ml.server import update as updating
from deriva_ml.server.access import Access
from deriva_ml.server.errors import BadRequest, Conflict, translate
from deriva_ml.server.guards import Narrowed, narrowed, with_visible_tables
from deriva_ml.server.inputs import Body
from deriva_ml.server.insert import Written
from deriva_ml.server.query import (
    Statement,
    compile_rids,
    compile_select,
    context_table,
    resolve_column,
    resolve_table,
)
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.model import Column, Table
from deriva_ml.wire.rows import BATCH, CSV, JSON, JSON_STREAM, Field, StoredRow, encode, in_batches
from deriva_ml.wire.syntax import DataPath, Item, Name, render_expression

TOO_MUCH = ("at most", "too many", "too large", "parser stack overflow", "no query solution")
"""Words of what SQLite says of a query that is beyond its limits: tables of a join, columns, depth."""

__all__ = ["Written", "delete", "delete_values", "insert", "read", "send", "update", "upsert"]


# ----------------------------------------------------------------------------------------------------------- reading


def read(view: View, path: DataPath, media: str = JSON, *, arrays_as_json: bool = False) -> Iterator[bytes]:
    """Run a query and give its rows in parts.

    The query is compiled and its first rows are read before this returns, so that what is wrong with the request is
    refused here. The rest is read as the parts are taken, while the view is open.

    Args:
        view: The catalog as of a moment.
        path: The query.
        media: The media type to give.
        arrays_as_json: In CSV, arrays are JSON.

    Raises:
        ServiceError: The request does not fit the model, or a value fits its type not.
    """
    statement = compile_select(path, view, view.may if isinstance(view, Narrowed) else None)
    batches = _batches(view, statement)
    first = next(batches)
    fields = [Field(name, type_) for name, type_ in statement.outputs]
    return encode(fields, chain((first,), batches), media, arrays_as_json=arrays_as_json)


def _batches(view: View, statement: Statement) -> Iterator[Sequence[StoredRow]]:
    """The rows of a query, some at a time; at least one batch, which may be empty."""
    try:
        cursor = view.connection.execute(statement.sql, statement.params)
        batch = cursor.fetchmany(BATCH)
        yield batch
        while len(batch) == BATCH:
            batch = cursor.fetchmany(BATCH)
            yield batch
    except sqlite3.Error as error:
        raise _refusal(error, view) from error


def _refusal(error: sqlite3.Error, view: View) -> Exception:
    """What a fault while a query runs amounts to: one of the data is a conflict, a defect stays what it is."""
    if any(words in str(error) for words in ("user-defined", "integer overflow", "malformed JSON")):
        return Conflict(f"The query cannot be answered: {error}.")
    if any(words in str(error) for words in TOO_MUCH):
        return BadRequest(f"The query is too large: {error}.")
    return translate(error, view.path) or error


def send(written: Written, media: str | None = None, *, arrays_as_json: bool = False) -> Iterator[bytes]:
    """The answer that tells of rows that were written.

    Args:
        written: The rows.
        media: The media type; that of the request if it is not given.
        arrays_as_json: In CSV, arrays are JSON.
    """
    media = media or written.media
    runs = [run for run in written.runs if run[1]] or list(written.runs[:1])
    if media == CSV:
        # The original answers CSV without any row by nothing at all; and a header must fit all rows.
        return iter(()) if not written.given else _as_csv(runs, arrays_as_json=arrays_as_json)
    if media == JSON_STREAM or len(runs) == 1:
        return chain.from_iterable(encode(fields, in_batches(rows), media) for fields, rows in runs)
    objects = [b"".join(encode(fields, in_batches(rows), media)).removesuffix(b"]\n") for fields, rows in runs]
    return iter([objects[0], *(b",\n " + text.removeprefix(b"[") for text in objects[1:]), b"]\n"])


def _as_csv(runs: Sequence[tuple[Sequence[Field], Sequence[StoredRow]]], *, arrays_as_json: bool) -> Iterator[bytes]:
    fields = runs[-1][0]
    width = len(fields)
    padded = ([(*row, *[None] * (width - len(row))) for row in rows] for _, rows in runs)
    return encode(fields, padded, CSV, arrays_as_json=arrays_as_json)


# ----------------------------------------------------------------------------------------------------------- writing


def insert(
    tx: Transaction,
    path: DataPath,
    body: Body,
    content_type: str | None = None,
    *,
    defaults: Collection[str] = (),
    nondefaults: Collection[str] = (),
    on_conflict: str | None = None,
) -> Written:
    """``POST entity/T``: insert rows.

    Args:
        tx: The transaction.
        path: The table, and nothing else.
        body: The rows.
        content_type: Their media type.
        defaults: Columns that take their defaults whatever the rows say.
        nondefaults: System columns that the rows give.
        on_conflict: ``skip`` or ``abort``, which is also what happens without it.
    """
    if on_conflict not in (None, "abort", "skip"):
        raise BadRequest(
            f'Unknown action name in query parameter onconflict="{on_conflict}". Expected "skip" or "abort".'
        )
    table = _sole_table(tx, path, "insertion")
    return inserting.insert(
        tx,
        table,
        body,
        content_type,
        defaults=defaults,
        nondefaults=nondefaults,
        on_conflict=on_conflict or "abort",
    )


def upsert(tx: Transaction, path: DataPath, body: Body, content_type: str | None = None) -> Written:
    """``PUT entity/T``: replace rows by their keys, insert the others."""
    return updating.upsert(tx, _sole_table(tx, path, "update"), body, content_type)


def update(tx: Transaction, path: DataPath, body: Body, content_type: str | None = None) -> Written:
    """``PUT attributegroup/T/keys;targets``: write some columns of the rows that some others find."""
    table = _sole_table(tx, path, "update", what="Attribute group")
    keys, targets = _named(table, path.projection), _named(table, path.aggregates)
    if not targets:
        raise BadRequest("Attribute group PUT requires at least one target attribute.")
    return updating.update(tx, table, keys, targets, body, content_type)


def delete(tx: Transaction, path: DataPath) -> None:
    """``DELETE entity/path``: delete the rows of the path's context."""
    table, rids = _chosen(tx, path)
    updating.delete(tx, table, rids)


def delete_values(tx: Transaction, path: DataPath) -> None:
    """``DELETE attribute/path/columns``: make columns null in the rows of the path's context."""
    table, rids = _chosen(tx, path)
    updating.clear(tx, table, list(_named(table, path.projection).values()), rids)


def _sole_table(tx: Transaction, path: DataPath, purpose: str, *, what: str = "Entity") -> Table:
    """The table of a path that must have nothing but a table."""
    if path.steps:
        kinds = {type(step).__name__ for step in path.steps}
        if kinds == {"FilterStep"}:
            raise BadRequest(f"{what} filters not allowed during {what.lower()} {purpose}.")
        raise BadRequest(f"unsupported path length for {purpose}")
    table = resolve_table(with_visible_tables(Access(tx.model, tx.client)), path.root.table)
    if table.kind != "table":
        raise Conflict(f"Entity :{table.schema}:{table.name} is not writable.")
    return table


def _named(table: Table, items: Sequence[Item]) -> dict[str, Column]:
    """The columns that a projection names, by their names in the request."""
    found: dict[str, Column] = {}
    for item in items:
        if not isinstance(item.expression, Name):
            raise BadRequest(f"Aggregated column {render_expression(item.expression)} not allowed in PUT.")
        parts = item.expression.parts
        if len(parts) > 1:
            raise Conflict(f"Column {render_expression(item.expression)} is not a column of the table to change.")
        name = item.name or parts[0]
        if name in found:
            raise Conflict(f'column "{name}" specified more than once')
        found[name] = resolve_column(table, parts[0])
    return found


def _chosen(tx: Transaction, path: DataPath) -> tuple[Table, list[str]]:
    """The context's table of a path, and the RIDs of the rows of it that the path selects."""
    access = Access(tx.model, tx.client)
    seen = context_table(path, narrowed(tx, access))
    table = tx.model.tables_by_rid[seen.rid]
    if table.kind != "table":
        raise Conflict(f"Entity :{table.schema}:{table.name} is not writable.")
    statement = compile_rids(path, tx if access.is_all else Narrowed(tx, access, whole=table))
    try:
        found = tx.connection.execute(statement.sql, statement.params).fetchall()
    except sqlite3.Error as error:
        raise _refusal(error, tx) from error
    return table, [row[0] for row in found]
