"""What a path gives: its output columns, each with SQL, a name and a type; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring

from deriva_ml.core.values import dataclass
from deriva_ml.server.collation import base_type
from deriva_ml.server.errors import BadRequest, Conflict
from deriva_ml.server.expressions import joined, key_sql, literal
from deriva_ml.server.resolve import resolve_column
from deriva_ml.server.route import Instance, Route
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, ColumnType
from deriva_ml.wire.syntax import RIGHTS, Bin, Call, Item, Name, render_expression, render_name

__all__ = ["Output", "aggregates", "all_columns", "attributes", "check_names", "examples"]

JSON = ColumnType("jsonb")
_COUNT = ColumnType("int8")
_INTEGERS = frozenset({"int2", "int4", "int8", "serial2", "serial4", "serial8"})
_LARGE = frozenset({"int8", "serial8"})
_FLOATS = frozenset({"float4", "float8"})
_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_ORDERED = _INTEGERS | _FLOATS | _MOMENTS | {"text", "time", "timetz"}
_CHUNK = 100
"""SQLite's functions take at most so many arguments."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output column.

    Attributes:
        name: What the answer calls it.
        type: The type of its values.
        sql: How it is made from the joined rows.
        instance: Where it comes from, if it is a plain column.
    """

    name: str
    type: ColumnType
    sql: str
    instance: Instance | None = None


def check_names(outputs: Iterable[Output]) -> None:
    """Refuse two outputs of one name.

    Raises:
        BadRequest: There are such.
    """
    seen = set()
    for output in outputs:
        if output.name in seen:
            raise BadRequest(f'Output column name "{output.name}" appears more than once.')
        seen.add(output.name)


def all_columns(route: Route, instance: Instance, prefix: str = "") -> list[Output]:
    """All columns of an instance, in the order of the model."""
    return [
        Output(prefix + column.name, column.type, route.column(instance, column), instance)
        for column in instance.table.columns
    ]


def attributes(route: Route, items: Iterable[Item]) -> list[Output]:
    """The columns and bins that a projection names; ``*`` stands for all columns.

    Raises:
        ServiceError: A name or literal is wrong, or an output lacks a name.
    """
    outputs: list[Output] = []
    for item in items:
        match item.expression:
            case Name() as name:
                outputs += _named(route, name, item.name)
            case Bin() as bins:
                outputs.append(Output(_needed(item), JSON, _bin(route, bins)))
            case Call():
                raise BadRequest(f"Aggregated column {render_expression(item.expression)} not allowed here.")
    return outputs


def examples(route: Route, items: Iterable[Item]) -> list[Output]:
    """What ``attributegroup`` gives of each group: aggregates, and of a plain column the first value there is."""
    outputs = []
    for item in items:
        if isinstance(item.expression, Call):
            outputs.append(_aggregate(route, item, item.expression))
        else:
            outputs += [
                Output(output.name, output.type, f"ermrest_first({output.sql})") for output in attributes(route, [item])
            ]
    return outputs


def aggregates(route: Route, items: Iterable[Item]) -> list[Output]:
    """What ``aggregate`` gives: aggregates only.

    Raises:
        BadRequest: Something else is among them.
    """
    outputs = []
    for item in items:
        if not isinstance(item.expression, Call) or item.expression.function in RIGHTS:
            raise BadRequest(f"Attribute {render_expression(item.expression)} lacks an aggregate function.")
        outputs.append(_aggregate(route, item, item.expression))
    return outputs


# ---------------------------------------------------------------------------------------------- plain columns


def _base(route: Route, name: Name) -> Instance:
    if len(name.parts) > 2:
        text = render_name(name)
        raise BadRequest(f"Column name {text}, qualified by schema and table names, not allowed as attribute.")
    return route.base(name)


def _is_star(instance: Instance, name: Name) -> bool:
    return name.last == "*" and instance.table.column("*") is None


def _named(route: Route, name: Name, alias: str | None) -> list[Output]:
    instance = _base(route, name)
    if _is_star(instance, name):
        if alias is not None:
            raise BadRequest("Wildcard column * cannot be given an alias.")
        return all_columns(route, instance, f"{name.parts[0]}:" if len(name.parts) == 2 else "")
    column = resolve_column(instance.table, name.last)
    return [Output(alias or column.name, column.type, route.column(instance, column), instance)]


def _needed(item: Item) -> str:
    if item.name is None:
        raise BadRequest(f"Aggregated column {render_expression(item.expression)} must be given an alias.")
    return item.name


def _bin(route: Route, bins: Bin) -> str:
    instance = _base(route, bins.column)
    column = resolve_column(instance.table, bins.column.last)
    base = base_type(column.type)
    if base.name not in _INTEGERS | _FLOATS | _MOMENTS:
        raise Conflict(f"Binning not supported on column type {column.type.name}.")
    try:
        count = int(bins.count)
    except ValueError:
        raise Conflict(f'invalid input syntax for type integer: "{bins.count}"') from None
    low, high = literal(column.type, bins.low), literal(column.type, bins.high)
    if any(isinstance(bound, float) and math.isinf(bound) for bound in (low, high)):
        raise Conflict("lower and upper bounds must be finite")
    if not 0 < count < 1 << 31:
        raise Conflict("count must be greater than zero")
    if isinstance(low, str) != isinstance(high, str) or not low < high:  # type: ignore[operator]
        raise Conflict("lower bound must be less than upper bound")
    bound = ", ".join(route.parameters.bind(value) for value in (count, low, high))
    return f"ermrest_bin('{base.name}', {route.column(instance, column)}, {bound})"


# ---------------------------------------------------------------------------------------------- aggregates


def _aggregate(route: Route, item: Item, call: Call) -> Output:
    name = _needed(item)
    instance = _base(route, call.column)
    if call.function in RIGHTS:
        return Output(name, JSON, _rights(route, instance, call))
    if _is_star(instance, call.column):
        return _over_rows(route, instance, call, name)
    column = resolve_column(instance.table, call.column.last)
    sql = route.column(instance, column)
    match call.function:
        case "cnt":
            return Output(name, _COUNT, f"count({sql})")
        case "cnt_d":
            return Output(name, _COUNT, f"count(DISTINCT {key_sql(column.type, sql)})")
        case "min" | "max":
            return Output(name, column.type, _extreme(call.function, column, sql))
        case "avg" | "sum":
            return _total(name, call.function, column, sql)
        case _:
            return Output(name, JSON, f"ermrest_{call.function}('{column.type.name}', {sql})")


def _refuse(function: str, column: Column) -> Conflict:
    return Conflict(
        f'Aggregate function "{function}" not allowed on column {column.name} with type {column.type.name}.'
    )


def _extreme(function: str, column: Column, sql: str) -> str:
    base = base_type(column.type)
    element = base_type(base.base) if base.is_array and base.base is not None else base
    if element.name not in _ORDERED:
        raise _refuse(function, column)
    key = key_sql(column.type, sql)
    return f"{function}({sql})" if key == sql else f"ermrest_{function}({key}, {sql})"


def _total(name: str, function: str, column: Column, sql: str) -> Output:
    base = base_type(column.type).name
    if base in _INTEGERS:
        # a mean of integers is a decimal of many digits, which JSON carries and a float does not
        if function == "avg":
            return Output(name, JSON, f"ermrest_mean({sql})")
        # SQLite's sum has 64 bits and fails beyond; the sum of smaller integers never gets there
        if base in _LARGE:
            return Output(name, JSON, f"ermrest_sum({sql})")
        return Output(name, _COUNT, f"sum({sql})")
    if base not in _FLOATS:
        raise _refuse(function, column)
    # NaN is stored as text, which SQLite would add as 0; infinities of both signs add up to SQLite's null
    sqlite = f"{function}({sql})"
    odd = f"max(typeof({sql}) = 'text') OR ({sqlite} IS NULL AND count({sql}) > 0)"
    type_ = column.type if function == "sum" else ColumnType("float8")
    return Output(name, type_, f"CASE WHEN {odd} THEN 'NaN' ELSE {sqlite} END")


def _over_rows(route: Route, instance: Instance, call: Call, name: str) -> Output:
    if call.function == "cnt":
        # a row that an outer join left out is not counted
        key = instance.table.column("RID") if instance.nullable and len(call.column.parts) == 2 else None
        return Output(name, _COUNT, "count(*)" if key is None else f"count({route.column(instance, key)})")
    if call.function not in ("array", "array_d"):
        raise BadRequest(f"Aggregate function {call.function} not allowed on star column.")
    columns = sorted(instance.table.columns, key=lambda column: (len(raw := column.name.encode()), raw))
    head = route.parameters.bind(json.dumps([[column.name, column.type.name] for column in columns]))
    function = "ermrest_rows" if call.function == "array" else "ermrest_rows_d"
    return Output(name, JSON, f"{function}({', '.join([head, *_chunks(route, instance, columns)])})")


def _chunks(route: Route, instance: Instance, columns: Sequence[Column]) -> list[str]:
    values = [route.column(instance, column) for column in columns]
    return [f"ermrest_list({', '.join(values[at : at + _CHUNK])})" for at in range(0, len(values), _CHUNK)]


def _rights(route: Route, instance: Instance, call: Call) -> str:
    """What the client may do with a row now; nothing in the past."""
    if call.column.last != "RID":
        raise Conflict(f'Rights summary not supported on column "{call.column.last}".')
    bind = route.parameters.bind
    rid = route.column(instance, resolve_column(instance.table, "RID"))

    def may(right: str, column: Column | None = None) -> str:
        condition = "1"
        if route.view.is_snapshot or (column is not None and column.name in SYSTEM_COLUMNS):
            condition = "0"
        elif route.may is not None:
            condition = route.may(instance.table, right, column)
        if condition not in ("0", "1"):
            source = route.view.source(instance.table)
            condition = f'EXISTS (SELECT 1 FROM {source} AS r WHERE r."RID" = {rid} AND {condition})'
        return f"CASE WHEN {condition} THEN 'true' ELSE 'false' END"

    members = [(encode_basestring(right), may(right)) for right in ("update", "delete")]
    if call.function == "tcrs":
        columns = [(encode_basestring(column.name), may("update", column)) for column in instance.table.columns]
        members.append(('"column_update"', _object(columns, bind)))
    return f"min({_object(members, bind)})"


def _object(members: Sequence[tuple[str, str]], bind: Callable[[str], str]) -> str:
    """SQL of a JSON object, given its members' names as JSON and their values as SQL that gives JSON."""
    names = [f"{'{' if at == 0 else ', '}{name}: " for at, (name, _) in enumerate(members)]
    pieces = [f"{bind(name)} || {value}" for name, (_, value) in zip(names, members, strict=True)]
    return joined("||", [*pieces, "'}'"])
