"""Catalog tables in a SQLite database, for programs that work with SQLAlchemy.

A bag's own database is opened the same way without being copied: ``DatabaseModel.orm()``, ``DerivaMLDatabase.orm()``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError, DerivaMLTableNotFound
from deriva_ml.core.files import make_directory, nearest, require
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.elements import labels
from deriva_ml.schema.handles import model_of
from deriva_ml.wire.model import Model, Table

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy import orm

    from deriva_ml.model.mapping import Record

__all__ = ["SchemaBuilder", "SchemaORM", "bag_orm"]

MEMORY = ":memory:"


class SchemaORM:
    """Mapped tables, and the database that holds their rows; close it with ``dispose``, or use it in a ``with`` block.

    Args:
        engine: The database.
        model: The model that the tables are of.
        tables: The tables.

    Attributes:
        engine: The database.
        metadata: The definitions of the tables.
        model: The model that the tables are of.
    """

    def __init__(self, engine: sa.Engine, model: Model, tables: Iterable[Table]) -> None:
        from deriva_ml.model.mapping import map_tables

        self.engine = engine
        self.model = model
        self._tables = {table.qualified: table for table in tables}
        self.metadata, self._classes = map_tables(self._tables.values())

    def __repr__(self) -> str:
        return f"SchemaORM({len(self._tables)} tables, {self.engine.url})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.dispose()

    def dispose(self) -> None:
        """Give back what the database holds; one in memory is gone then."""
        self.engine.dispose()

    @property
    def tables(self) -> list[Table]:
        """The tables as the catalog's model has them, schema by schema."""
        return list(self._tables.values())

    def list_tables(self) -> list[str]:
        """The names of the tables; ``schema:Table`` where two schemas have one of a name."""
        return sorted(labels(self._tables.values()).values())

    def label(self, table: Any) -> str:
        """What a table is called in ``list_tables``."""
        return labels(self._tables.values())[self.find(table).qualified]

    def find(self, table: Any) -> Table:
        """The table as the catalog's model has it.

        Args:
            table: ``Table``, ``schema:Table``, a table of our model, or one of the ``deriva`` package.

        Raises:
            DerivaMLTableNotFound: There is none, or a bare name is that of several.
        """
        name = _name(table)
        # A table's own name may hold a colon.
        found = [each for each in self._tables if name in (each[1], f"{each[0]}:{each[1]}")]
        if len(found) > 1:
            raise DerivaMLTableNotFound(
                name,
                "Several schemas have a table of this name; name the schema too",
                allowed=[f"{one}:{other}" for one, other in found],
            )
        if not found:
            raise DerivaMLTableNotFound(name, allowed=nearest(name.rpartition(":")[2], self.list_tables()))
        return self._tables[found[0]]

    def get_orm_class(self, table: Any) -> type[Record]:
        """The class of a table's rows; see :mod:`deriva_ml.model.mapping` for what it has.

        Raises:
            DerivaMLTableNotFound: There is no such table, or a bare name is that of several.
        """
        return self._classes[self.find(table).qualified]

    def get_table(self, table: Any) -> sa.Table:
        """SQLAlchemy's definition of a table.

        Raises:
            DerivaMLTableNotFound: There is no such table, or a bare name is that of several.
        """
        schema, name = self.find(table).qualified
        return self.metadata.tables[f"{schema}:{name}"]

    def session(self) -> orm.Session:
        """A new session of SQLAlchemy on the database; use it in a ``with`` block."""
        from sqlalchemy.orm import Session

        return Session(self.engine)

    def get_table_contents(self, table: Any, batch_size: int = 1000) -> Iterator[dict[str, Any]]:
        """The rows of a table, read while they are asked for, in the order of what tells them apart.

        Args:
            table: The table.
            batch_size: How many are in memory at a time.

        Raises:
            DerivaMLTableNotFound: There is no such table, or a bare name is that of several.
        """
        definition = self.get_table(table)
        query = definition.select().order_by(*definition.primary_key.columns)
        with self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=batch_size).execute(query):
                yield dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


class SchemaBuilder:
    """Makes the tables of some schemas in a SQLite database.

    Args:
        model: The model: that of a ``DerivaML``, of a bag, or the ``deriva`` package's own.
        schemas: The schemas; references that lead out of them are plain columns.
        database_path: A file, a directory (the file is ``main.db`` in it), or ``:memory:``.

    Raises:
        DerivaMLConfigurationError: The model has no such schema.
    """

    def __init__(self, model: Any, schemas: str | Iterable[str], database_path: Path | str = MEMORY) -> None:
        self.model = model_of(model)
        self.schemas = [schemas] if isinstance(schemas, str) else list(dict.fromkeys(schemas))
        self.database_path = database_path
        for name in self.schemas:
            if name not in self.model.schemas:
                raise DerivaMLConfigurationError(
                    f"The model has no schema {name}.",
                    allowed=nearest(name, self.model.schemas) or [*self.model.schemas],
                )

    def build(self) -> SchemaORM:
        """Make the tables that are not there yet; rows that are there stay.

        Raises:
            DerivaMLMissingExtra: SQLAlchemy is not installed.
            DerivaMLDataError: The database has such a table with other columns.
        """
        tables = [table for name in self.schemas for table in self.model.schemas[name].tables.values()]
        made = SchemaORM(self._engine(), self.model, tables)
        try:
            self._check(made)
            made.metadata.create_all(made.engine)
        except BaseException:
            made.dispose()
            raise
        return made

    def _engine(self) -> sa.Engine:
        require("sqlalchemy", "sqlalchemy")
        import sqlalchemy as sa
        from sqlalchemy.pool import StaticPool

        if str(self.database_path) == MEMORY:
            # One connection for all threads: each further one would have an empty database of its own.
            return sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        path = Path(self.database_path).expanduser().absolute()
        path = path / "main.db" if path.is_dir() else path
        make_directory(path.parent)
        return sa.create_engine(sa.URL.create("sqlite", database=str(path)))

    def _check(self, made: SchemaORM) -> None:
        import sqlalchemy as sa

        found = sa.inspect(made.engine)
        there = set(found.get_table_names())
        for table in made.metadata.tables.values():
            if table.name not in there:
                continue
            columns = {str(column["name"]) for column in found.get_columns(table.name)}
            if columns != set(table.columns.keys()):
                raise DerivaMLDataError(
                    f"The database has a table {table.name} with other columns than the model: "
                    f"{', '.join(sorted(columns ^ set(table.columns.keys())))}.",
                    source=str(made.engine.url.database),
                    hint="name another file, or remove this one",
                )


def bag_orm(bag: BagDatabase) -> SchemaORM:
    """A bag's own database as mapped tables: those that have rows in the bag; it is opened for reading only.

    ``Filename`` is the name of a file, not its path.

    Args:
        bag: The bag's tables.

    Raises:
        DerivaMLMissingExtra: SQLAlchemy is not installed.
    """
    require("sqlalchemy", "sqlalchemy")
    import sqlalchemy as sa

    url = sa.URL.create(
        "sqlite",
        database=f"file:{quote(str(bag.database))}",
        query={"mode": "ro", "immutable": "1", "uri": "true"},
    )
    return SchemaORM(sa.create_engine(url), bag.model, [table for table in bag.model.tables() if bag.has(table)])


def _name(table: Any) -> str:
    if isinstance(table, str):
        return table
    schema = table.schema if isinstance(table.schema, str) else table.schema.name
    return f"{schema}:{table.name}"
