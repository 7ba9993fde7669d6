"""Data paths, made step by step: what every client writes its requests with; no I/O.

    path = table("deriva-ml", "Execution").where(eq("Workflow", rid)).link("deriva-ml", "Dataset_Execution",
        on=[("RID", "Execution")], alias="DE").context("Execution").sorted("RCT", desc=True).limited(10)
    path.entity()   # /entity/Execution:=deriva-ml:Execution/Workflow=.../DE:=(RID)=(...)/$Execution@sort(...)?limit=10

Everything is immutable: each step gives a new path. Names and values are percent-encoded here and nowhere else.
A column is its name in the context table, or a pair of an alias and a name, or what ``col`` makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Literal, TypeAlias

from deriva_ml.core.values import dataclass
from deriva_ml.wire.parse import Segment, Target, parse_path, parse_target
from deriva_ml.wire.scan import PathSyntaxError
from deriva_ml.wire.syntax import (
    Bin,
    Call,
    Comparison,
    Conjunction,
    ContextStep,
    DataPath,
    Disjunction,
    Expression,
    Filter,
    FilterStep,
    Item,
    Kind,
    LinkStep,
    Name,
    Negation,
    SortKey,
    Step,
    TableStep,
    encode,
    render,
)

__all__ = [
    "ColumnLike",
    "ItemLike",
    "Path",
    "PathSyntaxError",
    "Segment",
    "Target",
    "Value",
    "all_of_",
    "any_of",
    "array",
    "array_d",
    "avg",
    "bins",
    "both",
    "ciregexp",
    "cnt",
    "cnt_d",
    "col",
    "count",
    "either",
    "encode",
    "eq",
    "geq",
    "gt",
    "is_null",
    "leq",
    "lt",
    "max_",
    "min_",
    "negate",
    "not_null",
    "parse_path",
    "parse_target",
    "regexp",
    "render",
    "sum_",
    "table",
]

ColumnLike: TypeAlias = str | tuple[str, str] | Name
"""A column of the context, a pair of an alias and a column, or a name as ``col`` makes it."""

Value: TypeAlias = str | int | float | bool | date
"""What a literal is made from; a ``datetime`` is a ``date`` too."""

ItemLike: TypeAlias = ColumnLike | Call | Bin
"""A member of a projection."""


def table(schema: str, name: str, *, alias: str | None = None) -> Path:
    """A path from the rows of one table; its alias is the table's name unless another is given."""
    return Path(TableStep(Name((schema, name)), name if alias is None else alias))


def col(*parts: str) -> Name:
    """A column's name: the column; an alias and the column; a schema, a table and the column.

    Raises:
        ValueError: There are none or more than three parts, or one is empty.
    """
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f"not a column's name: {parts!r}")
    return Name(parts)


def _name(column: ColumnLike) -> Name:
    if isinstance(column, Name):
        return column
    return col(column) if isinstance(column, str) else col(*column)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


# ---------------------------------------------------------------------------------------------- filters


def eq(column: ColumnLike, value: Value) -> Filter:
    """The column equals the value; an array column contains it."""
    return Comparison(_name(column), "=", (_text(value),))


def lt(column: ColumnLike, value: Value) -> Filter:
    """The column is less than the value."""
    return Comparison(_name(column), "lt", (_text(value),))


def leq(column: ColumnLike, value: Value) -> Filter:
    """The column is less than or equal to the value."""
    return Comparison(_name(column), "leq", (_text(value),))


def gt(column: ColumnLike, value: Value) -> Filter:
    """The column is greater than the value."""
    return Comparison(_name(column), "gt", (_text(value),))


def geq(column: ColumnLike, value: Value) -> Filter:
    """The column is greater than or equal to the value."""
    return Comparison(_name(column), "geq", (_text(value),))


def is_null(column: ColumnLike) -> Filter:
    """The column holds no value."""
    return Comparison(_name(column), "null")


def not_null(column: ColumnLike) -> Filter:
    """The column holds a value."""
    return negate(is_null(column))


def regexp(column: ColumnLike, pattern: str) -> Filter:
    """Some part of the column's text matches; ``*`` stands for any column."""
    return Comparison(_name(column), "regexp", (pattern,))


def ciregexp(column: ColumnLike, pattern: str) -> Filter:
    """Like ``regexp``, without regard to case."""
    return Comparison(_name(column), "ciregexp", (pattern,))


def any_of(column: ColumnLike, values: Iterable[Value]) -> Filter:
    """The column equals one of the values; an array column contains one of them.

    Raises:
        ValueError: There are no values: that cannot be written.
    """
    return _listed(column, "any", values)


def all_of_(column: ColumnLike, values: Iterable[Value]) -> Filter:
    """The array column contains every one of the values.

    Raises:
        ValueError: There are no values: that cannot be written.
    """
    return _listed(column, "all", values)


def _listed(column: ColumnLike, quantifier: Literal["any", "all"], values: Iterable[Value]) -> Filter:
    texts = tuple(map(_text, values))
    if not texts:
        raise ValueError(f"no values to compare {column!r} with")
    return Comparison(_name(column), "=", texts, quantifier)


def both(*filters: Filter) -> Filter:
    """All of the filters hold."""
    return filters[0] if len(filters) == 1 else Conjunction(_several(filters))


def either(*filters: Filter) -> Filter:
    """Some of the filters hold."""
    return filters[0] if len(filters) == 1 else Disjunction(_several(filters))


def _several(filters: tuple[Filter, ...]) -> tuple[Filter, ...]:
    if not filters:
        raise ValueError("no filters to join")
    return filters


def negate(tree: Filter) -> Filter:
    """The filter does not hold (nor is it undecided, as a comparison with null is)."""
    return Negation(tree)


