"""Datasets: versions, members, bags, splits. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetMinid, DatasetSpec, DatasetVersion, VersionPart
    from deriva_ml.dataset.bag import BagProgress, download_dataset_bag
    from deriva_ml.dataset.cached_bags import CachedBag, CacheStatus
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.dataset.denormalizer import Denormalizer
    from deriva_ml.dataset.development import VersionDiff
    from deriva_ml.dataset.minid import fetch_minid, open_minid
    from deriva_ml.dataset.sampling import SubsampleResult, subsample
    from deriva_ml.dataset.spec_config import DatasetSpecConfig
    from deriva_ml.dataset.split import (
        PartitionInfo,
        SelectionFunction,
        SplitResult,
        random_split,
        split_dataset,
        stratified_split,
    )

__all__ = [
    "BagProgress",
    "CacheStatus",
    "CachedBag",
    "Dataset",
    "DatasetBag",
    "DatasetHistory",
    "DatasetMinid",
    "DatasetSpec",
    "DatasetSpecConfig",
    "DatasetVersion",
    "Denormalizer",
    "PartitionInfo",
    "SelectionFunction",
    "SplitResult",
    "SubsampleResult",
    "VersionDiff",
    "VersionPart",
    "download_dataset_bag",
    "fetch_minid",
    "open_minid",
    "random_split",
    "split_dataset",
    "stratified_split",
    "subsample",
]

_HOMES = MappingProxyType(
    {
        "BagProgress": "bag",
        "CacheStatus": "cached_bags",
        "CachedBag": "cached_bags",
        "Dataset": "dataset",
        "DatasetBag": "dataset_bag",
        "DatasetHistory": "aux_classes",
        "DatasetMinid": "aux_classes",
        "DatasetSpec": "aux_classes",
        "DatasetSpecConfig": "spec_config",
        "DatasetVersion": "aux_classes",
        "Denormalizer": "denormalizer",
        "PartitionInfo": "split",
        "SelectionFunction": "split",
        "SplitResult": "split",
        "SubsampleResult": "sampling",
        "VersionDiff": "development",
        "VersionPart": "aux_classes",
        "download_dataset_bag": "bag",
        "fetch_minid": "minid",
        "open_minid": "minid",
        "random_split": "split",
        "split_dataset": "split",
        "stratified_split": "split",
        "subsample": "sampling",
    }
)


def __getattr__(name: str) -> Any:
    # pydantic and hydra-zen take long to import: a name pays for its own module only.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
