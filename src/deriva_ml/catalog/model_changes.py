"""Changes of a catalog's model: each operation as the request that it is. They are methods of ``CatalogClient``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from deriva_ml.catalog.batches import Document
from deriva_ml.wire import targets
from deriva_ml.wire.model import ForeignKey, Json, Table

__all__ = [
    "Changing",
    "alter",
    "create_column",
    "create_foreign_key",
    "create_key",
    "create_schema",
    "create_table",
    "create_tables",
    "drop_column",
    "drop_foreign_key",
    "drop_key",
    "drop_schema",
    "drop_table",
    "set_annotation",
]


class Changing(Protocol):
    """A client that sends changes of the model, and knows the model afterwards."""

    def change_model(self, method: str, target: str, document: Any = None) -> Any:
        """Send a change; give the document that the catalog answers, if any."""

    def table(self, schema: str, name: str) -> Table:
        """A table as it is now."""


def create_schema(client: Changing, name: str, comment: str | None = None) -> None:
    """Add an empty schema."""
    client.change_model("POST", targets.schema(), [{"schema_name": name, "comment": comment}])


def create_table(client: Changing, schema: str, document: Document) -> Table:
    """Add a table.

    Args:
        client: The client.
        schema: Its schema.
        document: Its definition, as ERMrest writes it.
    """
    made = client.change_model("POST", targets.table(schema), dict(document))
    return client.table(schema, str(made["table_name"]))


def create_tables(client: Changing, documents: Sequence[Document]) -> list[Table]:
    """Add schemas and tables, with references among them in any order, in one request.

    Args:
        client: The client.
        documents: Definitions of schemas (``schema_name`` and perhaps ``tables``) and of tables.

    Returns:
        The tables, in the order of the catalog's answer.
    """
    made = client.change_model("POST", targets.schema(), [dict(document) for document in documents])
    names: list[tuple[str, str]] = []
    for document in made:
        for name, member in dict(document.get("tables") or {}).items():
            names.append((str(member.get("schema_name") or document["schema_name"]), name))
        if "table_name" in document:
            names.append((str(document["schema_name"]), str(document["table_name"])))
    return [client.table(schema, name) for schema, name in names]


def create_column(client: Changing, schema: str, table_name: str, document: Document) -> None:
    """Add a column to a table."""
    client.change_model("POST", targets.column(schema, table_name), dict(document))


def create_key(client: Changing, schema: str, table_name: str, document: Document) -> None:
    """Add a unique key to a table."""
    client.change_model("POST", targets.key(schema, table_name), dict(document))


def create_foreign_key(client: Changing, schema: str, table_name: str, document: Document) -> None:
    """Add a foreign key to a table."""
    client.change_model("POST", targets.foreign_key(schema, table_name), dict(document))


def alter(
    client: Changing, changes: Document, schema: str, table_name: str | None = None, column: str | None = None
) -> None:
    """Change a schema, a table or a column: what the document names, nothing else."""
    client.change_model("PUT", targets.element(schema, table_name, column), dict(changes))


def drop_schema(client: Changing, schema: str) -> None:
    """Remove an empty schema."""
    client.change_model("DELETE", targets.schema(schema))


def drop_table(client: Changing, schema: str, table_name: str) -> None:
    """Remove a table to which nothing refers."""
    client.change_model("DELETE", targets.table(schema, table_name))


def drop_column(client: Changing, schema: str, table_name: str, column: str) -> None:
    """Remove a column."""
    client.change_model("DELETE", targets.column(schema, table_name, column))


def drop_key(client: Changing, schema: str, table_name: str, columns: Sequence[str]) -> None:
    """Remove a unique key."""
    client.change_model("DELETE", targets.key(schema, table_name, columns))


def drop_foreign_key(client: Changing, fk: ForeignKey) -> None:
    """Remove a foreign key."""
    target = targets.foreign_key(*fk.table, fk.columns, fk.referenced_table, fk.referenced_columns)
    client.change_model("DELETE", target)


def set_annotation(
    client: Changing,
    name: str,
    value: Json,
    schema: str | None = None,
    table: str | None = None,
    column: str | None = None,
) -> None:
    """Annotate the catalog, or the schema, the table or the column that is named; None removes the annotation."""
    target = targets.annotation(targets.element(schema, table, column), name)
    if value is None:
        client.change_model("DELETE", target)
    else:
        client.change_model("PUT", target, value)
