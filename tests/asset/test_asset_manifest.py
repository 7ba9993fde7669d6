"""The manifest under the names of the public interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml.asset.manifest import AssetEntry, AssetManifest, FeatureEntry


def test_the_documented_methods(tmp_path: Path) -> None:
    manifest = AssetManifest(tmp_path / "m.jsonl", "1-ABCD")
    assert (manifest.path, manifest.execution_rid) == (tmp_path / "m.jsonl", "1-ABCD")
    manifest.add_asset("Image/a", AssetEntry("Image", "demo"))
    manifest.add_asset("Image/a", AssetEntry("Image", "demo", description="again"))
    manifest.add_asset("Image/b", AssetEntry("Image", "demo"))
    manifest.update_asset_metadata("Image/a", {"Width": 1})
    manifest.update_asset_types("Image/a", ["Image"])
    manifest.mark_uploaded("Image/a", "1-0001")
    manifest.mark_failed("Image/b", "why")
    manifest.add_feature("F", FeatureEntry("", "F", "Image", "demo", "T", "v"))
    again = AssetManifest(manifest.path, "1-ABCD")
    assert [entry.key for entry in again.uploaded_assets()] == ["Image/a"]
    assert [(entry.key, entry.error) for entry in again.pending_assets()] == [("Image/b", "why")]
    entry = again.assets["Image/a"]
    assert (entry.metadata, entry.asset_types, entry.description) == ({"Width": 1}, ("Image",), "again")
    assert (entry.file_name, again.file_of(entry)) == ("a", tmp_path / "assets" / "Image" / "a")
    assert list(again.features) == ["F"]
    with pytest.raises(KeyError, match="Asset 'k' not in manifest"):
        manifest.mark_uploaded("k", "1-0001")
    with pytest.raises(TypeError, match="needs the entry"):
        manifest.add_feature("G")
