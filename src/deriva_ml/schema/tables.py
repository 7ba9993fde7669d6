"""Documents for the kinds of table that the ML layer knows: plain, vocabulary, asset, association."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.values import dataclass
from deriva_ml.wire.model import Json, Model, Table

__all__ = [
    "ASSET_TAG",
    "Associate",
    "asset_document",
    "association_document",
    "is_asset",
    "is_association",
    "is_vocabulary",
    "table_document",
    "vocabulary_document",
]

ASSET_TAG = "tag:isrd.isi.edu,2017:asset"
"""Annotation of the URL column of an asset table."""

Document = dict[str, Json]
VOCABULARY_COLUMNS = frozenset({"id", "uri", "name", "description", "synonyms"})
ASSET_COLUMNS = frozenset({"URL", "Filename", "Length", "MD5"})

_SYSTEM_COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("RID", "ermrest_rid", False),
    ("RCT", "ermrest_rct", False),
    ("RMT", "ermrest_rmt", False),
    ("RCB", "ermrest_rcb", True),
    ("RMB", "ermrest_rmb", True),
)


def _column(column: ColumnDef | Mapping[str, Json]) -> Document:
    return column.to_dict() if isinstance(column, ColumnDef) else dict(column)


def _key(key: KeyDef | Mapping[str, Json], schema: str) -> Document:
    return key.to_dict(schema) if isinstance(key, KeyDef) else dict(key)


def _foreign_key(fkey: ForeignKeyDef | Mapping[str, Json], schema: str, table: str) -> Document:
    return fkey.to_dict(schema, table) if isinstance(fkey, ForeignKeyDef) else dict(fkey)


def table_document(schema: str, definition: TableDef | Mapping[str, Json]) -> Document:
    """The document of a table, with the system columns and the key on RID before what the definition names.

    Args:
        schema: Where it is made.
        definition: Its definition; a document of a table (as ``Table.define`` of the ``deriva`` package gives) is taken
            as it is.

    Raises:
        DerivaMLDataError: The document names no table.
    """
    if isinstance(definition, Mapping):
        if not isinstance(definition.get("table_name"), str):
            raise DerivaMLDataError(
                "The document of the new table has no table_name.", hint="pass a TableDefinition, or name the table"
            )
        return {"kind": "table", **definition, "schema_name": schema}
    system: list[Json] = [ColumnDef(name, kind, nullok=nullok).to_dict() for name, kind, nullok in _SYSTEM_COLUMNS]
    keys: list[Json] = [KeyDef(["RID"]).to_dict(schema)]
    return {
        "schema_name": schema,
        "table_name": definition.name,
        "kind": "table",
        "comment": definition.comment,
        "annotations": dict(definition.annotations),
        "column_definitions": system + [_column(column) for column in definition.columns],
        "keys": keys + [_key(key, schema) for key in definition.keys],
        "foreign_keys": [_foreign_key(fkey, schema, definition.name) for fkey in definition.foreign_keys],
    }


def vocabulary_document(schema: str, name: str, curie_prefix: str, comment: str | None = None) -> Document:
    """The document of a controlled vocabulary.

    Args:
        schema: Where it is made.
        name: Its name.
        curie_prefix: What stands before the colon of a term's ID.
        comment: What it lists.
    """
    columns = (
        ColumnDef("ID", "ermrest_curie", False, f"{curie_prefix}:{{RID}}", "The preferred compact identifier."),
        ColumnDef("URI", "ermrest_uri", False, "/id/{RID}", "The preferred URI."),
        ColumnDef("Name", "text", False, None, "The preferred name."),
        ColumnDef("Description", "markdown", False, None, "What the term means."),
        ColumnDef("Synonyms", "text[]", True, None, "Other names."),
    )
    keys = tuple(KeyDef([column]) for column in ("ID", "URI", "Name"))
    return table_document(schema, TableDef(name, columns, keys, comment=comment))


def asset_document(
    schema: str,
    name: str,
    columns: Iterable[ColumnDef | Mapping[str, Json]] = (),
    foreign_keys: Sequence[ForeignKeyDef | Mapping[str, Json]] = (),
    comment: str | None = None,
) -> Document:
    """The document of an asset table: one row for each stored file, with ``columns`` as metadata."""
    annotation: Document = {
        "url_pattern": f"/hatrac/{name}/{{{{MD5}}}}.{{{{Filename}}}}",
        "filename_column": "Filename",
        "byte_count_column": "Length",
        "md5": "MD5",
    }
    standard = (
        ColumnDef("URL", "text", False, None, "Where the bytes are.", {ASSET_TAG: annotation}),
        ColumnDef("Filename", "text", True, None, "The file's name."),
        ColumnDef("Description", "markdown", True, None, "What the file holds."),
        ColumnDef("Length", "int8", False, None, "Size in bytes."),
        ColumnDef("MD5", "text", False, None, "Hexadecimal MD5 of the bytes."),
    )
    keys = (KeyDef(["URL"]),)
    return table_document(schema, TableDef(name, (*standard, *columns), keys, foreign_keys, comment))


@dataclass(frozen=True, slots=True)
class Associate:
    """One side of an association: the column ``column`` refers to ``key`` of ``schema:table``."""

    schema: str
    table: str
    key: str = "RID"
    column: str | None = None

    @property
    def name(self) -> str:
        """The name of the association's column."""
        return self.column or self.table


