"""Making elements of a model: schemas, tables, columns, keys, foreign keys, singly and in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deriva_ml.server import physical
from deriva_ml.server.access import Access
from deriva_ml.server.bindings import binding_set
from deriva_ml.server.connections import quote
from deriva_ml.server.documents import (
    acl_set,
    annotation_set,
    column_parts,
    comment_of,
    constraint_name,
    end_columns,
    given_name,
    identifier,
    member_list,
    referential_action,
    require_object,
)
from deriva_ml.server.errors import BadRequest, Conflict
from deriva_ml.server.integrity import default_of
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import (
    Column,
    ColumnType,
    Document,
    ForeignKey,
    Json,
    Key,
    Model,
    Schema,
    Table,
)
from deriva_ml.wire.values import is_serial

__all__ = [
    "access_of",
    "add_references",
    "check_types",
    "create_column",
    "create_foreign_key",
    "create_key",
    "create_schema",
    "create_table",
    "current",
    "find_schema",
    "find_table",
    "taken_names",
]

OPEN: Document = {"insert": ["*"], "update": ["*"]}
"""The ACLs of a foreign key that was given none: who may write the column may refer."""

REQUIRED_ORDER = ("RCB", "RMB", "RID", "RCT", "RMT")


def access_of(tx: Transaction) -> Access:
    """What the transaction's client may do with the model as it is now."""
    return Access(tx.model, tx.client)


def find_schema(model: Model, name: str) -> Schema:
    """A schema that a request refers to, or a refusal with status 409."""
    schema = model.schemas.get(name)
    if schema is None:
        raise Conflict(f"Schema {name} does not exist.")
    return schema


def find_table(model: Model, schema: str, name: str) -> Table:
    """A table that a request refers to, or a refusal with status 409; an empty schema means whichever has it."""
    if not schema:
        found = model.tables_named(name)
        if len(found) != 1:
            raise Conflict(f"Table name {name} is ambiguous." if found else f"Table {name} not found in model.")
        return found[0]
    table = find_schema(model, schema).tables.get(name)
    if table is None:
        raise Conflict(f"Table {name} does not exist in schema {schema}.")
    return table


def current(tx: Transaction, table: Table) -> Table:
    """A table with the changes that the transaction has made since."""
    return tx.model.tables_by_rid[table.rid]


def owned(tx: Transaction, acls: Document, *, by_parent: bool) -> Document:
    """ACLs of a new element: who makes it and does not own its parent owns it."""
    return acls if by_parent or tx.client.id is None else {"owner": [tx.client.id], **acls}


# ---------------------------------------------------------------------------------------------- schemas


def create_schema(tx: Transaction, name: str, document: Mapping[str, Json]) -> Schema:
    """Make a schema without tables."""
    name = identifier(name, "Schema")
    access = access_of(tx)
    access.need(tx.model, "create")
    if name in tx.model.schemas:
        raise Conflict(f"Requested schema {name} already exists.")
    if name == "_ermrest" or name.startswith("pg_"):
        raise Conflict(f"Requested schema {name} is a reserved schema name.")
    schema = Schema(
        rid=tx.next_rids(1)[0],
        name=name,
        tables={},
        comment=comment_of(document),
        annotations=annotation_set(document.get("annotations")),
        acls=owned(
            tx,
            acl_set(document.get("acls"), "schema", f"schema {name}"),
            by_parent=access.right(tx.model, "owner") is True,
        ),
    )
    tx.put(schema)
    return schema


# ---------------------------------------------------------------------------------------------- tables


