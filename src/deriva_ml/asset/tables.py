"""Asset tables and their companions in a catalog's model: the tables of their types and of their executions."""

from __future__ import annotations

from deriva_ml.core.constants import DerivaAssetColumns
from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLSchemaError, DerivaMLTableTypeError
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset, is_association, referencing
from deriva_ml.wire.model import Column, Table

__all__ = [
    "Companion",
    "asset_table",
    "asset_tables",
    "execution_companion",
    "metadata_columns",
    "require_asset_table",
    "type_companion",
]

ROLE = "Asset_Role"


@dataclass(frozen=True, slots=True)
class Companion:
    """An association of an asset table.

    Attributes:
        table: The association.
        asset: Its column that refers to the asset.
        other: Its column that refers to the other side.
    """

    table: Table
    asset: str
    other: str


def require_asset_table(table: Table) -> Table:
    """The table itself, if it is an asset table.

    Raises:
        DerivaMLTableTypeError: It is not.
    """
    if not is_asset(table):
        raise DerivaMLTableTypeError("asset table", table.name)
    return table


def asset_table(session: Session, name: str | Table) -> Table:
    """The asset table of this name.

    Raises:
        DerivaMLTableNotFound: There is no table of the name.
        DerivaMLTableTypeError: It is not an asset table; the nearest asset tables are named.
    """
    found = session.table(name)
    if not is_asset(found):
        known = nearest(found.name, [table.name for table in asset_tables(session)])
        raise DerivaMLTableTypeError(
            "asset table", found.name, hint=f"asset tables here: {', '.join(known)}" if known else None
        )
    return found


def asset_tables(session: Session) -> list[Table]:
    """The asset tables of the project and of the ML schema, in the order in which names are looked up."""
    model = session.model()
    order = [name for name in session.schema_order() if name in model.schemas]
    return [table for name in order for table in model.schemas[name].tables.values() if is_asset(table)]


def metadata_columns(table: Table) -> list[Column]:
    """The columns that say more about a file than every asset table does."""
    return [column for column in table.columns if column.name not in DerivaAssetColumns]


def _companion(session: Session, table: Table, other: tuple[str, str]) -> Companion | None:
    for candidate in referencing(session.model(), table):
        if not is_association(candidate, pure=False):
            continue
        own = [fkey for fkey in candidate.foreign_keys if fkey.referenced_table == table.qualified]
        theirs = [fkey for fkey in candidate.foreign_keys if fkey.referenced_table == other]
        if len(own) == 1 and len(theirs) == 1 and candidate.key((own[0].columns[0], theirs[0].columns[0])):
            return Companion(candidate, own[0].columns[0], theirs[0].columns[0])
    return None


def type_companion(session: Session, table: Table) -> Companion:
    """The association of an asset table with ``Asset_Type``.

    Raises:
        DerivaMLSchemaError: There is none.
    """
    found = _companion(session, table, (session.ml_schema, MLVocab.asset_type.value))
    if found is None:
        raise _missing(table, f"{table.name}_{MLVocab.asset_type.value}")
    return found


def execution_companion(session: Session, table: Table) -> Companion:
    """The association of an asset table with ``Execution``; it has a column ``Asset_Role``.

    Raises:
        DerivaMLSchemaError: There is none.
    """
    found = _companion(session, table, (session.ml_schema, MLTable.execution.value))
    if found is None or found.table.column(ROLE) is None:
        raise _missing(table, f"{table.name}_{MLTable.execution.value}")
    return found


def _missing(table: Table, name: str) -> DerivaMLSchemaError:
    return DerivaMLSchemaError(
        f"Asset table {table.name} has no association table {name}.",
        hint="asset tables are made with create_asset, which makes it",
    )
