"""Assets: files that the catalog knows, with their types, their metadata, and the executions that read or made them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.asset.asset import Asset
    from deriva_ml.asset.asset_record import AssetRecord, asset_record_class
    from deriva_ml.asset.aux_classes import AssetFilePath, AssetSpec
    from deriva_ml.asset.cached import CachedAsset
    from deriva_ml.asset.local_file import LocalFile
    from deriva_ml.asset.manifest import AssetManifest
    from deriva_ml.asset.spec_config import AssetSpecConfig, LocalFileConfig

__all__ = [
    "Asset",
    "AssetFilePath",
    "AssetManifest",
    "AssetRecord",
    "AssetSpec",
    "AssetSpecConfig",
    "CachedAsset",
    "LocalFile",
    "LocalFileConfig",
    "asset_record_class",
]

_HOMES = {
    "Asset": "deriva_ml.asset.asset",
    "AssetFilePath": "deriva_ml.asset.aux_classes",
    "AssetManifest": "deriva_ml.asset.manifest",
    "AssetRecord": "deriva_ml.asset.asset_record",
    "AssetSpec": "deriva_ml.asset.aux_classes",
    "AssetSpecConfig": "deriva_ml.asset.spec_config",
    "CachedAsset": "deriva_ml.asset.cached",
    "LocalFile": "deriva_ml.asset.local_file",
    "LocalFileConfig": "deriva_ml.asset.spec_config",
    "asset_record_class": "deriva_ml.asset.asset_record",
}


def __getattr__(name: str) -> Any:
    # pydantic and hydra-zen take long to import: the classes are loaded when they are named
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
