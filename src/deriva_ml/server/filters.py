"""Filters in SQL, with its three-valued logic: a comparison with null is unknown, and so is its negation; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from types import MappingProxyType

from deriva_ml.core import codes
from deriva_ml.core.values import dataclass
from deriva_ml.server.collation import base_type, key_function
from deriva_ml.server.errors import BadRequest, Conflict
from deriva_ml.server.expressions import Parameters, family, joined, key_sql, key_value, literal, packed, text_sql
from deriva_ml.server.regexps import translate
from deriva_ml.wire.model import Column, ColumnType
from deriva_ml.wire.syntax import Comparison, Conjunction, Disjunction, Filter, Name, Negation
from deriva_ml.wire.values import Stored

__all__ = ["Operand", "filter_sql"]

_SYMBOLS = MappingProxyType({"=": "=", "lt": "<", "leq": "<=", "gt": ">", "geq": ">="})
_NORMAL_RID = re.compile(
    r"[1-9A-HJKMNP-TV-Z][0-9A-HJKMNP-TV-Z]{0,3}(?:-[0-9A-HJKMNP-TV-Z]{4}){0,2}(?<=[02468ACEGJMPRTWY])"
)
"""An RID as the service issues it, which needs no normalising."""

_MANY = 64
"""From so many values on, a list is bound as one JSON text."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A column of an instance, and its SQL."""

    column: Column
    sql: str


def filter_sql(tree: Filter, resolve: Callable[[Name], list[Operand]], parameters: Parameters) -> str:
    """The condition that a filter stands for.

    Args:
        tree: The filter.
        resolve: Finds the column of a name, or all columns for ``*``.
        parameters: Where its values go.

    Raises:
        BadRequest: An operator does not go with a column, or a literal is malformed.
        Conflict: A name or a literal does not fit the model.
    """
    match tree:
        case Comparison():
            return _comparison(tree, resolve(tree.column), parameters)
        case Negation(operand):
            return f"NOT ({filter_sql(operand, resolve, parameters)})"
        case Conjunction():
            return joined("AND", [f"({filter_sql(part, resolve, parameters)})" for part in _flat(tree, Conjunction)])
        case Disjunction():
            return joined("OR", [f"({filter_sql(part, resolve, parameters)})" for part in _flat(tree, Disjunction)])


def _flat(tree: Conjunction | Disjunction, kind: type[Conjunction | Disjunction]) -> Iterator[Filter]:
    """The parts of a filter, and of the parts of its own kind in it: SQLite reads deep nesting only so far."""
    for part in tree.operands:
        if isinstance(part, kind):
            yield from _flat(part, kind)
        else:
            yield part


def _comparison(test: Comparison, operands: list[Operand], parameters: Parameters) -> str:
    parameters.count()
    if test.operator == "ts":
        raise BadRequest("The text search operator ::ts:: is not supported.")
    if test.operator in ("regexp", "ciregexp"):
        return _regexp(test, operands, parameters)
    if test.column.last == "*" and (len(operands) != 1 or operands[0].column.name != "*"):
        raise BadRequest(f'Operator {test.operator} does not support text-search psuedo-column "*".')
    (operand,) = operands
    if test.operator == "null":
        return f"{operand.sql} IS NULL"
    type_ = operand.column.type
    if family(type_) is None and test.operator != "=":
        raise Conflict(f"operator does not exist: {type_.name} {_SYMBOLS[test.operator]} unknown")
    if base_type(type_).is_array:
        return _array(test, operand, parameters)
    if test.operator == "=":
        return _equal(test, operand, parameters)
    return _ordered(test, type_, operand.sql, parameters)


def _every(test: Comparison) -> str:
    return "AND" if test.quantifier == "all" else "OR"


