"""A folder laid over another one shows its catalog, and keeps every change to itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deriva_ml.connect import open_connection
from deriva_ml.server.app import FolderError
from deriva_ml.server.overlay import lay_over


def test_what_is_below_is_seen_and_never_changed(catalog_root: Path, tmp_path: Path) -> None:
    with open_connection(str(catalog_root)) as connection:
        url = connection.objects().put("/hatrac/a/one.bin", b"below", filename="one.bin")
        connection.catalog(1).create_schema("below", "made below")
    before = {path: path.read_bytes() for path in catalog_root.rglob("*") if path.is_file()}
    top = tmp_path / "top"
    lay_over(catalog_root, "1", top)
    with open_connection(str(top)) as connection:
        client, objects = connection.catalog(1), connection.objects()
        assert "below" in client.model().schemas
        objects.fetch(url, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"below"
        assert str(objects.local_path(url)).startswith(str(catalog_root))
        new = objects.put("/hatrac/a/two.bin", b"above", filename="two.bin")
        again = objects.put("/hatrac/a/three.bin", b"below", filename="three.bin")
        for stored, content in ((new, b"above"), (again, b"below")):
            assert str(objects.local_path(stored)).startswith(str(top))
            objects.fetch(stored, tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == content
        client.create_schema("above", "made above")
        client.drop_schema("below")
    assert {path: path.read_bytes() for path in catalog_root.rglob("*") if path.is_file()} == before
    with open_connection(str(catalog_root)) as connection:
        assert {"below"} <= connection.catalog(1).model(refresh=True).schemas.keys()
        assert "above" not in connection.catalog(1).model().schemas


def test_no_object_is_copied_and_the_folder_is_another_one(catalog_root: Path, tmp_path: Path) -> None:
    with open_connection(str(catalog_root)) as connection:
        connection.objects().put("/hatrac/a/one.bin", b"x" * 1000, filename="one.bin")
    lay_over(catalog_root, "1", tmp_path / "top")
    assert [path for path in (tmp_path / "top" / "objects").rglob("*") if path.is_file()] == []
    marks = [json.loads((root / "deriva-ml-catalog.json").read_text()) for root in (catalog_root, tmp_path / "top")]
    assert marks[0]["identity"] != marks[1]["identity"]
    assert marks[1]["below"] == str(catalog_root.resolve() / "objects")


def test_something_else_in_the_way_is_refused(catalog_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError):
        lay_over(catalog_root, "1", tmp_path / "file")
