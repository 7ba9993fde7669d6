"""Renaming elements of a model, and moving tables between schemas.

Documents of a model refer to each other by name, so a rename goes through every document that says the old one: foreign
keys, and the projections of ACL bindings wherever they lead. RIDs, rows and physical tables stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

from deriva_ml.server.bindings import with_renamed_column
from deriva_ml.server.ddl import current
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import Column, Document, ForeignKey, Json, Key, Name, Schema, Table

__all__ = ["rename_column", "rename_reference", "rename_schema", "rename_table"]

_Constraint = TypeVar("_Constraint", Key, ForeignKey)
_Rewrite: TypeAlias = "Callable[[Table, Json], Json]"
"""What becomes of a binding, given the table where its projection starts."""


def rename_schema(tx: Transaction, old: str, schema: Schema) -> None:
    """Put a schema in the place of the one of its old name, and the new name into whatever says the old one."""
    new, tables = schema.name, list(tx.model.tables())
    tx.put(schema)
    for table in tables:
        moved = _in_renamed_schema(table, old, new)
        if moved != table:
            tx.put(moved)
    _rename_references(tx, lambda one: (new, one[1]) if one[0] == old else one)


def _in_renamed_schema(table: Table, old: str, new: str) -> Table:
    """A table as it is when a schema has another name."""

    def renamed(name: Name) -> Name:
        return (new, name[1]) if name[0] == old else name

    fks = tuple(
        replace(fk, name=renamed(fk.name), table=renamed(fk.table), referenced_table=renamed(fk.referenced_table))
        for fk in table.foreign_keys
    )
    keys = tuple(replace(key, name=renamed(key.name)) for key in table.keys)
    return replace(table, schema=renamed(table.qualified)[0], keys=keys, foreign_keys=fks)


def rename_table(tx: Transaction, table: Table, schema: str, name: str) -> Table:
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
        _rename_references(tx, lambda one: (schema, one[1]) if one in moved_names else one)
    return current(tx, changed)


def rename_reference(tx: Transaction, old: Name, new: Name) -> None:
    """Give a foreign key another name in the bindings that go along it."""
    _rename_references(tx, lambda one: new if one == old else one)


def rename_column(tx: Transaction, table: Table, column: Column, name: str) -> Table:
    """Give a column another name, in whatever says the old one; gives the table with it."""
    old, model = column.name, tx.model
    # While the model still has the old name: the projections are followed through it.
    _rewrite_bindings(tx, lambda start, one: with_renamed_column(model, start, one, table, (old, name)))

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if one == old else one for one in names)

    for fk in tx.model.referenced_by(table):
        home = tx.model.table(*fk.table)
        if home is not None:
            fks = tuple(
                replace(one, referenced_columns=renamed(one.referenced_columns))
                if one.referenced_table == table.qualified
                else one
                for one in home.foreign_keys
            )
            tx.put(replace(home, foreign_keys=fks))
    table = current(tx, table)
    changed = replace(
        table,
        columns=tuple(replace(one, name=name) if one.rid == column.rid else one for one in table.columns),
        keys=tuple(replace(key, columns=renamed(key.columns)) for key in table.keys),
        foreign_keys=tuple(replace(fk, columns=renamed(fk.columns)) for fk in table.foreign_keys),
    )
    tx.put(changed)
    return changed


# ---------------------------------------------------------------------------------------------- ACL bindings


def _rename_references(tx: Transaction, change: Callable[[Name], Name]) -> None:
    """Change the names of the foreign keys that ACL bindings go along."""

    def step(one: Json) -> Json:
        if not isinstance(one, dict):
            return one
        return {
            word: list(change((str(value[0]), str(value[1]))))
            if word in ("inbound", "outbound") and isinstance(value, list)
            else value
            for word, value in one.items()
        }

    def rewritten(_start: Table, binding: Json) -> Json:
        projection = binding.get("projection") if isinstance(binding, dict) else None
        if not isinstance(binding, dict) or not isinstance(projection, list):
            return binding
        return {**binding, "projection": [step(one) for one in projection]}

    _rewrite_bindings(tx, rewritten)


def _rewrite_bindings(tx: Transaction, rewrite: _Rewrite) -> None:
    """Change the bindings of every element."""

    def changed(start: Table | None, bindings: Mapping[str, Json]) -> Document:
        return {name: rewrite(start, one) if start else one for name, one in bindings.items()}

    model = tx.model
    for table in list(model.tables()):
        new = replace(
            table,
            acl_bindings=changed(table, table.acl_bindings),
            columns=tuple(replace(one, acl_bindings=changed(table, one.acl_bindings)) for one in table.columns),
            # The bindings of a foreign key start where it leads to.
            foreign_keys=tuple(
                replace(one, acl_bindings=changed(model.table(*one.referenced_table), one.acl_bindings))
                for one in table.foreign_keys
            ),
        )
        if new != table:
            tx.put(new)
