"""Catalog ``0``: the folder's catalogs and aliases as rows of ``ermrest:registry``, to be read like any catalog."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from deriva_ml.core import codes
from deriva_ml.server import physical
from deriva_ml.server.elements import assemble, write_part
from deriva_ml.server.errors import Conflict, Forbidden
from deriva_ml.server.functions import register_functions
from deriva_ml.server.registry import Entry, Registry
from deriva_ml.server.store import SCHEMA
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.http import Client
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, ColumnType, Document, Key, Model, Schema, Table
from deriva_ml.wire.values import Stored, known_type

__all__ = ["REGISTRY_ID", "RegistryCatalog"]

REGISTRY_ID = "0"

TEXT, BOOLEAN = ColumnType("text"), ColumnType("boolean")
COLUMNS: Sequence[tuple[str, ColumnType]] = (
    ("id", TEXT),
    ("is_catalog", BOOLEAN),
    ("deleted_on", ColumnType("timestamptz")),
    ("owner", ColumnType("text[]", TEXT, is_array=True)),
    ("descriptor", ColumnType("jsonb")),
    ("alias_target", TEXT),
    ("clone_source", TEXT),
    ("name", TEXT),
    ("description", TEXT),
    ("is_persistent", BOOLEAN),
)


def _model(readers: Sequence[str]) -> Model:
    system = [known_type(f"ermrest_{name.lower()}") or TEXT for name in SYSTEM_COLUMNS]
    columns = [
        Column(
            codes.encode(at + 3), name, type_, name not in physical.NOT_NULL, storage=physical.storage_name(name, "r")
        )
        for at, (name, type_) in enumerate(zip(SYSTEM_COLUMNS, system, strict=True))
    ]
    columns.extend(
        Column(codes.encode(at + 8), name, type_, name != "id", storage=f"c_{name}")
        for at, (name, type_) in enumerate(COLUMNS)
    )
    keys = (
        Key(codes.encode(30), ("ermrest", "registry_RID_key"), ("RID",)),
        Key(codes.encode(31), ("ermrest", "registry_id_key"), ("id",)),
    )
    table = Table(codes.encode(2), "ermrest", "registry", tuple(columns), keys)
    acls: Document = {"enumerate": ["*"], "select": list(readers)}
    parts = [write_part(part)[0] for part in (Model("", {}, {}, acls), Schema(codes.encode(1), "ermrest", {}), table)]
    return assemble(parts, codes.encode(0))


class RegistryCatalog:
    """Catalog ``0`` of a folder; it is read only.

    Args:
        registry: The entries.
        readers: The roles that may read them.
    """

    def __init__(self, registry: Registry, readers: Sequence[str]) -> None:
        self.registry = registry
        self._model = _model(readers)

    @contextmanager
    def read(self, snaptime: str | None = None) -> Iterator[View]:
        """See the entries as they are.

        Raises:
            Conflict: A moment is named: the registry has no history.
        """
        if snaptime is not None:
            raise Conflict(f'Requested catalog revision "{snaptime}" is prior to any known revision.')
        entries = self.registry.entries()
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        try:
            register_functions(connection)
            connection.executescript(SCHEMA)
            table = self._model.schemas["ermrest"].tables["registry"]
            physical.create(connection, table)
            marks = ", ".join("?" for _ in table.columns)
            connection.executemany(
                f'INSERT INTO "t_{table.rid}" VALUES ({marks}, 0)',
                [_row(at, entry) for at, entry in enumerate(entries)],
            )
            moment = _version(entries)
            yield View(lambda _connection, _moment: self._model, connection, moment, moment)
        finally:
            connection.close()

    def write(self, client: Client) -> AbstractContextManager[Transaction]:
        """Refuse: catalogs are made and deleted by resources of their own.

        Raises:
            Forbidden: Always.
        """
        raise Forbidden("modification of the registry", anonymous=client.id is None)


def _version(entries: Sequence[Entry]) -> int:
    """A number that differs with every change of the entries, for ETags."""
    text = json.dumps([[entry.id, entry.is_catalog, entry.doc] for entry in entries])
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12], 16)


def _row(at: int, entry: Entry) -> tuple[Stored, ...]:
    doc = entry.doc
    target, source, name, description = (
        value if isinstance(value := doc.get(member), str) else None
        for member in ("alias_target", "clone_source", "name", "description")
    )
    persistent = None if doc.get("is_persistent") is None else int(bool(doc["is_persistent"]))
    return (
        *(codes.encode(at + 100), 0, 0, None, None),
        entry.id,
        int(entry.is_catalog),
        None,
        json.dumps(doc.get("owner"), ensure_ascii=False),
        None,
        target,
        source,
        name,
        description,
        persistent,
    )
