"""A catalog as of one moment: what every reading resource works on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from deriva_ml.server.connections import quote, unlimited
from deriva_ml.wire.model import Column, Model, Table

__all__ = ["ModelLoader", "View"]

ModelLoader: TypeAlias = "Callable[[sqlite3.Connection, int], Model]"
"""Gives the model as of a moment at which it changed."""


class View:
    """A catalog as of one moment: what reading needs.

    Attributes:
        connection: The database, inside a transaction.
        snaptime: The moment: the newest commit at or before the one that was asked for.
        model_snaptime: The newest commit of the model at or before it.
        model: The model as of the moment.
        latest: The newest commit of all.
        amended: When the past was last amended.
        is_snapshot: A moment was named, so nothing can be written and ended row versions may be needed.
        path: The database's file, to be named where it fails.
        renew: Begins the request's time anew: called before each part of an answer that is read while it is sent, and
            before each member of a batch.
    """

    def __init__(
        self,
        load: ModelLoader,
        connection: sqlite3.Connection,
        snaptime: int,
        model_snaptime: int,
        amended: int | None = None,
    ) -> None:
        self._load = load
        self.connection = connection
        self.snaptime = snaptime
        self.model_snaptime = model_snaptime
        self.latest = snaptime
        self.amended = amended
        self.is_snapshot = False
        self.renew: Callable[[], None] = unlimited
        self.path = Path(":memory:")

    @property
    def model(self) -> Model:
        """The model as of the moment."""
        return self._load(self.connection, self.model_snaptime)

    def column(self, column: Column) -> str:
        """The quoted name of the physical column."""
        return quote(column.storage)

    def source(self, table: Table) -> str:
        """What to select from: the table's rows as of the moment, with their physical columns."""
        name = quote(f"t_{table.rid}")
        if self.snaptime >= self.latest:
            return name
        moment = self.snaptime
        ended = quote(f"h_{table.rid}")
        columns = ", ".join([quote(column.storage) for column in table.columns] + ["_from"])
        current = f"SELECT {columns} FROM {name} WHERE _from <= {moment}"
        if self.connection.execute(f"SELECT 1 FROM {ended} WHERE _until > {moment} LIMIT 1").fetchone() is None:
            # Nothing has ended since: the simple form keeps every index of the table in use.
            return f"({current})"
        return f"({current} UNION ALL SELECT {columns} FROM {ended} WHERE _from <= {moment} AND _until > {moment})"
