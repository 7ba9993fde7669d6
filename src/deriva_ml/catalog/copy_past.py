"""What a catalog's model was at an earlier moment, as far as it is still in the model of today; no I/O.

Tables and columns are followed through renaming by their own RIDs; one that was dropped and made again under its name
counts as the same. Values go into the columns of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from deriva_ml.catalog.copy_model import CopiedModel, Doc, TableName, identity

__all__ = ["Then"]

WIDER = {
    "int2": {"int4", "int8", "float4", "float8", "numeric"},
    "int4": {"int8", "float8", "numeric"},
    "int8": {"numeric"},
    "float4": {"float8"},
    "date": {"timestamp"},
}
"""Types whose every value can be written into columns of other types; anything can be written as text."""


class Then:
    """A model of an earlier moment, seen from the model of today.

    Args:
        model: The model of today.
        document: What the source answered at ``/schema`` of that moment.

    Attributes:
        tables: What tables of today were called; those that were not there are absent.
        keys: Which of today's keys there were, by identity.
        references: Which of today's foreign keys there were, by identity.
        gone: Tables and columns that there were and that today's model has no place for.
    """

    def __init__(self, model: CopiedModel, document: Doc) -> None:
        old = CopiedModel(document)
        self.tables = _matched(model.tables.items(), old.tables.items())
        self.keys = {key for key, _, _ in old.unique_keys()}
        self.references = {reference for reference, _, _ in old.references()}
        dropped = old.tables.keys() - set(self.tables.values())
        self.gone: list[tuple[TableName, str | None]] = [(name, None) for name in sorted(dropped)]
        self._columns: dict[TableName, dict[str, str]] = {}
        self._forms: dict[TableName, Any] = {}
        self._nullable: dict[TableName, set[str]] = {}
        for name, former in self.tables.items():
            self._read(name, former, model.tables[name], old.tables[former])

    def _read(self, name: TableName, former: TableName, today: Doc, then: Doc) -> None:
        new = {column["name"]: column for column in today["column_definitions"]}
        old = {column["name"]: column for column in then["column_definitions"]}
        pairs = {
            here: there
            for here, there in _matched(new.items(), old.items()).items()
            if _fits(old[there]["type"], new[here]["type"])
        }
        self._columns[name] = pairs
        self._forms[name] = (
            former,
            [(here, identity(old[there]), old[there]["type"]) for here, there in pairs.items()],
        )
        self._nullable[name] = {here for here in new if here not in pairs or old[pairs[here]]["nullok"]}
        self.gone += [(former, column) for column in sorted(old.keys() - set(pairs.values()))]

    def form(self, name: TableName) -> Any:
        """What shows whether all rows of a table are to be written anew: where their values came from."""
        return self._forms.get(name)

    def nullable(self, name: TableName) -> set[str]:
        """The columns of a table that may have been null."""
        return self._nullable.get(name, set())

    def row(self, name: TableName, row: Doc) -> Doc:
        """A row of then with the columns of today."""
        return {here: row.get(there) for here, there in self._columns[name].items()}


def _matched(new: Iterable[tuple[Any, Doc]], old: Iterable[tuple[Any, Doc]]) -> dict[Any, Any]:
    """The names that elements had: found by what they are, else by an equal name that nothing else has now."""
    new, old = list(new), list(old)
    known = {doc["RID"]: name for name, doc in old if doc.get("RID")}
    found = {name: known[doc["RID"]] for name, doc in new if doc.get("RID") in known}
    free = {name for name, _ in old} - set(found.values())
    found.update(_same_names((name for name, _ in new if name not in found), free))
    return found


def _same_names(names: Iterable[Any], free: set[Any]) -> Iterator[tuple[Any, Any]]:
    for name in names:
        if name in free:
            yield name, name


def _fits(old: Doc, new: Doc) -> bool:
    """Whether values of one type can be written into a column of another."""
    first, second = _plain(old), _plain(new)
    return first == second or second == "text" or second in WIDER.get(first, ())


def _plain(kind: Doc) -> str:
    """The name of a type below its domains."""
    while kind.get("is_domain") and kind.get("base_type"):
        kind = kind["base_type"]
    return str(kind["typename"])
