"""The resources above the catalogs: making, finding and deleting catalogs and aliases."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from deriva_ml.server.access import is_local, roles_of
from deriva_ml.server.answers import Answer, content_of, empty, json_body, json_text
from deriva_ml.server.bootstrap import furnish
from deriva_ml.server.documents import annotation_set
from deriva_ml.server.errors import BadRequest, Conflict, Forbidden, NotFound
from deriva_ml.server.registry import Entry, Registry
from deriva_ml.server.registry_catalog import REGISTRY_ID, RegistryCatalog
from deriva_ml.server.small_database import place_new
from deriva_ml.server.store import CatalogStore, microseconds
from deriva_ml.wire.http import Client, Request
from deriva_ml.wire.model import Document, Json
from deriva_ml.wire.negotiate import accepted

__all__ = ["FEATURES", "Catalogs", "database_path", "remove_database"]

FEATURES: Document = {
    "trs": True,
    "tcrs": True,
    "history_control": True,
    "implicit_fkey_index": True,
    "catalog_post_input": True,
    "catalog_alias": True,
    "indexing_preferences": {"btree": True, "btree_column_list": True, "trgm": True, "gin_array": True},
    "quantified_value_lists": True,
    "quantified_rid_lists": True,
    "rid_lease": True,
    "registry_catalog": True,
    "csv_array_json": True,
}
CREATOR_ROLE = "admin"
"""Who may make catalogs, beside those who use the folder in process."""

LONGEST_ID = 200
"""As part of a file's name; systems allow 255 bytes, and some are needed around it."""

TEXT_MEMBERS = ("id", "name", "description", "clone_source", "alias_target")


def database_path(root: Path, catalog_id: str) -> Path:
    """Where a catalog's database lies; any id makes a plain file name."""
    return root / "catalogs" / f"{quote(catalog_id, safe='').replace('.', '%2E')}.db"


def remove_database(root: Path, catalog_id: str) -> None:
    """Remove the database of a deleted catalog; who has it open keeps it to the end of the request."""
    registry = Registry(root / "service.db")
    try:
        with registry.write() as connection:
            if Registry.is_live(connection, catalog_id):
                return
            path = database_path(root, catalog_id)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    finally:
        registry.close()


class Catalogs:
    """The catalogs and aliases of a folder.

    Args:
        root: The folder.
        clock: Gives microseconds since 1970.
        time_limit: For how many seconds a request may work on a database; None for ever.
    """

    def __init__(self, root: Path, *, clock: Callable[[], int] = microseconds, time_limit: float | None = None) -> None:
        self.root = root
        self.clock = clock
        self.time_limit = time_limit
        self.registry = Registry(root / "service.db")
        self._stores: dict[str, CatalogStore] = {}
        self._lock = threading.Lock()

    def store(self, catalog_id: str) -> CatalogStore | RegistryCatalog:
        """The database of a catalog that exists."""
        if catalog_id == REGISTRY_ID:
            return RegistryCatalog(self.registry, [CREATOR_ROLE])
        with self._lock:
            found = self._stores.get(catalog_id)
            if found is None:
                path = database_path(self.root, catalog_id)
                found = CatalogStore(path, clock=self.clock, time_limit=self.time_limit)
                self._stores[catalog_id] = found
            return found

    def resolve(self, entry_id: str) -> tuple[Entry, Entry]:
        """What an id names, and the catalog that it leads to: the same one, or an alias's target."""
        if entry_id == REGISTRY_ID:
            entry = Entry(REGISTRY_ID, True, {"name": "registry"})
            return entry, entry
        found = self.registry.find(entry_id)
        if found is None:
            raise NotFound(f"catalog {entry_id}")
        entry = found
        if entry.is_catalog:
            return entry, entry
        target = entry.doc.get("alias_target")
        found = self.registry.find(target) if isinstance(target, str) else None
        if found is None or not found.is_catalog:
            raise Conflict(f"Alias '{entry_id}' is currently not bound to a catalog.")
        return entry, found

    def close(self) -> None:
        """Close every database."""
        with self._lock:
            stores, self._stores = list(self._stores.values()), {}
        for store in stores:
            store.close()
        self.registry.close()

    # ------------------------------------------------------------------------------------------ catalogs

    def create(self, request: Request, client: Client) -> Answer:
        """``POST /ermrest/catalog``."""
        _need_creator(client)
        doc = _input(request)
        owner = _owner(doc, client)
        annotations = annotation_set(doc.get("annotations"))
        if "is_persistent" in doc and not is_local(client):
            raise _refuse(client, 'supplying value for "is_persistent"')
        if not isinstance(doc.get("is_persistent", True), bool | None):
            raise BadRequest('Field "is_persistent" must be true or false.')
        known: Document = {name: doc[name] for name in ("name", "description", "clone_source") if doc.get(name)}
        known |= {"owner": list(owner), "is_persistent": doc.get("is_persistent") is not False}
        with self.registry.write() as connection:
            catalog_id = doc.get("id") or Registry.next_id(connection)
            assert isinstance(catalog_id, str)
            if Registry.is_used(connection, catalog_id) or catalog_id == REGISTRY_ID:
                raise Conflict(f"Cannot claim an existing catalog id={catalog_id}")
            self._make(catalog_id, client, owner, annotations)
            Registry.put(connection, Entry(catalog_id, True, known))
        return _created(request, catalog_id)

    def _make(self, catalog_id: str, client: Client, owner: list[str], annotations: Document) -> None:
        """Make the database of a catalog, whole, before the registry names it."""
        path = database_path(self.root, catalog_id)
        path.parent.mkdir(exist_ok=True)
        # The registry does not name the catalog, so what lies here was left by a process that ended too early.
        path.unlink(missing_ok=True)

        def make(temporary: Path) -> None:
            CatalogStore.create(temporary)
            store = CatalogStore(temporary, clock=self.clock)
            try:
                with store.write(client) as tx:
                    furnish(tx, owner, annotations)
            finally:
                store.close()

        place_new(path, make)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def delete(self, entry: Entry) -> None:
        """Delete a catalog; its id is not given out again."""
        if entry.id == REGISTRY_ID:
            raise Forbidden("deletion of the registry")
        with self.registry.write() as connection:
            Registry.delete(connection, entry.id)
        with self._lock:
            store = self._stores.pop(entry.id, None)
        if store is not None:
            store.close()

    # ------------------------------------------------------------------------------------------ aliases

    def create_alias(self, request: Request, client: Client) -> Answer:
        """``POST /ermrest/alias``."""
        _need_creator(client)
        doc = _input(request)
        known = _alias(doc, client)
        with self.registry.write() as connection:
            alias_id = doc.get("id") or Registry.next_id(connection)
            assert isinstance(alias_id, str)
            if Registry.is_used(connection, alias_id, aliases=False) or alias_id == REGISTRY_ID:
                raise Conflict(f"Cannot claim an existing catalog id={alias_id}")
            Registry.put(connection, Entry(alias_id, False, known))
        return _created(request, alias_id)

    def read_alias(self, alias_id: str, client: Client) -> Answer:
        """``GET /ermrest/alias/ID``."""
        return Answer(body=json_text(_alias_document(self._alias(alias_id, client))))

    def put_alias(self, alias_id: str, request: Request, client: Client) -> Answer:
        """``PUT /ermrest/alias/ID``: makes the alias or replaces what is known of it."""
        doc = _input(request)
        _checked_id(alias_id)
        if doc.get("id", alias_id) != alias_id:
            raise BadRequest(f'Alias id "{doc["id"]}" in input does not match "{alias_id}" in URL.')
        found = self.registry.find(alias_id)
        if found is not None:
            self._alias(alias_id, client)
        else:
            _need_creator(client)
        entry = Entry(alias_id, False, _alias(doc, client))
        with self.registry.write() as connection:
            is_taken = found is None and Registry.is_used(connection, alias_id, aliases=False)
            if is_taken or alias_id == REGISTRY_ID:
                raise Conflict(f"Cannot claim an existing catalog id={alias_id}")
            Registry.put(connection, entry)
        return Answer(200 if found else 201, json_text(_alias_document(entry)))

    def delete_alias(self, alias_id: str, client: Client) -> Answer:
        """``DELETE /ermrest/alias/ID``."""
        self._alias(alias_id, client)
        with self.registry.write() as connection:
            Registry.delete(connection, alias_id)
        return empty()

    def _alias(self, alias_id: str, client: Client) -> Entry:
        entry = self.registry.find(alias_id)
        if entry is None or entry.is_catalog:
            raise NotFound(f"alias/{alias_id}")
        owner = entry.doc.get("owner")
        if not is_local(client) and (not isinstance(owner, list) or roles_of(client).isdisjoint(map(str, owner))):
            raise _refuse(client, f"enumerate access to alias/{alias_id}")
        return entry


