"""A join, planned by ``denormalize``, as the SQL of a bag's own database; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deriva_ml.dataset.denormalize import Join, Joins, Plan
from deriva_ml.dataset.elements import Element
from deriva_ml.wire.model import Table

__all__ = ["joined_sql", "members_sql", "quoted", "sql_name"]

HOLDERS = "(SELECT value FROM json_each(?1))"
"""The datasets whose members are meant; their RIDs are bound once, as a JSON list."""

Source = Callable[[Table], str]
"""Gives what stands for a table after ``FROM``."""


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def sql_name(table: Table) -> str:
    """A table's name in the database, quoted."""
    return quoted(f"{table.schema}:{table.name}")


def members_sql(element: Element) -> str:
    """A query for the members of one kind of some datasets, whose RIDs are its first parameter, a JSON list."""
    return (
        f"SELECT {quoted(element.member)} FROM {sql_name(element.association)} "
        f"WHERE {quoted(element.holder)} IN {HOLDERS}"
    )


def joined_sql(joins: Joins, plans: Sequence[Plan], source: Source) -> str:
    """The query for the rows of a join, each once, in the order of the RIDs of its tables.

    Args:
        joins: The join.
        plans: Those of its plans that have members here.
        source: Gives what stands for a table after ``FROM``.
    """
    # If every table has its RID in the result, its rows differ anyway.
    distinct = len(plans) == 1 and {t.qualified for t in plans[0].tables} != {t.qualified for t in joins.shown}
    keys = [str(at) for at, each in enumerate(joins.outputs, start=1) if each.column.name == "RID"]
    return " UNION ".join(_select(joins, plan, source, distinct=distinct) for plan in plans) + (
        f" ORDER BY {', '.join(keys)}"
    )


def _column(table: Table, name: str) -> str:
    return f"{sql_name(table)}.{quoted(name)}"


def _select(joins: Joins, plan: Plan, source: Source, *, distinct: bool) -> str:
    start = plan.start
    chosen = ", ".join(_column(each.table, each.column.name) for each in joins.outputs)
    conditions = [f"{_column(start.table, start.key)} IN ({members_sql(start)})"]
    for join in plan.joins:
        conditions += _conditions(join)
    if plan.present:
        there = [f"{_column(table, 'RID')} IS NOT NULL" for table in plan.present]
        conditions.append(f"({' OR '.join(there)})")
    return " ".join(
        [
            f"SELECT {'DISTINCT ' if distinct else ''}{chosen} FROM {source(start.table)} AS {sql_name(start.table)}",
            *(_joined(join, source) for join in plan.joins),
            f"WHERE {' AND '.join(conditions)}",
        ]
    )


def _joined(join: Join, source: Source) -> str:
    on = " AND ".join(f"{_column(join.before, mine)} = {_column(join.table, theirs)}" for mine, theirs in join.on)
    return f"{'LEFT ' if join.is_outer else ''}JOIN {source(join.table)} AS {sql_name(join.table)} ON {on}"


def _conditions(join: Join) -> list[str]:
    """What must hold of a row beside that the joined columns are equal."""
    needed = [f"({' OR '.join(f'{_column(join.table, name)} IN {HOLDERS}' for name in join.holders)})"] * bool(
        join.holders
    )
    if not join.uncertain:
        return needed
    if not join.optional and not needed:
        needed = [f"{_column(join.table, 'RID')} IS NOT NULL"]
    return [f"({_column(join.before, 'RID')} IS NULL OR {condition})" for condition in needed]
