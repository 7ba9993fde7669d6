"""Column types, and the forms in which their values are stored, sent and compared; no I/O.

A value has four forms:

- *plain*: JSON, as requests and answers carry it;
- *stored*: what SQLite holds, so that equality and order of stored values are those of the type, except for the types
  that have an `order_key`;
- *text*: what regular expressions see, PostgreSQL's cast to text;
- *cell*: a field of CSV; the text, but for booleans.

Stored forms:

==================== ======================================================================================
int2, int4, int8,    INTEGER
serial2, ...
float4, float8       REAL; NaN is the TEXT ``NaN``, which sorts last as it should; a float4 is held as the double
                     nearest to its shortest decimal, so that 0.1 reads back as 0.1
boolean              INTEGER 0 or 1
timestamptz,         INTEGER microseconds since 1970 (see `deriva_ml.wire.moments`)
timestamp
json, jsonb          TEXT, canonical JSON; a JSON null is the TEXT ``null`` and is not SQL's null
arrays               TEXT, JSON list of the elements' stored forms (json elements as JSON strings, booleans as JSON)
all others           TEXT
==================== ======================================================================================
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import TypeAlias, cast

from deriva_ml.core.values import dataclass
from deriva_ml.wire import floats, moments
from deriva_ml.wire.arrays import read_array, write_array
from deriva_ml.wire.column_types import array_of, element_type, is_json, is_serial, known_type, parse_type
from deriva_ml.wire.json_text import Number, canonical, read_json, sort_key, write_json
from deriva_ml.wire.model import ColumnType, Json

__all__ = [
    "Codec",
    "DomainViolation",
    "InvalidLiteral",
    "Stored",
    "array_of",
    "cell",
    "codec",
    "element_type",
    "is_json",
    "is_serial",
    "known_type",
    "order_key",
    "parse_literal",
    "parse_type",
    "plain",
    "storage",
    "text",
]

Stored: TypeAlias = "int | float | str | None"


class InvalidLiteral(ValueError):
    """A literal in a path that the URL layer refuses: the request is malformed, where another bad literal conflicts."""


class DomainViolation(ValueError):
    """A value breaks the constraint of a domain: a conflict, where another bad value makes the request malformed."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type's values change form; none of the functions is given a null.

    Attributes:
        read: Stored form of a text (a literal, a field of CSV); raises `ValueError`.
        store: Stored form of a JSON value; raises `ValueError`.
        json: JSON text of a stored value.
        text: Text of a stored value.
        cell: CSV field of a stored value, before quoting.
        natives: JSON values of exactly these Python types are stored unchanged, once `check` has passed them.
        check: Whether a list of such values, without nulls and not empty, can be stored unchanged.
        coerce: What makes such values of one Python type for SQLite; None where they are already.
        affinity: What to declare SQLite's column as.
        checked_in_url: A literal is parsed before the query runs: a bad one is `InvalidLiteral`.
    """

    read: Callable[[str], Stored]
    store: Callable[[Json], Stored]
    json: Callable[..., str]
    text: Callable[..., str]
    cell: Callable[..., str]
    natives: frozenset[type] = frozenset()
    check: Callable[[list[Json]], bool] = lambda _values: True
    coerce: Callable[..., Stored] | None = None
    affinity: str = "TEXT"
    checked_in_url: bool = False


# ------------------------------------------------------------------------------------------------------------ values


def storage(type_: ColumnType, value: Json) -> Stored:
    """Stored form of a JSON value.

    Raises:
        ValueError: The value is not of the type.
    """
    return None if value is None and not is_json(type_) else codec(type_).store(value)


def plain(type_: ColumnType, stored: Stored) -> Json:
    """JSON value of a stored one."""
    return None if stored is None else cast("Json", json.loads(codec(type_).json(stored)))


def text(type_: ColumnType, stored: Stored) -> str | None:
    """What a regular expression sees."""
    return None if stored is None else codec(type_).text(stored)


def cell(type_: ColumnType, stored: Stored) -> str | None:
    """A field of CSV, before quoting."""
    return None if stored is None else codec(type_).cell(stored)


def parse_literal(type_: ColumnType, literal: str) -> Stored:
    """Stored form of a literal in a path; that of an element where the column is an array.

    Raises:
        InvalidLiteral: The literal of a number or of JSON is not one.
        ValueError: Another literal cannot be cast.
    """
    element = element_type(type_)
    handler = codec(element)
    if not handler.checked_in_url:
        return handler.read(literal)
    try:
        return handler.read(literal)
    except ValueError as error:
        if "out of range" in str(error):
            raise
        raise InvalidLiteral(f'Invalid {element.name}: "{literal}"') from None


def order_key(type_: ColumnType) -> Callable[[str], int | bytes] | None:
    """What stored values are compared by, where it is not the stored value itself."""
    return _ORDER_KEYS.get(type_.name)


def _interval_key(text: str) -> bytes:
    """Bytes, since the longest intervals have more microseconds than SQLite's integers hold."""
    return (moments.interval_microseconds(text) + (1 << 80)).to_bytes(11, "big")


