"""The connections of the HTTP transport: made within a short time, given long to answer, and heard of when they do not.

``requests`` has one time limit for making a connection and for sending over it. The two are apart here: whether a host
is there shows within seconds, and a slow line may take minutes for what it carries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from requests.adapters import HTTPAdapter

__all__ = ["CONNECT", "QUIET", "adapter", "reason_of"]

CONNECT = 6.0
"""Seconds to make a connection."""

QUIET = 20.0
"""After so many seconds without an answer that is said."""


def adapter(size: int, slow: Callable[[float, float], None], *, quiet: float = QUIET) -> HTTPAdapter:
    """What ``requests`` gets connections from.

    Args:
        size: How many connections to one host are kept.
        slow: Is told of an answer that takes long: for how many seconds it was waited for, and what the limit is.
        quiet: After how many seconds.
    """
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn)

        def getresponse(self) -> Any:
            _watch(self, slow, quiet)
            return super().getresponse()

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _connected(self, super()._new_conn)

        def getresponse(self) -> Any:
            _watch(self, slow, quiet)
            return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
            super().init_poolmanager(*arguments, **more)
            self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    return Adapter(pool_connections=2, pool_maxsize=size)


def _connected(connection: Any, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket that was connected within a short time, and sends with the limit that the connection has."""
    limit = connection.timeout
    if isinstance(limit, int | float):
        connection.timeout = min(limit, CONNECT)
    try:
        made = make()
    finally:
        connection.timeout = limit
    made.settimeout(limit if isinstance(limit, int | float) else None)
    return made


def _watch(connection: Any, slow: Callable[[float, float], None], quiet: float) -> None:
    """Wait a while for an answer to begin; if it does not, say that it is waited for."""
    from urllib3.util.wait import wait_for_read

    limit = connection.timeout
    if connection.sock is None or not isinstance(limit, int | float) or limit <= quiet:
        return
    pending = getattr(connection.sock, "pending", None)  # of TLS: what has arrived and been decrypted
    if not (pending and pending()) and not wait_for_read(connection.sock, quiet):
        slow(quiet, limit)


def reason_of(error: BaseException) -> str:
    """Why there was no answer, in a few words: without the layers of libraries that it came through."""
    import requests

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT:.0f} s"
    if isinstance(error, requests.exceptions.Timeout):
        return "it stopped answering"
    inner: BaseException = error
    while True:
        below = getattr(inner, "reason", None) or next(
            (arg for arg in reversed(inner.args) if isinstance(arg, BaseException)), None
        )
        if not isinstance(below, BaseException):
            break
        inner = below
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    text = str(inner)
    for sign in ("Failed to establish a new connection: ", "Failed to resolve "):
        if sign in text:
            text = text.partition(sign)[2] if sign.endswith(": ") else f"it is not known: {text.partition(sign)[2]}"
    return text.partition("] ")[2] if text.startswith("[Errno") else text or type(inner).__name__
