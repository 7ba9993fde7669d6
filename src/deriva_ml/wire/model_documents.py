"""ERMrest's documents of a model: read into values, and written from them; no I/O.

The client reads a ``/schema`` document into a ``Model``; the embedded service keeps one document per table and per
schema, reads them into the same values, and writes the documents that it answers with. ``Rights`` says what a client
may see and do; without it a document is that of an owner, less the rights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from deriva_ml.wire.model import (
    Column,
    ColumnType,
    Document,
    Element,
    ForeignKey,
    Json,
    Key,
    Model,
    Name,
    Schema,
    Table,
)

__all__ = [
    "Rights",
    "column_document",
    "column_from_document",
    "foreign_key_document",
    "foreign_key_from_document",
    "key_document",
    "key_from_document",
    "model_from_document",
    "rights_of",
    "schema_document",
    "schema_from_document",
    "table_document",
    "table_from_document",
    "type_document",
    "type_from_document",
]

T = TypeVar("T")


class Rights(Protocol):
    """What a client may do with elements of a model; the service implements it."""

    def shown(self, element: Element, table: Table | None = None) -> Document:
        """The rights that the element's document shows; ``table`` is the one that a column belongs to."""

    def owns(self, element: Element, table: Table | None = None) -> bool:
        """The client sees the element's ACLs."""

    def sees(self, element: Element | Key, table: Table | None = None) -> bool:
        """The element exists for the client."""


# ---------------------------------------------------------------------------------------------- documents to values


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Json) -> str | None:
    return None if value is None else str(value)


def _items(value: Json) -> list[Document]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _members(value: Json, read: Callable[[Document], T]) -> dict[str, T]:
    """What a document holds by name, each read into its value."""
    return {name: read(member) for name, member in _mapping(value).items() if isinstance(member, dict)}


def type_from_document(document: Mapping[str, Json]) -> ColumnType:
    """Read a type as a model document writes it."""
    base = document.get("base_type")
    return ColumnType(
        str(document.get("typename", "")),
        type_from_document(base) if isinstance(base, dict) else None,
        bool(document.get("is_array", False)),
    )


def column_from_document(document: Mapping[str, Json]) -> Column:
    """Read a column's document."""
    return Column(
        rid=str(document.get("RID", "")),
        name=str(document.get("name", "")),
        type=type_from_document(_mapping(document.get("type"))),
        nullok=bool(document.get("nullok", True)),
        default=document.get("default"),
        comment=_text(document.get("comment")),
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
        acl_bindings=_mapping(document.get("acl_bindings")),
        storage=str(document.get("storage", "")),
    )


def _constraint_name(document: Mapping[str, Json], schema: str) -> Name:
    names = document.get("names")
    first = names[0] if isinstance(names, list) and names else None
    if isinstance(first, list) and len(first) == 2:
        return (str(first[0] or schema), str(first[1]))
    return (schema, "")


def key_from_document(document: Mapping[str, Json], schema: str) -> Key:
    """Read a key's document; ``schema`` is its table's."""
    columns = document.get("unique_columns")
    return Key(
        rid=str(document.get("RID", "")),
        name=_constraint_name(document, schema),
        columns=tuple(map(str, columns)) if isinstance(columns, list) else (),
        comment=_text(document.get("comment")),
        annotations=_mapping(document.get("annotations")),
    )


def foreign_key_from_document(document: Mapping[str, Json], schema: str, table: str) -> ForeignKey:
    """Read a foreign key's document; ``schema`` and ``table`` name the table it belongs to."""
    near, far = _items(document.get("foreign_key_columns")), _items(document.get("referenced_columns"))
    target = far[0] if far else {}
    return ForeignKey(
        rid=str(document.get("RID", "")),
        name=_constraint_name(document, schema),
        table=(schema, table),
        columns=tuple(str(column.get("column_name")) for column in near),
        referenced_table=(str(target.get("schema_name", "")), str(target.get("table_name", ""))),
        referenced_columns=tuple(str(column.get("column_name")) for column in far),
        on_delete=str(document.get("on_delete") or "NO ACTION"),
        on_update=str(document.get("on_update") or "NO ACTION"),
        comment=_text(document.get("comment")),
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
        acl_bindings=_mapping(document.get("acl_bindings")),
    )


def table_from_document(document: Mapping[str, Json]) -> Table:
    """Read a table's document."""
    schema, name = str(document.get("schema_name", "")), str(document.get("table_name", ""))
    return Table(
        rid=str(document.get("RID", "")),
        schema=schema,
        name=name,
        columns=tuple(map(column_from_document, _items(document.get("column_definitions")))),
        keys=tuple(key_from_document(key, schema) for key in _items(document.get("keys"))),
        foreign_keys=tuple(foreign_key_from_document(fk, schema, name) for fk in _items(document.get("foreign_keys"))),
        kind=str(document.get("kind", "table")),
        comment=_text(document.get("comment")),
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
        acl_bindings=_mapping(document.get("acl_bindings")),
    )


