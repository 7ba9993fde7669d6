"""A service that does not answer: waited for once, and said; over a real line that is slow, silent or cut."""

from __future__ import annotations

import http.server
import logging
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from tests.line import Line, line_to

from deriva_ml.catalog.http_connections import adapter
from deriva_ml.catalog.outage import Outage
from deriva_ml.catalog.transport import PROBE, Http, Retry, brief, tuned
from deriva_ml.core.exceptions import DerivaMLUnreachable
from deriva_ml.wire.http import Request


class _Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the length of what it was sent."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = length = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        content = str(length).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.headers["content-length"] = "0"
        self.do_PUT()

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def line() -> Iterator[Line]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    with line_to(server.server_address[1]) as made:
        yield made
    server.shutdown()
    server.server_close()


def quick(waits: list[float]) -> Retry:
    return Retry(4, 2.0, sleep=waits.append, jitter=lambda: 1.0)


def test_a_large_body_may_take_longer_than_the_limit_for_one_that_does_not_move(line: Line) -> None:
    line.rate = 16_000_000
    way = Http(line.url, retry=Retry(1), timeout=(0.5, 10.0))
    before = time.monotonic()
    assert way.send(Request("PUT", "/x", {}, bytes(24_000_000))).read() == b"24000000"
    assert time.monotonic() - before > 1
    way.close()


def test_who_waits_says_so_once_and_that_it_is_over(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "deriva_ml")
    waits: list[float] = []
    way = Http(line.url, retry=quick(waits))
    line.lose = lambda _content: True
    for _ in range(2):
        with pytest.raises(DerivaMLUnreachable, match="No answer from http://127"):
            way.send(Request("GET", "/x"))
    line.lose = lambda _content: False
    assert way.send(Request("GET", "/x")).status == 200
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "cannot be reached" in said[0]
    assert "for up to 14 s" in said[0]
    assert said[1] == f"{line.url} answers again."
    way.close()


def test_a_service_that_was_waited_for_in_vain_is_tried_once_until_it_answers(line: Line) -> None:
    way = Http(line.url)
    assert way.send(Request("GET", "/x")).status == 200
    waits: list[float] = []
    insists = tuned(way, retry=quick(waits))
    line.lose = lambda _content: True
    line.cut()
    with pytest.raises(DerivaMLUnreachable) as caught:
        insists.send(Request("GET", "/x"))
    assert (len(waits), caught.value.was_repeated) == (3, True)
    before = time.monotonic()
    for _ in range(5):
        with pytest.raises(DerivaMLUnreachable) as caught:
            way.send(Request("GET", "/x"))
        assert not caught.value.was_repeated
    assert time.monotonic() - before < 1
    with pytest.raises(DerivaMLUnreachable):
        insists.send(Request("GET", "/x"))  # who brings a patience of its own has it
    assert len(waits) == 6
    line.lose = lambda _content: False
    assert way.send(Request("GET", "/x")).status == 200
    way.close()


def test_a_silent_service_is_given_up_and_said_to_be(line: Line) -> None:
    line.is_silent = True
    way = Http(line.url, retry=Retry(2, 0.01), timeout=(5.0, 0.3))
    before = time.monotonic()
    with pytest.raises(DerivaMLUnreachable, match="it stopped answering"):
        way.send(Request("GET", "/x"))
    assert 0.5 < time.monotonic() - before < 3
    way.close()


def test_what_can_be_left_out_is_given_up_soon() -> None:
    way = brief(Http("http://127.0.0.1:9"))
    before = time.monotonic()
    with pytest.raises(DerivaMLUnreachable, match="Connection refused"):
        way.send(Request("GET", "/x"))
    assert time.monotonic() - before < 3
    assert PROBE <= 10


def test_an_answer_that_takes_long_is_waited_for_and_told(line: Line) -> None:
    told: list[tuple[float, float]] = []
    session = requests.Session()
    session.mount("http://", adapter(2, lambda *seconds: told.append(seconds), quiet=0.1))
    line.delay = 0.4
    assert session.get(f"{line.url}/x", timeout=(5.0, 5.0)).status_code == 200
    assert told == [(0.1, 5.0)]
    line.delay = 0.0
    assert session.get(f"{line.url}/x", timeout=(5.0, 5.0)).status_code == 200
    assert len(told) == 1
    session.close()


def test_what_is_told_of_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "deriva_ml")
    outage = Outage("http://x")
    outage.slow(20.0, 600.0)
    outage.slow(20.0, 600.0)
    outage.waiting("gone", 0.5)
    outage.answered()
    assert [record.getMessage() for record in caplog.records] == [
        "http://x has said nothing for 20 s; it is waited for up to 600 s ...",
        "http://x answers again.",
    ]
