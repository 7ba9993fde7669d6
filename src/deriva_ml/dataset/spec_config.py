"""The configuration of a dataset input. This module exists only for hydra-zen and is loaded when it is named."""

from __future__ import annotations

from hydra_zen import hydrated_dataclass

from deriva_ml.dataset.aux_classes import DatasetSpec

__all__ = ["DatasetSpecConfig"]


@hydrated_dataclass(DatasetSpec)
class DatasetSpecConfig:
    """A dataset input as a configuration; instantiating it gives a ``DatasetSpec``."""

    rid: str
    version: str
    materialize: bool = True
    description: str = ""
    exclude_tables: list[str] | None = None
    timeout: list[int] | None = None
    fetch_concurrency: int = 8
