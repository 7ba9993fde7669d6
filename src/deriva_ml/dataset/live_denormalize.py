"""Joining the tables of a dataset in the catalog itself, as ``denormalize`` plans it: the catalog joins, not we.

One request gives the RIDs of the rows that belong together; then one for each table gives those of its rows that occur
there. So nothing is fetched twice, however often a row is repeated in the result, and no table is fetched whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.core.fields import refuse_text
from deriva_ml.core.files import require
from deriva_ml.dataset.denormalize import Join, Joins, Plan, Wanted, outputs, plan_joins
from deriva_ml.dataset.join_report import describe_join, schema_paths, sizes_of
from deriva_ml.dataset.joined_ways import Ground
from deriva_ml.dataset.members import chunks
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import Path, any_of, cnt, col, either, is_null, not_null, render, sum_, table
from deriva_ml.wire.syntax import Filter, Item
from deriva_ml.workspace.working_data import WorkingDataCache, plain_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "cache_denormalized",
    "denormalize_as_dataframe",
    "denormalize_as_dict",
    "denormalize_columns",
    "denormalize_info",
    "describe_denormalized",
    "list_schema_paths",
]

Row = dict[str, Json]
Key = tuple[str, ...]
"""The RIDs of the rows that make up one row of the result; empty where there is none."""

Names = Iterable[str | Table]
Name = str | Table

_LIST_BYTES = 1500
"""The length of the list of datasets in one request: the joins need room too."""
_MEMBERS = "members"


def denormalize_columns(session: Session, include_tables: Names) -> list[tuple[str, str]]:
    """The columns that joining some tables gives, with their types.

    Args:
        session: The catalog.
        include_tables: The tables.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    chosen = outputs(_tables(session, include_tables), session.ml_schema)
    return [(each.name, each.column.type.name) for each in chosen]


def denormalize_info(session: Session, include_tables: Names) -> dict[str, Any]:
    """What joining some tables would read, without reading it.

    Args:
        session: The catalog.
        include_tables: The tables, an element type among them.

    Returns:
        ``columns`` (name and type), ``join_path`` (the tables in the order in which they are joined), ``tables`` (for
        each its ``row_count``, ``is_asset``, ``asset_bytes``), ``total_rows``, ``total_asset_bytes``,
        ``total_asset_size``. The counts are of the whole tables.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDataError: The way between two tables is ambiguous or missing; the error says what to include.
    """

    def count(found: Table) -> tuple[int, int]:
        sizes = {"size": sum_("Length")} if is_asset(found) else {}
        answer = session.catalog.aggregate(table(*found.qualified), rows=cnt("*"), **sizes)
        return int(str(answer["rows"])), int(str(answer.get("size") or 0))

    return sizes_of(_joins(session, include_tables), count)


