"""Rows of a bag's tables as CSV, and back: null is an empty field, empty text is a quoted empty field.

This is ERMrest's CSV, except that arrays are JSON text. The values are those of ERMrest's JSON rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.wire.model import Column, Json

__all__ = ["csv_lines", "csv_writer", "field_reader", "is_boolean", "is_document", "read_csv", "reader", "sql_type"]

_SPECIAL = re.compile(r'[",\r\n]')
_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(?:,|\Z)')
_INTEGERS = frozenset({"int2", "int4", "int8", "serial2", "serial4", "serial8"})
_REALS = frozenset({"float4", "float8"})
_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})


def is_boolean(column: Column) -> bool:
    """The column's values are true and false."""
    return column.type.name == "boolean"


def is_document(column: Column) -> bool:
    """The column's values are written as JSON text: documents and arrays."""
    return column.type.is_array or column.type.name.endswith("[]") or column.type.name in {"json", "jsonb"}


def sql_type(column: Column) -> str:
    """The column's type in a bag's own database."""
    if is_boolean(column) or column.type.name in _INTEGERS:
        return "INTEGER"
    return "REAL" if column.type.name in _REALS else "TEXT"


def _quoted(text: str) -> str:
    if text and _SPECIAL.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


def _plain(value: Json) -> str:
    return "" if value is None else _quoted(value if isinstance(value, str) else str(value))


def _real(value: Json) -> str:
    # A service may write 1.0 or 1, 0.00001 or 1e-05: the number is the same, and so is its text here.
    return repr(float(value)) if isinstance(value, int | float) else _plain(value)


def _boolean(value: Json) -> str:
    return "" if value is None else "t" if value else "f"


def _document(value: Json) -> str:
    return "" if value is None else _quoted(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _writer(column: Column) -> Callable[[Json], str]:
    if is_boolean(column):
        return _boolean
    if column.type.name in _REALS:
        return _real
    return _document if is_document(column) else _plain


def csv_writer(columns: Sequence[Column]) -> tuple[str, Callable[[Mapping[str, Json]], str]]:
    """The header of a table, and what makes a row's line; both end with a newline."""
    writers = [(column.name, _writer(column)) for column in columns]
    names = [column.name for column in columns]
    is_plain = all(write is _plain for _name, write in writers)

    def careful(row: Mapping[str, Json]) -> str:
        return ",".join([write(row.get(name)) for name, write in writers]) + "\n"

    def quick(row: Mapping[str, Json]) -> str:
        """The same for a row in which nothing needs quotes: one look at all of it is cheaper than one at each value."""
        cells = [row.get(name) for name in names]
        text = ",".join([cell if cell.__class__ is str else "" if cell is None else str(cell) for cell in cells])
        if "" in cells or '"' in text or "\n" in text or "\r" in text or text.count(",") != commas:
            return careful(row)
        return text + "\n"

    commas = len(names) - 1
    line = quick if is_plain else careful
    return ",".join(_quoted(name) for name, _write in writers) + "\n", line


def csv_lines(columns: Sequence[Column], rows: Iterable[Mapping[str, Json]]) -> Iterator[str]:
    """The lines of a table, with the header first; each ends with a newline."""
    header, line = csv_writer(columns)
    yield header
    yield from map(line, rows)


def read_csv(lines: Iterable[str], source: str = "") -> Iterator[list[str | None]]:
    """The rows of a table as text, the header first; None for null.

    Args:
        lines: The text, line by line, with the ends of the lines as they are.
        source: What it is, for errors.

    Raises:
        DerivaMLDataError: A quote is not closed, or stands where none may stand.
    """
    pending = ""
    for line in lines:
        if not pending and '"' not in line:
            yield [field or None for field in line.rstrip("\r\n").split(",")]
            continue
        pending += line
        # Within a quoted field a line may end; the quotes are even in number where the row ends.
        if pending.count('"') % 2 == 0:
            yield _fields(pending.rstrip("\r\n") if pending.endswith("\n") else pending, source)
            pending = ""
    if pending:
        raise DerivaMLDataError(f"A quoted value does not end: {pending[:60]!r}", source=source or None)


def _fields(line: str, source: str) -> list[str | None]:
    fields: list[str | None] = []
    at = 0
    while True:
        found = _FIELD.match(line, at)
        if found is None:
            raise DerivaMLDataError(f"Not a row of CSV: {line[:60]!r}", source=source or None)
        quoted, plain = found.groups()
        fields.append(quoted.replace('""', '"') if quoted is not None else plain or None)
        at = found.end()
        if line[at - 1 : at] != "," or at == found.start():
            return fields


def reader(column: Column) -> Callable[[Any], Any] | None:
    """How a value of the bag's own database becomes that of a JSON row; None if it is that already."""
    if is_boolean(column):
        return lambda value: None if value is None else bool(value)
    if is_document(column):
        return lambda value: None if value is None else json.loads(value)
    return None


def field_reader(column: Column) -> Callable[[str], Json] | None:
    """How a field of a bag's CSV, other than null, becomes the value of a JSON row; None if it is that already.

    What it makes raises a ``ValueError`` or a ``KeyError`` for text that is no such value.
    """
    if is_boolean(column):
        return {"t": True, "f": False}.__getitem__
    if column.type.name in _INTEGERS:
        return int
    if column.type.name in _REALS:
        return lambda text: text if text in _NO_NUMBERS else float(text)
    return json.loads if is_document(column) else None
