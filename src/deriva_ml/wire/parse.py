"""From the raw text of a request target to its tree; no I/O.

An unescaped ``/`` always ends a segment; hence the last segment of a projecting path is its projection, and every
earlier one is a step. Source: the protocol specification, section A2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal, cast

from deriva_ml.core.values import dataclass
from deriva_ml.wire.scan import END, TEXT, Cursor, PathSyntaxError
from deriva_ml.wire.syntax import (
    COMPARISONS,
    FUNCTIONS,
    RIGHTS,
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
)

__all__ = ["PathSyntaxError", "Segment", "Target", "parse_path", "parse_target"]

_KINDS = ("entity", "attribute", "attributegroup", "aggregate")
_PROJECTING = ("attribute", "attributegroup", "aggregate")
_OUTER = ("left", "right", "full")
_DEEPEST = 200
_MOUNT = "/ermrest/"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a resource that is not a data path.

    Attributes:
        names: Its members between commas, each split at its colons: ``S:T`` is ``(("S", "T"),)``, ``a,b`` is
            ``(("a",), ("b",))``. An empty member is ``("",)``.
        value: What stands after an equals sign, if there is one.
    """

    names: tuple[tuple[str, ...], ...]
    value: str | None = None

    @property
    def word(self) -> str | None:
        """The segment as one plain text, or None where it has punctuation in it."""
        return self.names[0][0] if self.value is None and len(self.names) == 1 == len(self.names[0]) else None


@dataclass(frozen=True, slots=True)
class Target:
    """A request target, read.

    Attributes:
        catalog: The catalog's id, or None above the catalogs.
        snaptime: The snapshot asked for with ``@``.
        resource: A data path, or the segments of any other resource: those after the catalog's id, or all of them
            where there is no id. None of them is empty: see ``trailing_slash``.
        query: The parameters; one without a value has an empty tuple.
        trailing_slash: The target's path ended in a slash.
    """

    catalog: str | None = None
    snaptime: str | None = None
    resource: DataPath | tuple[Segment, ...] = ()
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trailing_slash: bool = False


def parse_target(raw: str) -> Target:
    """Read what follows ``/ermrest/`` in a raw request target, path and query together.

    Args:
        raw: The text as it was sent; a leading ``/ermrest/`` may be there.

    Raises:
        PathSyntaxError: It does not follow the grammar.
    """
    cursor = Cursor(raw, len(_MOUNT) if raw.startswith(_MOUNT) else 0)
    stop = cursor.find("?")
    query = _query(cursor, stop)
    if not (cursor.text_here() == "catalog" and cursor.kind(1) == "/" and cursor.kind(2) == TEXT):
        segments, slash = _segments(cursor, stop)
        return Target(resource=segments, query=query, trailing_slash=slash)
    cursor.at += 2
    catalog = cursor.text()
    snaptime = cursor.text() if cursor.take("@") else None
    if cursor.at < stop:
        cursor.expect("/")
    if cursor.text_here() in _KINDS:
        return Target(catalog, snaptime, _data(cursor, stop, query), query)
    segments, slash = _segments(cursor, stop)
    return Target(catalog, snaptime, segments, query, slash or (not segments and cursor.kind(-1) == "/"))


def parse_path(text: str) -> DataPath:
    """Read a data path that begins with its kind, as ``render`` writes it.

    Raises:
        PathSyntaxError: It is not one.
    """
    resource = parse_target(f"catalog/0/{text.removeprefix('/')}").resource
    if not isinstance(resource, DataPath):
        raise PathSyntaxError(f"not a data path: {text}")
    return resource


# ---------------------------------------------------------------------------------------------- query and segments


def _query(cursor: Cursor, start: int) -> dict[str, tuple[str, ...]]:
    """The parameters after ``?``; repeated ones are joined, each value once."""
    if cursor.kinds[start] == END:
        return {}
    here, cursor.at = cursor.at, start
    found: dict[str, tuple[str, ...]] = {}
    while cursor.take("?" if cursor.at == start else cursor.kind()):
        name = cursor.text()
        values = cursor.some(Cursor.text) if cursor.take("=") and cursor.kind() == TEXT else ()
        found[name] = tuple(dict.fromkeys(found.get(name, ()) + values))
        if cursor.kind() == END:
            break
        if cursor.kind() not in ("&", ";"):
            cursor.fail()
    cursor.at = here
    return found


def _segments(cursor: Cursor, stop: int) -> tuple[tuple[Segment, ...], bool]:
    """The segments up to ``stop``, and whether a slash ends them."""
    found: list[Segment] = []
    while cursor.at < stop:
        names = cursor.some(_segment_member)
        found.append(Segment(names, cursor.value() if cursor.take("=") else None))
        if cursor.at < stop:
            cursor.expect("/")
            if cursor.at == stop:
                return tuple(found), True
    return tuple(found), False


