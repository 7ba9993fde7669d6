"""A catalog itself as a resource: what is known of it, its whole model, its maintenance."""

from __future__ import annotations

from deriva_ml.core import codes
from deriva_ml.server.access import Access
from deriva_ml.server.answers import Answer, empty, json_text
from deriva_ml.server.catalogs import FEATURES
from deriva_ml.server.errors import BadRequest
from deriva_ml.server.exchange import Exchange
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.model import Document
from deriva_ml.wire.model_documents import schema_document

__all__ = ["maintain", "read_catalog", "schemas_document"]


def _about(exchange: Exchange, access: Access) -> Document:
    document: Document = {
        "annotations": dict(access.model.annotations),
        "rights": access.shown(access.model),
        "features": FEATURES,
    }
    if access.owns(access.model):
        document["acls"] = dict(access.model.acls)
    if not exchange.entry.is_catalog:
        document["alias_target"] = exchange.catalog.id
    return document


def read_catalog(exchange: Exchange, view: View, access: Access) -> Answer:
    """``GET`` of a catalog: what is known of it."""
    document: Document = {"snaptime": codes.encode(view.snaptime), **_about(exchange, access), "id": exchange.entry.id}
    # An alias has a name of its own; what it does not say of itself, its target says.
    known = {name: value for name, value in exchange.entry.doc.items() if value is not None}
    for name in ("name", "description", "is_persistent", "clone_source"):
        value = known.get(name, exchange.catalog.doc.get(name))
        if value is not None:
            document[name] = value
    return Answer(body=json_text(document))


def schemas_document(exchange: Exchange, view: View, access: Access) -> Document:
    """The document of ``/schema``: the whole model, as far as the client sees it."""
    schemas: Document = {
        name: schema_document(schema, access) for name, schema in view.model.schemas.items() if access.sees(schema)
    }
    return {"snaptime": codes.encode(view.model_snaptime), **_about(exchange, access), "schemas": schemas}


def maintain(exchange: Exchange, tx: Transaction) -> Answer:
    """``POST ?analyze`` and ``?vacuum``: nothing needs doing, so nothing is done."""
    if not {"analyze", "vacuum"} & exchange.target.query.keys():
        raise BadRequest("Maintenance query parameters not recognized.")
    Access(tx.model, tx.client).need_owner(tx.model)
    return empty()
