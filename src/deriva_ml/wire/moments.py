"""Dates, times and durations between their written forms and what the catalog stores; no I/O.

Rules:

1. A timestamp is an integer: microseconds since 1970-01-01 UTC, rounded half to even where more digits are given.
   Infinite moments are the ends of the 64-bit range, so that integers sort as moments do.
2. A date is its ISO text; ``-infinity`` and ``infinity`` sort before and after every date as text.
3. A time of day is ISO text with no trailing zeros in the fraction; a time with zone keeps its offset.
4. An interval is PostgreSQL's text (``1 year 2 mons 3 days 04:00:00``). Intervals that are written differently may be
   equal (``24:00:00`` and ``1 day``): compare `interval_microseconds`.

Years 1 to 9999 are accepted. Each reader raises `ValueError`, with PostgreSQL's wording.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

__all__ = [
    "INFINITY",
    "date_text",
    "interval_microseconds",
    "interval_text",
    "read_moment",
    "time_text",
    "timestamp_csv",
    "timestamp_json",
    "timestamptz_csv",
    "timestamptz_json",
    "timetz_microseconds",
    "timetz_text",
]

INFINITY = (1 << 63) - 1
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_MONTH = 30 * _DAY
_FIRST = (1 - _EPOCH_DAY) * _DAY
_LAST = (date.max.toordinal() + 1 - _EPOCH_DAY) * _DAY

_DATE = r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|(\d\d)(\d\d))"
_TIME = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d*))?)?"
_ZONE = r"(Z|UTC|GMT|[+-]\d{1,2}(?::?\d\d(?::?\d\d)?)?)"
_MOMENT_FORM = re.compile(rf"\s*{_DATE}(?:[T ]\s*{_TIME})?\s*{_ZONE}?\s*", re.IGNORECASE | re.ASCII)
_TIME_FORM = re.compile(rf"\s*{_TIME}\s*{_ZONE}?\s*", re.IGNORECASE | re.ASCII)
_ZONE_FORM = re.compile(r"([+-])(\d{1,2})(?::?(\d\d)(?::?(\d\d))?)?", re.ASCII)


def _syntax(kind: str, text: str) -> ValueError:
    return ValueError(f'invalid input syntax for type {kind}: "{text}"')


def _range(text: str) -> ValueError:
    return ValueError(f'date/time field value out of range: "{text}"')


def _fraction(digits: str | None) -> int:
    """Microseconds of a written fraction of a second, rounded half to even."""
    if not digits:
        return 0
    if len(digits) <= 6:
        return int(digits.ljust(6, "0"))
    whole, rest = int(digits[:6]), digits[6:]
    half = "5" + "0" * (len(rest) - 1)
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def _clock(hour: str, minute: str, second: str | None, fraction: str | None, source: str) -> int:
    """Microseconds since midnight; 24:00:00 and second 60 are allowed as PostgreSQL allows them."""
    hours, minutes, seconds, parts = int(hour), int(minute), int(second or 0), _fraction(fraction)
    total = ((hours * 60 + minutes) * 60 + seconds) * _SECOND + parts
    if hours > 24 or minutes > 59 or seconds > 60 or total > _DAY:
        raise _range(source)
    return total


def _offset(zone: str | None) -> int:
    """Seconds east of UTC of a written zone."""
    if not zone or zone[0] not in "+-":
        return 0
    found = _ZONE_FORM.fullmatch(zone)
    if found is None:  # pragma: no cover - the caller's expression has the same form
        raise _syntax("time zone", zone)
    sign, hour, minute, second = found.groups()
    seconds = (int(hour) * 60 + int(minute or 0)) * 60 + int(second or 0)
    if seconds > 15 * 3600 + 59 * 60 + 59 or int(minute or 0) > 59:
        raise ValueError(f'time zone displacement out of range: "{zone}"')
    return -seconds if sign == "-" else seconds


def _day(year: str, month: str, day: str, source: str) -> date:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        raise _range(source) from None


def read_moment(text: str, kind: str, *, zoned: bool) -> int:
    """Microseconds of a written timestamp.

    Args:
        text: ISO 8601 with ``T`` or a space, a date alone, ``epoch``, ``infinity`` or ``-infinity``.
        kind: PostgreSQL's name of the type, for the error.
        zoned: Apply the offset; else it is read and ignored, as PostgreSQL does for a timestamp without zone.
    """
    found = _MOMENT_FORM.fullmatch(text)
    if found is None:
        special = {"epoch": 0, "infinity": INFINITY, "-infinity": -INFINITY}.get(text.strip().lower())
        if special is None:
            raise _syntax(kind, text)
        return special
    year, month, day, month2, day2, hour, minute, second, fraction, zone = found.groups()
    days = _day(year, month or month2, day or day2, text).toordinal() - _EPOCH_DAY
    micros = days * _DAY
    if hour is not None:
        micros += _clock(hour, minute, second, fraction, text)
    offset = _offset(zone)
    if zoned:
        micros -= offset * _SECOND
    if not _FIRST <= micros < _LAST:
        raise _range(text)
    return micros


def _plain_moment(micros: int, between: str) -> str:
    if abs(micros) == INFINITY:
        return "infinity" if micros > 0 else "-infinity"
    text = (_EPOCH + timedelta(microseconds=micros)).isoformat(between)
    return text.rstrip("0") if "." in text else text


def timestamptz_json(micros: int) -> str:
    """``2001-02-03T02:05:06.789+00:00``."""
    text = _plain_moment(micros, "T")
    return text if text.endswith("y") else text + "+00:00"


def timestamptz_csv(micros: int) -> str:
    """``2001-02-03 02:05:06.789+00``."""
    text = _plain_moment(micros, " ")
    return text if text.endswith("y") else text + "+00"


def timestamp_json(micros: int) -> str:
    """``2001-02-03T04:05:06.7``."""
    return _plain_moment(micros, "T")


def timestamp_csv(micros: int) -> str:
    """``2001-02-03 04:05:06.7``."""
    return _plain_moment(micros, " ")


def date_text(text: str) -> str:
    """The ISO form of a written date; a time after it is read and dropped."""
    if text.strip().lower() in ("infinity", "-infinity"):
        return text.strip().lower()
    found = _MOMENT_FORM.fullmatch(text)
    if found is None:
        if text.strip().lower() == "epoch":
            return "1970-01-01"
        raise _syntax("date", text)
    year, month, day, month2, day2 = found.groups()[:5]
    return _day(year, month or month2, day or day2, text).isoformat()


def _clock_text(micros: int) -> str:
    seconds, parts = divmod(micros, _SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour:02}:{minute:02}:{second:02}"
    return f"{text}.{parts:06}".rstrip("0") if parts else text


def _read_time(text: str, kind: str) -> tuple[int, int]:
    found = _TIME_FORM.fullmatch(text)
    if found is None:
        raise _syntax(kind, text)
    hour, minute, second, fraction, zone = found.groups()
    return _clock(hour, minute, second, fraction, text), _offset(zone)


def time_text(text: str) -> str:
    """The stored form of a written time of day: ``04:05:06.5``."""
    return _clock_text(_read_time(text, "time")[0])


def timetz_text(text: str) -> str:
    """The stored form of a written time of day with its offset: ``04:05:06+02``."""
    micros, offset = _read_time(text, "time with time zone")
    minutes, second = divmod(abs(offset), 60)
    hour, minute = divmod(minutes, 60)
    zone = f"{'-' if offset < 0 else '+'}{hour:02}"
    if minute or second:
        zone += f":{minute:02}"
    if second:
        zone += f":{second:02}"
    return _clock_text(micros) + zone


def timetz_microseconds(text: str) -> int:
    """Microseconds since midnight UTC of a stored time with zone: what such times are compared by."""
    micros, offset = _read_time(text, "time with time zone")
    return micros - offset * _SECOND


_UNITS = {
    "microsecond": 1, "us": 1, "usec": 1,
    "millisecond": 1000, "ms": 1000, "msec": 1000,
    "second": _SECOND, "sec": _SECOND, "s": _SECOND,
    "minute": 60 * _SECOND, "min": 60 * _SECOND, "m": 60 * _SECOND,
    "hour": 3600 * _SECOND, "hr": 3600 * _SECOND, "h": 3600 * _SECOND,
    "day": _DAY, "d": _DAY, "week": 7 * _DAY, "w": 7 * _DAY,
    "month": _MONTH, "mon": _MONTH,
    "year": 12 * _MONTH, "yr": 12 * _MONTH, "y": 12 * _MONTH,
    "decade": 120 * _MONTH, "century": 1200 * _MONTH, "centurie": 1200 * _MONTH,
    "millennium": 12000 * _MONTH, "millennia": 12000 * _MONTH,
}  # fmt: skip
_PART = re.compile(
    r"\s*(?:([+-]?)(\d+):(\d\d)(?::(\d\d)(?:\.(\d*))?)?|([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)\s*([a-zA-Z]+))\s*",
    re.ASCII,
)
_ISO = re.compile(r"P(?=[\dT.+-])((?:[+-]?[\d.]+[YMWD])*)(?:T((?:[+-]?[\d.]+[HMS])+))?", re.IGNORECASE | re.ASCII)
_ISO_PART = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))([A-Z])", re.IGNORECASE | re.ASCII)
_ISO_DATE = {"Y": "year", "M": "month", "W": "week", "D": "day"}
_ISO_TIME = {"H": "hour", "M": "minute", "S": "second"}


def _unit(word: str) -> int | None:
    word = word.lower()
    return _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))


def _add(total: list[int], amount: str, unit: int) -> None:
    """Add ``amount`` units to [months, days, microseconds]; what is left of a whole goes into the next smaller."""
    scale = 10 ** len(amount.partition(".")[2])
    number = int(amount.replace(".", "") or "0")
    rest = number * unit
    for at, size in enumerate((_MONTH, _DAY)):
        if unit >= size:
            whole = abs(rest) // (size * scale) * (1 if rest >= 0 else -1)
            total[at] += whole
            rest -= whole * size * scale
    total[2] += round(rest / scale) if scale > 1 else rest


def _iso_interval(found: re.Match[str], total: list[int], source: str) -> None:
    for part, names in ((found.group(1), _ISO_DATE), (found.group(2), _ISO_TIME)):
        read = 0
        for piece in _ISO_PART.finditer(part or ""):
            read = piece.end()
            _add(total, piece.group(1), _UNITS[names[piece.group(2).upper()]])
        if read != len(part or ""):
            raise _syntax("interval", source)


def _read_interval(text: str) -> tuple[int, int, int]:
    """Months, days and microseconds of a written interval; PostgreSQL has 32, 32 and 64 bits for them."""
    months, days, micros = _interval_parts(text)
    if max(abs(months), abs(days)) >= 1 << 31 or abs(micros) > INFINITY:
        raise ValueError(f'interval field value out of range: "{text}"')
    return months, days, micros


def _interval_parts(text: str) -> tuple[int, int, int]:
    total = [0, 0, 0]
    found = _ISO.fullmatch(text.strip())
    if found is not None:
        _iso_interval(found, total, text)
        return total[0], total[1], total[2]
    words, ago = re.subn(r"\s+ago\s*$", "", text, flags=re.IGNORECASE)
    at = 0
    while piece := _PART.match(words, at):
        at = piece.end()
        sign, hour, minute, second, fraction, amount, word = piece.groups()
        if amount is None:
            micros = ((int(hour) * 60 + int(minute)) * 60 + int(second or 0)) * _SECOND + _fraction(fraction)
            total[2] += -micros if sign == "-" else micros
            continue
        unit = _unit(word)
        if unit is None:
            raise _syntax("interval", text)
        _add(total, amount, unit)
    if at != len(words) or not words.strip():
        raise _syntax("interval", text)
    factor = -1 if ago else 1
    return factor * total[0], factor * total[1], factor * total[2]


def interval_text(text: str) -> str:
    """PostgreSQL's form of an interval that is written in its own, SQL's or ISO 8601's way."""
    months, days, micros = _read_interval(text)
    years, months = (abs(months) // 12 * (1 if months >= 0 else -1), abs(months) % 12 * (1 if months >= 0 else -1))
    parts, negative = [], False
    for amount, name in ((years, "year"), (months, "mon"), (days, "day")):
        if amount:
            plus = "+" if negative and amount > 0 else ""
            parts.append(f"{plus}{amount} {name}{'' if amount == 1 else 's'}")
            negative = amount < 0
    if micros or not parts:
        sign = "-" if micros < 0 else "+" if negative else ""
        parts.append(sign + _clock_text(abs(micros)))
    return " ".join(parts)


def interval_microseconds(text: str) -> int:
    """What intervals are compared by: microseconds, with months of 30 days and days of 24 hours."""
    months, days, micros = _read_interval(text)
    return months * _MONTH + days * _DAY + micros
