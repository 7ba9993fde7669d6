"""The models of one catalog that have been read: each part of one is read from its document once."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict

from deriva_ml.core import codes
from deriva_ml.server.elements import Part, assemble, read_part
from deriva_ml.wire.model import Model

__all__ = ["ModelCache"]

MODELS_KEPT = 12
"""How many moments' models are kept in memory: the current one and the snapshots last asked for."""


class ModelCache:
    """The model of one catalog as of any moment; it may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, int], Part] = {}
        self._models: OrderedDict[int, Model] = OrderedDict()
        self._amended: int | None = None

    def parts_at(self, connection: sqlite3.Connection, moment: int) -> dict[str, Part]:
        """What the model is made of as of a moment, by RID; each version is read from its document once."""
        rows = connection.execute(
            "SELECT rid, _from FROM elements WHERE _until > ? AND _from <= ?", (moment, moment)
        ).fetchall()
        with self._lock:
            known = {rid: self._parts.get((rid, since)) for rid, since in rows}
        found: dict[str, Part] = {}
        for rid, since in rows:
            part = known[rid]
            if part is None:
                kind, text = connection.execute(
                    "SELECT kind, doc FROM elements WHERE rid = ? AND _from = ?", (rid, since)
                ).fetchone()
                part = read_part(kind, rid, text)
                with self._lock:
                    self._parts[rid, since] = part
            found[rid] = part
        return found

    def model_at(self, connection: sqlite3.Connection, moment: int) -> Model:
        """The model as of a moment at which it changed."""
        with self._lock:
            model = self._models.get(moment)
            if model is not None:
                self._models.move_to_end(moment)
                return model
        parts = self.parts_at(connection, moment)
        model = assemble(parts.values(), codes.encode(moment))
        with self._lock:
            self._models[moment] = model
            while len(self._models) > MODELS_KEPT:
                self._models.popitem(last=False)
            if len(self._parts) > 8 * max(64, len(parts)):
                self._parts.clear()
        return model

    def forget(self) -> None:
        """Drop what is cached of the model: its past was changed."""
        with self._lock:
            self._models.clear()
            self._parts.clear()

    def note(self, amended: int | None) -> None:
        """Forget all if the past was amended since, perhaps by another process.

        Args:
            amended: When the catalog's past was last amended.
        """
        if amended != self._amended:
            self.forget()
            self._amended = amended
