"""Whole tables as a user reads them: as rows, as a data frame; and the table of the catalog's users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deriva_ml.core.files import require
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["list_users", "table_frame", "table_rows"]


def table_rows(session: Session, name: str | Table) -> list[dict[str, Json]]:
    """The rows of a table.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return session.catalog.rows(table(*session.table(name).qualified))


def table_frame(session: Session, name: str | Table) -> pd.DataFrame:
    """The rows of a table as a data frame, which has all of its columns even if there are no rows.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    found = session.table(name)
    columns = [column.name for column in found.columns]
    return require("pandas", "pandas").DataFrame(table_rows(session, found), columns=columns)


def list_users(session: Session) -> list[dict[str, Json]]:
    """The catalog's users: ID and Full_Name."""
    rows = session.catalog.rows(table("public", "ERMrest_Client"))
    return [{"ID": row["ID"], "Full_Name": row["Full_Name"]} for row in rows]
