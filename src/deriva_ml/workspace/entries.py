"""The entries of a manifest, and their form as JSON.

A value that is not of its field's type is a ``ValueError``: what
is read is a file that anything may have written.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, replace
from datetime import date, datetime
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass

__all__ = [
    "ABANDONED",
    "FAILED",
    "PENDING",
    "UPLOADED",
    "AssetEntry",
    "Entries",
    "FeatureEntry",
    "TableEntry",
    "Uploaded",
    "encode",
    "new_key",
    "of_type",
]

PENDING, UPLOADED, FAILED, ABANDONED = "pending", "uploaded", "failed", "abandoned"


@dataclass(frozen=True, slots=True)
class AssetEntry:
    """One output file of a run.

    Attributes:
        asset_table: Name of the asset table.
        schema: Schema of the asset table.
        asset_types: Terms of ``Asset_Type``.
        metadata: Values of the table's metadata columns.
        description: Description of the row.
        status: ``pending``, ``uploaded``, ``failed``, or ``abandoned``: registered, never written, and given up.
        rid: RID of the row; leased before the row is made.
        uploaded_at: When it was uploaded (UTC, ISO 8601).
        error: Why the last attempt failed.
        key: Identifies the entry within the manifest.
        file_name: The name that the file has in the catalog.
        path: The staged file, relative to the manifest's directory, or absolute.
        md5: MD5 of the content that was uploaded.
        length: Its size in bytes.
        url: Where the object store holds it.
    """

    asset_table: str
    schema: str
    asset_types: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    description: str | None = None
    status: str = PENDING
    rid: str | None = None
    uploaded_at: str | None = None
    error: str | None = None
    key: str = field(default="", kw_only=True)
    file_name: str = field(default="", kw_only=True)
    path: str = field(default="", kw_only=True)
    md5: str | None = field(default=None, kw_only=True)
    length: int | None = field(default=None, kw_only=True)
    url: str | None = field(default=None, kw_only=True)

    def to_dict(self) -> dict[str, Json]:
        """The entry as a JSON object."""
        return _plain(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Json]) -> AssetEntry:
        """Read an entry; an unknown or missing field, or a value of the wrong type, is a ``ValueError``."""
        return _entry(cls, document)


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """The staged values of one feature in one run.

    Attributes:
        key: Identifies the entry within the manifest.
        feature_name: The feature's name.
        target_table: Name of the table that the feature describes.
        schema: Schema of the feature table.
        feature_table: Name of the feature table.
        values_path: File of the values, one JSON object per line, relative to the manifest's directory, or absolute.
        asset_columns: Columns whose values may be paths of outputs.
        status: ``pending``, ``uploaded`` or ``failed``.
        rows: How many values have been staged.
        uploaded: How many of them, from the first on, are in the catalog.
        error: Why the last attempt failed.
    """

    key: str
    feature_name: str
    target_table: str
    schema: str
    feature_table: str
    values_path: str
    asset_columns: tuple[str, ...] = ()
    status: str = PENDING
    rows: int = 0
    uploaded: int = 0
    error: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """The entry as a JSON object."""
        return _plain(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Json]) -> FeatureEntry:
        """Read an entry; an unknown or missing field, or a value of the wrong type, is a ``ValueError``."""
        return _entry(cls, document)


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A file of rows that a run writes for a table.

    Attributes:
        key: Identifies the entry within the manifest.
        schema: Schema of the table.
        table: Name of the table.
        path: The file, relative to the manifest's directory, or absolute.
        status: ``pending``, ``uploaded``, ``failed``, or ``abandoned``: registered, never written, and given up.
        rows: How many rows the file had when it was last read.
        uploaded: How many of them, from the first on, are in the catalog.
        length: The size of the file when all of its rows were in the catalog, in bytes.
        md5: MD5 of the file then.
        error: Why the last attempt failed.
    """

    key: str
    schema: str
    table: str
    path: str
    status: str = PENDING
    rows: int = 0
    uploaded: int = 0
    length: int | None = None
    md5: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """The entry as a JSON object."""
        return _plain(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Json]) -> TableEntry:
        """Read an entry; an unknown or missing field, or a value of the wrong type, is a ``ValueError``."""
        return _entry(cls, document)


