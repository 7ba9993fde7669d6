"""Whether a catalog's model fits its physical tables, and its rows fit the model's columns."""

from __future__ import annotations

from collections.abc import Iterator

from deriva_ml.server.connections import quote
from deriva_ml.server.finding import Finding
from deriva_ml.server.view import View
from deriva_ml.wire.model import Table

__all__ = ["check_model"]


def check_model(view: View, where: str) -> Iterator[Finding]:
    """Compare the model as of a view with what the database has.

    Args:
        view: The catalog, as it is now.
        where: How the catalog is called in findings.
    """
    rows = view.connection.execute("SELECT type, name FROM sqlite_master").fetchall()
    there = {kind: {name for type_, name in rows if type_ == kind} for kind in ("table", "index", "trigger")}
    for table in view.model.tables():
        yield from _check_table(view, table, f"{where} {table.schema}:{table.name}", there)
    known = {str(row[0]) for row in view.connection.execute("SELECT DISTINCT rid FROM elements WHERE kind = 'table'")}
    for name in sorted(there["table"]):
        if name[:2] in ("t_", "h_") and name[2:] not in known:
            yield Finding("model", where, f"the physical table {name} belongs to no table of any model")


def _check_table(view: View, table: Table, where: str, there: dict[str, set[str]]) -> Iterator[Finding]:
    for name in (f"t_{table.rid}", f"h_{table.rid}"):
        if name not in there["table"]:
            yield Finding("model", where, f"its physical table {name} is missing", table=table.rid)
            return
        have = {row[1] for row in view.connection.execute(f"PRAGMA table_info({quote(name)})")}
        for column in table.columns:
            if column.storage not in have:
                yield Finding("model", f"{where} column {column.name}", f"missing in {name}", table=table.rid)
                return
    for event in ("insert", "update", "delete"):
        if f"t_{table.rid}_{event}" not in there["trigger"]:
            yield Finding("model", where, f"the trigger that keeps its history at {event} is missing")
    for constraint in table.constraints:
        if f"i_{constraint.rid}" not in there["index"]:
            yield Finding("model", where, f"the index of {constraint.name[1]} is missing")
    yield from _check_rows(view, table, where)


def _check_rows(view: View, table: Table, where: str) -> Iterator[Finding]:
    execute = view.connection.execute
    for column in table.columns:
        if not column.nullok:
            rows = execute(f'SELECT RID FROM "t_{table.rid}" WHERE {quote(column.storage)} IS NULL LIMIT 5').fetchall()
            for (rid,) in rows:
                yield Finding("row", f"{where} RID {rid}", f"{column.name} is null, which the model forbids")
    rows = execute(
        f'SELECT RID FROM "t_{table.rid}" AS t WHERE NOT EXISTS '
        "(SELECT 1 FROM rids WHERE rids.rid = t.RID AND home = ?) LIMIT 5",
        (table.rid,),
    ).fetchall()
    for (rid,) in rows:
        yield Finding("row", f"{where} RID {rid}", "cannot be found by its RID")
    late = execute(f'SELECT RID FROM "t_{table.rid}" WHERE _from > (SELECT max(at) FROM commits) LIMIT 5').fetchall()
    for (rid,) in late:
        yield Finding("row", f"{where} RID {rid}", "was written by no commit that is known")
