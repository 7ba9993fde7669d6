"""Checks of what a configuration names, under their documented path; they live on a floor above.

``VALIDATION_CONFIG`` and ``STRICT_VALIDATION_CONFIG`` are for pydantic's ``validate_call`` and models of projects: both
accept classes that pydantic does not know, and the strict one refuses names that are no field.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_CONFIGS = ("STRICT_VALIDATION_CONFIG", "VALIDATION_CONFIG")
_CHECKS = ("ValidationResult", "validate_execution_config", "validate_rids", "validate_vocabulary_terms")
_ANY_CLASS = {"arbitrary_types_allowed": True}


def __getattr__(name: str) -> Any:
    if name in _CHECKS:
        return getattr(import_module("deriva_ml.execution.validation"), name)
    if name in _CONFIGS:
        from pydantic import ConfigDict

        return ConfigDict(**_ANY_CLASS, **({"extra": "forbid"} if name.startswith("STRICT") else {}))  # type: ignore[typeddict-item]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_CHECKS, *_CONFIGS])
