"""A sketch of a catalog refuses what the catalog would refuse, and has what its rows refer to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.sketch import Sketch
from deriva_ml.connect import open_connection
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.schema.tables import table_document


def made(client: CatalogClient, name: str, *columns: ColumnDef, parent: str | None = None) -> None:
    references = (ForeignKeyDef(["Parent"], "demo-schema", parent, ["RID"]),) if parent else ()
    own = (*columns, *((ColumnDef("Parent", "ermrest_rid", nullok=False),) if parent else ()))
    keys = (KeyDef(["Name"]),)
    client.create_table("demo-schema", table_document("demo-schema", TableDef(name, own, keys, references)))


@pytest.fixture
def chain(client: CatalogClient) -> dict[str, str]:
    """A child of a parent of a grandparent, and others of each."""
    name = ColumnDef("Name", "text", nullok=False)
    made(client, "Grandparent", name)
    made(client, "Parent", name, parent="Grandparent")
    made(client, "Child", name, ColumnDef("Age", "int4"), parent="Parent")
    rids: dict[str, str] = {}
    above: str | None = None
    for table in ("Grandparent", "Parent", "Child"):
        rows = [{"Name": f"{table} {at}", **({"Parent": above} if above else {})} for at in range(3)]
        stored = client.insert("demo-schema", table, rows)
        above = rids[table] = str(stored[1]["RID"])
    return rids


@pytest.fixture
def target(tmp_path: Path) -> Iterator[CatalogClient]:
    with open_connection(str(tmp_path / "sketch"), create=True) as connection:
        yield connection.create_catalog("1")


def test_rows_come_along_with_what_they_refer_to_and_no_others(
    client: CatalogClient, target: CatalogClient, chain: dict[str, str]
) -> None:
    sketch = Sketch(client, target)
    sketch.take(("demo-schema", "Child"), "RID", [chain["Child"]])
    sketch.finish()
    assert sketch.refused == []
    for table, rid in chain.items():
        (row,) = target.rows_by("demo-schema", table, "RID", [rid])
        (known,) = client.rows_by("demo-schema", table, "RID", [rid])
        assert {key: row[key] for key in ("RID", "RCT", "Name")} == {key: known[key] for key in ("RID", "RCT", "Name")}
        assert len(target.get(f"/entity/demo-schema:{table}")) == 1


def test_keys_references_and_types_hold(client: CatalogClient, target: CatalogClient, chain: dict[str, str]) -> None:
    sketch = Sketch(client, target)
    sketch.take(("demo-schema", "Child"), "RID", [chain["Child"]])
    sketch.finish()
    good = {"Name": "new", "Parent": chain["Parent"], "Age": 3}
    target.insert("demo-schema", "Child", [good])
    for wrong in (good, {**good, "Name": "x", "Parent": "9-ZZZZ"}, {**good, "Name": "y", "Age": "old"}):
        with pytest.raises(DerivaMLCatalogError):
            target.insert("demo-schema", "Child", [wrong])


def test_rows_are_brought_once_and_those_of_an_earlier_moment_in_todays_columns(
    client: CatalogClient, target: CatalogClient, chain: dict[str, str]
) -> None:
    (row,) = client.rows_by("demo-schema", "Child", "RID", [chain["Child"]])
    earlier = {"RID": row["RID"], "RCT": row["RCT"], "RCB": row["RCB"], "Old": 1, "Parent": row["Parent"]}
    sketch = Sketch(client, target)
    sketch.add(("demo-schema", "Child"), [earlier, row])
    sketch.add(("demo-schema", "Child"), [row])
    sketch.add(("demo-schema", "Gone"), [row])
    sketch.finish()
    (found,) = target.get("/entity/demo-schema:Child")
    assert found["Name"] == row["Name"]


def test_a_reference_to_what_cannot_be_read_is_not_made_and_named(
    client: CatalogClient, target: CatalogClient, chain: dict[str, str]
) -> None:
    (row,) = client.rows_by("demo-schema", "Child", "RID", [chain["Child"]])
    sketch = Sketch(client, target)
    sketch.add(("demo-schema", "Child"), [{**row, "Parent": "9-ZZZZ"}])
    sketch.finish()
    assert sketch.refused == ["demo-schema:Child Parent"]
