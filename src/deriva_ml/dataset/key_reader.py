"""Reading the keys of tables for the walk: each table once and whole, or the rows of few values, several at a time.

1. Where the service takes several requests in one, all tables that the walk may enter are looked at first, in one
   request; a short one is known then. The others are read when they are needed, those of one step in one request. If
   the dataset holds much of what the catalog has, those that may be needed later are read along with them.
2. Elsewhere a table is asked for when it is needed, in a request of its own.
3. Where the length of lines is wanted too, it is that of whole rows: of the first look, or, where each request counts,
   of the rows that are read for their keys, as long as they are not too many.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from deriva_ml.catalog.several import CONCURRENCY
from deriva_ml.catalog.streaming import Columns, columns_of
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.keys import TableKeys, Values
from deriva_ml.schema.session import Session
from deriva_ml.wire.batch import Member
from deriva_ml.wire.http import Response
from deriva_ml.wire.model import Model, Table
from deriva_ml.wire.path import Path, any_of, cnt, table
from deriva_ml.wire.syntax import encode

__all__ = ["USUAL", "Bounds", "KeyReader", "Lookup", "chunks", "parallel"]

Name = tuple[str, str]

FEW_BYTES = 2500
"""Values that together are not longer than this are asked for by themselves, in one request."""

_SYSTEM = frozenset({"RCB", "RMB"})


def parallel(session: Session) -> int:
    """How many requests to send at a time: a service in this process answers one after the other in any case."""
    return 1 if session.place.base_url is None else CONCURRENCY


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is read in which way; what is found is the same whatever they are.

    Attributes:
        few_lists: So many lists of values are asked for at most; then the table is read whole.
        many_lists: The same where several requests go in one.
        glance: A table of not more rows is known after the first look at it.
        measured: Of a table of not more rows all columns are read for the length of its lines, where each request
            counts.
        ahead: Tables of not more rows are read ahead, if the dataset holds much of what there is.
        ahead_together: How many rows may be read ahead of all tables together.
        share: Much is at least this part of the members that were seen at the first look.
        long: A table of more rows is never read whole: what is looked for in it is, in as many requests as that takes.
    """

    few_lists: int = 3
    many_lists: int = 8
    glance: int = 2000
    measured: int = 50_000
    ahead: int = 100_000
    ahead_together: int = 2_000_000
    share: float = 0.05
    long: int = 2_000_000


USUAL = Bounds()


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is looked for in a table.

    Attributes:
        table: The table.
        columns: Columns of it.
        values: Their values; None for whatever there is.
        is_key: The columns are a key: a value has one row.
    """

    table: Table
    columns: tuple[str, ...]
    values: Values | None
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request for rows of a table.

    Attributes:
        table: The table.
        path: Which rows.
        limit: These are all rows of the table, if they are not more than this; None if they are some of them.
        measured: All of their columns are asked for.
    """

    table: Table
    path: Path
    limit: int | None = None
    measured: bool = False


