"""Run a machine-learning model with one command and know, years later, what ran, on which data, with which code.

Every public name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.asset.asset import Asset
    from deriva_ml.asset.aux_classes import AssetFilePath, AssetSpec
    from deriva_ml.asset.spec_config import AssetSpecConfig
    from deriva_ml.core.constants import DerivaAssetColumns, DerivaSystemColumns
    from deriva_ml.core.enums import (
        BuiltinTypes,
        ExecAssetType,
        ExecMetadataType,
        MLAsset,
        MLVocab,
        Status,
        UploadState,
    )
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
    from deriva_ml.core.exceptions import (
        DerivaMLDirtyWorkflowError,
        DerivaMLException,
        DerivaMLInvalidTerm,
        DerivaMLTableTypeError,
    )
    from deriva_ml.core.filespec import FileSpec
    from deriva_ml.core.ml_config import DerivaMLConfig
    from deriva_ml.execution.execution import Execution
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.ml import DerivaML
    from deriva_ml.schema.provenance import (
        CatalogCreationMethod,
        CatalogProvenance,
        CloneDetails,
        get_catalog_provenance,
        set_catalog_provenance,
    )
    from deriva_ml.schema.validation import SchemaValidationReport, validate_ml_schema

__all__ = [
    "RID",
    "Asset",
    "AssetFilePath",
    "AssetSpec",
    "AssetSpecConfig",
    "BuiltinTypes",
    "CatalogCreationMethod",
    "CatalogProvenance",
    "CloneDetails",
    "ColumnDefinition",
    "DerivaAssetColumns",
    "DerivaML",
    "DerivaMLConfig",
    "DerivaMLDirtyWorkflowError",
    "DerivaMLException",
    "DerivaMLInvalidTerm",
    "DerivaMLTableTypeError",
    "DerivaSystemColumns",
    "ExecAssetType",
    "ExecMetadataType",
    "Execution",
    "FeatureRecord",
    "FileSpec",
    "FileUploadState",
    "ForeignKeyDefinition",
    "KeyDefinition",
    "MLAsset",
    "MLVocab",
    "SchemaValidationReport",
    "Status",
    "TableDefinition",
    "UploadCallback",
    "UploadProgress",
    "UploadState",
    "__version__",
    "get_catalog_provenance",
    "set_catalog_provenance",
    "validate_ml_schema",
]

_HOMES = MappingProxyType(
    {
        "asset.asset": ("Asset",),
        "asset.aux_classes": ("AssetFilePath", "AssetSpec"),
        "asset.spec_config": ("AssetSpecConfig",),
        "core.constants": ("DerivaAssetColumns", "DerivaSystemColumns"),
        "core.enums": (
            "BuiltinTypes",
            "ExecAssetType",
            "ExecMetadataType",
            "MLAsset",
            "MLVocab",
            "Status",
            "UploadState",
        ),
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
        "core.exceptions": (
            "DerivaMLDirtyWorkflowError",
            "DerivaMLException",
            "DerivaMLInvalidTerm",
            "DerivaMLTableTypeError",
        ),
        "core.filespec": ("FileSpec",),
        "core.ml_config": ("DerivaMLConfig",),
        "execution.execution": ("Execution",),
        "feature.records": ("FeatureRecord",),
        "ml": ("DerivaML",),
        "schema.provenance": (
            "CatalogCreationMethod",
            "CatalogProvenance",
            "CloneDetails",
            "get_catalog_provenance",
            "set_catalog_provenance",
        ),
        "schema.validation": ("SchemaValidationReport", "validate_ml_schema"),
    }
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("deriva-ml")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
