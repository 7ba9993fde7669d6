"""Rows that refer to rows which do not come along, and what is done about them; no I/O.

It is decided over keys, before anything is written. A row that is left out may leave others without what they refer to,
so it is looked again until nothing is found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from deriva_ml.catalog.clone_result import Orphans, OrphanStrategy
from deriva_ml.catalog.copy_part import Changes
from deriva_ml.core.exceptions import DerivaMLOrphansFound
from deriva_ml.dataset.keys import RowSet, count_rows
from deriva_ml.dataset.part import Selection
from deriva_ml.wire.model import ForeignKey

__all__ = ["Settling"]

Name = tuple[str, str]

SHOWN = 5
"""RIDs of orphans that a report names for each foreign key."""

HINT = (
    "leave them out, with what refers to them (orphan_strategy DELETE, --orphans delete), or make their references "
    "null (NULLIFY, --orphans nullify); or do not exclude what they refer to"
)


class Settling:
    """Settles what becomes of orphans.

    Args:
        part: What comes along; rows are taken out of it.
        unbound: Tables to which no reference is made.
        strategy: What is to be done.

    Attributes:
        nulled: The rows whose column becomes null, by table and column.
        done: What was found, and what was done about it.
    """

    def __init__(self, part: Selection, unbound: Collection[Name], strategy: OrphanStrategy) -> None:
        self._part = part
        self._unbound = unbound
        self._strategy = strategy
        self.nulled: dict[Name, dict[str, RowSet]] = {}
        self.done: list[Orphans] = []

    def settle(self) -> None:
        """Do what is to be done, until no row refers to what does not come along.

        Raises:
            DerivaMLOrphansFound: There are such rows, and nothing is to be done about them.
        """
        while found := list(self._orphans()):
            for fk, rows in found:
                self._handle(fk, rows)
            if self._strategy is OrphanStrategy.FAIL:
                said = [str(each) for each in self.done]
                raise DerivaMLOrphansFound(said, source="the rows that are to be copied", hint=HINT)

    def without(self, lost: Mapping[Name, Collection[str]]) -> Changes:
        """What follows from rows that did not arrive, beyond what was settled before.

        Raises:
            DerivaMLOrphansFound: Others refer to them, and nothing is to be done about that.
        """
        before = dict(self._part.rows)
        nulled = {name: dict(columns) for name, columns in self.nulled.items()}
        for name, rids in lost.items():
            gone = self._part.reader.keys(self._part.table(name)).having(("RID",), set(rids))
            self._part.rows[name] &= ~gone
            before[name] &= ~gone
        self.settle()
        deleted = {name: self._rids(name, rows & ~self._part.rows_of(name)) for name, rows in before.items()}
        made_null = {
            name: {
                column: self._rids(name, rows & ~nulled.get(name, {}).get(column, 0) & self._part.rows_of(name))
                for column, rows in columns.items()
            }
            for name, columns in self.nulled.items()
        }
        return Changes(
            {name: rids for name, rids in deleted.items() if rids},
            {name: {key: rids for key, rids in columns.items() if rids} for name, columns in made_null.items()},
        )

    def nulled_rids(self) -> dict[Name, dict[str, frozenset[str]]]:
        """The RIDs of the rows whose column becomes null, by table and column."""
        return {
            name: {column: frozenset(self._rids(name, rows)) for column, rows in columns.items()}
            for name, columns in self.nulled.items()
        }

    def _rids(self, name: Name, rows: RowSet) -> list[str]:
        return self._part.reader.keys(self._part.table(name)).rids(rows) if rows else []

    def _orphans(self) -> Iterator[tuple[ForeignKey, RowSet]]:
        for name in sorted(self._part.tables):
            for fk in self._part.table(name).foreign_keys:
                if fk.referenced_table in self._part.tables and fk.referenced_table not in self._unbound:
                    rows = self._hanging(fk)
                    if rows:
                        yield fk, rows

    def _hanging(self, fk: ForeignKey) -> RowSet:
        """The rows whose reference leads nowhere."""
        part = self._part
        rows = part.rows_of(fk.table)
        for column in fk.columns:
            rows &= ~self.nulled.get(fk.table, {}).get(column, 0)
        if not rows:
            return 0
        keys = part.reader.keys(part.table(fk.table))
        other = part.reader.keys(part.table(fk.referenced_table))
        there = other.values(fk.referenced_columns, part.rows_of(fk.referenced_table))
        lost = keys.values(fk.columns, rows) - there
        return keys.having(fk.columns, lost) & rows if lost else 0

    def _handle(self, fk: ForeignKey, rows: RowSet) -> None:
        table = self._part.table(fk.table)
        nullable = [each.name for each in table.columns if each.name in fk.columns and each.nullok]
        action = self._strategy
        if action is OrphanStrategy.NULLIFY and not nullable:
            action = OrphanStrategy.DELETE
        rids = self._rids(fk.table, rows)[:SHOWN]
        other = ":".join(fk.referenced_table)
        self.done.append(Orphans(":".join(fk.table), fk.columns, other, count_rows(rows), action, tuple(rids)))
        if action is OrphanStrategy.DELETE:
            self._part.rows[fk.table] &= ~rows
        elif action is OrphanStrategy.NULLIFY:
            for column in nullable:
                columns = self.nulled.setdefault(fk.table, {})
                columns[column] = columns.get(column, 0) | rows
