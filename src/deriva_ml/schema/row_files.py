"""Files of rows for a table, CSV or JSON: read whole, and held against the table's columns; the catalog is not asked.

An error names the file, the row (the first one behind the header is row 1) and the column.

1. CSV has a header. An empty field is null, ``""`` is the empty text; arrays are ``{a,b}`` or JSON.
2. JSON is a list of objects, or an object on each line. What an object lacks is null, or the column's default.
3. ``1.0`` is a whole number: pandas writes such where a column has gaps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import cast

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.wire.json_text import read_json
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, Json, Table
from deriva_ml.wire.rows import read_csv
from deriva_ml.wire.values import codec, is_json, is_serial, plain

__all__ = ["FORMATS", "RowFile", "count_rows", "read_row_file"]

FORMATS = ("csv", "json")
"""How the rows of a file may be written."""

_ROUND = re.compile(r"([+-]?\d+)\.0*")
_BOM = b"\xef\xbb\xbf"
_MISSING = object()


@dataclass(frozen=True, slots=True)
class RowFile:
    """The rows of a file.

    Attributes:
        path: The file.
        table: The table that they are for.
        rows: The rows as the catalog's JSON rows.
    """

    path: Path
    table: Table
    rows: list[dict[str, Json]]

    def error(self, row: int, column: str | None, what: str, *, allowed: Iterable[str] = ()) -> DerivaMLDataError:
        """The error of a row, counted from 0, and of a column of it."""
        return _error(self.path, self.table, what, row=row, column=column, allowed=allowed)


def read_row_file(path: Path, table: Table, *, left_open: Collection[str] = ()) -> RowFile:
    """Read a file of rows.

    Args:
        path: The file; its suffix tells how the rows are written.
        table: The table.
        left_open: Columns that need not be in the file, and whose values are not looked at.

    Raises:
        DerivaMLDataError: The file cannot be read, or does not fit the table.
    """
    try:
        rows = _read(path)
    except OSError as error:
        raise _error(path, table, f"it cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise _error(path, table, f"it cannot be read: {error}".replace("\n", "; ")) from error
    if rows.names:
        _check_names(path, table, rows.names, left_open)
    read = [_Cells(path, table, column, rows.is_text) for column in _columns(table, rows.names)]
    columns = {
        cells.column.name: values
        if cells.column.name in left_open
        else [cells.value(at, value) for at, value in enumerate(values)]
        for cells, values in zip(read, rows.columns([cells.column.name for cells in read]), strict=True)
    }
    names = list(columns)
    found = [
        dict(zip(names, cast("tuple[Json, ...]", values), strict=True))
        for values in zip(*columns.values(), strict=True)
    ]
    return RowFile(path, table, found)


def count_rows(path: Path) -> int:
    """How many rows a file holds, whether they fit the table or not.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not what its suffix says.
    """
    return len(_read(path).records)


def _read(path: Path) -> _Rows:
    content = path.read_bytes().removeprefix(_BOM)
    return _json_rows(content) if path.suffix == ".json" else _csv_rows(content)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a file holds, before it is held against a table; ``is_text``: values are the fields of CSV."""

    names: list[str]
    records: Sequence[Sequence[object]]
    is_text: bool

    def columns(self, names: Sequence[str]) -> list[list[object]]:
        places = [self.names.index(name) for name in names]
        return [[record[place] for record in self.records] for place in places]


def _csv_rows(content: bytes) -> _Rows:
    names, records = read_csv(content)
    return _Rows(names, records, is_text=True)


def _json_rows(content: bytes) -> _Rows:
    text = content.decode()
    whole = read_json(text, exact=False) if text.lstrip().startswith("[") else _json_lines(text)
    if not isinstance(whole, list):  # pragma: no cover - both give lists
        raise ValueError("it is no list of objects")  # noqa: TRY004 - a fault of data
    for at, item in enumerate(whole, start=1):
        if not isinstance(item, dict):
            raise ValueError(f"row {at} is no object")  # noqa: TRY004 - a fault of data
    objects = cast("list[dict[str, Json]]", whole)
    names = list(dict.fromkeys(name for item in objects for name in item))
    return _Rows(names, [[item.get(name, _MISSING) for name in names] for item in objects], is_text=False)


def _json_lines(text: str) -> list[Json]:
    found: list[Json] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(read_json(line, exact=False))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return found


def _check_names(path: Path, table: Table, names: Sequence[str], left_open: Collection[str]) -> None:
    """Refuse columns that the table lacks, that the catalog fills, that are there twice, or that are missing."""
    known = [column.name for column in table.user_columns]
    for name in names:
        if name in SYSTEM_COLUMNS:
            raise _error(path, table, "the catalog itself fills this column; leave it out", column=name)
        if name not in known:
            hint = "; pandas leaves its index out with to_csv(path, index=False)" if not name else ""
            raise _error(path, table, f"the table has no such column{hint}", column=name, allowed=nearest(name, known))
        if names.count(name) > 1:
            raise _error(path, table, "the column is there twice", column=name)
    for column in table.user_columns:
        if _is_needed(column) and column.name not in names and column.name not in left_open:
            raise _error(path, table, "the column must have values and is missing", column=column.name, allowed=known)


def _is_needed(column: Column) -> bool:
    return not column.nullok and column.default is None and not is_serial(column.type)


def _columns(table: Table, names: Sequence[str]) -> list[Column]:
    return [table.columns_by_name[name] for name in names]


class _Cells:
    """The values of one column: from what the file says to what the catalog's JSON rows have."""

    def __init__(self, path: Path, table: Table, column: Column, is_text: bool) -> None:
        self.column = column
        self._path = path
        self._table = table
        self._is_text = is_text
        form = codec(column.type)
        self._read: Callable[[str], object] = form.read
        self._store: Callable[[Json], object] = form.store
        self._is_whole = column.type.name.startswith(("int", "serial")) and column.type.name != "interval"

    def value(self, row: int, given: object) -> Json:
        """The value of a row.

        Raises:
            DerivaMLDataError: It is not of the column's type, or there must be one.
        """
        if given is _MISSING:
            given = self.column.default
        if given is None and not self.column.nullok:
            raise _error(self._path, self._table, "a value is required", row=row, column=self.column.name)
        if given is None or (is_json(self.column.type) and not self._is_text):
            return cast("Json", given)
        if self._is_whole:
            given = self._whole(given)
        try:
            stored = self._read(cast("str", given)) if self._is_text else self._store(cast("Json", given))
        except (ValueError, TypeError) as error:
            text = str(error).partition("\n")[0]
            raise _error(self._path, self._table, text, row=row, column=self.column.name) from error
        return plain(self.column.type, cast("str", stored))

    @staticmethod
    def _whole(given: object) -> object:
        if isinstance(given, str) and (found := _ROUND.fullmatch(given)):
            return found.group(1)
        return int(given) if isinstance(given, float) and given.is_integer() else given


def _error(
    path: Path,
    table: Table,
    what: str,
    *,
    row: int | None = None,
    column: str | None = None,
    allowed: Iterable[str] = (),
) -> DerivaMLDataError:
    place = [path.name]
    place += [] if row is None else [f"row {row + 1}"]
    place += [] if column is None else [f"column {column!r}"]
    return DerivaMLDataError(
        f"{', '.join(place)}: {what} (rows for {table.schema}:{table.name}).", source=str(path), allowed=allowed
    )