def _segment_member(cursor: Cursor) -> tuple[str, ...]:
    parts = [cursor.value()]
    while cursor.take(":"):
        parts.append(cursor.value())
    return tuple(parts)


# ---------------------------------------------------------------------------------------------- data paths


def _data(cursor: Cursor, stop: int, query: Mapping[str, tuple[str, ...]]) -> DataPath:
    kind = cast("Kind", cursor.text())
    end = cursor.find("@", "?")
    projecting = kind in _PROJECTING
    last = _last_slash(cursor, end) if projecting else end
    cursor.expect("/")
    root = _table_step(cursor, _alias(cursor))
    steps = []
    while cursor.at < last:
        cursor.expect("/")
        steps.append(_step(cursor))
    projection: tuple[Item, ...] = ()
    aggregates: tuple[Item, ...] = ()
    if projecting:
        cursor.expect("/")
        projection = cursor.some(_aggregate_item if kind == "aggregate" else _plain_item)
        if kind == "attributegroup" and cursor.take(";"):
            aggregates = cursor.some(_aggregate_item)
    sort, after, before = _sorting(cursor)
    if cursor.at != stop:
        cursor.fail()
    limit = _limit(query)
    return DataPath(kind, root, tuple(steps), projection, aggregates, sort, after, before, limit)


def _last_slash(cursor: Cursor, end: int) -> int:
    """Where the projection begins; the slash before the root is never that."""
    at = end - 1
    while at > cursor.at and cursor.kinds[at] != "/":
        at -= 1
    if at <= cursor.at:
        cursor.at = end
        cursor.fail()
    return at


def _limit(query: Mapping[str, tuple[str, ...]]) -> int | None:
    values = query.get("limit", ())
    if not values or values == ("none",):
        return None
    if len(values) > 1 or not re.fullmatch(r"-?[0-9]{1,18}", values[0], re.ASCII):
        raise PathSyntaxError('The "limit" query-parameter requires an integer or the string "none".')
    if int(values[0]) < 0:
        raise PathSyntaxError("LIMIT must not be negative")
    return int(values[0])


def _alias(cursor: Cursor) -> str | None:
    if cursor.kind() == TEXT and cursor.kind(1) == ":=":
        alias = cursor.text()
        cursor.at += 1
        return alias
    return None


def _name(cursor: Cursor) -> Name:
    absolute = cursor.take(":")
    parts = [cursor.text()]
    while len(parts) < 3 and cursor.take(":"):
        parts.append(cursor.text())
    return Name(tuple(parts), absolute)


def _names(cursor: Cursor) -> tuple[Name, ...]:
    cursor.expect("(")
    names = cursor.some(_name)
    cursor.expect(")")
    return names


def _table_step(cursor: Cursor, alias: str | None) -> TableStep:
    name = _name(cursor)
    if len(name.parts) > 2:
        raise PathSyntaxError(f"Name {':'.join(name.parts)} is not a valid syntax for a table name.")
    return TableStep(name, alias)


def _step(cursor: Cursor) -> Step:
    if cursor.take("$"):
        return ContextStep(cursor.text())
    alias = _alias(cursor)
    how = cursor.text_here()
    if cursor.kind(1) == "(" and how in _OUTER:
        cursor.at += 1
        return _link(cursor, alias, cast('Literal["left", "right", "full"]', how))
    if cursor.kind() == "(" and (alias is not None or _is_link(cursor)):
        return _link(cursor, alias, None)
    if alias is not None or _is_table(cursor):
        return _table_step(cursor, alias)
    return FilterStep(_disjunction(cursor))


def _is_link(cursor: Cursor) -> bool:
    """Whether the parenthesis here holds names only and what follows it belongs to a link."""
    at = cursor.at + 1
    kinds = cursor.kinds
    while kinds[at] in (TEXT, ":", ","):
        at += 1
    return kinds[at] == ")" and (kinds[at + 1] in ("/", "@", "?", END) or kinds[at + 1 : at + 3] == ["=", "("])


def _is_table(cursor: Cursor) -> bool:
    """Whether nothing but names stands here up to the end of the segment."""
    at = cursor.at
    kinds = cursor.kinds
    while kinds[at] in (TEXT, ":"):
        at += 1
    return kinds[at] in ("/", "@", "?", END) and at > cursor.at


def _link(cursor: Cursor, alias: str | None, how: Literal["left", "right", "full"] | None) -> LinkStep:
    left = _names(cursor)
    right = _names(cursor) if cursor.take("=") else None
    if right is not None and len(left) != len(right):
        raise PathSyntaxError("Left and right name lists in (left)=(right) link notation must be equal length.")
    return LinkStep(left, right, how, alias)


