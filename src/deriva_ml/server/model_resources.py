"""The model resources of a catalog: what GET, POST, PUT and DELETE do on each.

A function is given where it works (a view or a transaction), the client's rights, and the address; it gives the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from deriva_ml.server import alter, ddl
from deriva_ml.server.access import Access
from deriva_ml.server.address import Address, Found, find
from deriva_ml.server.answers import Answer, empty, json_body, json_text, text_body
from deriva_ml.server.bindings import binding, binding_set
from deriva_ml.server.documents import ACL_NAMES, acl_members, acl_set, annotation_set, require_object
from deriva_ml.server.errors import BadRequest, Conflict, NotFound, ServiceError
from deriva_ml.server.transaction import Transaction
from deriva_ml.wire.http import Request
from deriva_ml.wire.model import Column, Document, ForeignKey, Json, Key, Model, Schema, Table
from deriva_ml.wire.model_documents import (
    column_document,
    foreign_key_document,
    key_document,
    schema_document,
    table_document,
)

__all__ = ["change", "methods_of", "read"]

_Changes: TypeAlias = "dict[str, Any]"
"""New values of fields that elements of several classes have; what they may be is checked where they are read."""

_CREATABLE = ("schemas", "schema", "tables", "columns", "keys", "foreign keys")


def methods_of(address: Address) -> tuple[str, ...]:
    """The methods that a resource knows."""
    if address.aspect is not None:
        if address.aspect == "annotation" and address.name is None:
            return ("GET", "PUT")
        return ("GET", "PUT", "DELETE")
    if address.kind == "schema":
        return ("GET", "POST", "PUT", "DELETE")
    if address.kind in _CREATABLE:
        return ("GET",) if address.columns else ("GET", "POST")
    return ("GET", "PUT", "DELETE")


# ---------------------------------------------------------------------------------------------- reading


def read(address: Address, model: Model, access: Access) -> Answer:
    """GET of any model resource but ``/schema`` itself."""
    if address.aspect is not None:
        return _read_aspect(address, find(model, access, address), access)
    document: Json
    if address.kind == "foreign keys":
        document = _references(address, find(model, access, address), access)
    else:
        document = _document(address, find(model, access, address), access)
    return Answer(body=json_text(document))


def _document(address: Address, found: Found, access: Access) -> Json:
    element, table = found.element, found.table
    if isinstance(element, Schema):
        document = schema_document(element, access)
        tables = document["tables"]
        return list(tables.values()) if address.kind == "tables" and isinstance(tables, dict) else document
    if isinstance(element, Table):
        document = table_document(element, access)
        member = {"columns": "column_definitions", "keys": "keys"}.get(address.kind)
        return document[member] if member else document
    if isinstance(element, Column):
        return column_document(element, table, access)
    if isinstance(element, Key):
        return key_document(element)
    assert isinstance(element, ForeignKey)
    return [foreign_key_document(element, table, access)]


def _references(address: Address, found: Found, access: Access) -> Json:
    """Foreign keys: all of a table, in a list for each set of columns; or one such list, narrowed by target."""
    table = found.table
    assert table is not None
    visible = [fk for fk in table.foreign_keys if access.sees(fk, table)]
    if not address.columns:
        groups: dict[frozenset[str], list[Json]] = {}
        for fk in visible:
            groups.setdefault(frozenset(fk.columns), []).append(foreign_key_document(fk, table, access))
        return list(groups.values())
    for name in address.columns:
        if table.column(name) is None:
            raise Conflict(f"Requested column {name} does not exist in table {table.name}.")
    chosen = [fk for fk in visible if set(fk.columns) == set(address.columns)]
    if address.referenced is not None:
        target = ddl.find_table(found.model, *address.referenced)
        chosen = [fk for fk in chosen if fk.referenced_table == target.qualified]
    if not chosen:
        raise Conflict(f"Requested foreign-key ({','.join(address.columns)}) does not exist on table {table.name}.")
    return [foreign_key_document(fk, table, access) for fk in chosen]


def _read_aspect(address: Address, found: Found, access: Access) -> Answer:
    element, name = found.element, address.name
    if address.aspect == "comment":
        comment = None if isinstance(element, Model) else element.comment
        if comment is None:
            raise NotFound(f'comment on "{found.label}"')
        return Answer(body=(comment + "\n").encode(), content_type="text/plain")
    value: Json
    if address.aspect == "annotation":
        if name is None:
            value = dict(element.annotations)
        elif name in element.annotations:
            value = element.annotations[name]
        else:
            raise NotFound(f'annotation "{name}"' + _on(found))
        return Answer(body=json_text(value))
    _need_owner(found, access)
    assert not isinstance(element, Key)
    if address.aspect == "acl":
        if name is not None and name not in ACL_NAMES[found.kind]:
            raise NotFound(f"ACL {name} on {found.label}")
        value = dict(element.acls) if name is None else element.acls.get(name)
        return Answer(body=json_text(value))
    assert not isinstance(element, Model | Schema)
    if name is None:
        return Answer(body=json_text(dict(element.acl_bindings)))
    if name not in element.acl_bindings:
        raise NotFound(f'ACL binding "{name}"' + _on(found))
    return Answer(body=json_text(element.acl_bindings[name]))


def _on(found: Found) -> str:
    if isinstance(found.element, Model):
        return ""
    return f' on {found.kind} "{found.element.name}"' if isinstance(found.element, Schema) else f' on "{found.label}"'


def _need_owner(found: Found, access: Access) -> None:
    if isinstance(found.element, Key):
        assert found.table is not None
        access.need_owner(found.table)
    else:
        access.need_owner(found.element, found.table)


# ---------------------------------------------------------------------------------------------- changing


def change(address: Address, request: Request, tx: Transaction) -> Answer:
    """POST, PUT and DELETE of any model resource."""
    if address.aspect is not None:
        return _change_aspect(address, request, tx)
    return {"POST": _post, "PUT": _put, "DELETE": _delete}[request.method](address, request, tx)


def _post(address: Address, request: Request, tx: Transaction) -> Answer:
    if address.kind == "schemas":
        return Answer(201, json_text(_create_bulk(tx, json_body(request))))
    if address.kind == "schema":
        ddl.create_schema(tx, address.schema, {})
        return empty(201)
    document = json_body(request)
    if address.kind == "tables":
        return Answer(201, json_text(_create_table(tx, address.schema, document)))
    table = _owner_table(address, tx)
    if address.kind == "columns":
        column = ddl.create_column(tx, table, document)
        return Answer(201, json_text(column_document(column, ddl.current(tx, table), ddl.access_of(tx))))
    if address.kind == "keys":
        return Answer(201, json_text([key_document(ddl.create_key(tx, table, document))]))
    fk = ddl.create_foreign_key(tx, table, document)
    return Answer(201, json_text([foreign_key_document(fk, ddl.current(tx, table), ddl.access_of(tx))]))


def _owner_table(address: Address, tx: Transaction) -> Table:
    table = find(tx.model, ddl.access_of(tx), replace(address, kind="columns")).table
    assert table is not None
    return table


def _create_table(tx: Transaction, schema: str, document: Json) -> Document:
    table = ddl.create_table(tx, schema, document)
    references = require_object(document, "Table").get("foreign_keys")
    ddl.add_references(tx, table, _list(references, "Table foreign_keys"))
    return table_document(ddl.current(tx, table), ddl.access_of(tx))


def _list(value: Json, what: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRequest(f"{what} document must be an array.")
    return value


def _put(address: Address, request: Request, tx: Transaction) -> Answer:
    document = json_body(request)
    try:
        found = find(tx.model, ddl.access_of(tx), address)
    except ServiceError as error:
        created = _put_absent(address, document, tx, error)
        return Answer(201, json_text(created))
    element, table = found.element, found.table
    altered: Document
    if isinstance(element, Schema):
        schema = alter.alter_schema(tx, element, document)
        altered = schema_document(schema, ddl.access_of(tx), with_tables=False)
    elif isinstance(element, Table):
        alter.alter_table(tx, element, document)
        altered = table_document(ddl.current(tx, element), ddl.access_of(tx))
    else:
        assert table is not None
        if isinstance(element, Column):
            column = alter.alter_column(tx, table, element, document)
            altered = column_document(column, ddl.current(tx, table), ddl.access_of(tx))
        elif isinstance(element, Key):
            altered = key_document(alter.alter_key(tx, table, element, document))
        else:
            assert isinstance(element, ForeignKey)
            fk = alter.alter_foreign_key(tx, table, element, document)
            altered = foreign_key_document(fk, ddl.current(tx, table), ddl.access_of(tx))
    return Answer(body=json_text(altered))


def _put_absent(address: Address, document: Json, tx: Transaction, error: ServiceError) -> Json:
    """PUT of an element that is not there makes it, as POST would."""
    if address.kind == "schema":
        return _create_bulk(tx, document)
    if address.kind == "table" and error.status == 404:
        return _create_table(tx, address.schema, document)
    if address.kind == "column" and error.status == 404:
        table = _owner_table(address, tx)
        column = ddl.create_column(tx, table, document)
        return column_document(column, ddl.current(tx, table), ddl.access_of(tx))
    if address.kind == "key" and error.status == 404:
        return [key_document(ddl.create_key(tx, _owner_table(address, tx), document))]
    raise error


def _delete(address: Address, request: Request, tx: Transaction) -> Answer:
    del request
    found = find(tx.model, ddl.access_of(tx), address)
    element, table = found.element, found.table
    if isinstance(element, Schema):
        alter.drop_schema(tx, element)
    elif isinstance(element, Table):
        alter.drop_table(tx, element)
    elif table is not None:
        if isinstance(element, Column):
            alter.drop_column(tx, table, element)
        elif isinstance(element, Key):
            alter.drop_key(tx, table, element)
        elif isinstance(element, ForeignKey):
            alter.drop_foreign_key(tx, table, element)
    return empty()


# ---------------------------------------------------------------------------------------------- many at once


def _create_bulk(tx: Transaction, document: Json) -> Json:
    """Make schemas and tables in one go; their foreign keys are added when all of them are there."""
    pending: list[tuple[Table | None, Json]] = []
    made: list[Schema | Table] = []
    if isinstance(document, dict):
        schemas = document.get("schemas")
        if not isinstance(schemas, dict):
            raise BadRequest('Model document requires a "schemas" hash map.')
        for name, one in schemas.items():
            doc = require_object(one, "Schema")
            if doc.get("schema_name", name) != name:
                raise BadRequest(f"JSON schema name {doc['schema_name']} does not match the key {name}.")
            made.append(_create_schema(tx, name, doc, pending))
    elif isinstance(document, list):
        for item in document:
            made.extend(_create_item(tx, item, pending))
    else:
        raise BadRequest("JSON input is neither a schema set or a batch list of schemas and tables.")
    for home, reference in pending:
        ddl.create_foreign_key(tx, ddl.current(tx, home) if home else _home_of(tx, reference), reference)
    access = ddl.access_of(tx)
    documents = [_made_document(tx, one, access) for one in made]
    if isinstance(document, list):
        return list(documents)
    return {"schemas": {str(one["schema_name"]): one for one in documents}}


def _made_document(tx: Transaction, made: Schema | Table, access: Access) -> Document:
    if isinstance(made, Table):
        return table_document(ddl.current(tx, made), access)
    return schema_document(tx.model.schemas[made.name], access)


def _create_item(tx: Transaction, item: Json, pending: list[tuple[Table | None, Json]]) -> Iterable[Schema | Table]:
    if isinstance(item, dict) and "foreign_key_columns" in item:
        pending.append((None, item))
        return []
    if isinstance(item, dict) and "table_name" in item:
        schema = item.get("schema_name")
        if not isinstance(schema, str):
            raise BadRequest("Table representation requires schema_name field in a batch.")
        return [_create_deferred(tx, schema, item, pending)]
    if isinstance(item, dict) and "schema_name" in item:
        name = item["schema_name"]
        return [_create_schema(tx, name if isinstance(name, str) else "", item, pending)]
    raise BadRequest("Each batch item must be a schema, table, or foreign-key document.")


def _create_schema(tx: Transaction, name: str, doc: Document, pending: list[tuple[Table | None, Json]]) -> Schema:
    schema = ddl.create_schema(tx, name, doc)
    tables = doc.get("tables")
    if tables is not None and not isinstance(tables, dict):
        raise BadRequest("Schema tables document must be a hash map.")
    for table_name, table in (tables or {}).items():
        table_doc = {"table_name": table_name, **require_object(table, "Table")}
        if table_doc["table_name"] != table_name:
            raise BadRequest(f"JSON table name {table_doc['table_name']} does not match the key {table_name}.")
        _create_deferred(tx, name, table_doc, pending)
    return schema


def _create_deferred(tx: Transaction, schema: str, doc: Document, pending: list[tuple[Table | None, Json]]) -> Table:
    table = ddl.create_table(tx, schema, doc)
    pending.extend((table, reference) for reference in _list(doc.get("foreign_keys"), "Table foreign_keys"))
    return table


def _home_of(tx: Transaction, document: Json) -> Table:
    """The table that a foreign key's own document says it belongs to."""
    columns = require_object(document, "Foreign-key").get("foreign_key_columns")
    first = columns[0] if isinstance(columns, list) and columns else None
    if not isinstance(first, dict) or not all(isinstance(first.get(n), str) for n in ("schema_name", "table_name")):
        raise BadRequest("Foreign-key columns must name their schema and table in a batch.")
    return ddl.find_table(tx.model, str(first["schema_name"]), str(first["table_name"]))


