"""Inserting rows: defaults, system columns, templates, and what a conflict does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat

from deriva_ml.core.values import dataclass
from deriva_ml.server.access import Access
from deriva_ml.server.connections import quote
from deriva_ml.server.errors import Conflict
from deriva_ml.server.guards import need_references
from deriva_ml.server.inputs import Body, Inputs, read_inputs, refuse_repeated
from deriva_ml.server.integrity import INPUT_VIOLATES, Change, default_of, not_null, pack, physical, write_each
from deriva_ml.server.physical import index_columns, is_large, set_indexes_aside
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, Table
from deriva_ml.wire.rows import Field, StoredRow
from deriva_ml.wire.values import Stored, is_serial

__all__ = ["Written", "add_rows", "fields_of", "insert", "rids_of"]

LEASES = ("public", "ERMrest_RID_Lease")
TEMPLATED = {"ermrest_uri", "ermrest_curie"}
TEMPLATE_NAMES = {"URI", "ID", "uri", "id"}


@dataclass(frozen=True, slots=True)
class Written:
    """Rows that a request wrote, as the answer tells of them: runs of rows with the same fields.

    Attributes:
        runs: Fields and rows of each run.
        media: The media type of the request.
        given: How many rows the request brought.
    """

    runs: tuple[tuple[tuple[Field, ...], Sequence[StoredRow]], ...]
    media: str
    given: int


def fields_of(columns: Iterable[Column]) -> tuple[Field, ...]:
    """The fields in which columns are sent."""
    return tuple(Field(column.name, column.type) for column in columns)


def insert(
    tx: Transaction,
    table: Table,
    body: Body,
    content_type: str | None = None,
    *,
    defaults: Collection[str] = (),
    nondefaults: Collection[str] = (),
    on_conflict: str = "abort",
) -> Written:
    """Insert the rows of a request, all of them or none.

    Args:
        tx: The transaction.
        table: The table.
        body: The rows.
        content_type: Their media type.
        defaults: Columns that take their defaults whatever the rows say; the system columns are always among them.
        nondefaults: System columns that the rows give, for once.
        on_conflict: ``skip``: a row whose key is taken is left out; ``abort``: it is refused.

    Returns:
        The rows that were inserted, in the order in which they came, with all columns.
    """
    access = Access(tx.model, tx.client)
    access.need_outright(table, "insert")
    unknown = [name for name in defaults if table.column(name) is None]
    if unknown:
        raise Conflict(f"Requested column {unknown[0]} does not exist in table {table.name}.")
    defaulted = set(defaults) | (set(SYSTEM_COLUMNS) - set(nondefaults))
    wanted = {column.name: column for column in table.columns if column.name not in defaulted}
    if not wanted:
        raise Conflict("Entity insertion requires at least one non-defaulting column.")
    for column in wanted.values():
        if column.name in ("RCT", "RCB") and not access.is_all:
            raise access.refuse(f"insert access on :{table.schema}:{table.name}:{column.name}")
        if column.name != "RID":
            access.need_outright(column, "insert", table)
    inputs = read_inputs(body, content_type, table, wanted)
    keyed = {name for key in table.keys for name in key.columns}
    refuse_repeated(inputs, sorted(keyed & wanted.keys()))
    if "RID" in wanted:
        _spend_leases(tx, access, table, [str(rid) for rid in inputs.values["RID"]])
    rows = add_rows(tx, table, inputs, skip=on_conflict == "skip")
    if "RCT" in wanted:
        _lead_serials(tx, wanted.values(), inputs)
    if not access.is_all:
        need_references(tx, access, table, "insert", rids_of(table, rows), inputs.values.keys())
    return Written(((fields_of(table.columns), rows),), inputs.media, inputs.count)


def add_rows(tx: Transaction, table: Table, inputs: Inputs, *, skip: bool) -> Sequence[StoredRow]:
    """Insert rows whose values were read and whose repetition was refused.

    Args:
        tx: The transaction.
        table: The table.
        inputs: The rows; a column that is not among their values takes its default.
        skip: Leave out rows whose key is taken.

    Returns:
        The inserted rows, with the values of all columns in the model's order.
    """
    tx.touch()
    if not inputs.count:
        return []
    given = inputs.values
    rids = given["RID"] if "RID" in given else tx.next_rids(inputs.count)
    system: Mapping[str, Stored] = {"RCT": tx.now, "RMT": tx.now, "RCB": tx.client.id, "RMB": tx.client.id}
    columns: list[Iterable[Stored]] = []
    for column in table.columns:
        values: Iterable[Stored]
        if column.name == "RID":
            values = rids
        elif column.name in given:
            values = given[column.name]
        elif column.name in system:
            values = repeat(system[column.name], inputs.count)
        else:
            values = _defaults(tx, table, column, inputs.count)
        columns.append(_expanded(column, values, rids))
    rows = list(zip(*columns, strict=True))
    names = ", ".join(quote(column.storage) for column in table.columns)
    places = "?, " * len(columns)
    conflict = " ON CONFLICT DO NOTHING" if skip else ""
    sql = f"INSERT INTO {physical(table)} ({names}, _from) VALUES ({places}{tx.now}){conflict}"
    is_bare = set_indexes_aside(tx.connection, table, inputs.count)
    before = tx.connection.total_changes
    write_each(tx, table, sql, table.columns, rows)
    if skip and tx.connection.total_changes - before < 2 * len(rows):
        rows = _present(tx, table, rows)
    change = Change(tx)
    change.written(table, (column.name for column in table.columns), rids_of(table, rows))
    change.finish()
    _index(tx, table, is_bare=is_bare)
    return rows


def _index(tx: Transaction, table: Table, *, is_bare: bool) -> None:
    """Index the columns of a table that has become large; ``is_bare``: its indexes were set aside for the insertion."""
    if not is_bare and (tx.is_model_changed or tx.indexed.get(table.rid) == tx.model_snaptime):
        return
    # Only what is known to be committed is kept in mind: a transaction that fails takes its indexes with it.
    if is_large(tx.connection, table.rid) and not index_columns(tx.connection, tx.model, table):
        tx.indexed[table.rid] = tx.model_snaptime


def _lead_serials(tx: Transaction, columns: Iterable[Column], inputs: Inputs) -> None:
    """Move the counters of serial columns beyond the numbers of rows that came with their times.

    Who gives rows their times brings them from elsewhere, and can move no counter; the next row of somebody else must
    not meet a number that came along.
    """
    for column in columns:
        if is_serial(column.type):
            numbers = [value for value in inputs.values[column.name] if isinstance(value, int)]
            tx.lead_serials(column, max(numbers, default=0))


def rids_of(table: Table, rows: Iterable[StoredRow]) -> list[str]:
    """The RIDs of rows that have the values of all columns."""
    place = [column.name for column in table.columns].index("RID")
    return [str(row[place]) for row in rows]


def _defaults(tx: Transaction, table: Table, column: Column, count: int) -> Iterable[Stored]:
    if is_serial(column.type):
        return tx.next_serials(column, count)
    value = default_of(column)
    not_null(table, column, (value,), table.name, INPUT_VIOLATES)
    return repeat(value, count)


def _expanded(column: Column, values: Iterable[Stored], rids: Sequence[Stored]) -> Iterable[Stored]:
    """Put each row's RID into the identifiers that are made from a template."""
    if column.type.name not in TEMPLATED or column.name not in TEMPLATE_NAMES:
        return values
    return [
        value.replace("{RID}", str(rid), 1) if isinstance(value, str) else value
        for value, rid in zip(values, rids, strict=True)
    ]


