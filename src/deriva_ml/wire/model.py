"""A catalog's model as frozen values, made from and turned into ERMrest's documents; no I/O.

The client reads a ``/schema`` document into a ``Model``; the embedded service keeps one document per table and per
schema, reads them into the same values, and writes the documents that it answers with. ``Rights`` says what a client
may see and do; without it a document is that of an owner, less the rights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias

from deriva_ml.core.json_types import Json

__all__ = [
    "SYSTEM_COLUMNS",
    "Column",
    "ColumnType",
    "Document",
    "Element",
    "ForeignKey",
    "Json",
    "Key",
    "Model",
    "Rights",
    "Schema",
    "Table",
    "column_document",
    "column_from_document",
    "foreign_key_document",
    "foreign_key_from_document",
    "key_document",
    "key_from_document",
    "model_from_document",
    "schema_document",
    "schema_from_document",
    "table_document",
    "table_from_document",
    "type_document",
    "type_from_document",
]

Document: TypeAlias = "dict[str, Json]"
Name: TypeAlias = "tuple[str, str]"
"""Schema and name: of a table, or of a constraint."""

SYSTEM_COLUMNS = ("RID", "RCT", "RMT", "RCB", "RMB")
"""The columns that every table has and the service fills."""

VOCABULARY_COLUMNS = frozenset({"ID", "URI", "Name", "Description", "Synonyms"})
ASSET_COLUMNS = frozenset({"URL", "Filename", "Length", "MD5"})


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A column type.

    Attributes:
        name: ERMrest's type name; an array's is its element's with ``[]`` after it.
        base: The element type of an array, or the type under a domain; None for a plain type.
        is_array: The type is an array of ``base``.
    """

    name: str
    base: ColumnType | None = None
    is_array: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; ``rid`` identifies it through renames."""

    rid: str
    name: str
    type: ColumnType
    nullok: bool = True
    default: Json = field(default=None, hash=False)
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict, hash=False)
    acls: Mapping[str, Json] = field(default_factory=dict, hash=False)
    acl_bindings: Mapping[str, Json] = field(default_factory=dict, hash=False)
    storage: str = ""
    """Name of the physical column; used by the embedded service only."""

    @property
    def is_system(self) -> bool:
        """The service fills the column."""
        return self.name in SYSTEM_COLUMNS


@dataclass(frozen=True, slots=True)
class Key:
    """A unique key: the columns whose values together name one row."""

    rid: str
    name: Name
    columns: tuple[str, ...]
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference; ``columns`` and ``referenced_columns`` are parallel."""

    rid: str
    name: Name
    table: Name
    columns: tuple[str, ...]
    referenced_table: Name
    referenced_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)
    acls: Mapping[str, Json] = field(default_factory=dict)
    acl_bindings: Mapping[str, Json] = field(default_factory=dict)

    @property
    def mapping(self) -> dict[str, str]:
        """Referenced column by referring column."""
        return dict(zip(self.columns, self.referenced_columns, strict=True))


