"""Everything under ``/ermrest``: from a request to the resource that answers it.

A resource is found by the shape of the target alone. Then one moment of the catalog is taken, the client's right to see
the catalog and the request's preconditions are checked against it, and the resource answers from that same moment.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from zlib import crc32

from deriva_ml.server import data_resources, history, model_resources
from deriva_ml.server.access import Access, is_local, roles_of
from deriva_ml.server.address import read_address
from deriva_ml.server.answers import TEXT, Answer, empty, json_text, no_such_page
from deriva_ml.server.batch import answer_batch, is_batch
from deriva_ml.server.bootstrap import meet
from deriva_ml.server.catalog_resource import maintain, read_catalog, schemas_document
from deriva_ml.server.catalogs import FEATURES, Catalogs
from deriva_ml.server.errors import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    ServiceError,
)
from deriva_ml.server.exchange import Exchange, Reader, Resource, Writer
from deriva_ml.server.guards import narrowed
from deriva_ml.server.history_resources import history_resource
from deriva_ml.server.registry_catalog import RegistryCatalog
from deriva_ml.server.store import microseconds
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.batch import DEFAULT_LIMITS, FEATURE
from deriva_ml.wire.http import Client, Request, Response
from deriva_ml.wire.model import Document
from deriva_ml.wire.negotiate import CONDITIONS, Precondition, check, make_etag
from deriva_ml.wire.parse import PathSyntaxError, Target, parse_target
from deriva_ml.wire.syntax import DataPath

__all__ = ["VERSION", "Ermrest"]

VERSION = "0.5.0"
"""The version of ERMrest whose behaviour this is."""

SHORT = 1024
"""Up to how many characters a target is kept once it was read."""

SCHEMAS_KEPT = 8
"""How many ``/schema`` answers are kept ready."""

SEVERAL = Resource(("POST",))
"""What answers several requests in one; see `deriva_ml.server.batch`."""


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
        # Clients ask for the same few paths again and again; a long path is not kept, as it holds a list.
        self._short_target = lru_cache(maxsize=256)(parse_target)
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
            target = self._short_target(raw) if len(raw) <= SHORT else parse_target(raw)
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
        if resource is SEVERAL:
            _greet(exchange)
            return answer_batch(exchange, self._read_member, self._change_member)
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
        features = {**FEATURES, FEATURE: DEFAULT_LIMITS.document()}
        document: Document = {"version": VERSION, "features": features, "identity": self.identity}
        return Answer(body=json_text(document))

    # ------------------------------------------------------------------------------------------ resources of a catalog

    def _resource(self, target: Target) -> Resource | None:
        resource = target.resource
        if isinstance(resource, DataPath):
            return Resource(data_resources.METHODS[resource.kind], None, _write_data)
        if not resource:
            return Resource(("GET", "POST", "DELETE"), read_catalog, maintain)
        if is_batch(target):
            return SEVERAL
        word = resource[0].word
        if word == "entity_rid" and len(resource) == 2 and resource[1].word and not target.trailing_slash:
            return Resource(("GET",), partial(_read_rid, resource[1].word))
        if word == "textfacet" and len(resource) == 2:
            return Resource(("GET",), lambda _exchange, _view, _access: Answer(body=json_text([])))
        if word == "history":
            return history_resource(resource[1:], target)
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
        with ExitStack() as stack:
            view = stack.enter_context(exchange.store.read(exchange.target.snaptime))
            return self._read_from(exchange, resource, view, stack)

    def _read_from(self, exchange: Exchange, resource: Resource, view: View, stack: ExitStack) -> Response:
        request, target = exchange.request, exchange.target
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
            answer = _write_in(exchange, write, tx)
        tx.known_clients.add(client)
        is_new = tx.is_model_changed or (tx.is_committed and (exchange.is_data or not exchange.target.resource))
        etag = exchange.etag(tx, moment=tx.now if is_new else None)
        return answer.response({"etag": etag, "vary": exchange.vary})

    # ------------------------------------------------------------------------------------------ members of a batch

    def _member(self, exchange: Exchange) -> Resource:
        resource = self._resource(exchange.target)
        if resource is None:
            raise NotFound(exchange.request.target)
        if exchange.request.method not in resource.methods:
            raise MethodNotAllowed(_allowed(resource.methods))
        return resource

    def _read_member(self, exchange: Exchange, view: View) -> Response:
        # The view is the whole batch's: an answer that is read while it is sent does not close it.
        answer = self._read_from(exchange, self._member(exchange), view, ExitStack())
        if isinstance(view, Transaction):
            # What is not committed has no version by which it could be asked for again.
            del answer.headers["etag"]
        return answer

    def _change_member(self, exchange: Exchange, tx: Transaction) -> Response:
        write, resource = self._member(exchange).write, exchange.target.resource
        is_past = not isinstance(resource, DataPath) and bool(resource) and resource[0].word == "history"
        if write is None or is_past or (exchange.request.method == "DELETE" and not resource):
            raise BadRequest("This change cannot be a member of a batch.")
        return _write_in(exchange, write, tx).response({"vary": exchange.vary})

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
        if isinstance(view, Transaction):
            return Answer(body=json_text(schemas_document(exchange, view, access)))
        roles = frozenset({"*owner"}) if access.is_all else access.roles
        key = (exchange.entry.id, exchange.catalog.id, view.model_snaptime, view.amended, view.is_snapshot, roles)
        with self._lock:
            body = self._schemas.get(key)
        if body is None:
            body = json_text(schemas_document(exchange, view, access))
            with self._lock:
                self._schemas[key] = body
                while len(self._schemas) > SCHEMAS_KEPT:
                    self._schemas.popitem(last=False)
        return Answer(body=body)


def _write_in(exchange: Exchange, write: Writer, tx: Transaction) -> Answer:
    access = Access(tx.model, exchange.client)
    _need_catalog(exchange, access)
    if not exchange.request.headers.keys().isdisjoint(CONDITIONS):
        etag = exchange.etag(tx)
        if check(exchange.request.headers, etag, is_read=False) is not Precondition.HOLDS:
            raise PreconditionFailed(etag)
    meet(tx)
    return write(exchange, tx)


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


def _write_data(exchange: Exchange, tx: Transaction) -> Answer:
    return data_resources.change(exchange.request, exchange.target, tx)


def _read_rid(rid: str, exchange: Exchange, view: View, access: Access) -> Answer:
    del exchange, access
    return Answer(body=json_text(history.find_row(view, rid)))
