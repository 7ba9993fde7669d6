"""Which element of a model a request's path names, and the element itself.

A path is read into an `Address` without looking at the model; `Found` is what it leads to. A missing element at the end
of a path is 404, one on the way to it 409, as with the original.
"""

from __future__ import annotations

from dataclasses import replace

from deriva_ml.core.values import dataclass
from deriva_ml.server.access import Access, label
from deriva_ml.server.ddl import find_schema, find_table
from deriva_ml.server.errors import BadRequest, Conflict, NotFound
from deriva_ml.wire.model import Column, ForeignKey, Key, Model, Schema, Table
from deriva_ml.wire.parse import Segment

__all__ = ["Address", "Found", "find", "read_address"]

ASPECTS = {
    "comment": ("schema", "table", "column", "key", "foreign key"),
    "annotation": ("catalog", "schema", "table", "column", "key", "foreign key"),
    "acl": ("catalog", "schema", "table", "column", "foreign key"),
    "acl_binding": ("table", "column", "foreign key"),
}
"""What has which aspects."""

PARTS = {"column": "column", "key": "key", "foreignkey": "foreign key"}


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names.

    Attributes:
        kind: ``catalog``, ``schema``, ``table``, ``column``, ``key``, ``foreign key``, or their plurals for the
            collections; a set of foreign keys that is narrowed by columns is ``foreign keys`` too.
        schema: Name of the schema.
        table: Name of the table.
        columns: The column, or those of the key or foreign key.
        referenced: Schema (may be empty) and table that a foreign key refers to.
        referenced_columns: The columns that it refers to.
        aspect: ``comment``, ``annotation``, ``acl`` or ``acl_binding`` of the element.
        name: The annotation, ACL or binding.
    """

    kind: str
    schema: str = ""
    table: str = ""
    columns: tuple[str, ...] = ()
    referenced: tuple[str, str] | None = None
    referenced_columns: tuple[str, ...] = ()
    aspect: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An element and where it is."""

    kind: str
    model: Model
    schema: Schema | None
    table: Table | None
    element: Model | Schema | Table | Column | Key | ForeignKey

    @property
    def label(self) -> str:
        """How refusals name the element."""
        if isinstance(self.element, Key):
            return f"key ({','.join(self.element.columns)})"
        return label(self.element, self.table)


def _word(segment: Segment) -> str:
    if segment.word is None:
        raise BadRequest("URL parse error: a plain name is needed here.")
    return segment.word


def _names(segment: Segment) -> tuple[str, ...]:
    if segment.value is not None or any(len(name) != 1 for name in segment.names):
        raise BadRequest("URL parse error: a list of column names is needed here.")
    return tuple(name[0] for name in segment.names)


def _table_name(segment: Segment) -> tuple[str, str]:
    if segment.value is not None or len(segment.names) != 1 or len(segment.names[0]) > 2:
        raise BadRequest("URL parse error: a table name is needed here.")
    parts = segment.names[0]
    return ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def read_address(segments: tuple[Segment, ...]) -> Address | None:
    """Read the path of a model resource or of an aspect of the catalog; None if there is no such resource."""
    if not segments:
        return None
    if segments[0].word != "schema":
        return _aspect(Address("catalog"), segments)
    if len(segments) == 1:
        return Address("schemas")
    schema = _word(segments[1])
    if len(segments) == 2 or segments[2].word != "table":
        return _aspect(Address("schema", schema), segments[2:])
    if len(segments) == 3:
        return Address("tables", schema)
    table = Address("table", schema, _word(segments[3]))
    rest = segments[4:]
    word = rest[0].word if rest else None
    if word not in PARTS:
        return _aspect(table, rest)
    return _part(replace(table, kind=PARTS[word]), rest[1:])


