"""The documented face of what a project names first: ``DerivaML``, its configuration, definitions, errors, logging.

Each name is loaded when it is first used; those of upper floors are named here for projects, and by nothing below them.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.core.constants import DerivaAssetColumns, DerivaSystemColumns
    from deriva_ml.core.enums import BuiltinTypes, ExecAssetType, ExecMetadataType, MLAsset, MLVocab, UploadState
    from deriva_ml.core.ermrest import (
        RID,
        ColumnDefinition,
        FileUploadState,
        ForeignKeyDefinition,
        KeyDefinition,
        TableDefinition,
        UploadCallback,
        UploadProgress,
    )
    from deriva_ml.core.exceptions import DerivaMLException, DerivaMLInvalidTerm, DerivaMLTableTypeError
    from deriva_ml.core.filespec import FileSpec
    from deriva_ml.core.logging_config import (
        LOGGER_NAME,
        LoggerMixin,
        apply_logger_overrides,
        configure_logging,
        get_logger,
        is_hydra_initialized,
    )
    from deriva_ml.core.ml_config import DerivaMLConfig

__all__ = [
    "LOGGER_NAME",
    "RID",
    "BuiltinTypes",
    "ColumnDefinition",
    "DerivaAssetColumns",
    "DerivaMLConfig",
    "DerivaMLException",
    "DerivaMLInvalidTerm",
    "DerivaMLTableTypeError",
    "DerivaSystemColumns",
    "ExecAssetType",
    "ExecMetadataType",
    "FileSpec",
    "FileUploadState",
    "ForeignKeyDefinition",
    "KeyDefinition",
    "LoggerMixin",
    "MLAsset",
    "MLVocab",
    "TableDefinition",
    "UploadCallback",
    "UploadProgress",
    "UploadState",
    "apply_logger_overrides",
    "configure_logging",
    "get_logger",
    "is_hydra_initialized",
]

_HOMES = MappingProxyType(
    {
        "core.constants": ("DerivaAssetColumns", "DerivaSystemColumns"),
        "core.enums": ("BuiltinTypes", "ExecAssetType", "ExecMetadataType", "MLAsset", "MLVocab", "UploadState"),
        "core.ermrest": (
            "RID",
            "ColumnDefinition",
            "FileUploadState",
            "ForeignKeyDefinition",
            "KeyDefinition",
            "TableDefinition",
            "UploadCallback",
            "UploadProgress",
        ),
        "core.exceptions": ("DerivaMLException", "DerivaMLInvalidTerm", "DerivaMLTableTypeError"),
        "core.filespec": ("FileSpec",),
        "core.logging_config": (
            "LOGGER_NAME",
            "LoggerMixin",
            "apply_logger_overrides",
            "configure_logging",
            "get_logger",
            "is_hydra_initialized",
        ),
        "core.ml_config": ("DerivaMLConfig",),
        "ml": ("DerivaML",),
    }
)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"deriva_ml.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
