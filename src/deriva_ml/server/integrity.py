"""Keys and foreign keys: what the rows of a catalog must satisfy, and what follows from changing them.

Rules:

1. A duplicate key is refused as soon as it is written; foreign keys are checked once, at the end of the request, so
   that rows written together may refer to each other.
2. A reference with a null in it refers to nothing and is satisfied.
3. A row that is deleted, or whose key changes, decides about the rows that refer to it: CASCADE follows, SET NULL and
   SET DEFAULT write into them, NO ACTION and RESTRICT leave them, and the check at the end finds them.
4. Work goes by sets: a number of queries per foreign key, however many rows there are.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from deriva_ml.core.values import dataclass
from deriva_ml.server.connections import quote
from deriva_ml.server.errors import Conflict
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.model import Column, ForeignKey, Table
from deriva_ml.wire.values import Stored, codec, text

__all__ = ["Change", "columns_named", "default_of", "not_null", "pack", "physical", "write_each"]

INPUT_VIOLATES = "Input data violates model. ERROR:  "


def pack(values: Iterable[object]) -> str:
    """Stored values, or rows of them, as the JSON list that ``json_each`` takes apart again."""
    listed = list(values)
    try:
        return json.dumps(listed, ensure_ascii=False, allow_nan=False)
    except ValueError:  # there are infinities among them
        return _packed(listed)


def _packed(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_packed, value))}]"
    if isinstance(value, float) and math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    return json.dumps(value, ensure_ascii=False)


def physical(table: Table) -> str:
    """The quoted name of the table of current rows."""
    return quote(f"t_{table.rid}")


def columns_named(table: Table, names: Iterable[str]) -> list[Column]:
    """Columns by name, in the order of the names."""
    return [table.columns_by_name[name] for name in names]


def default_of(column: Column) -> Stored:
    """Stored form of a column's default."""
    if column.default is None:
        return None
    form = codec(column.type)
    literal = column.type.is_array and isinstance(column.default, str)
    return form.read(str(column.default)) if literal else form.store(column.default)


def not_null(table: Table, column: Column, values: Sequence[Stored], relation: str, prefix: str = "") -> None:
    """Refuse nulls where the column has none.

    Args:
        table: The column's table.
        column: The column.
        values: What is to be written into it.
        relation: What the refusal calls the place of the nulls.
        prefix: Put before the refusal.

    Raises:
        Conflict: There is a null.
    """
    if (not column.nullok or column.name in ("RID", "RCT", "RMT")) and None in values:
        raise Conflict(
            f'{prefix}null value in column "{column.name}" of relation "{relation}" violates not-null constraint\n'
            f"DETAIL:  Row {values.index(None) + 1} of those for table {table.name}."
        )


def _shown(columns: Sequence[Column], values: Sequence[Stored]) -> str:
    """Names and values as PostgreSQL puts them into a refusal."""
    names = ", ".join(column.name for column in columns)
    texts = ", ".join(str(text(column.type, value)) for column, value in zip(columns, values, strict=True))
    return f"Key ({names})=({texts})"


def write_each(
    tx: Transaction, table: Table, sql: str, columns: Sequence[Column], rows: Iterable[Sequence[Stored]]
) -> None:
    """Run one prepared statement for each row.

    Args:
        tx: The transaction.
        table: The table that is written.
        sql: An INSERT or UPDATE.
        columns: The columns of the first values of each row, for the refusal.
        rows: The parameters.

    Raises:
        Conflict: A key is taken.
    """
    current: list[Sequence[Stored]] = [()]

    def tracked() -> Iterator[Sequence[Stored]]:
        for row in rows:
            current[0] = row
            yield row

    try:
        tx.connection.executemany(sql, tracked())
    except sqlite3.IntegrityError as error:
        raise _taken(table, error, dict(zip([c.name for c in columns], current[0], strict=False))) from error
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise Conflict(f"{INPUT_VIOLATES}invalid byte sequence for encoding UTF8") from error


def _taken(table: Table, error: sqlite3.IntegrityError, row: dict[str, Stored]) -> Conflict:
    """The refusal of a duplicate key, in PostgreSQL's words."""
    storages = {part.strip().rpartition(".")[2] for part in str(error).partition(":")[2].split(",")}
    for key in table.keys:
        columns = columns_named(table, key.columns)
        if {column.storage for column in columns} == storages:
            message = f'{INPUT_VIOLATES}duplicate key value violates unique constraint "{key.name[1]}"'
            if all(column.name in row for column in columns):
                shown = _shown(columns, [row[column.name] for column in columns])
                message += f"\nDETAIL:  {shown} already exists."
            return Conflict(message)
    return Conflict(f"{INPUT_VIOLATES}{error}")