def _regexp(test: Comparison, operands: list[Operand], parameters: Parameters) -> str:
    patterns = []
    parameters.count(len(test.values) * len(operands))
    for value in dict.fromkeys(test.values):
        try:
            patterns.append(translate(value, ignore_case=test.operator == "ciregexp"))
        except ValueError as error:
            raise Conflict(str(error)) from None
    tests = []
    for pattern in patterns:
        bound = parameters.bind(pattern)
        found = [f"ermrest_regexp({bound}, {text_sql(operand.column.type, operand.sql)})" for operand in operands]
        # of all columns some is enough, and one that is null must not make the rest unknown
        tests.append(found[0] if len(found) == 1 else f"({joined('OR', [f'coalesce({one}, 0)' for one in found])})")
    return joined(_every(test), tests)


def _values(test: Comparison, column: Column) -> list[list[Stored]]:
    """The stored forms that each value of a test stands for: for an RID, itself and its normal form."""
    found = []
    for text in test.values:
        forms: list[Stored] = [literal(column.type, text)]
        if (
            column.name == "RID"
            and not _NORMAL_RID.fullmatch(text)
            and (normal := codes.normalise(text)) not in (None, text)
        ):
            forms.append(normal)
        found.append(forms)
    return found


def _equal(test: Comparison, operand: Operand, parameters: Parameters) -> str:
    """A test of equality with a value, with some of several, or with all of them."""
    type_ = operand.column.type
    # the keys of text and RIDs are level only for the same text: compare the column itself, and use its index
    keyed = key_function(type_) is not None and family(type_) != "text"
    sql = key_sql(type_, operand.sql) if keyed else operand.sql
    groups = [
        dict.fromkeys(key_value(type_, form) if keyed else form for form in forms)
        for forms in _values(test, operand.column)
    ]
    if test.quantifier == "all":
        # what is equal to all of them is in each group of forms
        values = [value for value in groups[0] if all(value in group for group in groups)]
    else:
        values = list(dict.fromkeys(chain.from_iterable(groups)))
    return _member(sql, values, parameters)


def _member(sql: str, values: Sequence[Stored | bytes], parameters: Parameters) -> str:
    if not values:
        return f"CASE WHEN {sql} IS NOT NULL THEN FALSE END"
    if len(values) == 1:
        return f"{sql} = {parameters.bind(values[0])}"
    if len(values) < _MANY:
        return f"{sql} IN ({', '.join([parameters.bind(value) for value in values])})"
    if not any(isinstance(value, bytes | float) for value in values):
        bound = parameters.bind(json.dumps(values, ensure_ascii=False))
        return f"{sql} IN (SELECT value FROM json_each({bound}))"
    # JSON has no bytes, and SQLite's reading of its fractions is not exact in every version
    bound = parameters.bind(json.dumps([packed(value) for value in values], ensure_ascii=False))
    return f"{sql} IN (SELECT ermrest_unpacked(value) FROM json_each({bound}))"


def _ordered(test: Comparison, type_: ColumnType, sql: str, parameters: Parameters) -> str:
    """A test of order; of a list of values, only the least or the greatest matters."""
    keys = [key_value(type_, literal(type_, text)) for text in test.values]
    upper = test.operator in ("lt", "leq")
    pick = max if upper == (test.quantifier != "all") else min
    # only NaN is text among numbers, and it comes last
    bound = pick(keys, key=lambda key: (isinstance(key, str), key))
    return f"{key_sql(type_, sql)} {_SYMBOLS[test.operator]} {parameters.bind(bound)}"


def _array(test: Comparison, operand: Operand, parameters: Parameters) -> str:
    """A test of an array: whether some element satisfies it; unknown for a null array."""
    element = base_type(operand.column.type).base
    assert element is not None  # it is an array
    member = Operand(Column("", "", element), "e.value")
    if test.operator != "=":
        # some element is beyond all of the values if it is beyond the furthest
        found = [_ordered(test, element, member.sql, parameters)]
    elif test.quantifier == "all":
        values = dict.fromkeys(test.values)
        parameters.count(len(values))
        found = [_equal(Comparison(test.column, "=", (value,)), member, parameters) for value in values]
    else:
        found = [_equal(test, member, parameters)]
    tests = [f"EXISTS (SELECT 1 FROM json_each({operand.sql}) AS e WHERE {inner})" for inner in found]
    return f"CASE WHEN {operand.sql} IS NOT NULL THEN {joined('AND', tests)} END"
