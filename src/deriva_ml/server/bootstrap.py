"""The first content of a catalog: the schema ``public`` with its three tables, and who has been here."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deriva_ml.server import physical
from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.connections import quote
from deriva_ml.server.documents import SYSTEM_DEFAULTS
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.http import Client
from deriva_ml.wire.model import SYSTEM_COLUMNS, Column, ColumnType, Document, Key, Model, Schema, Table
from deriva_ml.wire.values import known_type

__all__ = ["furnish", "meet"]

CATALOG_ACLS = ("owner", "update", "delete", "write", "enumerate", "create", "select", "insert")
DEFAULT_ANNOTATIONS: Document = {
    "tag:isrd.isi.edu,2018:indexing-preferences": {"btree": True, "trgm": True, "gin_array": True}
}
NOBODY: Document = {"enumerate": [], "select": [], "insert": [], "update": [], "delete": []}
LEASES: Document = {"enumerate": ["*"], "select": [], "update": [], "delete": []}
LESSEE: Document = {
    "lessee_access": {
        "types": ["select", "update", "delete"],
        "projection": ["RCB"],
        "projection_type": "acl",
        "scope_acl": ["*"],
    }
}
TEXT = ColumnType("text")


def furnish(tx: Transaction, owner: Sequence[str], annotations: Document) -> None:
    """Write the model of a new catalog.

    Args:
        tx: The first transaction.
        owner: The roles that own the catalog.
        annotations: The catalog's annotations, beside those that every catalog has.
    """
    acls: Document = {name: [] for name in CATALOG_ACLS}
    acls["owner"] = list(owner)
    tx.put(Model("", {}, DEFAULT_ANNOTATIONS | annotations, acls))
    tx.put(Schema(tx.next_rids(1)[0], "public", {}, comment="standard public schema"))
    text = [("Display_Name", TEXT, True), ("Full_Name", TEXT, True), ("Email", TEXT, True)]
    client = [("ID", TEXT, False), *text, ("Client_Object", ColumnType("jsonb"), False)]
    group = [("ID", TEXT, False), ("URL", TEXT, True), ("Display_Name", TEXT, True), ("Description", TEXT, True)]
    _table(
        tx,
        "ERMrest_RID_Lease",
        [("ID", TEXT, True)],
        ("RCB", "ID"),
        {n: v for n, v in NOBODY.items() if n != "insert"} | {"enumerate": ["*"]},
        LESSEE,
    )
    _table(tx, "ERMrest_Client", client, ("ID",), NOBODY, {})
    _table(tx, "ERMrest_Group", group, ("ID",), NOBODY, {})


def _table(
    tx: Transaction,
    name: str,
    columns: Sequence[tuple[str, ColumnType, bool]],
    key: tuple[str, ...],
    acls: Document,
    bindings: Document,
) -> None:
    rid = tx.next_rids(1)[0]
    system = [(known_type(f"ermrest_{column.lower()}"), column) for column in SYSTEM_COLUMNS]
    made = [
        Column(own, column, type_, column in ("RCB", "RMB"), SYSTEM_DEFAULTS[column], storage=column)
        for own, (type_, column) in zip(tx.next_rids(len(system)), system, strict=True)
        if type_ is not None
    ]
    for own, (column, type_, nullok) in zip(tx.next_rids(len(columns)), columns, strict=True):
        made.append(Column(own, column, type_, nullok, storage=physical.storage_name(column, own)))
    first, second = tx.next_rids(2)
    keys = (
        Key(first, ("public", f"{name}_pkey"), ("RID",)),
        Key(second, ("public", f"{name}_{'_'.join(key)}_key"), key),
    )
    table = Table(rid, "public", name, tuple(made), keys, acls=acls, acl_bindings=bindings)
    physical.create(tx.connection, table)
    tx.put(table)


def meet(tx: Transaction) -> None:
    """Note a client in ``ERMrest_Client``, and its groups, at the first change of the catalog."""
    client = tx.client
    if client.id is None or client in tx.known_clients:
        return
    table = tx.model.table("public", "ERMrest_Client")
    if table is None:
        return
    values = _described(client)
    names = {name: quote(table.columns_by_name[name].storage) for name in values if table.column(name)}
    if names.keys() != values.keys():
        return
    place = quote(f"t_{table.rid}")
    fields = ", ".join(names.values())
    row = tx.connection.execute(f"SELECT {fields} FROM {place} WHERE {names['ID']} = :ID", values).fetchone()
    stamps = {"now": tx.now, **values}
    if row is None:
        marks = ", ".join(f":{name}" for name in values)
        tx.connection.execute(
            f"INSERT INTO {place} (RID, RCT, RMT, _from, {fields}) VALUES (:rid, :now, :now, :now, {marks})",
            {"rid": tx.next_rids(1)[0], **stamps},
        )
    elif tuple(row) != tuple(values.values()):
        changes = ", ".join(f"{place} = :{name}" for name, place in names.items())
        tx.connection.execute(
            f"UPDATE {place} SET {changes}, RMT = :now, _from = :now WHERE {names['ID']} = :ID", stamps
        )
    _meet_groups(tx, client)


def _meet_groups(tx: Transaction, client: Client) -> None:
    """Note the groups of a client in ``ERMrest_Group``."""
    table = tx.model.table("public", "ERMrest_Group")
    columns = [table.column(name) for name in ("ID", "Display_Name")] if table else []
    groups = sorted(client.roles - {client.id, "*", LOCAL_ROLE})
    if table is None or None in columns:
        return
    place, (name, shown) = quote(f"t_{table.rid}"), (quote(column.storage) for column in columns if column)
    for group in groups:
        known = tx.connection.execute(f"SELECT 1 FROM {place} WHERE {name} = ?", (group,)).fetchone()
        if known is None:
            tx.connection.execute(
                f"INSERT INTO {place} (RID, RCT, RMT, _from, {name}, {shown}) VALUES (?, ?, ?, ?, ?, ?)",
                (tx.next_rids(1)[0], tx.now, tx.now, tx.now, group, group),
            )


def _described(client: Client) -> dict[str, str | None]:
    known = {
        "id": client.id,
        "display_name": client.display_name or client.id,
        "full_name": client.full_name,
        "email": client.email,
    }
    return {
        "ID": client.id,
        "Display_Name": known["display_name"],
        "Full_Name": client.full_name,
        "Email": client.email,
        "Client_Object": json.dumps({name: value for name, value in known.items() if value is not None}),
    }
