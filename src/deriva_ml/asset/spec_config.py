"""The configuration of an asset input. This module exists only for hydra-zen and is loaded when it is named."""

from __future__ import annotations

from hydra_zen import hydrated_dataclass

from deriva_ml.asset.aux_classes import AssetSpec

__all__ = ["AssetSpecConfig"]


@hydrated_dataclass(AssetSpec)
class AssetSpecConfig:
    """An asset input as a configuration; instantiating it gives an ``AssetSpec``."""

    rid: str
    cache: bool = False
