"""The service over real sockets: tokens, raw targets, streams, clients that leave."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from deriva_ml.catalog.transport import Http, Retry
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLUnreachable
from deriva_ml.server.http import REQUEST_LINE, Application, check_certificate, check_reach, listen
from deriva_ml.server.patience import Patience
from deriva_ml.server.sessions import Gate
from deriva_ml.wire.http import Client, Request, Response

ANN, BOB = Client("ann"), Client("bob")
Service = Callable[[Request, Client], Response]


def at_once() -> Retry:
    return Retry(attempts=3, sleep=lambda _seconds: None)


@contextmanager
def served(service: Service, patience: Patience | None = None) -> Iterator[str]:
    """Serve in a thread; give the base URL."""
    listener = listen("127.0.0.1", 0)
    application = Application(Gate(service, {"token-a": ANN, "token-b": BOB}), threads=8, patience=patience)
    config = uvicorn.Config(
        application,
        loop="asyncio",
        http="h11",
        lifespan="off",
        log_level="critical",
        h11_max_incomplete_event_size=REQUEST_LINE,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def echo(request: Request, client: Client) -> Response:
    """Say what arrived."""
    body = request.body if request.body is None or isinstance(request.body, bytes) else request.body.read()
    text = f"{client.id} {request.method} {request.target} {len(body or b'')}"
    return Response(200, {"content-type": "text/plain", "etag": '"x"'}, text.encode())


@contextmanager
def client_of(url: str, token: str | None = "token-a") -> Iterator[Http]:
    transport = Http(url, {"bearer-token": token} if token else None, retry=at_once(), timeout=(5, 10))
    try:
        yield transport
    finally:
        transport.close()


def test_the_token_says_who_asks() -> None:
    with served(echo) as url:
        for token, who in (("token-a", "ann"), ("token-b", "bob")):
            with client_of(url, token) as transport:
                assert transport.send(Request("GET", "/x")).read() == f"{who} GET /x 0".encode()


@pytest.mark.parametrize("token", [None, "", "token", "token-a "[:-2], "ü"])
def test_without_a_known_token_nothing_is_answered(token: str | None) -> None:
    asked: list[str] = []

    def remember(request: Request, client: Client) -> Response:
        asked.append(request.target)
        return echo(request, client)

    with served(remember) as url, client_of(url, token) as transport:
        headers = {} if token != "ü" else {"authorization": "Bearer %C3%BC"}
        for method in ("GET", "PUT", "DELETE"):
            answer = transport.send(Request(method, "/ermrest/", headers if token == "ü" else {}))
            assert answer.status == 401
            assert answer.headers["content-type"] == "text/plain"
    assert asked == []


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb/c%3Ad?x=%2F,%20y",
        "/entity/A:=S:A/x=any(r,g%2F%20%2B);!(y::null::)@sort(x::desc::)?limit=3",
        "/hatrac/%41/../%2E%2E//;acl",
        "/a?",
        "/long/" + "x" * 200_000,
    ],
)
def test_the_target_arrives_byte_for_byte(target: str) -> None:
    with served(echo) as url, client_of(url) as transport:
        arrived = transport.send(Request("GET", target)).read().decode().split(" ")[2]
    # An empty query is the one thing that ASGI cannot tell from none.
    assert arrived == target.removesuffix("?")


@pytest.mark.parametrize("size", [0, 1, 100_000, (1 << 20) + 1, 9 << 20])
def test_bodies_arrive_whole(size: int) -> None:
    content = os.urandom(size)

    def digest(request: Request, client: Client) -> Response:
        body = request.body
        hashed = hashlib.sha256()
        if body is None or isinstance(body, bytes):
            hashed.update(body or b"")
        else:
            while part := body.read(1 << 20):
                hashed.update(part)
        return Response(200, {}, hashed.hexdigest().encode())

    with served(digest) as url, client_of(url) as transport:
        for body in (content, io.BytesIO(content)) if size else (content,):
            answer = transport.send(Request("PUT", "/x", {"content-type": "a/b"}, body))
            assert answer.read().decode() == hashlib.sha256(content).hexdigest()


def test_answers_stream_and_heads_have_no_content() -> None:
    parts = [os.urandom(1000) for _ in range(3000)]

    def stream(request: Request, client: Client) -> Response:
        headers = {"content-length": str(sum(map(len, parts)))} if request.method == "HEAD" else {}
        return Response(200, headers, iter(parts) if request.method == "GET" else b"")

    with served(stream) as url, client_of(url) as transport:
        assert transport.send(Request("GET", "/x")).read() == b"".join(parts)
        head = transport.send(Request("HEAD", "/x"))
        assert (head.read(), head.headers["content-length"]) == (b"", "3000000")


def test_statuses_without_content() -> None:
    def nothing(request: Request, client: Client) -> Response:
        return Response(int(request.target[1:]), {"etag": '"t"'})

    with served(nothing) as url, client_of(url) as transport:
        for status in (204, 304):
            answer = transport.send(Request("GET", f"/{status}"))
            assert (answer.status, answer.read(), answer.headers["etag"]) == (status, b"", '"t"')


def test_many_requests_at_once() -> None:
    with served(echo) as url, client_of(url) as transport:
        answers: list[bytes] = []

        def ask(number: int) -> None:
            answers.extend(transport.send(Request("GET", f"/{number}/{step}")).read() for step in range(20))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == sorted(f"ann GET /{n}/{s} 0".encode() for n in range(10) for s in range(20))


def test_a_client_that_leaves_in_the_middle_ends_its_request_only() -> None:
    ended = threading.Event()

    def wait_for_all(request: Request, client: Client) -> Response:
        body = request.body
        if body is None or isinstance(body, bytes):
            return echo(request, client)
        try:
            body.read()
        except ConnectionError:
            ended.set()
            raise
        return Response(200)

    with served(wait_for_all) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                b"PUT /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 9000000\r\n\r\nabc"
            )
        assert ended.wait(10)
        with client_of(url) as transport:
            assert transport.send(Request("GET", "/y")).status == 200


def test_a_service_that_fails_in_the_middle_of_an_answer_is_seen_to_fail() -> None:
    def fail(request: Request, client: Client) -> Response:
        def parts() -> Iterator[bytes]:
            yield b"x" * 500_000
            raise ConnectionError("the disk is gone")

        return Response(200, {}, parts())

    with served(fail) as url, client_of(url) as transport:
        answer = transport.send(Request("GET", "/x"))
        with pytest.raises(DerivaMLUnreachable):
            answer.read()


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


HEAD = b"PUT /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 9000000\r\n\r\n"


def test_many_slow_senders_keep_nobody_waiting() -> None:
    with served(echo) as url:
        slow = [connected(url) for _ in range(30)]
        for one in slow:
            one.sendall(HEAD + b"a")
        with client_of(url) as transport:
            for number in range(20):
                assert transport.send(Request("GET", f"/{number}")).status == 200
        for one in slow:
            one.close()


def test_many_slow_receivers_keep_nobody_waiting() -> None:
    def much(request: Request, client: Client) -> Response:
        if request.method == "GET":
            return echo(request, client)
        return Response(200, {}, (b"x" * 1_000_000 for _ in range(100)))

    with served(much) as url:
        slow = [connected(url) for _ in range(30)]
        for one in slow:
            one.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 0\r\n\r\n")
            assert one.recv(10)  # its answer has begun, and it takes no more of it
        with client_of(url) as transport:
            for number in range(20):
                assert transport.send(Request("GET", f"/{number}")).status == 200
        for one in slow:
            one.close()


@pytest.mark.parametrize("length", [100, 9_000_000])
def test_a_client_that_stalls_is_told_and_let_go(length: int) -> None:
    with served(echo, Patience(0.2)) as url, connected(url) as raw:
        raw.sendall(HEAD.replace(b"9000000", str(length).encode()) + b"abc")
        answer = b""
        while part := raw.recv(1000):
            answer += part
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b"The request did not arrive in time.\n")


def test_a_service_that_fails_says_so_and_keeps_serving(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request, client: Client) -> Response:
        if request.target == "/fail":
            raise LookupError("a defect")
        return echo(request, client)

    with served(fail) as url, connected(url) as raw:
        raw.sendall(b"POST /fail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 0\r\n\r\n")
        answer = b""
        while part := raw.recv(1000):
            answer += part
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"defect" not in answer
        with client_of(url) as transport:
            assert transport.send(Request("GET", "/y")).status == 200
    assert "a defect" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.org", ""])
def test_beyond_loopback_it_takes_tls_and_a_user(host: str) -> None:
    for is_secure, has_users, missing in ((False, False, "clear"), (False, True, "clear"), (True, False, "no users")):
        with pytest.raises(DerivaMLConfigurationError, match=missing):
            check_reach(host, is_secure=is_secure, has_users=has_users)
    check_reach(host, is_secure=True, has_users=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_takes_neither(host: str) -> None:
    check_reach(host, is_secure=False, has_users=False)


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("nothing of the kind")
    with pytest.raises(DerivaMLConfigurationError, match="Cannot read"):
        check_certificate(tmp_path / "none.pem", text)
    with pytest.raises(DerivaMLConfigurationError, match="TLS cannot be spoken"):
        check_certificate(text, text)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(DerivaMLConfigurationError, match="Cannot listen"):
        listen("127.0.0.1", first.getsockname()[1])
    for port in (-1, 1 << 20):
        with pytest.raises(DerivaMLConfigurationError, match="Cannot listen"):
            listen("127.0.0.1", port)
