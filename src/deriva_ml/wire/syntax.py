"""The tree of an ERMrest data path, and its text; no I/O.

A data path is ``kind / root / step / ... [/ projection] [@sort(...) [@after(...)] [@before(...)]] [?limit=n]``.
The tree keeps names and values decoded; ``render`` encodes them again, so that ``parse(render(tree)) == tree``.
Source: the protocol specification, section A2.
"""

from __future__ import annotations

from types import UnionType
from typing import Literal, TypeAlias
from urllib.parse import quote

from deriva_ml.core.values import dataclass

__all__ = [
    "COMPARISONS",
    "FUNCTIONS",
    "RIGHTS",
    "Bin",
    "Call",
    "Comparison",
    "Conjunction",
    "ContextStep",
    "DataPath",
    "Disjunction",
    "Expression",
    "Filter",
    "FilterStep",
    "Item",
    "Kind",
    "LinkStep",
    "Name",
    "Negation",
    "SortKey",
    "Step",
    "TableStep",
    "encode",
    "render",
    "render_expression",
    "render_filter",
    "render_name",
]

Kind = Literal["entity", "attribute", "attributegroup", "aggregate"]

COMPARISONS = frozenset({"=", "gt", "geq", "lt", "leq", "regexp", "ciregexp", "ts"})
"""Operators with a value on the right; ``null`` is the one without."""

FUNCTIONS = frozenset({"min", "max", "avg", "sum", "cnt", "cnt_d", "array", "array_d"})
"""Aggregate functions."""

RIGHTS = frozenset({"trs", "tcrs"})
"""Summaries of what the client may do with a row; written like aggregate functions."""


@dataclass(frozen=True, slots=True)
class Name:
    """A table's name ([schema,] table) or a column's ([alias, or table, or schema and table,] column).

    Attributes:
        parts: The decoded parts.
        absolute: It was written with a colon before it, hence its first part is never an alias.
    """

    parts: tuple[str, ...]
    absolute: bool = False

    @property
    def last(self) -> str:
        """The last part: the table's or the column's own name."""
        return self.parts[-1]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A test of one column.

    Attributes:
        column: The column, or ``*`` for any column of the table.
        operator: ``=``, ``null``, or a word of ``COMPARISONS``.
        values: What it is compared with: one value; none for ``null``; any number with a quantifier.
        quantifier: ``any`` or ``all`` in front of a list of values.
    """

    column: Name
    operator: str
    values: tuple[str, ...] = ()
    quantifier: Literal["any", "all"] | None = None


@dataclass(frozen=True, slots=True)
class Negation:
    """What its operand is not."""

    operand: Filter


@dataclass(frozen=True, slots=True)
class Conjunction:
    """All of two or more filters."""

    operands: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Any of two or more filters."""

    operands: tuple[Filter, ...]


Filter: TypeAlias = Comparison | Negation | Conjunction | Disjunction


@dataclass(frozen=True, slots=True)
class TableStep:
    """A table: the root of a path, or joined by whatever foreign keys there are."""

    table: Name
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class LinkStep:
    """A join named by columns.

    Attributes:
        left: Columns of one side of a foreign key, or the left side of an explicit join.
        right: The right side of an explicit join, or None where the foreign key is inferred from ``left``.
        how: An outer join, or None for an inner one.
        alias: The alias of the new instance.
    """

    left: tuple[Name, ...]
    right: tuple[Name, ...] | None = None
    how: Literal["left", "right", "full"] | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class FilterStep:
    """A filter over the rows so far."""

    filter: Filter


@dataclass(frozen=True, slots=True)
class ContextStep:
    """``$alias``: an earlier instance becomes the context again."""

    alias: str


Step: TypeAlias = TableStep | LinkStep | FilterStep | ContextStep


@dataclass(frozen=True, slots=True)
class Call:
    """An aggregate function, or ``trs``/``tcrs``, of a column."""

    function: str
    column: Name


@dataclass(frozen=True, slots=True)
class Bin:
    """``bin(column;count;low;high)``: the bin that a value falls into."""

    column: Name
    count: str
    low: str
    high: str


Expression: TypeAlias = Name | Call | Bin


