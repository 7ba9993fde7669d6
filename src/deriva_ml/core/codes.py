"""The base-32 codes of ERMrest: RIDs and snaptimes as text.

An integer *n* >= 0 (a sequence number for a RID, microseconds since 1970 UTC for a snaptime) is written as the base-32
digits of 2·n in Crockford's alphabet, in groups of four from the right. Hence a code that a server issues ends in an
even digit. Source: the protocol specification, section A6.1.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["decode", "encode", "encode_all", "normalise"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {symbol: value for value, symbol in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_DIGITS = 13


def encode(number: int) -> str:
    """Write a non-negative integer as a code.

    Args:
        number: At most 64 bits when doubled.

    Raises:
        ValueError: The number is negative or too large.
    """
    if not 0 <= number < 1 << 64:
        raise ValueError(f"not a number that a code can hold: {number}")
    rest = number * 2
    digits = ""
    while rest:
        rest, digit = divmod(rest, 32)
        digits = _ALPHABET[digit] + digits
    if not digits:
        return "0"
    head = len(digits) % 4 or 4
    return "-".join([digits[:head], *(digits[at : at + 4] for at in range(head, len(digits), 4))])


def encode_all(numbers: Iterable[int]) -> list[str]:
    """Write many numbers as codes; quick where they follow one another, as all codes but the last four digits agree.

    Raises:
        ValueError: A number is negative or too large.
    """
    symbols = _ALPHABET
    heads: dict[int, str] = {}
    codes = []
    for number in numbers:
        block, low = number >> 19, (number << 1) & 0xFFFFF
        if not block:
            codes.append(encode(number))
            continue
        head = heads.get(block)
        if head is None:
            head = heads[block] = encode(number)[:-4]
        codes.append(head + symbols[low >> 15] + symbols[low >> 10 & 31] + symbols[low >> 5 & 31] + symbols[low & 31])
    return codes


def decode(code: str) -> int:
    """Read a code; case, dashes, ``O`` for 0 and ``I``/``L`` for 1 are forgiven.

    Raises:
        ValueError: A symbol is not of the alphabet, or there are none or more than 13.
    """
    symbols = code.upper().replace("-", "")
    if not 0 < len(symbols) <= _DIGITS:
        raise ValueError(f"not a code: {code!r}")
    value = 0
    for symbol in symbols:
        digit = _VALUES.get(symbol)
        if digit is None:
            raise ValueError(f"not a code: {code!r} holds {symbol!r}")
        value = value * 32 + digit
    return value // 2


def normalise(code: str) -> str | None:
    """The form in which a server would write this code, or None if it is not one."""
    try:
        return encode(decode(code))
    except ValueError:
        return None