def schema_from_document(document: Mapping[str, Json]) -> Schema:
    """Read a schema's document, with the tables in it."""
    return Schema(
        rid=str(document.get("RID", "")),
        name=str(document.get("schema_name", "")),
        tables=_members(document.get("tables"), table_from_document),
        comment=_text(document.get("comment")),
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
    )


def model_from_document(document: Mapping[str, Json]) -> Model:
    """Read what ``GET /schema`` answers."""
    return Model(
        snaptime=str(document.get("snaptime", "")),
        schemas=_members(document.get("schemas"), schema_from_document),
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
    )


def rights_of(document: Mapping[str, Json]) -> dict[tuple[str, str], Mapping[str, Json]]:
    """What the caller may do with each table, as far as the answer to ``GET /schema`` says."""
    return {
        (schema, name): _mapping(table["rights"])
        for schema, content in _mapping(document.get("schemas")).items()
        for name, table in _mapping(_mapping(content).get("tables")).items()
        if isinstance(table, Mapping) and "rights" in table
    }


# ---------------------------------------------------------------------------------------------- values to documents


def type_document(type_: ColumnType) -> Document:
    """Write a type."""
    if type_.base is None:
        return {"typename": type_.name}
    kind = "is_array" if type_.is_array else "is_domain"
    return {"typename": type_.name, kind: True, "base_type": type_document(type_.base)}


def _controls(
    document: Document,
    element: Schema | Table | Column | ForeignKey,
    rights: Rights | None,
    table: Table | None = None,
) -> Document:
    """Add what depends on who asks: the rights, and for an owner the ACLs and bindings."""
    if rights is not None:
        document["rights"] = rights.shown(element, table)
    if rights is None or rights.owns(element, table):
        document["acls"] = dict(element.acls)
        if not isinstance(element, Schema):
            document["acl_bindings"] = dict(element.acl_bindings)
    return document


def column_document(column: Column, table: Table | None = None, rights: Rights | None = None) -> Document:
    """Write a column; ``table`` is the one it belongs to, needed where rights are shown."""
    document: Document = {
        "RID": column.rid,
        "name": column.name,
        "type": type_document(column.type),
        "default": column.default,
        "nullok": column.nullok,
        "comment": column.comment,
        "annotations": dict(column.annotations),
    }
    return _controls(document, column, rights, table)


def key_document(key: Key) -> Document:
    """Write a key."""
    return {
        "RID": key.rid,
        "comment": key.comment,
        "annotations": dict(key.annotations),
        "unique_columns": list(key.columns),
        "names": [list(key.name)],
    }


def foreign_key_document(fk: ForeignKey, table: Table | None = None, rights: Rights | None = None) -> Document:
    """Write a foreign key; ``table`` is the one it belongs to, needed where rights are shown."""

    def ends(name: Name, columns: tuple[str, ...]) -> list[Json]:
        return [{"schema_name": name[0], "table_name": name[1], "column_name": column} for column in columns]

    document: Document = {
        "RID": fk.rid,
        "foreign_key_columns": ends(fk.table, fk.columns),
        "referenced_columns": ends(fk.referenced_table, fk.referenced_columns),
        "comment": fk.comment,
        "annotations": dict(fk.annotations),
        "names": [list(fk.name)],
        "on_delete": fk.on_delete,
        "on_update": fk.on_update,
    }
    return _controls(document, fk, rights, table)


def table_document(table: Table, rights: Rights | None = None) -> Document:
    """Write a table, with those of its elements that the client may see."""

    def visible(element: Column | Key | ForeignKey) -> bool:
        return rights is None or rights.sees(element, table)

    columns = [column for column in table.columns if visible(column)]
    names = {column.name for column in columns}
    document: Document = {
        "RID": table.rid,
        "schema_name": table.schema,
        "table_name": table.name,
        "kind": table.kind,
        "comment": table.comment,
        "annotations": dict(table.annotations),
        "column_definitions": [column_document(column, table, rights) for column in columns],
        "keys": [key_document(key) for key in table.keys if names.issuperset(key.columns) and visible(key)],
        "foreign_keys": [foreign_key_document(fk, table, rights) for fk in table.foreign_keys if visible(fk)],
    }
    return _controls(document, table, rights)


def schema_document(schema: Schema, rights: Rights | None = None, *, with_tables: bool = True) -> Document:
    """Write a schema, with those of its tables that the client may see."""
    tables = schema.tables.items() if with_tables else ()
    document: Document = {
        "RID": schema.rid,
        "schema_name": schema.name,
        "comment": schema.comment,
        "annotations": dict(schema.annotations),
        "tables": {
            name: table_document(table, rights) for name, table in tables if rights is None or rights.sees(table)
        },
    }
    return _controls(document, schema, rights)