@dataclass(frozen=True, slots=True)
class Item:
    """One member of a projection; ``name`` is what the output calls it, where that was given."""

    expression: Expression
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SortKey:
    """An output column to sort by."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class DataPath:
    """A whole data path.

    Attributes:
        kind: What is made of the rows.
        root: The table that the path starts from.
        steps: Joins, filters and resets of the context, in order.
        projection: Columns of ``attribute``, group keys of ``attributegroup``, aggregates of ``aggregate``.
        aggregates: What ``attributegroup`` has after the semicolon.
        sort: Sort keys.
        after: Page key: rows strictly after it; None in it stands for a null.
        before: Page key: rows strictly before it.
        limit: At most so many rows.
    """

    kind: Kind
    root: TableStep
    steps: tuple[Step, ...] = ()
    projection: tuple[Item, ...] = ()
    aggregates: tuple[Item, ...] = ()
    sort: tuple[SortKey, ...] = ()
    after: tuple[str | None, ...] | None = None
    before: tuple[str | None, ...] | None = None
    limit: int | None = None


# ---------------------------------------------------------------------------------------------- tree to text


def encode(text: str) -> str:
    """Percent-encode a name or value so that none of its characters is taken for punctuation."""
    return quote(text, safe="*")


def render(path: DataPath) -> str:
    """The text of a data path, from its first slash on, relative to the catalog: ``/entity/A:=S:A/x=1?limit=2``."""
    segments = ["", path.kind, _step(path.root), *map(_step, path.steps)]
    if path.projection or path.aggregates:
        projection = ",".join(map(_item, path.projection))
        if path.aggregates:
            projection += ";" + ",".join(map(_item, path.aggregates))
        segments.append(projection)
    text = "/".join(segments)
    if path.sort:
        text += f"@sort({','.join(encode(key.name) + ('::desc::' if key.descending else '') for key in path.sort)})"
    if path.after is not None:
        text += f"@after({_page_key(path.after)})"
    if path.before is not None:
        text += f"@before({_page_key(path.before)})"
    return text if path.limit is None else f"{text}?limit={path.limit}"


def render_name(name: Name) -> str:
    """The text of a table's or column's name."""
    return (":" if name.absolute else "") + ":".join(map(encode, name.parts))


def render_expression(expression: Expression) -> str:
    """The text of a projected expression, without the name it is given."""
    match expression:
        case Name():
            return render_name(expression)
        case Call(function, column):
            return f"{function}({render_name(column)})"
        case Bin(column, count, low, high):
            return f"bin({render_name(column)};{encode(count)};{encode(low)};{encode(high)})"


def render_filter(tree: Filter) -> str:
    """The text of a filter, with no more parentheses than it needs."""
    match tree:
        case Comparison():
            return _comparison(tree)
        case Negation(operand):
            return f"!({render_filter(operand)})"
        case Conjunction(operands):
            # a nested conjunction keeps its parentheses, so that the tree can be read back as it was
            return "&".join(_grouped(part, Conjunction | Disjunction) for part in operands)
        case Disjunction(operands):
            return ";".join(_grouped(part, Disjunction) for part in operands)


def _grouped(tree: Filter, kinds: UnionType | type) -> str:
    text = render_filter(tree)
    return f"({text})" if isinstance(tree, kinds) else text


def _comparison(test: Comparison) -> str:
    column = render_name(test.column)
    if test.operator == "null":
        return f"{column}::null::"
    operator = "=" if test.operator == "=" else f"::{test.operator}::"
    values = ",".join(map(encode, test.values))
    return f"{column}{operator}{test.quantifier}({values})" if test.quantifier else f"{column}{operator}{values}"


def _names(names: tuple[Name, ...]) -> str:
    return f"({','.join(map(render_name, names))})"


def _step(step: Step) -> str:
    match step:
        case TableStep(table, alias):
            text = render_name(table)
        case LinkStep(left, right, how, alias):
            text = (how or "") + _names(left) + ("" if right is None else "=" + _names(right))
        case FilterStep(tree):
            return render_filter(tree)
        case ContextStep(name):
            return f"${encode(name)}"
    return text if alias is None else f"{encode(alias)}:={text}"


def _item(item: Item) -> str:
    text = render_expression(item.expression)
    return text if item.name is None else f"{encode(item.name)}:={text}"


def _page_key(values: tuple[str | None, ...]) -> str:
    return ",".join("::null::" if value is None else encode(value) for value in values)
