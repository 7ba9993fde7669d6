"""What came back over HTTP: an answer, whose content is read as it arrives, or an error and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire.http import Request, Response

if TYPE_CHECKING:
    import requests

__all__ = ["PART", "answer_of", "never_sent"]

PART = 1 << 18
"""Bytes of an answer's content that are read at a time; what is not longer than this is read at once."""


def never_sent(error: Exception) -> bool:
    """Whether the connection was never made, so that the service cannot have acted on the request."""
    import requests
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def answer_of(request: Request, answer: requests.Response) -> Response:
    """An answer as the rooms above know it; what is long is read part by part."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if headers.pop("content-encoding", None):
        headers.pop("content-length", None)  # it counts the encoded bytes, which nobody above this line sees
    length = headers.get("content-length", "")
    small = length.isdigit() and int(length) <= PART
    if request.method == "HEAD" or answer.status_code >= 400 or small:
        return Response(answer.status_code, headers, answer.content)
    return Response(answer.status_code, headers, _Parts(answer, request))


class _Parts:
    """The content of an answer, read from its connection part by part."""

    def __init__(self, answer: requests.Response, request: Request) -> None:
        self._answer = answer
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        import requests

        try:
            yield from self._answer.iter_content(PART)
        except (requests.exceptions.RequestException, OSError) as error:
            raise DerivaMLUnreachable(
                f"The connection to {urlsplit(self._answer.url).netloc} was lost in the middle of an answer: {error}",
                source=f"{self._request.method} {self._request.target[:200]}",
                hint="try again",
            ) from error
        finally:
            self._answer.close()

    def close(self) -> None:
        """Give the connection back."""
        self._answer.close()
