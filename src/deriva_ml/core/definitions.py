"""Constants, enums and value types under the one path that projects import them from."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from deriva_ml.core.constants import (
    DRY_RUN_RID,
    ML_SCHEMA,
    SYSTEM_SCHEMAS,
    DerivaAssetColumns,
    DerivaSystemColumns,
    get_domain_schemas,
    is_system_schema,
)
from deriva_ml.core.enums import (
    AssetRole,
    BaseStrEnum,
    BuiltinTypes,
    ExecAssetType,
    ExecMetadataType,
    MLAsset,
    MLTable,
    MLVocab,
    Status,
    UploadState,
)
from deriva_ml.core.ermrest import (
    RID,
    ColumnDef,
    ColumnDefinition,
    FileUploadState,
    ForeignKeyDef,
    ForeignKeyDefinition,
    KeyDef,
    KeyDefinition,
    TableDef,
    TableDefinition,
    UploadCallback,
    UploadProgress,
    VocabularyTerm,
    rid_part,
    rid_regex,
    snapshot_part,
)
from deriva_ml.core.filespec import FileSpec

__all__ = [
    "DRY_RUN_RID",
    "ML_SCHEMA",
    "RID",
    "SYSTEM_SCHEMAS",
    "AssetRole",
    "BaseStrEnum",
    "BuiltinTypes",
    "ColumnDef",
    "ColumnDefinition",
    "DerivaAssetColumns",
    "DerivaSystemColumns",
    "ExecAssetType",
    "ExecMetadataType",
    "FileSpec",
    "FileUploadState",
    "ForeignKeyDef",
    "ForeignKeyDefinition",
    "KeyDef",
    "KeyDefinition",
    "MLAsset",
    "MLTable",
    "MLVocab",
    "Status",
    "TableDef",
    "TableDefinition",
    "UploadCallback",
    "UploadProgress",
    "UploadState",
    "VocabularyTerm",
    "get_domain_schemas",
    "is_system_schema",
    "rid_part",
    "rid_regex",
    "snapshot_part",
]


def __getattr__(name: str) -> Any:
    if name == "VocabularyTermHandle":  # it writes to a catalog, and lives where catalogs are known
        return getattr(import_module("deriva_ml.schema.vocabulary"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
