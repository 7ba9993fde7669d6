"""What joining some tables would do, said without reading a row: for catalog and bag alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDenormalizeError
from deriva_ml.core.files import human_size
from deriva_ml.dataset.denormalize import Join, Joins, Plan, Wanted, outputs, plan_joins
from deriva_ml.dataset.elements import elements, labels
from deriva_ml.dataset.joined_ways import LONGEST, Ground
from deriva_ml.schema.tables import is_asset, is_association
from deriva_ml.wire.model import Table

__all__ = ["describe_join", "schema_paths", "sizes_of"]


def sizes_of(joins: Joins, count: Callable[[Table], tuple[int, int]]) -> dict[str, Any]:
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


def describe_join(ground: Ground, wanted: Wanted) -> dict[str, Any]:
    """How some tables would be joined, and what stands in the way; nothing is read.

    Args:
        ground: The ways that there are.
        wanted: The tables.

    Returns:
        ``include_tables``, ``via`` and ``columns`` (name and type); ``row_per``: the table that a row stands for, as
        asked for or as it comes about, None where rows are combinations; ``joins``: for each element type, from which
        the join starts, its steps (``from``, ``to``, ``on``, ``keeps_rows`` without partner, ``multiplies`` rows);
        ``bridges``: tables that are passed and add no columns; ``problems``: why it cannot be done, as text.
    """
    report: dict[str, Any] = {
        "include_tables": [table.name for table in wanted.tables],
        "row_per": None if wanted.row_per is None else wanted.row_per.name,
        "via": [table.name for table in wanted.via],
        "columns": [(each.name, each.column.type.name) for each in outputs(wanted.tables, ground.ml_schema)],
        "joins": {},
        "bridges": [],
        "problems": [],
    }
    try:
        joins = plan_joins(ground.model, ground.ml_schema, ground.domain_schemas, wanted)
    except DerivaMLDenormalizeError as error:
        report["problems"] = [str(error)]
        return report
    passed = {table.qualified: table for plan in joins.plans for table in plan.tables}
    names = labels(passed.values())
    shown = {table.qualified for table in joins.shown}
    report["joins"] = {
        names[plan.start.table.qualified]: [_step(join, names.__getitem__) for join in plan.joins]
        for plan in joins.plans
    }
    report["bridges"] = [names[name] for name in passed if name not in shown]
    if wanted.row_per is None:
        report["row_per"] = _stands_for(joins.plans, joins.shown)
    return report


def _step(join: Join, name: Callable[[tuple[str, str]], str]) -> dict[str, Any]:
    return {
        "from": name(join.before.qualified),
        "to": name(join.table.qualified),
        "on": list(join.on),
        "keeps_rows": join.is_outer,
        "multiplies": join.multiplies,
    }


def _stands_for(plans: Sequence[Plan], shown: Sequence[Table]) -> str | None:
    """The table whose rows have at most one row of each other table; None if there is none."""
    for table in shown:
        if all(plan.route(table, other)[1] for plan in plans for other in shown):
            return table.name
    return None


def schema_paths(ground: Ground, tables: Iterable[Table] | None = None) -> dict[str, Any]:
    """The ways that joins could follow, from each element type to each table.

    Args:
        ground: The ways that there are.
        tables: Ways to these tables only; by default to all that add columns.

    Returns:
        ``element_types``, ``association_tables`` and ``feature_tables``: names; ``paths``: for each table that can be
        reached the ways to it, the shortest first, each a list of names from an element type on. Ways of more than
        four steps are not named.
    """
    starts = [element.table for element in elements(*_arguments(ground)).values()]
    inside = [
        table
        for schema in (*sorted(ground.domain_schemas), ground.ml_schema)
        if schema in ground.model.schemas
        for table in sorted(ground.model.schemas[schema].tables.values(), key=lambda each: each.name)
    ]
    names = labels(inside)
    targets = list(tables) if tables is not None else [table for table in inside if not is_association(table)]
    found: dict[str, list[list[str]]] = {names[target.qualified]: [] for target in targets}
    for start in starts:
        for way in ground.every_way(start, lambda way: len(way) < LONGEST):
            path = [names[table.qualified] for table in (start, *way)]
            if path[-1] in found:
                found[path[-1]].append(path)
    return {
        "element_types": [names[table.qualified] for table in starts],
        "association_tables": [names[table.qualified] for table in inside if is_association(table)],
        "feature_tables": sorted(names[name] for name in ground.features if name in names),
        "paths": {name: sorted(paths, key=lambda path: (len(path), path)) for name, paths in found.items() if paths},
    }


def _arguments(ground: Ground) -> tuple[Any, Any, Any]:
    return ground.model, ground.ml_schema, ground.domain_schemas