# ---------------------------------------------------------------------------------------------- aspects


def _change_aspect(address: Address, request: Request, tx: Transaction) -> Answer:
    access = ddl.access_of(tx)
    found = find(tx.model, access, address)
    _need_owner(found, access)
    handler = {
        "comment": _change_comment,
        "annotation": _change_annotation,
        "acl": _change_acl,
        "acl_binding": _change_binding,
    }[str(address.aspect)]
    return handler(address, request, tx, found)


def _store(tx: Transaction, found: Found, change: _Changes) -> None:
    """Put an element back with some of its fields changed."""
    element, table = found.element, found.table
    if isinstance(element, Model | Schema | Table):
        tx.put(replace(element, **change))
    elif table is not None:
        if isinstance(element, Column):
            alter.store_column(tx, table, replace(element, **change))
        elif isinstance(element, Key):
            alter.store_constraint(tx, table, replace(element, **change))
        else:
            alter.store_constraint(tx, table, replace(element, **change))


def _change_comment(address: Address, request: Request, tx: Transaction, found: Found) -> Answer:
    del address
    comment = None if request.method == "DELETE" else text_body(request)
    _store(tx, found, {"comment": comment})
    return empty()


def _change_annotation(address: Address, request: Request, tx: Transaction, found: Found) -> Answer:
    old, name = dict(found.element.annotations), address.name
    if name is None:
        whole = json_body(request)
        if not isinstance(whole, dict):
            raise BadRequest(f"Annotation set {whole} must be a dictionary.")
        _store(tx, found, {"annotations": annotation_set(whole)})
        return empty()
    if request.method == "DELETE":
        if name not in old:
            raise NotFound(f'annotation "{name}"' + _on(found))
        del old[name]
        _store(tx, found, {"annotations": old})
        return empty()
    # A stored null counts as absent with the original; here an annotation is there once it was put.
    status = 204 if name in old else 201
    old[name] = json_body(request)
    _store(tx, found, {"annotations": old})
    return empty(status)


