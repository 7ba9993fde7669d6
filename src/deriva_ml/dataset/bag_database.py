"""A bag's own database: its tables as SQLite, built once from the CSVs, then only read.

A file beside the bag. It is opened as immutable, for the time of one query: no lock, no journal, nothing to close, and
any number of threads and processes may read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableNotFound
from deriva_ml.core.files import nearest, require
from deriva_ml.dataset.bag_layout import ASSETS, payload_path, read_info, read_schemas, table_path
from deriva_ml.dataset.cells import is_boolean, read_csv, reader, sql_type
from deriva_ml.dataset.denormalize import Joins
from deriva_ml.dataset.joined_sql import joined_sql, quoted, sql_name
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Column, Json, Model, Table
from deriva_ml.wire.model_documents import model_from_document

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BagDatabase", "build_database", "read_model"]

FORMAT = 2
Row = dict[str, Json]
Name = tuple[str, str]


def read_model(bag: Path) -> Model:
    """The model of a bag."""
    return model_from_document(json.loads((bag / "data" / "schema.json").read_bytes()))


def _content(bag: Path) -> int:
    """A number that tells the content of a bag's tables: a database of another bag is found by it."""
    manifests = [path for name in ("manifest-sha256.txt", "manifest-md5.txt") if (path := bag / name).exists()]
    return zlib.crc32(manifests[0].read_bytes()) >> 1 if manifests else 0


