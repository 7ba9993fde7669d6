"""The Python type of a catalog column, for pydantic: what a record accepts, and what it makes of it."""

from __future__ import annotations

import datetime as dt
import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from deriva_ml.core.json_types import Json
from deriva_ml.wire.model import Column, ColumnType

__all__ = ["field_definition", "field_type", "safe_name", "stored_value"]


def _scalar(value: Any) -> Any:
    """A Python number from a number of numpy (or of anything else with ``item``), else the value itself."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "shape", None) == () else value


def _listed(value: Any) -> Any:
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else value


def _moment(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value


def _integer(bits: int) -> Any:
    return Annotated[int, Field(ge=-(1 << (bits - 1)), lt=1 << (bits - 1)), BeforeValidator(_scalar)]


_FLOAT = Annotated[float, BeforeValidator(_scalar)]
_MOMENT = Annotated[str, BeforeValidator(_moment)]
_PLAIN: dict[str, Any] = {
    "int2": _integer(16),
    "int4": _integer(32),
    "int8": _integer(64),
    "serial2": _integer(16),
    "serial4": _integer(32),
    "serial8": _integer(64),
    "float4": _FLOAT,
    "float8": _FLOAT,
    "numeric": _FLOAT,
    "boolean": Annotated[bool, BeforeValidator(_scalar)],
    "date": _MOMENT,
    "timestamp": _MOMENT,
    "timestamptz": _MOMENT,
    "json": Any,
    "jsonb": Any,
}


def field_type(kind: ColumnType) -> Any:
    """What a record's field for a column of this type accepts; whatever is not listed is text."""
    if kind.is_array and kind.base is not None:
        # made at run time, for pydantic
        return Annotated[list[field_type(kind.base)], BeforeValidator(_listed)]  # type: ignore[misc]
    if kind.name in _PLAIN:
        return _PLAIN[kind.name]
    return field_type(kind.base) if kind.base is not None else str


def field_definition(column: Column, kind: Any, alias: str | None = None) -> tuple[Any, Any]:
    """A field for ``pydantic.create_model``: required unless the column may be empty or has a default."""
    if column.nullok:
        return (kind | None if kind is not Any else Any, Field(default=column.default, alias=alias))
    if column.default is not None:
        return (kind, Field(default=column.default, alias=alias))
    return (kind, Field(alias=alias))


def safe_name(column: str, taken: type) -> str:
    """A name for a column's field that pydantic accepts: not private, and not one that the class has already."""
    name = column.lstrip("_") or "column"
    return f"{name}_" if name != column or hasattr(taken, name) else name


def stored_value(value: Any) -> Json:
    """A field's value as the catalog takes it: numbers that JSON does not know are words."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, list):
        return [stored_value(item) for item in value]
    return value  # type: ignore[no-any-return]  # pydantic has checked it
