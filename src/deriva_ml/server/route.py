"""The joins and filters of a path: which tables it goes through, and the FROM and WHERE of its query; pure.

1. The root, and each table or link step, is an *instance*: a table under an alias of its own. The newest is the
   context, until ``$alias`` makes an earlier one the context again.
2. Filters hold for the joined rows: they are applied after all joins, outer ones too.
3. Each instance remembers what it was joined by, so that it can be told whether a row of the context can occur twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import assert_never

from deriva_ml.core.values import dataclass
from deriva_ml.server.errors import BadRequest, Conflict, ServiceError
from deriva_ml.server.expressions import Parameters, family, joined, level_sql
from deriva_ml.server.filters import Operand, filter_sql
from deriva_ml.server.resolve import Source, resolve_column, resolve_table
from deriva_ml.wire.model import Column, ForeignKey, Table
from deriva_ml.wire.syntax import ContextStep, DataPath, FilterStep, LinkStep, Name, TableStep, render_name

__all__ = ["Instance", "May", "Route"]

_OUTER_JOINS = (3, 39, 0)

May = Callable[[Table, str, "Column | None"], str]
"""Gives SQL over a row ``r`` that holds if the client has a right to it, or to a column of it."""


@dataclass(slots=True, eq=False)
class Instance:
    """A table in the path.

    Attributes:
        table: The table.
        sql: Its alias in SQL.
        parent: The instance that it was joined to; None for the root.
        near: The parent's columns of the join; empty where it is not a plain equality.
        far: Its own columns of the join.
        nullable: An outer join can leave it without a row.
    """

    table: Table
    sql: str
    parent: Instance | None = None
    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()
    nullable: bool = False


@dataclass(slots=True)
class Route:
    """A path, resolved against a model as far as its steps go.

    Args:
        view: What it is compiled against.
        parameters: Where the values of its filters go.
        may: Says what the client may do with a row; None where it may do anything.
    """

    view: Source
    parameters: Parameters
    may: May | None = None
    instances: list[Instance] = field(default_factory=list)
    aliases: dict[str, Instance] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    has_right_join: bool = False
    context: Instance = field(init=False)
    reads: dict[tuple[str, str], tuple[Table, Column]] = field(default_factory=dict)
    """The columns whose values the query uses."""

    @classmethod
    def of(cls, path: DataPath, view: Source, parameters: Parameters, may: May | None = None) -> Route:
        """Walk a path.

        Raises:
            ServiceError: Some name or literal in it is wrong.
        """
        route = cls(view, parameters, may)
        route.add(resolve_table(view.model, path.root.table), path.root.alias)
        for step in path.steps:
            match step:
                case FilterStep(tree):
                    route.conditions.append(filter_sql(tree, route.operand, parameters))
                case TableStep():
                    route.join_table(step)
                case LinkStep():
                    route.join_link(step)
                case ContextStep(alias):
                    route.reset(alias)
                case _:
                    assert_never(step)
        return route

    # ------------------------------------------------------------------------------------------ instances

    def add(self, table: Table, alias: str | None) -> Instance:
        """Bind a table as the context."""
        if alias is not None and alias in self.aliases:
            raise BadRequest(f"Alias {alias} bound more than once.")
        instance = Instance(table, f"t{len(self.instances)}")
        if not self.instances:
            self.sources.append(f"{self.view.source(table)} AS {instance.sql}")
        self.instances.append(instance)
        if alias is not None:
            self.aliases[alias] = instance
        self.context = instance
        return instance

    def reset(self, alias: str) -> None:
        """Make a bound instance the context."""
        if alias not in self.aliases:
            raise BadRequest(f"Context name {alias} is not a bound alias in entity path.")
        self.context = self.aliases[alias]

    def column(self, instance: Instance, column: Column) -> str:
        """A column of an instance in SQL."""
        self.reads[instance.table.rid, column.rid] = (instance.table, column)
        return f"{instance.sql}.{self.view.column(column)}"

    def base(self, name: Name) -> Instance:
        """The instance that a column's name belongs to.

        Raises:
            Conflict: It belongs to none that is bound.
        """
        if len(name.parts) == 1:
            return self.context
        if len(name.parts) == 2 and not name.absolute and name.parts[0] in self.aliases:
            return self.aliases[name.parts[0]]
        raise Conflict(f"Referenced column {render_name(name)} not bound in entity path.")

    def operand(self, name: Name) -> list[Operand]:
        """The column that a filter names; every column of the table for ``*``."""
        instance = self.base(name)
        if name.last == "*" and instance.table.column("*") is None:
            columns = instance.table.columns
        else:
            columns = (resolve_column(instance.table, name.last),)
        return [Operand(column, self.column(instance, column)) for column in columns]

    # ------------------------------------------------------------------------------------------ joins

    def join_table(self, step: TableStep) -> None:
        """Join a table along every foreign key between it and the context."""
        near, far = self.context, resolve_table(self.view.model, step.table)
        if far.qualified == near.table.qualified:
            raise Conflict(f"Ambiguous self-link for table :{far.schema}:{far.name}")
        links = [(fk.columns, fk.referenced_columns) for fk in near.table.references(far)]
        links += [(fk.referenced_columns, fk.columns) for fk in far.references(near.table)]
        if not links:
            names = f":{near.table.schema}:{near.table.name} and :{far.schema}:{far.name}"
            raise Conflict(f"No link found between tables {names}")
        self._join(near, far, links, None, step.alias)

    def join_link(self, step: LinkStep) -> None:
        """Join a table by the columns that a step names."""
        model = self.view.model
        if step.right is None:
            owner, columns = self._side(step.left)
            near = owner if isinstance(owner, Instance) else self.context
            links = self._outward(owner, columns) if isinstance(owner, Instance) else self._inward(owner, columns)
            if len(links) != 1:
                what = "No link" if not links else "Ambiguous links"
                raise Conflict(f"{what} found involving columns [{', '.join(column.name for column in columns)}]")
            far, pairs = links[0]
            self._join(near, far, [pairs], step.how, step.alias)
            return
        if len(step.left) != len(step.right):
            raise BadRequest("Left and right name lists in (left)=(right) link notation must be equal length.")
        left, near_columns = self._side(step.left)
        right, far_columns = self._side(step.right)
        if not isinstance(left, Instance):
            raise Conflict(f"Left names {_list(step.left)} must resolve to columns in entity path.")
        if isinstance(right, Instance):
            raise Conflict(f"Right names {_list(step.right)} must resolve to columns of a new table instance.")
        _check_comparable(near_columns, far_columns)
        pairs = (_names(near_columns), _names(far_columns))
        self._join(left, resolve_table(model, Name(right.qualified)), [pairs], step.how, step.alias)

    def _side(self, names: Sequence[Name]) -> tuple[Instance | Table, list[Column]]:
        """Where the columns of one side of a link are: in the path, or in a table of the model."""
        owner = self._owner(names[0])
        table = owner.table if isinstance(owner, Instance) else owner
        columns = []
        for name in names:
            # later names may be bare: then they belong to the table of the first one
            if len(name.parts) > 1 and self._owner(name) is not owner:
                raise Conflict("Linking columns must belong to the same table.")
            columns.append(resolve_column(table, name.last))
        return owner, columns

    def _owner(self, name: Name) -> Instance | Table:
        if len(name.parts) == 1:
            return self.context
        if len(name.parts) == 2 and not name.absolute and name.parts[0] in self.aliases:
            return self.aliases[name.parts[0]]
        return resolve_table(self.view.model, Name(name.parts[:-1]))

    def _outward(self, near: Instance, columns: list[Column]) -> list[tuple[Table, _Pairs]]:
        """Foreign keys that have these columns of the path at one end; the other end is the new table."""
        wanted = {column.name for column in columns}
        ends = [(fk.referenced_table, fk.columns, fk.referenced_columns) for fk in near.table.foreign_keys]
        referring = self.view.model.referenced_by(near.table)
        ends += [(fk.table, fk.referenced_columns, fk.columns) for fk in referring]
        found = [(_table(self.view, far), (ours, theirs)) for far, ours, theirs in ends if set(ours) == wanted]
        return [(far, pairs) for far, pairs in found if far is not None]

    def _inward(self, far: Table, columns: list[Column]) -> list[tuple[Table, _Pairs]]:
        """Foreign keys between these columns of a new table and the context."""
        wanted = {column.name for column in columns}
        near = self.context.table

        def between(fks: Sequence[ForeignKey], *, referring: bool) -> list[tuple[Table, _Pairs]]:
            ends = [(fk.columns, fk.referenced_columns) for fk in fks]
            pairs = [(theirs, ours) if referring else (ours, theirs) for ours, theirs in ends]
            return [(far, pair) for pair in pairs if set(pair[1]) == wanted]

        return between(far.references(near), referring=True) + between(near.references(far), referring=False)

    def _join(self, near: Instance, table: Table, links: Sequence[_Pairs], how: str | None, alias: str | None) -> None:
        if how in ("right", "full"):
            if sqlite3.sqlite_version_info < _OUTER_JOINS:
                raise ServiceError(501, f"A {how} join needs SQLite 3.39; this is {sqlite3.sqlite_version}.")
            for instance in self.instances:
                instance.nullable = True
            self.has_right_join = True
        far = self.add(table, alias)
        far.parent = near
        far.nullable = how in ("left", "full")
        if len(links) == 1:
            far.near, far.far = links[0]
        conditions = [
            joined("AND", [self._equal(near, a, far, b) for a, b in zip(*pairs, strict=True)]) for pairs in links
        ]
        condition = conditions[0] if len(conditions) == 1 else joined("OR", [f"({part})" for part in conditions])
        word = f"{how.upper()} JOIN" if how else "JOIN"
        self.sources.append(f"{word} {self.view.source(table)} AS {far.sql} ON {condition}")

    def _equal(self, near: Instance, near_name: str, far: Instance, far_name: str) -> str:
        sides = []
        for instance, name in ((near, near_name), (far, far_name)):
            column = resolve_column(instance.table, name)
            sides.append(level_sql(column.type, self.column(instance, column)))
        return f"{sides[0]} = {sides[1]}"

    # ------------------------------------------------------------------------------------------ multiplicity

    def repeats(self) -> bool:
        """Whether a row of the context can occur several times among the joined rows.

        Seen from the context, every other instance hangs on the one before it by a join. If none of these joins can
        find more than one row, because its columns there hold a whole key, the context's rows occur once.
        """
        if len(self.instances) == 1:
            return False
        if self.has_right_join or self.context.nullable:
            return True
        upwards = set()
        instance = self.context
        while instance.parent is not None:
            upwards.add(instance)
            instance = instance.parent
        return not all(
            _holds_key(one.parent.table, one.near) if one in upwards else _holds_key(one.table, one.far)
            for one in self.instances
            if one.parent is not None
        )

    def from_where(self) -> str:
        """The FROM and WHERE of the query."""
        text = "FROM " + " ".join(self.sources)
        if self.conditions:
            text += f" WHERE {joined('AND', [f'({condition})' for condition in self.conditions])}"
        return text


_Pairs = tuple[tuple[str, ...], tuple[str, ...]]
"""Columns of the nearer and of the farther table of a join, parallel."""


def _table(view: Source, name: tuple[str, str]) -> Table | None:
    schema = view.model.schemas.get(name[0])
    return schema.tables.get(name[1]) if schema is not None else None


def _holds_key(table: Table, columns: tuple[str, ...]) -> bool:
    return any(set(key.columns) <= set(columns) for key in table.keys)


def _names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


def _list(names: Sequence[Name]) -> str:
    return f"({','.join(map(render_name, names))})"


def _check_comparable(left: Sequence[Column], right: Sequence[Column]) -> None:
    for one, other in zip(left, right, strict=True):
        if family(one.type) is None or family(one.type) != family(other.type):
            raise Conflict(f"operator does not exist: {one.type.name} = {other.type.name}")
