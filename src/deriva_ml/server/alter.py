"""Changing and dropping elements of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deriva_ml.server import physical
from deriva_ml.server.access import label
from deriva_ml.server.bindings import binding_set
from deriva_ml.server.connections import quote
from deriva_ml.server.convert import convert_column
from deriva_ml.server.ddl import access_of, check_rows, check_types, current, find_schema, find_table, taken_names
from deriva_ml.server.documents import (
    acl_set,
    annotation_set,
    comment_of,
    default_of,
    given_name,
    identifier,
    read_type,
    referential_action,
    require_object,
)
from deriva_ml.server.errors import BadRequest, Conflict, Forbidden
from deriva_ml.server.rename import rename_column, rename_reference, rename_schema, rename_table
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import Column, ColumnType, Document, ForeignKey, Json, Key, Schema, Table
from deriva_ml.wire.values import is_serial

__all__ = [
    "alter_column",
    "alter_foreign_key",
    "alter_key",
    "alter_schema",
    "alter_table",
    "drop_column",
    "drop_foreign_key",
    "drop_key",
    "drop_schema",
    "drop_table",
    "store_column",
    "store_constraint",
]


# ---------------------------------------------------------------------------------------------- putting parts back


def store_column(tx: Transaction, table: Table, column: Column) -> None:
    """Put a changed column in the place of the one with its RID."""
    columns = tuple(column if old.rid == column.rid else old for old in table.columns)
    tx.put(replace(table, columns=columns))


def store_constraint(tx: Transaction, table: Table, constraint: Key | ForeignKey) -> None:
    """Put a changed key or foreign key in the place of the one with its RID."""
    if isinstance(constraint, Key):
        tx.put(replace(table, keys=tuple(constraint if old.rid == constraint.rid else old for old in table.keys)))
    else:
        fks = tuple(constraint if old.rid == constraint.rid else old for old in table.foreign_keys)
        tx.put(replace(table, foreign_keys=fks))


# ---------------------------------------------------------------------------------------------- schemas and tables


def alter_schema(tx: Transaction, schema: Schema, document: Json) -> Schema:
    """Change a schema."""
    access_of(tx).need_owner(schema)
    doc = require_object(document, "Schema")
    name = identifier(doc.get("schema_name", schema.name), "Schema")
    if name != schema.name and name in tx.model.schemas:
        raise Conflict(f'schema "{name}" already exists')
    if name != schema.name and (schema.name == "public" or name == "_ermrest" or name.startswith("pg_")):
        raise Conflict(f"Schema {schema.name} cannot be renamed to {name}.")
    changed = replace(
        schema,
        name=name,
        comment=comment_of(doc, schema.comment),
        annotations=annotation_set(doc["annotations"]) if "annotations" in doc else schema.annotations,
        acls=acl_set(doc["acls"], "schema", f"schema {name}") if "acls" in doc else schema.acls,
    )
    if name == schema.name:
        tx.put(changed)
    else:
        rename_schema(tx, schema.name, changed)
    return changed


def alter_table(tx: Transaction, table: Table, document: Json) -> Table:
    """Change a table, rename it, or move it to another schema."""
    access_of(tx).need_owner(table)
    doc = require_object(document, "Table")
    name = identifier(doc.get("table_name", table.name), "Table")
    home = doc.get("schema_name", table.schema)
    schema = find_schema(tx.model, home if isinstance(home, str) else "")
    if (schema.name, name) != table.qualified:
        if name in schema.tables:
            raise Conflict(f'relation "{name}" already exists\n')
        access_of(tx).need(schema, "create")
        if schema.name != table.schema:
            clash = taken_names(tx, schema.name) & {one.name[1] for one in table.constraints}
            if clash:
                raise Conflict(f'relation "{min(clash)}" already exists\n')
        table = rename_table(tx, table, schema.name, name)
    changed = replace(
        table,
        comment=comment_of(doc, table.comment),
        annotations=annotation_set(doc["annotations"]) if "annotations" in doc else table.annotations,
        acls=acl_set(doc["acls"], "table", label(table)) if "acls" in doc else table.acls,
    )
    if "acl_bindings" in doc:
        changed = replace(changed, acl_bindings=binding_set(tx.model, table, doc["acl_bindings"], "table"))
    tx.put(changed)
    return changed


def drop_schema(tx: Transaction, schema: Schema) -> None:
    """Drop a schema that has no tables."""
    access_of(tx).need_owner(schema)
    if schema.tables or schema.name == "public":
        dependents = [f'table "{schema.name}".{name} depends on schema {schema.name}' for name in schema.tables]
        raise Conflict(_depended(f"cannot drop schema {schema.name}", dependents))
    tx.remove(schema)


def _depended(what: str, dependents: list[str]) -> str:
    detail = "\n".join(dependents)
    return (
        f"{what} because other objects depend on it\nDETAIL:  {detail}\n"
        "HINT:  Use DROP ... CASCADE to drop the dependent objects too.\n"
    )


def drop_table(tx: Transaction, table: Table) -> None:
    """Drop a table; its rows stay for the snapshots."""
    access_of(tx).need_owner(table)
    others = [fk for fk in tx.model.referenced_by(table) if fk.table != table.qualified]
    if others:
        dependents = [f'constraint {fk.name[1]} on table "{fk.table[0]}".{fk.table[1]}' for fk in others]
        raise Conflict(_depended(f'cannot drop table "{table.schema}".{table.name}', dependents))
    tx.remove(table)


# ---------------------------------------------------------------------------------------------- columns


def alter_column(tx: Transaction, table: Table, column: Column, document: Json) -> Column:
    """Change a column; a change of its type converts its values."""
    access_of(tx).need_owner(column, table)
    doc = require_object(document, "Column")
    changed = _altered(table, column, doc)
    if column.is_system and (changed.name, changed.type, changed.nullok, changed.default) != (
        column.name,
        column.type,
        column.nullok,
        column.default,
    ):
        raise Forbidden(f"alteration of system column {column.name}")
    if changed.name != column.name:
        table = rename_column(tx, table, column, changed.name)
        changed = replace(changed, acl_bindings=table.columns_by_name[changed.name].acl_bindings)
    if "acl_bindings" in doc:
        changed = replace(changed, acl_bindings=binding_set(tx.model, table, doc["acl_bindings"], "column"))
    if changed.type != column.type:
        changed = convert_column(tx, table, column, changed)
    if not changed.nullok and not is_serial(changed.type):
        _refuse_nulls(tx, table, changed)
    store_column(tx, table, changed)
    if changed.storage != column.storage:
        _check_constraints(tx, current(tx, table), changed)
    return changed


def _altered(table: Table, column: Column, doc: Document) -> Column:
    name = identifier(doc.get("name", column.name), "Column")
    if name != column.name and table.column(name) is not None:
        raise Conflict(f'column "{name}" of relation "{table.name}" already exists\n')
    nullok = doc.get("nullok", column.nullok)
    if not isinstance(nullok, bool):
        raise BadRequest(f'Column "{name}" nullok must be true or false.')
    type_ = read_type(doc["type"]) if "type" in doc else column.type
    return replace(
        column,
        name=name,
        type=type_,
        nullok=nullok,
        default=_altered_default(column, type_, doc),
        comment=comment_of(doc, column.comment),
        annotations=annotation_set(doc["annotations"]) if "annotations" in doc else column.annotations,
        acls=acl_set(doc["acls"], "column", label(column, table)) if "acls" in doc else column.acls,
    )


def _altered_default(column: Column, type_: ColumnType, doc: Document) -> Json:
    if column.is_system:
        return doc.get("default", column.default)
    if "default" in doc:
        return default_of(type_, doc["default"])
    try:
        return default_of(type_, column.default)
    except BadRequest as error:
        raise Conflict(
            f'default for column "{column.name}" cannot be cast automatically to type {type_.name}\n'
        ) from error


def _refuse_nulls(tx: Transaction, table: Table, column: Column) -> None:
    query = f"SELECT 1 FROM {quote(f't_{table.rid}')} WHERE {tx.column(column)} IS NULL LIMIT 1"
    if tx.connection.execute(query).fetchone():
        raise Conflict(f'column "{column.name}" of relation "{table.name}" contains null values')


def _check_constraints(tx: Transaction, table: Table, column: Column) -> None:
    """Index a retyped column anew and see that its foreign keys still hold."""
    mine = [one for one in table.constraints if column.name in one.columns]
    for constraint in mine:
        physical.drop_index(tx.connection, constraint)
    physical.add_indexes(tx.connection, table, mine)
    pointing = [fk for fk in tx.model.referenced_by(table) if column.name in fk.referenced_columns]
    for fk in (*(one for one in mine if isinstance(one, ForeignKey)), *pointing):
        near, far = find_table(tx.model, *fk.table), find_table(tx.model, *fk.referenced_table)
        check_types(near, fk.columns, far, fk.referenced_columns)
        check_rows(tx, near, fk, far)


def drop_column(tx: Transaction, table: Table, column: Column) -> None:
    """Drop a column, with the keys and foreign keys of this table that use it."""
    access_of(tx).need_owner(column, table)
    if column.is_system:
        raise Forbidden(f"removal of system column {column.name}")
    for fk in tx.model.referenced_by(table):
        if column.name in fk.referenced_columns and not (fk.table == table.qualified and column.name in fk.columns):
            where = f'table "{table.schema}".{table.name}'
            dependents = [f'constraint {fk.name[1]} on table "{fk.table[0]}".{fk.table[1]}']
            raise Conflict(_depended(f"cannot drop column {column.name} of {where}", dependents))
    physical.drop_column_index(tx.connection, table.rid, column)
    gone = [one for one in table.constraints if column.name in one.columns]
    for constraint in gone:
        physical.drop_index(tx.connection, constraint)
    tx.put(
        replace(
            table,
            columns=tuple(one for one in table.columns if one.rid != column.rid),
            keys=tuple(one for one in table.keys if one not in gone),
            foreign_keys=tuple(one for one in table.foreign_keys if one not in gone),
        )
    )


# ---------------------------------------------------------------------------------------------- constraints


def _renamed(tx: Transaction, table: Table, constraint: Key | ForeignKey, doc: Mapping[str, Json]) -> tuple[str, str]:
    name = given_name(doc) if "names" in doc else None
    if name is None or name == constraint.name[1]:
        return constraint.name
    if name in taken_names(tx, table.schema):
        raise Conflict(f'relation "{name}" already exists\n')
    return (table.schema, name)


def alter_key(tx: Transaction, table: Table, key: Key, document: Json) -> Key:
    """Change what a key is called and what is said of it."""
    access_of(tx).need_owner(table)
    doc = require_object(document, "Key")
    columns = doc.get("unique_columns", list(key.columns))
    if not isinstance(columns, list) or set(map(str, columns)) != set(key.columns):
        raise BadRequest("Key columns cannot be changed.")
    changed = replace(
        key,
        name=_renamed(tx, table, key, doc),
        comment=comment_of(doc, key.comment),
        annotations=annotation_set(doc["annotations"]) if "annotations" in doc else key.annotations,
    )
    store_constraint(tx, table, changed)
    return changed


def drop_key(tx: Transaction, table: Table, key: Key) -> None:
    """Drop a key to which nothing refers."""
    access_of(tx).need_owner(table)
    for fk in tx.model.referenced_by(table):
        if set(fk.referenced_columns) == set(key.columns):
            dependent = f'constraint {fk.name[1]} on table "{fk.table[0]}".{fk.table[1]} depends on index {key.name[1]}'
            raise Conflict(
                _depended(f'cannot drop constraint {key.name[1]} on table "{table.schema}".{table.name}', [dependent])
            )
    if key.columns == ("RID",):
        # Without it the rows could not be named; the original lets it go and answers nothing but errors afterwards.
        raise Conflict(f"Cannot remove only remaining not-null key on table {table.name}.")
    physical.drop_index(tx.connection, key)
    tx.put(replace(table, keys=tuple(one for one in table.keys if one.rid != key.rid)))


def alter_foreign_key(tx: Transaction, table: Table, fk: ForeignKey, document: Json) -> ForeignKey:
    """Change the actions of a foreign key, what it is called, and what is said of it."""
    access_of(tx).need_owner(table)
    if isinstance(document, list) and document:
        document = document[0]
    doc = require_object(document, "Foreign-key")
    for member, old in (("foreign_key_columns", fk.columns), ("referenced_columns", fk.referenced_columns)):
        if member in doc and _column_names(doc[member]) != list(old):
            raise BadRequest("The mapping of a foreign key cannot be changed.")
    changed = replace(
        fk,
        name=_renamed(tx, table, fk, doc),
        on_delete=referential_action(doc, "on_delete", fk.on_delete),
        on_update=referential_action(doc, "on_update", fk.on_update),
        comment=comment_of(doc, fk.comment),
        annotations=annotation_set(doc["annotations"]) if "annotations" in doc else fk.annotations,
        acls=acl_set(doc["acls"], "foreign key", label(fk)) if "acls" in doc else fk.acls,
    )
    store_constraint(tx, table, changed)
    if changed.name != fk.name:
        rename_reference(tx, fk.name, changed.name)
        changed = next(one for one in current(tx, table).foreign_keys if one.rid == fk.rid)
    if "acl_bindings" in doc:
        far = find_table(tx.model, *fk.referenced_table)
        changed = replace(changed, acl_bindings=binding_set(tx.model, far, doc["acl_bindings"], "foreign key"))
        store_constraint(tx, current(tx, table), changed)
    return changed


def _column_names(value: Json) -> list[Json]:
    items = value if isinstance(value, list) else []
    return [item.get("column_name") if isinstance(item, dict) else None for item in items]


def drop_foreign_key(tx: Transaction, table: Table, fk: ForeignKey) -> None:
    """Drop a foreign key."""
    access_of(tx).need_owner(table)
    physical.drop_index(tx.connection, fk)
    tx.put(replace(table, foreign_keys=tuple(one for one in table.foreign_keys if one.rid != fk.rid)))
