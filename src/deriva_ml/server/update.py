"""Changing rows that are there: whole rows by their keys, some columns by some others, and clearing columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from deriva_ml.server.access import Access
from deriva_ml.server.connections import quote
from deriva_ml.server.errors import Conflict, NotFound
from deriva_ml.server.expressions import level_sql
from deriva_ml.server.guards import need_references, need_rows
from deriva_ml.server.inputs import Body, Inputs, read_inputs, refuse_repeated
from deriva_ml.server.insert import Written, add_rows, fields_of, rids_of
from deriva_ml.server.integrity import Change, pack, physical
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, Table
from deriva_ml.wire.rows import Field, StoredRow

__all__ = ["clear", "delete", "update", "upsert"]


def upsert(tx: Transaction, table: Table, body: Body, content_type: str | None = None) -> Written:
    """Write whole rows: a row whose keys all agree with a stored one replaces it, another is inserted.

    A row that agrees with a stored one in some of its keys only is left out, as ERMrest leaves it out.

    Args:
        tx: The transaction.
        table: The table.
        body: The rows; columns that they lack become null.
        content_type: Their media type.

    Returns:
        The rows that were changed, without system columns, then those that were inserted, with them.
    """
    access = Access(tx.model, tx.client)
    access.need(table, "update")
    wanted = {column.name: column for column in table.columns if not column.is_system}
    keyed = {name for key in table.keys for name in key.columns} - set(SYSTEM_COLUMNS)
    if not keyed:
        raise Conflict("Entity PUT requires at least one client-managed key for input correlation.")
    inputs = read_inputs(body, content_type, table, wanted)
    keys = {name: wanted[name] for name in wanted if name in keyed}
    refuse_repeated(inputs, list(keys))
    _need_found(access, table, keys.values())
    matches = _matches(tx, table, inputs, keys)
    rest = [name for name in wanted if name not in keyed]
    for name in rest if matches else ():
        access.need(wanted[name], "update", table)
    need_rows(tx, access, table, "update", [rid for _, rid in matches], [wanted[name] for name in rest])
    changed = _rewrite(tx, table, inputs, matches, {name: wanted[name] for name in rest})
    need_references(tx, access, table, "update", [rid for _, rid in matches], rest)
    known = {place for place, _ in matches}
    fresh = [place for place in range(inputs.count) if place not in known]
    added: Sequence[StoredRow] = []
    if fresh:
        access.need_outright(table, "insert")
        picked = {name: [values[place] for place in fresh] for name, values in inputs.values.items()}
        added = add_rows(tx, table, Inputs(len(fresh), picked, inputs.media), skip=True)
        need_references(tx, access, table, "insert", rids_of(table, added), wanted.keys())
    tx.touch()
    values = [inputs.values[name] for name in wanted]
    runs = ((fields_of(wanted.values()), [tuple(column[place] for column in values) for place in changed]),)
    if not added:
        return Written(runs, inputs.media, inputs.count)
    order = [*wanted.values(), *(column for column in table.columns if column.is_system)]
    places = [table.columns.index(column) for column in order]
    whole = (fields_of(order), [tuple(row[place] for place in places) for row in added])
    return Written((*runs, whole) if changed else (whole,), inputs.media, inputs.count)


def update(
    tx: Transaction,
    table: Table,
    keys: Mapping[str, Column],
    targets: Mapping[str, Column],
    body: Body,
    content_type: str | None = None,
) -> Written:
    """Write some columns of the rows that agree in some others.

    Args:
        tx: The transaction.
        table: The table.
        keys: The columns by which rows are found, by their names in the request.
        targets: The columns to write, likewise.
        body: The rows of the request.
        content_type: Their media type.

    Returns:
        For each stored row that was changed, the values that it was found by and given.
    """
    access = Access(tx.model, tx.client)
    twice = keys.keys() & targets.keys()
    if twice:
        raise Conflict(f'column "{min(twice)}" specified more than once')
    for name, times in Counter(column.name for column in targets.values()).items():
        if times > 1:
            raise Conflict(f'multiple assignments to same column "{name}"')
    for column in targets.values():
        if column.is_system:
            raise access.refuse(f"update access on :{table.schema}:{table.name}:{column.name}")
        access.need(column, "update", table)
    access.need(table, "update")
    _need_found(access, table, keys.values())
    wanted = {**keys, **targets}
    inputs = read_inputs(body, content_type, table, wanted)
    refuse_repeated(inputs, list(keys))
    matches = _matches(tx, table, inputs, keys)
    need_rows(tx, access, table, "update", [rid for _, rid in matches], list(targets.values()))
    changed = _rewrite(tx, table, inputs, matches, targets)
    written = [column.name for column in targets.values()]
    need_references(tx, access, table, "update", [rid for _, rid in matches], written)
    tx.touch()
    fields = tuple(Field(name, column.type) for name, column in wanted.items())
    values = [inputs.values[name] for name in wanted]
    rows = [tuple(column[place] for column in values) for place in changed]
    return Written(((fields, rows),), inputs.media, inputs.count)


def delete(tx: Transaction, table: Table, rids: Collection[str]) -> None:
    """Delete rows of one table, with what their deletion takes with it.

    Raises:
        NotFound: There are none.
    """
    access = Access(tx.model, tx.client)
    access.need(table, "delete")
    if not rids:
        raise NotFound("entities matching request path")
    need_rows(tx, access, table, "delete", rids)
    change = Change(tx)
    change.delete(table, rids)
    change.finish()
    tx.touch()


def clear(tx: Transaction, table: Table, columns: Sequence[Column], rids: Collection[str]) -> None:
    """Make columns null in rows of one table.

    Raises:
        NotFound: There are no rows.
        Conflict: A column is part of a key, or has no nulls.
    """
    access = Access(tx.model, tx.client)
    keyed = set(chain.from_iterable(key.columns for key in table.keys))
    for column in columns:
        if column.is_system:
            raise access.refuse(f"update access on :{table.schema}:{table.name}:{column.name}")
        if column.name in keyed:
            raise Conflict(
                f"Deletion of attribute {column.name} not supported because it is part of a unique key of "
                f"table {table.name}."
            )
        access.need(column, "update", table)
    access.need(table, "update")
    if not rids:
        raise NotFound("entities matching request path")
    need_rows(tx, access, table, "update", rids, columns)
    change = Change(tx)
    change.update(table, columns, [(*(None for _ in columns), rid) for rid in rids])
    change.finish()
    tx.touch()


def _need_found(access: Access, table: Table, columns: Iterable[Column]) -> None:
    """Refuse to find rows by what the client may not read: whether one is found would tell what is in it."""
    for column in columns:
        access.need(column, "select", table)


def _matches(tx: Transaction, table: Table, inputs: Inputs, keys: Mapping[str, Column]) -> list[tuple[int, str]]:
    """The places of input rows and the RIDs of stored rows that agree in the keys, in the order of the input."""
    columns = [inputs.values[name] for name in keys]
    if len(columns) == 1:
        packed, parts = pack(columns[0]), ["j.value"]
    else:
        packed = pack(map(list, zip(*columns, strict=True)))
        parts = [f"json_extract(j.value, '$[{place}]')" for place in range(len(columns))]
    tests = [
        f"{level_sql(column.type, f't.{quote(column.storage)}')} {'IS' if column.nullok else '='} "
        f"{level_sql(column.type, part)}"
        for column, part in zip(keys.values(), parts, strict=True)
    ]
    return tx.connection.execute(
        f'SELECT j.key, t."RID" FROM json_each(?) AS j CROSS JOIN {physical(table)} AS t '
        f"ON {' AND '.join(tests)} ORDER BY j.key, t.rowid",
        (packed,),
    ).fetchall()


def _rewrite(
    tx: Transaction, table: Table, inputs: Inputs, matches: Sequence[tuple[int, str]], targets: Mapping[str, Column]
) -> list[int]:
    """Give the rows that matched their new values; the places of the input rows, one for each stored row."""
    values = [inputs.values[name] for name in targets]
    change = Change(tx)
    rows = [(*(column[place] for column in values), rid) for place, rid in matches]
    change.update(table, list(targets.values()), rows)
    change.finish()
    return [place for place, _ in matches]
