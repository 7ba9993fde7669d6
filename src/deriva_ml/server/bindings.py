"""Dynamic ACL bindings: read, checked against the model, and completed with their defaults; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deriva_ml.server.errors import BadRequest, Conflict, ServiceError
from deriva_ml.wire.json_text import write_json
from deriva_ml.wire.model import Column, Document, ForeignKey, Json, Model, Table
from deriva_ml.wire.values import parse_literal

__all__ = ["binding", "binding_operand", "binding_operator", "binding_set", "with_renamed_column"]

TYPES = {
    "table": frozenset({"owner", "update", "delete", "select"}),
    "column": frozenset({"owner", "update", "delete", "select"}),
    "foreign key": frozenset({"owner", "insert", "update"}),
}
ORDERED = frozenset({"=", "lt", "leq", "gt", "geq"})
OPERATORS: Mapping[str, str] = {
    "=": "=",
    **{f"::{word}::": word for word in ("lt", "leq", "gt", "geq", "null", "regexp", "ciregexp", "ts")},
}
"""The operators of filters, as bindings and as paths write them."""

MEMBERS = frozenset({"types", "projection", "projection_type", "scope_acl", "comment"})


def binding_set(model: Model, table: Table, value: Json, kind: str) -> Document:
    """A set of bindings of an element of a table."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("ACL binding set representation must be a JSON object.")
    return {name: binding(model, table, name, one, kind) for name, one in value.items()}


def binding(model: Model, table: Table, name: str, value: Json, kind: str) -> Json:
    """One binding, with its defaults filled in; ``false`` takes an inherited one away.

    Args:
        model: The model that the projection goes through.
        table: Where the projection starts: the table, that of the column, or that which the foreign key leads to.
        name: The binding's name.
        value: Its document.
        kind: What it is bound to: ``table``, ``column`` or ``foreign key``.
    """
    if value is False:
        return False
    if not isinstance(value, dict):
        raise BadRequest(f'ACL binding "{name}" representation must be a JSON object or false.')
    unknown = value.keys() - MEMBERS
    if unknown:
        raise BadRequest(f'ACL binding "{name}" does not know the field "{min(unknown)}".')
    types = value.get("types")
    if not isinstance(types, list) or not types or not TYPES[kind].issuperset(map(str, types)):
        allowed = ", ".join(sorted(TYPES[kind]))
        raise BadRequest(f'ACL binding "{name}" types must be a non-empty list of: {allowed}.')
    scope = value.get("scope_acl", ["*"])
    if not isinstance(scope, list) or not all(isinstance(member, str) for member in scope):
        raise BadRequest(f'ACL binding "{name}" scope_acl must be a list of role names.')
    if "projection" not in value:
        raise BadRequest(f'ACL binding "{name}" requires a projection.')
    projection = value["projection"]
    column = _projected(model, table, projection, name)
    is_text = (column.type.base or column.type).name == "text"
    given = value.get("projection_type")
    if given is not None and given not in ("acl", "nonnull"):
        raise BadRequest(f'ACL binding "{name}" projection_type must be "acl" or "nonnull".')
    if given == "acl" and not is_text:
        raise Conflict(f'ACL binding "{name}" projection_type "acl" needs a text column.')
    digested: Document = {
        "types": types,
        "projection": projection if isinstance(projection, list) else [projection],
        "projection_type": given or ("acl" if is_text else "nonnull"),
        "scope_acl": scope,
    }
    if "comment" in value:
        digested["comment"] = value["comment"]
    return digested


def with_renamed_column(model: Model, start: Table, value: Json, home: Table, names: tuple[str, str]) -> Json:
    """A binding as it is when a column has another name.

    Args:
        model: The model before the change.
        start: Where the binding's projection starts.
        value: The binding.
        home: The table of the column.
        names: The column's old and new name.
    """
    projection = value.get("projection") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(projection, list) or not projection:
        return value
    old, new = names
    steps: list[Json] = []
    try:
        for step, context, aliases in _walk(model, start, projection, ""):
            if isinstance(step, dict):
                steps.append(_renamed_filter(step, context, aliases, home, names))
            else:
                steps.append(new if step == old and context.rid == home.rid else step)
    except ServiceError:
        # It goes along what is not there any more, and so gives nothing; what it said stays.
        return value
    return {**value, "projection": steps}


def _renamed_filter(
    step: Document, context: Table, aliases: Mapping[str, Table], home: Table, names: tuple[str, str]
) -> Document:
    old, new = names
    changed = dict(step)
    for word in ("and", "or"):
        nested = step.get(word)
        if isinstance(nested, list):
            changed[word] = [
                _renamed_filter(one, context, aliases, home, names) if isinstance(one, dict) else one for one in nested
            ]
    column = step.get("filter")
    if column == old and context.rid == home.rid:
        changed["filter"] = new
    elif isinstance(column, list) and len(column) == 2 and column[1] == old:
        place = aliases.get(str(column[0]))
        if place is not None and place.rid == home.rid:
            changed["filter"] = [column[0], new]
    return changed


