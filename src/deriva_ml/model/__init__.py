"""The catalog's model as the ML layer sees it, its tables in SQL, and builders of annotations."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.model.annotations import (
        Aggregate,
        ArrayUxMode,
        ColumnDisplay,
        ColumnDisplayOptions,
        Display,
        Facet,
        FacetRange,
        FacetUxMode,
        InboundFK,
        NameStyle,
        OutboundFK,
        PreFormat,
        PseudoColumn,
        PseudoColumnDisplay,
        SortKey,
        TableDisplay,
        TableDisplayOptions,
        TemplateEngine,
        VisibleColumns,
        VisibleForeignKeys,
        fk_constraint,
    )
    from deriva_ml.model.data_loader import DataLoader
    from deriva_ml.model.data_sources import BagDataSource, CatalogDataSource, DataSource
    from deriva_ml.model.database import DatabaseModel, DerivaMLDatabase
    from deriva_ml.model.deriva_model import DerivaModel
    from deriva_ml.model.foreign_keys import ForeignKeyOrderer
    from deriva_ml.model.schema_orm import SchemaBuilder, SchemaORM

__all__ = [
    "Aggregate",
    "ArrayUxMode",
    "BagDataSource",
    "CatalogDataSource",
    "ColumnDisplay",
    "ColumnDisplayOptions",
    "DataLoader",
    "DataSource",
    "DatabaseModel",
    "DerivaMLDatabase",
    "DerivaModel",
    "Display",
    "Facet",
    "FacetRange",
    "FacetUxMode",
    "ForeignKeyOrderer",
    "InboundFK",
    "NameStyle",
    "OutboundFK",
    "PreFormat",
    "PseudoColumn",
    "PseudoColumnDisplay",
    "SchemaBuilder",
    "SchemaORM",
    "SortKey",
    "TableDisplay",
    "TableDisplayOptions",
    "TemplateEngine",
    "VisibleColumns",
    "VisibleForeignKeys",
    "fk_constraint",
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


_HANDLES = ("ColumnHandle", "TableHandle")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'annotations')}"), name)
    if name in _HANDLES:
        return _handle(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _handle(name: str) -> Any:
    """One of the ``deriva`` package's own handles.

    Raises:
        ImportError: The version that is installed has none.
    """
    try:
        return getattr(import_module("deriva.core.model_handles"), name)
    except ModuleNotFoundError as error:
        from importlib.metadata import version

        raise ImportError(
            f"{name} is a class of the deriva package, and deriva {version('deriva')} does not have it; "
            "ml.model.name_to_table gives that package's Table."
        ) from error