def _change_acl(address: Address, request: Request, tx: Transaction, found: Found) -> Answer:
    element, kind, name = found.element, found.kind, address.name
    assert not isinstance(element, Key)
    if name is not None and name not in ACL_NAMES[kind]:
        if request.method == "DELETE":
            raise NotFound(f"ACL {name} on {found.label}")
        raise Conflict(f"ACL name {name} not supported on {found.label}.")
    body = None if request.method == "DELETE" else json_body(request)
    if name is not None:
        acls = dict(element.acls)
        acls.pop(name, None)
        if body is not None:
            acls[name] = acl_members(name, body, kind, found.label)
    else:
        acls = acl_set(body, kind, found.label)
        if body is None and request.method == "PUT":
            raise BadRequest("ACL set representation must be a JSON object.")
    if isinstance(element, Model):
        acls = {one: acls.get(one, []) for one in ACL_NAMES["catalog"]}
        changed = replace(element, acls=acls)
        if Access(changed, tx.client).right(changed, "owner") is not True or not acls["owner"]:
            raise ddl.access_of(tx).refuse(f"owner access on {found.label}")
    _store(tx, found, {"acls": acls})
    if request.method == "DELETE":
        return empty()
    return Answer(body=json_text(acls if name is None else body))


def _change_binding(address: Address, request: Request, tx: Transaction, found: Found) -> Answer:
    element, table, name = found.element, found.table, address.name
    assert table is not None
    assert isinstance(element, Table | Column | ForeignKey)
    bindings = dict(element.acl_bindings)
    if request.method == "DELETE":
        if name is not None and name not in bindings:
            raise NotFound(f'ACL binding "{name}"' + _on(found))
        if name is None:
            bindings.clear()
        else:
            del bindings[name]
        _store(tx, found, {"acl_bindings": bindings})
        return empty()
    body = json_body(request)
    start = ddl.find_table(tx.model, *element.referenced_table) if isinstance(element, ForeignKey) else table
    if name is None:
        bindings = binding_set(tx.model, start, body, found.kind)
    else:
        bindings[name] = binding(tx.model, start, name, body, found.kind)
    _store(tx, found, {"acl_bindings": bindings})
    return Answer(body=json_text(bindings if name is None else bindings[name]))
