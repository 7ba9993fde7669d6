"""Reading as a client that does not own the catalog: what it may not see is not there, what it may not read is refused.

The model that queries are compiled on holds only what the client may enumerate. Each table and column that a query uses
is asked for by name, and refused there if it may not be selected. Where bindings make the right depend on the row, the
table's rows are filtered where the query takes them from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import isinf

from deriva_ml.server.access import GRANTING, Access, label
from deriva_ml.server.bindings import binding_operand, binding_operator
from deriva_ml.server.collation import Key
from deriva_ml.server.connections import quote
from deriva_ml.server.errors import ServiceError
from deriva_ml.server.expressions import Parameters
from deriva_ml.server.filters import Operand, filter_sql
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.model import Column, ForeignKey, Json, Model, Schema, Table
from deriva_ml.wire.syntax import Comparison, Name

__all__ = ["Narrowed", "narrowed", "need_references", "need_rows", "row_condition", "with_visible_tables"]


def narrowed(view: View, access: Access) -> View:
    """The view as the client sees it: the view itself for who owns the catalog and has nothing hidden from it."""
    return view if access.is_whole else Narrowed(view, access)


class Narrowed(View):
    """A view with what one client may see.

    Args:
        view: The whole view.
        access: What the client may do.
        whole: A table whose rows are all there: one whose rows are to be changed, each of which is asked for later.
    """

    def __init__(self, view: View, access: Access, *, whole: Table | None = None) -> None:
        visible = _visible(access)
        super().__init__(
            lambda _connection, _moment: visible, view.connection, view.snaptime, view.model_snaptime, view.amended
        )
        self.latest = view.latest
        self.is_snapshot = view.is_snapshot
        self.renew = view.renew
        self._view = view
        self._access = access
        self._whole = whole
        self._homes = {column.rid: table for table in access.model.tables() for column in table.columns}

    def column(self, column: Column) -> str:
        """The quoted name of the physical column; refused if the client may not read it."""
        home = self._homes[column.rid]
        if self._access.right(home, "select") is not False:
            self._access.need(home.columns_by_name[column.name], "select", home)
        return quote(column.storage)

    def source(self, table: Table) -> str:
        """What to select from: the rows, and of each row the values, that the client may read."""
        whole = self._access.model.tables_by_rid[table.rid]
        if self._whole is not None and table.rid == self._whole.rid:
            return self._view.source(whole)
        right = self._access.need(whole, "select")
        guarded = [
            column
            for column in whole.columns
            if self._access.right(column, "select", whole) is None
            and (right is True or column.acl_bindings or column.acls)
        ]
        source = self._view.source(whole)
        if right is True and not guarded:
            return source
        rows = "1" if right is True else row_condition(self._view, self._access, whole, "select")
        values = {
            column.storage: row_condition(self._view, self._access, whole, "select", column=column)
            for column in guarded
        }
        fields = [
            f"CASE WHEN {values[one.storage]} THEN r.{quote(one.storage)} END AS {quote(one.storage)}"
            if one.storage in values
            else f"r.{quote(one.storage)}"
            for one in whole.columns
        ]
        return f"(SELECT {', '.join(fields)}, r._from FROM {source} AS r WHERE {rows})"

    def may(self, table: Table, right: str, column: Column | None = None) -> str:
        """SQL over the row ``r`` that holds if the client has a right to it, or to a column of it."""
        whole = self._access.model.tables_by_rid[table.rid]
        one = None if column is None else whole.columns_by_name[column.name]
        # a right to the column counts in rows to which the client has the right as well
        decided = [self._access.right(whole, right)]
        conditions = [row_condition(self._view, self._access, whole, right)] if decided[0] is None else []
        if one is not None:
            decided.append(self._access.right(one, right, whole))
            if decided[1] is None:
                conditions.append(row_condition(self._view, self._access, whole, right, column=one))
        return "0" if False in decided else " AND ".join(conditions) or "1"


def with_visible_tables(access: Access) -> Model:
    """The model without the schemas and tables that the client may not enumerate; the tables in it are whole."""
    if access.is_all:
        return access.model
    schemas = {
        name: replace(schema, tables={key: table for key, table in schema.tables.items() if access.sees(table)})
        for name, schema in access.model.schemas.items()
        if access.sees(schema)
    }
    return replace(access.model, schemas=schemas)


def _visible(access: Access) -> Model:
    """The model without what the client may not enumerate."""
    schemas: dict[str, Schema] = {}
    for name, schema in access.model.schemas.items():
        if not access.sees(schema):
            continue
        tables = {one.name: _visible_table(access, one) for one in schema.tables.values() if access.sees(one)}
        schemas[name] = replace(schema, tables=tables)
    return replace(access.model, schemas=schemas)


def _visible_table(access: Access, table: Table) -> Table:
    columns = tuple(column for column in table.columns if access.sees(column, table))
    names = {column.name for column in columns}
    return replace(
        table,
        columns=columns,
        keys=tuple(key for key in table.keys if names.issuperset(key.columns)),
        foreign_keys=tuple(fk for fk in table.foreign_keys if access.sees(fk, table)),
    )


def need_rows(
    tx: Transaction,
    access: Access,
    table: Table,
    right: str,
    rids: Collection[str],
    columns: Sequence[Column] = (),
) -> None:
    """Refuse unless the client has a right for each of some rows, and for each of some columns in them.

    Args:
        tx: The transaction.
        access: What the client may do; that it may do this to some rows was decided before.
        table: The table.
        right: The right.
        rids: The rows.
        columns: The columns that are to be written.
    """
    guarded = [column for column in columns if access.right(column, right, table) is None]
    conditions = [row_condition(tx, access, table, right)] if access.right(table, right) is None else []
    conditions.extend(row_condition(tx, access, table, right, column=column) for column in guarded)
    for condition in conditions:
        refused = tx.connection.execute(
            f'SELECT 1 FROM json_each(?) AS j JOIN {tx.source(table)} AS r ON r."RID" = j.value '
            f"WHERE coalesce({condition}, 0) = 0 LIMIT 1",
            (json.dumps(list(rids)),),
        ).fetchone()
        if refused:
            matching = "matching " if right == "delete" else ""
            raise access.refuse(f"{right} access on one or more {matching}rows in table :{table.schema}:{table.name}")


def need_references(
    tx: Transaction, access: Access, table: Table, right: str, rids: Collection[str], columns: Collection[str]
) -> None:
    """Refuse references that the client may not make, by the ACLs of the foreign keys; after the rows are written.

    Args:
        tx: The transaction.
        access: What the client may do.
        table: The table.
        right: ``insert`` or ``update``.
        rids: The rows that were written.
        columns: The names of the columns that the client gave.
    """
    for fk in () if access.is_all else table.foreign_keys:
        allowed = True if set(columns).isdisjoint(fk.columns) else access.may_refer(fk, right)
        if allowed is True:
            continue
        test = " AND ".join(f"c.{quote(table.columns_by_name[name].storage)} IS NOT NULL" for name in fk.columns)
        if allowed is None:
            test += f" AND NOT {_refers_well(tx, access, fk, right)}"
        refused = tx.connection.execute(
            f'SELECT 1 FROM json_each(?) AS j CROSS JOIN {tx.source(table)} AS c ON c."RID" = j.value '
            f"WHERE {test} LIMIT 1",
            (json.dumps(list(rids)),),
        ).fetchone()
        if refused:
            raise access.refuse(f"{right} access on {label(fk)} in one or more rows")


def _refers_well(view: View, access: Access, fk: ForeignKey, right: str) -> str:
    """SQL that holds if the row ``c`` refers to one that a binding of the foreign key gives."""
    near, far = view.model.table(*fk.table), view.model.table(*fk.referenced_table)
    if near is None or far is None:
        return "0"
    pairs = zip(fk.columns, fk.referenced_columns, strict=True)
    joined = " AND ".join(
        f"r.{quote(far.columns_by_name[b].storage)} = c.{quote(near.columns_by_name[a].storage)}" for a, b in pairs
    )
    given = _any_binding(view, access, far, right, fk.acl_bindings, "r")
    return f"EXISTS (SELECT 1 FROM {view.source(far)} AS r WHERE {joined} AND {given})"


# ---------------------------------------------------------------------------------------------- bindings as SQL


def row_condition(
    view: View, access: Access, table: Table, right: str, *, column: Column | None = None, row: str = "r"
) -> str:
    """SQL that holds for the rows for which bindings give a client a right.

    Args:
        view: The whole view.
        access: What the client may do.
        table: The table whose rows they are.
        right: The right.
        column: The column, where the right is one to a column.
        row: The alias of the row in the query around.
    """
    if column is None:
        bindings = dict(table.acl_bindings)
    else:
        inherited = {} if right in column.acls else dict(table.acl_bindings)
        bindings = inherited | dict(column.acl_bindings)
    return _any_binding(view, access, table, right, bindings, row)


def _any_binding(view: View, access: Access, table: Table, right: str, bindings: Mapping[str, Json], row: str) -> str:
    conditions = [
        _Projection(view, access, table, row).condition(binding)
        for binding in bindings.values()
        if isinstance(binding, dict) and _gives(binding, access, right)
    ]
    return f"({' OR '.join(conditions)})" if conditions else "0"


def _gives(binding: Mapping[str, Json], access: Access, right: str) -> bool:
    types, scope = binding.get("types"), binding.get("scope_acl")
    if not isinstance(types, list) or not isinstance(scope, list):
        return False
    return not access.roles.isdisjoint(map(str, scope)) and not set(GRANTING[right]).isdisjoint(map(str, types))


def _literal(value: object) -> str:
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, float) and isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if isinstance(value, int | float):
        return repr(value).replace("inf", "9e999")
    return "NULL" if value is None else "'" + str(value).replace("'", "''").replace("\0", "") + "'"


class _Inline(Parameters):
    """Values written into the SQL itself: a condition becomes part of whatever statement reads the table."""

    def bind(self, value: Key | None) -> str:
        """The literal for a value."""
        return _literal(value)


class _Projection:
    """A binding's projection, read from its first step to its column."""

    def __init__(self, view: View, access: Access, table: Table, row: str) -> None:
        self.view = view
        self.access = access
        self.context = (table, row)
        self.aliases = {"base": self.context}
        self.joined: list[str] = []
        self.conditions: list[str] = []

    def condition(self, binding: Mapping[str, Json]) -> str:
        """SQL that holds for a row that the binding gives."""
        projection = binding.get("projection")
        steps = projection if isinstance(projection, list) else [projection]
        for step in steps[:-1]:
            if not isinstance(step, dict) or not self._take(step):
                # What it went along is not there any more, so it leads nowhere.
                return "0"
        column = self._column(steps[-1])
        if column is None:
            return "0"
        self.conditions.append(self._test(column, binding.get("projection_type") == "acl"))
        where = " AND ".join(self.conditions)
        return f"EXISTS (SELECT 1 FROM {', '.join(self.joined)} WHERE {where})" if self.joined else f"({where})"

    def _test(self, column: tuple[str, Column], is_acl: bool) -> str:
        sql, found = column
        if not is_acl:
            return f"{sql} IS NOT NULL"
        roles = ", ".join(_literal(role) for role in sorted(self.access.roles))
        if found.type.is_array:
            return f"EXISTS (SELECT 1 FROM json_each({sql}) AS member WHERE member.value IN ({roles}))"
        return f"{sql} IN ({roles})"

    def _column(self, name: Json) -> tuple[str, Column] | None:
        if isinstance(name, list) and len(name) == 2:
            table, alias = self.aliases.get(str(name[0]), self.context)
            name = name[1]
        else:
            table, alias = self.context
        column = table.column(name) if isinstance(name, str) else None
        return (f"{alias}.{quote(column.storage)}", column) if column else None

    def _take(self, step: Mapping[str, Json]) -> bool:
        direction = next((word for word in ("inbound", "outbound") if word in step), None)
        if direction is None:
            sql = self._filter(step)
            self.conditions.append(sql or "0")
            return sql is not None
        start = step.get("context")
        table, alias = self.aliases.get(start, self.context) if isinstance(start, str) else self.context
        model, wanted = self.view.model, step[direction]
        fks = model.referenced_by(table) if direction == "inbound" else table.foreign_keys
        fk = next((one for one in fks if list(one.name) == wanted), None)
        far = model.table(*(fk.table if direction == "inbound" else fk.referenced_table)) if fk else None
        if fk is None or far is None:
            return False
        new = f"{self.context[1]}_{len(self.joined) + 1}"
        self.joined.append(f"{self.view.source(far)} AS {new}")
        near_names, far_names = fk.columns, fk.referenced_columns
        if direction == "inbound":
            near_names, far_names = far_names, near_names
        for one, other in zip(near_names, far_names, strict=True):
            near, away = table.columns_by_name[one].storage, far.columns_by_name[other].storage
            self.conditions.append(f"{alias}.{quote(near)} = {new}.{quote(away)}")
        self.context = (far, new)
        name = step.get("alias")
        if isinstance(name, str):
            self.aliases[name] = self.context
        return True

    def _filter(self, step: Mapping[str, Json]) -> str | None:
        for word, glue in (("and", " AND "), ("or", " OR ")):
            nested = step.get(word)
            if isinstance(nested, list):
                parts: Sequence[str | None] = [self._filter(one) for one in nested if isinstance(one, dict)]
                return None if None in parts or not parts else self._signed(step, glue.join(map(str, parts)))
        column = self._column(step.get("filter"))
        if column is None:
            return None
        sql, found = column
        test = Comparison(Name((found.name,)), binding_operator(step) or "", binding_operand(step))
        try:
            return self._signed(step, filter_sql(test, lambda _name: [Operand(found, sql)], _Inline()))
        except ServiceError:
            return None

    @staticmethod
    def _signed(step: Mapping[str, Json], sql: str) -> str:
        return f"NOT ({sql})" if step.get("negate") else f"({sql})"
