"""A catalog made anew with another one's model and a part of its rows, for a while only.

It takes what the other would take: names and types of columns, what may be null, keys, references, terms of
vocabularies. Which rows it has is said by whoever makes it; rows that those refer to come along, and what these refer
to, until nothing is missing. A reference that the rows do not allow for all that (its other side may not be read) is
not made, and named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.copy_model import CopiedModel, Doc, TableName
from deriva_ml.catalog.copy_rows import KEPT, is_conflict
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.wire import targets
from deriva_ml.wire.model import SYSTEM_COLUMNS, Json

__all__ = ["Sketch"]

PAGE = 5000
"""Rows that are held at a time."""


class Sketch:
    """A catalog that is being made after another one.

    Args:
        source: The catalog; it is only read.
        target: A new, empty one.

    Attributes:
        refused: References that the rows did not allow, in words.
    """

    def __init__(self, source: CatalogClient, target: CatalogClient) -> None:
        self._source = source
        self._target = target
        self._model = CopiedModel(source.get("/schema"))
        self._documents = [document for _identity, _target, document in self._model.references()]
        self._rids: dict[TableName, set[str]] = {}
        self._known: dict[tuple[TableName, str], set[Json]] = {}
        self._wanted: dict[tuple[TableName, str], set[Json]] = {}
        self.refused: list[str] = []
        keys = [key for key, _name, _document in self._model.unique_keys()]
        target.create_tables(self._model.creation(keys, ()))

    def add(self, name: TableName, rows: Iterable[Row]) -> None:
        """Bring rows of a table, each once; nothing of a table that the catalog does not have now.

        Args:
            name: The table.
            rows: The rows; those of an earlier moment may lack columns.
        """
        if name not in self._model.tables:
            return
        given = iter(rows)
        while page := list(islice(given, PAGE)):
            self._add(name, page)

    def take(self, name: TableName, column: str, values: Iterable[Json]) -> None:
        """Bring the rows of a table in which a column has one of the values."""
        if name in self._model.tables:
            self.add(name, self._source.rows_by(*name, column, values))

    def finish(self) -> None:
        """Bring what the rows refer to, and make the references."""
        asked: dict[tuple[TableName, str], set[Json]] = {}
        while missing := self._missing(asked):
            for (name, column), values in missing.items():
                asked.setdefault((name, column), set()).update(values)
                self.take(name, column, sorted(values, key=str))
        self._refer(self._documents)

    def _missing(self, asked: Mapping[tuple[TableName, str], set[Json]]) -> dict[tuple[TableName, str], set[Json]]:
        found = {}
        for place, values in self._wanted.items():
            left = values - self._known.get(place, set()) - asked.get(place, set())
            if left and place[0] in self._model.tables:
                found[place] = left
        return found

    def _add(self, name: TableName, page: Sequence[Row]) -> None:
        there = self._rids.setdefault(name, set())
        new = [row for row in page if str(row["RID"]) not in there]
        needed = {
            str(column["name"])
            for column in self._model.tables[name]["column_definitions"]
            if not column["nullok"] and column["name"] not in SYSTEM_COLUMNS
        }
        if any(not needed <= row.keys() for row in new):  # of a moment before the table had the column
            new = self._source.rows_by(*name, "RID", [row["RID"] for row in new])
        there.update(str(row["RID"]) for row in new)
        own = [column for column in self._model.columns(name) if column not in SYSTEM_COLUMNS]
        made = [{column: row.get(column) for column in (*own, *KEPT)} for row in new]
        self._target.insert(*name, made, nondefaults=KEPT)
        for near, far, column, other in self._single():
            if near == name:
                self._wanted.setdefault((far, other), set()).update(_values(new, column))
            if far == name:
                self._known.setdefault((far, other), set()).update(_values(new, other))

    def _single(self) -> Iterator[tuple[TableName, TableName, str, str]]:
        """The references of one column each: both tables, and both columns."""
        for document in self._documents:
            near, far = document["foreign_key_columns"], document["referenced_columns"]
            if len(near) == 1:
                yield _place(near[0]), _place(far[0]), str(near[0]["column_name"]), str(far[0]["column_name"])

    def _refer(self, documents: Sequence[Doc]) -> None:
        """Make references, all at once if the rows allow; else those that they allow."""
        if not documents:
            return
        try:
            self._target.send("POST", targets.schema(), document=list(documents))
        except DerivaMLCatalogError as error:
            if not is_conflict(error):
                raise
            half = len(documents) // 2
            if half:
                self._refer(documents[:half])
                self._refer(documents[half:])
            else:
                columns = documents[0]["foreign_key_columns"]
                names = ", ".join(str(column["column_name"]) for column in columns)
                self.refused.append(f"{':'.join(_place(columns[0]))} {names}")


def _place(column: Doc) -> TableName:
    return column["schema_name"], column["table_name"]


def _values(rows: Iterable[Row], column: str) -> set[Json]:
    return {value for row in rows if (value := row.get(column)) is not None and not isinstance(value, (list, dict))}
