"""Access lists: what an element denies, nothing in it can give."""

from __future__ import annotations

import pytest
from tests.server.conftest import OWNER

from deriva_ml.wire.http import Client

ANN = Client("ann", roles=frozenset({"ann"}))


@pytest.fixture
def shared(site):
    site.ok("PUT", "/acl/enumerate", ["*"])
    site.ok("PUT", "/acl/create", ["ann"])
    site.ok("POST", "/schema/S/table", site.table("T", [site.column("n", "int4")], keys=[["n"]]))
    return site


def test_a_table_of_a_schema_that_is_not_seen_gives_no_right(shared) -> None:
    shared.ok("PUT", "/schema/S/acl", {"enumerate": [], "create": [], "select": []})
    shared.ok("PUT", "/schema/S/table/T/acl", {"write": ["ann"]})
    row = [{"n": 1}]
    for method, target, body in (
        ("GET", "/entity/S:T", None),
        ("POST", "/entity/S:T", row),
        ("PUT", "/entity/S:T", row),
        ("PUT", "/attributegroup/S:T/n;n", row),
        ("DELETE", "/entity/S:T", None),
        ("POST", "/entity/T", row),
    ):
        status, text = shared(method, target, body, ANN)
        assert (status, "not exist" in text or "not found" in text) == (409, True), target


def test_a_column_gives_no_right_that_its_table_denies(shared) -> None:
    shared.ok("PUT", "/schema/S/table/T/acl/enumerate", ["*"])
    shared.ok("PUT", "/schema/S/table/T/column/n/acl/select", ["ann"])
    assert shared.ok("GET", "/schema/S/table/T/column/n", client=ANN)["rights"]["select"] is False
    shared.ok("PUT", "/schema/S/table/T/acl/select", ["ann"])
    assert shared.ok("GET", "/schema/S/table/T/column/n", client=ANN)["rights"]["select"] is True


def test_who_makes_a_reference_must_see_where_it_leads(shared) -> None:
    shared.ok("POST", "/schema/mine", client=ANN)
    shared.ok("POST", "/schema/mine/table", shared.table("M", [shared.column("n", "int4")]), ANN)
    shared.ok("PUT", "/schema/S/table/T/acl", {"enumerate": []})
    fk = shared.reference(["n"], "T", ["n"])
    status, text = shared("POST", "/schema/mine/table/M/foreignkey", fk, ANN)
    assert (status, "does not exist" in text) == (409, True)
    shared.ok("PUT", "/schema/S/table/T/acl", {"enumerate": ["*"]})
    shared.ok("POST", "/schema/mine/table/M/foreignkey", fk, ANN)


def test_a_reference_to_what_is_not_seen_is_not_there_even_for_who_owns_its_table(shared) -> None:
    shared.ok("POST", "/schema/mine", client=ANN)
    shared.ok("POST", "/schema/mine/table", shared.table("M", [shared.column("n", "int4")]), ANN)
    shared.ok("PUT", "/schema/S/acl/select", ["ann"])
    shared.ok("POST", "/schema/mine/table/M/foreignkey", shared.reference(["n"], "T", ["n"]), ANN)
    assert len(shared.ok("GET", "/schema/mine/table/M", client=ANN)["foreign_keys"]) == 1
    shared.ok("PUT", "/schema/S/table/T/acl", {"enumerate": [], "select": []})
    assert shared.ok("GET", "/schema", client=ANN)["schemas"]["mine"]["tables"]["M"]["foreign_keys"] == []
    assert "T" not in shared.ok("GET", "/schema", client=ANN)["schemas"]["S"]["tables"]
    assert len(shared.ok("GET", "/schema/mine/table/M")["foreign_keys"]) == 1


def test_a_reference_s_own_list_says_who_sees_it(shared) -> None:
    shared.ok("PUT", "/acl/select", ["*"])
    shared.ok("POST", "/schema/S/table/T/column", shared.column("m", "int4"))
    shared.ok("POST", "/schema/S/table/T/foreignkey", shared.reference(["m"], "T", ["n"]))
    reference = "/schema/S/table/T/foreignkey/m/reference/S:T/n"
    for acls, status in (({"enumerate": []}, 409), ({"enumerate": ["ann"]}, 200), ({"insert": ["*"]}, 200), ({}, 200)):
        shared.ok("PUT", reference + "/acl", acls)
        assert shared("GET", reference, client=ANN)[0] == status, acls
        assert shared("GET", reference)[0] == 200


