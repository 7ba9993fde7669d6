"""Several requests to one catalog: in one where the service takes that, else each by itself, some at a time.

What a batch is, `deriva_ml.wire.batch` says. Those who only read need not know which way was taken; changes that are to
happen together need the service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from deriva_ml.catalog.batches import parts
from deriva_ml.catalog.exchange import check
from deriva_ml.catalog.transport import PASSING, Retry, Transport
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.core.values import dataclass
from deriva_ml.wire.batch import (
    FAILED,
    MEDIA,
    RESOURCE,
    BatchBroken,
    Member,
    read_answers,
    weigh,
    write_batch,
)
from deriva_ml.wire.http import Request, Response

__all__ = ["CONCURRENCY", "Several"]

T = TypeVar("T")

CONCURRENCY = 8
"""How many requests are sent at a time where each has to be sent by itself."""

_FRAME = 100
"""What the content of a batch takes beside its members, in bytes."""


@dataclass(frozen=True, slots=True)
class Several:
    """Sends several requests to a catalog.

    Attributes:
        transport: The way to the service.
        base: The catalog's own target.
        retry: When to repeat what only reads.
    """

    transport: Transport
    base: str
    retry: Retry

    def read(self, members: Sequence[Member], take: Callable[[int, Response], T]) -> list[T]:
        """Read several things; of one moment, where the service takes several requests in one.

        Args:
            members: What to read.
            take: Makes something of an answer while it arrives; it is given the member's place. After a connection
                was lost it may be given the answer once more.

        Returns:
            What ``take`` made of each, in order.

        Raises:
            DerivaMLCatalogError: One of them was refused.
            DerivaMLUnreachable: There was no answer, or none to the end.
        """
        limits = self.transport.batch
        if limits is None or len(members) == 1:
            return self._apart(members, take)
        numbered = list(enumerate(members))
        return [
            each
            for part in parts(numbered, lambda one: weigh(one[1]), limits.bytes - _FRAME, limits.requests)
            for each in self._patiently(lambda part=part: self._together(part, take))  # type: ignore[misc]
        ]

    def _patiently(self, work: Callable[[], T]) -> T:
        attempt = 1
        while True:
            try:
                return work()
            except DerivaMLUnreachable:
                if not self.retry.again(attempt):
                    raise
                attempt += 1

    def _together(self, numbered: Sequence[tuple[int, Member]], take: Callable[[int, Response], T]) -> list[T]:
        members = [member for _place, member in numbered]
        with closing(self._post(members, commit=False)) as answer:
            answers = self._answers(answer, members)
            found = []
            for (place, member), each in zip(numbered, answers, strict=True):
                check(self._request(member), each)
                found.append(take(place, each))
            return found

    def _apart(self, members: Sequence[Member], take: Callable[[int, Response], T]) -> list[T]:
        def one(place: int) -> T:
            request = self._request(members[place])

            def work() -> T:
                with closing(check(request, self.transport.send(request))) as answer:
                    return take(place, answer)

            return self._patiently(work)

        if len(members) < 2:
            return [one(place) for place in range(len(members))]
        with ThreadPoolExecutor(min(CONCURRENCY, len(members)), "deriva-ml-reading") as pool:
            return list(pool.map(one, range(len(members))))

    def change(self, members: Sequence[Member], *, commit: bool = True) -> list[Response]:
        """Change several things, all or nothing, at one moment; the service must take several requests in one.

        Args:
            members: The changes, and what is read among them.
            commit: Whether they shall last; else they are undone again when they have been answered.

        Returns:
            The answer to each.

        Raises:
            DerivaMLCatalogError: One of them was refused, and nothing was changed; the error names its target.
            DerivaMLUnreachable: There was no answer. Then all of it may have happened, or nothing.
        """
        with closing(self._post(members, commit=commit)) as answer:
            found = []
            for each in self._answers(answer, members):
                each.read()
                found.append(each)
            return found

    def has_room(self, count: int, weight: int, *, share: float = 1.0) -> bool:
        """Whether the service takes so many members, of so many bytes together, in one request; or in a part of one."""
        limits = self.transport.batch
        return limits is not None and count <= limits.requests * share and weight <= (limits.bytes - _FRAME) * share

    def _post(self, members: Sequence[Member], *, commit: bool) -> Response:
        fields = {"accept": MEDIA, "content-type": "application/json"}
        request = Request("POST", self.base + RESOURCE, fields, write_batch(members, commit=commit))
        answer = self.transport.send(request)
        if answer.status in PASSING and not any(member.changes for member in members):
            raise DerivaMLUnreachable(
                f"The service could not answer ({answer.status}): {answer.read().decode(errors='replace').strip()}",
                source=f"POST {request.target[:200]}",
                hint="try again",
            )
        place = answer.headers.get(FAILED, "")
        return check(self._request(members[int(place)]) if place.isdigit() else request, answer)

    def _answers(self, answer: Response, members: Sequence[Member]) -> Iterator[Response]:
        try:
            yield from read_answers(answer.parts(), members)
        except BatchBroken as error:
            raise DerivaMLUnreachable(
                "The connection was lost in the middle of an answer.",
                source=f"POST {(self.base + RESOURCE)[:200]}",
                hint="try again",
            ) from error

    def _request(self, member: Member) -> Request:
        headers = {"accept": member.accept or "application/json"}
        body = None
        if member.body is not None:
            body, headers["content-type"] = member.body.encode(), member.content_type
        return Request(member.method, self.base + member.target, headers, body)