@dataclass(frozen=True)
class Table:
    """A table with its columns in the order of their creation."""

    rid: str
    schema: str
    name: str
    columns: tuple[Column, ...]
    keys: tuple[Key, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    kind: str = "table"
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)
    acls: Mapping[str, Json] = field(default_factory=dict)
    acl_bindings: Mapping[str, Json] = field(default_factory=dict)

    @property
    def qualified(self) -> Name:
        """Schema and name."""
        return (self.schema, self.name)

    @cached_property
    def columns_by_name(self) -> Mapping[str, Column]:
        """The columns, by name."""
        return {column.name: column for column in self.columns}

    def column(self, name: str) -> Column | None:
        """The column of this name, if there is one."""
        return self.columns_by_name.get(name)

    def key(self, columns: Iterator[str] | tuple[str, ...] | list[str] | frozenset[str]) -> Key | None:
        """The key of exactly these columns, in any order."""
        wanted = frozenset(columns)
        return next((key for key in self.keys if frozenset(key.columns) == wanted), None)

    @property
    def constraints(self) -> tuple[Key | ForeignKey, ...]:
        """The keys, then the foreign keys."""
        return (*self.keys, *self.foreign_keys)

    @property
    def user_columns(self) -> tuple[Column, ...]:
        """The columns that the service does not fill."""
        return tuple(column for column in self.columns if not column.is_system)

    @property
    def is_vocabulary(self) -> bool:
        """The table is a controlled vocabulary: it has the columns of one, and an ``ID`` of the right type."""
        names = self.columns_by_name
        return names.keys() >= VOCABULARY_COLUMNS and names["ID"].type.name == "ermrest_curie"

    @property
    def is_asset(self) -> bool:
        """The table describes files: it has their URL, name, length and checksum."""
        return self.columns_by_name.keys() >= ASSET_COLUMNS

    @property
    def is_association(self) -> bool:
        """The table does nothing but relate rows of two tables: one key covers its two references, and no more."""
        return len(self.association_keys()) == 2

    def association_keys(self) -> tuple[ForeignKey, ...]:
        """The references that a key of this table is exactly made of, in their order; empty if there is no such key.

        Further references and columns, which say more about the relation, may stand beside it.
        """
        for key in self.keys:
            inside = tuple(fk for fk in self.foreign_keys if set(fk.columns) <= set(key.columns))
            covered = [name for fk in inside for name in fk.columns]
            if len(inside) > 1 and sorted(covered) == sorted(key.columns):
                return inside
        return ()

    def references(self, other: Table | Name) -> tuple[ForeignKey, ...]:
        """The foreign keys of this table that refer to another."""
        name = other.qualified if isinstance(other, Table) else other
        return tuple(fk for fk in self.foreign_keys if fk.referenced_table == name)


@dataclass(frozen=True)
class Schema:
    """A schema: a name for a set of tables."""

    rid: str
    name: str
    tables: Mapping[str, Table]
    comment: str | None = None
    annotations: Mapping[str, Json] = field(default_factory=dict)
    acls: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """The model of one catalog as of ``snaptime``."""

    snaptime: str
    schemas: Mapping[str, Schema]
    annotations: Mapping[str, Json] = field(default_factory=dict)
    acls: Mapping[str, Json] = field(default_factory=dict)

    def tables(self) -> Iterator[Table]:
        """All tables, schema by schema."""
        for schema in self.schemas.values():
            yield from schema.tables.values()

    def table(self, schema: str, name: str) -> Table | None:
        """The table of this name in this schema, if there is one."""
        found = self.schemas.get(schema)
        return found.tables.get(name) if found else None

    @cached_property
    def _tables_by_name(self) -> Mapping[str, tuple[Table, ...]]:
        found: dict[str, tuple[Table, ...]] = {}
        for table in self.tables():
            found[table.name] = (*found.get(table.name, ()), table)
        return found

    @cached_property
    def tables_by_rid(self) -> Mapping[str, Table]:
        """The tables, by RID."""
        return {table.rid: table for table in self.tables()}

    @cached_property
    def _references(self) -> Mapping[Name, tuple[ForeignKey, ...]]:
        found: dict[Name, list[ForeignKey]] = {}
        for table in self.tables():
            for fk in table.foreign_keys:
                found.setdefault(fk.referenced_table, []).append(fk)
        return {name: tuple(fks) for name, fks in found.items()}

    def tables_named(self, name: str) -> tuple[Table, ...]:
        """The tables of this name, in whatever schema."""
        return self._tables_by_name.get(name, ())

    def referenced_by(self, table: Table | Name) -> tuple[ForeignKey, ...]:
        """The foreign keys that refer to a table."""
        return self._references.get(table.qualified if isinstance(table, Table) else table, ())


Element: TypeAlias = "Model | Schema | Table | Column | ForeignKey"


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
        tables={
            name: table_from_document(table)
            for name, table in _mapping(document.get("tables")).items()
            if isinstance(table, dict)
        },
        comment=_text(document.get("comment")),
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
    )


def model_from_document(document: Mapping[str, Json]) -> Model:
    """Read what ``GET /schema`` answers."""
    return Model(
        snaptime=str(document.get("snaptime", "")),
        schemas={
            name: schema_from_document(schema)
            for name, schema in _mapping(document.get("schemas")).items()
            if isinstance(schema, dict)
        },
        annotations=_mapping(document.get("annotations")),
        acls=_mapping(document.get("acls")),
    )


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
