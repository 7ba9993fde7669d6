"""The mark of a copy that is not finished: an annotation of the catalog that says what it is to become.

It is put on before anything else and taken off when all is there, so that a copy that broke off is never taken for
whole; and a copy that broke off can be begun anew in its place, since the id of a catalog is given out only once.
"""

from __future__ import annotations

from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.wire import targets

__all__ = ["TAG", "clear", "mark", "mark_of", "unmark"]

TAG = "tag:deriva-ml,2026:unfinished-copy"


def mark(target: CatalogClient, about: dict[str, Any]) -> None:
    """Mark a catalog as a copy that is not finished.

    Args:
        target: The catalog.
        about: What it is a copy of, since when, and who makes it.
    """
    target.set_annotation(TAG, about)


def unmark(target: CatalogClient) -> None:
    """Take the mark off: everything is there."""
    target.set_annotation(TAG, None)


def mark_of(annotations: dict[str, Any]) -> dict[str, Any] | None:
    """What the mark says, from a catalog's annotations; None if the catalog is no unfinished copy."""
    found = annotations.get(TAG)
    if found is None:
        return None
    return found if isinstance(found, dict) else {}


def clear(target: CatalogClient) -> None:
    """Remove what a copy that broke off has brought; its mark stays on."""
    model = target.model(refresh=True)
    tables = [one for one in model.tables() if not (one.schema == "public" and one.name.startswith("ERMrest_"))]
    for one in tables:
        for fk in one.foreign_keys:
            target.drop_foreign_key(fk)
    for one in tables:
        target.drop_table(one.schema, one.name)
    for schema in model.schemas:
        if schema != "public":
            target.drop_schema(schema)
    target.send("DELETE", f"/history/,{target.latest_snaptime()}")
    for name in target.get(targets.annotation("")):
        if name != TAG:
            target.set_annotation(name, None)
