"""Tables that a user keeps beside his work: data frames in one SQLite file of the working directory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.files import human_size, make_directory, require

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WorkingDataCache", "plain_frame"]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def plain_frame(df: pd.DataFrame) -> pd.DataFrame:
    """A data frame whose lists and objects are JSON text, which is what a table of SQLite can hold."""

    def plain(value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, list | dict) else value

    mixed = [name for name in df.columns if df[name].map(lambda value: isinstance(value, list | dict)).any()]
    return df.assign(**{name: df[name].map(plain) for name in mixed}) if mixed else df


class WorkingDataCache:
    """Named tables, kept between sessions.

    Args:
        working_dir: The working directory; the file is made with the first table.

    Attributes:
        db_path: The SQLite file.
    """

    def __init__(self, working_dir: Path | str) -> None:
        self.db_path = Path(working_dir) / "working-data" / "catalog.db"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_directory(self.db_path.parent)
        with closing(sqlite3.connect(self.db_path, timeout=60)) as connection, connection:
            yield connection

    def cache_table(self, table_name: str, df: pd.DataFrame) -> Path:
        """Keep a data frame under a name; what was kept under it is replaced as a whole.

        Returns:
            The SQLite file.
        """
        with self._open() as connection:
            df.to_sql(table_name, connection, if_exists="replace", index=False)
        return self.db_path

    def read_table(self, table_name: str) -> pd.DataFrame:
        """A table as a data frame.

        Raises:
            ValueError: There is none of this name.
        """
        if not self.has_table(table_name):
            raise ValueError(
                f"Table {table_name!r} is not in {self.db_path}; there are: {', '.join(self.list_tables()) or 'none'}"
            )
        return self.query(f"SELECT * FROM {_quoted(table_name)}")  # the name is one of the file's tables

    def query(self, sql: str) -> pd.DataFrame:
        """What an SQL query over the tables gives."""
        with self._open() as connection:
            frame: pd.DataFrame = require("pandas", "pandas").read_sql_query(sql, connection)
        return frame

    def has_table(self, table_name: str) -> bool:
        """Whether there is a table of this name."""
        return table_name in self.list_tables()

    def list_tables(self) -> list[str]:
        """The names of the tables, in order."""
        if not self.db_path.exists():
            return []
        with self._open() as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            return [str(name) for (name,) in found]

    def table_info(self, table_name: str) -> dict[str, Any]:
        """A table's ``name``, ``row_count`` and ``columns``.

        Raises:
            ValueError: There is none of this name.
        """
        if not self.has_table(table_name):
            raise ValueError(f"Table {table_name!r} is not in {self.db_path}")
        with self._open() as connection:
            (rows,) = connection.execute(f"SELECT count(*) FROM {_quoted(table_name)}").fetchone()
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table_name)})")]
        return {"name": table_name, "row_count": rows, "columns": columns}

    def status(self) -> dict[str, Any]:
        """``db_path``, ``size_bytes``, ``size`` in words, and ``tables`` with what ``table_info`` says of each."""
        size = self.db_path.stat().st_size if self.db_path.exists() else 0
        tables = [self.table_info(name) for name in self.list_tables()]
        return {"db_path": str(self.db_path), "size_bytes": size, "size": human_size(size), "tables": tables}

    def drop_table(self, table_name: str) -> bool:
        """Remove a table; False if there is none of this name."""
        if not self.has_table(table_name):
            return False
        with self._open() as connection:
            connection.execute(f"DROP TABLE {_quoted(table_name)}")
        return True

    def clear(self) -> int:
        """Remove every table, and give back the disk's room; how many there were."""
        names = self.list_tables()
        if names:
            self.db_path.unlink()
        return len(names)

    @property
    def engine(self) -> Any:
        """An SQLAlchemy engine on the file, for who works with SQLAlchemy.

        Raises:
            DerivaMLMissingExtra: SQLAlchemy is not installed.
        """
        make_directory(self.db_path.parent)
        return require("sqlalchemy", "sqlalchemy").create_engine(f"sqlite:///{self.db_path}")
