"""Whole tables as a user reads them: as rows, as a data frame; and the table of the catalog's users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import require
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import table as rows_of

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.core.ermrest import TableDefinition

__all__ = ["create_table", "get_table_as_dataframe", "get_table_as_dict", "user_list"]


def create_table(session: Session, table: TableDefinition | Mapping[str, Json], schema: str | None = None) -> Table:
    """Make a plain table.

    Args:
        session: The catalog.
        table: Its definition; or an ERMrest document of a table.
        schema: Where; by default in the project's schema.

    Raises:
        DerivaMLConfigurationError: No schema was named and the catalog has no default one.
        DerivaMLDataError: A table of that name is there already.
    """
    session.require_writable()
    where = session.domain(schema)
    document = table_document(where, table)
    name = str(document["table_name"])
    if name in session.model().schemas[where].tables:
        raise DerivaMLDataError(f"Table {name} already exist", source=f"schema {where}")
    return session.catalog.create_table(where, document)


def get_table_as_dict(session: Session, table: str | Table) -> Iterator[dict[str, Json]]:
    """The rows of a table.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    yield from session.catalog.rows(rows_of(*session.table(table).qualified))


def get_table_as_dataframe(session: Session, table: str | Table) -> pd.DataFrame:
    """The rows of a table as a data frame, which has all of its columns even if there are no rows.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    found = session.table(table)
    columns = [column.name for column in found.columns]
    return require("pandas", "pandas").DataFrame(list(get_table_as_dict(session, found)), columns=columns)


def user_list(session: Session) -> list[dict[str, Json]]:
    """The catalog's users: ID and Full_Name."""
    rows = session.catalog.rows(rows_of("public", "ERMrest_Client"))
    return [{"ID": row["ID"], "Full_Name": row["Full_Name"]} for row in rows]
