"""A catalog's model as frozen values, with the look-ups that every room makes in it; no I/O.

``model_documents`` makes them from ERMrest's documents and turns them into such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import TypeAlias

from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass

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
    "Name",
    "Schema",
    "Table",
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
