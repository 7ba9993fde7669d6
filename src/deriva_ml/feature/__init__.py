"""Features: named values that executions attach to records, such as labels and predictions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.feature.feature import Feature
    from deriva_ml.feature.records import FeatureRecord

__all__ = ["Feature", "FeatureRecord"]

_HOMES = {"Feature": "deriva_ml.feature.feature", "FeatureRecord": "deriva_ml.feature.records"}


def __getattr__(name: str) -> Any:
    # pydantic takes tens of milliseconds to import: the classes are loaded when they are named
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
