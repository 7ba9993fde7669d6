"""Changing the past where it must be: values that should never have been kept, rules that should have been others.

1. Redaction empties one column in row versions that began and ended within a period. Rows as they are now are changed
   by ordinary requests.
2. Amendment replaces the access lists, bindings or annotations of one part of the model for a period. A version of a
   document that the period cuts is divided at its ends, which become moments at which the model changed.

Either is a commit of its own, and its moment enters the tags of all snapshots, so that no copy of them is taken for
good any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from deriva_ml.server.access import Access
from deriva_ml.server.bindings import binding_set
from deriva_ml.server.connections import quote
from deriva_ml.server.documents import ACL_NAMES, acl_set, annotation_set
from deriva_ml.server.elements import CATALOG
from deriva_ml.server.errors import BadRequest, NotFound
from deriva_ml.server.history import bound, snapshot_range
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, Document, Json
from deriva_ml.wire.model_documents import table_from_document
from deriva_ml.wire.values import Stored, codec

__all__ = ["ASPECTS", "amend", "redact"]

ASPECTS = {"acl": "acls", "acl_binding": "acl_bindings", "annotation": "annotations"}
"""What can be amended: by its word in a target, the member of a stored document."""

PARTS = {"column_definitions": "column", "keys": "key", "foreign_keys": "foreign key"}


def redact(tx: Transaction, since: str, until: str, column_rid: str, condition: tuple[str, str] | None = None) -> None:
    """Empty a column in the row versions that began and ended within a period.

    Args:
        tx: The transaction.
        since: The period's begin.
        until: Its end.
        column_rid: RID of the column.
        condition: RID of a column of the same table, and a value as JSON that the versions must have in it.

    Raises:
        BadRequest: A bound is missing, or the column is one without which rows cannot be told apart.
        NotFound: There was never such a column.
    """
    Access(tx.model, tx.client).need_owner(tx.model)
    first, last = bound(since), bound(until)
    if first is None or last is None:
        raise BadRequest("History redaction requires both time bounds.")
    forms = list(_columns(tx, column_rid))
    if not forms:
        raise NotFound(f"Historical model resource with RID={column_rid}")
    if any(column.name in SYSTEM_COLUMNS for _, column in forms):
        raise BadRequest("System columns cannot be redacted.")
    for home, column in forms:
        test, values = _tests(tx, home, condition)
        own = quote(column.storage)
        tx.connection.execute(
            f"UPDATE {quote(f'h_{home}')} SET {own} = NULL WHERE _from >= ? AND _until <= ? AND {test}",
            (first, last, *values),
        )
    _note(tx)


def _tests(tx: Transaction, home: str, condition: tuple[str, str] | None) -> tuple[str, list[Stored]]:
    """SQL for the versions that are meant, and its values."""
    if condition is None:
        return "1", []
    rid, text = condition
    forms = [column for place, column in _columns(tx, rid) if place == home]
    if not forms:
        raise NotFound(f"Historical model resource with RID={rid}")
    try:
        value: Json = json.loads(text)
        values = [None if value is None else codec(column.type).store(value) for column in forms]
    except ValueError as error:
        raise BadRequest(f"Invalid value in redaction filter: {error}") from error
    return "(" + " OR ".join(f"{quote(column.storage)} IS ?" for column in forms) + ")", values


def _columns(tx: Transaction, rid: str) -> Iterator[tuple[str, Column]]:
    """Every physical form that a column has had, with the RID of its table."""
    seen: set[tuple[str, str]] = set()
    rows = tx.connection.execute("SELECT rid, doc FROM elements WHERE kind = 'table' AND instr(doc, ?)", (rid,))
    for home, text in rows.fetchall():
        for column in table_from_document(json.loads(text)).columns:
            if column.rid == rid and (home, column.storage) not in seen:
                seen.add((home, column.storage))
                yield home, column


def amend(tx: Transaction, aspect: str, since: str, until: str, rid: str, body: Json) -> None:
    """Replace the access lists, bindings or annotations of a part of the model for a period.

    Args:
        tx: The transaction.
        aspect: One of ``ASPECTS``.
        since: The period's begin; empty for the first moment that is known.
        until: Its end; empty for now. What holds from now on is not amended.
        rid: RID of a schema, table, column, key or foreign key; empty for the catalog.
        body: What takes the place of the old.

    Raises:
        NotFound: There was no such part, or no commit, in the period.
    """
    Access(tx.model, tx.client).need_owner(tx.model)
    start, _ = snapshot_range(tx, since, until)
    stop = _stop(tx, bound(until))
    execute = tx.connection.execute
    rows = execute(
        "SELECT rid, kind, _from, _until, doc FROM elements WHERE _until > ? AND _from < ?", (start, stop)
    ).fetchall()
    is_found = False
    for home, kind, first, last, text in rows:
        document: Document = json.loads(text)
        part = _part(document, home, kind, rid)
        if part is None or (aspect == "acl_binding" and part[1] in ("catalog", "schema")):
            continue
        is_found = True
        part[0][ASPECTS[aspect]] = _checked(tx, aspect, part[1], home, rid, body)
        changed = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        execute("DELETE FROM elements WHERE rid = ? AND _from = ?", (home, first))
        pieces = (
            (first, min(last, start), text),
            (max(first, start), min(last, stop), changed),
            (max(first, stop), last, text),
        )
        for begin, end, doc in pieces:
            if begin < end:
                execute("INSERT INTO elements VALUES (?, ?, ?, ?, ?)", (home, kind, begin, end, doc))
    if not is_found:
        raise NotFound(f"Historical model resource with RID={rid}")
    # A snapshot's model is looked up by the moments at which the model changed, and now it does so at the ends, too.
    execute("INSERT OR IGNORE INTO models VALUES (?), (?)", (start, stop))
    execute("UPDATE state SET model = (SELECT max(at) FROM models)")
    _note(tx)


def _stop(tx: Transaction, until: int | None) -> int:
    """The commit at which a period ends: the first one at or after its bound, at the latest this one."""
    if until is None or until >= tx.now:
        return tx.now
    row = tx.connection.execute("SELECT min(at) FROM commits WHERE at >= ?", (until,)).fetchone()
    return tx.now if row[0] is None else int(row[0])


def _part(document: Document, home: str, kind: str, rid: str) -> tuple[Document, str] | None:
    """The part of a stored document that has an RID, and its kind."""
    if home == rid:
        return document, "catalog" if home == CATALOG else kind
    if kind != "table":
        return None
    for member, name in PARTS.items():
        items = document.get(member)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and item.get("RID") == rid:
                return item, name
    return None


def _checked(tx: Transaction, aspect: str, kind: str, home: str, rid: str, body: Json) -> Document:
    """What is to be stored, if it is what such a part may have."""
    if not isinstance(body, dict):
        raise BadRequest("The representation of an amendment must be a JSON object.")
    if aspect == "annotation":
        return annotation_set(body)
    if aspect == "acl":
        if kind == "key":
            raise NotFound(f"Historical model resource with RID={rid}")
        given = acl_set(body, kind, f"{kind} with RID={rid}")
        return {name: given.get(name, []) for name in ACL_NAMES[kind]} if kind == "catalog" else given
    table = tx.model.tables_by_rid.get(home)
    if table is None:
        raise BadRequest("Bindings of a table that is gone cannot be checked, and so not be amended.")
    return binding_set(tx.model, table, body, kind)


def _note(tx: Transaction) -> None:
    tx.connection.execute("UPDATE state SET amended = ?", (tx.now,))
    tx.touch()
