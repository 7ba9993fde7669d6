"""JSON text that keeps its numbers, and PostgreSQL's canonical form of it; no I/O.

A catalog keeps the decimal digits of numbers in ``jsonb`` values (``2.50`` stays ``2.50``); a binary float cannot.
Therefore `read_json` gives a fraction as `Number`, a float that remembers its text.
"""

from __future__ import annotations

import json
import re
import struct
from decimal import Decimal, DecimalException
from json.encoder import encode_basestring
from typing import NoReturn, Self, cast

from deriva_ml.wire.model import Json

__all__ = ["Number", "canonical", "read_json", "sort_key", "write_json"]

_LARGEST_EXPONENT = 131_071
_SMALLEST_EXPONENT = -16_383
_TOO_DEEP = "stack depth limit exceeded\nDETAIL:  The JSON document is nested too deeply."
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Number(float):
    """A float that remembers how it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number from its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f'invalid input syntax for type json: token "{name}" is invalid')


_EXACT = json.JSONDecoder(parse_float=Number, parse_constant=_no_constant)
_BINARY = json.JSONDecoder(parse_constant=_no_constant)


def _whole(text: str) -> int | Number:
    """An integer; one that has more digits than Python makes a number of keeps its text."""
    try:
        return int(text)
    except ValueError:
        return Number(text)


_LONG = json.JSONDecoder(parse_float=Number, parse_int=_whole, parse_constant=_no_constant)


def read_json(text: str, *, exact: bool = True) -> Json:
    """Parse JSON.

    Args:
        text: The document.
        exact: Give fractions as `Number`; else as float, which is faster.

    Raises:
        ValueError: It is not JSON, or holds a NUL character or half of a surrogate pair.
    """
    try:
        value = _decoded(text, exact=exact)
    except json.JSONDecodeError as error:
        ended = error.pos >= len(text.rstrip())
        detail = "The input string ended unexpectedly." if ended else f"{error.msg} at character {error.pos + 1}."
        raise ValueError(f"invalid input syntax for type json\nDETAIL:  {detail}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if "\\u" in text:
        _check_escapes(text, value)
    return value


def _decoded(text: str, *, exact: bool) -> Json:
    try:
        return cast("Json", (_EXACT if exact else _BINARY).decode(text))
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise
        # asking for every integer whether it is so long would make the usual documents slower
        return cast("Json", _LONG.decode(text))


def _check_escapes(text: str, value: Json) -> None:
    """Refuse what PostgreSQL's text cannot hold; only escapes can have put it there."""
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        raise ValueError("unsupported Unicode escape sequence\nDETAIL:  \\u0000 cannot be converted to text.")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "invalid input syntax for type json\nDETAIL:  Unicode low surrogate must follow a high surrogate."
            ) from None


def write_json(value: Json) -> str:
    """JSON text with the members in the order given, as PostgreSQL writes it; numbers as they were written."""
    try:
        return _write(value, ordered=False)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def canonical(value: Json) -> str:
    """PostgreSQL's text of a ``jsonb`` value: members by the length of their names in bytes, then by the bytes."""
    try:
        return _write(value, ordered=True)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _write(value: Json, *, ordered: bool) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _fraction(value) if ordered else getattr(value, "text", None) or repr(value)
    if isinstance(value, list):
        return "[" + ", ".join([_write(item, ordered=ordered) for item in value]) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=_rank) if ordered and len(value) > 1 else value
        return "{" + ", ".join([f"{encode_basestring(n)}: {_write(value[n], ordered=ordered)}" for n in names]) + "}"
    return repr(value)


def _rank(name: str) -> tuple[int, bytes]:
    raw = name.encode()
    return len(raw), raw


def _fraction(value: float) -> str:
    """A fraction's digits without an exponent."""
    try:
        number = Decimal(getattr(value, "text", None) or repr(value))
    except DecimalException:  # its exponent is beyond all use
        raise ValueError("value overflows numeric format") from None
    if not number.is_finite() or not _SMALLEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT:
        raise ValueError("value overflows numeric format")
    return format(abs(number) if number.is_zero() else number, "f")


def sort_key(text: str) -> bytes:
    """What ``jsonb`` values are compared by, for a value in its canonical text.

    PostgreSQL's order: an empty array, null, texts, numbers, booleans, arrays by length, objects by number of members.
    """
    return _sort_key(read_json(text))


def _sort_key(value: Json) -> bytes:
    if isinstance(value, str):
        return b"\x03" + value.encode() + b"\x00"
    if value is None:
        return b"\x02"
    if isinstance(value, bool):
        return b"\x05\x01" if value else b"\x05\x00"
    if isinstance(value, int | float):
        return b"\x04" + _number_key(value)
    if isinstance(value, list):
        if not value:
            return b"\x01"
        return b"\x06" + struct.pack(">I", len(value)) + b"".join(map(_sort_key, value))
    pairs = ((name, value[name]) for name in sorted(value, key=_rank))
    return b"\x07" + struct.pack(">I", len(value)) + b"".join(_sort_key(name) + _sort_key(item) for name, item in pairs)


def _number_key(value: float) -> bytes:
    """Bytes that sort as numbers of any size and precision do."""
    number = Decimal(value) if isinstance(value, int) else Decimal(getattr(value, "text", None) or repr(value))
    if number.is_zero():
        return b"\x01"
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0").encode()
    size = struct.pack(">I", number.adjusted() + (1 << 31)) + digits + b"\x00"
    return b"\x02" + size if number > 0 else b"\x00" + bytes(255 - byte for byte in size)
