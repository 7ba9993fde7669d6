"""Why the catalog refused rows: which of them, and which column. It is asked only when that has happened."""

from __future__ import annotations

from collections.abc import Mapping

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import nearest
from deriva_ml.schema.row_files import RowFile
from deriva_ml.wire.model import ForeignKey, Json, Key
from deriva_ml.wire.path import table as rows_of

__all__ = ["reason_of_refusal"]

_SHOWN = 2000
"""As many values of a referenced column are read for the nearest names; of more, none are named."""


def reason_of_refusal(catalog: CatalogClient, file: RowFile, new: Mapping[int, str]) -> DerivaMLDataError | None:
    """What is wrong with rows that were refused: a reference to nothing, or a key that is taken; None if it is neither.

    Args:
        catalog: The catalog.
        file: The rows.
        new: The RIDs of those that were refused, or of which some were, by their number, counted from 0.
    """
    for fkey in file.table.foreign_keys:
        found = _dangling(catalog, file, new, fkey)
        if found is not None:
            return found
    for key in file.table.keys:
        found = _taken(catalog, file, new, key)
        if found is not None:
            return found
    return None


def _dangling(
    catalog: CatalogClient, file: RowFile, new: Mapping[int, str], fkey: ForeignKey
) -> DerivaMLDataError | None:
    """The first row that refers to nothing; of references of one column, as nearly all are."""
    if len(fkey.columns) != 1:
        return None
    (column,), (referenced,) = fkey.columns, fkey.referenced_columns
    given = {at: file.rows[at].get(column) for at in new}
    schema, table = fkey.referenced_table
    rows = catalog.rows_by(schema, table, referenced, given.values(), columns=[referenced])
    there = {row[referenced] for row in rows}
    for at, value in given.items():
        if value is not None and value not in there:
            what = f"{schema}:{table} has no row with {referenced} {value!r}"
            return file.error(at, column, what, allowed=_near(catalog, fkey, str(value)))
    return None


def _near(catalog: CatalogClient, fkey: ForeignKey, value: str) -> list[str]:
    if fkey.referenced_columns == ("RID",):
        return []  # one RID is not like another
    rows = catalog.attributes(rows_of(*fkey.referenced_table).limited(_SHOWN + 1), fkey.referenced_columns[0])
    known = [str(row[fkey.referenced_columns[0]]) for row in rows]
    return nearest(value, known) if len(known) <= _SHOWN else []


def _taken(catalog: CatalogClient, file: RowFile, new: Mapping[int, str], key: Key) -> DerivaMLDataError | None:
    """The first row that has a key of another: of one before it in the file, or of one in the catalog."""
    if key.columns == ("RID",) or not all(name in file.rows[at] for at in [*new][:1] for name in key.columns):
        return None
    label = ", ".join(key.columns)
    seen: dict[tuple[str, ...], int] = {}
    for at in range(max(new) + 1):
        values = _key_of(file.rows[at], key)
        if values is None:
            continue
        if values in seen:
            return file.error(at, label, f"{_shown(file, at, key)} is also that of row {seen[values] + 1}")
        seen[values] = at
    first = key.columns[0]
    rows = catalog.rows_by(
        *file.table.qualified, first, [file.rows[at][first] for at in new], columns=["RID", *key.columns]
    )
    held = {values: str(row["RID"]) for row in rows if (values := _key_of(row, key)) is not None}
    for at in new:
        values = _key_of(file.rows[at], key)
        if values is not None and held.get(values, new[at]) != new[at]:
            return file.error(at, label, f"{_shown(file, at, key)} is that of row {held[values]} of the catalog")
    return None


def _key_of(row: Mapping[str, Json], key: Key) -> tuple[str, ...] | None:
    values = [row.get(name) for name in key.columns]
    return None if None in values else tuple(map(repr, values))


def _shown(file: RowFile, at: int, key: Key) -> str:
    return ", ".join(repr(file.rows[at].get(name)) for name in key.columns)