def _projected(model: Model, table: Table, projection: Json, name: str) -> Column:
    """The column at the end of a projection."""
    steps = projection if isinstance(projection, list) else [projection]
    if not steps or not isinstance(steps[-1], str):
        raise BadRequest(f'ACL binding "{name}" projection must end in a column name.')
    context = table
    for step, context, aliases in _walk(model, table, steps, name):
        if isinstance(step, dict) and _direction(step) is None:
            _check_filter(step, context, aliases, name)
    return _column(context, steps[-1], name)


def _direction(step: Mapping[str, Json]) -> str | None:
    return next((word for word in ("inbound", "outbound") if word in step), None)


def _walk(
    model: Model, table: Table, steps: Sequence[Json], name: str
) -> Iterator[tuple[Json, Table, Mapping[str, Table]]]:
    """Each step of a projection, with the table that it is taken from and the aliases that are known there."""
    context = table
    aliases = {"base": table}
    for step in steps[:-1]:
        if not isinstance(step, dict):
            raise BadRequest(f'ACL binding "{name}" projection may have a column name at its end only.')
        yield step, context, aliases
        direction = _direction(step)
        if direction is None:
            continue
        start = step.get("context")
        if isinstance(start, str):
            if start not in aliases:
                raise BadRequest(f'ACL binding "{name}" refers to the unknown alias "{start}".')
            context = aliases[start]
        context = _linked(model, context, direction, step[direction], name)
        alias = step.get("alias")
        if alias is not None:
            if not isinstance(alias, str):
                raise BadRequest(f'ACL binding "{name}" gives an alias that is not text.')
            aliases[alias] = context
    yield steps[-1], context, aliases


def _linked(model: Model, context: Table, direction: str, constraint: Json, name: str) -> Table:
    if not isinstance(constraint, list) or len(constraint) != 2:
        raise BadRequest(f'ACL binding "{name}" names a foreign key by [schema, constraint].')
    candidates: tuple[ForeignKey, ...] = (
        model.referenced_by(context) if direction == "inbound" else context.foreign_keys
    )
    for fk in candidates:
        if list(fk.name) == constraint:
            found = model.table(*(fk.table if direction == "inbound" else fk.referenced_table))
            if found is not None:
                return found
    raise Conflict(f'ACL binding "{name}": table {context.name} has no {direction} foreign key {constraint}.')


def _column(context: Table, named: Json, name: str) -> Column:
    found = context.column(named) if isinstance(named, str) else None
    if found is None:
        raise Conflict(f'ACL binding "{name}": column {named} does not exist in table {context.name}.')
    return found


def binding_operator(step: Mapping[str, Json]) -> str | None:
    """The operator of a filter in a projection, as paths call it; None if there is no such."""
    operator = step.get("operator", "=")
    return OPERATORS.get(operator) if isinstance(operator, str) else None


def binding_operand(step: Mapping[str, Json]) -> tuple[str, ...]:
    """What a filter in a projection compares with, as paths give it."""
    if binding_operator(step) == "null":
        return ()
    operand = step.get("operand", "")
    return (operand if isinstance(operand, str) else write_json(operand),)


def _check_filter(step: Mapping[str, Json], context: Table, aliases: Mapping[str, Table], name: str) -> None:
    for leaf in _leaves(step, name):
        named = leaf["filter"]
        if isinstance(named, list) and len(named) == 2:
            home = aliases.get(str(named[0]))
            if home is None:
                raise BadRequest(f'ACL binding "{name}" refers to the unknown alias "{named[0]}".')
            column = _column(home, named[1], name)
        else:
            column = _column(context, named, name)
        operator = binding_operator(leaf)
        if operator is None:
            raise BadRequest(f'ACL binding "{name}" does not know the operator "{leaf["operator"]}".')
        if operator in ORDERED:
            try:
                for literal in binding_operand(leaf):
                    parse_literal(column.type, literal)
            except ValueError as error:
                raise BadRequest(f'ACL binding "{name}": {error}') from error


def _leaves(step: Mapping[str, Json], name: str) -> Iterator[Mapping[str, Json]]:
    """The column tests of a filter, which may be nested."""
    pending: list[Json] = [dict(step)]
    while pending:
        item = pending.pop()
        if not isinstance(item, dict):
            raise BadRequest(f'ACL binding "{name}" holds a projection step that is neither a link nor a filter.')
        if "filter" in item:
            yield item
            continue
        nested = item.get("and", item.get("or"))
        if not isinstance(nested, list):
            raise BadRequest(f'ACL binding "{name}" holds a projection step that is neither a link nor a filter.')
        pending.extend(nested)
