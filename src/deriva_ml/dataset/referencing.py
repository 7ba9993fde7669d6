"""Which datasets have to do with a table or with one of its columns: who must be asked before it is changed."""

from __future__ import annotations

from collections.abc import Iterator

from deriva_ml.core.enums import MLTable
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.dataset.elements import Element, elements
from deriva_ml.dataset.finding import Owner
from deriva_ml.schema.references import require_column
from deriva_ml.schema.session import session_of
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import Path, col, not_null
from deriva_ml.wire.path import table as table_path

__all__ = ["find_datasets_referencing"]


def find_datasets_referencing(
    owner: Owner, table: str | Table, column: str | None = None, deleted: bool = False
) -> list[Dataset]:
    """The datasets whose members are rows of a table, or refer to rows of it; by their RIDs, as they are now.

    The number of requests depends on how many tables with members refer to the table, not on rows.

    Args:
        owner: The catalog: a ``DerivaML`` or its session.
        table: The table.
        column: Only datasets whose members have a value in this column of the table, or refer to it.
        deleted: Include datasets that were deleted.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLNotFoundError: The table has no such column.
    """
    session = session_of(owner)
    found = session.table(table)
    if column is not None:
        require_column(found, column)
    known = elements(session.model(), session.ml_schema, session.domain_schemas)
    rids = {
        str(row[element.holder])
        for element in known.values()
        for path in _uses(element, found, column)
        for row in session.catalog.attributegroup(path, [col("m", element.holder)])
    }
    rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", sorted(rids))
    return [
        Dataset(owner, str(row["RID"]), str(row["Description"] or ""))
        for row in sorted(rows, key=lambda row: str(row["RID"]))
        if deleted or not row["Deleted"]
    ]


def _uses(element: Element, table: Table, column: str | None) -> Iterator[Path]:
    """The members of one kind that are rows of the table or refer to it: one path for each reference."""
    members = table_path(element.association.schema, element.association.name, alias="m").link(
        *element.table.qualified, on=[(element.member, element.key)], alias="e"
    )
    if element.table.qualified == table.qualified:
        yield members.where(not_null(("e", column or "RID")))
    for fkey in element.table.references(table):
        if column is None or column in fkey.referenced_columns:
            yield members.where(*(not_null(("e", name)) for name in fkey.columns))
