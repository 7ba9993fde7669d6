"""How a request travels to a catalog service: in process, or over HTTP.

Nothing above this module knows which. The rules:

1. ``send`` returns an answer, whatever its status; it raises only if there is no answer (``DerivaMLUnreachable``).
2. Only what can be repeated without harm is repeated: idempotent methods after a lost connection or a 500, 502, 503 or
   504, and any method if the connection was never made. A body that cannot be wound back is sent once.
3. At most ``concurrency`` requests of one transport are under way at a time; the content of an answer does not count.
4. Bodies stream in both directions: no more than a part of a large one is in memory. What is sent goes in small blocks,
   so that a limit of time counts from the last block that a slow line has taken, and not for all of a body.
5. A service that is away is waited for once, and its user is told (`outage`).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import urlsplit

from deriva_ml.catalog.http_answers import answer_of, never_sent
from deriva_ml.catalog.http_connections import adapter, reason_of
from deriva_ml.catalog.outage import Outage
from deriva_ml.catalog.retry import Retry
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.core.files import Digests
from deriva_ml.wire.batch import Limits
from deriva_ml.wire.http import Request, Response

__all__ = [
    "Bulk",
    "Http",
    "InProcess",
    "Retry",
    "TakenContent",
    "Transport",
    "brief",
    "stoppable",
    "stored_credential",
    "tuned",
]

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
PASSING = frozenset({500, 502, 503, 504})
"""Statuses of faults that may pass."""

BLOCK = 1 << 16
"""A body that is longer than this is sent in blocks."""

PROBE = 10.0
"""Seconds that a service is given for what can be left out, and to say that it is back when it is known to be away."""

FIRST = 4
"""How often a request is tried at most with a service that has never answered, unless its way says more."""

CHUNK = 25 << 20
"""Largest body that is sent to a remote object store in one request; longer ones go as upload jobs."""

Handler = Callable[[Request], Response]


class TakenContent(Protocol):
    """What a store in this process has taken in and that has no name yet."""

    @property
    def digests(self) -> Digests:
        """What it is."""

    def discard(self) -> None:
        """Remove it, unless it has got a name."""


class Bulk(Protocol):
    """What a store in this process does at once for many objects; over HTTP each takes requests of its own."""

    def take_in(self, source: Path, progress: Callable[[int], None]) -> Any:
        """Take in a file, hashing it on the way.

        Raises:
            OSError: It cannot be read, or the disk of the store refuses.
        """

    def put(self, requests: Sequence[Request], taken: Sequence[Any]) -> list[Response]:
        """Answer ``PUT`` requests whose content has been taken in."""

    def local_paths(self, targets: Sequence[str]) -> list[str | None]:
        """The files with the bytes of objects named with their versions; None for what a request may still bring."""


class Transport(Protocol):
    """What carries a request to a catalog service and brings the answer."""

    @property
    def body_limit(self) -> int | None:
        """The longest body to send in one request, or None if any length will do."""

    @property
    def bulk(self) -> Bulk | None:
        """The way to store many objects at once, where the store is in this process."""

    @property
    def batch(self) -> Limits | None:
        """How many requests the service takes in one; None if it takes one at a time, as far as is known."""

    def send(self, request: Request) -> Response:
        """Send a request.

        Raises:
            DerivaMLUnreachable: There was no answer.
        """

    def local_path(self, target: str) -> Path | None:
        """A file on this machine that holds the bytes of an object, or None if there is none within reach.

        The file belongs to the store: it may be read and hard-linked, never written.
        """

    def close(self) -> None:
        """Let go of connections and files."""


def _nothing() -> None:
    """Do nothing: the default of what is called at the end."""


def _nowhere(target: str) -> Path | None:
    """Know no file: the default of ``local_path``."""
    del target
    return None


class InProcess:
    """A service in this process: a request is a function call.

    Args:
        handler: The service; it knows who asks.
        close: Called once, when the transport is closed.
        local_path: Finds the file behind an object, for a store that keeps its objects as files of this machine.
        bulk: Stores many objects at once.
        batch: How many requests the service takes in one.
    """

    body_limit: int | None = None

    def __init__(
        self,
        handler: Handler,
        close: Callable[[], None] = _nothing,
        *,
        local_path: Callable[[str], Path | None] = _nowhere,
        bulk: Bulk | None = None,
        batch: Limits | None = None,
    ) -> None:
        self.bulk = bulk
        self.batch = batch
        self._handler = handler
        self._close = close
        self._local_path = local_path

    def send(self, request: Request) -> Response:
        """Call the service."""
        return self._handler(request)

    def local_path(self, target: str) -> Path | None:
        """The file behind an object, if the service keeps it as one."""
        return self._local_path(target)

    def close(self) -> None:
        """Close the service; a second call does nothing."""
        close, self._close = self._close, _nothing
        close()


class Http:
    """A service behind a URL.

    Args:
        base_url: Scheme and authority: ``https://www.example.org``, ``http://127.0.0.1:8080``.
        credential: What ``deriva.core.get_credential`` gives: ``{"bearer-token": ...}`` or
            ``{"cookie": "name=value"}``; None for an anonymous client.
        concurrency: How many requests may be under way at a time.
        retry: When to try again; by default a service that has answered is waited for longer than one that has not.
        timeout: Seconds for which nothing may be taken of what is sent, and nothing come of an answer. A connection is
            to be made in less than either, see `http_connections.CONNECT`.

    Attributes:
        batch: How many requests the service takes in one; noted by whoever has read the service's advertisement.
    """

    body_limit: int | None = CHUNK
    bulk: Bulk | None = None
    batch: Limits | None = None

    def __init__(
        self,
        base_url: str,
        credential: Mapping[str, str] | None = None,
        *,
        concurrency: int = 8,
        retry: Retry | None = None,
        timeout: tuple[float, float] = (63.0, 63.0),
    ) -> None:
        import requests

        self._base_url = base_url.rstrip("/")
        self._headers = _identification(credential or {})
        self._retry = retry or Retry()
        self._insists = retry is not None
        self._outage = Outage(self._base_url)
        self._stopped = threading.Event()
        self._timeout = timeout
        self._slots = threading.BoundedSemaphore(concurrency)
        self._session = requests.Session()
        connections = adapter(concurrency, self._outage.slow)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, connections)
        # Proxies and certificates are the environment's business; they are looked up once, not once a request.
        self._settings: dict[str, Any] = dict(
            self._session.merge_environment_settings(self._base_url, {}, True, None, None)
        )

    def tuned(self, retry: Retry | None, timeout: tuple[float, float] | None, body_limit: int | None) -> Http:
        """The same connections with another patience; see the function of this name."""
        made = copy(self)
        made._retry = retry or self._retry  # noqa: SLF001 - it is one of us
        made._insists = retry is not None or self._insists  # noqa: SLF001
        made._timeout = timeout or self._timeout  # noqa: SLF001
        made.body_limit = body_limit or self.body_limit
        return made

    def stoppable(self) -> tuple[Http, Callable[[], None]]:
        """The same connections for somebody who may go away; see the function of this name."""
        made = copy(self)
        made._stopped = threading.Event()  # noqa: SLF001 - it is one of us
        return made, made._stopped.set  # noqa: SLF001

    def send(self, request: Request) -> Response:
        """Send a request, again if that may help."""
        start = _start_of(request.body)
        retry = self._patience()
        attempt = 1
        while True:
            answer, error, harmless = self._attempt(request, self._limits())
            if answer is not None and answer.status not in PASSING:
                self._outage.answered()
                return answer
            may = (harmless or request.method in IDEMPOTENT) and _rewind(request.body, start)
            if not may or attempt >= retry.attempts or self._stopped.is_set():
                break
            reason = f"it answers {answer.status}" if answer is not None else reason_of(cast("Exception", error))
            self._outage.waiting(reason, retry.seconds)
            retry.again(attempt, self._stopped.wait)
            attempt += 1
        if answer is not None:
            return answer
        assert error is not None
        self._outage.is_known |= may
        raise self._lost(request, error, was_repeated=may and attempt > 1) from error

    def _patience(self) -> Retry:
        """How often to try now: a service that is known to be away is asked once, by whoever does not insist."""
        if self._insists:
            return self._retry
        if self._outage.is_known:
            return self._retry.at_most(1)
        return self._retry if self._outage.has_answered else self._retry.at_most(FIRST)

    def _limits(self) -> tuple[float, float]:
        """For how long nothing may move now."""
        sending, waiting = self._timeout
        if self._insists or not self._outage.is_known:
            return self._timeout
        return min(sending, PROBE), min(waiting, PROBE)

    def _lost(self, request: Request, error: Exception, *, was_repeated: bool) -> DerivaMLUnreachable:
        lost = DerivaMLUnreachable(
            f"No answer from {self._base_url}: {reason_of(error)}",
            source=f"{request.method} {request.target[:200]}",
            hint="its certificate is not known here: name the file with it in REQUESTS_CA_BUNDLE"
            if "CERTIFICATE_VERIFY_FAILED" in str(error)
            else "check the host name, the network, and that the service is running; then try again",
        )
        lost.was_repeated = was_repeated
        return lost

    def _attempt(self, request: Request, limits: tuple[float, float]) -> tuple[Response | None, Exception | None, bool]:
        """Send once: the answer, or the error and whether the service cannot have seen the request."""
        import requests

        try:
            with self._slots:
                return self._exchange(request, limits), None, False
        except requests.exceptions.RequestException as error:
            return None, error, never_sent(error)
        except OSError as error:
            return None, error, False

    def _exchange(self, request: Request, limits: tuple[float, float]) -> Response:
        import requests

        body = request.body
        if isinstance(body, bytes) and len(body) > BLOCK:
            body = io.BytesIO(body)
        prepared = requests.Request(request.method, f"{self._base_url}/", data=body).prepare()
        # The target goes out byte for byte: in it an escaped character is data, a plain one is punctuation.
        prepared.url = self._base_url + request.target
        prepared.headers.update({**self._headers, **request.headers})
        if "content-length" in prepared.headers:
            # of a body whose length it cannot find out the library says that it comes in parts; to say both is refused
            prepared.headers.pop("transfer-encoding", None)
        redirects = request.method in {"GET", "HEAD"}
        answer = self._session.send(prepared, timeout=limits, allow_redirects=redirects, **self._settings)
        return answer_of(request, answer)

    def local_path(self, target: str) -> Path | None:
        """Nothing: the objects are elsewhere."""
        return _nowhere(target)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class Tunable(Protocol):
    """A way whose patience can be chosen."""

    def tuned(self, retry: Retry | None, timeout: tuple[float, float] | None, body_limit: int | None) -> Transport:
        """The same way with another patience."""


def tuned(
    transport: Transport,
    *,
    retry: Retry | None = None,
    timeout: tuple[float, float] | None = None,
    body_limit: int | None = None,
) -> Transport:
    """The same way to the service with another patience; connections are shared. In this process there is no waiting.

    Args:
        transport: The way.
        retry: When to try again.
        timeout: Seconds for which nothing may move, on the way there and on the way back.
        body_limit: The longest body to send in one request.
    """
    choose = getattr(transport, "tuned", None)
    return transport if choose is None else cast("Tunable", transport).tuned(retry, timeout, body_limit)


def stoppable(transport: Transport) -> tuple[Transport, Callable[[], None]]:
    """The same way for somebody who may go away, and what to call then: nothing is waited for any more."""
    return transport.stoppable() if isinstance(transport, Http) else (transport, _nothing)


def brief(transport: Transport) -> Transport:
    """The same way for what can be done later or left out: within seconds, or not."""
    return tuned(transport, retry=Retry(2, 0.5), timeout=(PROBE, PROBE))


def _identification(credential: Mapping[str, str]) -> dict[str, str]:
    """The header fields that say who asks."""
    if token := credential.get("bearer-token"):
        return {"authorization": f"Bearer {token}"}
    if cookie := credential.get("cookie"):
        return {"cookie": cookie}
    return {}


def _start_of(body: bytes | IO[bytes] | None) -> int | None:
    """Where a body that is a file begins; None if it cannot be wound back."""
    if body is None or isinstance(body, bytes):
        return 0
    try:
        return body.tell()
    except (OSError, AttributeError):
        return None


def _rewind(body: bytes | IO[bytes] | None, start: int | None) -> bool:
    """Make a body ready to be sent again; whether that was possible."""
    if start is None:
        return False
    if body is not None and not isinstance(body, bytes):
        body.seek(start)
    return True


def stored_credential(base_url: str) -> dict[str, str] | None:
    """What the user's log-in with a Deriva host left on this machine, or None.

    Args:
        base_url: The host; for a service on this machine, or one without TLS, nothing is looked up.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "https" or parts.hostname in {None, "localhost", "127.0.0.1", "::1"}:
        return None
    from deriva.core import get_credential

    return dict(get_credential(parts.netloc) or {}) or None
