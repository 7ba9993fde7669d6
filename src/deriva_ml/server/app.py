"""The embedded service: one function from request to response, over a folder.

``create_folder`` makes a folder, ``open_service`` opens one, and a `Service` answers ``/ermrest``, ``/hatrac`` and
``/authn/session``. There is no socket in it. Opening and reading a folder changes nothing in it.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from deriva_ml.core.marker import MARKER, add_place, marker_content, place_of, settle_identity
from deriva_ml.server.access import LOCAL_ROLE
from deriva_ml.server.answers import no_such_page, refusal
from deriva_ml.server.bulk import Taken
from deriva_ml.server.damage import unusable
from deriva_ml.server.ermrest import Ermrest
from deriva_ml.server.errors import BadRequest, FolderError, MethodNotAllowed, ServiceError, translate, translate_file
from deriva_ml.server.hatrac import Hatrac
from deriva_ml.server.registry import Registry
from deriva_ml.server.sessions import session_answer
from deriva_ml.server.small_database import place_new
from deriva_ml.server.store import microseconds
from deriva_ml.wire.http import Client, Request, Response

__all__ = ["FORMAT", "FolderError", "Service", "create_folder", "local_client", "open_service"]

FORMAT = 1
"""The layout of a folder; one with a higher number was made by a later version."""

BELOW = "below"
"""What a marker calls the objects of the folder that this one is laid over."""


def local_client() -> Client:
    """Who uses a folder in process: the user who is logged in to this machine, who owns every catalog in it."""
    import getpass

    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        login = str(os.getuid())
    name = f"local:{login}"
    return Client(name, display_name=login, roles=frozenset({name, LOCAL_ROLE}))


def _new_identity() -> str:
    # Needed once in a folder's life; the import costs more than a request.
    import uuid

    return str(uuid.uuid4())


def create_folder(root: Path, *, identity: str | None = None, below: Path | None = None) -> None:
    """Make a folder into a catalog's, unless it is one already.

    Two processes may do so at the same time: one of them makes it, and both go on.

    Args:
        root: The folder; it and its parents are made if need be.
        identity: The folder's identity; by default a new one.
        below: The content of another folder's objects, which is read where this one has none (`overlay`).

    Raises:
        FolderError: Something else is there.
    """
    if (root / MARKER).exists():
        # It was whole when it got its marker: what is missing since is not made anew, as if it had been empty.
        return
    if root.exists() and not root.is_dir():
        raise FolderError(f"This is not a folder: {root}", hint="name a folder, or a path where nothing is yet")
    root.mkdir(parents=True, exist_ok=True)
    try:
        _furnish(root, identity, below)
    except (sqlite3.Error, OSError) as error:
        raise unusable(error, root) from error


def _furnish(root: Path, identity: str | None, below: Path | None) -> None:
    for name in ("catalogs", "objects"):
        (root / name).mkdir(exist_ok=True)
    Registry.create(root / "service.db")
    marker = root / MARKER
    if marker.exists():
        return
    content = {
        "format": FORMAT,
        "identity": identity or _new_identity(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **({} if below is None else {BELOW: str(below)}),
    }

    def write(path: Path) -> None:
        with path.open("xb") as out:
            place = place_of(os.fstat(out.fileno()), root)
            out.write(marker_content({**content, "place": place}))

    # The marker comes last: a folder with a marker is complete.
    place_new(marker, write)


def open_service(root: Path, *, clock: Callable[[], int] = microseconds, time_limit: float | None = None) -> Service:
    """Open a folder.

    Args:
        root: The folder.
        clock: Gives microseconds since 1970.
        time_limit: For how many seconds a request may work on a database before it is refused; None for ever.

    Raises:
        FolderError: It is not a catalog's folder, or one of a later version.
    """
    marker = root / MARKER
    try:
        content = settle_identity(root)
        identity, layout = content["identity"], content["format"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_folder(root) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(f"The marker of this catalog folder cannot be read: {marker} ({error})") from error
    if not isinstance(identity, str) or layout != FORMAT:
        raise FolderError(
            f"The catalog folder {root} has format {layout}; this version of deriva-ml reads format {FORMAT}.",
            hint="use the version of deriva-ml that made it, or a later one",
        )
    below = content.get(BELOW)
    return Service(
        root,
        identity,
        clock=clock,
        time_limit=time_limit,
        placed="place" in content,
        below=None if below is None else Path(below),
    )


def _no_folder(root: Path) -> FolderError:
    if not os.path.lexists(root):
        return FolderError(
            f"There is no catalog folder at {root}.",
            hint=f"check the path, or make a catalog there: deriva-ml-catalog create --root {shlex.quote(str(root))}",
        )
    what = f"This is a file, not a catalog folder: {root}"
    if root.is_dir():
        what = f"This folder is not a catalog: {root} (there is no {MARKER} in it)"
    return FolderError(what, hint="name a folder that holds one, or a path where nothing is yet")


class Service:
    """The service over one folder; it may be called from several threads.

    Args:
        root: The folder.
        identity: The identity that its marker holds.
        clock: Gives microseconds since 1970.
        time_limit: For how many seconds a request may work on a database; None for ever.
        placed: The marker records its place; else the first write lets it do so.
        below: The content of another folder's objects, which is read where this one has none.
    """

    def __init__(
        self,
        root: Path,
        identity: str,
        *,
        clock: Callable[[], int] = microseconds,
        time_limit: float | None = None,
        placed: bool = True,
        below: Path | None = None,
    ) -> None:
        self.root = root
        self._placed = placed
        self.identity = identity
        self.ermrest = Ermrest(root, identity, clock=clock, time_limit=time_limit)
        self.hatrac = Hatrac(root, below=below)

    def take_in(self, source: Path, progress: Callable[[int], None]) -> Taken:
        """Take a file into the object store, ahead of its name; see `deriva_ml.server.bulk`."""
        self._place()
        return self.hatrac.bulk.take_in(source, progress)

    def put_taken(self, requests: Sequence[Request], taken: Sequence[Taken], client: Client) -> list[Response]:
        """Answer the requests that name what was taken in."""
        return self.hatrac.put_taken(requests, taken, client)

    def _place(self) -> None:
        if not self._placed:
            self._placed = True
            add_place(self.root)

    def __call__(self, request: Request, client: Client) -> Response:
        """Answer a request."""
        if request.method not in ("GET", "HEAD"):
            self._place()
        try:
            return self._route(request, client)
        except ServiceError as error:
            return refusal(error)
        except (UnicodeEncodeError, RecursionError) as error:
            # Text with half a surrogate pair, or a document of absurd depth: no storage takes either.
            return refusal(BadRequest(f"The request cannot be processed: {type(error).__name__}."))
        except FolderError as error:
            return refusal(ServiceError(409, str(error)))
        except sqlite3.Error as error:
            # Met while a database was opened, before there was anything to do with it.
            known = translate(error, self.root)
            if known is None:
                raise
            return refusal(known)
        except OSError as error:
            known = translate_file(error, self.root)
            if known is None:
                raise
            return refusal(known)

    def _route(self, request: Request, client: Client) -> Response:
        path = request.target.partition("?")[0]
        if path == "/ermrest" or path.startswith("/ermrest/"):
            return self.ermrest(request, client)
        if path == "/hatrac" or path.startswith("/hatrac/"):
            return self.hatrac(request, client)
        if path in ("/authn/session", "/authn/session/"):
            return _session(request, client)
        return no_such_page()

    def local_path(self, url: str, client: Client) -> Path | None:
        """The file that holds an object's content, for a client that may read it; it must not be written."""
        return self.hatrac.local_path(url, client)

    def close(self) -> None:
        """Close every database; answers that are still being read end with an error."""
        self.ermrest.close()
        self.hatrac.close()


def _session(request: Request, client: Client) -> Response:
    """Who the client is. A session in process cannot be begun or ended; those over HTTP, the gate before it handles."""
    if request.method not in ("GET", "HEAD", "PUT"):
        raise MethodNotAllowed(("GET", "HEAD", "PUT"))
    return session_answer(request, client)
