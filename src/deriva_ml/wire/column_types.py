"""Names of column types, their aliases and domains, and how a client declares them; no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from deriva_ml.wire.model import ColumnType, Json

__all__ = ["array_of", "element_type", "is_json", "is_serial", "known_type", "parse_type"]

_PLAIN = frozenset(
    {
        *("boolean", "int2", "int4", "int8", "serial2", "serial4", "serial8", "float4", "float8", "text", "uuid"),
        *("date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb"),
    }
)
_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "bool": "boolean",
        "real": "float4",
        "double precision": "float8",
        "smallint": "int2",
        "integer": "int4",
        "int": "int4",
        "bigint": "int8",
        "smallserial": "serial2",
        "serial": "serial4",
        "bigserial": "serial8",
        "character varying": "text",
        "timestamp with time zone": "timestamptz",
        "timestamp without time zone": "timestamp",
        "time with time zone": "timetz",
        "time without time zone": "time",
    }
)
_TEXT = ColumnType("text")
_DOMAINS: Mapping[str, ColumnType] = MappingProxyType(
    {
        **dict.fromkeys(("longtext", "markdown", "gene_sequence", "color_rgb_hex", "url", "uri", "curie"), _TEXT),
        **dict.fromkeys(("ermrest_uri", "ermrest_curie", "ermrest_rid", "ermrest_rcb", "ermrest_rmb"), _TEXT),
        **dict.fromkeys(("ermrest_rct", "ermrest_rmt"), ColumnType("timestamptz")),
    }
)


def known_type(name: str) -> ColumnType | None:
    """The type of this name or alias, or None; ``x[]`` names the array of ``x``."""
    if name.endswith("[]"):
        element = known_type(name[:-2])
        return array_of(element) if element and not element.is_array and _can_repeat(element) else None
    name = _ALIASES.get(name, name)
    if name in _DOMAINS:
        return ColumnType(name, _DOMAINS[name])
    return ColumnType(name) if name in _PLAIN else None


def parse_type(document: Json) -> ColumnType:
    """Read a type as a client declares it for a new column.

    The name alone decides, but for an array, which is what its ``base_type`` makes it.

    Raises:
        ValueError: There is no such type, or no array of it.
    """
    if not isinstance(document, dict) or not isinstance(document.get("typename", ""), str):
        raise ValueError(f"Unsupported type {json.dumps(document)}")  # noqa: TRY004 - a fault of data
    name = str(document.get("typename", ""))
    if document.get("is_array"):
        base = document.get("base_type")
        element = parse_type(base)
        if (isinstance(base, dict) and base.get("is_array")) or not _can_repeat(element):
            raise ValueError(f'Unsupported type "{element.name}[]"')
        return array_of(element)
    found = known_type(name)
    if found is None or found.is_array:
        raise ValueError(f'Unsupported type "{name}"')
    return found


def array_of(element: ColumnType) -> ColumnType:
    """The array of a type."""
    return ColumnType(element.name + "[]", element, is_array=True)


def element_type(type_: ColumnType) -> ColumnType:
    """The type of an array's elements; of any other type, the type itself."""
    return type_.base if type_.is_array and type_.base else type_


def is_json(type_: ColumnType) -> bool:
    """Values are any JSON; null among them is a value."""
    return type_.name in ("json", "jsonb")


def is_serial(type_: ColumnType) -> bool:
    """Values that are not given are drawn from a counter."""
    return type_.name.startswith("serial")


def _can_repeat(type_: ColumnType) -> bool:
    return not is_serial(type_) and type_.name != "json"