Entry = TypeVar("Entry", bound=AssetEntry | FeatureEntry | TableEntry)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of one output that reached the catalog."""

    key: str
    rid: str
    url: str | None = None
    md5: str | None = None
    length: int | None = None


def new_key() -> str:
    """A key that no other entry has."""
    return secrets.token_hex(6)


class Entries(Generic[Entry]):
    """The entries of one kind by key."""

    def __init__(self, what: str, cls: type[Entry]) -> None:
        self.what = what
        self.entries: dict[str, Entry] = {}
        self._cls: type[Entry] = cls

    def get(self, key: str) -> Entry:
        """The entry with this key, or a ``KeyError``."""
        try:
            return self.entries[key]
        except KeyError:
            raise KeyError(f"{self.what} {key!r} not in manifest") from None

    def read(self, document: Mapping[str, Json]) -> Entry:
        """An entry from its JSON object."""
        return _entry(self._cls, document)

    def changed(self, key: str, values: Mapping[str, Json]) -> Entry:
        """The entry with this key as it would be with other values."""
        if "key" in values:
            raise ValueError(f"{self.what} {key!r} cannot have another key")
        return replace(self.get(key), **_checked(self._cls, values))

    def add(self, document: Mapping[str, Json]) -> Entry:
        """Take in a new entry from its JSON object."""
        entry = self.read(document)
        if entry.key in self.entries:
            raise ValueError(f"{self.what} {entry.key!r} twice")
        self.entries[entry.key] = entry
        return entry

    def set(self, key: str, values: Mapping[str, Json]) -> None:
        """Change values of an entry."""
        self.entries[key] = self.changed(key, values)


_TUPLES = frozenset({"asset_types", "asset_columns"})
_NUMBERS = frozenset({"length", "rows", "uploaded"})
_TYPES: Mapping[str, type] = MappingProxyType(
    dict.fromkeys(_TUPLES, list) | dict.fromkeys(_NUMBERS, int) | {"metadata": dict}
)
_REQUIRED: Mapping[type, tuple[str, ...]] = {
    AssetEntry: ("key", "asset_table", "schema", "file_name", "path"),
    **{cls: tuple(f.name for f in fields(cls) if f.default is MISSING) for cls in (FeatureEntry, TableEntry)},
}
_OPTIONAL: Mapping[type, Mapping[str, bool]] = {
    cls: {f.name: f.default is None for f in fields(cls)} for cls in (AssetEntry, FeatureEntry, TableEntry)
}


def _entry(cls: type[Entry], document: Mapping[str, Json]) -> Entry:
    values = _checked(cls, document)
    if absent := [name for name in _REQUIRED[cls] if name not in values]:
        raise ValueError(f"without {', '.join(absent)}")
    return cls(**values)


def _checked(cls: type[Entry], document: Mapping[str, Json]) -> dict[str, Any]:
    """The values of an entry's fields, of the right types."""
    optional = _OPTIONAL[cls]
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in optional:
            raise ValueError(f"unknown field {name!r}")
        if value is None and optional[name]:
            values[name] = None
            continue
        found: Any = of_type(_TYPES.get(name, str), value, name)
        values[name] = tuple(of_type(str, item, name) for item in found) if name in _TUPLES else found
    return values


T = TypeVar("T")


def of_type(cls: type[T], value: object, name: str) -> T:
    """The value, if it is of this type; ``name`` says in the error what it is the value of."""
    if not isinstance(value, cls):
        # a ValueError, since it is the text of a file that is wrong
        raise ValueError(f"{name} is {value!r}")  # noqa: TRY004
    return value


def _plain(entry: AssetEntry | FeatureEntry | TableEntry) -> dict[str, Json]:
    values = {name: getattr(entry, name) for name in _OPTIONAL[type(entry)]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def encode(document: Mapping[str, object]) -> bytes:
    """A line of the file: one JSON object, in ASCII.

    Raises:
        TypeError: A value is not of a type that JSON knows; dates and paths are turned into text.
    """
    # only ASCII, so that a file name which is not UTF-8 (a lone surrogate in Python) survives
    return json.dumps(document, ensure_ascii=True, separators=(",", ":"), default=_value).encode("ascii")


def _value(value: object) -> Json:
    """What JSON does not know by itself: dates and paths become text, a number of numpy becomes a number."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        return cast("Json", item())
    raise TypeError(f"A value of type {type(value).__name__} cannot be recorded: {value!r}")
