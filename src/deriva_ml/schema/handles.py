"""What the ``deriva`` package has of a catalog, in our own form: its catalogs as clients, its models as values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLValidationError
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.model import Model
from deriva_ml.wire.model_documents import model_from_document

__all__ = ["client_of", "model_of"]


@contextmanager
def client_of(catalog: CatalogClient | Any) -> Iterator[CatalogClient]:
    """A client of a catalog.

    Args:
        catalog: A client, or an ``ErmrestCatalog`` of the ``deriva`` package: one that a connection of ours gave is
            used on that connection, any other is connected to anew, with its credentials.

    Raises:
        DerivaMLValidationError: It is neither.
    """
    if isinstance(catalog, CatalogClient):
        yield catalog
        return
    if not hasattr(catalog, "catalog_id") or not hasattr(catalog, "deriva_server"):
        raise DerivaMLValidationError(
            f"Not a catalog: {catalog!r}.", allowed=["an ErmrestCatalog, such as ml.catalog", "a CatalogClient"]
        )
    transport = getattr(catalog, "transport", None)
    if transport is not None:
        yield CatalogClient(transport, str(catalog.catalog_id))
        return
    server = catalog.deriva_server
    connection = open_connection(f"{server.scheme}://{server.server}", credential=server.credentials)
    try:
        yield connection.catalog(str(catalog.catalog_id))
    finally:
        connection.close()


def model_of(model: Model | HasSession | Session | Any) -> Model:
    """A model in our own form.

    Args:
        model: That form already; ``ml.model``, a ``DerivaML`` or its session; or the ``deriva`` package's own model.

    Raises:
        DerivaMLValidationError: It is none of these.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, Session | HasSession):
        return session_of(model).model()
    if not hasattr(model, "prejson"):
        raise DerivaMLValidationError(f"Not the model of a catalog: {model!r}.", allowed=["ml.model"])
    return model_from_document(model.prejson())
