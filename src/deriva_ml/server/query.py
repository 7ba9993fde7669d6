"""From a data path and a model to one SQL statement; pure.

1. One statement answers a whole request: joins, filters, distinctness, sorting and paging are SQLite's work.
2. Values are bound, never written into the text. Physical names come from the view, quoted.
3. A path of one table has each row once. Where joins could repeat rows of the context, they are grouped by the
   context's shortest key, all-null rows of outer joins being one group; columns of other tables are then those of any
   one match.
4. ``attributegroup`` and ``aggregate`` see every joined row.
5. Nulls come last in ascending and first in descending order; text is sorted by `deriva_ml.server.collation`.
   Distinctness and grouping come first, then paging, then the limit.

Source: the protocol specification, section A3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from deriva_ml.core.values import dataclass
from deriva_ml.server.errors import BadRequest
from deriva_ml.server.expressions import Parameters, joined, key_sql, key_value, level_sql, whole_literal
from deriva_ml.server.functions import register_functions
from deriva_ml.server.projection import Output, aggregates, all_columns, attributes, check_names, examples
from deriva_ml.server.resolve import Source, resolve_column, resolve_table
from deriva_ml.server.route import Instance, May, Route
from deriva_ml.wire.model import Column, ColumnType, Table
from deriva_ml.wire.syntax import DataPath, Kind
from deriva_ml.wire.values import Stored

__all__ = [
    "Source",
    "Statement",
    "compile_rids",
    "compile_select",
    "context_table",
    "register_functions",
    "resolve_column",
    "resolve_table",
]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement ready to run.

    Attributes:
        sql: Its text.
        params: The values of its numbered parameters, in order.
        outputs: Name and type of each output column; values come in stored form.
        reads: The columns whose values it uses: who may not select one of them may not be told the answer.
    """

    sql: str
    params: tuple[Stored | bytes, ...]
    outputs: tuple[tuple[str, ColumnType], ...]
    reads: tuple[tuple[Table, Column], ...] = ()


def compile_select(path: DataPath, view: Source, may: May | None = None) -> Statement:
    """The statement that answers a data path.

    Args:
        path: The path.
        view: The catalog as of a moment.
        may: Says what the client may do with a row; None where it may do anything.

    Raises:
        ServiceError: Something that the path names does not exist or does not fit.
    """
    parameters = Parameters()
    route = Route.of(path, view, parameters, may)
    outputs, group = _SHAPES[path.kind](path, route)
    check_names(outputs)
    sql = _paged(path, route, outputs, group)
    named = tuple((output.name, output.type) for output in outputs)
    return Statement(sql, tuple(parameters.values), named, tuple(route.reads.values()))


def compile_rids(path: DataPath, view: Source) -> Statement:
    """The statement that gives the RIDs of the context's rows, each once: what a deletion works on."""
    parameters = Parameters()
    route = Route.of(path, view, parameters)
    column = resolve_column(route.context.table, "RID")
    sql = route.column(route.context, column)
    if route.context.nullable:
        route.conditions.append(f"{sql} IS NOT NULL")
    distinct = "DISTINCT " if route.repeats() else ""
    text = f"SELECT {distinct}{sql} {route.from_where()}"
    return Statement(text, tuple(parameters.values), ((column.name, column.type),), tuple(route.reads.values()))


def context_table(path: DataPath, view: Source) -> Table:
    """The table whose rows a path gives."""
    return Route.of(path, view, Parameters()).context.table


# ---------------------------------------------------------------------------------------------- the four kinds


def _context_rows(route: Route) -> list[str] | None:
    """What to group by so that each row of the context occurs once; None where it does so anyway."""
    if not route.repeats():
        return None
    table = route.context.table
    required = {column.name for column in table.columns if not column.nullok}
    keys = sorted((key.columns for key in table.keys if required.issuperset(key.columns)), key=len)
    names = keys[0] if keys else tuple(column.name for column in table.columns)
    return [route.column(route.context, resolve_column(table, name)) for name in names]


_Shape = tuple[list[Output], "list[str] | None"]


def _entity(path: DataPath, route: Route) -> _Shape:
    del path
    return all_columns(route, route.context), _context_rows(route)


def _attribute(path: DataPath, route: Route) -> _Shape:
    return attributes(route, path.projection), _context_rows(route)


def _attributegroup(path: DataPath, route: Route) -> _Shape:
    keys = attributes(route, path.projection)
    return keys + examples(route, path.aggregates), [level_sql(output.type, output.sql) for output in keys]


def _aggregate(path: DataPath, route: Route) -> _Shape:
    if path.sort:
        raise BadRequest("Sort is meaningless for aggregates returning one row.")
    return aggregates(route, path.projection), None


_SHAPES: Mapping[Kind, Callable[[DataPath, Route], _Shape]] = MappingProxyType(
    {"entity": _entity, "attribute": _attribute, "attributegroup": _attributegroup, "aggregate": _aggregate}
)


# ---------------------------------------------------------------------------------------------- sorting and paging


