"""How large the bag of a version will be, without making it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deriva_ml.core.files import human_size
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.cached_bags import cache_status
from deriva_ml.dataset.cells import csv_writer
from deriva_ml.dataset.clones import at_version
from deriva_ml.dataset.reach import Found, reach
from deriva_ml.dataset.versions import find_version
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset

__all__ = ["bag_info", "estimate_bag_size"]


def estimate_bag_size(session: Session, spec: DatasetSpec) -> dict[str, Any]:
    """How many rows and files the bag of a version will have, and how large it will be.

    Rows and bytes of files are exact: they are those that the bag itself is made from. The size of the tables is
    estimated from some of their rows. The number of requests depends on the number of tables, or on nothing where the
    service takes several in one.

    Args:
        session: The catalog.
        spec: The version, and what is left out.

    Returns:
        ``tables`` (by table: ``row_count``, ``is_asset``, ``asset_bytes``, ``csv_bytes``), ``total_rows``,
        ``total_asset_bytes``, ``total_csv_bytes``, ``total_estimated_bytes``, and the same sizes in words
        (``total_asset_size``, ``total_csv_size``, ``total_estimated_size``). Of two tables of one name in different
        schemas the key is ``schema:Table``.

    Raises:
        DerivaMLDatasetNotFound: The RID names no dataset.
        DerivaMLVersionNotFound: The dataset has no such version.
    """
    version = find_version(session, spec.rid, spec.version)
    then = at_version(session, version)
    content = reach(then, spec.rid, spec.exclude_tables or (), extra=("Length",), measured=True)
    names = _names(content.tables)
    tables = {names[name]: _table(found) for name, found in content.tables.items() if found.count}
    assets = sum(size["asset_bytes"] for size in tables.values())
    lines = sum(size["csv_bytes"] for size in tables.values())
    return {
        "tables": tables,
        "total_rows": sum(size["row_count"] for size in tables.values()),
        "total_asset_bytes": assets,
        "total_asset_size": human_size(assets),
        "total_csv_bytes": lines,
        "total_csv_size": human_size(lines),
        "total_estimated_bytes": assets + lines,
        "total_estimated_size": human_size(assets + lines),
    }


def bag_info(session: Session, spec: DatasetSpec) -> dict[str, Any]:
    """How large the bag of a version is, and whether the cache has it.

    Args:
        session: The catalog.
        spec: The version, and what is left out.

    Returns:
        What :func:`estimate_bag_size` returns, and ``status`` (``not_cached``, ``cached_metadata_only``,
        ``cached_materialized`` or ``cached_incomplete``), ``cache_path``, ``versions_cached``.
    """
    return {**estimate_bag_size(session, spec), **cache_status(session, spec)}


def _names(tables: Mapping[tuple[str, str], Found]) -> dict[tuple[str, str], str]:
    bare = [name for _schema, name in tables]
    return {(schema, name): name if bare.count(name) == 1 else f"{schema}:{name}" for schema, name in tables}


def _table(found: Found) -> dict[str, Any]:
    """The size of one table of the bag."""
    header, _write = csv_writer(found.table.columns)
    return {
        "row_count": found.count,
        "is_asset": is_asset(found.table),
        "asset_bytes": _bytes(found) if is_asset(found.table) else 0,
        # Rows that do not belong to the dataset tell the length of a line as well as others.
        "csv_bytes": len(header.encode()) + round(found.keys.line_length * found.count),
    }


def _bytes(found: Found) -> int:
    """The bytes of an asset table's files."""
    if found.rows is None:
        return 0
    chosen = found.rows.to_bytes(found.keys.count, "little")
    lengths = zip(found.keys.column("Length"), chosen, strict=True)
    return sum(int(length) for length, is_in in lengths if is_in and length)
