"""Files that become assets by themselves, not as outputs of a run: their bytes, then their rows, then their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deriva_ml.asset.asset_record import asset_record_class, checked_metadata
from deriva_ml.asset.sealing import existing_file
from deriva_ml.asset.tables import asset_table, type_companion
from deriva_ml.asset.upload_rows import catalog_name, object_name
from deriva_ml.catalog.bulk import Content, Naming, Outgoing
from deriva_ml.core.enums import MLVocab
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLException
from deriva_ml.core.json_types import Json
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.vocabulary import list_vocabulary_terms
from deriva_ml.wire.model import Table

__all__ = ["store_contents", "upload_asset"]

Row = dict[str, Json]


def upload_asset(model: HasSession | Session, file: str | Path, table: str | Table, **columns: Any) -> Row:
    """Make a file an asset, without a run; each call makes one.

    Args:
        model: A ``DerivaML``, its model or its session.
        file: The file.
        table: The asset table.
        columns: Values of its metadata columns, and its ``Description``.

    Returns:
        The row, as the catalog has it.

    Raises:
        DerivaMLTableTypeError: It is no asset table.
        DerivaMLValidationError: The values do not fit the table's columns.
        DerivaMLDataError: There is no such file.
    """
    session = session_of(model)
    session.require_writable()
    found = asset_table(session, table)
    source = existing_file(Path(file))
    if source is None:
        raise DerivaMLDataError(f"There is no file {file}.")
    description = columns.pop("Description", None)
    record = asset_record_class(session.model(), found)
    values: Row = {**checked_metadata(record, columns, f"{source.name!r} of {found.name}"), "Description": description}
    terms = list_vocabulary_terms(session, f"{session.ml_schema}:{MLVocab.asset_type.value}")
    types = [term.name for term in terms if term.name == found.name]
    out = Outgoing(session.objects)
    content = out.prepare(source, lambda _count: None)
    try:
        (row,) = store_contents(session, found, out, [(content, values)], types)
    finally:
        content.discard()
    return row


def store_contents(
    session: Session,
    table: Table,
    out: Outgoing,
    items: Sequence[tuple[Content, Mapping[str, Json]]],
    asset_types: Sequence[str],
) -> list[Row]:
    """Store files that were hashed; each has an object and a row of its own.

    Args:
        session: The catalog.
        table: The asset table.
        out: What stores the bytes.
        items: The files, each with the values of its other columns; all with the same columns.
        asset_types: Terms of ``Asset_Type`` for all of them.

    Returns:
        The rows, in the order of the files.

    Raises:
        DerivaMLException: A file could not be stored; no row was made then.
    """
    if not items:
        return []
    rids = session.catalog.lease_rids(len(items))
    namings = [
        Naming(object_name(table.name, content.digests.md5, content.source.name, rid), content, _name(content))
        for rid, (content, _values) in zip(rids, items, strict=True)
    ]
    rows: list[Row] = []
    answers = out.put(namings, lambda _naming, _count: None)
    for rid, (content, values), answer in zip(rids, items, answers, strict=True):
        if isinstance(answer, DerivaMLException):
            raise answer
        facts: Row = {"RID": rid, "URL": answer, "Filename": _name(content)}
        rows.append({**facts, "Length": content.digests.length, "MD5": content.digests.md5, **values})
    stored = session.catalog.insert(*table.qualified, rows, nondefaults=("RID",))
    if asset_types:
        typed = type_companion(session, table)
        kinds: list[Row] = [{typed.asset: rid, typed.other: name} for rid in rids for name in asset_types]
        session.catalog.insert(*typed.table.qualified, kinds, on_conflict_skip=True)
    return stored


def _name(content: Content) -> str:
    return catalog_name(content.source.name)
