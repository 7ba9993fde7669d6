"""Values, errors, settings and files: what every room stands on. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.core.exceptions import DerivaMLException, DerivaMLInvalidTerm, DerivaMLTableTypeError
    from deriva_ml.core.logging_config import configure_logging, get_logger
    from deriva_ml.core.ml_config import DerivaMLConfig

__all__ = [
    "DerivaMLConfig",
    "DerivaMLException",
    "DerivaMLInvalidTerm",
    "DerivaMLTableTypeError",
    "configure_logging",
    "get_logger",
]

_HOMES = MappingProxyType(
    {
        "exceptions": ("DerivaMLException", "DerivaMLInvalidTerm", "DerivaMLTableTypeError"),
        "logging_config": ("configure_logging", "get_logger"),
        "ml_config": ("DerivaMLConfig",),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
