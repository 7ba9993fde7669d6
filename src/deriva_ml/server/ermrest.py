"""Everything under ``/ermrest``: from a request to the resource that answers it.

A resource is found by the shape of the target alone. Then one moment of the catalog is taken, the client's right to see
the catalog and the request's preconditions are checked against it, and the resource answers from that same moment.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zlib import crc32

from deriva_ml.core import codes
from deriva_ml.server import data_resources, history, model_resources
from deriva_ml.server.access import Access, is_local, roles_of
from deriva_ml.server.address import read_address
from deriva_ml.server.amend import ASPECTS, amend, redact
from deriva_ml.server.answers import TEXT, Answer, empty, json_body, json_text, no_such_page
from deriva_ml.server.bootstrap import meet
from deriva_ml.server.catalogs import FEATURES, Catalogs
from deriva_ml.server.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    PreconditionFailed,
    ServiceError,
)
from deriva_ml.server.guards import narrowed
from deriva_ml.server.registry import Entry
from deriva_ml.server.registry_catalog import RegistryCatalog
from deriva_ml.server.store import CatalogStore, Transaction, View, microseconds
from deriva_ml.wire.http import Client, Request, Response
from deriva_ml.wire.model import Document
from deriva_ml.wire.model_documents import schema_document
from deriva_ml.wire.negotiate import CONDITIONS, Precondition, check, make_etag
from deriva_ml.wire.parse import PathSyntaxError, Segment, Target, parse_target
from deriva_ml.wire.syntax import DataPath

__all__ = ["VERSION", "Ermrest"]

VERSION = "0.5.0"
"""The version of ERMrest whose behaviour this is."""

SCHEMAS_KEPT = 8
"""How many ``/schema`` answers are kept ready."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to a catalog's resource.

    Attributes:
        request: The request.
        client: Who sent it.
        target: Its target, read.
        entry: The catalog or alias that the target names.
        store: The database that this leads to.
        catalog: The catalog that this leads to.
    """

    request: Request
    client: Client
    target: Target
    entry: Entry
    store: CatalogStore | RegistryCatalog
    catalog: Entry

    @property
    def is_data(self) -> bool:
        """The resource is a data path."""
        return isinstance(self.target.resource, DataPath)

    def etag(self, view: View, *, moment: int | None = None) -> str:
        """The tag of the resource as of a view; ``moment`` is the commit's, where there was one since."""
        if self.is_data:
            version = str(moment or view.snaptime)
        elif not self.target.resource:
            version = codes.encode(moment or view.snaptime)
        else:
            version = str(moment or view.model_snaptime)
        if self.target.snaptime is not None:
            version = f"{version}-{view.amended or ''}"
        if not self.entry.is_catalog:
            version = f"{version}-{self.catalog.id}"
        accept = self.request.headers.get("accept", "") if self.is_data else "*"
        return make_etag(roles_of(self.client), accept, version)

    @property
    def vary(self) -> str:
        """What the answer depends on beside the target."""
        return "cookie, accept" if self.is_data else "cookie"


Reader = Callable[[Exchange, View, Access], Answer]
Writer = Callable[[Exchange, Transaction], Answer]


@dataclass(frozen=True, slots=True)
class Resource:
    """What answers a target.

    Attributes:
        methods: The methods that it knows.
        read: GET; a data path has none, since its answer may be streamed.
        write: The others.
    """

    methods: tuple[str, ...]
    read: Reader | None = None
    write: Writer | None = None


