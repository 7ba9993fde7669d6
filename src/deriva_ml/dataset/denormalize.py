"""How tables are joined into one: a plan, made from the model alone.

1. A join starts at an element type that is in the list, and has one row for each member and each of its partners.
2. A way to another table may pass tables that are in the list, and pure associations, which add no columns.
3. Of several ways, that which passes tables of the list is meant; of several such, the longest. If that leaves more
   than one, or there is no way, it is an error that says what to add to the list.
4. Where a reference may be empty, a row without partner stays, with empty columns; else it is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.dataset.elements import Element
from deriva_ml.schema.tables import is_association, is_vocabulary
from deriva_ml.wire.model import Column, ForeignKey, Model, Table

__all__ = ["Join", "Output", "Plan", "plan_joins"]

Name = tuple[str, str]
HIDDEN = frozenset({"RCT", "RMT", "RCB", "RMB"})
_LONGEST = 4
"""Ways of at most so many steps are named in errors."""


@dataclass(frozen=True, slots=True)
class Join:
    """One step: ``table`` is joined to ``before``.

    Attributes:
        before: The table that is there already.
        table: The table that is joined.
        on: Pairs of a column of ``before`` and one of ``table`` that are equal.
        optional: A row without partner stays.
    """

    before: Table
    table: Table
    on: tuple[tuple[str, str], ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Output:
    """A column of the result."""

    name: str
    table: Table
    column: Column


@dataclass(frozen=True, slots=True)
class Plan:
    """The joins from one element type."""

    start: Element
    joins: tuple[Join, ...]


def outputs(tables: Sequence[Table]) -> list[Output]:
    """The columns of the result: ``Table.Column``, with the schema where tables of several schemas are joined."""
    shown = [table for table in tables if not is_association(table)]
    several = len({table.schema for table in shown if not is_vocabulary(table)}) > 1
    return [
        Output(
            f"{table.schema}.{table.name}.{column.name}" if several else f"{table.name}.{column.name}", table, column
        )
        for table in shown
        for column in table.columns
        if column.name not in HIDDEN
    ]


def plan_joins(model: Model, elements: Collection[Element], tables: Sequence[Table]) -> list[Plan]:
    """The joins of some tables: one plan for each element type among them.

    Args:
        model: The model.
        elements: The element types.
        tables: The tables, in the order in which their columns shall stand.

    Raises:
        DerivaMLDataError: No table is an element type, or the way between two tables is ambiguous or missing.
    """
    listed = {table.qualified: table for table in tables}
    starts = [element for element in elements if element.table.qualified in listed]
    if not starts:
        raise DerivaMLDataError(
            f"No element type among the tables to join: {', '.join(table.name for table in tables)}",
            allowed=sorted(element.table.name for element in elements),
            hint="include the table of the members",
        )
    starts.sort(key=lambda element: list(listed).index(element.table.qualified))
    return [_plan(model, element, listed) for element in starts]


def _plan(model: Model, start: Element, listed: dict[Name, Table]) -> Plan:
    joined = {start.table.qualified}
    joins: list[Join] = []
    ways = [
        _way(model, start.table, target, listed)
        for target in listed.values()
        if target.qualified != start.table.qualified and not is_association(target)
    ]
    # The shortest first: what a longer way passes is there already then.
    for way in sorted(ways, key=len):
        for before, after in zip((start.table, *way), way, strict=False):
            if after.qualified not in joined:
                joined.add(after.qualified)
                joins.append(_join(before, after))
    return Plan(start, tuple(joins))


def _neighbours(model: Model, table: Table) -> Iterator[Table]:
    names = dict.fromkeys(
        [fkey.referenced_table for fkey in table.foreign_keys] + [fkey.table for fkey in model.referenced_by(table)]
    )
    for name in names:
        found = model.table(*name)
        if found is not None and name != table.qualified:
            yield found


def _ways(model: Model, start: Table, target: Table, may_pass: Collection[Name] | None) -> list[tuple[Table, ...]]:
    """The ways from one table to another, each as the tables after the start; of any tables only short ways."""
    found: list[tuple[Table, ...]] = []
    front: list[tuple[Table, ...]] = [()]
    while front:
        way = front.pop()
        at = way[-1] if way else start
        for following in _neighbours(model, at):
            longer = (*way, following)
            if following.qualified == target.qualified:
                found.append(longer)
            elif _is_new(following, (start, *way)) and _passable(longer, may_pass):
                front.append(longer)
    return sorted(found, key=lambda way: (len(way), [table.qualified for table in way]))


def _is_new(table: Table, way: Sequence[Table]) -> bool:
    return all(table.qualified != passed.qualified for passed in way)


def _passable(way: tuple[Table, ...], may_pass: Collection[Name] | None) -> bool:
    last = way[-1]
    if may_pass is not None:
        return last.qualified in may_pass or (is_association(last) and len(way) <= len(may_pass) + _LONGEST)
    return not is_vocabulary(last) and len(way) < _LONGEST


def _way(model: Model, start: Table, target: Table, listed: Collection[Name]) -> tuple[Table, ...]:
    """The way that is meant; see rule 3."""
    ways = [way for way in _ways(model, start, target, listed) if _leads(way, listed)]
    if not ways:
        raise _no_way(model, start, target)
    longest = [way for way in ways if len(_listed(way, listed)) == max(len(_listed(each, listed)) for each in ways)]
    shortest = [way for way in longest if len(way) == min(len(each) for each in longest)]
    if len(shortest) > 1:
        raise _ambiguous(start, target, shortest)
    return shortest[0]


def _listed(way: tuple[Table, ...], listed: Collection[Name]) -> list[Table]:
    return [table for table in way[:-1] if table.qualified in listed]


def _leads(way: tuple[Table, ...], listed: Collection[Name]) -> bool:
    """Whether the way says something: two terms or two members of one dataset are not related by that alone."""
    return all(table.qualified in listed or not is_vocabulary(table) for table in way[:-1])


def _no_way(model: Model, start: Table, target: Table) -> DerivaMLDataError:
    ways = _ways(model, start, target, None)
    if not ways:
        return DerivaMLDataError(f"No FK relationship found between {start.name} and {target.name}.")
    return _ambiguous(start, target, ways)


def _ambiguous(start: Table, target: Table, ways: Sequence[tuple[Table, ...]]) -> DerivaMLDataError:
    named = [" -> ".join([start.name, *(table.name for table in way)]) for way in ways]
    between = sorted({table.name for way in ways for table in way[:-1]})
    return DerivaMLDataError(
        f"Ambiguous path between {start.name} and {target.name}: found {len(ways)} FK paths: {'; '.join(named)}.",
        hint="Include an intermediate table to disambiguate"
        + (f" (e.g., add {between[0]} to include_tables)." if between else "."),
    )


def _join(before: Table, after: Table) -> Join:
    out, back = before.references(after), after.references(before)
    if len(out) + len(back) != 1:
        named = ", ".join("+".join(fkey.columns) for fkey in (*out, *back))
        raise DerivaMLDataError(
            f"Ambiguous linkage between {before.name} and {after.name}: "
            f"found {len(out) + len(back)} FK relationships: {named}."
        )
    fkey = (*out, *back)[0]
    pairs = tuple(zip(fkey.columns, fkey.referenced_columns, strict=True))
    on = pairs if out else tuple((referenced, referring) for referring, referenced in pairs)
    return Join(before, after, on, _may_be_empty(before if out else after, fkey))


def _may_be_empty(referring: Table, fkey: ForeignKey) -> bool:
    return any(column.nullok for column in referring.columns if column.name in fkey.columns)
