"""The columns of tables that the walk compares, held in little memory, and sets of rows of a table.

1. A table's rows are numbered in the order in which they came. A set of rows is an integer with one byte for each row,
   0 or 1: union, difference and "is there anything new" are operations on integers, in C.
2. Of a row its RID is held, and the columns that references use; those of a large table as one text, since a million
   short strings take ten times the memory that their text takes.
3. A table is read whole, in one request, or only as far as somebody asks for rows with few given values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import TypeAlias

__all__ = ["RowSet", "TableKeys", "Values", "count_rows"]

RowSet: TypeAlias = int
Values: TypeAlias = "set[str] | set[tuple[str, ...]]"

_MANY = 100_000
_BETWEEN = "\x1f"
"""A control character that stands in no key; where one has it nevertheless, the column stays a list."""


def count_rows(rows: RowSet) -> int:
    """How many rows a set has."""
    return rows.bit_count()


class TableKeys:
    """The columns of one table by which its rows are found.

    Args:
        names: The columns; the first is the RID.

    Attributes:
        names: The columns.
        count: How many rows are known.
        whole: All of the table's rows are known.
        asked: For which lists of values of which column the table has been asked.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.count = 0
        self.whole = False
        self.asked: list[tuple[str, list[str]]] = []
        self._columns: list[list[str] | str] = [[] for _ in names]
        self._lines = (0, 0)
        self._complete: dict[tuple[str, ...], Values] = {}

    def add(self, columns: Sequence[list[str]]) -> None:
        """Add rows; those that are known already are left out."""
        rids = columns[0]
        if self.count:
            known = set(self.column("RID"))
            new = [rid not in known for rid in rids]
            columns = [list(compress(column, new)) for column in columns]
            columns = [[*self.column(name), *column] for name, column in zip(self.names, columns, strict=True)]
        self.count = len(columns[0])
        self._columns = [_packed(column) for column in columns]

    def measure(self, rows: int, length: int) -> None:
        """Note how many bytes some whole rows take as lines."""
        self._lines = (self._lines[0] + rows, self._lines[1] + length)

    @property
    def line_length(self) -> float:
        """The bytes of a row as a line of CSV, on the average of those that were read whole; 0 if none was."""
        rows, length = self._lines
        return length / rows if rows else 0.0

    def column(self, name: str) -> list[str]:
        """The values of a column, in the order of the rows; null is empty text."""
        held = self._columns[self.names.index(name)]
        if isinstance(held, str):
            return held.split(_BETWEEN)
        return held

    def values(self, columns: Sequence[str], rows: RowSet) -> Values:
        """The different values that some columns have in some rows; those with a null are left out."""
        chosen = rows.to_bytes(self.count, "little")
        if len(columns) == 1:
            found = set(compress(self.column(columns[0]), chosen))
            found.discard("")
            return found
        several = zip(*(compress(self.column(name), chosen) for name in columns), strict=True)
        return {values for values in several if "" not in values}

    def having(self, columns: Sequence[str], values: Values) -> RowSet:
        """The known rows in which some columns have one of the values."""
        test: Callable[[object], bool] = values.__contains__
        if len(columns) == 1:
            return int.from_bytes(bytes(map(test, self.column(columns[0]))), "little")
        several = zip(*(self.column(name) for name in columns), strict=True)
        return int.from_bytes(bytes(map(test, several)), "little")

    def rids(self, rows: RowSet) -> list[str]:
        """The RIDs of some rows, in order."""
        return sorted(compress(self.column("RID"), rows.to_bytes(self.count, "little")))

    def is_complete(self, columns: tuple[str, ...], values: Values) -> bool:
        """Whether all rows with one of the values are known."""
        return self.whole or values <= self._complete.get(columns, set())

    def completed(self, columns: tuple[str, ...], values: Values) -> None:
        """Note that all rows with one of the values are known now."""
        self._complete[columns] = self._complete.get(columns, set()) | values  # type: ignore[operator]


def _packed(column: Iterable[str]) -> list[str] | str:
    held = column if isinstance(column, list) else list(column)
    if len(held) < _MANY:
        return held
    text = _BETWEEN.join(held)
    return text if text.count(_BETWEEN) == len(held) - 1 else held
