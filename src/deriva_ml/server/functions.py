"""What the catalog's queries need of SQL that SQLite has not: functions and aggregates, put on each connection.

All of them are functions of their arguments alone. A type is named by its text: ``timestamptz``, ``int4[]``.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from itertools import chain
from json.encoder import encode_basestring
from typing import Any, cast

from deriva_ml.server.collation import Key, key_function, text_key
from deriva_ml.server.expressions import unpacked
from deriva_ml.server.matching import Matcher
from deriva_ml.wire import moments
from deriva_ml.wire.column_types import known_type
from deriva_ml.wire.model import ColumnType
from deriva_ml.wire.values import Codec, Stored, codec

__all__ = ["register_functions"]

PATTERNS_KEPT = 1000

_NUMBERS = frozenset({"int2", "int4", "int8", "serial2", "serial4", "serial8", "float4", "float8"})


def register_functions(connection: sqlite3.Connection) -> None:
    """Put the functions of `deriva_ml.server.query` on a connection."""
    types = _Types()
    function = connection.create_function
    function("ermrest_regexp", 2, _Patterns().find, deterministic=True)
    function("ermrest_text", 2, types.text, deterministic=True)
    function("ermrest_text_key", 1, _text_key, deterministic=True)
    function("ermrest_list", -1, _list, deterministic=True)
    function("ermrest_unpacked", 1, unpacked, deterministic=True)
    function("ermrest_key", 2, types.key, deterministic=True)
    function("ermrest_bin", 5, types.bin, deterministic=True)
    # SQLite takes more kinds of values than the stubs of create_aggregate say
    aggregate: Callable[[str, int, Callable[[], Any]], None] = connection.create_aggregate
    aggregate("ermrest_min", 2, _Least)
    aggregate("ermrest_max", 2, _Greatest)
    aggregate("ermrest_first", 1, _First)
    aggregate("ermrest_mean", 1, _Mean)
    aggregate("ermrest_sum", 1, _Sum)
    aggregate("ermrest_array", 2, partial(_Array, types))
    aggregate("ermrest_array_d", 2, partial(_DistinctArray, types))
    aggregate("ermrest_rows", -1, partial(_Rows, types))
    aggregate("ermrest_rows_d", -1, partial(_DistinctRows, types))


class _Types:
    """Types by name, each looked up once for a connection; and the functions that need them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Codec, Callable[..., Key] | None]] = {}

    def _find(self, name: str) -> tuple[Codec, Callable[..., Key] | None]:
        found = self._known.get(name)
        if found is None:
            type_ = known_type(name) or ColumnType("text")
            found = self._known[name] = (codec(type_), key_function(type_))
        return found

    def codec(self, name: str) -> Codec:
        return self._find(name)[0]

    def sort_key(self, name: str) -> Callable[..., Key] | None:
        return self._find(name)[1]

    def text(self, name: str, value: Stored) -> str | None:
        return None if value is None else self._find(name)[0].text(value)

    def key(self, name: str, value: Stored) -> Key | None:
        key = self._find(name)[1]
        return value if value is None or key is None else key(value)

    def bin(self, name: str, value: Stored, count: int, low: float | str, high: float | str) -> str:
        return _bin(name, self.codec(name).json, value, count, low, high)


class _Patterns:
    """Patterns, each made ready once for a connection."""

    def __init__(self) -> None:
        self._known: dict[str, Matcher] = {}

    def find(self, pattern: str, text: str | None) -> bool | None:
        if text is None:
            return None
        found = self._known.get(pattern)
        if found is None:
            if len(self._known) >= PATTERNS_KEPT:
                self._known.clear()
            found = self._known[pattern] = Matcher(pattern)
        return found(str(text))


def _list(*values: Stored) -> str:
    """Values as a JSON list; SQLite's own would round floats to 15 digits, and writes infinities that nobody reads."""
    return json.dumps(values, ensure_ascii=False)


def _text_key(text: str | None) -> bytes | None:
    return None if text is None else text_key(text)


# ---------------------------------------------------------------------------------------------- bins


def _bin(name: str, to_json: Callable[..., str], value: Stored, count: int, low: float | str, high: float | str) -> str:
    """``[bin, from, to]`` as JSON text; the first bin is 1, 0 lies below and ``count`` + 1 above."""
    if value is None:
        return "[null, null, null]"
    at, start, end = (_measure(name, bound) for bound in (value, low, high))
    if at < start:
        return f"[0, null, {to_json(low)}]"
    if at >= end:
        return f"[{count + 1}, {to_json(high)}, null]"
    first, last, place = Fraction(start), Fraction(end), Fraction(at)
    number = math.floor(count * (place - first) / (last - first)) + 1
    width = (last - first) / count
    edges = (_edge(name, first + width * (number - 1)), _edge(name, first + width * number))
    return f"[{number}, {edges[0]}, {edges[1]}]"


def _measure(name: str, value: float | str) -> float:
    if isinstance(value, str):
        return moments.read_moment(value, name, zoned=False) if name == "date" else math.inf
    return value


def _edge(name: str, place: Fraction) -> str:
    if name in _NUMBERS:
        return str(place) if place.denominator == 1 else repr(float(place))
    micros = round(place)
    return f'"{moments.timestamp_json(micros) if name in ("date", "timestamp") else moments.timestamptz_json(micros)}"'