def association_document(
    schema: str,
    name: str,
    associates: Sequence[Associate],
    columns: Iterable[ColumnDef | Mapping[str, Json]] = (),
    foreign_keys: Sequence[ForeignKeyDef | Mapping[str, Json]] = (),
    comment: str | None = None,
) -> Document:
    """The document of an association: a not-null reference for each associate, together unique, deleted with them."""
    own = [ColumnDef(associate.name, "text", nullok=False) for associate in associates]
    references = [
        ForeignKeyDef(
            [associate.name],
            associate.schema,
            associate.table,
            [associate.key],
            on_delete="CASCADE",
            on_update="CASCADE",
        )
        for associate in associates
    ]
    # A constraint's name has at most 63 bytes; the service makes a shorter one where ours would not do.
    key_name = f"{name}_assoc_key" if len(name.encode()) <= 53 else None
    keys = (KeyDef([associate.name for associate in associates], key_name),)
    return table_document(schema, TableDef(name, (*own, *columns), keys, (*references, *foreign_keys), comment))


def _names(table: Table) -> set[str]:
    return {column.name for column in table.columns}


def is_vocabulary(table: Table) -> bool:
    """Whether a table is a controlled vocabulary; the letter case of its columns does not matter."""
    return {name.lower() for name in _names(table)} >= VOCABULARY_COLUMNS


def is_asset(table: Table) -> bool:
    """Whether a table holds a row for each stored file."""
    return _names(table) >= ASSET_COLUMNS and any(
        column.name == "URL" and ASSET_TAG in column.annotations for column in table.columns
    )


def is_association(table: Table, *, min_arity: int = 2, max_arity: int = 2, pure: bool = True) -> bool:
    """Whether a table does nothing but relate rows of others.

    Args:
        table: The table.
        min_arity: The least number of related rows.
        max_arity: The greatest number of related rows.
        pure: There may be no column besides the references and the system columns.
    """
    keys = [set(key.columns) for key in table.keys if set(key.columns) != {"RID"}]
    references = [
        fkey for fkey in table.foreign_keys if len(fkey.columns) == 1 and fkey.columns[0] not in ("RCB", "RMB")
    ]
    for key in keys:
        covering = [fkey for fkey in references if fkey.columns[0] in key]
        if {fkey.columns[0] for fkey in covering} != key or not min_arity <= len(key) <= max_arity:
            continue
        rest = _names(table) - key - {name for name, _kind, _nullok in _SYSTEM_COLUMNS}
        if not (pure and rest):
            return True
    return False


def referencing(model: Model, table: Table) -> list[Table]:
    """The tables that have a foreign key to this one, in the model's order."""
    name = (table.schema, table.name)
    return [
        other
        for schema in model.schemas.values()
        for other in schema.tables.values()
        if any(fkey.referenced_table == name for fkey in other.foreign_keys)
    ]