def create_table(tx: Transaction, schema_name: str, document: Json) -> Table:
    """Make a table with its columns and keys; its foreign keys are added by `add_references`."""
    access = access_of(tx)
    schema = find_schema(tx.model, schema_name)
    doc = require_object(document, "Table")
    if "table_name" not in doc:
        raise BadRequest("Table representation requires table_name field.")
    if doc.get("schema_name", schema_name) != schema_name:
        raise Conflict(f"JSON schema name {doc['schema_name']} does not match URL schema name {schema_name}")
    name = identifier(doc["table_name"], "Table")
    if doc.get("kind", "table") != "table":
        raise Conflict(f'Kind "{doc["kind"]}" not supported in table creation')
    access.need(schema, "create")
    if name in schema.tables:
        raise Conflict(f"Table {name} already exists in schema {schema_name}.")
    columns = _new_columns(tx, schema_name, name, member_list(doc, "column_definitions", "Table"))
    table = Table(
        rid=tx.next_rids(1)[0],
        schema=schema_name,
        name=name,
        columns=columns,
        comment=comment_of(doc),
        annotations=annotation_set(doc.get("annotations")),
        acls=owned(
            tx,
            acl_set(doc.get("acls"), "table", f":{schema_name}:{name}"),
            by_parent=access.right(schema, "owner") is True,
        ),
    )
    table = _with_keys(tx, table, member_list(doc, "keys", "Table"))
    if table.key(("RID",)) is None:
        raise BadRequest(f'Column "{name}"."RID" lacks uniqueness constraint.')
    physical.create(tx.connection, table)
    tx.put(table)
    return _with_bindings(tx, table, doc)


def _with_bindings(tx: Transaction, table: Table, doc: Document) -> Table:
    """Add the bindings that a table's document gives for it and its columns, now that the table is in the model."""
    columns = []
    definitions = member_list(doc, "column_definitions", "Table")
    for column, definition in zip(table.columns, definitions, strict=True):
        given = definition.get("acl_bindings") if isinstance(definition, dict) else None
        columns.append(replace(column, acl_bindings=binding_set(tx.model, table, given, "column")) if given else column)
    bindings = binding_set(tx.model, table, doc.get("acl_bindings"), "table")
    changed = replace(table, columns=tuple(columns), acl_bindings=bindings)
    if changed != table:
        tx.put(changed)
    return changed


