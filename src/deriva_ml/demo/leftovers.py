"""Removing what a load that was interrupted left, so that the next one can begin anew."""

from __future__ import annotations

from collections.abc import Sequence

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.enums import MLTable
from deriva_ml.wire.path import any_of, table

__all__ = ["clear"]


def clear(client: CatalogClient, schema: str, datasets: Sequence[str]) -> None:
    """Remove a schema with its tables, and datasets with their versions; runs and terms stay.

    Args:
        client: The catalog.
        schema: The schema of the demonstration.
        datasets: RIDs of the demonstration's datasets.
    """
    tables = client.model().schemas[schema].tables.values()
    for found in tables:
        for foreign_key in found.foreign_keys:
            client.drop_foreign_key(foreign_key)
    for found in tables:
        client.drop_table(schema, found.name)
    client.drop_schema(schema)
    mine = [row["RID"] for row in client.rows_by(ML_SCHEMA, MLTable.dataset.value, "RID", datasets)]
    if mine:
        # A dataset points at its version and the version at its dataset: the pointer goes first.
        client.update(ML_SCHEMA, MLTable.dataset.value, [{"RID": rid, "Version": None} for rid in mine])
        rids = [str(rid) for rid in mine]
        client.delete(table(ML_SCHEMA, MLTable.dataset_execution.value).where(any_of("Dataset", rids)))
        client.delete(table(ML_SCHEMA, MLTable.dataset_version.value).where(any_of("Dataset", rids)))
        client.delete(table(ML_SCHEMA, MLTable.dataset.value).where(any_of("RID", rids)))
