"""From a place to its service: the one module that knows both the client and the embedded service.

A room of its own between the client (floor 3) and the ML nouns (floor 4): ``catalog`` must not import ``server``, and
everything above wants a connection without knowing which kind of place it has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.service import create_catalog, service_info
from deriva_ml.catalog.transport import InProcess, Transport
from deriva_ml.core.config import Place, Settings, folder_identity, resolve_place
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLConfigurationError,
    DerivaMLUnreachable,
)
from deriva_ml.core.files import unusable_directory
from deriva_ml.core.marker import MARKER
from deriva_ml.core.values import dataclass
from deriva_ml.wire.batch import DEFAULT_LIMITS, Limits
from deriva_ml.wire.http import Request, Response

if TYPE_CHECKING:
    from deriva_ml.catalog.deriva import DerivaHandles

__all__ = ["Connection", "catalog_exists", "lay_over", "open_connection", "through", "unwritable_part"]


_given: ContextVar[Connection | None] = ContextVar("deriva-ml-connection", default=None)


@contextmanager
def through(connection: Connection) -> Iterator[None]:
    """Whatever is opened in this block goes through a connection that is there, whatever place it names.

    A project's own subclass of ``DerivaML`` opens its catalog in its constructor, which knows nothing of connections:
    in a child process, where the parent holds the one connection, it must find that one.
    """
    token = _given.set(connection)
    try:
        yield
    finally:
        _given.reset(token)


@dataclass(frozen=True)
class Connection:
    """An open way to a catalog service.

    Attributes:
        place: Where the service is.
        transport: What carries requests to it.
        identity: Identity of the folder, whether it is here or served; the authority of a host that has none.
        client_id: Who the service takes the caller for, where it is embedded.
    """

    place: Place
    transport: Transport
    identity: str
    client_id: str | None = None

    def catalog(self, catalog_id: str | int) -> CatalogClient:
        """A client of one catalog, or of a snapshot of it (``"<id>@<snaptime>"``); nothing is sent yet."""
        name, _at, snaptime = str(catalog_id).partition("@")
        return CatalogClient(self.transport, name, snaptime or None)

    def objects(self) -> ObjectClient:
        """A client of the service's objects."""
        return ObjectClient(self.transport)

    def catalog_ids(self) -> list[str]:
        """The ids of the folder's catalogs; empty for a host, which does not list them."""
        if self.place.root is None:
            return []
        from deriva_ml.server.damage import damage_named
        from deriva_ml.server.registry import Registry

        registry = Registry(self.place.root / "service.db")
        try:
            with damage_named(self.place.root):
                return [entry.id for entry in registry.entries() if entry.is_catalog]
        finally:
            registry.close()

    def create_catalog(self, catalog_id: str | int | None = None, *, name: str | None = None) -> CatalogClient:
        """Make a catalog that holds nothing but the service's own tables.

        Args:
            catalog_id: The id it shall have; by default the next free one.
            name: A name to show.

        Raises:
            DerivaMLCatalogError: The id is taken (409).
        """
        wanted = None if catalog_id is None else str(catalog_id)
        return create_catalog(self.transport, catalog_id=wanted, name=name)

    def deriva(self) -> DerivaHandles:
        """The ``deriva`` package's own handles on this connection."""
        from deriva_ml.catalog.deriva import DerivaHandles

        return DerivaHandles(self.transport, self.place.hostname)

    def close(self) -> None:
        """Give back what the connection holds."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _open_folder(place: Place, *, create: bool) -> Connection:
    from deriva_ml.server.app import create_folder, local_client, open_service

    root = place.root
    if root is None:
        raise AssertionError("a folder has a root")
    try:
        if folder_identity(root) is None and (create or place.is_default) and not _foreign(place):
            create_folder(root)
        service = open_service(root)
    except OSError as error:
        raise unusable_directory(root, error) from error
    client = local_client()
    transport = InProcess(
        partial(_serve, service, client),
        close=service.close,
        local_path=partial(_file, service, client),
        bulk=_Bulk(service, client),
        batch=DEFAULT_LIMITS,
    )
    return Connection(place, transport, service.identity, client.id)


def _require_there(root: Path) -> None:
    """Refuse to use a folder that was there and is not any more: its files are open, and what is new would be lost.

    Raises:
        DerivaMLUnreachable: It was moved away, or the disk that it is on.
    """
    if not os.path.exists(root / MARKER):  # noqa: PTH110 - a path that may not be looked at is as good as none
        away = DerivaMLUnreachable(
            f"The catalog folder {root} is not there any more.",
            hint="bring the folder, or the disk that it is on, back to its place; then try again",
        )
        away.was_repeated = True  # a folder does not come back by itself
        raise away


def _serve(service: Any, client: Any, request: Request) -> Any:
    from deriva_ml.server.damage import damage_named, name_damage

    _require_there(service.root)
    with damage_named(service.root):
        response = service(request, client)
    if response.status == 500:
        name_damage(service.root)
    return response


class _Bulk:
    """The store of a folder, for many objects at once, as one client uses it."""

    def __init__(self, service: Any, client: Any) -> None:
        self._service = service
        self._client = client

    def take_in(self, source: Path, progress: Callable[[int], None]) -> Any:
        _require_there(self._service.root)
        return self._service.take_in(source, progress)

    def put(self, requests: Sequence[Request], taken: Sequence[Any]) -> list[Response]:
        from deriva_ml.server.damage import damage_named

        _require_there(self._service.root)
        with damage_named(self._service.root):
            answers: list[Response] = self._service.put_taken(requests, taken, self._client)
        return answers

    def local_paths(self, targets: Sequence[str]) -> list[str | None]:
        from deriva_ml.server.damage import damage_named

        with damage_named(self._service.root):
            paths: list[str | None] = self._service.local_paths(targets, self._client)
        return paths


def _file(service: Any, client: Any, url: str) -> Any:
    return service.local_path(url, client)


def _foreign(place: Place) -> bool:
    """Whether something else is where a folder would be made: a file, or a directory that is not empty."""
    root = place.root
    if root is None or not root.exists():
        return False
    if root.is_dir() and not any(root.iterdir()):
        return False
    names = {path.name for path in root.iterdir()}
    if "service.db" in names or any(name.startswith(".") and name.endswith(".part") for name in names):
        return False  # another process is making it at this moment
    if names <= {"catalogs", "objects"} and not any(any((root / name).iterdir()) for name in names):
        return False  # a process was making it, and did not come far
    raise DerivaMLConfigurationError(
        f"{root} is not a catalog folder, and it is not empty.",
        source=f"hostname {place.hostname!r}",
        allowed=["a folder that deriva-ml made", "a path that does not exist yet", "an empty folder"],
        hint="name another folder (DERIVA_ML_LOCAL, --host), or empty this one",
    )


def _missing_folder(place: Place) -> DerivaMLConfigurationError:
    return DerivaMLConfigurationError(
        f"There is no catalog folder at {place.root}.",
        source=f"hostname {place.hostname!r}",
        hint=f"check the path, or make a catalog there: deriva-ml-catalog create --root {place.root}, or "
        f"create-demo-catalog --host {place.hostname}",
    )


def open_connection(
    hostname: str,
    *,
    settings: Settings | None = None,
    credential: dict[str, Any] | None = None,
    create: bool = False,
) -> Connection:
    """Open the way to a catalog service.

    Args:
        hostname: ``local``, a path, a host name or a URL.
        settings: The settings; by default those of the environment.
        credential: Credential for a host; by default the one that ``deriva`` stored at login.
        create: Make the folder if there is none. The default folder is made in any case.

    Raises:
        DerivaMLConfigurationError: The path is not a catalog folder.
        DerivaMLUnreachable: The service cannot be reached.
    """
    given = _given.get()
    if given is not None:
        return given
    settings = settings or Settings.read()
    place = resolve_place(hostname, settings)
    if place.root is not None:
        # os.path.exists: a path that may not be looked at is as good as none
        if not create and not place.is_default and not os.path.exists(place.root):  # noqa: PTH110
            raise _missing_folder(place)
        if place.is_default and place.root.parent == settings.home:
            settings.make_home()
        return _open_folder(place, create=create)
    from deriva_ml.catalog.transport import Http, stored_credential

    base_url = str(place.base_url)
    if credential is None:
        # The token is for a service that the user named by its URL; it is not shown to any other host.
        is_url = place.hostname.startswith(("http://", "https://"))
        credential = {"bearer-token": settings.token} if settings.token and is_url else stored_credential(base_url)
    transport = Http(base_url, credential)
    try:
        service = _advertisement(transport)
        transport.batch = Limits.advertised(service)
        return Connection(place, transport, _served_identity(service) or place.authority)
    except BaseException:
        transport.close()
        raise


def _advertisement(transport: Transport) -> dict[str, Any]:
    """What the service says of itself; nothing if it does not say it."""
    try:
        return dict(service_info(transport))
    except (DerivaMLCatalogError, DerivaMLAuthenticationError, TypeError, ValueError):
        # What the service refuses is said where something is asked of it; its description is no secret that we need.
        return {}


def _served_identity(service: dict[str, Any]) -> str | None:
    """The identity of the folder that is served, or None for a service that has none: a Deriva host."""
    identity = service.get("identity")
    # it becomes the name of a directory
    return identity if isinstance(identity, str) and re.fullmatch(r"\w[\w.-]{0,99}", identity, re.ASCII) else None


def catalog_exists(hostname: str, catalog_id: str | int, settings: Settings | None = None) -> bool:
    """Whether a catalog is there, without making anything.

    Args:
        hostname: ``local``, a path, a host name or a URL.
        catalog_id: The catalog.
        settings: The settings; by default those of the environment.
    """
    place = resolve_place(hostname, settings)
    if place.root is not None and folder_identity(place.root) is None:
        return False
    name = str(catalog_id).partition("@")[0]
    with open_connection(hostname, settings=settings) as connection:
        if place.root is not None and name in connection.catalog_ids():
            return True  # the folder's own list says so, without a request; an alias is not in it
        try:
            connection.catalog(name).info()
        except DerivaMLCatalogError as error:
            if error.status == 404:
                return False
            raise
    return True


def lay_over(place: Place, catalog_id: str, target: Path) -> None:
    """Make a folder that shows a catalog of another one, and keeps every change to itself.

    Args:
        place: The folder; nothing is written there.
        catalog_id: The catalog.
        target: The new folder.
    """
    from deriva_ml.server.overlay import lay_over as lay

    if place.root is None:
        raise AssertionError("a folder has a root")
    lay(place.root, catalog_id, target)


def unwritable_part(place: Place, catalog_id: str) -> Path | None:
    """What of a folder this process cannot write, though a run would; None if there is nothing, and for a host.

    Args:
        place: Where the catalog is.
        catalog_id: The catalog, without a snapshot.
    """
    if place.root is None:
        return None
    from deriva_ml.server.catalogs import database_path

    database = database_path(place.root, catalog_id)
    parts = (place.root, database.parent, database, place.root / "objects", place.root / "hatrac.db")
    return next((part for part in parts if part.exists() and not os.access(part, os.W_OK)), None)
