"""What a snapshot costs: a look-up by index, whatever has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.test_guards import Site, table

from deriva_ml.server.app import create_folder, local_client, open_service
from deriva_ml.server.query import compile_select
from deriva_ml.wire.http import Request
from deriva_ml.wire.path import parse_path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    create_folder(tmp_path)
    service = open_service(tmp_path)
    made, owner = Site(service), local_client()
    service(Request("POST", "/ermrest/catalog"), owner)
    link = {
        "foreign_key_columns": [{"column_name": "of"}],
        "referenced_columns": [{"schema_name": "s", "table_name": "Set", "column_name": "RID"}],
    }
    made(owner, "POST", "/schema/s")
    made(owner, "POST", "/schema/s/table", table("Set", "name"))
    made(owner, "POST", "/schema/s/table", table("Member", "name", "of", foreign_keys=[link]))
    sets = made(owner, "POST", "/entity/s:Set", [{"name": str(n)} for n in range(30)])
    rows = [{"name": str(n), "of": sets[n % 30]["RID"]} for n in range(300)]
    made(owner, "POST", "/entity/s:Member", rows)
    yield made
    service.close()


@pytest.mark.parametrize("target", ["/entity/s:Set/RID={}", "/entity/s:Set/RID={}/s:Member", "/entity/s:Member/of={}"])
def test_rows_of_the_past_are_found_by_index(site: Site, target: str) -> None:
    owner = local_client()
    rid = site(owner, "GET", "/entity/s:Set/name=3")[0]["RID"]
    before = site(owner, "GET", target.format(rid))
    snaptime = site(owner, "GET", "")["snaptime"]
    site(owner, "PUT", "/attributegroup/s:Member/name;of", [{"name": str(n), "of": None} for n in range(200)])
    site(owner, "DELETE", "/entity/s:Member/of::null::")
    site(owner, "DELETE", "/entity/s:Member")
    site(owner, "DELETE", "/entity/s:Set")
    assert site(owner, "GET", f"@{snaptime}{target.format(rid)}") == before
    with site.service.ermrest.catalogs.store("1").read(snaptime) as view:
        statement = compile_select(parse_path(target.format(rid)), view)
        plan = view.connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.params).fetchall()
    steps = [row[3] for row in plan]
    assert not [step for step in steps if step.startswith(("SCAN t_", "SCAN h_")) or "AUTOMATIC" in step], steps
