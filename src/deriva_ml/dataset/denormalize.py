"""How tables are joined into one: a plan, made from the model alone, so that catalog and bag agree.

1. A join starts at an element type that is in the list, and has one row for each member and each of its partners.
2. A way to another table may pass tables that are in the list, and pure associations, which add no columns.
3. Of several ways, that which passes other tables is meant; of several such, the longest, and of these that which
   passes most tables of the list. What follows references in their own direction only, and so gives each row one
   partner, goes before what turns round on the way. If that leaves more than one, or there is no way, it is an error
   that says what to add to the list.
4. Where a reference may be empty, a row without partner stays, with empty columns; else it is left out. Where there is
   no partner, what would be joined to the partner is not missed either.
5. A way leads where the walk leads that makes bags (``reach``): within the project's schemas and the ML schema; not on
   from ``Execution`` and ``Workflow``, nor from a vocabulary to anything but vocabularies, nor from a dataset that a
   member is in. A table that refers to datasets is entered for the dataset itself and those nested in it only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import human_size
from deriva_ml.dataset.elements import Element, dataset_table, elements, labels
from deriva_ml.schema.tables import is_asset, is_association, is_vocabulary
from deriva_ml.wire.model import Column, ForeignKey, Model, Table

__all__ = ["Join", "Joins", "Output", "Plan", "describe", "outputs", "plan_joins"]

Name = tuple[str, str]
Way = tuple[Table, ...]
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
        uncertain: ``before`` itself may be without a row here; nothing is missed then.
        holders: Columns of ``table`` that refer to datasets, one of which must be among those that are asked for.
    """

    before: Table
    table: Table
    on: tuple[tuple[str, str], ...]
    optional: bool
    uncertain: bool = False
    holders: tuple[str, ...] = ()

    @property
    def is_outer(self) -> bool:
        """Rows without partner may stay."""
        return self.optional or self.uncertain


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

    @property
    def tables(self) -> list[Table]:
        """The joined tables, in order."""
        return [self.start.table, *(join.table for join in self.joins)]


