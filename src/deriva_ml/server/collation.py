"""The order of values: what they are sorted, paged and compared by; no I/O.

Text is sorted much as in en_US: letters and digits first, with punctuation passed over; then accents; then lower case
before upper; then punctuation, which comes before none; then the characters themselves. The order is total: two texts
are level only if they are the same. RIDs and client ids are sorted as they are written, so that an index serves.
"""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import cast

from deriva_ml.wire.model import ColumnType
from deriva_ml.wire.values import Stored, order_key

__all__ = ["Key", "array_key", "base_type", "key_function", "text_key"]

Key = int | float | str | bytes
"""What values of one type are compared by."""

_PLAIN_TEXT = frozenset({"ermrest_rid", "ermrest_rcb", "ermrest_rmb"})

# ASCII punctuation in the order of the Unicode collation algorithm; control characters come before it
_PUNCTUATION = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"
_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())
_CASES = bytes(ord("b") if chr(code).isupper() else ord("a") for code in range(256))
_RANKS = bytes(
    33 + _PUNCTUATION.index(chr(code)) if chr(code) in _PUNCTUATION else min(code, 32) + 1 for code in range(128)
)
_NO_MARKS = b"\xff\xff\xff\xff"


def base_type(type_: ColumnType) -> ColumnType:
    """The type under a domain; any other type as it is."""
    while type_.base is not None and not type_.is_array:
        type_ = type_.base
    return type_


def text_key(text: str) -> bytes:
    """The sort key of a text, to be compared byte by byte."""
    if not text.isascii():
        return _unicode_key(text)
    raw = text.encode()
    plain = raw.translate(None, _MARKS)
    lower = plain.lower()
    cases = b"" if lower == plain else plain.translate(_CASES)
    if len(plain) == len(raw):
        return b"%b\0\0%b\0%b" % (lower, cases, _NO_MARKS)
    places = b"".join([struct.pack(">IB", at, _RANKS[code]) for at, code in enumerate(raw) if code in _MARKS])
    return b"%b\0\0%b\0%b%b" % (lower, cases, places, _NO_MARKS)


def _unicode_key(text: str) -> bytes:
    letters, accents, cases, places = [], [], [], []
    accented = False
    for at, char in enumerate(unicodedata.normalize("NFD", text)):
        if char.isalnum():
            folded = char.casefold()
            letters.append(folded)
            accents.append("\1")
            cases.append(("b" if char.isupper() else "a") * len(folded))
        elif unicodedata.combining(char) and letters:
            accents[-1] += char
            accented = True
        else:
            rank = bytes((_RANKS[ord(char)],)) if char.isascii() else b"\xfe" + char.encode()
            places.append(struct.pack(">I", at) + rank)
    levels = (
        "".join(letters).encode(),
        "".join(accents).encode() if accented else b"",
        "".join(cases).encode() if "b" in "".join(cases) else b"",
        b"".join(places) + _NO_MARKS,
        text.encode(),
    )
    return b"\0".join(levels)


def key_function(type_: ColumnType) -> Callable[..., Key] | None:
    """What turns a stored value of a type into what it is compared by; None where that is the value itself."""
    if type_.name in _PLAIN_TEXT:
        return None
    base = base_type(type_)
    if base.is_array and base.base is not None:
        return partial(array_key, base.base)
    if base.name == "text":
        return text_key
    return order_key(base)


def array_key(element: ColumnType, stored: str) -> bytes:
    """The sort key of a stored array: member by member, a null after any value, a shorter one before a longer one."""
    key = key_function(element)
    parts = []
    for value in cast("list[Stored]", json.loads(stored)):
        if value is None:
            parts.append(b"\xff")
        else:
            parts.append(b"\x01" + _sortable(key(value) if key is not None else value))
    return b"".join(parts) + b"\x00"


def _sortable(value: Key) -> bytes:
    """Bytes that sort as values of one type do and of which none is the beginning of another."""
    if isinstance(value, float):
        (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # no minus zero
        return b"\x01" + struct.pack(">Q", bits ^ ((1 << 64) - 1) if bits >> 63 else bits | 1 << 63)
    if isinstance(value, int):
        return b"\x01" + (value + (1 << 70)).to_bytes(10, "big")
    raw = value.encode() if isinstance(value, str) else value
    return b"\x02" + raw.replace(b"\0", b"\0\xff") + b"\0\0"
