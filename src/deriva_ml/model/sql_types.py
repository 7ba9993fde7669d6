"""The types of catalog columns as SQLAlchemy's: what a database holds is what a bag's own database holds.

Moments, dates and times are stored in the text form in which the catalog gives them out, so that text sorts and
compares as they do. What Python's own type has no value for (``infinity``) is given as that text.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

from deriva_ml.wire.model import ColumnType
from deriva_ml.wire.moments import (
    date_text,
    read_moment,
    time_text,
    timestamp_json,
    timestamptz_json,
    timetz_text,
)

__all__ = ["sql_type"]

Form = Callable[[str], str]


class Real(TypeDecorator[float]):
    """A number; those that JSON does not know are words in the database, as they are in the catalog's rows."""

    impl = sa.Float
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """A number as the database holds it."""
        if value is None or (isinstance(value, int | float) and math.isfinite(value)):
            return value
        number = float(value)
        if math.isfinite(number):
            return number
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"

    def bind_processor(self, dialect: Any) -> Any:
        """What turns a number into what the database holds."""
        return lambda value: self.process_bind_param(value, dialect)

    def result_processor(self, dialect: Any, coltype: Any) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """What reads a number; words among them."""
        return lambda value: None if value is None else float(value)


class IsoText(TypeDecorator[Any]):
    """A moment, a date or a time, stored as text.

    Args:
        kind: Python's type.
        form: Brings text into the form of the catalog.
    """

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: type[dt.datetime | dt.date | dt.time], form: Form) -> None:
        super().__init__()
        self.kind = kind
        self.form = form

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """A value as the database holds it; text in any form that the catalog takes, too."""
        if value is None:
            return None
        return self.form(value if isinstance(value, str) else value.isoformat())

    def process_result_value(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        """A value as Python's own type."""
        if value is None:
            return None
        try:
            return self.kind.fromisoformat(value)
        except ValueError:
            return value


def _timestamp(text: str) -> str:
    return timestamp_json(read_moment(text, "timestamp", zoned=False))


def _timestamptz(text: str) -> str:
    return timestamptz_json(read_moment(text, "timestamp with time zone", zoned=True))


_PLAIN: dict[str, Callable[[], TypeEngine[Any]]] = {
    **dict.fromkeys(("int2", "serial2"), sa.SmallInteger),
    **dict.fromkeys(("int4", "serial4"), sa.Integer),
    **dict.fromkeys(("int8", "serial8"), sa.BigInteger),
    **dict.fromkeys(("float4", "float8", "numeric"), Real),
    "boolean": sa.Boolean,
    "date": lambda: IsoText(dt.date, date_text),
    "time": lambda: IsoText(dt.time, time_text),
    "timetz": lambda: IsoText(dt.time, timetz_text),
    "timestamp": lambda: IsoText(dt.datetime, _timestamp),
    "timestamptz": lambda: IsoText(dt.datetime, _timestamptz),
    **dict.fromkeys(("json", "jsonb"), lambda: sa.JSON(none_as_null=True)),
}


def sql_type(kind: ColumnType) -> TypeEngine[Any]:
    """The type of a column; arrays are JSON lists, and whatever is not known is text."""
    if kind.is_array or kind.name.endswith("[]"):
        return sa.JSON(none_as_null=True)
    if kind.name in _PLAIN:
        return _PLAIN[kind.name]()
    return sql_type(kind.base) if kind.base is not None else sa.Text()