@dataclass(frozen=True, slots=True)
class _Check:
    """References to be looked at at the end.

    Attributes:
        fk: The foreign key.
        rids: Rows of the referring table.
        by_referring: The referring rows were written; else the referenced ones were.
    """

    fk: ForeignKey
    rids: Sequence[str]
    by_referring: bool


class Change:
    """The changes of rows that one request makes, with all that follows from them.

    Call `finish` at the end: it is what checks the foreign keys.
    """

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self._checks: list[_Check] = []

    # ----------------------------------------------------------------------------------------------- changing

    def written(self, table: Table, names: Iterable[str], rids: Sequence[str]) -> None:
        """Note that these columns of these rows were written; their references are checked at the end."""
        changed = set(names)
        for fk in table.foreign_keys:
            if changed.intersection(fk.columns):
                self._checks.append(_Check(fk, rids, by_referring=True))

    def update(self, table: Table, columns: Sequence[Column], rows: Sequence[Sequence[Stored]]) -> None:
        """Write new values into rows.

        Args:
            table: The table.
            columns: The columns to write.
            rows: For each row the values of the columns, then the row's RID.
        """
        if not rows:
            return
        names = [column.name for column in columns]
        for at, column in enumerate(columns):
            not_null(table, column, [row[at] for row in rows], table.name, INPUT_VIOLATES)
        rids = [str(row[-1]) for row in rows]
        followers = self._followers(table, names, rows)
        tx = self.tx
        assignments = "".join(f"{quote(column.storage)} = ?, " for column in columns)
        sql = f'UPDATE {physical(table)} SET {assignments}{_modified(tx, table)}_from = {tx.now} WHERE "RID" = ?'
        write_each(tx, table, sql, columns, rows)
        self.written(table, names, rids)
        for fk, pairs in followers:
            self._follow_update(fk, table, pairs)

    def delete(self, table: Table, rids: Iterable[str]) -> None:
        """Delete rows, and what their deletion takes with it."""
        doomed: dict[str, tuple[Table, set[str]]] = {}
        resets: list[tuple[ForeignKey, set[str]]] = []
        queue = [(table, set(rids))]
        while queue:
            target, fresh = queue.pop()
            known = doomed.setdefault(target.rid, (target, set()))[1]
            fresh = fresh - known
            known |= fresh
            for fk in self.tx.model.referenced_by(target) if fresh else ():
                referring = {child for child, _ in self._referring(fk, target, fresh)}
                if fk.on_delete == "CASCADE":
                    queue.append((self._table(fk), referring))
                elif fk.on_delete in ("SET NULL", "SET DEFAULT"):
                    resets.append((fk, referring))
                elif referring:
                    self._checks.append(_Check(fk, sorted(referring), by_referring=False))
        for target, gone in doomed.values():
            self.tx.connection.execute(
                f'DELETE FROM {physical(target)} WHERE "RID" IN (SELECT value FROM json_each(?))', (pack(gone),)
            )
        for fk, referring in resets:
            child = self._table(fk)
            left = referring - doomed.get(child.rid, (child, set()))[1]
            self._reset(fk, sorted(left), to_default=fk.on_delete == "SET DEFAULT")

    # ----------------------------------------------------------------------------------------------- consequences

    def _table(self, fk: ForeignKey) -> Table:
        found = self.tx.model.table(*fk.table)
        if found is None:
            raise LookupError(f"The model has a foreign key of a table that it lacks: {fk.table}")
        return found

    def _referring(self, fk: ForeignKey, target: Table, rids: Iterable[str]) -> list[tuple[str, str]]:
        """The rows that refer to these by this foreign key, each with the RID of the one it refers to."""
        child = self._table(fk)
        near, far = columns_named(child, fk.columns), columns_named(target, fk.referenced_columns)
        joined = " AND ".join(f"c.{quote(a.storage)} = p.{quote(b.storage)}" for a, b in zip(near, far, strict=True))
        return self.tx.connection.execute(
            f'SELECT c."RID", p."RID" FROM json_each(?) AS j CROSS JOIN {physical(target)} AS p ON p."RID" = j.value '
            f"CROSS JOIN {physical(child)} AS c ON {joined}",
            (pack(rids),),
        ).fetchall()

    def _followers(
        self, table: Table, names: Sequence[str], rows: Sequence[Sequence[Stored]]
    ) -> list[tuple[ForeignKey, list[tuple[str, str]]]]:
        """The foreign keys into a table whose referenced values are about to change, with the pairs concerned."""
        found = []
        for fk in self.tx.model.referenced_by(table):
            changing = [name for name in names if name in fk.referenced_columns]
            if changing:
                pairs = self._referring(fk, table, self._changed(table, names, changing, rows))
                if pairs:
                    found.append((fk, pairs))
        return found

    def _changed(
        self, table: Table, names: Sequence[str], wanted: Sequence[str], rows: Sequence[Sequence[Stored]]
    ) -> list[str]:
        """The RIDs of the rows in which one of the wanted columns gets another value."""
        picked = ", ".join(quote(column.storage) for column in columns_named(table, wanted))
        places = [names.index(name) for name in wanted]
        old = {
            row[0]: row[1:]
            for row in self.tx.connection.execute(
                f'SELECT "RID", {picked} FROM {physical(table)} WHERE "RID" IN (SELECT value FROM json_each(?))',
                (pack(row[-1] for row in rows),),
            )
        }
        return [str(row[-1]) for row in rows if old.get(row[-1]) != tuple(row[place] for place in places)]

    def _follow_update(self, fk: ForeignKey, table: Table, pairs: Sequence[tuple[str, str]]) -> None:
        """Do what a foreign key says about the rows whose referenced key has changed."""
        children = [child for child, _ in pairs]
        if fk.on_update == "CASCADE":
            picked = ", ".join(quote(column.storage) for column in columns_named(table, fk.referenced_columns))
            new = {
                row[0]: row[1:]
                for row in self.tx.connection.execute(
                    f'SELECT "RID", {picked} FROM {physical(table)} WHERE "RID" IN (SELECT value FROM json_each(?))',
                    (pack({parent for _, parent in pairs}),),
                )
            }
            child_table = self._table(fk)
            rows = [(*new[parent], child) for child, parent in pairs]
            self.update(child_table, columns_named(child_table, fk.columns), rows)
        elif fk.on_update in ("SET NULL", "SET DEFAULT"):
            self._reset(fk, children, to_default=fk.on_update == "SET DEFAULT")
        else:
            self._checks.append(_Check(fk, children, by_referring=False))

    def _reset(self, fk: ForeignKey, rids: Sequence[str], *, to_default: bool) -> None:
        """Write null or the defaults into the columns of a foreign key."""
        child = self._table(fk)
        columns = columns_named(child, fk.columns)
        values = [default_of(column) if to_default else None for column in columns]
        self.update(child, columns, [(*values, rid) for rid in rids])

    # ----------------------------------------------------------------------------------------------- checking

    def finish(self) -> None:
        """Check the foreign keys that the change concerned.

        Raises:
            Conflict: A reference refers to nothing.
        """
        for check in self._checks:
            self._look(check)
        self._checks.clear()

    def _look(self, check: _Check) -> None:
        fk = check.fk
        near_table, far_table = self._table(fk), self.tx.model.table(*fk.referenced_table)
        if far_table is None:
            raise LookupError(f"The model has a foreign key to a table that it lacks: {fk.referenced_table}")
        near, far = columns_named(near_table, fk.columns), columns_named(far_table, fk.referenced_columns)
        present = " AND ".join(f"c.{quote(column.storage)} IS NOT NULL" for column in near)
        joined = " AND ".join(f"p.{quote(b.storage)} = c.{quote(a.storage)}" for a, b in zip(near, far, strict=True))
        picked = ", ".join(f"c.{quote(column.storage)}" for column in near)
        row = self.tx.connection.execute(
            f'SELECT {picked} FROM json_each(?) AS j CROSS JOIN {physical(near_table)} AS c ON c."RID" = j.value '
            f"WHERE {present} AND NOT EXISTS (SELECT 1 FROM {physical(far_table)} AS p WHERE {joined}) LIMIT 1",
            (pack(check.rids),),
        ).fetchone()
        if row is None:
            return
        name = fk.name[1]
        if check.by_referring:
            raise Conflict(
                f'{INPUT_VIOLATES}insert or update on table "{near_table.name}" violates foreign key constraint '
                f'"{name}"\nDETAIL:  {_shown(near, row)} is not present in table "{far_table.name}".'
            )
        raise Conflict(
            f'update or delete on table "{far_table.name}" violates foreign key constraint "{name}" on table '
            f'"{near_table.name}"\nDETAIL:  {_shown(far, row)} is still referenced from table "{near_table.name}".'
        )


def _modified(tx: Transaction, table: Table) -> str:
    """The assignments that record a modification."""
    parts = []
    if table.column("RMT"):
        parts.append(f'"RMT" = {tx.now}, ')
    if table.column("RMB"):
        who = "NULL" if tx.client.id is None else "'" + tx.client.id.replace("'", "''") + "'"
        parts.append(f'"RMB" = {who}, ')
    return "".join(parts)
