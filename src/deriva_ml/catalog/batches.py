"""Rows and values made ready to be sent: in parts of bounded size, and alike in the columns that they have; no I/O.

Work is per operation, never per row: rows travel in batches, and a list of values is split by the bytes that it takes
in a request, so that no list is too long and no row is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import nearest
from deriva_ml.wire.model import SYSTEM_COLUMNS, Json, Table
from deriva_ml.wire.path import encode

__all__ = ["Document", "batches", "by_changes", "defaulted_columns", "value_parts"]

Document: TypeAlias = Mapping[str, Json]
T = TypeVar("T")

BATCH_ROWS = 10_000
BATCH_BYTES = 4 << 20
"""Rows are sent in batches of at most this many rows and about this many bytes."""


def parts(items: Iterable[T], weigh: Callable[[T], int], room: int, most: int | None = None) -> Iterator[list[T]]:
    """Items in parts, in order; one that is heavier than the room is a part of its own.

    Args:
        items: The items.
        weigh: How much room an item takes.
        room: How much there is in a part.
        most: How many items there may be in a part.
    """
    part: list[T] = []
    used = 0
    for item in items:
        weight = weigh(item)
        if part and (used + weight > room or len(part) == most):
            yield part
            part, used = [], 0
        part.append(item)
        used += weight
    if part:
        yield part


def _row_weight(row: Document) -> int:
    """About how many bytes a row takes; its text is not made, which costs as much as sending it."""
    return 16 * len(row) + sum(len(value) if isinstance(value, str) else 16 for value in row.values())


def batches(rows: Iterable[Document]) -> Iterator[list[Document]]:
    """Rows in batches of bounded number and size, in order."""
    return parts(rows, _row_weight, BATCH_BYTES, BATCH_ROWS)


def value_parts(values: Iterable[Json], room: int) -> Iterator[list[Any]]:
    """Values in parts, each as long as there is room in a request target; repeated ones and nulls are left out."""
    distinct = dict.fromkeys(value for value in values if value is not None)
    return parts(distinct, lambda value: len(encode(str(value))) + 1, max(room, 1))


def defaulted_columns(
    into: Table, rows: Sequence[Document], defaults: Collection[str], nondefaults: Collection[str]
) -> list[str]:
    """The columns that take their default when rows are added.

    Args:
        into: The table.
        rows: The rows.
        defaults: Columns that take their default, whatever the rows say.
        nondefaults: System columns that take what the rows say.

    Raises:
        DerivaMLDataError: A row has a column that the table lacks.
    """
    wanted = set(defaults)
    used = set().union(*rows)
    names = [column.name for column in into.columns]
    if unknown := sorted((used | wanted) - set(names)):
        raise DerivaMLDataError(
            f"Table {into.schema}:{into.name} has no column {', '.join(unknown)}.",
            allowed=nearest(unknown[0], names),
        )
    system = set(SYSTEM_COLUMNS) - set(nondefaults)
    return [name for name in names if name not in system and (name in wanted or name not in used)]


def by_changes(
    rows: Iterable[Document], keys: Sequence[str], columns: Sequence[str] | None = None
) -> dict[tuple[str, ...], list[Document]]:
    """Rows to be changed, by the columns that are changed in them; each row is only its keys and those.

    Args:
        rows: The rows.
        keys: The columns by which rows are found.
        columns: Change these columns only; by default, all that a row has beside its keys.
    """
    fixed = {*keys, *SYSTEM_COLUMNS}
    groups: dict[tuple[str, ...], list[Document]] = {}
    for row in rows:
        names = tuple(columns) if columns is not None else tuple(sorted(name for name in row if name not in fixed))
        if names:
            groups.setdefault(names, []).append({name: row.get(name) for name in (*keys, *names)})
    return groups
