"""Validation before a run under its documented path, for projects; it lives on a floor above."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = ("ValidationResult", "validate_execution_config", "validate_rids", "validate_vocabulary_terms")


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module("deriva_ml.execution.validation"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_NAMES)
