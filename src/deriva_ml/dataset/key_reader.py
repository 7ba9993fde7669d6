"""Reading the keys of tables for the walk: each table once and whole, or the rows of few values, several at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deriva_ml.catalog.streaming import read_columns
from deriva_ml.dataset.keys import TableKeys, Values
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Model, Table
from deriva_ml.wire.path import any_of, table
from deriva_ml.wire.syntax import encode

__all__ = ["KeyReader", "Lookup", "chunks", "parallel"]

Name = tuple[str, str]

FEW_BYTES = 2500
"""Values that together are not longer than this are asked for by themselves, in one request."""

FEW_LISTS = 3
"""So often at most; then the table is read whole."""

LONG = 2_000_000
"""A table of more rows is never read whole: what is looked for in it is, in as many requests as that takes."""

CONCURRENCY = 8
_SYSTEM = frozenset({"RCB", "RMB"})


def parallel(session: Session) -> int:
    """How many requests to send at a time: a service in this process answers one after the other in any case."""
    return 1 if session.place.base_url is None else CONCURRENCY


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


class KeyReader:
    """Reads the keys of tables, as far as they are looked for.

    Args:
        session: The catalog as of a moment.
        model: Its model.
        extra: Further columns to read where a table has them.

    Attributes:
        session: The catalog as of a moment.
        keys_of: What has been read, by table.
    """

    def __init__(self, session: Session, model: Model, extra: Collection[str] = ()) -> None:
        self.session = session
        self.keys_of: dict[Name, TableKeys] = {}
        self._model = model
        self._extra = frozenset(extra)

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

    def read(self, lookups: Iterable[Lookup]) -> None:
        """See to it that all rows are known that are looked for."""
        open_: dict[Name, list[Lookup]] = {}
        for lookup in lookups:
            if not self._is_known(lookup):
                open_.setdefault(lookup.table.qualified, []).append(lookup)
        if len(open_) < 2 or (several := parallel(self.session)) == 1:
            for wanted in open_.values():
                self._read(wanted)
            return
        with ThreadPoolExecutor(min(several, len(open_)), "deriva-ml-keys") as pool:
            for _done in pool.map(self._read, open_.values()):
                """Errors are raised here."""

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

    def _read(self, lookups: Sequence[Lookup]) -> None:
        """Read what is looked for in one table."""
        keys = self.keys(lookups[0].table)
        if len(keys.asked) + len(lookups) <= FEW_LISTS and all(map(_is_short, lookups)):
            for lookup in lookups:
                self._read_values(keys, lookup)
            return
        bounded = all(lookup.values is not None for lookup in lookups)
        if self._read_whole(keys, lookups[0].table, bounded=bounded):
            return
        for lookup in lookups:
            self._read_values(keys, lookup)

    def _read_whole(self, keys: TableKeys, found: Table, *, bounded: bool) -> bool:
        path = table(*found.qualified)
        columns = read_columns(self.session.catalog, path.limited(LONG + 1) if bounded else path, keys.names)
        if bounded and len(columns[0]) > LONG:
            return False
        keys.add(columns)
        keys.whole = True
        return True

    def _read_values(self, keys: TableKeys, lookup: Lookup) -> None:
        """Read the rows with some values, in as many requests as the list of values takes."""
        values = lookup.values or set()
        column = lookup.columns[0]
        # Of a key of several columns the first is asked for: what comes beside what was meant does no harm.
        wanted = sorted({value if isinstance(value, str) else value[0] for value in values})
        for part in chunks(wanted, FEW_BYTES):
            path = table(*lookup.table.qualified).where(any_of(column, part))
            keys.asked.append((column, part))
            keys.add(read_columns(self.session.catalog, path, keys.names))
        keys.completed(lookup.columns, values)


def _is_short(lookup: Lookup) -> bool:
    values = lookup.values
    if values is None or len(lookup.columns) > 1 or len(values) > FEW_BYTES // 2:
        return False
    return sum(len(encode(str(value))) + 1 for value in values) <= FEW_BYTES


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
