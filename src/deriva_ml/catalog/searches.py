"""Rows found by values, however many they are, and the tables of RIDs. They are methods of ``CatalogClient``.

Values go into request targets, which have a longest length: here they are cut into parts that fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, cast

from deriva_ml.catalog.batches import value_parts
from deriva_ml.core.codes import normalise
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.wire import targets
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import ColumnLike, any_of, table
from deriva_ml.wire.syntax import Bin, Call, Filter

__all__ = ["ItemLike", "Row", "Searching", "get_by", "place_of_rid", "resolve_rids", "rows_by"]

Row: TypeAlias = dict[str, Json]
ItemLike: TypeAlias = ColumnLike | Call | Bin


class Searching(Protocol):
    """A client that reads below a catalog.

    Attributes:
        base: The catalog's own target.
        target_bytes: The longest request target to send.
    """

    base: str
    target_bytes: int

    def get(self, target: str) -> Any:
        """The JSON document at a target below the catalog."""


def rows_by(
    client: Searching,
    schema: str,
    table_name: str,
    column: str,
    values: Iterable[Json],
    *,
    columns: Sequence[ItemLike] | None = None,
) -> list[Row]:
    """The rows in which a column has one of the values, however many they are.

    Args:
        client: The client.
        schema: The table's schema.
        table_name: The table.
        column: The column.
        values: The values; repeated ones and nulls are left out.
        columns: Only these columns of the rows; all by default.
    """
    base = table(schema, table_name)

    def ask(chosen: Filter) -> str:
        path = base.where(chosen)
        return path.entity() if columns is None else path.attributes(*columns)

    return get_by(client, column, values, ask)


def get_by(client: Searching, column: ColumnLike, values: Iterable[Json], ask: Callable[[Filter], str]) -> list[Row]:
    """The rows of one request, or of several if there are more values than its target can hold.

    Args:
        client: The client.
        column: The column that has one of the values.
        values: The values; repeated ones and nulls are left out.
        ask: Makes the target from the test of the column.
    """
    # what the request target takes beside the values
    frame = len(client.base) + len(ask(any_of(column, ("",)))) + 1
    found: list[Row] = []
    for part in value_parts(values, client.target_bytes - frame):
        found.extend(cast("list[Row]", client.get(ask(any_of(column, part)))))
    return found


def resolve_rids(client: Searching, rids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Find the tables of rows.

    One row is asked for by itself; then all others are looked for in its table at once, and so on: the number of
    requests grows with the number of tables, and with that of RIDs that do not exist, not with that of rows.

    Returns:
        The schema and the table of each RID; those of no row are absent.
    """
    left = dict.fromkeys(rids)
    found: dict[str, tuple[str, str]] = {}
    while left:
        rid = next(iter(left))
        del left[rid]
        place = place_of_rid(client, rid)
        if place is None:
            continue
        found[rid] = place
        if left:
            present = {str(row["RID"]) for row in rows_by(client, *place, "RID", left, columns=["RID"])}
            here = [other for other in left if other in present or normalise(other) in present]
            found.update(dict.fromkeys(here, place))
            left = {other: None for other in left if other not in found}
    return found


def place_of_rid(client: Searching, rid: str) -> tuple[str, str] | None:
    """The schema and the table of one row; None if there is no such row."""
    try:
        row = client.get(targets.entity_rid(rid))
    except DerivaMLCatalogError as error:
        if error.status in {400, 404, 409}:  # unknown; not an RID at all
            return None
        raise
    if row.get("deleted_at") is not None or "table_name" not in row:
        return None
    return str(row["schema_name"]), str(row["table_name"])
