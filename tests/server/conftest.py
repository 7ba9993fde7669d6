"""A catalog's database with tables of the test's own making, for tests of rows; and a whole service, for the others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.server import rows
from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.app import Service, create_folder, open_service
from deriva_ml.server.bootstrap import furnish
from deriva_ml.server.ddl import add_references, create_schema, create_table
from deriva_ml.server.store import CatalogStore
from deriva_ml.wire.http import Client, Request
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import parse_path

OWNER = Client("tester", roles=frozenset({LOCAL_ROLE}))
SYSTEM = [
    {"name": "RID", "type": {"typename": "ermrest_rid"}, "nullok": False},
    {"name": "RCT", "type": {"typename": "ermrest_rct"}, "nullok": False},
    {"name": "RMT", "type": {"typename": "ermrest_rmt"}, "nullok": False},
    {"name": "RCB", "type": {"typename": "ermrest_rcb"}},
    {"name": "RMB", "type": {"typename": "ermrest_rmb"}},
]


def column(name: str, typename: str, *, nullok: bool = True, default: Json = None) -> dict[str, Json]:
    """A column's definition; ``text[]`` is an array."""
    if typename.endswith("[]"):
        kind: dict[str, Json] = {"is_array": True, "base_type": {"typename": typename[:-2]}}
    else:
        kind = {"typename": typename}
    return {"name": name, "type": kind, "nullok": nullok, "default": default}


def reference(columns: Sequence[str], table: str, referenced: Sequence[str], **actions: str) -> dict[str, Json]:
    """A foreign key's definition, within schema ``S``."""
    return {
        "foreign_key_columns": [{"column_name": name} for name in columns],
        "referenced_columns": [{"schema_name": "S", "table_name": table, "column_name": name} for name in referenced],
        **actions,
    }


def table(
    name: str,
    columns: Sequence[Mapping[str, Json]],
    keys: Sequence[Sequence[str]] = (),
    references: Sequence[Mapping[str, Json]] = (),
) -> dict[str, Json]:
    """A table's definition."""
    return {
        "table_name": name,
        "column_definitions": [*SYSTEM, *columns],
        "keys": [{"unique_columns": ["RID"]}, *({"unique_columns": list(key)} for key in keys)],
        "foreign_keys": list(references),
    }


class Tables:
    """What a client would do, without a client: each call is one request on a catalog of one schema, ``S``."""

    def __init__(self, store: CatalogStore) -> None:
        self.store = store
        self.client = OWNER

    def post(self, name: str, body: Json | str, *, content_type: str | None = None, **options: object) -> list:
        """``POST entity/S:name``."""
        with self.store.write(self.client) as tx:
            written = rows.insert(tx, parse_path(f"/entity/S:{name}"), _body(body), content_type, **options)
            return json.loads(b"".join(rows.send(written, "application/json")))

    def put(self, target: str, body: Json | str, *, content_type: str | None = None) -> list:
        """``PUT entity/...`` or ``PUT attributegroup/...``."""
        path = parse_path(target)
        with self.store.write(self.client) as tx:
            change = rows.upsert if path.kind == "entity" else rows.update
            written = change(tx, path, _body(body), content_type)
            return json.loads(b"".join(rows.send(written, "application/json")))

    def delete(self, target: str) -> None:
        """``DELETE entity/...`` or ``DELETE attribute/...``."""
        path = parse_path(target)
        with self.store.write(self.client) as tx:
            (rows.delete if path.kind == "entity" else rows.delete_values)(tx, path)

    def get(self, target: str, snaptime: str | None = None) -> list:
        """``GET``, as parsed JSON."""
        with self.store.read(snaptime) as view:
            return json.loads(b"".join(rows.read(view, parse_path(target))))

    def csv(self, target: str, **options: bool) -> str:
        """``GET``, as CSV."""
        with self.store.read() as view:
            return b"".join(rows.read(view, parse_path(target), "text/csv", **options)).decode()


def _body(body: Json | str) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


class Maker:
    """Makes fresh catalogs with tables in a schema ``S``; also the words that definitions are made of."""

    column = staticmethod(column)
    reference = staticmethod(reference)
    table = staticmethod(table)

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder = folder
        self.opened = opened
        self.numbers = count()

    def __call__(self, *documents: Mapping[str, Json]) -> Tables:
        """A catalog with these tables."""
        path = self.folder / f"{next(self.numbers)}.db"
        CatalogStore.create(path)
        store = CatalogStore(path)
        self.opened.callback(store.close)
        with store.write(OWNER) as tx:
            furnish(tx, [OWNER.id], {})
            create_schema(tx, "S", {})
            made = [create_table(tx, "S", document) for document in documents]
            for one, document in zip(made, documents, strict=True):
                add_references(tx, one, list(document["foreign_keys"]))
        return Tables(store)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Makes catalogs; closes them when the test ends."""
    with ExitStack() as opened:
        yield Maker(tmp_path, opened)


class Site:
    """A service over a fresh folder with catalog ``1``, asked as whoever is named."""

    system = SYSTEM
    column = staticmethod(column)
    reference = staticmethod(reference)
    table = staticmethod(table)

    def __init__(self, service: Service) -> None:
        self.service = service

    def raw(self, method: str, target: str, body: bytes | None, client: Client = OWNER) -> tuple[int, bytes]:
        """Status and content of the answer; the target is below ``/ermrest``."""
        answer = self.service(Request(method, f"/ermrest{target}", {}, body), client)
        return answer.status, answer.read()

    def __call__(self, method: str, target: str, body: Json = None, client: Client = OWNER) -> tuple[int, Any]:
        """Status and document of the answer; the target is below the catalog."""
        status, got = self.raw(method, f"/catalog/1{target}", None if body is None else _body(body), client)
        return status, json.loads(got) if status < 300 and got else got.decode()

    def ok(self, method: str, target: str, body: Json = None, client: Client = OWNER) -> Any:
        """The document of an answer that is no refusal."""
        status, got = self(method, target, body, client)
        assert status < 300, (status, got)
        return got


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A service with a catalog that has an empty schema ``S``."""
    create_folder(tmp_path)
    service = open_service(tmp_path)
    made = Site(service)
    assert made.raw("POST", "/catalog", None)[0] == 201
    made.ok("POST", "/schema/S")
    yield made
    service.close()
