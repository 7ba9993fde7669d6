"""The part of a catalog that can be reached from one record: its tables, and the rows of each.

Only keys are read for that (`keys`), so all is known before anything is written: what comes along, and which rows would
refer to rows that do not (`part_orphans`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import field

from deriva_ml.core.codes import normalise
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLRidsNotFound
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.following import follow
from deriva_ml.dataset.key_reader import KeyReader, Lookup
from deriva_ml.dataset.keys import RowSet, count_rows
from deriva_ml.dataset.part_rules import PartRules
from deriva_ml.dataset.reach import Found, nested_rows
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_vocabulary
from deriva_ml.wire.model import Model, Table

__all__ = ["Selection", "select_part", "start_of"]

Name = tuple[str, str]


@dataclass
class Selection:
    """The rows of each table that come along.

    Attributes:
        model: The source's model.
        reader: What is known of its keys.
        rows: The rows, by table; of a table without rows none need be there.
        tables: The tables of the part, with or without rows.
    """

    model: Model
    reader: KeyReader
    rows: dict[Name, RowSet] = field(default_factory=dict)
    tables: set[Name] = field(default_factory=set)

    def table(self, name: Name) -> Table:
        """A table of the model."""
        return self.model.schemas[name[0]].tables[name[1]]

    def rows_of(self, name: Name) -> RowSet:
        """The rows of a table that come along."""
        return self.rows.get(name, 0)

    def found(self, name: Name) -> Found:
        """The same, to be read."""
        table = self.table(name)
        return Found(table, self.reader.keys(table), self.rows_of(name))

    def counts(self) -> dict[Name, int]:
        """How many rows of each table come along."""
        return {name: count_rows(self.rows_of(name)) for name in sorted(self.tables)}

    def add(self, name: Name, rows: RowSet) -> bool:
        """Let rows come along; whether any is new."""
        before = self.rows_of(name)
        self.rows[name] = before | rows
        return self.rows[name] != before


def start_of(session: Session, root_rid: str) -> tuple[Table, str]:
    """The table of the record that a part is reached from, and its RID as the catalog writes it.

    Raises:
        DerivaMLRidsNotFound: There is no such record, or the user may not see it.
    """
    place = session.catalog.resolve_rids([root_rid]).get(root_rid)
    found = session.model().table(*place) if place else None
    written = {root_rid, normalise(root_rid)}
    rows = session.catalog.rows_by(*found.qualified, "RID", written, columns=["RID"]) if found else []
    if found is None or not rows:
        raise DerivaMLRidsNotFound(
            [root_rid],
            source=f"root_rid, catalog {session.catalog_id} of {session.place}",
            hint="name a record that is in the source, and that you may see",
        )
    return found, str(rows[0]["RID"])


def select_part(
    session: Session,
    rules: PartRules,
    root_rid: str,
    *,
    whole: Collection[Name] = (),
    made: Collection[Name] = (),
    associations: bool = True,
    vocabularies: bool = True,
) -> Selection:
    """Find what can be reached from one record.

    Args:
        session: The source as of a moment.
        rules: Where the walk may go.
        root_rid: The record.
        whole: Tables whose rows all come along.
        made: Tables that the part has in any case, with or without rows.
        associations: All rows of associations come along whose two ends do, not only those that were walked through.
        vocabularies: Of a vocabulary that is referred to all terms come along, not only those in use.
    """
    finder = _Finder(session, rules, vocabularies=vocabularies)
    finder.walk(root_rid)
    for name in whole:
        finder.take_whole(name)
    finder.part.tables |= {*made, *whole, *(name for name, rows in finder.part.rows.items() if rows)}
    finder.complete(associations=associations)
    return finder.part


class _Finder:
    def __init__(self, session: Session, rules: PartRules, *, vocabularies: bool) -> None:
        self._rules = rules
        self._reader = KeyReader(session, rules.model)
        self._vocabularies = vocabularies
        self.part = Selection(rules.model, self._reader)

    def walk(self, root_rid: str) -> None:
        start = self._rules.start
        if start.qualified in self._rules.excluded:
            raise DerivaMLDataError(
                f"{start.schema}:{start.name}, the table of {root_rid}, is excluded, and nothing can be reached.",
                source=f"root_rid {root_rid}",
                hint="name another record, or do not exclude its table",
            )
        roots = {root_rid}
        nested = self._rules.ml_table(MLTable.dataset_dataset.value)
        if self._rules.starts_at_dataset and nested is not None and nested.qualified not in self._rules.excluded:
            descendants, pairs = nested_rows(self._reader, nested, root_rid)
            roots |= set(descendants)
            self.part.add(nested.qualified, pairs)
        self._reader.read([Lookup(start, ("RID",), roots, is_key=True)])
        present = self._reader.keys(start).having(("RID",), roots)
        for name, rows in follow(self._reader, self._rules, start, present).items():
            self.part.add(name, rows)

    def take_whole(self, name: Name) -> bool:
        """Let all rows of a table come along; whether any is new."""
        table = self.part.table(name)
        self._reader.read([Lookup(table, ("RID",), None)])
        keys = self._reader.keys(table)
        return self.part.add(name, keys.having(("RID",), set(keys.column("RID"))))

    def complete(self, *, associations: bool) -> None:
        """Let come along what rows refer to, and associations between them, until nothing is new."""
        changed = True
        while changed:
            changed = self._close()
            if associations:
                changed = self._associate() or changed

    def _close(self) -> bool:
        """Let come along what rows refer to; a table is looked at again when it has got rows."""
        changed = False
        waiting = dict.fromkeys(sorted(self.part.tables))
        while waiting:
            name = next(iter(waiting))
            del waiting[name]
            for other, columns, keys in self._references(name):
                if self._refer(name, other, columns, keys):
                    waiting[other.qualified] = None
                    changed = True
        return changed

    def _references(self, name: Name) -> Iterator[tuple[Table, tuple[str, ...], tuple[str, ...]]]:
        for fk in self.part.table(name).foreign_keys:
            other = self._rules.model.table(*fk.referenced_table)
            if other is not None and other.qualified not in self._rules.excluded:
                yield other, fk.columns, fk.referenced_columns

    def _refer(self, name: Name, other: Table, columns: tuple[str, ...], referenced: tuple[str, ...]) -> bool:
        """Let come along what the rows of a table refer to by some columns."""
        if self._vocabularies and is_vocabulary(other):
            self.part.tables.add(other.qualified)
            return self.take_whole(other.qualified)
        wanted = self._reader.keys(self.part.table(name)).values(columns, self.part.rows_of(name))
        known = self._reader.keys(other).values(referenced, self.part.rows_of(other.qualified))
        missing = wanted - known
        if not missing:
            return False
        self._reader.read([Lookup(other, referenced, missing, is_key=True)])
        found = self._reader.keys(other).having(referenced, missing)
        if found:
            self.part.tables.add(other.qualified)
        return self.part.add(other.qualified, found)

    def _associate(self) -> bool:
        changed = False
        for table in self._rules.model.tables():
            sides = table.association_keys()
            if not sides or table.qualified in self._rules.excluded:
                continue
            if all(fk.referenced_table in self.part.tables for fk in sides):
                changed = self._join(table) or changed
        return changed

    def _join(self, table: Table) -> bool:
        """Let the rows of an association come along whose ends do; the table is there in any case."""
        is_new = table.qualified not in self.part.tables
        self.part.tables.add(table.qualified)
        sides = table.association_keys()
        ends = [
            self._reader.keys(self.part.table(fk.referenced_table)).values(
                fk.referenced_columns, self.part.rows_of(fk.referenced_table)
            )
            for fk in sides
        ]
        if not all(ends):
            return is_new
        fewest = min(range(len(sides)), key=lambda at: len(ends[at]))
        self._reader.read([Lookup(table, sides[fewest].columns, ends[fewest])])
        keys = self._reader.keys(table)
        found = -1
        for fk, values in zip(sides, ends, strict=True):
            found &= keys.having(fk.columns, values)
        return self.part.add(table.qualified, found) or is_new
