"""Names that never change."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "DRY_RUN_RID",
    "ML_SCHEMA",
    "SYSTEM_SCHEMAS",
    "DerivaAssetColumns",
    "DerivaSystemColumns",
    "get_domain_schemas",
    "is_system_schema",
]

ML_SCHEMA = "deriva-ml"
DRY_RUN_RID = "0000"
SYSTEM_SCHEMAS = frozenset({"public", "www", "WWW"})
DerivaSystemColumns = ("RID", "RCT", "RMT", "RCB", "RMB")
DerivaAssetColumns = frozenset({"Filename", "URL", "Length", "MD5", "Description", *DerivaSystemColumns})


def is_system_schema(name: str, ml_schema: str = ML_SCHEMA) -> bool:
    """Whether a schema belongs to the platform, not to a project; letter case does not matter."""
    return name.lower() in {schema.lower() for schema in SYSTEM_SCHEMAS} | {ml_schema.lower()}


def get_domain_schemas(all_schemas: Iterable[str], ml_schema: str = ML_SCHEMA) -> frozenset[str]:
    """The schemas that belong to a project."""
    return frozenset(name for name in all_schemas if not is_system_schema(name, ml_schema))
