"""How tables are joined into one: a plan, made from the model alone, so that catalog and bag agree.

1. A join starts at an element type that is in the list, and has one row for each member and each of its partners.
2. A way to another table may pass tables that are in the list or that it is to go by (``via``), and pure associations,
   which add no columns; ``joined_ways`` says which way is meant. If no way goes by a table of ``via``, the join starts
   there too, if it is an element type; else that is an error.
3. With ``row_per`` a row stands for a row of that table: each of them that members lead to has exactly one. Then the
   ways to all others start from it, and a table that may have several rows for one of its is refused.
4. Where a reference may be empty, a row without partner stays, with empty columns; else it is left out. Where there is
   no partner, what would be joined to the partner is not missed either.
5. A table that refers to datasets is entered for the dataset itself and those nested in it only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from deriva_ml.core.exceptions import (
    DerivaMLDenormalizeAmbiguousPath,
    DerivaMLDenormalizeDownstreamLeaf,
    DerivaMLDenormalizeError,
)
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.elements import Element, elements
from deriva_ml.dataset.joined_ways import Ground, Name, Way, way_between
from deriva_ml.schema.tables import is_association
from deriva_ml.wire.model import Column, ForeignKey, Model, Table

__all__ = ["Join", "Joins", "Output", "Plan", "Wanted", "outputs", "plan_joins"]

HIDDEN = frozenset({"RCT", "RMT", "RCB", "RMB"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be joined.

    Attributes:
        tables: The tables, in the order in which their columns shall stand.
        row_per: The table that a row stands for; None for one row for each member and each of its partners.
        via: Tables to go by, which add no columns.
    """

    tables: tuple[Table, ...]
    row_per: Table | None = None
    via: tuple[Table, ...] = ()


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

    @property
    def multiplies(self) -> bool:
        """A row of ``before`` may have several partners."""
        return self.table.key([theirs for _mine, theirs in self.on]) is None

    @property
    def merges(self) -> bool:
        """Several rows of ``before`` may have one partner."""
        return self.before.key([mine for mine, _theirs in self.on]) is None


@dataclass(frozen=True, slots=True)
class Output:
    """A column of the result."""

    name: str
    table: Table
    column: Column


@dataclass(frozen=True, slots=True)
class Plan:
    """The joins from one element type.

    Attributes:
        start: The element type.
        joins: The joins, in order.
        present: A row of the result has a row of one of these; where there are none here it always has one.
    """

    start: Element
    joins: tuple[Join, ...]
    present: tuple[Table, ...] = ()

    @property
    def tables(self) -> list[Table]:
        """The joined tables, in order."""
        return [self.start.table, *(join.table for join in self.joins)]

    def _chain(self, table: Table) -> list[Join]:
        """The joins that lead from the start to a table."""
        by_table = {join.table.qualified: join for join in self.joins}
        found: list[Join] = []
        while (join := by_table.get(table.qualified)) is not None:
            found.append(join)
            table = join.before
        return found[::-1]

    def route(self, one: Table, other: Table) -> tuple[tuple[Table, ...], bool]:
        """The tables from one joined table to another, and whether a row of the one has at most one of the other."""
        up, down = self._chain(one), self._chain(other)
        while up and down and up[0] == down[0]:
            up, down = up[1:], down[1:]
        tables = [one, *(join.before for join in reversed(up)), *(join.table for join in down)]
        single = not any(join.merges for join in up) and not any(join.multiplies for join in down)
        return tuple(tables), single


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


def plan_joins(model: Model, ml_schema: str, domain_schemas: Collection[str], wanted: Wanted) -> Joins:
    """What joining some tables means: one plan for each element type among them.

    Args:
        model: The model.
        ml_schema: Name of the ML schema.
        domain_schemas: The project's schemas.
        wanted: The tables.

    Raises:
        DerivaMLDenormalizeError: No table is an element type, the way between two tables is ambiguous or missing, or a
            row cannot stand for a row of ``row_per``.
    """
    listed = {table.qualified: table for table in wanted.tables}
    via = {table.qualified: table for table in wanted.via if table.qualified not in listed}
    known = elements(model, ml_schema, domain_schemas)
    starts = [known[name] for name in listed if name in known]
    if not starts and not any(name in known for name in via):
        raise DerivaMLDenormalizeError(
            f"No element type among the tables to join: {', '.join(table.name for table in wanted.tables) or 'none'}",
            allowed=sorted(element.table.name for element in known.values()),
            hint="include the table of the members",
        )
    planner = _Planner(Ground(model, ml_schema, domain_schemas), listed, via, _row_per(wanted))
    plans = tuple(planner.plan(element) for element in starts)
    plans += tuple(
        planner.plan(known[table.qualified]) for table in _not_passed(plans, via) if table.qualified in known
    )
    for table in _not_passed(plans, via):
        raise DerivaMLDenormalizeError(
            f"No way between the tables to join goes by {table.name}.",
            hint="leave it out of via; list_schema_paths() names the ways that there are",
        )
    if wanted.row_per is not None:
        _require_one_row(plans, wanted.row_per, planner.shown)
    chosen = list(listed.values())
    return Joins(tuple(chosen), plans, tuple(outputs(chosen, ml_schema)))


