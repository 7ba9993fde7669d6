"""``WorkingDataCache`` under its documented path, for projects; it lives on a floor above."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "WorkingDataCache":
        return getattr(import_module("deriva_ml.workspace.working_data"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
