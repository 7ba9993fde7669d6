"""The rows themselves of what the walk has found, table by table, while they arrive."""

from __future__ import annotations

from collections.abc import Iterator

from deriva_ml.catalog.streaming import Row, stream_rows
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.dataset.key_reader import FEW_BYTES, chunks
from deriva_ml.dataset.reach import Found
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import Path, any_of, table

__all__ = ["found_rows"]

_LISTS = 4
"""Rows are asked for by RID if that takes no more requests than these."""


def found_rows(session: Session, found: Found) -> Iterator[list[Row]]:
    """The rows of a table that belong to a dataset, some at a time; in the catalog's order, or in parts that are.

    Args:
        session: The catalog as of the version's snapshot.
        found: The rows.

    Raises:
        DerivaMLException: The catalog gave other rows than those that were found.
    """
    if found.rows is None:
        yield from stream_rows(session.catalog, table(*found.table.qualified))
        return
    left = set(found.rids())
    everything = len(left) == found.keys.count and found.keys.whole
    got = 0
    for path in _paths(found, left):
        for rows in stream_rows(session.catalog, path):
            # Of several requests each may give the same row.
            kept = rows if everything else [row for row in rows if row["RID"] in left]
            got += len(kept)
            if not everything:
                left.difference_update([str(row["RID"]) for row in kept])
            if kept:
                yield kept
    if got != found.count:
        schema, name = found.table.qualified
        raise DerivaMLException(
            f"The catalog gave {got} rows of {schema}:{name}, where {found.count} belong to the dataset.",
            hint="what a snapshot holds must not change: see whether its past was amended, or your rights; then repeat",
        )


def _paths(found: Found, rids: set[str]) -> list[Path]:
    """What to ask for: the rows by RID if they are few; else as their keys were asked for, which is at least them."""
    path = table(*found.table.qualified)
    lists = list(chunks(sorted(rids), FEW_BYTES)) if len(rids) < _LISTS * FEW_BYTES else []
    if 0 < len(lists) <= _LISTS:
        return [path.where(any_of("RID", part)) for part in lists]
    if found.keys.whole:
        return [path]
    return [path.where(any_of(column, values)) for column, values in found.keys.asked]
