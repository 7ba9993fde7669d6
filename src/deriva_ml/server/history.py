"""The past of a catalog: the range that is known, its truncation, and what became of a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deriva_ml.core import codes
from deriva_ml.server import physical
from deriva_ml.server.connections import quote
from deriva_ml.server.errors import BadRequest, NotFound
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.model import Document, Table

__all__ = ["bound", "find_row", "snapshot_range", "truncate"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bound(text: str) -> int | None:
    """One end of a period, or None if it is open."""
    if not text:
        return None
    try:
        return min(codes.decode(text), (1 << 63) - 1)
    except ValueError as error:
        raise BadRequest(f'Invalid history bound "{text}".') from error


def snapshot_range(view: View, since: str, until: str) -> tuple[int, int]:
    """The first and the last commit between two moments, either of which may be open."""
    first, last = bound(since), bound(until)
    row = view.connection.execute(
        "SELECT (SELECT min(at) FROM commits WHERE at >= coalesce(:first, 0)), "
        "(SELECT max(at) FROM commits WHERE at <= coalesce(:last, at))",
        {"first": first, "last": last},
    ).fetchone()
    if row[0] is None or row[1] is None or row[0] > row[1]:
        raise NotFound(f"history range {since},{until}")
    return int(row[0]), int(row[1])


def truncate(tx: Transaction, since: str, until: str) -> None:
    """Forget row versions and models that ended at or before a moment; earlier snapshots are then refused."""
    if since or not until:
        raise BadRequest(
            "History truncation requires an upper time bound."
            if not until
            else "History truncation does not support a lower time bound."
        )
    _, moment = snapshot_range(tx, "", until)
    execute = tx.connection.execute
    homes = execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'h_*'").fetchall()
    ended = execute(
        "SELECT DISTINCT rid FROM elements AS e WHERE kind = 'table' AND _until <= :at "
        "AND NOT EXISTS (SELECT 1 FROM elements AS o WHERE o.rid = e.rid AND o._until > :at)",
        {"at": moment},
    ).fetchall()
    for (rid,) in ended:
        physical.drop(tx.connection, rid)
    for (name,) in homes:
        if (name.removeprefix("h_"),) not in ended:
            execute(f"DELETE FROM {quote(name)} WHERE _until <= ?", (moment,))
    execute("DELETE FROM elements WHERE _until <= ?", (moment,))
    execute("DELETE FROM commits WHERE at < ?", (moment,))
    execute("DELETE FROM models WHERE at < (SELECT max(at) FROM models WHERE at <= ?)", (moment,))
    tx.touch()


def find_row(view: View, text: str) -> Document:
    """Where the row with a RID is, or was.

    Raises:
        NotFound: No row of a table that the model has at the view's moment has or had the RID by then.
    """
    normal = codes.normalise(text)
    for rid in dict.fromkeys(filter(None, (text, normal))):
        homes = [
            table
            for (home,) in view.connection.execute("SELECT home FROM rids WHERE rid = ?", (rid,)).fetchall()
            if (table := view.model.tables_by_rid.get(home)) is not None
        ]
        for table in homes:
            if view.connection.execute(f"SELECT 1 FROM {view.source(table)} WHERE RID = ?", (rid,)).fetchone():
                return _place(rid, table)
        for table in homes:
            found = view.connection.execute(
                f"SELECT max(_until) FROM {quote(f'h_{table.rid}')} WHERE RID = ? AND _until <= ?",
                (rid, view.snaptime),
            ).fetchone()[0]
            if found is not None:
                return _place(rid, table) | _end(view, int(found))
    raise NotFound(f"entity with RID={text}")


def _place(rid: str, table: Table) -> Document:
    return {"RID": rid, "schema_name": table.schema, "table_name": table.name}


def _end(view: View, moment: int) -> Document:
    row = view.connection.execute("SELECT max(at) FROM commits WHERE at < ?", (moment,)).fetchone()
    document: Document = {"deleted_at": _written(moment)}
    if row[0] is not None:
        document |= {"last_visible_at": _written(row[0]), "last_visible_snaptime": codes.encode(row[0])}
    return document


def _written(moment: int) -> str:
    return (EPOCH + timedelta(microseconds=moment)).isoformat(" ", "microseconds")