_ORDER_KEYS: Mapping[str, Callable[[str], int | bytes]] = MappingProxyType(
    {
        "interval": _interval_key,
        "timetz": moments.timetz_microseconds,
        "json": sort_key,
        "jsonb": sort_key,
    }
)


def codec(type_: ColumnType) -> Codec:
    """The codec of a type; look it up once for a column, not for a value."""
    if type_.is_array and type_.base is not None:
        return _array(codec(type_.base), type_.base)
    found = _CODECS.get(type_.name)
    if found is None:
        found = codec(type_.base) if type_.base is not None else _CODECS["text"]
    return found


# ------------------------------------------------------------------------------------------------- codecs, by family


def _word(value: Json) -> str:
    """The text that PostgreSQL casts when a value of a scalar type arrives as JSON."""
    return value if isinstance(value, str) else write_json(value)


def _read_text(value: str) -> str:
    if "\x00" in value:
        raise ValueError("unsupported Unicode escape sequence\nDETAIL:  \\u0000 cannot be converted to text.")
    return value


_SPACES = " \t\n\r\f\v"
"""What PostgreSQL passes over around numbers."""


def _written(read: Callable[[str], Stored], **changes: object) -> Codec:
    """A type whose stored form is its text."""
    made = Codec(read, lambda value: read(_word(value)), encode_basestring, str, str)
    return replace(made, **changes) if changes else made  # type: ignore[arg-type]


def _integer(bits: int, name: str) -> Codec:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1

    def read(word: str) -> int:
        digits = word.strip(_SPACES)
        if not re.fullmatch(r"[+-]?[0-9]+", digits):
            raise ValueError(f'invalid input syntax for type {name}: "{word}"')
        if len(digits) > 40 or not low <= int(digits) <= high:
            raise ValueError(f'value "{word}" is out of range for type {name}')
        return int(digits)

    def check(values: list[Json]) -> bool:
        numbers = cast("list[int]", values)
        return low <= min(numbers) and max(numbers) <= high

    return Codec(
        read,
        lambda value: read(_word(value)),
        str,
        str,
        str,
        natives=frozenset({int}),
        check=check,
        affinity="INTEGER",
        checked_in_url=True,
    )


def _float(name: str, *, single: bool) -> Codec:
    def read(word: str) -> float | str:
        return floats.read_float(word, name, single=single)

    def store(value: Json) -> float | str:
        if type(value) is float and not single and math.isfinite(value):
            return value
        return read(_word(value))

    shown = floats.single_text if single else floats.float_text
    natives: frozenset[type] = frozenset() if single else frozenset({float, int, Number})
    return Codec(
        read, store, floats.float_json, shown, shown, natives, floats.all_finite, float, "REAL", checked_in_url=True
    )


def _prefixes(word: str, shortest: int) -> list[str]:
    return [word[:length] for length in range(shortest, len(word) + 1)]


_BOOLEANS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys([*_prefixes("true", 1), *_prefixes("yes", 1), "on", "1"], 1),
        **dict.fromkeys([*_prefixes("false", 1), *_prefixes("no", 1), *_prefixes("off", 2), "0"], 0),
    }
)


def _read_boolean(word: str) -> int:
    value = _BOOLEANS.get(word.strip(_SPACES).lower())
    if value is None:
        raise ValueError(f'invalid input syntax for type boolean: "{word}"')
    return value


_UUID_FORM = re.compile(r"(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}", re.IGNORECASE)


