"""What is sent again and what is not; who identifies how; what is let go of."""

from __future__ import annotations

import http.server
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deriva_ml.catalog.transport import Http, InProcess, Retry, stored_credential, tuned
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire.http import Request, Response


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses of a list, then 200; remembers what came."""

    protocol_version = "HTTP/1.1"
    statuses: list[int]
    seen: list[tuple[str, str, bytes, dict[str, str]]]

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, body, headers))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815  # the names that http.server calls

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def scripted(*statuses: int) -> Iterator[tuple[str, list[tuple[str, str, bytes, dict[str, str]]]]]:
    handler = type("Handler", (Scripted,), {"statuses": list(statuses), "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def http_to(url: str, waits: list[float] | None = None, **more: object) -> Iterator[Http]:
    sleep = (waits if waits is not None else []).append
    transport = Http(url, retry=Retry(attempts=3, sleep=sleep, jitter=lambda: 1.0), **more)  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        transport.close()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_a_fault_that_may_pass_is_tried_again(status: int, method: str) -> None:
    waits: list[float] = []
    with scripted(status, status) as (url, seen), http_to(url, waits) as transport:
        assert transport.send(Request(method, "/x")).status == 200
        assert len(seen) == 3
        assert waits == [0.5, 1.0]


@pytest.mark.parametrize(("method", "status"), [("POST", 503), ("GET", 404), ("PUT", 409), ("GET", 501)])
def test_what_another_attempt_would_not_mend_is_sent_once(method: str, status: int) -> None:
    with scripted(status) as (url, seen), http_to(url) as transport:
        answer = transport.send(Request(method, "/x", {}, b"body" if method != "GET" else None))
        assert (answer.status, answer.read()) == (status, b"ok")
        assert len(seen) == 1


def test_the_last_answer_is_given_when_patience_ends() -> None:
    with scripted(503, 503, 503, 503) as (url, seen), http_to(url) as transport:
        assert transport.send(Request("GET", "/x")).status == 503
        assert len(seen) == 3


def test_a_lost_connection_is_tried_again_with_the_whole_body() -> None:
    with scripted(0) as (url, seen), http_to(url) as transport:
        body = io.BytesIO(b"skipped|the content")
        body.seek(8)
        assert transport.send(Request("PUT", "/x", {}, body)).status == 200
        assert [content for _, _, content, _ in seen] == [b"the content"] * 2


def test_a_post_that_may_have_arrived_is_not_sent_again() -> None:
    with scripted(0) as (url, seen), http_to(url) as transport:
        with pytest.raises(DerivaMLUnreachable):
            transport.send(Request("POST", "/x", {}, b"once"))
        assert len(seen) == 1


def test_a_service_that_is_not_there_is_said_after_some_attempts() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    waits: list[float] = []
    said = pytest.raises(DerivaMLUnreachable, match=r"(?s)No answer from http://127.*do: .*check")
    with http_to(url, waits) as transport, said:
        transport.send(Request("POST", "/x", {}, b"never sent"))
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("credential", "header", "value"),
    [
        ({"bearer-token": "t"}, "authorization", "Bearer t"),
        ({"cookie": "webauthn=c"}, "cookie", "webauthn=c"),
        (None, "authorization", None),
    ],
)
def test_credentials(credential: dict[str, str] | None, header: str, value: str | None) -> None:
    with scripted() as (url, seen), http_to(url, credential=credential) as transport:
        transport.send(Request("GET", "/x", {"accept": "a/b"}))
        assert seen[0][3].get(header) == value
        assert seen[0][3]["accept"] == "a/b"


def test_targets_go_out_byte_for_byte() -> None:
    target = "/a%2Fb/%41/c:=(x)=(S:T:y)/d=%C3%BC;!(e::null::)@sort(f::desc::)?limit=1"
    with scripted() as (url, seen), http_to(url) as transport:
        transport.send(Request("GET", target))
        assert seen[0][1] == target


@pytest.mark.parametrize("url", ["http://www.example.org", "https://localhost:8443", "https://127.0.0.1"])
def test_no_stored_credential_is_looked_up_for_a_folder_that_is_served(url: str) -> None:
    assert stored_credential(url) is None


def test_delays_double_and_are_bounded() -> None:
    waits: list[float] = []
    retry = Retry(attempts=9, delay=1.0, sleep=waits.append, jitter=lambda: 1.0)
    assert [retry.again(attempt) for attempt in range(1, 10)] == [True] * 8 + [False]
    assert waits == [1, 2, 4, 8, 16, 16, 16, 16]


def test_an_in_process_service_is_closed_once() -> None:
    closed: list[int] = []
    transport = InProcess(lambda request: Response(200, {}, request.target.encode()), lambda: closed.append(1))
    assert transport.send(Request("GET", "/x")).read() == b"/x"
    assert transport.local_path("/hatrac/x") is None
    transport.close()
    transport.close()
    assert closed == [1]


def test_the_same_connections_with_another_patience() -> None:
    with scripted(503, 503, 503, 503) as (url, seen):
        http_ = Http(url, retry=Retry(attempts=1))
        slept: list[float] = []
        patient = tuned(http_, retry=Retry(4, 8.0, sleep=slept.append, jitter=lambda: 1.0), body_limit=7)
        assert patient.body_limit == 7
        assert patient.send(Request("PUT", "/x", {}, b"a")).status == 503
        assert len(seen) == 4
        assert slept == [8.0, 16.0, 16.0]
        assert http_.send(Request("PUT", "/x", {}, b"a")).status == 200
        assert http_.body_limit != 7
        http_.close()
    inside = InProcess(lambda request: Response(200))
    assert tuned(inside, retry=Retry(9), timeout=(1, 1), body_limit=1) is inside


def test_what_the_connection_repeated_in_vain_is_told_apart() -> None:
    with scripted(0, 0, 0) as (url, _seen):
        http_ = Http(url, retry=Retry(2, sleep=lambda _seconds: None))
        for method, repeated in (("PUT", True), ("POST", False)):
            with pytest.raises(DerivaMLUnreachable) as caught:
                http_.send(Request(method, "/x", {}, b"a"))
            assert caught.value.was_repeated is repeated
        http_.close()
