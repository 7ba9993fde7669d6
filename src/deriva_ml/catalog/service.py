"""The catalog service as a whole: what it says of itself, and the catalogs that it keeps."""

from __future__ import annotations

import json
from typing import Any, cast

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.exchange import json_body, read_whole
from deriva_ml.catalog.transport import Retry, Transport
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.wire import targets
from deriva_ml.wire.http import Request
from deriva_ml.wire.model import Json

__all__ = ["alias_exists", "create_alias", "create_catalog", "delete_catalog", "service_info", "session_info"]


def _call(transport: Transport, method: str, target: str, document: Json = None) -> Any:
    """Send a request about the service as a whole; give the document that it answers."""
    body = None if document is None else json_body(document)
    request = Request(method, target, {"content-type": "application/json"} if body is not None else {}, body)
    content = read_whole(transport, request, Retry(attempts=2)).read()
    return json.loads(content) if content else None


def service_info(transport: Transport) -> Row:
    """What the service says of itself: version, features, and of a folder its identity."""
    return cast("Row", _call(transport, "GET", targets.SERVICE))


def session_info(transport: Transport) -> Row:
    """Who the service takes the client for.

    Raises:
        DerivaMLCatalogError: Status 404: for nobody.
    """
    return cast("Row", _call(transport, "GET", targets.SESSION))


def create_catalog(
    transport: Transport, *, catalog_id: str | None = None, name: str | None = None, description: str | None = None
) -> CatalogClient:
    """Make a catalog.

    Args:
        transport: The way to the service.
        catalog_id: The id it shall have; the next number if not given.
        name: A name to show.
        description: What it is for.
    """
    given = {"id": catalog_id, "name": name, "description": description}
    document = {key: value for key, value in given.items() if value is not None}
    made = _call(transport, "POST", targets.CATALOGS, cast("Json", document))
    return CatalogClient(transport, str(made["id"]))


def delete_catalog(transport: Transport, catalog_id: str) -> None:
    """Delete a catalog with all of its history."""
    _call(transport, "DELETE", targets.catalog(catalog_id))


def alias_exists(transport: Transport, alias: str) -> bool:
    """Whether a name is that of a catalog, or a second name of one."""
    try:
        _call(transport, "GET", targets.catalog(alias) + "/")
    except DerivaMLCatalogError as error:
        if error.status in {404, 409}:
            return False
        raise
    return True


def create_alias(transport: Transport, alias: str, catalog_id: str) -> None:
    """Give a catalog a second name."""
    _call(transport, "POST", targets.ALIASES, {"id": alias, "alias_target": catalog_id})
