"""The configurations of asset inputs. This module exists only for hydra-zen and is loaded when it is named."""

from __future__ import annotations

from hydra_zen import hydrated_dataclass

from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.asset.local_file import LocalFile
from deriva_ml.core.enums import AssetRole

__all__ = ["AssetSpecConfig", "LocalFileConfig"]


@hydrated_dataclass(AssetSpec)
class AssetSpecConfig:
    """An asset input as a configuration; instantiating it gives an ``AssetSpec``."""

    rid: str
    cache: bool = False
    asset_role: str = AssetRole.input.value


@hydrated_dataclass(LocalFile)
class LocalFileConfig:
    """A file of this machine as an input, as a configuration; instantiating it gives a ``LocalFile``."""

    path: str
    cache: bool = False
    asset_role: str = AssetRole.input.value
