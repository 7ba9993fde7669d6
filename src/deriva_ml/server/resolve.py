"""From the names in a path to the tables and columns of a model; pure.

What the client may not see is not in the view's model, and hence does not exist here either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from deriva_ml.server.errors import BadRequest, Conflict
from deriva_ml.wire.model import Column, Model, Table
from deriva_ml.wire.syntax import Name, render_name

__all__ = ["Source", "resolve_column", "resolve_table"]


class Source(Protocol):
    """What a query is compiled against; `deriva_ml.server.view.View` is one."""

    is_snapshot: bool

    @property
    def model(self) -> Model:
        """The model as of the moment."""

    def source(self, table: Table) -> str:
        """What to select the table's rows from."""

    def column(self, column: Column) -> str:
        """The quoted name of a physical column."""


def resolve_table(model: Model, name: Name) -> Table:
    """The table of this name.

    Raises:
        BadRequest: The name has three parts.
        Conflict: There is none, or several schemas have one.
    """
    if len(name.parts) > 2:
        raise BadRequest(f"Name {render_name(name)} is not a valid syntax for a table name.")
    if len(name.parts) == 1:
        return _unique(model, name.parts[0])
    schema = model.schemas.get(name.parts[0])
    if schema is None:
        raise Conflict(f"Schema {name.parts[0]} does not exist.")
    table = schema.tables.get(name.parts[1])
    if table is None:
        raise Conflict(f"Table {name.parts[1]} does not exist in schema {schema.name}.")
    return table


def _unique(model: Model, name: str) -> Table:
    found = [schema.tables[name] for schema in model.schemas.values() if name in schema.tables]
    if not found:
        raise Conflict(f"Table {name} not found in model.")
    if len(found) > 1:
        raise Conflict(f"Table name {name} is ambiguous.")
    return found[0]


def resolve_column(table: Table, name: str) -> Column:
    """The column of a table.

    Raises:
        Conflict: It has none of this name.
    """
    columns: Mapping[str, Column] = table.columns_by_name
    if name not in columns:
        raise Conflict(f"Requested column {name} does not exist in table {table.name}.")
    return columns[name]
