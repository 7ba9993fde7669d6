"""The cache's files of assets: listed and deleted."""

from __future__ import annotations

from pathlib import Path

from tests.asset.sessions import Run

from deriva_ml.asset.transfer import download, upload
from deriva_ml.ml import DerivaML


def test_cached_assets_are_listed_and_deleted(ml: DerivaML, tmp_path: Path) -> None:
    ml.create_asset("Image")
    run = Run(ml.session, tmp_path / "runs")
    paths = [run.stage.register("Image", name) for name in ("a b.png", "c.png")]
    for path in paths:
        path.write_bytes(path.name.encode())
    upload(ml.session, run.rid, run.manifest).require_complete()
    one, two = (str(path.asset_rid) for path in paths)
    assert ml.list_cached_assets() == []
    placed = download(ml.session, one, tmp_path / "inputs")
    download(ml.session, two, tmp_path / "inputs")
    cached = {each.rid: each for each in ml.list_cached_assets()}
    assert set(cached) == {one, two}
    assert (cached[one].filename, cached[one].length) == ("a b.png", 7)
    assert cached[one].path.read_bytes() == b"a b.png"
    assert ml.delete_cached_asset(one, md5="0" * 32) == 0
    assert ml.delete_cached_asset(one, md5=cached[one].md5) == 1
    assert ml.delete_cached_asset(one) == 0
    assert [each.rid for each in ml.list_cached_assets()] == [two]
    assert placed.read_bytes() == b"a b.png"
    download(ml.session, one, tmp_path / "other")
    assert {each.rid for each in ml.list_cached_assets()} == {one, two}