def _refuse(client: Client, detail: str) -> Forbidden:
    return Forbidden(detail, anonymous=client.id is None)


def _need_creator(client: Client) -> None:
    if not is_local(client) and CREATOR_ROLE not in client.roles:
        raise _refuse(client, "catalog")


def _input(request: Request) -> Document:
    doc = json_body(request) if content_of(request) else {}
    if not isinstance(doc, dict):
        raise BadRequest("Catalog representation must be a JSON object.")
    for name in TEXT_MEMBERS:
        if doc.get(name) is not None and not isinstance(doc[name], str):
            raise BadRequest(f'Field "{name}" must be text.')
    return doc | {"id": _checked_id(doc["id"])} if doc.get("id") else doc


def _checked_id(entry_id: Json) -> str:
    """An id that a client chose: the name of the catalog's database is made of it."""
    assert isinstance(entry_id, str)
    if len(quote(entry_id, safe="").replace(".", "%2E")) > LONGEST_ID:
        raise BadRequest(f'Catalog id "{entry_id}" is too long.')
    return entry_id


def _owner(doc: Document, client: Client) -> list[str]:
    owner: Json = doc.get("owner")
    if owner is None:
        owner = [client.id] if client.id else []
    if not isinstance(owner, list) or not all(isinstance(role, str) for role in owner):
        raise BadRequest("ACL owner representation must be a list of role names.")
    roles = [str(role) for role in owner]
    # Who uses the folder in process has every right, whoever else owns the catalog.
    if roles_of(client).isdisjoint(roles) and not (roles and is_local(client)):
        raise Conflict("Cannot set owner ACL to exclude self.")
    return roles


def _alias(doc: Document, client: Client) -> Document:
    known: Document = {name: doc[name] for name in ("name", "description") if doc.get(name)}
    return known | {"owner": list(_owner(doc, client)), "alias_target": doc.get("alias_target")}


def _alias_document(entry: Entry) -> Document:
    return {"id": entry.id, "owner": entry.doc.get("owner"), "alias_target": entry.doc.get("alias_target")}


def _created(request: Request, entry_id: str) -> Answer:
    location = {"location": f"/ermrest/catalog/{quote(entry_id, safe='')}"}
    if accepted(request.headers.get("accept"), {"text/plain": "text", "application/json": "json"}) == "text":
        return Answer(201, entry_id.encode(), "text/plain", location)
    return Answer(201, json_text({"id": entry_id}, end=b""), headers=location)
