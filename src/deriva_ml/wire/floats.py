"""Floats as PostgreSQL reads and writes them; no I/O.

A stored float is a number, or the text ``NaN``. One of 32 bits is held as the double nearest to its shortest decimal.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from deriva_ml.core.json_types import Json

__all__ = ["all_finite", "float_json", "float_text", "read_float", "single_text"]


def float_text(value: float | str, precision: int = 15) -> str:
    """PostgreSQL's shortest text of a float: no ``.0``, an exponent where its digits would not reach the point."""
    if isinstance(value, str):
        return value
    value = float(value)
    digits = repr(value)
    if "n" in digits:
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(digits, "NaN")
    if abs(value) >= 10**precision and "e" not in digits:
        return _with_exponent(digits)
    return digits.removesuffix(".0")


def _with_exponent(digits: str) -> str:
    sign, digits = ("-", digits[1:]) if digits[0] == "-" else ("", digits)
    whole, _, rest = digits.partition(".")
    fraction = (whole[1:] + rest).rstrip("0")
    return f"{sign}{digits[0]}{'.' if fraction else ''}{fraction}e+{len(whole) - 1:02}"


def single_text(value: float | str) -> str:
    """The same for a float of 32 bits."""
    return float_text(value, 6)


def float_json(value: float | str) -> str:
    """JSON text of a stored float; what JSON has no number for is a string."""
    word = float_text(value)
    return f'"{word}"' if word[-1] in "yN" else word


_FLOAT_FORM = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_FLOAT_WORDS: Mapping[str, float | str] = MappingProxyType(
    {
        "nan": "NaN",
        "inf": math.inf,
        "infinity": math.inf,
        "-inf": -math.inf,
        "-infinity": -math.inf,
    }
)


def _single(value: float) -> float:
    """The double nearest to the shortest decimal that names the same float of 32 bits."""
    try:
        packed = struct.pack("f", value)
    except OverflowError:
        return math.inf
    target = struct.unpack("f", packed)[0]
    for digits in range(6, 9):
        candidate = float(f"{target:.{digits}g}")
        try:
            if struct.pack("f", candidate) == packed:
                return candidate
        except OverflowError:  # rounding up at the top of the range
            continue
    return float(f"{target:.9g}")


def read_float(word: str, type_name: str, *, single: bool) -> float | str:
    """Stored form of a text.

    Args:
        word: The text.
        type_name: PostgreSQL's name of the type, for errors.
        single: The type has 32 bits.

    Raises:
        ValueError: The text is no float, or out of range.
    """
    digits = word.strip(" \t\n\r\f\v")
    if not _FLOAT_FORM.fullmatch(digits):
        special = _FLOAT_WORDS.get(digits.lower().removeprefix("+"))
        if special is None:
            raise ValueError(f'invalid input syntax for type {type_name}: "{word}"')
        return special
    value = _single(float(digits)) if single else float(digits)
    if math.isinf(value):
        raise ValueError(f'"{digits}" is out of range for type {type_name}')
    return value


def all_finite(values: list[Json]) -> bool:
    """Whether JSON numbers can be stored as they are."""
    try:
        return all(map(math.isfinite, cast("list[float]", values)))
    except OverflowError:  # an integer beyond the range of floats
        return False
