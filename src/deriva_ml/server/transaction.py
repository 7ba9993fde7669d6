"""A change of a catalog: its moment, its RIDs, and the model as it changes.

Each transaction has one moment ``now``, in microseconds, later than that of any earlier one, whatever the clock says.
It is the RCT and RMT of what is written, the start of the row versions, and the snaptime of the commit.
"""

from __future__ import annotations

import sqlite3

from deriva_ml.core import codes
from deriva_ml.server.elements import FOREVER, Part, assemble, write_part
from deriva_ml.server.model_cache import ModelCache
from deriva_ml.server.view import View
from deriva_ml.wire.http import Client
from deriva_ml.wire.model import Column, Model, Schema, Table

__all__ = ["Transaction"]


class Transaction(View):
    """A change of a catalog, whole or not at all.

    Args:
        models: The models that are read already.
        connection: The writing connection, inside a transaction.
        client: Who changes the catalog.
        state: The newest commit, the newest one of the model, and the last RID that was drawn.
        clock: What the clock says.
        known_clients: Clients whose rows in ``ERMrest_Client`` are known to be up to date.
        indexed: For tables whose columns are known to have their indexes, by RID, as of which change of the model.

    Attributes:
        models: The models that are read already.
        known_clients: Clients whose rows in ``ERMrest_Client`` are known to be up to date.
        indexed: For tables whose columns are known to have their indexes, by RID, as of which change of the model.
        now: The moment of the change: RCT and RMT of what is written.
        client: Who changes it.
        is_committed: The block is over and something changed.
    """

    def __init__(
        self,
        models: ModelCache,
        connection: sqlite3.Connection,
        client: Client,
        state: tuple[int, int, int],
        *,
        clock: int,
        known_clients: set[Client],
        indexed: dict[str, int],
    ) -> None:
        last, model, rid = state
        super().__init__(models.model_at, connection, last, model)
        self.models = models
        self.client = client
        self.known_clients = known_clients
        self.indexed = indexed
        self.now = max(clock, last + 1)
        self._rid = rid
        self._first_rid = rid
        self._touched = False
        self.is_committed = False
        self._model: Model | None = None
        self._parts: dict[str, Part] | None = None

    @property
    def model(self) -> Model:
        """The model with the changes made so far."""
        if self._parts is None:
            return super().model
        if self._model is None:
            self._model = assemble(self._parts.values(), codes.encode(self.now))
        return self._model

    @property
    def is_touched(self) -> bool:
        """Something was changed."""
        return self._touched

    @property
    def is_model_changed(self) -> bool:
        """The model was changed."""
        return self._parts is not None

    def touch(self) -> None:
        """Say that data changed: the catalog's snaptime becomes ``now``."""
        self._touched = True

    def next_rids(self, n: int) -> list[str]:
        """Draw RIDs from the catalog's sequence."""
        first = self._rid + 1
        self._rid += n
        self._touched = True
        return codes.encode_all(range(first, first + n))

    def reserve_rid(self, rid: str) -> None:
        """Move the sequence beyond an RID that a client supplied; text that is no RID is let be."""
        try:
            number = codes.decode(rid)
        except ValueError:
            return
        # A client's RID may be odd where the sequence is even, or so large that nothing could follow it.
        if self._rid < number < 1 << 62:
            self._rid = number

    def next_serials(self, column: Column, n: int) -> range:
        """Draw numbers from the counter of a serial column."""
        self.connection.execute("INSERT OR IGNORE INTO serials VALUES (?, 0)", (column.storage,))
        row = self.connection.execute(
            "UPDATE serials SET last = last + ? WHERE storage = ? RETURNING last", (n, column.storage)
        ).fetchone()
        self._touched = True
        return range(row[0] - n + 1, row[0] + 1)

    def lead_serials(self, column: Column, number: int) -> None:
        """Let the counter of a serial column go on after a number, if it has not come so far."""
        self.connection.execute(
            "INSERT INTO serials VALUES (:storage, :number) "
            "ON CONFLICT (storage) DO UPDATE SET last = max(last, :number)",
            {"storage": column.storage, "number": max(number, 0)},
        )
        self._touched = True

    def put(self, value: Model | Schema | Table) -> None:
        """Make this the current version of a table, of a schema (its tables aside), or of the catalog's own part."""
        part, text = write_part(value)
        self._end(part.rid)
        self.connection.execute(
            "INSERT INTO elements VALUES (?, ?, ?, ?, ?)", (part.rid, part.kind, self.now, FOREVER, text)
        )
        self._overlay()[part.rid] = part

    def remove(self, value: Schema | Table) -> None:
        """End a schema or table: from now on it is not in the model."""
        self._end(value.rid)
        self._overlay().pop(value.rid, None)

    def _end(self, rid: str) -> None:
        current = "rid = ? AND _until = ?"
        # What this very transaction wrote was never visible to anyone.
        self.connection.execute(f"DELETE FROM elements WHERE {current} AND _from = ?", (rid, FOREVER, self.now))
        self.connection.execute(f"UPDATE elements SET _until = ? WHERE {current}", (self.now, rid, FOREVER))

    def _overlay(self) -> dict[str, Part]:
        if self._parts is None:
            self._parts = dict(self.models.parts_at(self.connection, self.model_snaptime))
        self._model = None
        self._touched = True
        return self._parts

    def finish(self) -> None:
        """Write down the moment, just before the commit."""
        execute = self.connection.execute
        execute("INSERT INTO commits VALUES (?)", (self.now,))
        if self._parts is not None:
            execute("INSERT INTO models VALUES (?)", (self.now,))
            execute("UPDATE state SET model = ?", (self.now,))
        if self._rid != self._first_rid:
            execute("UPDATE state SET rid = ?", (self._rid,))
