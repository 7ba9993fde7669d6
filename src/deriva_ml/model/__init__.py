"""The catalog's model as the ML layer sees it, its tables in SQL, and builders of annotations."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.model.data_loader import DataLoader
    from deriva_ml.model.data_sources import BagDataSource, CatalogDataSource, DataSource
    from deriva_ml.model.database import DatabaseModel, DerivaMLDatabase
    from deriva_ml.model.deriva_model import DerivaModel
    from deriva_ml.model.foreign_keys import ForeignKeyOrderer
    from deriva_ml.model.schema_orm import SchemaBuilder, SchemaORM

__all__ = [
    "BagDataSource",
    "CatalogDataSource",
    "DataLoader",
    "DataSource",
    "DatabaseModel",
    "DerivaMLDatabase",
    "DerivaModel",
    "ForeignKeyOrderer",
    "SchemaBuilder",
    "SchemaORM",
]

_HOMES = MappingProxyType(
    {
        "BagDataSource": "data_sources",
        "CatalogDataSource": "data_sources",
        "DataLoader": "data_loader",
        "DataSource": "data_sources",
        "DatabaseModel": "database",
        "DerivaMLDatabase": "database",
        "DerivaModel": "deriva_model",
        "ForeignKeyOrderer": "foreign_keys",
        "SchemaBuilder": "schema_orm",
        "SchemaORM": "schema_orm",
    }
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
