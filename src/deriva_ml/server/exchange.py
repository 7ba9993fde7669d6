"""One request to a catalog's resource, and what a resource is: what the handlers of ``/ermrest`` hand to each other."""

from __future__ import annotations

from collections.abc import Callable

from deriva_ml.core import codes
from deriva_ml.core.values import dataclass
from deriva_ml.server.access import Access, roles_of
from deriva_ml.server.answers import Answer
from deriva_ml.server.registry import Entry
from deriva_ml.server.registry_catalog import RegistryCatalog
from deriva_ml.server.store import CatalogStore
from deriva_ml.server.transaction import Transaction
from deriva_ml.server.view import View
from deriva_ml.wire.http import Client, Request
from deriva_ml.wire.negotiate import make_etag
from deriva_ml.wire.parse import Target
from deriva_ml.wire.syntax import DataPath

__all__ = ["Exchange", "Reader", "Resource", "Writer"]


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