@dataclass(frozen=True, slots=True)
class _SortKey:
    """An output to sort by.

    Attributes:
        output: The output.
        name: Its name in the statement's own result.
        descending: Greatest first.
        required: It is never null.
    """

    output: Output
    name: str
    descending: bool
    required: bool

    def order(self, sql: str, *, reverse: bool) -> str:
        key = key_sql(self.output.type, sql)
        descending = self.descending != reverse
        # without a NULLS clause, where no null can be, SQLite can walk along an index
        nulls = "" if self.required else " NULLS FIRST" if descending else " NULLS LAST"
        return f"{key}{' DESC' if descending else ''}{nulls}"

    def beyond(self, sql: str, value: Stored, parameters: Parameters, *, earlier: bool) -> str:
        """The key is strictly later than a page key's value, or strictly earlier."""
        upwards = self.descending == earlier
        if value is None:
            return "FALSE" if upwards else f"{sql} IS NOT NULL"
        test = self._compare(sql, ">" if upwards else "<", value, parameters)
        return f"({test} OR {sql} IS NULL)" if upwards and not self.required else test

    def level(self, sql: str, value: Stored, parameters: Parameters) -> str:
        return f"{sql} IS NULL" if value is None else self._compare(sql, "=", value, parameters)

    def _compare(self, sql: str, symbol: str, value: Stored, parameters: Parameters) -> str:
        type_ = self.output.type
        return f"{key_sql(type_, sql)} {symbol} {parameters.bind(key_value(type_, value))}"


def _sort_keys(path: DataPath, route: Route, outputs: Sequence[Output]) -> list[_SortKey]:
    names = {output.name: at for at, output in enumerate(outputs)}
    keys = []
    for key in path.sort:
        if key.name not in names:
            if path.kind == "entity":
                resolve_column(route.context.table, key.name)
            raise BadRequest(f'Sort key "{key.name}" not among output columns.')
        output = outputs[names[key.name]]
        keys.append(_SortKey(output, f"c{names[key.name]}", key.descending, _is_required(output)))
    return keys


def _is_required(output: Output) -> bool:
    instance = output.instance
    if instance is None or instance.nullable:
        return False
    column = instance.table.column(output.name)
    return column is not None and not column.nullok and column.type == output.type


def _page_values(keys: Sequence[_SortKey], page: Sequence[str | None]) -> list[Stored]:
    return [
        None if text is None else whole_literal(key.output.type, text) for key, text in zip(keys, page, strict=True)
    ]


def _page_condition(
    keys: Sequence[_SortKey], names: Sequence[str], page: Sequence[str | None], parameters: Parameters, *, earlier: bool
) -> str:
    """Rows strictly beyond a page key, compared key by key."""
    values = _page_values(keys, page)
    condition = ""
    for key, sql, value in reversed(list(zip(keys, names, values, strict=True))):
        beyond = key.beyond(sql, value, parameters, earlier=earlier)
        condition = f"({beyond} OR ({key.level(sql, value, parameters)} AND {condition}))" if condition else beyond
    return condition


def _paged(path: DataPath, route: Route, outputs: Sequence[Output], group: list[str] | None) -> str:
    parameters = route.parameters
    columns = ", ".join([f"{output.sql} AS c{at}" for at, output in enumerate(outputs)])
    keys = _sort_keys(path, route, outputs)
    backwards = path.before is not None and path.after is None
    if backwards and path.limit is None:
        raise BadRequest("Page @before(...) modifier not allowed without limit parameter.")
    rows_only = path.kind in ("entity", "attribute")
    fenced = rows_only and group is not None and route.view.is_snapshot
    inside = rows_only and not fenced and _can_page_inside(keys, group, route.context)
    sqls = [key.output.sql if inside else f"r.{key.name}" for key in keys]
    pages = [
        _page_condition(keys, sqls, page, parameters, earlier=earlier)
        for page, earlier in ((path.after, False), (path.before, True))
        if page is not None
    ]
    if inside:
        route.conditions += pages
    text = f"SELECT {columns} {route.from_where()}"
    if fenced and group is not None:
        text = _fenced(route, columns, len(outputs), group)
    elif group is not None:
        text += f" GROUP BY {', '.join(group)}"
    if not inside and keys:
        text = f"SELECT * FROM ({text}) AS r"
        if pages:
            text += f" WHERE {joined('AND', pages)}"
    if keys:
        text += _order(keys, sqls, reverse=backwards)
    if path.limit is not None and path.kind != "aggregate":
        text += f" LIMIT {parameters.bind(path.limit)}"
    if backwards:
        text = f"SELECT * FROM ({text}) AS b{_order(keys, [f'b.{key.name}' for key in keys], reverse=False)}"
    return text


def _fenced(route: Route, columns: str, count: int, group: Sequence[str]) -> str:
    """A grouped query over joined rows that are found first.

    At a snapshot a table is the union of its current and its ended rows. SQLite looks such unions up by index in a
    plain join, and reads them whole where the query around them groups.
    """
    keys = [f"g{at}" for at in range(len(group))]
    named = ", ".join(f"{sql} AS {key}" for sql, key in zip(group, keys, strict=True))
    names = ", ".join(f"c{at}" for at in range(count))
    joined_rows = f"SELECT {columns}, {named} {route.from_where()}"
    return f"WITH j AS MATERIALIZED ({joined_rows}) SELECT {names} FROM j GROUP BY {', '.join(keys)}"


def _can_page_inside(keys: Sequence[_SortKey], group: list[str] | None, context: Instance) -> bool:
    """Whether rows can be paged before they are grouped: the keys are then the same for all rows of a group."""
    return group is None or all(key.output.instance is context for key in keys)


def _order(keys: Sequence[_SortKey], sqls: Sequence[str], *, reverse: bool) -> str:
    return f" ORDER BY {', '.join([key.order(sql, reverse=reverse) for key, sql in zip(keys, sqls, strict=True)])}"
