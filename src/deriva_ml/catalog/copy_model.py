"""The documents that make a catalog's model again elsewhere, in an order that always works; no I/O.

Tables come first, without references; keys and references when there are rows that keep them; access rules that go
along references come after those. What references do on a deletion or a change comes last: while rows are brought,
nothing may vanish by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeAlias

from deriva_ml.wire import targets

__all__ = ["BUILT_IN", "CopiedModel", "Doc", "TableName", "identity"]

TableName: TypeAlias = tuple[str, str]
Doc: TypeAlias = dict[str, Any]

BUILT_IN = frozenset({"ERMrest_Client", "ERMrest_Group", "ERMrest_RID_Lease"})
COMMON = ("comment", "annotations", "acls")
KEY = ("unique_columns", "names", "comment", "annotations")
REFERENCE = ("foreign_key_columns", "referenced_columns", "names", *COMMON)


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

    def creation(self, keys: Collection[str], loosened: Collection[tuple[TableName, str]]) -> list[Doc]:
        """What makes schemas and tables, without references.

        Args:
            keys: The keys to make with their tables, by `identity`, beside those on the RID.
            loosened: Columns that may be null for now.
        """
        made: list[Doc] = []
        for name, doc in self._document["schemas"].items():
            if name != "public":
                made.append({"schema_name": name, **_picked(doc, *COMMON)})
        for place, doc in self.tables.items():
            columns = [_picked(column, "name", "type", "nullok", "default", *COMMON) for column in _columns(doc)]
            for column in columns:
                column["nullok"] = column["nullok"] or (place, column["name"]) in loosened
            wanted = [key for key in doc["keys"] if key["unique_columns"] == ["RID"] or identity(key) in keys]
            made.append(
                {
                    "schema_name": place[0],
                    "table_name": place[1],
                    "kind": "table",
                    **_picked(doc, *COMMON),
                    "column_definitions": columns,
                    "keys": [_picked(key, *KEY) for key in wanted],
                }
            )
        return made

    def unique_keys(self) -> Iterator[tuple[str, TableName, Doc]]:
        """The keys beside those on the RID: identity, table, and what makes each."""
        for name, doc in self.tables.items():
            for key in doc["keys"]:
                if key["unique_columns"] != ["RID"]:
                    yield identity(key), name, _picked(key, *KEY)

    def references(self) -> Iterator[tuple[str, str, Doc]]:
        """The foreign keys: identity, the target that names each, and what makes it, without its actions."""
        for name, doc in self.tables.items():
            for fk in doc.get("foreign_keys", ()):
                yield identity(fk), _place(name, fk), _picked(fk, *REFERENCE)

    def actions(self) -> Iterator[tuple[str, Doc]]:
        """What foreign keys do on deletions and changes, where it is not nothing: targets and documents."""
        for name, doc in self.tables.items():
            for fk in doc.get("foreign_keys", ()):
                document = _picked(fk, "on_delete", "on_update")
                if any(action != "NO ACTION" for action in document.values()):
                    yield _place(name, fk), document

    def bindings(self) -> Iterator[tuple[str, Any]]:
        """Access rules that look at the rows: targets below the catalog, and documents."""
        for name, doc in self.tables.items():
            for place, element in self._elements(name, doc):
                if element.get("acl_bindings"):
                    yield f"{place}/acl_binding", element["acl_bindings"]

    def annotations(self) -> Iterator[tuple[str, Any]]:
        """Annotations of what the service makes itself: targets below the catalog, and documents."""
        public = self._document["schemas"].get("public", {})
        yield from _annotated("", self._document)
        yield from _annotated(targets.schema("public"), public)
        for name in sorted(BUILT_IN & public.get("tables", {}).keys()):
            yield from _annotated(targets.table("public", name), public["tables"][name])

    def lists(self) -> Iterator[tuple[str, Any]]:
        """The catalog's access lists: targets below it, and documents."""
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
            yield _place(name, fk), fk


def identity(document: Doc) -> str:
    """What tells an element of the model from all others, whatever its name."""
    return str(document.get("RID") or document.get("names") or document)


def _annotated(place: str, document: Doc) -> Iterator[tuple[str, Any]]:
    for name, value in (document.get("annotations") or {}).items():
        yield targets.annotation(place, name), value


def _columns(document: Doc) -> list[Doc]:
    return list(document["column_definitions"])


def _place(name: TableName, fk: Doc) -> str:
    other = fk["referenced_columns"]
    return targets.foreign_key(
        *name,
        [column["column_name"] for column in fk["foreign_key_columns"]],
        (other[0]["schema_name"], other[0]["table_name"]),
        [column["column_name"] for column in other],
    )


def _picked(document: Doc, *names: str) -> Doc:
    return {name: document[name] for name in names if name in document}
