r"""Rows as JSON, a stream of JSON lines, and CSV: from stored values to bytes and back; no I/O.

Work is done column by column, in batches of rows: the functions that are called once for a value are then C functions
for nearly every type, which is what makes a hundred thousand rows a matter of a second.

Sent forms: JSON is ``[`` objects joined by ``,\n `` then ``]\n``; a JSON stream is an object a line; CSV has a header,
``\n`` line ends, quotes only where they are needed, an unquoted empty field for null and ``""`` for the empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from json.encoder import encode_basestring
from typing import TypeAlias, cast

from deriva_ml.core.values import dataclass
from deriva_ml.wire.json_text import read_json
from deriva_ml.wire.model import ColumnType, Json
from deriva_ml.wire.values import Codec, Stored, codec, is_json

__all__ = [
    "CSV",
    "JSON",
    "JSON_STREAM",
    "Field",
    "StoredRow",
    "encode",
    "in_batches",
    "media_type",
    "read_cells",
    "read_csv",
    "read_objects",
    "store_column",
]

JSON = "application/json"
JSON_STREAM = "application/x-json-stream"
CSV = "text/csv"

BATCH = 2000
"""Rows to encode at a time: enough to work in bulk, few enough to stream."""

StoredRow: TypeAlias = Sequence[Stored]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of rows that are sent: the name and the type of its stored values."""

    name: str
    type: ColumnType


def media_type(header: str | None) -> str | None:
    """The media type of a header's value, without its parameters; None if it is not one that rows have."""
    name = (header or "").split(";")[0].strip().lower()
    return name if name in (JSON, JSON_STREAM, CSV) else None


# ---------------------------------------------------------------------------------------------------------- encoding


def encode(
    fields: Sequence[Field], batches: Iterable[Sequence[StoredRow]], media: str = JSON, *, arrays_as_json: bool = False
) -> Iterator[bytes]:
    """Write rows.

    Args:
        fields: Name and type of each column.
        batches: The rows, some at a time; one batch is one part of the result.
        media: One of the three media types.
        arrays_as_json: CSV only: write arrays as JSON instead of ``{a,b}``.
    """
    writers: list[Writer]
    if media == CSV:
        yield (",".join(_quoted(field.name) for field in fields) + "\n").encode()
        writers = [_cells(field.type, arrays_as_json=arrays_as_json) for field in fields]
        for batch in batches:
            columns = [write(values) for write, values in zip(writers, zip(*batch, strict=True), strict=False)]
            yield (
                "\n".join(map(",".join, cast("Iterable[tuple[str, ...]]", zip(*columns, strict=True)))) + "\n"
                if batch
                else ""
            ).encode()
        return
    template = _template(fields)
    writers = [_jsons(codec(field.type)) for field in fields]
    between, opened = ("\n", "") if media == JSON_STREAM else (",\n ", "[")
    start = opened
    for batch in batches:
        if batch:
            columns = [write(values) for write, values in zip(writers, zip(*batch, strict=True), strict=True)]
            yield (start + between.join(map(template.__mod__, zip(*columns, strict=True)))).encode()
            start = between
    if media == JSON_STREAM:
        yield b"\n" if start else b""
    else:
        yield b"[]\n" if start == opened else b"]\n"


Writer: TypeAlias = Callable[[Sequence[Stored]], Iterable[object]]
"""Turns a column of stored values into what stands for them in the text."""


def _template(fields: Sequence[Field]) -> str:
    """The text of one row's object, with a place for the JSON text of each value."""
    return "{" + ",".join(encode_basestring(field.name).replace("%", "%%") + ":%s" for field in fields) + "}"


def _jsons(form: Codec) -> Writer:
    """What turns a column of stored values into JSON texts."""
    if form.json is str:
        return lambda values: ["null" if value is None else value for value in values] if None in values else values
    if form.json is encode_basestring:
        return lambda values: _each(encode_basestring, values, "null")
    return lambda values: _repeated(form.json, values, "null")