def build_database(bag: Path, path: Path) -> None:
    """Build the database of a bag; it appears whole or not at all.

    Args:
        bag: The bag's directory.
        path: The database file; one that is there is replaced.

    Raises:
        DerivaMLDataError: A table of the bag is not what the model says.
    """
    model = read_model(bag)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        with closing(sqlite3.connect(name, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=OFF")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN")
            for table in model.tables():
                source = bag / table_path(table.schema, table.name)
                if source.exists():
                    _load(connection, table, source)
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA user_version={FORMAT}")
            connection.execute(f"PRAGMA application_id={_content(bag)}")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _load(connection: sqlite3.Connection, table: Table, source: Path) -> None:
    with source.open(encoding="utf-8", newline="\n") as lines:
        rows = read_csv(lines, str(source))
        columns = [_column(table, name, source) for name in next(rows, [])]
        if not columns:
            raise DerivaMLDataError(f"{source.name} is empty.", source=str(source))
        parts = [f"{quoted(c.name)} {sql_type(c)}{' PRIMARY KEY' if c.name == 'RID' else ''}" for c in columns]
        connection.execute(f"CREATE TABLE {sql_name(table)} ({', '.join(parts)})")
        marks = ", ".join("CASE ? WHEN 't' THEN 1 WHEN 'f' THEN 0 END" if is_boolean(c) else "?" for c in columns)
        try:
            connection.executemany(f"INSERT INTO {sql_name(table)} VALUES ({marks})", rows)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
            raise DerivaMLDataError(f"The rows of {source.name} cannot be read: {error}", source=str(source)) from error
    for number, fkey in enumerate(table.foreign_keys):
        if {*fkey.columns} <= {c.name for c in columns} and fkey.columns not in (("RCB",), ("RMB",)):
            index = quoted(f"{table.schema}:{table.name}:{number}")
            connection.execute(
                f"CREATE INDEX {index} ON {sql_name(table)} ({', '.join(quoted(name) for name in fkey.columns)})"
            )


def _column(table: Table, name: str | None, source: Path) -> Column:
    found = table.column(name or "")
    if found is None:
        raise DerivaMLDataError(
            f"{source.name} has a column {name!r} that the model does not know.", source=str(source)
        )
    return found


class BagDatabase:
    """The tables of one bag.

    Args:
        bag: The bag's directory.
        database: The database file; it is built if it is not there, or is of another format or of another bag.
        objects: Where files that the bag lacks come from; by default from the addresses in it.

    Attributes:
        bag: The bag's directory.
        database: The database file.
        objects: Where files that the bag lacks come from.
    """

    def __init__(self, bag: Path, database: Path, *, objects: ObjectClient | None = None) -> None:
        self.bag = bag
        self.database = database
        self.objects = objects
        if not database.exists() or not self._is_ours():
            build_database(bag, database)

    def __reduce__(self) -> tuple[type[BagDatabase], tuple[Path, Path]]:
        """Another process opens the same files."""
        return BagDatabase, (self.bag, self.database)

    @cached_property
    def model(self) -> Model:
        """The model as of the version's snapshot."""
        return read_model(self.bag)

    @cached_property
    def info(self) -> Mapping[str, str]:
        """The entries of ``bag-info.txt``."""
        return read_info((self.bag / "bag-info.txt").read_text("utf-8"))

    @property
    def ml_schema(self) -> str:
        """Name of the ML schema."""
        return read_schemas(self.info)[0]

    @cached_property
    def domain_schemas(self) -> frozenset[str]:
        """The project's schemas."""
        return read_schemas(self.info)[1]

    @cached_property
    def loaded(self) -> frozenset[str]:
        """The names that the tables of the bag have in its database."""
        return frozenset(str(name) for (name,) in self.query("SELECT name FROM sqlite_master WHERE type = 'table'"))

    def moved(self, bag: Path, database: Path) -> None:
        """Read another directory from now on, which holds the same bag."""
        self.bag, self.database = bag, database

    def _connect(self) -> closing[sqlite3.Connection]:
        uri = f"file:{quote(str(self.database))}?mode=ro&immutable=1"
        return closing(sqlite3.connect(uri, uri=True, check_same_thread=False))

    def _is_ours(self) -> bool:
        """Whether the database is of this format, and of what the bag holds now."""
        try:
            found = [int(self.query(f"PRAGMA {name}")[0][0]) for name in ("user_version", "application_id")]
        except sqlite3.DatabaseError:
            return False
        return found == [FORMAT, _content(self.bag)]

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._connect() as connection:
            return connection.execute(sql, values).fetchall()

    def tables(self) -> list[Table]:
        """The tables that have rows in the bag, the project's first."""
        schemas = [*sorted(self.domain_schemas), self.ml_schema]
        return [
            table
            for schema in schemas
            if schema in self.model.schemas
            for table in self._named(schema)
            if self.has(table)
        ]

    def has(self, table: Table) -> bool:
        """Whether a table has rows in the bag."""
        return f"{table.schema}:{table.name}" in self.loaded

    def table(self, name: str | Table) -> Table:
        """The table of this name: in the project's schemas, then in the ML schema.

        Raises:
            DerivaMLTableNotFound: The bag's model has none.
        """
        if isinstance(name, Table):
            # It may be of another moment's model, or of the catalog's.
            name = f"{name.schema}:{name.name}"
        first, colon, rest = name.partition(":")
        schemas = [first] if colon else [*sorted(self.domain_schemas), self.ml_schema]
        for schema in schemas:
            found = self.model.table(schema, rest if colon else name)
            if found is not None:
                return found
        wanted = rest if colon else name
        known = [table.name for each in schemas if each in self.model.schemas for table in self._named(each)]
        raise DerivaMLTableNotFound(name, allowed=nearest(wanted, known))

    def _named(self, schema: str) -> list[Table]:
        return sorted(self.model.schemas[schema].tables.values(), key=lambda each: each.name)

    @property
    def has_files(self) -> bool:
        """Whether there are files of assets in the bag."""
        return (self.bag / ASSETS).is_dir()

    def file_of(self, table: Table, row: Mapping[str, Json]) -> str | None:
        """The path of an asset's file; None if it is not there."""
        # The test of each of many thousand files is worth not to make it a Path.
        path = f"{self.bag}/{payload_path(table, row)}"
        return path if os.path.exists(path) else None  # noqa: PTH110

    def localised(self, table: Table, rows: Iterable[Row]) -> Iterator[Row]:
        """Rows whose ``Filename`` is the path of the file on this disk, where it is there."""
        if not (is_asset(table) and self.has_files):
            yield from rows
            return
        for row in rows:
            path = self.file_of(table, row)
            yield row if path is None else {**row, "Filename": path}

    def frame(self, table: Table) -> pd.DataFrame:
        """The rows of a table as a data frame, with the paths of files.

        Raises:
            DerivaMLMissingExtra: pandas is not installed.
        """
        frame = require("pandas", "pandas").DataFrame
        rows = list(self.localised(table, self.rows(table)))
        return frame(rows, columns=[column.name for column in table.columns])

    def size(self, table: Table) -> tuple[int, int]:
        """The number of a table's rows, and the bytes of its files if it holds files."""
        if not self.has(table):
            return 0, 0
        total = f"coalesce(sum({quoted('Length')}), 0)" if is_asset(table) else "0"
        ((rows, size),) = self.query(f"SELECT count(*), {total} FROM {sql_name(table)}")
        return int(rows), int(size)

    def source(self, table: Table) -> str:
        """What stands for a table after ``FROM``; a table without rows in the bag has its columns nevertheless."""
        if self.has(table):
            return sql_name(table)
        return f"(SELECT {', '.join(f'NULL AS {quoted(column.name)}' for column in table.columns)} WHERE 0)"

    def joined(self, joins: Joins, holders: Sequence[str]) -> Iterator[Row]:
        """The rows of a join, each once.

        Args:
            joins: The join.
            holders: The datasets whose members it starts from.
        """
        plans = [plan for plan in joins.plans if self.has(plan.start.association)]
        if not plans:
            return
        sql = joined_sql(joins, plans, self.source)
        readers = [(at, read) for at, read in enumerate(reader(o.column) for o in joins.outputs) if read is not None]
        names = [each.name for each in joins.outputs]
        for found in self.query(sql, [json.dumps(holders)]):
            cells = list(found)
            for at, read in readers:
                cells[at] = read(cells[at])
            yield dict(zip(names, cells, strict=True))

    def rows(
        self,
        table: Table,
        where: str = "",
        values: Sequence[Any] = (),
        *,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """The rows of a table by RID, as the catalog's JSON rows; none if the bag has none of the table.

        Args:
            table: The table.
            where: Further SQL after the table's name, which is ``t`` there.
            values: The values in it.
            limit: At most so many.
        """
        if not self.has(table):
            return
        readers = [(at, read) for at, read in enumerate(map(reader, table.columns)) if read is not None]
        names = [column.name for column in table.columns]
        chosen = ", ".join(f"t.{quoted(name)}" for name in names)
        bound = "" if limit is None else f" LIMIT {int(limit)}"
        sql = f"SELECT {chosen} FROM {sql_name(table)} AS t {where} ORDER BY t.RID{bound}"
        for found in self.query(sql, values):
            cells = list(found)
            for at, read in readers:
                cells[at] = read(cells[at])
            yield dict(zip(names, cells, strict=True))
