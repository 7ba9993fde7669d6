"""Changing and dropping elements of a model.

Documents of a model refer to each other by name, so a rename goes through every document that says the old one. RIDs,
rows and physical tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

from deriva_ml.server import physical
from deriva_ml.server.access import label
from deriva_ml.server.bindings import binding_set
from deriva_ml.server.connections import quote
from deriva_ml.server.convert import convert_column
from deriva_ml.server.ddl import access_of, check_rows, current, find_schema, find_table, taken_names
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
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import Column, Document, ForeignKey, Json, Key, Schema, Table
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

_Constraint = TypeVar("_Constraint", Key, ForeignKey)
_Name: TypeAlias = "tuple[str, str]"


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


def _rewrite_references(tx: Transaction, old: Table, change: Callable[[ForeignKey], ForeignKey]) -> None:
    """Change every foreign key that refers to a table."""
    for fk in tx.model.referenced_by(old):
        home = tx.model.table(*fk.table)
        if home is not None:
            fks = tuple(change(one) if one.referenced_table == old.qualified else one for one in home.foreign_keys)
            tx.put(replace(home, foreign_keys=fks))


def _rewrite_bindings(tx: Transaction, change: Callable[[_Name], _Name]) -> None:
    """Change the names of the foreign keys that ACL bindings go along."""
    for table in list(tx.model.tables()):
        changed = replace(
            table,
            acl_bindings=_rewritten(table.acl_bindings, change),
            columns=tuple(replace(one, acl_bindings=_rewritten(one.acl_bindings, change)) for one in table.columns),
            foreign_keys=tuple(
                replace(one, acl_bindings=_rewritten(one.acl_bindings, change)) for one in table.foreign_keys
            ),
        )
        if changed != table:
            tx.put(changed)


def _rewritten(bindings: Mapping[str, Json], change: Callable[[_Name], _Name]) -> Document:
    def step(one: Json) -> Json:
        if not isinstance(one, dict):
            return one
        return {
            word: list(change((str(value[0]), str(value[1]))))
            if word in ("inbound", "outbound") and isinstance(value, list)
            else value
            for word, value in one.items()
        }

    return {
        name: {**binding, "projection": [step(one) for one in projection]}
        if isinstance(binding, dict) and isinstance(projection := binding.get("projection"), list)
        else binding
        for name, binding in bindings.items()
    }


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
    model = tx.model
    tx.put(changed)
    if name != schema.name:
        for table in model.tables():
            moved = _in_renamed_schema(table, schema.name, name)
            if moved != table:
                tx.put(moved)
        _rewrite_bindings(tx, lambda one: (name, one[1]) if one[0] == schema.name else one)
    return changed


def _in_renamed_schema(table: Table, old: str, new: str) -> Table:
    """A table as it is when a schema has another name."""

    def renamed(name: _Name) -> _Name:
        return (new, name[1]) if name[0] == old else name

    fks = tuple(
        replace(fk, name=renamed(fk.name), table=renamed(fk.table), referenced_table=renamed(fk.referenced_table))
        for fk in table.foreign_keys
    )
    keys = tuple(replace(key, name=renamed(key.name)) for key in table.keys)
    return replace(table, schema=renamed(table.qualified)[0], keys=keys, foreign_keys=fks)


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
        table = _rename_table(tx, table, schema.name, name)
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


def _rename_table(tx: Transaction, table: Table, schema: str, name: str) -> Table:
    """Give a table another name, in whatever says the old one; constraint names move with the schema only."""
    old, new = table.qualified, (schema, name)

    def moved(constraint: _Constraint) -> _Constraint:
        return replace(constraint, name=(schema, constraint.name[1]))

    def pointed(fk: ForeignKey) -> ForeignKey:
        return replace(fk, referenced_table=new if fk.referenced_table == old else fk.referenced_table)

    changed = replace(
        table,
        schema=schema,
        name=name,
        keys=tuple(map(moved, table.keys)),
        foreign_keys=tuple(pointed(replace(moved(fk), table=new)) for fk in table.foreign_keys),
    )
    others = [fk for fk in tx.model.referenced_by(table) if fk.table != old]
    tx.put(changed)
    for fk in others:
        home = tx.model.table(*fk.table)
        if home is not None:
            tx.put(replace(home, foreign_keys=tuple(map(pointed, home.foreign_keys))))
    if schema != old[0]:
        moved_names = {fk.name for fk in table.foreign_keys}
        _rewrite_bindings(tx, lambda one: (schema, one[1]) if one in moved_names else one)
    return current(tx, changed)


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
        table = _rename_column(tx, table, column, changed.name)
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
    default = doc.get("default", column.default)
    return replace(
        column,
        name=name,
        type=type_,
        nullok=nullok,
        default=default if column.is_system else default_of(type_, default),
        comment=comment_of(doc, column.comment),
        annotations=annotation_set(doc["annotations"]) if "annotations" in doc else column.annotations,
        acls=acl_set(doc["acls"], "column", label(column, table)) if "acls" in doc else column.acls,
    )


def _rename_column(tx: Transaction, table: Table, column: Column, name: str) -> Table:
    """Give a column another name, in whatever says the old one; gives the table with it."""
    old = column.name

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if one == old else one for one in names)

    def pointed(fk: ForeignKey) -> ForeignKey:
        # The bindings of a foreign key start where it leads to.
        bindings = {key: _renamed_binding(one, old, name) for key, one in fk.acl_bindings.items()}
        return replace(fk, referenced_columns=renamed(fk.referenced_columns), acl_bindings=bindings)

    _rewrite_references(tx, table, pointed)
    table = current(tx, table)
    changed = replace(
        table,
        columns=tuple(replace(one, name=name) if one.rid == column.rid else one for one in table.columns),
        keys=tuple(replace(key, columns=renamed(key.columns)) for key in table.keys),
        foreign_keys=tuple(replace(fk, columns=renamed(fk.columns)) for fk in table.foreign_keys),
        acl_bindings={key: _renamed_binding(one, old, name) for key, one in table.acl_bindings.items()},
    )
    tx.put(changed)
    return changed


def _renamed_binding(binding: Json, old: str, new: str) -> Json:
    if isinstance(binding, dict) and binding.get("projection") == [old]:
        return {**binding, "projection": [new]}
    return binding


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
    for fk in (*(one for one in mine if isinstance(one, ForeignKey)), *tx.model.referenced_by(table)):
        if fk.table != table.qualified and column.name not in fk.referenced_columns:
            continue
        check_rows(tx, find_table(tx.model, *fk.table), fk, find_table(tx.model, *fk.referenced_table))


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
    if "acl_bindings" in doc:
        far = find_table(tx.model, *fk.referenced_table)
        changed = replace(changed, acl_bindings=binding_set(tx.model, far, doc["acl_bindings"], "foreign key"))
    store_constraint(tx, table, changed)
    if changed.name != fk.name:
        _rewrite_bindings(tx, lambda one: changed.name if one == fk.name else one)
    return changed


def _column_names(value: Json) -> list[Json]:
    items = value if isinstance(value, list) else []
    return [item.get("column_name") if isinstance(item, dict) else None for item in items]


def drop_foreign_key(tx: Transaction, table: Table, fk: ForeignKey) -> None:
    """Drop a foreign key."""
    access_of(tx).need_owner(table)
    physical.drop_index(tx.connection, fk)
    tx.put(replace(table, foreign_keys=tuple(one for one in table.foreign_keys if one.rid != fk.rid)))
