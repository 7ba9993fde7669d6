"""A copy shows what the source shows, now and at each version, whatever became of its model and its rows in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.copying import copy_catalog
from deriva_ml.connect import open_connection
from deriva_ml.wire.path import any_of, eq, table

Change = Callable[[CatalogClient], object]


def column(name: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": {"typename": kind}, "nullok": True, **more}


def reference(start: str, to: str, **more: Any) -> dict[str, Any]:
    return {
        "foreign_key_columns": [{"column_name": start}],
        "referenced_columns": [{"schema_name": "s", "table_name": to, "column_name": "RID"}],
        **more,
    }


def make(client: CatalogClient, name: str, columns: list[Any], keys: Collection[str] = (), fks: Any = ()) -> None:
    system = [
        column(one, f"ermrest_{one.lower()}", nullok=one in ("RCB", "RMB"))
        for one in ("RID", "RCT", "RMT", "RCB", "RMB")
    ]
    client.create_table(
        "s",
        {
            "schema_name": "s",
            "table_name": name,
            "column_definitions": [*system, *columns],
            "keys": [{"unique_columns": ["RID"]}, *({"unique_columns": [key]} for key in keys)],
            "foreign_keys": list(fks),
        },
    )


def plain(*rows: Any, keys: Collection[str] = (), columns: str = "AZ", kind: str = "text") -> Change:
    """A table t with some rows."""

    def do(client: CatalogClient) -> None:
        make(client, "t", [column(name, kind) for name in columns], keys)
        client.insert("s", "t", rows)

    return do


def named(client: CatalogClient, value: str) -> str:
    (row,) = client.rows(table("s", "t").where(eq("A", value)))
    return str(row["RID"])


def value(client: CatalogClient, old: str, new: str) -> None:
    client.update("s", "t", [{"RID": named(client, old), "A": new}])


def fill_and_demand(client: CatalogClient) -> None:
    rows = client.rows(table("s", "t"))
    client.update("s", "t", [{"RID": row["RID"], "A": f"v{n}"} for n, row in enumerate(rows)])
    client.alter({"nullok": False}, "s", "t", "A")
    client.create_key("s", "t", {"unique_columns": ["A"]})


def swap(client: CatalogClient) -> None:
    first, second = named(client, "x"), named(client, "y")
    for rid, new in ((first, "tmp"), (second, "x"), (first, "y")):
        client.update("s", "t", [{"RID": rid, "A": new}])


def replace_by_an_older_row(client: CatalogClient) -> None:
    client.delete(table("s", "t"))
    old = {"RID": "9-ZZZZ", "RCT": "2020-01-01T00:00:00+00:00", "A": "back"}
    client.insert("s", "t", [old], nondefaults=["RID", "RCT"])


def three_generations(client: CatalogClient) -> None:
    make(client, "p", [column("N")])
    make(client, "q", [column("P")], fks=[reference("P", "p", on_delete="CASCADE")])
    make(client, "r", [column("Q")], fks=[reference("Q", "q", on_delete="CASCADE")])
    first, _ = client.insert("s", "p", [{"N": "1"}, {"N": "2"}])
    (middle,) = client.insert("s", "q", [{"P": first["RID"]}])
    client.insert("s", "r", [{"Q": middle["RID"]}])


def new_parent(client: CatalogClient) -> None:
    (middle,), (second,) = client.rows(table("s", "q")), client.rows(table("s", "p").where(eq("N", "2")))
    client.update("s", "q", [{"RID": middle["RID"], "P": second["RID"]}])
    client.delete(table("s", "p").where(any_of("N", ["1"])))


def tangle(client: CatalogClient) -> None:
    make(client, "n", [column("P"), column("X")], fks=[reference("P", "n")])
    rows = client.insert("s", "n", [{"P": None, "X": "x"} for _ in range(500)])
    client.update("s", "n", [{"RID": row["RID"], "P": rows[(n * 7 + 13) % 500]["RID"]} for n, row in enumerate(rows)])


def untangle(client: CatalogClient) -> None:
    client.update("s", "n", [{"RID": row["RID"], "P": None} for row in client.rows(table("s", "n"))])
    client.delete(table("s", "n"))


def circle(client: CatalogClient) -> None:
    make(client, "a", [column("B"), column("X")])
    make(client, "b", [column("A")], fks=[reference("A", "a")])
    client.create_foreign_key("s", "a", reference("B", "b"))
    (first,) = client.insert("s", "a", [{"X": "1"}])
    (second,) = client.insert("s", "b", [{"A": first["RID"]}])
    client.update("s", "a", [{"RID": first["RID"], "B": second["RID"]}])


def uncircle(client: CatalogClient) -> None:
    client.update("s", "a", [{"RID": row["RID"], "B": None} for row in client.rows(table("s", "a"))])
    client.delete(table("s", "b"))
    client.delete(table("s", "a"))


def to_another_schema(client: CatalogClient) -> None:
    client.create_schema("other")
    client.alter({"schema_name": "other"}, "s", "t")


def made_again(client: CatalogClient) -> None:
    client.drop_table("s", "t")
    plain({"A": "new"})(client)


def late_column(client: CatalogClient) -> None:
    client.create_column("s", "t", column("D", default="old"))
    client.alter({"default": None, "nullok": False}, "s", "t", "D")


def dump(client: CatalogClient) -> dict[str, list[str]]:
    """The rows of all tables but those of the service, in an order of their own."""
    shown: dict[str, list[str]] = {}
    for one in client.model(refresh=True).tables():
        if not one.name.startswith("ERMrest"):
            rows = client.rows(table(one.schema, one.name))
            kept = [{k: v for k, v in row.items() if k not in ("RMT", "RMB", "Snapshot")} for row in rows]
            shown[f"{one.schema}:{one.name}"] = sorted(json.dumps(row, sort_keys=True) for row in kept)
    return shown


class Both:
    """A source with one version in its past, and its copy."""

    def __init__(self, folder: Path, setup: Change, change: Change) -> None:
        with (
            open_connection(str(folder / "a"), create=True) as source,
            open_connection(str(folder / "b"), create=True) as target,
        ):
            old, new = source.create_catalog(), target.create_catalog()
            old.create_schema("s")
            make(old, "Dataset_Version", [column("Version"), column("Snapshot")])
            setup(old)
            (version,) = old.insert("s", "Dataset_Version", [{"Version": "1.0.0"}])
            snapshot = old.latest_snaptime()
            old.update("s", "Dataset_Version", [{"RID": version["RID"], "Snapshot": snapshot}])
            change(old)
            self.copied = copy_catalog(old, source.objects(), new, target.objects())
            (row,) = new.rows(table("s", "Dataset_Version"))
            self.now = dump(old), dump(new)
            self.past = dump(old.snapshot(snapshot)), dump(new.snapshot(str(row["Snapshot"])))
            self.models = old.get("/schema"), new.get("/schema")


def demands(document: dict[str, Any]) -> Any:
    """What a model demands of rows."""
    return {
        f"{schema}:{name}": (
            sorted((one["name"], one["nullok"]) for one in doc["column_definitions"]),
            sorted(str(key["unique_columns"]) for key in doc["keys"]),
            sorted((str(fk["foreign_key_columns"]), fk["on_delete"], fk["on_update"]) for fk in doc["foreign_keys"]),
        )
        for schema, members in document["schemas"].items()
        for name, doc in members["tables"].items()
    }


@pytest.mark.parametrize(
    ("setup", "change"),
    [
        pytest.param(plain({"A": None}, {"A": None}), fill_and_demand, id="stricter rules since"),
        pytest.param(plain({"A": "x"}, {"A": "y"}, keys="A"), swap, id="values of a key change places"),
        pytest.param(plain({"A": "x"}), replace_by_an_older_row, id="a row with an earlier time takes a place"),
        pytest.param(three_generations, new_parent, id="references that delete"),
        pytest.param(tangle, untangle, id="references within a table"),
        pytest.param(circle, uncircle, id="references in a circle"),
    ],
)
def test_rows_are_those_of_the_source_now_and_then(tmp_path: Path, setup: Change, change: Change) -> None:
    both = Both(tmp_path, setup, change)
    assert both.copied.missing == []
    assert both.now[0] == both.now[1]
    assert both.past[0] == both.past[1]
    assert demands(both.models[0]) == demands(both.models[1])


@pytest.mark.parametrize(
    ("change", "then"),
    [
        pytest.param(lambda client: client.alter({"name": "B"}, "s", "t", "A"), ("s:t", "B"), id="column renamed"),
        pytest.param(lambda client: client.alter({"table_name": "u"}, "s", "t"), ("s:u", "A"), id="table renamed"),
        pytest.param(to_another_schema, ("other:t", "A"), id="table moved"),
        pytest.param(made_again, ("s:t", "A"), id="table made again"),
    ],
)
def test_what_was_renamed_is_found_under_the_name_of_now(tmp_path: Path, change: Change, then: tuple[str, str]) -> None:
    both = Both(tmp_path, plain({"A": "x"}, columns="A"), change)
    assert both.copied.missing == []
    assert both.now[0] == both.now[1]
    (row,) = both.past[1][then[0]]
    assert json.loads(row)[then[1]] == "x"


@pytest.mark.parametrize(
    ("setup", "change", "said"),
    [
        pytest.param(
            plain({"A": "x", "Z": "z"}), lambda client: client.drop_column("s", "t", "Z"), "s:t column Z", id="column"
        ),
        pytest.param(plain({"A": "x"}), lambda client: client.drop_table("s", "t"), "s:t", id="table"),
        pytest.param(
            plain({"A": "5"}),
            lambda client: client.alter({"type": {"typename": "int4"}}, "s", "t", "A"),
            "s:t column A",
            id="another type",
        ),
    ],
)
def test_what_the_model_has_no_place_for_any_more_is_named(
    tmp_path: Path, setup: Change, change: Change, said: str
) -> None:
    both = Both(tmp_path, setup, change)
    (missing,) = both.copied.missing
    assert missing.startswith(f"{said} as of ")
    assert both.now[0] == both.now[1]


def test_values_go_into_a_wider_type(tmp_path: Path) -> None:
    setup = plain({"A": 5}, columns="A", kind="int4")
    both = Both(tmp_path, setup, lambda client: client.alter({"type": {"typename": "text"}}, "s", "t", "A"))
    assert both.copied.missing == []
    assert both.now[0] == both.now[1]
    assert '"A": "5"' in both.past[1]["s:t"][0]


def test_a_column_that_was_not_there_yet_is_null_then_and_not_its_default(tmp_path: Path) -> None:
    both = Both(tmp_path, plain({"A": "x"}, columns="A"), late_column)
    assert both.copied.missing == []
    assert both.now[0] == both.now[1]
    assert '"D": "old"' in both.now[1]["s:t"][0]
    assert '"D": null' in both.past[1]["s:t"][0]
