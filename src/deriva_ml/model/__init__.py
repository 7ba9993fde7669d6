"""The catalog's model as the ML layer sees it, and builders of annotations."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.model.database import DatabaseModel, DerivaMLDatabase
    from deriva_ml.model.deriva_model import DerivaModel
    from deriva_ml.model.foreign_keys import ForeignKeyOrderer

__all__ = ["DatabaseModel", "DerivaMLDatabase", "DerivaModel", "ForeignKeyOrderer"]

_HOMES = {
    "DatabaseModel": "deriva_ml.model.database",
    "DerivaMLDatabase": "deriva_ml.model.database",
    "DerivaModel": "deriva_ml.model.deriva_model",
    "ForeignKeyOrderer": "deriva_ml.model.foreign_keys",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
