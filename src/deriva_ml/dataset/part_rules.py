"""Which tables of a catalog the copy of a part may enter, and what its model is then; no I/O.

1. The walk starts at one record and follows foreign keys in both directions, never twice through one table on a route.
2. Vocabularies are not walked to, unless one is where the walk starts: each that is referred to is taken whole, or only
   the terms in use.
3. ``Execution`` and ``Workflow`` are ends: their rows come along, what lies behind them does not, unless the walk
   starts there. A table that refers to datasets is entered from where the walk starts only: no other dataset is reached
   through a member. From a dataset the walk thus finds what its bag holds, with the datasets nested in it.
4. Excluded tables are neither entered nor passed, nor are associations of excluded tables: a row that says nothing but
   "these two" says nothing without one of them. So are tables that the user may not read.
5. Whatever a row that comes along refers to comes along, too, unless it is excluded; what refers to that does not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from deriva_ml.catalog.copy_model import BUILT_IN
from deriva_ml.core.enums import MLTable
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.following import Edge, Route, edges_of
from deriva_ml.schema.tables import ASSET_TAG, is_vocabulary
from deriva_ml.wire.model import Model, Table

__all__ = ["PartRules", "part_document", "partly_readable", "tables_without_rows", "unreadable"]

Name = tuple[str, str]
Doc = dict[str, Any]


@dataclass(frozen=True)
class PartRules:
    """The rules of the walk from one record.

    Attributes:
        model: The source's model.
        ml_schema: Name of the ML schema.
        start: The record's table.
        excluded: Tables that are not entered.
    """

    model: Model
    ml_schema: str
    start: Table
    excluded: frozenset[Name]

    def ml_table(self, name: str) -> Table | None:
        """A table of the ML schema, if there is one."""
        return self.model.table(self.ml_schema, name)

    @property
    def starts_at_dataset(self) -> bool:
        """The record is a dataset."""
        return self.start.qualified == (self.ml_schema, MLTable.dataset.value)

    def onward(self, route: Route) -> list[Route]:
        """The routes that are one step longer, in a fixed order."""
        if route.edges and route.end.qualified in self._ends:
            return []
        steps = [edge for edge in edges_of(self.model, route.end) if self._may_enter(route, edge.table)]
        steps.sort(key=_order)
        return [Route(route.start, (*route.edges, edge)) for edge in steps]

    def opens_only(self, found: Table) -> bool:
        """What refers to datasets is entered at the beginning only."""
        return bool(found.references((self.ml_schema, MLTable.dataset.value)))

    @property
    def _ends(self) -> tuple[Name, Name]:
        return (self.ml_schema, MLTable.execution.value), (self.ml_schema, MLTable.workflow.value)

    def _may_enter(self, route: Route, found: Table) -> bool:
        if found.qualified in self.excluded or is_vocabulary(found) or route.passes(found.qualified):
            return False
        if found.qualified == (self.ml_schema, MLTable.dataset_dataset.value):
            return False
        return not (route.edges and self.opens_only(found))


def _order(edge: Edge) -> Any:
    return edge.table.qualified, edge.on, edge.outward


def unreadable(document: Doc) -> set[Name]:
    """The tables that a model's document has and whose rows the user may not read."""
    return {
        (schema, name)
        for schema, within in document["schemas"].items()
        for name, one in within["tables"].items()
        if (one.get("rights") or {}).get("select", True) is False
    }


def partly_readable(document: Doc) -> set[Name]:
    """The tables of which it depends on the row whether the user may read it."""
    return {
        (schema, name)
        for schema, within in document["schemas"].items()
        for name, one in within["tables"].items()
        if (one.get("rights") or {}).get("select", True) is None
    }


def tables_without_rows(model: Model, excluded: AbstractSet[Name]) -> frozenset[Name]:
    """The tables that are not entered: the excluded ones, their associations, and what is the service's own."""
    left: set[Name] = set(excluded)
    for table in model.tables():
        is_built_in = table.schema == "public" and table.name in BUILT_IN
        ends = [fk.referenced_table for fk in table.association_keys()]
        if table.kind != "table" or is_built_in or not excluded.isdisjoint(ends):
            left.add(table.qualified)
    return frozenset(left)


def part_document(
    document: Doc, tables: Collection[Name], unbound: Collection[Name], *, annotations: bool, policy: bool
) -> tuple[Doc, dict[Name, list[str]]]:
    """The model of a part, as ``/schema`` has it.

    Args:
        document: That of the source.
        tables: The tables of the part.
        unbound: Tables to which no reference is made.
        annotations: With annotations; that of asset tables, without which they are none, is there in any case.
        policy: With access lists and rules.

    Returns:
        The document, and the foreign keys that it lacks, in words, by the table that they refer to.
    """
    pruned: dict[Name, list[str]] = {}
    schemas = {}
    for schema, within in document["schemas"].items():
        kept = {
            name: _table(one, (schema, name), tables, unbound, pruned)
            for name, one in within["tables"].items()
            if (schema, name) in tables
        }
        if kept or schema == "public":
            schemas[schema] = {**within, "tables": kept}
    made = {**document, "schemas": schemas}
    dropped = {"annotations"} if not annotations else set()
    dropped |= {"acls", "acl_bindings"} if not policy else set()
    return (_without(made, dropped) if dropped else made), pruned


def _table(
    one: Doc, place: Name, tables: Collection[Name], unbound: Collection[Name], pruned: dict[Name, list[str]]
) -> Doc:
    kept = []
    for fk in one.get("foreign_keys", ()):
        other = (fk["referenced_columns"][0]["schema_name"], fk["referenced_columns"][0]["table_name"])
        is_built_in = other[0] == "public" and other[1] in BUILT_IN
        if is_built_in or (other in tables and other not in unbound):
            kept.append(fk)
        else:
            columns = ", ".join(column["column_name"] for column in fk["foreign_key_columns"])
            pruned.setdefault(other, []).append(
                f"the reference {place[0]}:{place[1]}.{columns} to {other[0]}:{other[1]}"
            )
    return {**one, "foreign_keys": kept}


def _without(document: Any, dropped: set[str]) -> Any:
    """A model's document without some of what its elements have; what marks asset tables stays."""
    if isinstance(document, list):
        return [_without(each, dropped) for each in document]
    if not isinstance(document, Mapping):
        return document
    made = {}
    for name, value in document.items():
        if name not in dropped:
            # the names of schemas and tables may be any text; what is below them is an element in any case
            made[name] = (
                value
                if name in ("annotations", "acls", "acl_bindings", "type", "default")
                else _below(name, value, dropped)
            )
        elif name == "annotations" and ASSET_TAG in value:
            made[name] = {ASSET_TAG: value[ASSET_TAG]}
    return made


def _below(name: str, value: Any, dropped: set[str]) -> Any:
    if name in ("schemas", "tables"):
        return {key: _without(each, dropped) for key, each in value.items()}
    return _without(value, dropped)