def describe_denormalized(
    session: Session, include_tables: Names, *, row_per: Name | None = None, via: Names = ()
) -> dict[str, Any]:
    """How tables would be joined, and what stands in the way; see ``join_report.describe_join``.

    Args:
        session: The catalog, or the snapshot of a version.
        include_tables: The tables.
        row_per: The table that a row is to stand for.
        via: Tables to go by, which add no columns.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return describe_join(_ground(session), _wanted(session, include_tables, row_per, via))


def list_schema_paths(session: Session, tables: Names | None = None) -> dict[str, Any]:
    """The ways from element types to tables that joins could follow; see ``join_report.schema_paths``.

    Args:
        session: The catalog, or the snapshot of a version.
        tables: Ways to these tables only.

    Raises:
        DerivaMLTableNotFound: There is no such table.
    """
    return schema_paths(_ground(session), None if tables is None else _tables(session, tables))


def denormalize_as_dict(
    session: Session, dataset_rid: str, include_tables: Names, *, row_per: Name | None = None, via: Names = ()
) -> Iterator[Row]:
    """Join tables into one: a row for each member, of a dataset and those nested in it, and each of its partners.

    Args:
        session: The catalog, or the snapshot of a version.
        dataset_rid: The dataset.
        include_tables: The tables, an element type among them, or among those of ``via``.
        row_per: The table that a row stands for: each of its rows that members lead to has exactly one.
        via: Tables to go by, which add no columns.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDenormalizeError: The way between two tables is ambiguous or missing, or a row cannot stand for one of
            ``row_per``; the error says what to do.
    """
    joins = _joins(session, include_tables, row_per, via)
    holders = (dataset_rid, *read_nesting(session).descendants(dataset_rid))
    keys: set[Key] = set()
    rows: list[dict[str, Row]] = [{} for _table in joins.shown]
    for plan in joins.plans:
        for chunk in chunks(holders, _LIST_BYTES):
            keys |= _read(session, _Compiled(joins, plan, chunk), rows)
    return _combined(joins, sorted(keys), rows)


def denormalize_as_dataframe(
    session: Session, dataset_rid: str, include_tables: Names, *, row_per: Name | None = None, via: Names = ()
) -> pd.DataFrame:
    """The same as a data frame.

    Args:
        session: The catalog, or the snapshot of a version.
        dataset_rid: The dataset.
        include_tables: The tables, an element type among them, or among those of ``via``.
        row_per: The table that a row stands for.
        via: Tables to go by, which add no columns.

    Raises:
        DerivaMLMissingExtra: pandas is not installed.
        DerivaMLDenormalizeError: They cannot be joined like that; the error says what to do.
    """
    frame = require("pandas", "pandas").DataFrame
    names = list(include_tables)
    columns = [name for name, _type in denormalize_columns(session, names)]
    rows = denormalize_as_dict(session, dataset_rid, names, row_per=row_per, via=via)
    return frame(list(rows), columns=columns)


def cache_denormalized(
    session: Session,
    dataset_rid: str,
    include_tables: Names,
    force: bool = False,
    *,
    row_per: Name | None = None,
    via: Names = (),
) -> pd.DataFrame:
    """The same, kept in the working directory: a version is asked of the catalog the first time only.

    It is kept as ``denormalized_<dataset>_<snapshot>_<tables>``, lists and objects as JSON text. Of the present, which
    changes, the newest is kept too, but the catalog is asked each time.

    Args:
        session: The catalog, or the snapshot of a version.
        dataset_rid: The dataset.
        include_tables: The tables, an element type among them.
        force: Ask the catalog again.
        row_per: The table that a row stands for.
        via: Tables to go by, which add no columns.
    """
    wanted = _wanted(session, include_tables, row_per, via)
    moment = session.catalog.snaptime
    named = [f"{table.schema}:{table.name}" for table in wanted.tables]
    named += [f"per {table.schema}:{table.name}" for table in (wanted.row_per,) if table is not None]
    named += [f"via {table.schema}:{table.name}" for table in wanted.via]
    name = "_".join(["denormalized", dataset_rid, moment or "present", *named])
    kept = WorkingDataCache(session.records_dir)
    if force or moment is None or not kept.has_table(name):
        frame = denormalize_as_dataframe(session, dataset_rid, wanted.tables, row_per=wanted.row_per, via=wanted.via)
        kept.cache_table(name, plain_frame(frame))
    return kept.read_table(name)


def _tables(session: Session, names: Names) -> list[Table]:
    refuse_text("tables", names)
    # A table that is given may be of another moment's model.
    return [session.table(f"{each.schema}:{each.name}" if isinstance(each, Table) else each) for each in names]


def _ground(session: Session) -> Ground:
    return Ground(session.model(), session.ml_schema, session.domain_schemas)


def _wanted(session: Session, names: Names, row_per: Name | None, via: Names) -> Wanted:
    (centre,) = [None] if row_per is None else _tables(session, [row_per])
    return Wanted(tuple(_tables(session, names)), centre, tuple(_tables(session, via)))


def _joins(session: Session, names: Names, row_per: Name | None = None, via: Names = ()) -> Joins:
    wanted = _wanted(session, names, row_per, via)
    return plan_joins(session.model(), session.ml_schema, session.domain_schemas, wanted)


class _Compiled:
    """One plan as paths of the catalog.

    Args:
        joins: The join.
        plan: The plan.
        holders: The datasets whose members the join starts from.
    """

    def __init__(self, joins: Joins, plan: Plan, holders: Sequence[str]) -> None:
        self._holders = holders
        self._aliases = {found.qualified: f"t{number}" for number, found in enumerate(plan.tables)}
        self.shown = [self._aliases[found.qualified] for found in joins.shown]
        self.path = self._path(plan)
        self.is_plain = not plan.joins

    def _path(self, plan: Plan) -> Path:
        start = plan.start
        path = table(start.association.schema, start.association.name, alias=_MEMBERS)
        path = path.where(any_of(start.holder, self._holders))
        path = path.link(*start.table.qualified, on=[(start.member, start.key)], alias="t0")
        for join in plan.joins:
            path = self._linked(path, join)
        there = [not_null((self._aliases[found.qualified], "RID")) for found in plan.present]
        return path.where(either(*there)) if there else path

    def _linked(self, path: Path, join: Join) -> Path:
        before, after = self._aliases[join.before.qualified], self._aliases[join.table.qualified]
        on = [((before, mine), theirs) for mine, theirs in join.on]
        path = path.context(before).link(
            *join.table.qualified, on=on, alias=after, how="left" if join.is_outer else None
        )
        needed: list[Filter] = [any_of((after, name), self._holders) for name in join.holders]
        if not join.uncertain:
            return path.where(either(*needed)) if needed else path
        if not join.optional:
            return path.where(either(is_null((before, "RID")), *(needed or [not_null((after, "RID"))])))
        return path


def _read(session: Session, compiled: _Compiled, rows: Sequence[dict[str, Row]]) -> set[Key]:
    """Add the rows of the shown tables, by RID, and give which of them belong together."""
    if compiled.is_plain:
        found = _rows(session, compiled.path)
        rows[0].update(found)
        return {(rid,) for rid in found}
    items = [Item(col(alias, "RID"), alias) for alias in compiled.shown]
    groups = session.catalog.get(render(compiled.path.data("attributegroup", items)))
    keys = {tuple(str(group[alias] or "") for alias in compiled.shown) for group in groups}
    for number, alias in enumerate(compiled.shown):
        if any(key[number] for key in keys):
            rows[number].update(_rows(session, compiled.path.context(alias)))
    return keys


def _rows(session: Session, path: Path) -> dict[str, Row]:
    # An outer join has a row of nulls where there is no partner.
    return {str(row["RID"]): row for row in session.catalog.rows(path) if row["RID"] is not None}


def _combined(joins: Joins, keys: Iterable[Key], rows: Sequence[dict[str, Row]]) -> Iterator[Row]:
    at = {found.qualified: number for number, found in enumerate(joins.shown)}
    cells = [(each.name, at[each.table.qualified], each.column.name) for each in joins.outputs]
    nothing: Row = {}
    for key in keys:
        parts = [rows[number].get(rid, nothing) for number, rid in enumerate(key)]
        yield {name: parts[number].get(column) for name, number, column in cells}