@dataclass(frozen=True)
class Joins:
    """What joining some tables means.

    Attributes:
        tables: The tables of the list.
        plans: One for each element type in the list.
        outputs: The columns of the result.
    """

    tables: tuple[Table, ...]
    plans: tuple[Plan, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def shown(self) -> list[Table]:
        """The tables that have columns in the result; their RIDs together tell its rows apart."""
        return [table for table in self.tables if not is_association(table)]


@dataclass(frozen=True)
class _Ground:
    """The ways that there are; rule 5."""

    model: Model
    ml_schema: str
    domain_schemas: Collection[str]

    @cached_property
    def dataset(self) -> Name:
        return dataset_table(self.model, self.ml_schema).qualified

    @cached_property
    def _ends(self) -> set[Name]:
        return {(self.ml_schema, MLTable.execution.value), (self.ml_schema, MLTable.workflow.value)}

    @cached_property
    def _closed(self) -> Name:
        return (self.ml_schema, MLTable.dataset_dataset.value)

    def onward(self, way: Way) -> Iterator[Table]:
        """The tables that a way, which begins with its start, can go on to."""
        at = way[-1]
        if at.qualified in self._ends or (len(way) > 1 and at.qualified == self.dataset):
            return
        passed = {table.qualified for table in way}
        for following in self._neighbours(at):
            if following.qualified not in passed and (is_vocabulary(following) or not is_vocabulary(at)):
                yield following

    def _neighbours(self, table: Table) -> Iterator[Table]:
        names = dict.fromkeys(
            [fkey.referenced_table for fkey in table.foreign_keys]
            + [fkey.table for fkey in self.model.referenced_by(table)]
        )
        for name in names:
            found = self.model.table(*name)
            inside = name[0] == self.ml_schema or name[0] in self.domain_schemas
            if found is not None and inside and name != self._closed:
                yield found

    def ways(self, start: Table, target: Table, may_pass: Callable[[Way], bool]) -> list[Way]:
        """The ways from one table to another, each as the tables after the start."""
        found: list[Way] = []
        front: list[Way] = [(start,)]
        while front:
            way = front.pop()
            for following in self.onward(way):
                longer = (*way, following)
                if following.qualified == target.qualified:
                    found.append(longer[1:])
                elif may_pass(longer[1:]):
                    front.append(longer)
        return sorted(found, key=lambda way: (len(way), [table.qualified for table in way]))


def outputs(tables: Sequence[Table], ml_schema: str) -> list[Output]:
    """The columns of the result: ``Table.Column``, with the schema where tables of several project schemas are joined.

    Args:
        tables: The tables, in the order in which their columns shall stand.
        ml_schema: Name of the ML schema.
    """
    shown = [table for table in tables if not is_association(table)]
    several = len({table.schema for table in shown} - {ml_schema}) > 1
    names = Counter(table.name for table in shown)
    return [
        Output(f"{table.schema}.{base}" if several or names[table.name] > 1 else base, table, column)
        for table in shown
        for column in table.columns
        if column.name not in HIDDEN
        for base in [f"{table.name}.{column.name}"]
    ]


def plan_joins(model: Model, ml_schema: str, domain_schemas: Collection[str], tables: Sequence[Table]) -> Joins:
    """What joining some tables means: one plan for each element type among them.

    Args:
        model: The model.
        ml_schema: Name of the ML schema.
        domain_schemas: The project's schemas.
        tables: The tables, in the order in which their columns shall stand.

    Raises:
        DerivaMLDataError: No table is an element type, or the way between two tables is ambiguous or missing.
    """
    listed = {table.qualified: table for table in tables}
    known = elements(model, ml_schema, domain_schemas)
    starts = [known[name] for name in listed if name in known]
    if not starts:
        raise DerivaMLDataError(
            f"No element type among the tables to join: {', '.join(table.name for table in tables) or 'none'}",
            allowed=sorted(element.table.name for element in known.values()),
            hint="include the table of the members",
        )
    ground = _Ground(model, ml_schema, domain_schemas)
    plans = tuple(_plan(ground, element, listed) for element in starts)
    chosen = list(listed.values())
    return Joins(tuple(chosen), plans, tuple(outputs(chosen, ml_schema)))


def describe(joins: Joins, count: Callable[[Table], tuple[int, int]]) -> dict[str, Any]:
    """What a join reads: its columns, the order of its tables, and how large these are.

    Args:
        joins: The join.
        count: Gives the number of a table's rows, and the bytes of its files.
    """
    passed = {table.qualified: table for plan in joins.plans for table in plan.tables}
    names = labels(passed.values())
    sizes: dict[str, dict[str, Any]] = {}
    for name, table in passed.items():
        rows, size = count(table)
        sizes[names[name]] = {"row_count": rows, "is_asset": is_asset(table), "asset_bytes": size}
    size = sum(each["asset_bytes"] for each in sizes.values())
    return {
        "columns": [(each.name, each.column.type.name) for each in joins.outputs],
        "join_path": list(names.values()),
        "tables": sizes,
        "total_rows": sum(each["row_count"] for each in sizes.values()),
        "total_asset_bytes": size,
        "total_asset_size": human_size(size),
    }


# ---------------------------------------------------------------------------------------------- the way


def _plan(ground: _Ground, start: Element, listed: dict[Name, Table]) -> Plan:
    joins: dict[Name, Join] = {}
    ways = [
        _way(ground, start.table, target, listed)
        for target in listed.values()
        if target.qualified != start.table.qualified and not is_association(target)
    ]
    # The shortest first: what a longer way passes is there already then.
    for way in sorted(ways, key=len):
        for before, after in zip((start.table, *way), way, strict=False):
            if after.qualified not in joins:
                earlier = joins.get(before.qualified)
                joins[after.qualified] = _join(ground, before, after, uncertain=bool(earlier and earlier.is_outer))
    return Plan(start, tuple(joins.values()))


def _way(ground: _Ground, start: Table, target: Table, listed: Collection[Name]) -> Way:
    """The way that is meant; see rule 3."""

    def may_pass(way: Way) -> bool:
        last = way[-1]
        return last.qualified in listed or (is_association(last) and len(way) <= len(listed) + _LONGEST)

    ways = ground.ways(start, target, may_pass)
    if not ways:
        raise _no_way(ground, start, target)
    straight = [way for way in ways if _is_straight(start, way)]
    if straight:
        ways = [way for way in ways if way in straight or any(is_association(table) for table in way)]
    if len(ways) == 1:
        return ways[0]
    best = max(_rank(way, listed) for way in ways)
    meant = [way for way in ways if _rank(way, listed) == best]
    if len(meant) > 1:
        raise _ambiguous(start, target, meant)
    return meant[0]


def _rank(way: Way, listed: Collection[Name]) -> tuple[int, int]:
    return len(way), sum(table.qualified in listed for table in way[:-1])


def _is_straight(start: Table, way: Way) -> bool:
    """Whether each step follows a reference in its own direction."""
    return all(before.references(after) for before, after in zip((start, *way), way, strict=False))


def _no_way(ground: _Ground, start: Table, target: Table) -> DerivaMLDataError:
    ways = ground.ways(start, target, lambda way: len(way) < _LONGEST)
    if not ways:
        return DerivaMLDataError(
            f"No FK relationship found between {start.name} and {target.name}.",
            hint="no chain of references leads there that does not pass Execution, a vocabulary or another dataset",
        )
    return _ambiguous(start, target, ways)


def _ambiguous(start: Table, target: Table, ways: Sequence[Way]) -> DerivaMLDataError:
    named = [" -> ".join([start.name, *(table.name for table in way)]) for way in ways]
    between = sorted({table.name for way in ways for table in way[:-1]})
    return DerivaMLDataError(
        f"Ambiguous path between {start.name} and {target.name}: found {len(ways)} FK paths: {'; '.join(named)}.",
        hint="Include an intermediate table to disambiguate"
        + (f" (e.g., add {between[0]} to include_tables)." if between else "."),
    )


def _join(ground: _Ground, before: Table, after: Table, *, uncertain: bool) -> Join:
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
    holders = _holders(ground, before, after)
    optional = not holders and _may_be_empty(before if out else after, fkey)
    return Join(before, after, on, optional, uncertain, holders)


def _holders(ground: _Ground, before: Table, after: Table) -> tuple[str, ...]:
    """The columns of a table, entered from elsewhere, that refer to datasets."""
    if before.qualified == ground.dataset:
        return ()
    return tuple(fkey.columns[0] for fkey in after.references(ground.dataset) if len(fkey.columns) == 1)


def _may_be_empty(referring: Table, fkey: ForeignKey) -> bool:
    return any(column.nullok for column in referring.columns if column.name in fkey.columns)