class KeyReader:
    """Reads the keys of tables, as far as they are looked for.

    Args:
        session: The catalog as of a moment.
        model: Its model.
        extra: Further columns to read where a table has them.
        measured: Find out how long lines of CSV are too.
        bounds: How much is read in which way.

    Attributes:
        session: The catalog as of a moment.
        bounds: How much is read in which way.
        together: The service takes several requests in one.
        keys_of: What has been read, by table.
    """

    def __init__(
        self,
        session: Session,
        model: Model,
        extra: Collection[str] = (),
        *,
        measured: bool = False,
        bounds: Bounds = USUAL,
    ) -> None:
        self.session = session
        self.bounds = bounds
        self.together = session.catalog.takes_batches
        self.keys_of: dict[Name, TableKeys] = {}
        self._model = model
        self._extra = frozenset(extra)
        self._measured = measured
        self._glances: dict[Name, Columns] = {}
        self._lock = threading.Lock()

    def keys(self, found: Table) -> TableKeys:
        """What is known of a table's rows."""
        name = found.qualified
        if name not in self.keys_of:
            self.keys_of[name] = TableKeys(self._columns(found))
        return self.keys_of[name]

    def _columns(self, found: Table) -> list[str]:
        """The RID, then whatever a reference uses, be it from here or to here."""
        used = {name for fkey in found.foreign_keys for name in fkey.columns}
        used |= {name for fkey in self._model.referenced_by(found) for name in fkey.referenced_columns}
        used |= {column.name for column in found.columns if column.name in self._extra}
        return ["RID", *sorted(used - _SYSTEM - {"RID"})]

    # ------------------------------------------------------------------------------------------ first looks

    def glance(self, tables: Iterable[Table]) -> None:
        """Look at tables for the first time: a short one is known then, of a long one its first rows have been seen."""
        self._send([self._whole(each, self.bounds.glance, measured=self._measured) for each in tables])

    def share(self, links: Iterable[tuple[Table, str]], values: Collection[str]) -> float:
        """Which part of the rows that were seen of long tables has one of some values in a column.

        Args:
            links: Tables, each with a column.
            values: The values.

        Returns:
            1 if none of them is long.
        """
        seen = [
            self._glances[each.qualified].values[self.keys(each).names.index(name)]
            for each, name in links
            if each.qualified in self._glances
        ]
        count = sum(map(len, seen))
        return sum(value in values for column in seen for value in column) / count if count else 1.0

    def count(self, tables: Iterable[Table]) -> dict[Name, int]:
        """How many rows tables have; only those are asked for of which not all rows are known."""
        named = {each.qualified: each for each in tables}
        open_ = [name for name in named if not self.keys(named[name]).whole]
        rows = self.session.catalog.batch_rows([table(*name).aggregate(rows=cnt("RID")) for name in open_])
        counted = {name: int(str(found[0]["rows"])) for name, found in zip(open_, rows, strict=True)}
        return {name: counted.get(name, self.keys(named[name]).count) for name in named}

    # ------------------------------------------------------------------------------------------ what is looked for

    def read(self, lookups: Iterable[Lookup], ahead: Iterable[Table] = ()) -> None:
        """See to it that all rows are known that are looked for.

        Args:
            lookups: What is looked for.
            ahead: Tables that may be needed later: they are read along, if they are not too long.
        """
        open_: dict[Name, list[Lookup]] = {}
        for lookup in lookups:
            if not self._is_known(lookup):
                open_.setdefault(lookup.table.qualified, []).append(lookup)
        open_ = {name: _joined(wanted) for name, wanted in open_.items()}
        later = [each for each in ahead if each.qualified not in open_ and not self.keys(each).whole]
        limit = min(self.bounds.ahead, self.bounds.ahead_together // max(len(later), 1))
        asks = [ask for wanted in open_.values() for ask in self._asks(wanted)]
        self._send([*asks, *(self._whole(each, limit) for each in later)])
        self._finish(open_.values())

    def _finish(self, groups: Iterable[Sequence[Lookup]]) -> None:
        """Read what turned out to be too long to be read in the way that was tried first."""
        left = [wanted for wanted in groups if not all(map(self._is_known, wanted))]
        if self._measured and not self.together:
            self._send([self._whole(wanted[0].table, self.bounds.long) for wanted in left])
            left = [wanted for wanted in left if not all(map(self._is_known, wanted))]
        self._send([ask for wanted in left for lookup in wanted for ask in self._by_values(lookup)])

    def _is_known(self, lookup: Lookup) -> bool:
        keys = self.keys(lookup.table)
        if keys.whole:
            return True
        if lookup.values is None:
            return False
        if keys.is_complete(lookup.columns, lookup.values):
            return True
        # A value of a key has one row: if it is there, nothing is missing.
        return lookup.is_key and len(lookup.columns) == 1 and lookup.values <= set(keys.column(lookup.columns[0]))

    def _asks(self, lookups: Sequence[Lookup]) -> list[_Ask]:
        """What to ask for first of what is looked for in one table."""
        found = lookups[0].table
        if any(lookup.values is None for lookup in lookups):
            return [self._whole(found, None, measured=self._measured and not self.together)]
        most = self.bounds.many_lists if self.together else self.bounds.few_lists
        left = most - len(self.keys(found).asked)
        if all(len(lookup.columns) == 1 for lookup in lookups) and _lists(lookups, left) <= left:
            return [ask for lookup in lookups for ask in self._by_values(lookup)]
        if self._measured and not self.together:
            return [self._whole(found, self.bounds.measured, measured=True)]
        return [self._whole(found, self.bounds.long)]

    def _whole(self, found: Table, limit: int | None, *, measured: bool = False) -> _Ask:
        path = table(*found.qualified)
        return _Ask(found, path if limit is None else path.limited(limit + 1), limit or sys.maxsize, measured)

    def _by_values(self, lookup: Lookup) -> Iterator[_Ask]:
        """The rows with some values, in as many requests as the list of values takes."""
        keys, values = self.keys(lookup.table), lookup.values or set()
        column = lookup.columns[0]
        # Of a key of several columns the first is asked for: what comes beside what was meant does no harm.
        wanted = sorted({value if isinstance(value, str) else value[0] for value in values})
        for part in chunks(wanted, FEW_BYTES):
            keys.asked.append((column, part))
            path = table(*lookup.table.qualified).where(any_of(column, part))
            yield _Ask(lookup.table, path, measured=self._measured)
        keys.completed(lookup.columns, values)

    # ------------------------------------------------------------------------------------------ sending

    def _send(self, asks: Sequence[_Ask]) -> None:
        members = [Member("GET", self._target(ask), accept="text/csv") for ask in asks]
        self.session.catalog.batch(members, lambda place, answer: self._take(asks[place], answer))

    def _target(self, ask: _Ask) -> str:
        return ask.path.entity() if ask.measured else ask.path.attributes(*self.keys(ask.table).names)

    def _take(self, ask: _Ask, answer: Response) -> None:
        keys = self.keys(ask.table)
        columns = columns_of(answer, keys.names)
        with self._lock:  # several lists of one table may arrive at a time
            if ask.measured:
                keys.measure(columns.count, columns.length)
            if ask.limit is not None and columns.count > ask.limit:
                if ask.limit == self.bounds.glance:
                    self._glances[ask.table.qualified] = columns
                return
            if not keys.whole:
                keys.add(columns.values)
                keys.whole = ask.limit is not None


def _joined(lookups: Sequence[Lookup]) -> list[Lookup]:
    """What is looked for in one table, values of the same columns together."""
    found: dict[tuple[str, ...], Lookup] = {}
    for lookup in lookups:
        before = found.get(lookup.columns)
        if before is None or before.values is None:
            found.setdefault(lookup.columns, lookup)
        elif lookup.values is None:
            found[lookup.columns] = lookup
        else:
            found[lookup.columns] = replace(lookup, values=before.values | lookup.values)  # type: ignore[operator]
    return list(found.values())


def _lists(lookups: Iterable[Lookup], most: int) -> int:
    """How many lists the values that are looked for make; at least one more than ``most`` if they are many."""
    count = 0
    for lookup in lookups:
        values = lookup.values or set()
        if len(values) > (most - count) * FEW_BYTES // 2:
            return most + 1
        length = sum(len(encode(str(value))) + 1 for value in values)
        count += max(1, -(-length // FEW_BYTES))
    return count


def chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of values that are at most ``size`` bytes long in a request."""
    part: list[str] = []
    length = 0
    for value in values:
        needed = len(encode(value)) + 1
        if part and length + needed > size:
            yield part
            part, length = [], 0
        part.append(value)
        length += needed
    if part:
        yield part