def _present(tx: Transaction, table: Table, rows: Sequence[tuple[Stored, ...]]) -> list[tuple[Stored, ...]]:
    """Those of the rows that this transaction has just inserted, each RID once."""
    place = [column.name for column in table.columns].index("RID")
    found = {
        rid
        for (rid,) in tx.connection.execute(
            f'SELECT t."RID" FROM json_each(?) AS j CROSS JOIN {physical(table)} AS t ON t."RID" = j.value '
            f"WHERE t._from = {tx.now}",
            (pack(row[place] for row in rows),),
        )
    }
    kept = []
    for row in rows:
        if row[place] in found:
            found.remove(row[place])
            kept.append(row)
    return kept


def _spend_leases(tx: Transaction, access: Access, table: Table, rids: Sequence[str]) -> None:
    """Take RIDs that the client chose: an owner's are free, another's must have been leased to it.

    Raises:
        Forbidden: An RID was not leased to the client.
    """
    leases = tx.model.table(*LEASES)
    leased: set[str] = set()
    if leases is not None and leases.rid != table.rid:
        mine = "TRUE" if access.is_all else 't."RCB" IS ?2'
        found = tx.connection.execute(
            f'SELECT t."RID" FROM json_each(?1) AS j CROSS JOIN {physical(leases)} AS t ON t."RID" = j.value '
            f"WHERE {mine} AND ?2 IS ?2",
            (pack(rids), tx.client.id),
        )
        leased = {rid for (rid,) in found}
        if leased:
            Change(tx).delete(leases, leased)
    for rid in rids:
        if not access.is_all and rid not in leased:
            raise access.refuse(f"insert access on column \"RID\" with non-leased value '{rid}'")
        tx.reserve_rid(rid)
