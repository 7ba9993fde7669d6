"""The order in which tables can be filled and emptied, as their references demand it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from deriva_ml.core.exceptions import DerivaMLCycleError, DerivaMLTableNotFound
from deriva_ml.core.files import nearest

__all__ = ["ForeignKeyOrderer"]

Name = tuple[str, str]


class ForeignKeyOrderer:
    """The references between the tables of some schemas.

    A table that refers to itself depends on nothing by that. Tables that depend on each other in a circle stand beside
    each other, by name.

    Args:
        model: The model: that of a ``DerivaML``, of a bag, or the ``deriva`` package's own.
        schemas: The schemas; references that lead out of them do not count.
    """

    def __init__(self, model: Any, schemas: Iterable[str]) -> None:
        self._tables: dict[Name, Any] = {
            (schema, name): table
            for schema in sorted(set(schemas))
            if schema in model.schemas
            for name, table in sorted(model.schemas[schema].tables.items())
        }

    @cached_property
    def _needs(self) -> Mapping[Name, list[Name]]:
        return {
            name: sorted({other for other in _referenced(table) if other != name and other in self._tables})
            for name, table in self._tables.items()
        }

    def _name(self, table: Any) -> Name:
        """The schema and the name of a table that is given, or named as ``Table`` or ``schema:Table``."""
        if not isinstance(table, str):
            name = (_schema(table), table.name)
            found = [name] if name in self._tables else []
        else:
            schema, colon, rest = table.partition(":")
            wanted = rest if colon else table
            found = [name for name in self._tables if name[1] == wanted and (not colon or name[0] == schema)]
        if not found:
            text = table if isinstance(table, str) else f"{_schema(table)}:{table.name}"
            raise DerivaMLTableNotFound(text, allowed=nearest(text, (name for _schema_name, name in self._tables)))
        return found[0]

    def get_dependencies(self, table: Any) -> list[Any]:
        """The tables that a table refers to, which must have their rows before it.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        return [self._tables[name] for name in self._needs[self._name(table)]]

    def get_dependents(self, table: Any) -> list[Any]:
        """The tables that refer to a table.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        wanted = self._name(table)
        return [self._tables[name] for name, needs in self._needs.items() if wanted in needs]

    @cached_property
    def _circles(self) -> list[list[Name]]:
        """All tables, what is needed first; those that depend on each other together."""
        return _components(self._needs)

    def get_insertion_order(self, tables: Iterable[Any] | None = None, handle_cycles: bool = True) -> list[Any]:
        """The tables in an order in which each comes after those that it refers to.

        Args:
            tables: These tables only; all by default.
            handle_cycles: Tables that depend on each other are put beside each other; else they are an error.

        Raises:
            DerivaMLTableNotFound: There is no such table.
            DerivaMLCycleError: Tables depend on each other.
        """
        wanted = set(self._tables) if tables is None else {self._name(table) for table in tables}
        order: list[Any] = []
        for circle in self._circles:
            chosen = [name for name in circle if name in wanted]
            if len(chosen) > 1 and not handle_cycles:
                raise DerivaMLCycleError([f"{schema}:{name}" for schema, name in chosen], "Tables refer to each other")
            order += [self._tables[name] for name in chosen]
        return order

    def get_deletion_order(self, tables: Iterable[Any] | None = None, handle_cycles: bool = True) -> list[Any]:
        """The tables in an order in which each comes before those that it refers to; see ``get_insertion_order``."""
        return self.get_insertion_order(tables, handle_cycles)[::-1]

    def find_cycles(self) -> list[list[Any]]:
        """The groups of tables that depend on each other."""
        return [[self._tables[name] for name in circle] for circle in self._circles if len(circle) > 1]

    def validate_insertion_order(self, tables: Sequence[Any]) -> list[tuple[Any, Any]]:
        """What is wrong with an order: each table that comes before one that it refers to, with that one.

        Raises:
            DerivaMLTableNotFound: There is no such table.
        """
        names = [self._name(table) for table in tables]
        place = {name: at for at, name in enumerate(names)}
        return [
            (self._tables[name], self._tables[needed])
            for name in names
            for needed in self._needs[name]
            if place.get(needed, -1) > place[name]
        ]


def _schema(table: Any) -> str:
    return table.schema if isinstance(table.schema, str) else str(table.schema.name)


def _referenced(table: Any) -> list[Name]:
    # Our own model names the referenced table, the deriva package's has it.
    return [
        fkey.referenced_table if hasattr(fkey, "referenced_table") else (_schema(fkey.pk_table), fkey.pk_table.name)
        for fkey in table.foreign_keys
    ]


def _components(needs: Mapping[Name, Sequence[Name]]) -> list[list[Name]]:
    """The strongly connected parts, what is needed first (Tarjan's algorithm, without recursion)."""
    number: dict[Name, int] = {}
    lowest: dict[Name, int] = {}
    stack: list[Name] = []
    waiting: set[Name] = set()
    found: list[list[Name]] = []
    for start in needs:
        work = [(start, iter(needs[start]))] if start not in number else []
        while work:
            name, rest = work[-1]
            if name not in number:
                number[name] = lowest[name] = len(number)
                stack.append(name)
                waiting.add(name)
            following = next((other for other in rest if other not in number or other in waiting), None)
            if following is None:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[name])
                if lowest[name] == number[name]:
                    at = stack.index(name)
                    part, stack = stack[at:], stack[:at]
                    waiting.difference_update(part)
                    found.append(sorted(part))
            elif following in number:
                lowest[name] = min(lowest[name], number[following])
            else:
                work.append((following, iter(needs[following])))
    return found
