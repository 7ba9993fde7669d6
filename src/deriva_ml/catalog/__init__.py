"""The client of a catalog service: transports, rows, objects.

How a catalog came to be is documented under this path, too; it lives on a floor above.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PROVENANCE = (
    "CatalogCreationMethod",
    "CatalogProvenance",
    "CloneDetails",
    "get_catalog_provenance",
    "set_catalog_provenance",
)


def __getattr__(name: str) -> Any:
    if name in _PROVENANCE:
        return getattr(import_module("deriva_ml.schema.provenance"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
