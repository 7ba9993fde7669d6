"""The stored documents of a model: one for the catalog, one per schema, one per table; pure.

A table's document is the one that ERMrest shows to an owner, less the rights, with a ``storage`` for each column.
Documents refer to each other by name, so each can be read by itself and be kept when another changes; a rename writes
the few that mention the name anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from deriva_ml.core.values import dataclass
from deriva_ml.wire.model import Document, Model, Schema, Table
from deriva_ml.wire.model_documents import schema_document, schema_from_document, table_document, table_from_document

__all__ = ["CATALOG", "FOREVER", "Part", "assemble", "read_part", "write_part"]

FOREVER = (1 << 63) - 1
"""The end of what has not ended."""

CATALOG = ""
"""The RID under which the catalog's own document is kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """One stored document as read: a schema without its tables, a table, or the catalog's own document."""

    kind: str
    rid: str
    value: Schema | Table | Document


def read_part(kind: str, rid: str, text: str) -> Part:
    """Read a stored document."""
    document: Document = json.loads(text)
    if kind == "table":
        return Part(kind, rid, table_from_document(document))
    if kind == "schema":
        return Part(kind, rid, schema_from_document(document))
    return Part(kind, rid, document)


def write_part(value: Model | Schema | Table) -> tuple[Part, str]:
    """Write a table, a schema without its tables, or the catalog's own part as a document to be stored."""
    document: Document
    if isinstance(value, Table):
        document = table_document(value)
        columns = document["column_definitions"]
        assert isinstance(columns, list)
        for column, stored in zip(value.columns, columns, strict=True):
            assert isinstance(stored, dict)
            stored["storage"] = column.storage
        part = Part("table", value.rid, value)
    elif isinstance(value, Schema):
        document = schema_document(value, with_tables=False)
        part = Part("schema", value.rid, value)
    else:
        document = {"annotations": dict(value.annotations), "acls": dict(value.acls)}
        part = Part("catalog", CATALOG, document)
    return part, json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _age(part: Part) -> tuple[int, str]:
    # RIDs of one sequence, written without leading zeros: the longer is the later.
    return (len(part.rid), part.rid)


def assemble(parts: Iterable[Part], snaptime: str) -> Model:
    """Put a model together from its documents."""
    ordered = sorted(parts, key=_age)
    tables: dict[str, dict[str, Table]] = {}
    for part in ordered:
        if isinstance(part.value, Table):
            tables.setdefault(part.value.schema, {})[part.value.name] = part.value
    schemas: dict[str, Schema] = {}
    annotations: Document = {}
    acls: Document = {}
    for part in ordered:
        value = part.value
        if isinstance(value, Schema):
            schemas[value.name] = Schema(
                value.rid, value.name, tables.get(value.name, {}), value.comment, value.annotations, value.acls
            )
        elif isinstance(value, dict):
            annotations = _members(value, "annotations")
            acls = _members(value, "acls")
    return Model(snaptime, schemas, annotations, acls)


def _members(document: Document, name: str) -> Document:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
