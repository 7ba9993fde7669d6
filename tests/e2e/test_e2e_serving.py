"""A folder served by the installed command, among slow, broken, many and impatient clients, and as it is stopped."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from tests.e2e.laboratory import certificate
from tests.serving import Served, served

from deriva_ml.catalog.transport import Http
from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.wire.http import Request, Response

JSON = {"content-type": "application/json"}


def http(server: Served) -> Http:
    return Http(server.url, {"bearer-token": server.token})


def raw(server: Served) -> socket.socket:
    host, port = server.host.split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def head(server: Served, method: str, target: str, length: int) -> bytes:
    return (
        f"{method} {target} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def rest(connection: socket.socket) -> bytes:
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def ask(service: Service, method: str, target: str, body: object = None) -> Response:
    content = None if body is None else json.dumps(body).encode()
    return service(Request(method, target, JSON, content), local_client())


TABLE = {
    "schema_name": "S",
    "tables": {
        "T": {
            "table_name": "T",
            "column_definitions": [
                *(
                    {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
                    for name in ("RID", "RCT", "RMT", "RCB", "RMB")
                ),
                {"name": "who", "type": {"typename": "text"}},
                {"name": "n", "type": {"typename": "int4"}},
            ],
            "keys": [{"unique_columns": ["RID"]}, {"unique_columns": ["who", "n"]}],
            "foreign_keys": [],
        }
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_folder(tmp_path / "folder")
    service = open_service(tmp_path / "folder")
    assert ask(service, "POST", "/ermrest/catalog", {"id": "1"}).status == 201
    assert ask(service, "POST", "/ermrest/catalog/1/schema", [TABLE]).status == 201
    service.close()
    return tmp_path / "folder"


@pytest.mark.parametrize("length", [64 << 10, 512 << 10, 1000 << 10])
def test_long_request_lines_are_read(folder: Path, length: int) -> None:
    values = ",".join(str(number % 10_000) for number in range(length // 5))
    with served(folder) as server:
        answer = http(server).send(Request("GET", f"/ermrest/catalog/1/entity/S:T/n=any({values})"))
        assert (answer.status, answer.read()) == (200, b"[]\n")
        name = "/hatrac/" + "x" * length
        assert http(server).send(Request("GET", name)).status == 400


def test_a_request_line_that_is_too_long_is_refused_in_words(folder: Path) -> None:
    with served(folder) as server, raw(server) as connection:
        # Much more than is read before the refusal: bytes left unread would reset the connection, and hide the answer.
        connection.sendall(b"GET /ermrest/" + b"x" * (8 << 20))
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"longer than 1048576 bytes" in answer
        assert http(server).send(Request("GET", "/ermrest/")).status == 200


def test_a_request_line_that_is_too_long_is_refused_in_words_over_tls(folder: Path, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(cert))
    with served(folder, "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        # There one side of a connection cannot be closed alone: the length of the answer tells where it ends.
        with trust.wrap_socket(raw(server), server_hostname="localhost") as connection:
            connection.sendall(b"GET /ermrest/" + b"x" * (8 << 20))
            answer = b""
            while b"1048576 bytes.\n" not in answer and (part := connection.recv(65536)):
                answer += part
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"longer than 1048576 bytes" in answer


def test_a_client_that_breaks_off_in_the_middle_of_a_large_object_leaves_nothing(folder: Path) -> None:
    with served(folder) as server:
        with raw(server) as connection:
            connection.sendall(head(server, "PUT", "/hatrac/large", 100 << 20))
            for _ in range(50):
                connection.sendall(b"x" * (1 << 20))
        small = http(server).send(Request("PUT", "/hatrac/small", {}, b"small"))
        assert small.status == 201
    # The server has ended, and with it every request.
    held = [path for path in (folder / "objects").rglob("*") if path.is_file()]
    assert [path.name for path in held] == [hashlib.sha256(b"small").hexdigest()]
    service = open_service(folder)
    assert ask(service, "GET", "/hatrac/large").status == 404
    service.close()


def test_many_connections_on_two_servers_and_in_process_lose_nothing(folder: Path) -> None:
    """200 connections to two servers of one folder, while the folder is also used in process."""
    each = 40

    def through(server: Served, who: str) -> list[int]:
        transport = http(server)
        statuses = []
        for number in range(2):
            rows = json.dumps([{"who": who, "n": number}]).encode()
            statuses.append(transport.send(Request("POST", "/ermrest/catalog/1/entity/S:T", JSON, rows)).status)
        statuses.append(transport.send(Request("PUT", f"/hatrac/{who}", {}, who.encode())).status)
        transport.close()
        return statuses

    def inside(who: str) -> list[int]:
        service = open_service(folder)
        statuses = [
            ask(service, "POST", "/ermrest/catalog/1/entity/S:T", [{"who": who, "n": n}]).status for n in range(each)
        ]
        service.close()
        return statuses

    with served(folder) as first, served(folder) as second:
        idle = [raw(server) for server in (first, second) for _ in range(60)]
        with ThreadPoolExecutor(84) as pool:
            waiting = [pool.submit(through, first, f"a{number}") for number in range(each)]
            waiting += [pool.submit(through, second, f"b{number}") for number in range(each)]
            own = [pool.submit(inside, f"c{number}") for number in range(2)]
            assert [one.result(120) for one in waiting] == [[200, 200, 201]] * (2 * each)
            assert [one.result(120) for one in own] == [[200] * each] * 2
        for connection in idle:
            connection.close()
    service = open_service(folder)
    rows = json.loads(ask(service, "GET", "/ermrest/catalog/1/entity/S:T").read())
    assert len({(row["who"], row["n"]) for row in rows}) == len(rows) == 2 * 2 * each + 2 * each
    names = json.loads(ask(service, "GET", "/hatrac/").read())
    assert len(names) == 2 * each
    assert ask(service, "GET", "/hatrac/b7").read() == b"b7"
    service.close()


def test_a_server_that_is_told_twice_ends_at_once_and_quietly(folder: Path) -> None:
    with served(folder) as server:
        stalled = [raw(server) for _ in range(5)]
        for place, connection in enumerate(stalled):
            connection.sendall(head(server, "PUT", f"/hatrac/{place}", 9_000_000) + b"abc")
        waiting = raw(server)
        waiting.sendall(head(server, "PUT", "/hatrac/none/none", 0))
        assert waiting.recv(10)  # the others have been received before it
        server.process.send_signal(signal.SIGINT)
        # The listening socket is closed first of all.
        while True:
            try:
                raw(server).close()
            except OSError:
                break
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
        for connection in (waiting, *stalled):
            connection.close()


@pytest.mark.slow
def test_who_sends_much_in_vain_is_told_why(tmp_path: Path) -> None:
    """Also over TLS, where a connection that is closed on its sender loses the answer."""
    create_folder(tmp_path / "folder")
    cert, key = certificate(tmp_path)
    content = b"x" * (30 << 20)
    with served(tmp_path / "folder", "--tls-cert", str(cert), "--tls-key", str(key)) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        for token, name, status in ((None, "o", 401), ("wrong", "o", 401), (server.token, "no/parent/o", 404)):
            headers = {"authorization": f"Bearer {token}"} if token else {}
            answer = requests.put(f"{url}/hatrac/{name}", content, headers=headers, verify=str(cert), timeout=60)
            assert answer.status_code == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_finishes_what_goes_on_and_waits_for_nobody_who_stalls(
    folder: Path, number: signal.Signals
) -> None:
    content = os.urandom(40 << 20)
    done: list[bytes] = []
    with served(folder) as server, raw(server) as busy, raw(server) as stalled, raw(server) as reader:
        assert http(server).send(Request("PUT", "/hatrac/there", {}, content)).status == 201
        stalled.sendall(head(server, "PUT", "/hatrac/stalled", 9_000_000) + b"abc")
        reader.sendall(head(server, "GET", "/hatrac/there", 0))
        assert reader.recv(10)  # and no more of it
        busy.sendall(head(server, "PUT", "/hatrac/busy", len(content)) + content[: 10 << 20])
        server.process.send_signal(number)
        sender = threading.Thread(target=lambda: (busy.sendall(content[10 << 20 :]), done.append(rest(busy))))
        sender.start()
        sender.join(60)
        assert done[0].startswith(b"HTTP/1.1 201 ")
        assert rest(stalled).startswith(b"HTTP/1.1 408 ")
        # That it ends quietly, without a traceback, `served` holds.
    service = open_service(folder)
    assert ask(service, "GET", "/hatrac/busy").read() == content
    assert ask(service, "GET", "/hatrac/stalled").status == 404
    service.close()
