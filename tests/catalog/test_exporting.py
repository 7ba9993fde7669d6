"""An exported catalog is a valid bag that holds every row, and its objects if wanted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.exporting import _safe, export_catalog
from deriva_ml.connect import Connection
from deriva_ml.core.exceptions import DerivaMLConfigurationError


@pytest.fixture
def filled(connection: Connection, client: CatalogClient) -> CatalogClient:
    client.insert("deriva-ml", "Workflow", [{"Name": 'a "quoted", name'}, {"Name": "b\nc"}])
    url = connection.objects().put("/hatrac/a/one", b"one")
    head = connection.objects().head(url)
    row = {"URL": url, "Filename": "../one", "Length": head.length, "MD5": head.md5}
    client.insert("deriva-ml", "Execution_Metadata", [row])
    return client


def test_a_bag_holds_every_row_and_object(filled: CatalogClient, connection: Connection, tmp_path: Path) -> None:
    from bdbag import bdbag_api

    made = export_catalog(filled, connection.objects(), tmp_path / "bag", with_objects=True)
    bdbag_api.validate_bag(str(tmp_path / "bag"))
    assert made.missing == []
    assert made.objects == 1
    with (tmp_path / "bag/data/records/deriva-ml/Workflow.csv").open(newline="") as text:
        assert [row["Name"] for row in csv.DictReader(text)] == ['a "quoted", name', "b\nc"]
    assert "deriva-ml" in json.loads((tmp_path / "bag/data/schema.json").read_text())["schemas"]
    (file,) = (path for path in (tmp_path / "bag/data/assets").rglob("*") if path.is_file())
    assert file.read_bytes() == b"one"
    with pytest.raises(DerivaMLConfigurationError, match="already"):
        export_catalog(filled, connection.objects(), tmp_path / "bag")


def test_rows_as_json(filled: CatalogClient, connection: Connection, tmp_path: Path) -> None:
    export_catalog(filled, connection.objects(), tmp_path / "bag", form="json")
    rows = json.loads((tmp_path / "bag/data/records/deriva-ml/Workflow.json").read_text())
    assert [row["Name"] for row in rows] == ['a "quoted", name', "b\nc"]
    assert not (tmp_path / "bag/data/assets").exists()


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "C:\\x", "é", "a\nb"])
def test_no_name_leads_out_of_the_bag(name: str, tmp_path: Path) -> None:
    assert "/" not in _safe(name)
    assert (tmp_path / _safe(name)).resolve().parent == tmp_path.resolve()
