"""A project in a catalog whose objects seem to be on another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.fakes import Failing

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.transport import Retry
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request


def is_object(request: Request) -> bool:
    """Whether a request is for an object's content."""
    return request.method == "GET" and request.target.startswith("/hatrac/")


def distant(
    session: Session,
    cache: Path,
    *,
    attempts: int = 5,
    lose: Callable[[Request, int], bool] = lambda _request, _number: False,
    break_after: Callable[[Request, int], int | None] = lambda _request, _number: None,
) -> tuple[Session, Failing]:
    """The session with a cache of its own, over a connection that fails as it is told; and the connection."""
    failing = Failing(session.catalog.transport, lose=lose, break_after=break_after)
    retry = Retry(attempts=attempts, sleep=lambda _seconds: None)
    client = CatalogClient(failing, session.catalog_id, retry=retry)
    return replace(session, catalog=client, objects=ObjectClient(failing, retry=retry), cache_dir=cache), failing