def _part(part: Address, rest: tuple[Segment, ...]) -> Address | None:
    """Read what follows ``column``, ``key`` or ``foreignkey``."""
    if not rest:
        return replace(part, kind=part.kind + "s")
    if part.kind == "column":
        return _aspect(replace(part, columns=(_word(rest[0]),)), rest[1:])
    part = replace(part, columns=_names(rest[0]))
    if part.kind == "key":
        return _aspect(part, rest[1:])
    if len(rest) == 1:
        return replace(part, kind="foreign keys")
    if rest[1].word != "reference":
        return None
    if len(rest) == 2:
        return replace(part, kind="foreign keys")
    part = replace(part, referenced=_table_name(rest[2]))
    if len(rest) == 3:
        return replace(part, kind="foreign keys")
    return _aspect(replace(part, referenced_columns=_names(rest[3])), rest[4:])


def _aspect(element: Address, rest: tuple[Segment, ...]) -> Address | None:
    """Read what may follow an element: nothing, or one of its aspects."""
    if not rest:
        return element
    aspect = rest[0].word
    if aspect is None or element.kind not in ASPECTS.get(aspect, ()) or len(rest) > (1 if aspect == "comment" else 2):
        return None
    return replace(element, aspect=aspect, name=_word(rest[1]) if len(rest) == 2 else None)


# ---------------------------------------------------------------------------------------------- looking up


def _schema(model: Model, access: Access, name: str, *, is_last: bool) -> Schema:
    schema = model.schemas.get(name)
    if schema is not None and access.sees(schema):
        return schema
    if is_last:
        raise NotFound(f"schema {name}")
    raise Conflict(f"Schema {name} does not exist.")


def _table(model: Model, access: Access, address: Address, *, is_last: bool) -> Table:
    schema = _schema(model, access, address.schema, is_last=False)
    table = schema.tables.get(address.table)
    if table is not None and access.sees(table):
        return table
    if is_last:
        raise NotFound(f"table {address.table} in schema {address.schema}")
    raise Conflict(f"Table {address.table} does not exist in schema {address.schema}.")


def find(model: Model, access: Access, address: Address) -> Found:
    """The element that an address names, or the one whose collection it names."""
    kind = address.kind
    if kind in ("catalog", "schemas"):
        return Found("catalog", model, None, None, model)
    if kind in ("schema", "tables"):
        schema = _schema(model, access, address.schema, is_last=kind == "schema")
        return Found("schema", model, schema, None, schema)
    table = _table(model, access, address, is_last=kind == "table")
    schema = find_schema(model, address.schema)
    if kind in ("table", "columns", "keys", "foreign keys"):
        return Found("table", model, schema, table, table)
    return Found(kind, model, schema, table, _element(model, access, table, address))


def _element(model: Model, access: Access, table: Table, address: Address) -> Column | Key | ForeignKey:
    if address.kind == "column":
        column = table.column(address.columns[0])
        if column is None or not access.sees(column, table):
            raise NotFound(f"column {address.columns[0]} in table {table.name}")
        return column
    for name in address.columns:
        column = table.column(name)
        if column is None or not access.sees(column, table):
            raise Conflict(f"Requested column {name} does not exist in table {table.name}.")
    if address.kind == "key":
        key = table.key(address.columns)
        if key is None or not access.sees(key, table):
            raise NotFound(f"key ({','.join(address.columns)})")
        return key
    return _reference(model, access, table, address)


def _reference(model: Model, access: Access, table: Table, address: Address) -> ForeignKey:
    assert address.referenced is not None
    target = find_table(model, *address.referenced)
    wanted = set(zip(address.columns, address.referenced_columns, strict=False))
    if len(address.columns) == len(address.referenced_columns):
        for fk in table.references(target):
            if set(fk.mapping.items()) == wanted and access.sees(fk, table):
                return fk
    raise Conflict(
        f"Requested foreign-key from {':'.join(table.qualified)}({','.join(address.columns)}) to "
        f"{':'.join(target.qualified)}({','.join(address.referenced_columns)}) does not exist."
    )