def _each(write: Callable[..., str], values: Sequence[Stored], null: str) -> Iterable[str]:
    if None in values:
        return [null if value is None else write(value) for value in values]
    return map(write, values)


def _repeated(write: Callable[..., str], values: Sequence[Stored], null: str) -> Iterable[str]:
    """As `_each`, for a costly function: called once for each distinct value where values repeat.

    Equal numbers have one text, but for the two zeros, so floats go the plain way.
    """
    distinct = set(values)
    if 2 * len(distinct) > len(values) or 0.0 in distinct:
        return _each(write, values, null)
    texts = {value: null if value is None else write(value) for value in distinct}
    return map(texts.__getitem__, values)


_QUOTABLE = re.compile(r'[",\r\n]')


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if not text or _QUOTABLE.search(text) else text


def _cells(type_: ColumnType, *, arrays_as_json: bool) -> Callable[[Sequence[Stored]], Iterable[str]]:
    """What turns a column of stored values into fields of CSV."""
    form = codec(type_)
    if type_.is_array and arrays_as_json:
        return lambda values: _each(lambda value: _quoted(form.json(value)), values, "")
    if type_.is_array or is_json(type_):
        return lambda values: _each(lambda value: _quoted(form.cell(value)), values, "")
    if form.cell is not str:
        return lambda values: _repeated(form.cell, values, "")
    if form.affinity == "TEXT":
        return _text_cells
    return lambda values: _each(str, values, "")


def _text_cells(values: Sequence[Stored]) -> Iterable[str]:
    if None in values or "" in values or _QUOTABLE.search("".join(cast("Sequence[str]", values))):
        return _each(_quoted, values, "")
    return cast("Sequence[str]", values)


# ---------------------------------------------------------------------------------------------------------- decoding


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f'invalid byte sequence for encoding "UTF8": 0x{body[error.start : error.start + 1].hex()}'
        ) from None


def read_objects(body: bytes, media: str = JSON, *, exact: bool = True) -> list[dict[str, Json]]:
    """Read rows that were sent as JSON objects.

    Args:
        body: The content.
        media: JSON, a list of objects; or a JSON stream, an object a line.
        exact: Keep the digits of fractions (see `deriva_ml.wire.json_text`).

    Raises:
        ValueError: It is not that; something that is no object counts as one without members.
    """
    text = _decoded(body)
    if media == JSON_STREAM:
        lines = [line for line in text.split("\n") if line.strip()]
        items = cast("list[Json]", read_json("[" + ",".join(lines) + "]", exact=exact))
        if len(items) != len(lines):
            raise ValueError("invalid input syntax for type json\nDETAIL:  Each line must be one JSON object.")
    else:
        whole = read_json(text, exact=exact)
        if not isinstance(whole, list):
            kind = "non-array" if isinstance(whole, dict) else "scalar"
            raise ValueError(f"cannot call json_array_elements on a {kind}")
        items = whole
    return [item if isinstance(item, dict) else {} for item in items]


class _Missing:
    """An object has no member of this name."""


MISSING = _Missing()


def store_column(type_: ColumnType, name: str, objects: Sequence[dict[str, Json]]) -> list[Stored]:
    """Stored values of one member of some objects; where it is missing, null, or an empty list for an array.

    Raises:
        ValueError: A value is not of the type.
    """
    form = codec(type_)
    values: list[Json | _Missing] = [item.get(name, MISSING) for item in objects]
    kinds = set(map(type, values))
    absent: Stored = "[]" if type_.is_array else None
    simple = kinds - {type(None), _Missing}
    if simple <= form.natives and not is_json(type_):
        if not simple:
            return [absent if value is MISSING else None for value in values]
        present = cast("list[Json]", values)
        if len(simple) < len(kinds):
            present = [value for value in values if value is not None and not isinstance(value, _Missing)]
        if form.check(present):
            return _natives(form, values, absent, plain=len(simple) == len(kinds))
    null = form.store(None) if is_json(type_) else None
    return [absent if isinstance(value, _Missing) else null if value is None else form.store(value) for value in values]


