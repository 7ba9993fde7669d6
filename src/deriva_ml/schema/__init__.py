"""The ML schema: its tables, vocabularies and terms. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.schema.create_schema import create_ml_catalog, create_ml_schema, initialize_ml_schema
    from deriva_ml.schema.reset import reset_ml_schema
    from deriva_ml.schema.validation import (
        SchemaValidationReport,
        SchemaValidator,
        ValidationIssue,
        ValidationSeverity,
        validate_ml_schema,
    )

__all__ = [
    "SchemaValidationReport",
    "SchemaValidator",
    "ValidationIssue",
    "ValidationSeverity",
    "create_ml_catalog",
    "create_ml_schema",
    "initialize_ml_schema",
    "reset_ml_schema",
    "validate_ml_schema",
]

_HOMES = MappingProxyType(
    {
        "create_schema": ("create_ml_catalog", "create_ml_schema", "initialize_ml_schema"),
        "reset": ("reset_ml_schema",),
        "validation": (
            "SchemaValidationReport",
            "SchemaValidator",
            "ValidationIssue",
            "ValidationSeverity",
            "validate_ml_schema",
        ),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
