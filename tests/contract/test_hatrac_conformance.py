"""The recorded answers of a real object store, replayed in process and over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from tests.contract.replayer import Answer, replay

from deriva_ml.catalog.transport import Http
from deriva_ml.server.hatrac import Hatrac
from deriva_ml.server.http import Application, listen
from deriva_ml.server.sessions import Gate
from deriva_ml.wire.http import Client, Request

RECORDING = Path(__file__).parent / "recordings" / "hatrac.jsonl"

CLIENTS = {
    "admin": Client("admin", roles=frozenset({"admin"})),
    "user2": Client("user2", roles=frozenset({"user2"})),
    "user3": Client("user3", roles=frozenset({"user3", "members"})),
    "anon": Client(None),
}

ON_PURPOSE = {
    "h0064": "a wrong Content-SHA256 is refused; the original does not check it",
    "h0087": "GET with an If-Match that fails is answered 412; the original answers 304",
    "h0238": "JSON that cannot be read is answered 400; the original answers 500",
}
"""Interactions that differ from the original by design, each for a reason that the specification gives."""

ANONYMOUS = {"h0134", "h0151", "h0166", "h0253"}
"""What clients without a token ask; a served folder answers them nothing at all."""

Send = Callable[[str, str, dict[str, str], "bytes | None", str], Answer]


@contextmanager
def in_process(store: Hatrac) -> Iterator[Send]:
    def send(method: str, target: str, headers: dict[str, str], body: bytes | None, who: str) -> Answer:
        fields = {name.lower(): value for name, value in headers.items()}
        answer = store(Request(method, target, fields, body), CLIENTS[who])
        return Answer(answer.status, answer.headers, answer.read())

    yield send


@contextmanager
def over_http(store: Hatrac) -> Iterator[Send]:
    listener = listen("127.0.0.1", 0)
    tokens = {name: client for name, client in CLIENTS.items() if client.id}
    config = uvicorn.Config(
        Application(Gate(store, tokens)), loop="asyncio", http="h11", lifespan="off", log_level="critical"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    transports = {name: Http(url, {"bearer-token": name} if CLIENTS[name].id else None) for name in CLIENTS}

    def send(method: str, target: str, headers: dict[str, str], body: bytes | None, who: str) -> Answer:
        fields = {name.lower(): value for name, value in headers.items()}
        answer = transports[who].send(Request(method, target, fields, body))
        return Answer(answer.status, answer.headers, answer.read())

    try:
        yield send
    finally:
        for transport in transports.values():
            transport.close()
        server.should_exit = True
        thread.join(10)
        listener.close()


@pytest.mark.parametrize(("way", "excepted"), [(in_process, set()), (over_http, ANONYMOUS)])
def test_the_store_answers_as_the_original_does(tmp_path: Path, way: object, excepted: set[str]) -> None:
    store = Hatrac(tmp_path)
    lines = RECORDING.read_text().splitlines()
    with way(store) as send:  # type: ignore[operator]
        different = {interaction["id"]: problems for interaction, problems in replay(lines, send) if problems}
    store.close()
    assert set(different) == set(ON_PURPOSE) | excepted, json.dumps(different, indent=1)


def test_a_recording_is_there() -> None:
    assert len(RECORDING.read_text().splitlines()) == 173
