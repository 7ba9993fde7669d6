"""The client of a catalog service: transports, rows, objects; and the documented face of the tools for whole catalogs.

Each public name is loaded when it is first used. Those of upper floors are named here for projects, and by nothing
below them.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import Any

_HOMES = MappingProxyType(
    {
        "asset.localize": ("LocalizeResult", "Localized", "localize_assets"),
        "catalog.clone_result": ("AssetCopyMode", "CloneCatalogResult", "OrphanStrategy", "Orphans"),
        "dataset.ml_workspace": ("create_ml_workspace",),
        "schema.provenance": (
            "CatalogCreationMethod",
            "CatalogProvenance",
            "CloneDetails",
            "get_catalog_provenance",
            "set_catalog_provenance",
        ),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"deriva_ml.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
