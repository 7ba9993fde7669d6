"""Transports that count, fail or dawdle: each wraps a real one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from deriva_ml.catalog.transport import Transport
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire.batch import Limits
from deriva_ml.wire.http import Request, Response


class Counting:
    """Passes everything on and remembers what was asked.

    Args:
        inner: What carries the requests.
        body_limit: The longest body to send; by default what the inner one says.
        batches: Whether several requests may go in one, if the service takes them.

    Attributes:
        requests: Method and target of each request, in order.
    """

    def __init__(self, inner: Transport, *, body_limit: int | None = None, batches: bool = True) -> None:
        self.inner = inner
        self._batches = batches
        self.requests: list[tuple[str, str]] = []
        self._body_limit = body_limit

    @property
    def body_limit(self) -> int | None:
        return self.inner.body_limit if self._body_limit is None else self._body_limit

    @property
    def bulk(self) -> None:
        """Nothing goes past the requests."""

    @property
    def batch(self) -> Limits | None:
        return self.inner.batch if self._batches else None

    @property
    def count(self) -> int:
        """How many requests there were."""
        return len(self.requests)

    @property
    def methods(self) -> Counter[str]:
        """How many there were of each method."""
        return Counter(method for method, _ in self.requests)

    def reset(self) -> None:
        """Forget what was asked."""
        self.requests.clear()

    def send(self, request: Request) -> Response:
        self.requests.append((request.method, request.target))
        return self.inner.send(request)

    def local_path(self, target: str) -> Path | None:
        return self.inner.local_path(target)

    def close(self) -> None:
        self.inner.close()


class Failing(Counting):
    """Loses requests before they arrive, or answers on their way back.

    Args:
        inner: What carries the requests that are not lost.
        lose: Whether to lose a request; given it and how many there were before.
        break_after: After how many bytes to break off the content of an answer, None to let it pass; given like
            ``lose``.
    """

    def __init__(
        self,
        inner: Transport,
        *,
        lose: Callable[[Request, int], bool] = lambda _request, _number: False,
        break_after: Callable[[Request, int], int | None] = lambda _request, _number: None,
        body_limit: int | None = None,
        batches: bool = True,
    ) -> None:
        super().__init__(inner, body_limit=body_limit, batches=batches)
        self._lose = lose
        self._break_after = break_after

    def send(self, request: Request) -> Response:
        number = self.count
        self.requests.append((request.method, request.target))
        if self._lose(request, number):
            raise DerivaMLUnreachable("the connection was lost")
        answer = self.inner.send(request)
        limit = self._break_after(request, number)
        if limit is not None:
            answer.body = _broken(answer.read(), limit)
        return answer

    def local_path(self, target: str) -> Path | None:
        del target


def _broken(content: bytes, limit: int) -> Iterator[bytes]:
    for at in range(0, limit, 1000):
        yield content[at : min(at + 1000, limit)]
    raise DerivaMLUnreachable(f"the connection was lost after {limit} bytes")


class Slow(Counting):
    """Waits before each request.

    Args:
        inner: What carries the requests.
        seconds: How long to wait.
        sleep: What waits.
    """

    def __init__(self, inner: Transport, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self._sleep = sleep

    def send(self, request: Request) -> Response:
        self._sleep(self._seconds)
        return super().send(request)
