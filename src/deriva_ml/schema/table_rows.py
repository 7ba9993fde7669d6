"""Whole tables as a user reads them: as rows, as a data frame; and the table of the catalog's users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.core.config import directory_name
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import make_directory, require
from deriva_ml.schema.chaise import refresh_menu
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import Associate, association_document, is_vocabulary, table_document
from deriva_ml.schema.vocabulary import vocabulary_columns
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import table as rows_of
from deriva_ml.workspace.working_data import WorkingDataCache, plain_frame

if TYPE_CHECKING:
    import pandas as pd

    from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition

__all__ = [
    "cache_table",
    "create_table",
    "define_association",
    "get_table_as_dataframe",
    "get_table_as_dict",
    "table_path",
    "user_list",
]


def create_table(
    session: Session,
    table: TableDefinition | Mapping[str, Json],
    schema: str | None = None,
    update_navbar: bool = True,
) -> Table:
    """Make a plain table.

    Args:
        session: The catalog.
        table: Its definition; or an ERMrest document of a table.
        schema: Where; by default in the project's schema.
        update_navbar: Let the table join the menu of the catalog's web interface, if it has one.

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
    made = session.catalog.create_table(where, document)
    if update_navbar:
        refresh_menu(session)
    return made


def define_association(
    session: Session,
    associates: Sequence[str | Table],
    metadata: Sequence[ColumnDefinition] | None = None,
    table_name: str | None = None,
    comment: str | None = None,
    schema: str | None = None,
) -> dict[str, Json]:
    """The definition of a table that relates rows of others, for ``create_table``.

    Rows of vocabularies are referred to by name, all others by RID.

    Args:
        session: The catalog.
        associates: The tables whose rows are related.
        metadata: Further columns.
        table_name: By default the tables' names, joined by underscores.
        comment: What the table says.
        schema: Where it will be made; by default in the project's schema.

    Raises:
        DerivaMLTableNotFound: A table does not exist.
    """
    ends = [_end(session.table(each)) for each in associates]
    where = session.domain(schema)
    name = table_name or "_".join(end.table for end in ends)
    return association_document(where, name, ends, columns=metadata or (), comment=comment)


def _end(found: Table) -> Associate:
    key = vocabulary_columns(found)["Name"] if is_vocabulary(found) else "RID"
    return Associate(found.schema, found.name, key)


def table_path(session: Session, table: str | Table, schema: str | None = None) -> Path:
    """Where a table's rows can be kept as CSV in the working directory; the directories are made.

    Args:
        session: The catalog.
        table: The table.
        schema: Its schema, if several have a table of this name.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    found = session.table(f"{schema}:{table}" if schema and isinstance(table, str) else table)
    folder = session.working_dir / "deriva-ml" / "table" / directory_name(found.schema) / directory_name(found.name)
    make_directory(folder)
    return folder / f"{directory_name(found.name)}.csv"


def cache_table(session: Session, table_name: str | Table, force: bool = False) -> pd.DataFrame:
    """The rows of a table, kept in the working directory: the catalog is asked the first time only.

    Args:
        session: The catalog.
        table_name: The table.
        force: Ask the catalog again.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    found = session.table(table_name)
    kept = WorkingDataCache(session.records_dir)
    name = f"{found.schema}:{found.name}"
    if force or not kept.has_table(name):
        kept.cache_table(name, plain_frame(get_table_as_dataframe(session, found)))
    return kept.read_table(name)


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