def _natives(form: Codec, values: Sequence[Json | _Missing], absent: Stored, *, plain: bool) -> list[Stored]:
    """Values that are stored as they are; ``plain``: no null and none missing."""
    if plain:
        return list(map(form.coerce, values)) if form.coerce else cast("list[Stored]", values)
    change = form.coerce or _same
    return [absent if isinstance(value, _Missing) else None if value is None else change(value) for value in values]


def _same(value: Json) -> Stored:
    return cast("Stored", value)


_CSV_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|\Z)')
_CSV_MIXED = re.compile(r'((?:"[^"]*"|[^",\r\n])*)(,|\r\n|\n|\r|\Z)')
_CSV_QUOTES = re.compile(r'"((?:[^"]|"")*)"')


def read_csv(body: bytes) -> tuple[list[str], list[list[str | None]]]:
    """Read CSV: the names in its header, and the fields of each row; null where a field is empty and unquoted.

    Raises:
        ValueError: It is not CSV, or a row is longer or shorter than the header.
    """
    text = _decoded(body)
    if "\x00" in text:
        raise ValueError('invalid byte sequence for encoding "UTF8": 0x00')
    lines = _quoted_records(text) if '"' in text or "\r" in text else _plain_records(text)
    header = [name or "" for name in next(lines, [])]
    width, records = len(header), list(lines)
    for number, record in enumerate(records, 1):
        if len(record) > width:
            raise ValueError(f"extra data after last expected column\nCONTEXT:  CSV input, line {number}")
        if len(record) < width:
            raise ValueError(f'missing data for column "{header[len(record)]}"\nCONTEXT:  CSV input, line {number}')
    return header, records


def _plain_records(text: str) -> Iterator[list[str | None]]:
    for line in text.removesuffix("\n").split("\n") if text else ():
        fields = line.split(",")
        yield [field or None for field in fields] if "" in fields else cast("list[str | None]", fields)


def _quoted_records(text: str) -> Iterator[list[str | None]]:
    at, end = 0, len(text)
    record: list[str | None] = []
    match = _CSV_FIELD.match
    open_record = False
    while at < end or open_record:
        found = match(text, at)
        if found is not None:
            quoted, bare, stop = found.groups()
            record.append(bare or None if quoted is None else quoted.replace('""', '"'))
        else:
            found = _CSV_MIXED.match(text, at)
            if found is None:
                raise ValueError("unterminated CSV quoted field")
            mixed, stop = found.groups()
            # quotes may begin and end anywhere in a field; two of them within quotes are one
            record.append(_CSV_QUOTES.sub(_unquoted, mixed))
        at = found.end()
        open_record = stop == ","
        if not open_record:
            yield record
            record = []


def _unquoted(found: re.Match[str]) -> str:
    return found.group(1).replace('""', '"')


def read_cells(type_: ColumnType, name: str, cells: Sequence[str | None]) -> list[Stored]:
    """Stored values of one column of CSV.

    Raises:
        ValueError: A field is not of the type.
    """
    read = codec(type_).read
    known: dict[str | None, Stored] = {None: None}
    for number, text in enumerate(cells, 1):
        if text not in known:
            try:
                known[text] = read(cast("str", text))
            except ValueError as error:
                place = f'{error}\nCONTEXT:  CSV input, line {number}, column {name}: "{text}"'
                raise type(error)(place) from None
    return list(map(known.__getitem__, cells))


def in_batches(rows: Sequence[StoredRow], size: int = BATCH) -> Iterator[Sequence[StoredRow]]:
    """Rows that are held already, some at a time."""
    return (rows[at : at + size] for at in range(0, len(rows), size))
