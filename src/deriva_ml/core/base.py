"""``DerivaML`` under its documented path, for projects; it lives on a floor above."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name == "DerivaML":
        return getattr(import_module("deriva_ml.ml"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