def _row_per(wanted: Wanted) -> Table | None:
    """The table that a row stands for, which must have columns in the result."""
    table = wanted.row_per
    names = [each.name for each in wanted.tables if not is_association(each)]
    if table is None or table.name in names:
        return table
    raise DerivaMLDenormalizeError(
        f"row_per={table.name} is not among the tables whose columns are joined.", allowed=nearest(table.name, names)
    )


def _not_passed(plans: Sequence[Plan], via: Mapping[Name, Table]) -> list[Table]:
    """The tables to go by that no way goes by."""
    passed = {table.qualified for plan in plans for table in plan.tables}
    return [table for name, table in via.items() if name not in passed]


def _require_one_row(plans: Sequence[Plan], row_per: Table, shown: Sequence[Table]) -> None:
    """Refuse tables that may have several rows for one of ``row_per``, or are reached by other ways from elsewhere."""
    ways: dict[Name, list[str]] = {}
    for plan in plans:
        for table in shown:
            tables, single = plan.route(row_per, table)
            if not single:
                raise DerivaMLDenormalizeDownstreamLeaf(table.name, row_per.name)
            names = [each.name for each in tables]
            if ways.setdefault(table.qualified, names) != names:
                raise DerivaMLDenormalizeAmbiguousPath(
                    row_per.name, table.name, [tuple(ways[table.qualified]), tuple(names)]
                )


# ---------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class _Planner:
    """Plans the joins from one element type after the other.

    Attributes:
        ground: The ways that there are.
        listed: The tables that are joined.
        via: The tables to go by.
        row_per: The table that a row stands for.
    """

    ground: Ground
    listed: dict[Name, Table]
    via: dict[Name, Table]
    row_per: Table | None

    @cached_property
    def shown(self) -> list[Table]:
        """The tables that have columns in the result."""
        return [table for table in self.listed.values() if not is_association(table)]

    def plan(self, start: Element) -> Plan:
        """The joins from one element type; with ``row_per`` to that table first, and from there to the others."""
        joins: dict[Name, Join] = {}
        centre = start.table
        if self.row_per is not None and self.row_per.qualified != centre.qualified:
            self._add(joins, start.table, centre, self._way(centre, self.row_per))
            centre = self.row_per
        ways = [self._way(centre, target) for target in self.shown if target.qualified != centre.qualified]
        # The shortest first: what a longer way passes is there already then.
        for way in sorted(ways, key=len):
            self._add(joins, start.table, centre, way)
        needed = self.shown if self.row_per is None else [self.row_per]
        present = () if start.table in needed else tuple(needed)
        return Plan(start, tuple(joins.values()), present)

    def _way(self, start: Table, target: Table) -> Way:
        return way_between(self.ground, start, target, self.listed, self.via)

    def _add(self, joins: dict[Name, Join], root: Table, start: Table, way: Way) -> None:
        for before, after in zip((start, *way), way, strict=False):
            if after.qualified not in joins and after.qualified != root.qualified:
                earlier = joins.get(before.qualified)
                uncertain = bool(earlier and earlier.is_outer)
                joins[after.qualified] = _join(self.ground, before, after, uncertain=uncertain)


def _join(ground: Ground, before: Table, after: Table, *, uncertain: bool) -> Join:
    out, back = before.references(after), after.references(before)
    if len(out) + len(back) != 1:
        columns = ["+".join(fkey.columns) for fkey in (*out, *back)]
        raise DerivaMLDenormalizeAmbiguousPath(before.name, after.name, [], columns=columns)
    fkey = (*out, *back)[0]
    pairs = tuple(zip(fkey.columns, fkey.referenced_columns, strict=True))
    on = pairs if out else tuple((referenced, referring) for referring, referenced in pairs)
    holders = _holders(ground, before, after)
    optional = not holders and _may_be_empty(before if out else after, fkey)
    return Join(before, after, on, optional, uncertain, holders)


def _holders(ground: Ground, before: Table, after: Table) -> tuple[str, ...]:
    """The columns of a table, entered from elsewhere, that refer to datasets."""
    if before.qualified == ground.dataset:
        return ()
    return tuple(fkey.columns[0] for fkey in after.references(ground.dataset) if len(fkey.columns) == 1)


def _may_be_empty(referring: Table, fkey: ForeignKey) -> bool:
    return any(column.nullok for column in referring.columns if column.name in fkey.columns)
