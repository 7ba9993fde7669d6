"""Which look-ups an index serves, and what becomes of the indexes as tables change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.test_guards import Site, table

from deriva_ml.server import physical
from deriva_ml.server.app import create_folder, local_client, open_service
from deriva_ml.server.query import compile_select
from deriva_ml.wire.http import Request
from deriva_ml.wire.path import parse_path

OWNER = local_client()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A catalog with an empty table with a key and a foreign key."""
    create_folder(tmp_path)
    service = open_service(tmp_path)
    made = Site(service)
    service(Request("POST", "/ermrest/catalog"), OWNER)
    link = {
        "foreign_key_columns": [{"column_name": "of"}],
        "referenced_columns": [{"schema_name": "s", "table_name": "T", "column_name": "RID"}],
    }
    made(OWNER, "POST", "/schema/s")
    made(OWNER, "POST", "/schema/s/table", table("T", "code", "name", "of", "other", foreign_keys=[link]))
    yield made
    service.close()


def plan(site: Site, target: str) -> str:
    with site.service.ermrest.catalogs.store("1").read() as view:
        statement = compile_select(parse_path(target), view)
        rows = view.connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params).fetchall()
    return "; ".join(row[3] for row in rows)


def column_indexes(site: Site) -> list[str]:
    with site.service.ermrest.catalogs.store("1").read() as view:
        rows = view.connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND name GLOB 'x_*'")
        names = {column.storage: column.name for one in view.model.tables() for column in one.columns}
        return sorted(names.get(row[0].split("_", 2)[2], row[0]) for row in rows)


def fill(site: Site, count: int = physical.LARGE) -> list[dict[str, Any]]:
    return site(OWNER, "POST", "/entity/s:T", [{"name": f"n{at}", "other": str(at)} for at in range(count)])


def test_the_columns_of_a_table_are_indexed_once_it_is_large(site: Site) -> None:
    fill(site, physical.LARGE - 1)
    assert column_indexes(site) == []
    fill(site, 1)
    assert column_indexes(site) == ["RCT", "name", "other"]  # the others have theirs, as keys and foreign key
    for target in ("name=n7", "other=7", "of=2", "RID=2", "name=a;other=b"):
        assert "SCAN" not in plan(site, f"/entity/s:T/{target}")
    assert [row["other"] for row in site(OWNER, "GET", "/entity/s:T/name=n0@sort(RID)")] == ["0", "0"]


@pytest.mark.parametrize("keys", ["RCT::desc::", "RCT", "RCT::desc::,RID::desc::", "RCT,RID"])
def test_the_latest_rows_of_a_large_table_are_found_without_sorting_it(site: Site, keys: str) -> None:
    fill(site)
    assert "TEMP B-TREE" not in plan(site, f"/entity/s:T@sort({keys})?limit=5".partition("?")[0])


def test_a_request_that_is_refused_leaves_no_index(site: Site) -> None:
    rows = [{"name": "a", "of": "nothing"} for _ in range(physical.LARGE)]
    body = json.dumps(rows).encode()
    refused = site.service(Request("POST", "/ermrest/catalog/1/entity/s:T", {}, body), OWNER)
    assert refused.status == 409
    assert column_indexes(site) == []
    fill(site)
    assert column_indexes(site) == ["RCT", "name", "other"]


def test_a_large_insertion_keeps_the_indexes_and_one_that_is_refused_does_too(site: Site) -> None:
    fill(site)
    fill(site)
    assert column_indexes(site) == ["RCT", "name", "other"]
    body = json.dumps([{"name": "a", "of": "nothing"} for _ in range(physical.LARGE)]).encode()
    assert site.service(Request("POST", "/ermrest/catalog/1/entity/s:T", {}, body), OWNER).status == 409
    assert column_indexes(site) == ["RCT", "name", "other"]
    assert len(site(OWNER, "GET", "/entity/s:T/name=n5")) == 2


def test_an_annotation_says_which_columns_are_not_indexed(site: Site) -> None:
    tag = physical.PREFERENCES.replace(":", "%3A").replace(",", "%2C")
    site(OWNER, "PUT", f"/schema/s/table/T/annotation/{tag}", {"btree": False})
    site(OWNER, "PUT", f"/schema/s/table/T/column/name/annotation/{tag}", {"btree": True})
    fill(site)
    assert column_indexes(site) == ["name"]


def test_a_column_that_is_dropped_or_retyped_takes_its_index_along(site: Site) -> None:
    fill(site)
    site(OWNER, "DELETE", "/schema/s/table/T/column/name")
    assert column_indexes(site) == ["RCT", "other"]
    site(OWNER, "PUT", "/schema/s/table/T/column/other", {"type": {"typename": "int4"}})
    assert column_indexes(site) == ["RCT"]
    site(OWNER, "POST", "/schema/s/table/T/column", {"name": "new", "type": {"typename": "date"}})
    site(OWNER, "POST", "/entity/s:T", [{"other": 1}])
    assert column_indexes(site) == ["RCT", "new", "other"]
    assert "SCAN" not in plan(site, "/entity/s:T/other=7")
    assert [row["other"] for row in site(OWNER, "GET", "/entity/s:T/other=7")] == [7]