def test_keys_and_references_of_columns_that_are_not_seen_are_not_there(shared) -> None:
    shared.ok("POST", "/schema/S/table/T/column", shared.column("m", "int4"))
    shared.ok("POST", "/schema/S/table/T/foreignkey", shared.reference(["m"], "T", ["n"]))
    shared.ok("PUT", "/acl/select", ["*"])
    reference = "/schema/S/table/T/foreignkey/m/reference/S:T/n"
    assert shared("GET", reference, client=ANN)[0] == shared("GET", "/schema/S/table/T/key/n", client=ANN)[0] == 200
    shared.ok("PUT", "/schema/S/table/T/column/n/acl", {"enumerate": [], "select": []})
    assert shared("GET", reference + "/annotation", client=ANN)[0] == 409
    assert shared("GET", "/schema/S/table/T/key/n", client=ANN)[0] == 409
    assert shared("GET", reference, client=OWNER)[0] == 200


@pytest.mark.parametrize("types", [["owner"], ["owner", "select", "update", "delete"]])
def test_a_binding_gives_no_right_to_insert(shared, types: list[str]) -> None:
    shared.ok("PUT", "/acl/select", ["*"])
    shared.ok("PUT", "/schema/S/table/T/acl_binding/b", {"types": types, "projection": "RCB"})
    for method, body in (("POST", [{"n": 1}]), ("PUT", [{"n": 1}])):
        assert shared(method, "/entity/S:T", body, ANN)[0] == 403
    assert shared.ok("GET", "/entity/S:T") == []
    shared.ok("PUT", "/schema/S/table/T/acl/insert", ["ann"])
    shared.ok("POST", "/entity/S:T", [{"n": 1}], ANN)
    shared.ok("PUT", "/attributegroup/S:T/n;n2:=n", [{"n": 1, "n2": 1}], ANN)
    shared.ok("PUT", "/schema/S/table/T/column/n/acl/insert", [])
    shared.ok("PUT", "/schema/S/table/T/column/n/acl_binding/b", {"types": types, "projection": "RCB"})
    assert shared("POST", "/entity/S:T", [{"n": 2}], ANN)[0] == 403


@pytest.mark.parametrize("client", [OWNER, ANN])
def test_a_table_without_history_is_not_there_in_the_past(shared, client: Client) -> None:
    shared.ok("PUT", "/acl/select", ["*"])
    shared.ok("POST", "/schema/S/table", shared.table("U", [shared.column("t", "int4")]))
    shared.ok("POST", "/schema/S/table/U/foreignkey", shared.reference(["t"], "T", ["n"]))
    shared.ok("POST", "/entity/S:T", [{"n": 1}])
    before = shared.ok("GET", "/")["snaptime"]
    shared.ok("PUT", "/schema/S/table/T/annotation/tag%3Aisrd.isi.edu%2C2020%3Ahistory-capture", False)
    without = shared.ok("GET", "/")["snaptime"]
    shared.ok("PUT", "/schema/S/table/T/annotation/tag%3Aisrd.isi.edu%2C2020%3Ahistory-capture", True)
    shared.ok("POST", "/entity/S:T", [{"n": 2}])

    assert len(shared.ok("GET", f"@{before}/entity/S:T", client=client)) == 1
    assert list(shared.ok("GET", f"@{without}/schema/S", client=client)["tables"]) == ["U"]
    assert shared.ok("GET", f"@{without}/schema", client=client)["schemas"]["S"]["tables"]["U"]["foreign_keys"] == []
    assert shared("GET", f"@{without}/schema/S/table/T", client=client)[0] == 404
    assert shared("GET", f"@{without}/entity/S:T", client=client)[0] == 409
    assert shared("GET", f"@{without}/entity/S:U/S:T", client=client)[0] == 409
    assert shared.ok("GET", f"@{without}/entity/S:U", client=client) == []
    assert len(shared.ok("GET", "/entity/S:T", client=client)) == 2
