"""What a client who does not own the catalog can see, read and change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.wire.http import ANONYMOUS, Client, Request

SYSTEM = [
    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
]
ANN = Client("ann", roles=frozenset({"ann"}))
BOB = Client("bob", roles=frozenset({"bob", "team"}))


def table(name: str, *columns: str, **more: Any) -> dict[str, Any]:
    made = [{"name": column, "type": {"typename": "text"}} for column in columns]
    return {
        "table_name": name,
        "column_definitions": [*SYSTEM, *made],
        "keys": [{"unique_columns": ["RID"]}, {"unique_columns": [columns[0]]}],
        **more,
    }


class Site:
    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, client: Client, method: str, target: str, body: Any = None) -> Any:
        """The rows or the document that is answered, or the status of a refusal."""
        content = None if body is None else json.dumps(body).encode()
        answer = self.service(Request(method, f"/ermrest/catalog/1{target}", {}, content), client)
        got = answer.read()
        return answer.status if answer.status >= 400 or not got else json.loads(got)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    create_folder(tmp_path)
    service = open_service(tmp_path)
    made, owner = Site(service), local_client()
    service(Request("POST", "/ermrest/catalog"), owner)
    fk = {
        "foreign_key_columns": [{"column_name": "project"}],
        "referenced_columns": [{"schema_name": "s", "table_name": "Project", "column_name": "name"}],
        "names": [["s", "Sample_Project"]],
    }
    made(owner, "POST", "/schema/s")
    made(owner, "POST", "/schema/s/table", table("Project", "name", "member"))
    made(owner, "POST", "/schema/s/table", table("Sample", "label", "project", "secret", foreign_keys=[fk]))
    made(owner, "POST", "/entity/s:Project", [{"name": "p", "member": "ann"}, {"name": "q", "member": "team"}])
    made(
        owner,
        "POST",
        "/entity/s:Sample",
        [{"label": str(n), "project": project, "secret": "x"} for n, project in enumerate("ppqqq")],
    )
    yield made
    service.close()


def open_up(site: Site, **acls: list[str]) -> None:
    for name, members in acls.items():
        assert site(local_client(), "PUT", f"/acl/{name}", members) == members


def test_a_catalog_that_is_not_enumerable_is_closed(site: Site) -> None:
    assert site(ANN, "GET", "/schema") == 403
    assert site(ANONYMOUS, "GET", "/entity/s:Sample") == 401


def test_a_reader_reads_and_cannot_write(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["ann"])
    assert len(site(ANN, "GET", "/entity/s:Sample")) == 5
    assert site(BOB, "GET", "/entity/s:Sample") == 403
    assert site(ANONYMOUS, "GET", "/entity/s:Sample") == 401
    for method, target, body in (
        ("POST", "/entity/s:Project", [{"name": "z"}]),
        ("PUT", "/attributegroup/s:Sample/label;secret", [{"label": "1", "secret": "y"}]),
        ("DELETE", "/entity/s:Sample", None),
        ("DELETE", "/attribute/s:Sample/secret", None),
        ("POST", "/schema/t", None),
        ("DELETE", "/schema/s/table/Sample", None),
        ("PUT", "/schema/s/table/Sample/annotation/a", 1),
        ("GET", "/acl", None),
        ("DELETE", "", None),
    ):
        assert site(ANN, method, target, body) == 403, (method, target)


def test_what_cannot_be_enumerated_does_not_exist(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"])
    owner = local_client()
    site(owner, "PUT", "/schema/s/table/Project/acl", {"enumerate": [], "select": []})
    site(owner, "PUT", "/schema/s/table/Sample/column/secret/acl", {"enumerate": [], "select": []})
    assert site(ANN, "GET", "/entity/s:Project") == 409
    assert site(ANN, "GET", "/entity/s:Sample/s:Project") == 409
    assert site(ANN, "GET", "/entity/s:Sample/secret=x") == 409
    assert "secret" not in site(ANN, "GET", "/entity/s:Sample?limit=1")[0]
    schema = site(ANN, "GET", "/schema")["schemas"]["s"]["tables"]
    assert set(schema) == {"Sample"}
    assert schema["Sample"]["foreign_keys"] == []


def test_a_column_that_is_seen_and_cannot_be_read_is_refused(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"])
    site(local_client(), "PUT", "/schema/s/table/Sample/column/secret/acl/select", [])
    assert site(ANN, "GET", "/entity/s:Sample") == 403
    assert site(ANN, "GET", "/attribute/s:Sample/secret=x/label") == 403
    assert len(site(ANN, "GET", "/attribute/s:Sample/label")) == 5


def test_bindings_choose_the_rows_through_foreign_keys(site: Site) -> None:
    open_up(site, enumerate=["*"])
    path = [{"outbound": ["s", "Sample_Project"]}, "member"]
    binding = {"types": ["select", "update"], "projection": path, "projection_type": "acl"}
    site(local_client(), "PUT", "/schema/s/table/Sample/acl_binding/members", binding)
    assert sorted(row["label"] for row in site(ANN, "GET", "/entity/s:Sample")) == ["0", "1"]
    assert sorted(row["label"] for row in site(BOB, "GET", "/entity/s:Sample")) == ["2", "3", "4"]
    assert site(ANN, "GET", "/aggregate/s:Sample/n:=cnt(*)") == [{"n": 2}]
    target = "/attributegroup/s:Sample/label;secret"
    assert site(ANN, "PUT", target, [{"label": "0", "secret": "new"}]) == [{"label": "0", "secret": "new"}]
    assert site(ANN, "PUT", target, [{"label": "0", "secret": "z"}, {"label": "2", "secret": "z"}]) == 403
    assert {row["secret"] for row in site(local_client(), "GET", "/entity/s:Sample")} == {"x", "new"}
    assert site(ANN, "DELETE", "/entity/s:Sample") == 403
    rights = site(ANN, "GET", "/schema/s/table/Sample")["rights"]
    assert rights == {"owner": False, "insert": False, "update": None, "delete": False, "select": None}


def test_filters_and_negation_in_bindings(site: Site) -> None:
    open_up(site, enumerate=["*"])
    for test, expected in (
        ({"filter": "label", "operand": "3"}, ["3"]),
        ({"filter": "label", "operand": "3", "negate": True}, ["0", "1", "2", "4"]),
        ({"filter": "label", "operator": "::gt::", "operand": "2"}, ["3", "4"]),
        ({"or": [{"filter": "label", "operand": "1"}, {"filter": "project", "operand": "q"}]}, ["1", "2", "3", "4"]),
        ({"filter": "label", "operator": "::null::"}, []),
    ):
        binding = {"types": ["select"], "projection": [test, "RID"], "projection_type": "nonnull"}
        site(local_client(), "PUT", "/schema/s/table/Sample/acl_binding/b", binding)
        assert sorted(row["label"] for row in site(ANN, "GET", "/entity/s:Sample")) == expected


def test_a_columns_own_binding_hides_values_and_not_rows(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"])
    own = {"types": ["select"], "projection": [{"outbound": ["s", "Sample_Project"]}, "member"]}
    site(local_client(), "PUT", "/schema/s/table/Sample/column/secret/acl/select", [])
    site(local_client(), "PUT", "/schema/s/table/Sample/column/secret/acl_binding/own", own)
    rows = site(ANN, "GET", "/entity/s:Sample@sort(label)")
    assert [row["secret"] for row in rows] == ["x", "x", None, None, None]


def test_a_snapshot_is_guarded_by_the_rules_of_its_time(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["ann"])
    before = site(local_client(), "GET", "")["snaptime"]
    open_up(site, select=[])
    assert site(ANN, "GET", "/entity/s:Sample") == 403
    assert len(site(ANN, "GET", f"@{before}/entity/s:Sample")) == 5
    assert site(ANN, "POST", f"@{before}/entity/s:Sample", []) == 403
    assert site(ANN, "GET", f"@{before}/schema/s/table/Sample")["rights"]["select"] is True


def test_regular_expressions_in_bindings(site: Site) -> None:
    open_up(site, enumerate=["*"])
    for operator, pattern, expected in (
        ("::regexp::", "^[12]$", ["1", "2"]),
        ("::regexp::", "[[:digit:]]", ["0", "1", "2", "3", "4"]),
        ("::regexp::", "P", []),
        ("::ciregexp::", "P", ["0", "1"]),
        ("::regexp::", "it's", []),
        ("::regexp::", "(", []),
        ("::regexp::", "' OR 1=1 --", []),
    ):
        column = "project" if "P" in pattern else "label"
        test = {"filter": column, "operator": operator, "operand": pattern}
        binding = {"types": ["select"], "projection": [test, "RID"], "projection_type": "nonnull"}
        site(local_client(), "PUT", "/schema/s/table/Sample/acl_binding/b", binding)
        assert sorted(row["label"] for row in site(ANN, "GET", "/entity/s:Sample")) == expected, pattern
        if pattern == "(":  # what cannot be read gives nobody anything, negated or not
            binding["projection"][0]["negate"] = True
            site(local_client(), "PUT", "/schema/s/table/Sample/acl_binding/b", binding)
            assert site(ANN, "GET", "/entity/s:Sample") == []


FK = "/schema/s/table/Sample/foreignkey/project/reference/s:Project/name"


def labels(site: Site, project: str) -> list[str]:
    return sorted(row["label"] for row in site(local_client(), "GET", f"/entity/s:Sample/project={project}"))


def test_a_foreign_key_s_lists_say_who_may_refer(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"], write=["ann", "bob"])
    owner = local_client()
    site(owner, "PUT", f"{FK}/acl", {"insert": ["ann"], "update": ["team"]})
    row = [{"label": "new", "project": "p"}]
    assert site(BOB, "POST", "/entity/s:Sample", row) == 403
    assert site(BOB, "POST", "/entity/s:Sample?onconflict=skip", row) == 403
    assert site(BOB, "PUT", "/entity/s:Sample", row) == 403
    assert labels(site, "p") == ["0", "1"]
    # A reference to nothing, and one that takes its default, are no references.
    assert len(site(BOB, "POST", "/entity/s:Sample", [{"label": "free"}])) == 1
    assert len(site(BOB, "POST", "/entity/s:Sample?defaults=project", [{"label": "other", "project": "p"}])) == 1
    assert len(site(ANN, "POST", "/entity/s:Sample", row)) == 1
    change = "/attributegroup/s:Sample/label;project"
    assert site(ANN, "PUT", change, [{"label": "new", "project": "q"}]) == 403
    assert site(ANN, "PUT", change, [{"label": "new", "project": None}]) == [{"label": "new", "project": None}]
    assert len(site(ANN, "PUT", "/attributegroup/s:Sample/label;secret", [{"label": "0", "secret": "y"}])) == 1
    assert len(site(BOB, "PUT", change, [{"label": "new", "project": "q"}])) == 1
    assert "new" in labels(site, "q")
    assert len(site(owner, "POST", "/entity/s:Sample", [{"label": "mine", "project": "p"}])) == 1


def test_a_foreign_key_without_lists_is_open_to_who_may_write_its_columns(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"], write=["ann"])
    site(local_client(), "DELETE", f"{FK}/acl")
    assert len(site(ANN, "POST", "/entity/s:Sample", [{"label": "new", "project": "p"}])) == 1


def test_a_foreign_key_s_bindings_choose_the_rows_that_may_be_referred_to(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"], write=["ann", "bob"])
    owner = local_client()
    site(owner, "PUT", f"{FK}/acl", {"insert": [], "update": []})
    binding = {"types": ["insert", "update"], "projection": ["member"], "projection_type": "acl"}
    assert site(owner, "PUT", f"{FK}/acl_binding/member", binding)["projection"] == ["member"]
    rights = site(ANN, "GET", FK)[0]["rights"]
    assert rights == {"insert": None, "update": None}
    assert len(site(ANN, "POST", "/entity/s:Sample", [{"label": "a", "project": "p"}])) == 1
    assert site(ANN, "POST", "/entity/s:Sample", [{"label": "b", "project": "q"}]) == 403
    assert site(ANN, "POST", "/entity/s:Sample", [{"label": n, "project": n} for n in "pq"]) == 403
    change = "/attributegroup/s:Sample/label;project"
    assert site(ANN, "PUT", change, [{"label": "a", "project": "q"}]) == 403
    assert len(site(BOB, "PUT", change, [{"label": "a", "project": "q"}])) == 1
    assert site(BOB, "PUT", "/entity/s:Sample", [{"label": "c", "project": "p", "secret": None}]) == 403
    # The binding goes along when the column that it starts at is called something else.
    site(owner, "PUT", "/schema/s/table/Project/column/member", {"name": "who"})
    assert len(site(ANN, "POST", "/entity/s:Sample", [{"label": "d", "project": "p"}])) == 1
    assert site(ANN, "POST", "/entity/s:Sample", [{"label": "e", "project": "q"}]) == 403


def test_what_cannot_be_read_cannot_be_guessed_by_writing(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"], write=["ann"])
    owner = local_client()
    site(owner, "PUT", "/schema/s/table/Sample/column/secret/acl", {"select": [], "update": [], "write": []})
    assert site(ANN, "DELETE", "/entity/s:Sample/secret=x") == 403
    assert site(ANN, "PUT", "/attributegroup/s:Sample/secret;project", [{"secret": "x", "project": "p"}]) == 403
    site(owner, "PUT", "/schema/s/table/Project/acl", {"enumerate": [], "select": [], "write": []})
    assert site(ANN, "DELETE", "/entity/s:Project/member=ann/s:Sample") == 409
    assert len(site(owner, "GET", "/entity/s:Sample")) == 5


def test_groups_are_noted_with_their_first_member(site: Site) -> None:
    open_up(site, enumerate=["*"], select=["*"])
    site(BOB, "GET", "/entity/s:Sample")
    groups = site(local_client(), "GET", "/entity/public:ERMrest_Group")
    assert [(group["ID"], group["Display_Name"], group["RCB"]) for group in groups] == [("team", "team", None)]
    site(BOB, "GET", "/entity/s:Sample")
    assert len(site(local_client(), "GET", "/entity/public:ERMrest_Group")) == 1


def test_a_summary_of_rights_tells_what_the_client_may_do_with_each_row(site: Site) -> None:
    owner = local_client()
    open_up(site, enumerate=["*"], select=["*"])
    path = "/attributegroup/s:Sample/label;t:=trs(RID),c:=tcrs(RID)@sort(label)"
    everything, nothing = {"update": True, "delete": True}, {"update": False, "delete": False}
    assert next(row["t"] for row in site(owner, "GET", path)) == everything
    found = site(ANN, "GET", path)
    assert [row["t"] for row in found] == [nothing] * len(found)
    assert not any(value for row in found for value in row["c"]["column_update"].values())
    binding = {
        "types": ["update"],
        "projection": [{"outbound": ["s", "Sample_Project"]}, "member"],
        "projection_type": "acl",
    }
    assert site(owner, "PUT", "/schema/s/table/Sample/acl_binding/mine", binding) != 409
    site(owner, "PUT", "/schema/s/table/Sample/column/secret/acl_binding/mine", False)
    mine = {row["label"]: row for row in site(ANN, "GET", path)}
    projects = {row["label"]: row["project"] for row in site(owner, "GET", "/entity/s:Sample")}
    for label, row in mine.items():
        is_mine = projects[label] == "p"
        assert row["t"] == {"update": is_mine, "delete": False}, label
        assert row["c"]["column_update"]["label"] == is_mine
        assert row["c"]["column_update"]["secret"] is False
        assert row["c"]["column_update"]["RMT"] is False
    assert {row["t"]["update"] for row in mine.values()} == {True, False}


def test_a_binding_may_compare_with_infinity(site: Site) -> None:
    owner = local_client()
    open_up(site, enumerate=["*"])
    site(owner, "POST", "/schema/s/table/Sample/column", {"name": "size", "type": {"typename": "float8"}})
    sizes = {"0": "Infinity", "1": "-Infinity", "2": 1.5, "3": "NaN", "4": None}
    site(owner, "PUT", "/attributegroup/s:Sample/label;size", [{"label": a, "size": b} for a, b in sizes.items()])
    for operator, operand, labels in (
        ("=", "Infinity", ["0"]),
        ("::lt::", "Infinity", ["1", "2"]),
        ("=", "-inf", ["1"]),
    ):
        step = {"filter": "size", "operator": operator, "operand": operand}
        binding = {"types": ["select"], "projection": [step, "RID"], "projection_type": "nonnull"}
        assert site(owner, "PUT", "/schema/s/table/Sample/acl_binding/sized", binding) not in (400, 409)
        assert [row["label"] for row in site(ANN, "GET", "/entity/s:Sample@sort(label)")] == labels
