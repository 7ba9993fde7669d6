"""Pieces of SQL over single values: parameters, literals, sort keys, comparisons; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from deriva_ml.core.values import dataclass
from deriva_ml.server.collation import Key, base_type, key_function, text_key
from deriva_ml.server.errors import BadRequest, Conflict
from deriva_ml.wire.model import ColumnType
from deriva_ml.wire.values import InvalidLiteral, Stored, codec, parse_literal

__all__ = [
    "Parameters",
    "family",
    "joined",
    "key_sql",
    "key_value",
    "level_sql",
    "literal",
    "packed",
    "text_sql",
    "unpacked",
    "whole_literal",
]

_NUMBERS = frozenset({"int2", "int4", "int8", "serial2", "serial4", "serial8", "float4", "float8"})
_INTEGERS = _NUMBERS - {"float4", "float8"}
_TOLD_APART = frozenset({"text", "number", "moment"})

MOST_TERMS = 10_000
"""A query may test, compare and give so many things: SQLite's time to read it grows with the square of them."""


@dataclass(slots=True)
class Parameters:
    """Values bound to a statement, numbered, so that fragments can be put together in any order."""

    values: list[Stored | bytes] = field(default_factory=list)
    terms: int = 0

    def count(self, terms: int = 1) -> None:
        """Count terms of the query.

        Raises:
            BadRequest: There are too many.
        """
        self.terms += terms
        if self.terms > MOST_TERMS:
            raise BadRequest(
                f"The query has more than {MOST_TERMS} terms; values of a column can be listed in any(...) or all(...)."
            )

    def bind(self, value: Key | None) -> str:
        """The placeholder for a value."""
        self.values.append(value)
        return f"?{len(self.values)}"


def joined(operator: str, parts: Sequence[str]) -> str:
    """Expressions joined by AND or OR as a balanced tree, since SQLite bounds the depth of an expression."""
    if len(parts) <= 8:
        return f" {operator} ".join(parts)
    half = len(parts) // 2
    return f"({joined(operator, parts[:half])}) {operator} ({joined(operator, parts[half:])})"


def family(type_: ColumnType) -> str | None:
    """What types can be compared with each other; None for a type that has no order or equality."""
    base = base_type(type_)
    if base.is_array and base.base is not None:
        inner = family(base.base)
        return inner and inner + "[]"
    if base.name in _NUMBERS:
        return "number"
    if base.name in ("timestamp", "timestamptz"):
        return "moment"
    return None if base.name == "json" else base.name


def literal(type_: ColumnType, text: str) -> Stored:
    """The stored form of a literal; that of an element where the column is an array.

    Raises:
        BadRequest: The literal of a number or of JSON is not one.
        Conflict: Another literal cannot be cast.
    """
    try:
        return parse_literal(type_, text)
    except InvalidLiteral as error:
        raise BadRequest(str(error)) from None
    except ValueError as error:
        raise Conflict(str(error)) from None


def whole_literal(type_: ColumnType, text: str) -> Stored:
    """The stored form of a literal; that of a whole array where the column is an array."""
    if not base_type(type_).is_array:
        return literal(type_, text)
    try:
        return codec(type_).read(text)
    except ValueError as error:
        raise Conflict(str(error)) from None


def key_sql(type_: ColumnType, expression: str) -> str:
    """What a value is sorted and compared by."""
    key = key_function(type_)
    if key is None:
        return expression
    return f"ermrest_text_key({expression})" if key is text_key else f"ermrest_key('{type_.name}', {expression})"


def level_sql(type_: ColumnType, expression: str) -> str:
    """What tells values apart: the value itself where different ones are never level, which lets an index serve."""
    return expression if family(type_) in _TOLD_APART else key_sql(type_, expression)


def key_value(type_: ColumnType, stored: Stored) -> Key | None:
    """What ``key_sql`` gives for a stored value."""
    key = key_function(type_)
    return stored if key is None or stored is None else key(stored)


def packed(value: Stored | bytes) -> str:
    """A value as text, for a list that is bound as one parameter."""
    if isinstance(value, bytes):
        return f"x{value.hex()}"
    return f"f{value!r}" if isinstance(value, float) else f"i{value}" if isinstance(value, int) else f"t{value}"


def unpacked(text: str) -> Stored | bytes:
    """What ``packed`` made a text of."""
    kind, rest = text[0], text[1:]
    if kind == "x":
        return bytes.fromhex(rest)
    return float(rest) if kind == "f" else int(rest) if kind == "i" else rest


def text_sql(type_: ColumnType, expression: str) -> str:
    """The text form of a value, which regular expressions see."""
    base = base_type(type_).name
    if base == "text":
        return expression
    return f"CAST({expression} AS TEXT)" if base in _INTEGERS else f"ermrest_text('{type_.name}', {expression})"
