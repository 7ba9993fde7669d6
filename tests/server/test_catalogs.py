"""Catalogs and aliases: which ids and properties they may have."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from tests.server.conftest import OWNER

from deriva_ml.wire.http import Client

ADMIN = Client("admin", roles=frozenset({"admin"}))


def post(site, document: object, client: Client = ADMIN) -> int:
    return site.raw("POST", "/catalog", json.dumps(document).encode(), client)[0]


@pytest.mark.parametrize("catalog_id", ["a/b", "../x", "é ü", ".", "%2F", "x" * 200])
def test_any_id_that_can_name_a_file_names_a_catalog(site, catalog_id: str) -> None:
    assert post(site, {"id": catalog_id}) == 201
    status, got = site.raw("GET", f"/catalog/{quote(catalog_id, safe='')}/schema", None, ADMIN)
    assert (status, list(json.loads(got)["schemas"])) == (200, ["public"])
    assert post(site, {"id": catalog_id}) == 409


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (400, {"id": "x" * 201}),
        (400, {"id": "é" * 34}),
        (400, {"id": "a\0b"}),
        (400, {"id": 5}),
        (400, {"name": 5}),
        (400, {"annotations": []}),
        (400, {"owner": "admin"}),
        (400, None),
        (400, []),
        (409, {"id": "0"}),
        (409, {"id": "1"}),
        (409, {"owner": []}),
        (409, {"owner": ["someone"]}),
        (403, {"is_persistent": True}),
    ],
)
def test_what_a_catalog_cannot_be_is_refused_and_leaves_nothing(site, status: int, document: object) -> None:
    before = sorted(path.name for path in site.service.root.rglob("*"))
    assert post(site, document) == status
    assert sorted(path.name for path in site.service.root.rglob("*")) == before
    assert post(site, {}) == 201


def test_persistence_is_a_truth_value(site) -> None:
    assert post(site, {"is_persistent": "yes"}, OWNER) == 400
    assert post(site, {"is_persistent": False}, OWNER) == 201


def test_an_alias_takes_no_id_that_is_a_catalog_s(site) -> None:
    for taken in ("0", "1"):
        assert site.raw("PUT", f"/alias/{taken}", b"{}", ADMIN)[0] in (404, 409)
        assert site.raw("POST", "/alias", json.dumps({"id": taken}).encode(), ADMIN)[0] == 409
    assert site.raw("GET", "/alias/0", None, ADMIN)[0] == 404
    assert site.raw("PUT", f"/alias/{'x' * 300}", b"{}", ADMIN)[0] == 400
