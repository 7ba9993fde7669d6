"""A bare catalog: the service's own tables, one schema with two tables, and nothing of machine learning."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.service import create_catalog
from deriva_ml.catalog.transport import InProcess
from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.wire.batch import DEFAULT_LIMITS
from deriva_ml.wire.http import Request, Response

SYSTEM = [
    ("RID", "ermrest_rid", False),
    ("RCT", "ermrest_rct", False),
    ("RMT", "ermrest_rmt", False),
    ("RCB", "ermrest_rcb", True),
    ("RMB", "ermrest_rmb", True),
]
BASES = {"RID": "text", "RCT": "timestamptz", "RMT": "timestamptz", "RCB": "text", "RMB": "text"}


def column(name: str, typename: str, *, nullok: bool = True) -> dict[str, object]:
    kind: dict[str, object] = {"typename": typename}
    if name in BASES:
        kind |= {"is_domain": True, "base_type": {"typename": BASES[name]}}
    return {"name": name, "type": kind, "nullok": nullok}


def table_document(name: str, **columns: str) -> dict[str, object]:
    """The definition of a table with these columns; the first one is a key."""
    return {
        "schema_name": "S",
        "table_name": name,
        "column_definitions": [
            *(column(one, kind, nullok=nullok) for one, kind, nullok in SYSTEM),
            *(column(one, kind) for one, kind in columns.items()),
        ],
        "keys": [{"unique_columns": ["RID"]}, {"unique_columns": [next(iter(columns))]}],
    }


def call(service: Service, request: Request) -> Response:
    return service(request, local_client())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service over a fresh folder."""
    create_folder(tmp_path / "bare")
    opened = open_service(tmp_path / "bare")
    yield opened
    opened.close()


@pytest.fixture
def transport(service: Service) -> Counting:
    """The way to it, counted."""
    inside = InProcess(
        partial(call, service), local_path=lambda url: service.local_path(url, local_client()), batch=DEFAULT_LIMITS
    )
    return Counting(inside)


@pytest.fixture
def bare(transport: Counting) -> CatalogClient:
    """A client of its catalog 1, which has a schema S with tables A (n, t, u) and B (x, a)."""
    client = create_catalog(transport, catalog_id="1", name="bare")
    client.create_schema("S")
    client.create_table("S", table_document("A", n="int4", t="text", u="text"))
    client.create_table("S", table_document("B", x="text", a="int4"))
    client.create_foreign_key(
        "S",
        "B",
        {
            "foreign_key_columns": [{"schema_name": "S", "table_name": "B", "column_name": "a"}],
            "referenced_columns": [{"schema_name": "S", "table_name": "A", "column_name": "n"}],
        },
    )
    transport.reset()
    return client