class Ermrest:
    """The handler of ``/ermrest``.

    Args:
        root: The folder.
        identity: The folder's identity.
        clock: Gives microseconds since 1970.
        time_limit: For how many seconds a request may work on a database; None for ever.
    """

    def __init__(
        self,
        root: Path,
        identity: str,
        *,
        clock: Callable[[], int] = microseconds,
        time_limit: float | None = None,
    ) -> None:
        self.identity = identity
        self.catalogs = Catalogs(root, clock=clock, time_limit=time_limit)
        self._schemas: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every database."""
        self.catalogs.close()

    def __call__(self, request: Request, client: Client) -> Response:
        """Answer a request.

        Raises:
            ServiceError: It is refused.
        """
        raw = request.target
        if raw == "/ermrest" or raw.startswith("/ermrest?"):
            return Response(308, {"content-type": TEXT, "location": raw.replace("/ermrest", "/ermrest/", 1)})
        try:
            target = parse_target(raw)
        except PathSyntaxError as error:
            raise BadRequest(str(error)) from error
        if target.catalog is None:
            return self._above(request, client, target)
        resource = self._resource(target)
        if resource is None:
            return no_such_page()
        if request.method == "OPTIONS":
            return _options(resource.methods)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in resource.methods:
            raise MethodNotAllowed(_allowed(resource.methods))
        entry, catalog = self.catalogs.resolve(target.catalog)
        exchange = Exchange(request, client, target, entry, self.catalogs.store(catalog.id), catalog)
        if method == "GET":
            _greet(exchange)
            return self._read(exchange, resource)
        if resource.write is None or (method == "DELETE" and not target.resource):
            return self._delete_catalog(exchange)
        return self._write(exchange, resource.write)

    # ------------------------------------------------------------------------------------------ above the catalogs

    def _above(self, request: Request, client: Client, target: Target) -> Response:
        assert not isinstance(target.resource, DataPath)
        words = [segment.word for segment in target.resource]
        handlers: dict[str, Callable[[], Answer]] = {}
        if not words:
            handlers = {"GET": self._advertise}
        elif words == ["catalog"]:
            handlers = {"POST": partial(self.catalogs.create, request, client)}
        elif words == ["alias"]:
            handlers = {"POST": partial(self.catalogs.create_alias, request, client)}
        elif len(words) == 2 and words[0] == "alias" and words[1]:
            handlers = {
                "GET": partial(self.catalogs.read_alias, words[1], client),
                "PUT": partial(self.catalogs.put_alias, words[1], request, client),
                "DELETE": partial(self.catalogs.delete_alias, words[1], client),
            }
        if not handlers:
            return no_such_page()
        if request.method == "OPTIONS":
            return _options(tuple(handlers))
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise MethodNotAllowed(_allowed(tuple(handlers)))
        answer = handler()
        headers: dict[str, str] = {}
        if request.method in ("GET", "HEAD") and words:
            headers = {"etag": make_etag(roles_of(client), "*", f"{crc32(answer.body):08x}"), "vary": "cookie"}
        return answer.response(headers)

    def _advertise(self) -> Answer:
        document: Document = {"version": VERSION, "features": FEATURES, "identity": self.identity}
        return Answer(body=json_text(document))

    # ------------------------------------------------------------------------------------------ resources of a catalog

    def _resource(self, target: Target) -> Resource | None:
        resource = target.resource
        if isinstance(resource, DataPath):
            return Resource(data_resources.METHODS[resource.kind], None, _write_data)
        if not resource:
            return Resource(("GET", "POST", "DELETE"), _read_catalog, _maintain)
        word = resource[0].word
        if word == "entity_rid" and len(resource) == 2 and resource[1].word and not target.trailing_slash:
            return Resource(("GET",), partial(_read_rid, resource[1].word))
        if word == "textfacet" and len(resource) == 2:
            return Resource(("GET",), lambda _exchange, _view, _access: Answer(body=json_text([])))
        if word == "history":
            return _history(resource[1:], target)
        address = read_address(resource)
        if address is None:
            return None
        if address.kind == "schemas" and address.aspect is None:
            reader: Reader = self._read_schemas
        else:
            reader = lambda _exchange, view, access: model_resources.read(address, view.model, access)  # noqa: E731
        return Resource(
            model_resources.methods_of(address),
            reader,
            lambda exchange, tx: model_resources.change(address, exchange.request, tx),
        )

    def _read(self, exchange: Exchange, resource: Resource) -> Response:
        request, target = exchange.request, exchange.target
        with ExitStack() as stack:
            view = stack.enter_context(exchange.store.read(target.snaptime))
            access = Access(view.model, exchange.client, is_snapshot=view.is_snapshot)
            _need_catalog(exchange, access)
            headers = {"etag": exchange.etag(view), "vary": exchange.vary}
            outcome = check(request.headers, headers["etag"], is_read=True)
            if outcome is Precondition.NOT_MODIFIED:
                return Response(304, headers)
            if outcome is Precondition.FAILED:
                raise PreconditionFailed(headers["etag"])
            if resource.read is not None:
                answer = resource.read(exchange, view, access)
                return _headless(request, answer.response(headers))
            fields, body = data_resources.read(request, target, narrowed(view, access), stack)
            return _headless(request, Response(200, {**headers, **fields}, body))

    def _write(self, exchange: Exchange, write: Writer) -> Response:
        if exchange.target.snaptime is not None:
            raise Forbidden("modification to catalog at previous revision", anonymous=exchange.client.id is None)
        client, store = exchange.client, exchange.store
        with store.write(client) as tx:
            access = Access(tx.model, client)
            _need_catalog(exchange, access)
            if not exchange.request.headers.keys().isdisjoint(CONDITIONS):
                etag = exchange.etag(tx)
                if check(exchange.request.headers, etag, is_read=False) is not Precondition.HOLDS:
                    raise PreconditionFailed(etag)
            meet(tx)
            answer = write(exchange, tx)
        tx.store.known_clients.add(client)
        is_new = tx.is_model_changed or (tx.is_committed and (exchange.is_data or not exchange.target.resource))
        etag = exchange.etag(tx, moment=tx.now if is_new else None)
        return answer.response({"etag": etag, "vary": exchange.vary})

    def _delete_catalog(self, exchange: Exchange) -> Response:
        with exchange.store.read() as view:
            access = Access(view.model, exchange.client)
            _need_catalog(exchange, access)
            if exchange.target.snaptime is not None:
                raise access.refuse("deletion of catalog at previous revision")
            access.need_owner(view.model)
            etag = exchange.etag(view)
        self.catalogs.delete(exchange.entry)
        return empty().response({"etag": etag, "vary": exchange.vary})

    def _read_schemas(self, exchange: Exchange, view: View, access: Access) -> Answer:
        roles = frozenset({"*owner"}) if access.is_all else access.roles
        key = (exchange.entry.id, exchange.catalog.id, view.model_snaptime, view.amended, view.is_snapshot, roles)
        with self._lock:
            body = self._schemas.get(key)
        if body is None:
            body = json_text(_schemas_document(exchange, view, access))
            with self._lock:
                self._schemas[key] = body
                while len(self._schemas) > SCHEMAS_KEPT:
                    self._schemas.popitem(last=False)
        return Answer(body=body)


def _allowed(methods: tuple[str, ...]) -> tuple[str, ...]:
    return (*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS")


def _options(methods: tuple[str, ...]) -> Response:
    return Response(200, {"content-type": "text/html; charset=utf-8", "allow": ", ".join(_allowed(methods))})


def _headless(request: Request, response: Response) -> Response:
    """The response to HEAD: the same fields, and no content."""
    if request.method == "HEAD":
        response.headers["content-length"] = str(len(response.read()))
        response.body = b""
    return response


def _need_catalog(exchange: Exchange, access: Access) -> None:
    """The gate of everything below a catalog."""
    if access.right(access.model, "enumerate") is not True:
        raise access.refuse(f"enumerate access on catalog/{exchange.entry.id}")


def _greet(exchange: Exchange) -> None:
    """Note a client at its first contact, as the original does, where it comes over a network.

    Who uses the folder in process is noted at the first change: reading a folder leaves it as it was.
    """
    client, store = exchange.client, exchange.store
    if client.id is None or is_local(client) or isinstance(store, RegistryCatalog) or client in store.known_clients:
        return
    with store.read() as view:
        model = view.model
    if Access(model, client).right(model, "enumerate") is not True:
        return
    try:
        with store.write(client) as tx:
            meet(tx)
    except ServiceError as error:
        if error.status not in (403, 503):
            raise
        # The folder cannot be written now; that is no reason not to read it.
        return
    store.known_clients.add(client)


# ---------------------------------------------------------------------------------------------- the catalog itself


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


def _read_catalog(exchange: Exchange, view: View, access: Access) -> Answer:
    document: Document = {"snaptime": codes.encode(view.snaptime), **_about(exchange, access), "id": exchange.entry.id}
    # An alias has a name of its own; what it does not say of itself, its target says.
    known = {name: value for name, value in exchange.entry.doc.items() if value is not None}
    for name in ("name", "description", "is_persistent", "clone_source"):
        value = known.get(name, exchange.catalog.doc.get(name))
        if value is not None:
            document[name] = value
    return Answer(body=json_text(document))


def _schemas_document(exchange: Exchange, view: View, access: Access) -> Document:
    schemas: Document = {
        name: schema_document(schema, access) for name, schema in view.model.schemas.items() if access.sees(schema)
    }
    return {"snaptime": codes.encode(view.model_snaptime), **_about(exchange, access), "schemas": schemas}


def _maintain(exchange: Exchange, tx: Transaction) -> Answer:
    """``POST ?analyze`` and ``?vacuum``: nothing needs doing, so nothing is done."""
    if not {"analyze", "vacuum"} & exchange.target.query.keys():
        raise BadRequest("Maintenance query parameters not recognized.")
    Access(tx.model, tx.client).need_owner(tx.model)
    return empty()


def _write_data(exchange: Exchange, tx: Transaction) -> Answer:
    return data_resources.change(exchange.request, exchange.target, tx)


def _read_rid(rid: str, exchange: Exchange, view: View, access: Access) -> Answer:
    del exchange, access
    return Answer(body=json_text(history.find_row(view, rid)))


# ---------------------------------------------------------------------------------------------- history


def _history(segments: tuple[Segment, ...], target: Target) -> Resource | None:
    if not segments or target.snaptime is not None:
        return None
    names = segments[0].names
    if segments[0].value is not None or len(names) != 2 or any(len(name) != 1 for name in names):
        return None
    since, until = names[0][0], names[1][0]
    if len(segments) == 1:
        return Resource(("GET", "DELETE"), partial(_read_range, since, until), partial(_truncate, since, until))
    word, rest = segments[1].word, segments[2:]
    reader = partial(_read_range, since, until)
    if word == "attribute":
        if not rest or len(rest) > 2 or not rest[0].word or (len(rest) == 2 and _equality(rest[1]) is None):
            return None
        condition = _equality(rest[1]) if len(rest) == 2 else None
        return Resource(("GET", "DELETE"), reader, partial(_redact, since, until, rest[0].word, condition))
    if word not in ASPECTS or len(rest) > 1 or (rest and not rest[0].word):
        return None
    return Resource(("GET", "PUT"), reader, partial(_amend, word, since, until, (rest[0].word or "") if rest else ""))


def _equality(segment: Segment) -> tuple[str, str] | None:
    """A segment of the form ``RID=value``."""
    if segment.value is None or len(segment.names) != 1 or len(segment.names[0]) != 1:
        return None
    return segment.names[0][0], segment.value


def _read_range(since: str, until: str, exchange: Exchange, view: View, access: Access) -> Answer:
    del exchange, access
    first, last = history.snapshot_range(view, since, until)
    amended = codes.encode(view.amended) if view.amended else None
    return Answer(body=json_text({"snaprange": [codes.encode(first), codes.encode(last)], "amendver": amended}))


def _truncate(since: str, until: str, exchange: Exchange, tx: Transaction) -> Answer:
    del exchange
    Access(tx.model, tx.client).need_owner(tx.model)
    history.truncate(tx, since, until)
    tx.store.forget_models()
    return empty()


def _redact(
    since: str, until: str, rid: str, condition: tuple[str, str] | None, exchange: Exchange, tx: Transaction
) -> Answer:
    del exchange
    redact(tx, since, until, rid, condition)
    return empty()


def _amend(aspect: str, since: str, until: str, rid: str, exchange: Exchange, tx: Transaction) -> Answer:
    amend(tx, aspect, since, until, rid, json_body(exchange.request))
    tx.store.forget_models()
    return empty()