# ---------------------------------------------------------------------------------------------- aggregates


class _Least:
    """The value with the least key."""

    def __init__(self) -> None:
        self.key: Key | None = None
        self.value: Stored = None

    def step(self, key: Key | None, value: Stored) -> None:
        if key is not None and (self.key is None or self.precedes(key, self.key)):
            self.key, self.value = key, value

    @staticmethod
    def precedes(key: Key, other: Key) -> bool:
        return cast("int", key) < cast("int", other)

    def finalize(self) -> Stored:
        return self.value


class _Greatest(_Least):
    """The value with the greatest key."""

    @staticmethod
    def precedes(key: Key, other: Key) -> bool:
        return cast("int", key) > cast("int", other)


class _First:
    """The first value that is not null."""

    def __init__(self) -> None:
        self.value: Stored = None

    def step(self, value: Stored) -> None:
        if self.value is None:
            self.value = value

    def finalize(self) -> Stored:
        return self.value


class _Sum:
    """The sum of integers, whatever its size, as text."""

    def __init__(self) -> None:
        self.sum: int | None = None

    def step(self, value: int | None) -> None:
        if value is not None:
            self.sum = value + (self.sum or 0)

    def finalize(self) -> str | None:
        return None if self.sum is None else str(self.sum)


class _Mean:
    """The mean of integers as PostgreSQL's numeric: with at least 16 significant digits."""

    def __init__(self) -> None:
        self.sum = 0
        self.count = 0

    def step(self, value: int | None) -> None:
        if value is not None:
            self.sum += value
            self.count += 1

    def finalize(self) -> str | None:
        return _quotient(self.sum, self.count) if self.count else None


def _quotient(dividend: int, divisor: int) -> str:
    """A decimal with the number of digits that PostgreSQL would give it (it counts in groups of four digits)."""
    top, bottom = _group(abs(dividend)), _group(divisor)
    weight = top[0] - bottom[0] - (top[1] <= bottom[1])
    scale = max(0, 16 - weight * 4)
    units = round(Fraction(abs(dividend) * 10**scale, divisor))
    # a half is rounded away from zero, where Python's round goes to the even neighbour
    if Fraction(abs(dividend) * 10**scale, divisor) - units == Fraction(1, 2):
        units += 1
    digits = str(units).rjust(scale + 1, "0")
    text = f"{digits[: len(digits) - scale]}.{digits[len(digits) - scale :]}" if scale else digits
    return f"-{text}" if dividend < 0 and units else text


def _group(number: int) -> tuple[int, int]:
    """How many groups of four digits follow the first one, and the first one."""
    groups = 0
    while number >= 10_000:
        number //= 10_000
        groups += 1
    return groups, number


class _Array:
    """A JSON list of all values, nulls included."""

    def __init__(self, types: _Types) -> None:
        self.types = types
        self.name = "text"
        self.values: list[Stored] = []

    def step(self, name: str, value: Stored) -> None:
        self.name = name
        self.values.append(value)

    def finalize(self) -> str | None:
        return self.list(self.values) if self.values else None

    def list(self, values: Iterable[Stored]) -> str:
        to_json = self.types.codec(self.name).json
        return "[" + ", ".join(["null" if value is None else to_json(value) for value in values]) + "]"


class _DistinctArray(_Array):
    """A JSON list of the different values in their order, a null last."""

    def finalize(self) -> str | None:
        if not self.values:
            return None
        present = dict.fromkeys(value for value in self.values if value is not None)
        key = self.types.sort_key(self.name)
        if key is None:
            values: list[Stored] = sorted(present, key=lambda value: (isinstance(value, str), value))
        else:
            # values that are written differently may be level: 24 hours and a day
            by_key = {key(value): value for value in reversed(list(present))}
            values = [by_key[one] for one in sorted(by_key)]
        return self.list([*values, None] if None in self.values else values)


class _Rows:
    """A JSON list of whole rows as objects.

    The arguments are the members' names and types, and the stored values in JSON lists of some members each, since SQL
    functions take few arguments.
    """

    def __init__(self, types: _Types) -> None:
        self.types = types
        self.rows: list[str] = []
        self.members: list[tuple[str, Callable[..., str]]] = []

    def step(self, head: str, *chunks: str) -> None:
        if not self.members:
            names = cast("list[list[str]]", json.loads(head))
            self.members = [(encode_basestring(name), self.types.codec(type_).json) for name, type_ in names]
        values = chain.from_iterable(cast("list[Stored]", json.loads(chunk)) for chunk in chunks)
        members = [
            f"{name}: {'null' if value is None else to_json(value)}"
            for (name, to_json), value in zip(self.members, values, strict=True)
        ]
        self.rows.append(f"{{{', '.join(members)}}}")

    def finalize(self) -> str | None:
        return f"[{', '.join(self.rows)}]" if self.rows else None


class _DistinctRows(_Rows):
    """The same, each row once, in the order of their text."""

    def finalize(self) -> str | None:
        return f"[{', '.join(sorted(set(self.rows)))}]" if self.rows else None