# ---------------------------------------------------------------------------------------------- filters


def _disjunction(cursor: Cursor) -> Filter:
    operands = [_conjunction(cursor)]
    while cursor.take(";"):
        operands.append(_conjunction(cursor))
    return operands[0] if len(operands) == 1 else Disjunction(tuple(operands))


def _conjunction(cursor: Cursor) -> Filter:
    operands = [_negatable(cursor)]
    while cursor.take("&"):
        operands.append(_negatable(cursor))
    return operands[0] if len(operands) == 1 else Conjunction(tuple(operands))


def _negatable(cursor: Cursor) -> Filter:
    return Negation(_predicate(cursor)) if cursor.take("!") else _predicate(cursor)


def _predicate(cursor: Cursor) -> Filter:
    if cursor.take("("):
        cursor.depth += 1
        if cursor.depth > _DEEPEST:
            raise PathSyntaxError(f"Filters may be nested {_DEEPEST} deep at most.")
        inner = _disjunction(cursor)
        cursor.expect(")")
        cursor.depth -= 1
        return inner
    column = _name(cursor)
    if cursor.word("null"):
        return Comparison(column, "null")
    operator = "=" if cursor.kind() == "=" else cursor.text_here(1) or ""
    if not (cursor.take("=") or cursor.word(*COMPARISONS)):
        if cursor.kind() == "::":
            cursor.at += 1  # the word after it is what is wrong, or what is missing
            if cursor.text_here() in (*COMPARISONS, "null"):
                cursor.at += 1
        cursor.fail()
    return _compared(cursor, column, operator)


def _compared(cursor: Cursor, column: Name, operator: str) -> Comparison:
    value = cursor.value()
    if not cursor.take("("):
        return Comparison(column, operator, (value,))
    if not value:
        raise PathSyntaxError("Value list requires quantifier prefix, e.g. all(1,2,3) or any(1,2,3)")
    quantifier = value.lower()
    if quantifier not in ("any", "all"):
        raise PathSyntaxError(f'Value list quantifier must be "all" or "any", not {value!r}.')
    values = cursor.some(Cursor.value)
    cursor.expect(")")
    return Comparison(column, operator, values, cast('Literal["any", "all"]', quantifier))


# ---------------------------------------------------------------------------------------------- projections


def _plain_item(cursor: Cursor) -> Item:
    alias = _alias(cursor)
    return Item(_bin(cursor) if _is_call(cursor, "bin") else _name(cursor), alias)


def _aggregate_item(cursor: Cursor) -> Item:
    alias = _alias(cursor)
    expression: Expression
    if _is_call(cursor, "bin"):
        expression = _bin(cursor)
    elif cursor.kind(1) == "(" and cursor.text_here() in FUNCTIONS | RIGHTS:
        function = cursor.text()
        cursor.expect("(")
        expression = Call(function, _name(cursor))
        cursor.expect(")")
    else:
        expression = _name(cursor)
    return Item(expression, alias)


def _is_call(cursor: Cursor, function: str) -> bool:
    return cursor.text_here() == function and cursor.kind(1) == "("


def _bin(cursor: Cursor) -> Bin:
    cursor.at += 2
    column = _name(cursor)
    values = []
    for _ in range(3):
        cursor.expect(";")
        values.append(cursor.value())
    cursor.expect(")")
    return Bin(column, *values)


# ---------------------------------------------------------------------------------------------- sorting and paging


_Page = tuple["str | None", ...]


def _sorting(cursor: Cursor) -> tuple[tuple[SortKey, ...], _Page | None, _Page | None]:
    if cursor.kind() != "@":
        return (), None, None
    if cursor.text_here(1) != "sort":
        cursor.at += 1
        cursor.fail()
    cursor.at += 2
    cursor.expect("(")
    sort = cursor.some(_sort_key)
    cursor.expect(")")
    pages: dict[str, _Page] = {}
    while cursor.take("@"):
        which = cursor.text_here()
        if which not in ("after", "before") or which in pages:
            cursor.fail()
        cursor.at += 1
        cursor.expect("(")
        pages[which] = cursor.some(_page_value)
        cursor.expect(")")
        if len(pages[which]) != len(sort):
            lengths = f'page key of length {len(pages[which])} does not match the "sort" key of length {len(sort)}.'
            raise PathSyntaxError(f'The "{which}" {lengths}')
    return sort, pages.get("after"), pages.get("before")


def _sort_key(cursor: Cursor) -> SortKey:
    return SortKey(cursor.text(), cursor.word("desc"))


def _page_value(cursor: Cursor) -> str | None:
    return None if cursor.word("null") else cursor.value()