def _read_uuid(word: str) -> str:
    bare = word[1:-1] if word.startswith("{") and word.endswith("}") else word
    if not _UUID_FORM.fullmatch(bare):
        raise ValueError(f'invalid input syntax for type uuid: "{word}"')
    digits = bare.replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


def _read_color(word: str) -> str:
    if not _COLOR.fullmatch(word):
        raise DomainViolation('value for domain color_rgb_hex violates check constraint "color_rgb_hex_format"')
    return word


def _timestamp(kind: str, *, zoned: bool) -> Codec:
    def read(word: str) -> int:
        return moments.read_moment(word, kind, zoned=zoned)

    csv = moments.timestamptz_csv if zoned else moments.timestamp_csv
    iso = moments.timestamptz_json if zoned else moments.timestamp_json
    return Codec(
        read, lambda value: read(_word(value)), lambda micros: f'"{iso(micros)}"', csv, csv, affinity="INTEGER"
    )


def _read_document(word: str) -> str:
    """A ``json`` value keeps the text it was written in."""
    read_json(word)
    return word.strip()


def _array(element: Codec, type_: ColumnType) -> Codec:
    """The codec of the array of a type."""
    verbatim = element.json in (encode_basestring, str) and not is_json(type_)

    def pack(values: list[Stored]) -> str:
        return "[" + ",".join([_packed(value, boolean=type_.name == "boolean") for value in values]) + "]"

    def unpack(stored: str) -> list[Stored]:
        return cast("list[Stored]", json.loads(stored))

    def store(value: Json) -> str:
        if not isinstance(value, list):
            kind = "non-array" if isinstance(value, dict) else "scalar"
            raise ValueError(f"cannot call json_array_elements_text on a {kind}")  # noqa: TRY004 - a fault of data
        whole = is_json(type_)
        return pack([None if item is None and not whole else element.store(item) for item in value])

    def read(word: str) -> str:
        if word.lstrip().startswith("["):
            return store(read_json(word))
        return pack([None if item is None else element.read(item) for item in read_array(word)])

    def to_json(stored: str) -> str:
        if verbatim:
            return stored
        return "[" + ",".join(["null" if item is None else element.json(item) for item in unpack(stored)]) + "]"

    def to_text(stored: str) -> str:
        return write_array(None if item is None else element.cell(item) for item in unpack(stored))

    return Codec(read, store, to_json, to_text, to_text)


def _packed(value: Stored, *, boolean: bool) -> str:
    """JSON text of one element's stored form."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring(value)
    if boolean:
        return "true" if value else "false"
    if isinstance(value, float) and math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    return repr(value)


_PLAIN_TEXT = _written(
    _read_text,
    natives=frozenset({str}),
    check=lambda values: "\x00" not in "".join(cast("list[str]", values)),
)
_ZONED = _timestamp("timestamp with time zone", zoned=True)
_SMALL, _MEDIUM, _LARGE = _integer(16, "smallint"), _integer(32, "integer"), _integer(64, "bigint")
_BOOLEAN = Codec(
    _read_boolean,
    lambda value: _read_boolean(_word(value)),
    ("false", "true").__getitem__,
    ("false", "true").__getitem__,
    ("f", "t").__getitem__,
    natives=frozenset({bool}),
    affinity="INTEGER",
)

_CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "boolean": _BOOLEAN,
        "int2": _SMALL,
        "int4": _MEDIUM,
        "int8": _LARGE,
        "serial2": _SMALL,
        "serial4": _MEDIUM,
        "serial8": _LARGE,
        "float4": _float("real", single=True),
        "float8": _float("double precision", single=False),
        "date": _written(moments.date_text),
        "time": _written(moments.time_text),
        "timetz": _written(moments.timetz_text),
        "timestamp": _timestamp("timestamp", zoned=False),
        "timestamptz": _ZONED,
        "ermrest_rct": _ZONED,
        "ermrest_rmt": _ZONED,
        "interval": _written(moments.interval_text),
        "uuid": _written(_read_uuid),
        "color_rgb_hex": _written(_read_color),
        "text": _PLAIN_TEXT,
        "json": Codec(_read_document, canonical, str, str, str, checked_in_url=True),
        "jsonb": Codec(lambda word: canonical(read_json(word)), canonical, str, str, str, checked_in_url=True),
    }
)