def _new_columns(tx: Transaction, schema: str, table: str, definitions: list[Json]) -> tuple[Column, ...]:
    parts = [column_parts(definition) for definition in definitions]
    names = [part[0] for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise Conflict(f"Column {name} appears more than once in table {table}.")
    for name in REQUIRED_ORDER:
        if name not in names:
            raise BadRequest(f"Table :{schema}:{table} lacks required system column {name}.")
    rids = tx.next_rids(len(parts))
    return tuple(
        _column(rid, part, require_object(definition, "Column"), f":{schema}:{table}:{part[0]}")
        for rid, part, definition in zip(rids, parts, definitions, strict=True)
    )


def _column(rid: str, part: tuple[str, ColumnType, bool, Json], definition: Document, label: str) -> Column:
    name, type_, nullok, default = part
    return Column(
        rid=rid,
        name=name,
        type=type_,
        nullok=nullok,
        default=default,
        comment=comment_of(definition),
        annotations=annotation_set(definition.get("annotations")),
        acls=acl_set(definition.get("acls"), "column", label),
        storage=physical.storage_name(name, rid),
    )


# ---------------------------------------------------------------------------------------------- columns


def create_column(tx: Transaction, table: Table, document: Json) -> Column:
    """Add a column; the rows that are there get its default."""
    access_of(tx).need_owner(table)
    part = column_parts(document)
    name = part[0]
    if table.column(name) is not None:
        raise Conflict(f"Column {name} already exists in table {table.schema}:{table.name}.")
    definition = require_object(document, "Column")
    column = _column(tx.next_rids(1)[0], part, definition, f":{table.schema}:{table.name}:{name}")
    physical.add_column(tx.connection, table.rid, column)
    changed = replace(table, columns=(*table.columns, column))
    tx.put(changed)
    bindings = binding_set(tx.model, changed, definition.get("acl_bindings"), "column")
    if bindings:
        column = replace(column, acl_bindings=bindings)
        tx.put(replace(table, columns=(*table.columns, column)))
    _fill(tx, table, column)
    return column


def _fill(tx: Transaction, table: Table, column: Column) -> None:
    """Give the rows that are there the default of a new column."""
    execute, name, place = tx.connection.execute, quote(f"t_{table.rid}"), quote(column.storage)
    stamp = "RMT = :now, RMB = :client, _from = :now"
    moment = {"now": tx.now, "client": tx.client.id}
    if is_serial(column.type):
        count = execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        first = tx.next_serials(column, count).start
        execute(
            f"UPDATE {name} SET {place} = :first + numbered.n, {stamp} FROM "
            f"(SELECT rowid AS row, row_number() OVER (ORDER BY rowid) - 1 AS n FROM {name}) AS numbered "
            f"WHERE {name}.rowid = numbered.row",
            {**moment, "first": first},
        )
    elif column.default is not None:
        value = default_of(column)
        execute(f"UPDATE {name} SET {place} = :value, {stamp}", {**moment, "value": value})
    elif not column.nullok and execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone():
        raise Conflict(f'column "{column.name}" of relation "{table.name}" contains null values')


# ---------------------------------------------------------------------------------------------- keys


def taken_names(tx: Transaction, schema: str) -> set[str]:
    """The names of the keys and foreign keys of a schema."""
    tables = find_schema(tx.model, schema).tables.values() if schema in tx.model.schemas else ()
    return {constraint.name[1] for table in tables for constraint in table.constraints}


def _with_keys(tx: Transaction, table: Table, documents: list[Json]) -> Table:
    taken = taken_names(tx, table.schema)
    for document in documents:
        key = _key(tx, table, document, taken)
        taken.add(key.name[1])
        table = replace(table, keys=(*table.keys, key))
    return table


def _key(tx: Transaction, table: Table, document: Json, taken: set[str]) -> Key:
    doc = require_object(document, "Key")
    columns = member_list(doc, "unique_columns", "Key")
    if not columns:
        raise BadRequest("Key representation requires at least one column in unique_columns.")
    names: list[str] = []
    for column in columns:
        if not isinstance(column, str) or table.column(column) is None:
            raise BadRequest(f"Key column {column} not defined in table {table.name}.")
        if column in names:
            raise BadRequest(f"Key column {column} appears more than once.")
        names.append(column)
    if table.key(names) is not None:
        raise Conflict(f"Key on columns ({','.join(names)}) already exists in table {table.name}.")
    name = given_name(doc) or constraint_name(table.name, names, "key", taken)
    if name in taken:
        raise Conflict(f'relation "{name}" already exists')
    return Key(
        rid=tx.next_rids(1)[0],
        name=(table.schema, name),
        columns=tuple(names),
        comment=comment_of(doc),
        annotations=annotation_set(doc.get("annotations")),
    )


def create_key(tx: Transaction, table: Table, document: Json) -> Key:
    """Add a key."""
    access_of(tx).need_owner(table)
    key = _key(tx, table, document, taken_names(tx, table.schema))
    physical.add_indexes(tx.connection, table, [key])
    tx.put(replace(table, keys=(*table.keys, key)))
    return key


# ---------------------------------------------------------------------------------------------- foreign keys


def add_references(tx: Transaction, table: Table, documents: list[Json]) -> None:
    """Add the foreign keys that a table's document holds."""
    for document in documents:
        create_foreign_key(tx, current(tx, table), document)


def create_foreign_key(tx: Transaction, table: Table, document: Json) -> ForeignKey:
    """Add a foreign key."""
    access_of(tx).need_owner(table)
    doc = require_object(document, "Foreign-key")
    near, columns = end_columns(doc.get("foreign_key_columns"), "foreign_key_columns", table)
    if near != table.qualified:
        raise Conflict(f"Foreign-key columns belong to {near[0]}:{near[1]} instead of {table.schema}:{table.name}.")
    far, referenced_columns = end_columns(doc.get("referenced_columns"), "referenced_columns")
    target = find_table(tx.model, *far)
    access = access_of(tx)
    if not access.sees(tx.model.schemas[target.schema]) or not access.sees(target):
        raise Conflict(f"Table {target.name} does not exist in schema {target.schema}.")
    _check_mapping(table, columns, target, referenced_columns)
    taken = taken_names(tx, table.schema)
    name = given_name(doc) or constraint_name(table.name, columns, "fkey", taken)
    if name in taken:
        raise Conflict(f'constraint "{name}" for relation "{table.name}" already exists')
    fk = ForeignKey(
        rid=tx.next_rids(1)[0],
        name=(table.schema, name),
        table=table.qualified,
        columns=tuple(columns),
        referenced_table=target.qualified,
        referenced_columns=tuple(referenced_columns),
        on_delete=referential_action(doc, "on_delete"),
        on_update=referential_action(doc, "on_update"),
        comment=comment_of(doc),
        annotations=annotation_set(doc.get("annotations")),
        acls=OPEN | acl_set(doc.get("acls"), "foreign key", f":{table.schema}:{name}"),
    )
    check_rows(tx, table, fk, target)
    physical.add_indexes(tx.connection, table, [fk])
    tx.put(replace(table, foreign_keys=(*table.foreign_keys, fk)))
    if doc.get("acl_bindings"):
        changed = current(tx, table)
        fk = replace(fk, acl_bindings=binding_set(tx.model, target, doc["acl_bindings"], "foreign key"))
        tx.put(replace(changed, foreign_keys=(*table.foreign_keys, fk)))
    return fk


def _check_mapping(table: Table, columns: list[str], target: Table, referenced_columns: list[str]) -> None:
    for home, names in ((table, columns), (target, referenced_columns)):
        for name in names:
            if home.column(name) is None:
                raise Conflict(f"Requested column {name} does not exist in table {home.name}.")
    if len(columns) != len(referenced_columns) or len(set(columns)) != len(columns):
        raise BadRequest("The number of referencing and referenced columns of a foreign key must be the same.")
    if target.key(referenced_columns) is None or len(set(referenced_columns)) != len(referenced_columns):
        raise Conflict(
            f"Referenced columns {':'.join(target.qualified)}:{','.join(referenced_columns)} "
            "are not part of a unique key."
        )
    pairs = set(zip(columns, referenced_columns, strict=True))
    for fk in table.references(target):
        if set(fk.mapping.items()) == pairs:
            arrow = f"{','.join(fk.columns)}->{','.join(fk.referenced_columns)}"
            raise Conflict(
                f"Foreign key {fk.name[1]} already exists from table {table.name} to {target.name} "
                f"with reference mapping {arrow}."
            )
    check_types(table, columns, target, referenced_columns)


def check_types(table: Table, columns: Sequence[str], target: Table, referenced_columns: Sequence[str]) -> None:
    """Refuse a foreign key between columns whose values cannot be compared."""
    for near, far in zip(columns, referenced_columns, strict=True):
        types = [home.columns_by_name[name].type for home, name in ((table, near), (target, far))]
        if _family(types[0]) != _family(types[1]):
            raise Conflict(
                f'foreign key constraint "{table.name}_{"_".join(columns)}_fkey" cannot be implemented\n'
                f'DETAIL:  Key columns "{near}" and "{far}" are of incompatible types: '
                f"{types[0].name} and {types[1].name}.\n"
            )


def _family(type_: ColumnType) -> str:
    """The types whose values can be compared with each other share a family."""
    if type_.is_array:
        return type_.name
    name = type_.base.name if type_.base else type_.name
    return "number" if name.startswith(("int", "serial", "float")) and name != "interval" else name


def check_rows(tx: Transaction, table: Table, fk: ForeignKey, target: Table) -> None:
    """Refuse a foreign key that the rows which are there violate."""
    near = [f"n.{tx.column(table.columns_by_name[name])}" for name in fk.columns]
    far = [f"f.{tx.column(target.columns_by_name[name])}" for name in fk.referenced_columns]
    present = " AND ".join(f"{name} IS NOT NULL" for name in near)
    match = " AND ".join(f"{a} = {b}" for a, b in zip(near, far, strict=True))
    row = tx.connection.execute(
        f"SELECT {', '.join(near)} FROM {tx.source(table)} AS n WHERE {present} "
        f"AND NOT EXISTS (SELECT 1 FROM {tx.source(target)} AS f WHERE {match}) LIMIT 1"
    ).fetchone()
    if row is not None:
        values = ", ".join(map(str, row))
        raise Conflict(
            f'insert or update on table "{table.name}" violates foreign key constraint "{fk.name[1]}"\n'
            f'DETAIL:  Key ({", ".join(fk.columns)})=({values}) is not present in table "{target.name}".\n'
        )
