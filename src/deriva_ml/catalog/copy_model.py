"""The documents that make a catalog's model again elsewhere, in an order that always works; no I/O.

Tables come first, without references; then, when there are rows, all foreign keys; access rules that go along foreign
keys come last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from deriva_ml.wire import targets

__all__ = ["CopiedModel", "TableName"]

TableName: TypeAlias = tuple[str, str]
Doc: TypeAlias = dict[str, Any]

BUILT_IN = frozenset({"ERMrest_Client", "ERMrest_Group", "ERMrest_RID_Lease"})
COMMON = ("comment", "annotations", "acls")


class CopiedModel:
    """A model, as the documents that make it again.

    Args:
        document: What the source answers at ``/schema``.

    Attributes:
        tables: The tables that are copied.
        order: The same, referenced ones first.
    """

    def __init__(self, document: Doc) -> None:
        self._document = document
        self.tables: dict[TableName, Doc] = {
            (schema, name): doc
            for schema, schema_doc in document["schemas"].items()
            for name, doc in schema_doc["tables"].items()
            if doc.get("kind", "table") == "table" and not (schema == "public" and name in BUILT_IN)
        }
        self._columns = {
            name: tuple(column["name"] for column in doc["column_definitions"]) for name, doc in self.tables.items()
        }
        self._loose: dict[TableName, set[str]] = {}
        self.order = self._ordered()

    def columns(self, name: TableName) -> tuple[str, ...]:
        """The names of a table's columns."""
        return self._columns[name]

    def loose(self, name: TableName) -> frozenset[str]:
        """Columns that are filled after all rows are there, since references go round in a circle."""
        return frozenset(self._loose.get(name, ()))

    def _ordered(self) -> list[TableName]:
        needs = {name: dict(self._needs(name)) for name in self.tables}
        order: list[TableName] = []
        while needs:
            ready = [name for name, others in needs.items() if not others.keys() & needs.keys()]
            for name in ready:
                del needs[name]
            order += ready
            if not ready:
                self._loosen(needs)
        return order

    def _needs(self, name: TableName) -> Iterator[tuple[TableName, list[tuple[str, ...]]]]:
        """The tables that a table refers to, with the columns that do so."""
        found: dict[TableName, list[tuple[str, ...]]] = {}
        for doc in self.tables[name].get("foreign_keys", ()):
            other = doc["referenced_columns"][0]
            place = (other["schema_name"], other["table_name"])
            if place in self.tables:
                columns = tuple(column["column_name"] for column in doc["foreign_key_columns"])
                found.setdefault(place, []).append(columns)
        yield from found.items()

    def _loosen(self, needs: dict[TableName, dict[TableName, list[tuple[str, ...]]]]) -> None:
        """Break a circle where a reference may be null for a while; where none may, anywhere."""
        for name, others in needs.items():
            nullable = {column["name"] for column in self.tables[name]["column_definitions"] if column["nullok"]}
            for other, references in others.items():
                if other in needs and all(nullable.issuperset(columns) for columns in references):
                    self._loose.setdefault(name, set()).update(*references)
                    del others[other]
                    return
        next(iter(needs.values())).clear()

    # ------------------------------------------------------------------------------------------ documents

    def creation(self) -> list[Doc]:
        """What makes schemas and tables, without references."""
        made: list[Doc] = []
        for name, doc in self._document["schemas"].items():
            if name != "public":
                made.append({"schema_name": name, **_picked(doc, *COMMON)})
        for (schema, name), doc in self.tables.items():
            made.append(
                {
                    "schema_name": schema,
                    "table_name": name,
                    "kind": "table",
                    **_picked(doc, *COMMON),
                    "column_definitions": [
                        _picked(column, "name", "type", "nullok", "default", *COMMON)
                        for column in doc["column_definitions"]
                    ],
                    "keys": [_picked(key, "unique_columns", "names", "comment", "annotations") for key in doc["keys"]],
                }
            )
        return made

    def references(self) -> list[Doc]:
        """What makes the foreign keys."""
        wanted = ("foreign_key_columns", "referenced_columns", "names", "on_delete", "on_update", *COMMON)
        return [_picked(fk, *wanted) for doc in self.tables.values() for fk in doc.get("foreign_keys", ())]

    def policies(self) -> Iterator[tuple[str, Any]]:
        """What is put last: targets below the catalog, and documents."""
        for name, doc in self.tables.items():
            for place, element in self._elements(name, doc):
                if element.get("acl_bindings"):
                    yield f"{place}/acl_binding", element["acl_bindings"]
        annotations = self._document.get("annotations")
        if annotations:
            yield targets.annotation(""), annotations
        for name, members in (self._document.get("acls") or {}).items():
            # Who made the copy owns it; the owners of the source may be unknown there.
            if name != "owner" and members:
                yield targets.acl("", name), members

    @staticmethod
    def _elements(name: TableName, doc: Doc) -> Iterator[tuple[str, Doc]]:
        yield targets.table(*name), doc
        for column in doc["column_definitions"]:
            yield targets.column(*name, column["name"]), column
        for fk in doc.get("foreign_keys", ()):
            other = fk["referenced_columns"]
            place = targets.foreign_key(
                *name,
                [column["column_name"] for column in fk["foreign_key_columns"]],
                (other[0]["schema_name"], other[0]["table_name"]),
                [column["column_name"] for column in other],
            )
            yield place, fk


def _picked(document: Doc, *names: str) -> Doc:
    return {name: document[name] for name in names if name in document}
