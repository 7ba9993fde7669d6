"""Emptying a catalog: every schema but the service's own is dropped, and the ML schema is made anew."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.constants import ML_SCHEMA, is_system_schema
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.schema.handles import client_of
from deriva_ml.wire.model import Model

__all__ = ["reset_ml_schema"]

_log = logging.getLogger(__name__)


def reset_ml_schema(catalog: CatalogClient | Any, ml_schema: str = ML_SCHEMA) -> None:
    """Drop all schemas except ``public`` and ``WWW`` with everything in them, and make the ML schema anew.

    The catalog's snapshots still show what was there. If it breaks off it can be called again: it drops what is left.

    Args:
        catalog: The catalog: an ``ErmrestCatalog`` of the ``deriva`` package, such as ``ml.catalog``, or a client.
        ml_schema: Name of the ML schema.
    """
    with client_of(catalog) as client:
        model = client.model(refresh=True)
        dropped = [name for name in model.schemas if not is_system_schema(name, "")]
        _log.warning("Catalog %s is reset: schemas %s are dropped.", client.catalog_id, ", ".join(dropped) or "none")
        _drop(client, model, dropped)
        create_ml_schema(client, ml_schema)


def _drop(client: CatalogClient, model: Model, schemas: Collection[str]) -> None:
    for table in model.tables():
        for reference in table.foreign_keys:
            if reference.referenced_table[0] in schemas:
                client.drop_foreign_key(reference)
    for schema in schemas:
        for table in model.schemas[schema].tables.values():
            client.drop_table(*table.qualified)
        client.drop_schema(schema)