# ---------------------------------------------------------------------------------------------- aggregates


def cnt(column: ColumnLike) -> Call:
    """How many values are not null; how many rows, of ``*``."""
    return Call("cnt", _name(column))


count = cnt


def cnt_d(column: ColumnLike) -> Call:
    """How many different values are not null."""
    return Call("cnt_d", _name(column))


def min_(column: ColumnLike) -> Call:
    """The least value."""
    return Call("min", _name(column))


def max_(column: ColumnLike) -> Call:
    """The greatest value."""
    return Call("max", _name(column))


def avg(column: ColumnLike) -> Call:
    """The mean."""
    return Call("avg", _name(column))


def sum_(column: ColumnLike) -> Call:
    """The sum."""
    return Call("sum", _name(column))


def array(column: ColumnLike) -> Call:
    """A list of all values, nulls included; of whole rows, of ``*``."""
    return Call("array", _name(column))


def array_d(column: ColumnLike) -> Call:
    """A list of the different values, in order."""
    return Call("array_d", _name(column))


def bins(column: ColumnLike, number: int, low: Value, high: Value) -> Bin:
    """Which of ``number`` equal bins between two values a value falls into."""
    return Bin(_name(column), str(number), _text(low), _text(high))


# ---------------------------------------------------------------------------------------------- paths


def _item(expression: ItemLike, name: str | None = None) -> Item:
    made: Expression = expression if isinstance(expression, Call | Bin) else _name(expression)
    return Item(made, name)


@dataclass(frozen=True, slots=True)
class Path:
    """A path of joins and filters, without what is made of its rows; begun by ``table``.

    Attributes:
        root: The table it starts from.
        steps: Joins, filters and resets of the context.
        sort: Sort keys.
        after_key: Page key: rows after it.
        before_key: Page key: rows before it.
        limit: At most so many rows.
    """

    root: TableStep
    steps: tuple[Step, ...] = ()
    sort: tuple[SortKey, ...] = ()
    after_key: tuple[str | None, ...] | None = None
    before_key: tuple[str | None, ...] | None = None
    limit: int | None = None

    def where(self, *filters: Filter) -> Path:
        """Keep the rows for which all of these filters hold."""
        return replace(self, steps=(*self.steps, *map(FilterStep, filters)))

    def link(
        self,
        schema: str,
        name: str,
        *,
        on: Sequence[tuple[ColumnLike, str]] | None = None,
        alias: str | None = None,
        how: Literal["left", "right", "full"] | None = None,
    ) -> Path:
        """Join another table and make it the context.

        Args:
            schema: The table's schema.
            name: The table.
            on: Pairs of a column of the path and a column of the new table that must be equal; without it the
                catalog joins along the foreign keys between the context and the new table.
            alias: A name for the new table in the rest of the path.
            how: An outer join; needs ``on``.

        Raises:
            ValueError: An outer join without ``on``, or ``on`` without any pair.
        """
        if on is None:
            if how is not None:
                raise ValueError(f"a {how} join of {schema}:{name} needs the columns to join on")
            return replace(self, steps=(*self.steps, TableStep(Name((schema, name)), alias)))
        if not on:
            raise ValueError(f"no columns to join {schema}:{name} on")
        left = tuple(_name(mine) for mine, _ in on)
        right = tuple(Name((schema, name, theirs)) for _, theirs in on)
        return replace(self, steps=(*self.steps, LinkStep(left, right, how, alias)))

    def context(self, alias: str) -> Path:
        """Make an earlier table the context again."""
        return replace(self, steps=(*self.steps, ContextStep(alias)))

    def sorted(self, column: str, *, desc: bool = False) -> Path:
        """Sort by an output column, after the keys there are already."""
        return replace(self, sort=(*self.sort, SortKey(column, desc)))

    def limited(self, limit: int) -> Path:
        """Give at most so many rows."""
        return replace(self, limit=limit)

    def after(self, *values: Value | None) -> Path:
        """Give the rows strictly after this page key: one value for each sort key, None for a null."""
        return replace(self, after_key=tuple(None if value is None else _text(value) for value in values))

    def before(self, *values: Value | None) -> Path:
        """Give the rows strictly before this page key."""
        return replace(self, before_key=tuple(None if value is None else _text(value) for value in values))

    def entity(self) -> str:
        """The text of the request for the rows of the context table."""
        return render(self.data("entity"))

    def attributes(self, *columns: ItemLike, **named: ItemLike) -> str:
        """The text of the request for some columns of the rows; those given by keyword are called by it."""
        return render(self.data("attribute", [*map(_item, columns), *_named(named)]))

    def aggregate(self, **aggregates: Call) -> str:
        """The text of the request for aggregates over all rows; there is one answer, so the order is left out."""
        unordered = replace(self, sort=(), after_key=None, before_key=None, limit=None)
        return render(unordered.data("aggregate", _named(aggregates)))

    def attributegroup(self, keys: Sequence[ItemLike], **aggregates: ItemLike) -> str:
        """The text of the request for one row for each combination of the keys' values."""
        return render(self.data("attributegroup", list(map(_item, keys)), _named(aggregates)))

    def data(self, kind: Kind, projection: Sequence[Item] = (), aggregates: Sequence[Item] = ()) -> DataPath:
        """The whole path as a tree."""
        return DataPath(
            kind,
            self.root,
            self.steps,
            tuple(projection),
            tuple(aggregates),
            self.sort,
            self.after_key,
            self.before_key,
            self.limit,
        )


def _named(items: dict[str, ItemLike] | dict[str, Call]) -> list[Item]:
    return [_item(expression, name) for name, expression in items.items()]
