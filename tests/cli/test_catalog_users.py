"""``deriva-ml-catalog user`` and ``group``, and a folder that is served to its users; in processes of their own."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from deriva.core import DerivaServer
from tests.serving import COMMAND, Served, served

from deriva_ml.server.app import Service, create_folder, local_client, open_service
from deriva_ml.wire.http import Request


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, input=stdin)


def said(*arguments: str, stdin: str = "") -> str:
    done = run(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: str, stdin: str = "") -> str:
    done = run(*arguments, stdin=stdin)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


class Folder:
    """A folder with a catalog of one table, used in process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        create_folder(root)
        self.service: Service = open_service(root)
        self("POST", "/ermrest/catalog", {"id": "1"})
        columns = [
            {"name": name, "type": {"typename": f"ermrest_{name.lower()}"}, "nullok": name in ("RCB", "RMB")}
            for name in ("RID", "RCT", "RMT", "RCB", "RMB")
        ]
        columns.append({"name": "a", "type": {"typename": "text"}})
        table = {"table_name": "T", "column_definitions": columns, "keys": [{"unique_columns": ["RID"]}]}
        self("POST", "/ermrest/catalog/1/schema", [{"schema_name": "S", "tables": {"T": table}}])
        self("POST", "/ermrest/catalog/1/entity/S:T", [{"a": "one"}])
        self("PUT", "/hatrac/ns", None, "application/x-hatrac-namespace")
        self("PUT", "/hatrac/ns/object", "content")
        for name, members in (("enumerate", ["*"]), ("select", ["readers"]), ("write", ["ann"])):
            self("PUT", f"/ermrest/catalog/1/acl/{name}", members)
        self("PUT", "/hatrac/ns;acl/subtree-read", ["readers"], "application/json")

    def __call__(self, method: str, target: str, body: Any = None, content_type: str = "application/json") -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self.service(Request(method, target, {"content-type": content_type}, content), local_client())
        got = answer.read()
        assert answer.status < 400, got
        return got

    def add(self, name: str, *more: str, stdin: str = "") -> str:
        """Make a user; give the token."""
        found = re.search(
            r"^Token: (\S+)$", said("user", "add", name, "--root", str(self.root), *more, stdin=stdin), re.MULTILINE
        )
        assert found
        return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "folder")
    yield made
    made.service.close()


def ask(
    server: Served, method: str, target: str, token: str | None = None, body: Any = None, **more: Any
) -> requests.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, server.url + target, headers=headers, json=body, timeout=20, **more)


ENTITY = "/ermrest/catalog/1/entity/S:T"


# ---------------------------------------------------------------------------------------------- the commands


def test_a_user_s_life(folder: Folder) -> None:
    root = ["--root", str(folder.root)]
    assert "No users" in said("user", "list", *root)
    text = said(
        "user", "add", "ann", "--group", "g", "--group", "h", "--full-name", "Ann O.", "--email", "a@x.org", *root
    )
    token = re.search(r"Token: (\S+)", text)
    assert token
    assert "not shown again" in text
    said("user", "add", "bob", "--password", *root, stdin="correct horse\n")
    lines = said("user", "list", *root).splitlines()
    assert lines[0].startswith("ann  groups: g, h; Ann O.; a@x.org; 1 token")
    assert lines[1].startswith("bob  1 token; password")
    assert token[1] not in "".join(lines)
    assert said("group", "list", *root) == "g: ann\nh: ann\n"
    said("group", "add", "g", "bob", *root)
    said("group", "remove", "h", "ann", *root)
    assert said("group", "list", *root) == "g: ann, bob\n"
    assert "earlier ones" in said("user", "token", "ann", *root)
    said("user", "token", "ann", "--keep", *root)
    assert "2 tokens" in said("user", "list", *root)
    said("user", "password", "bob", "--none", *root)
    said("user", "password", "ann", *root, stdin="correct horse\n")
    assert "Removed ann" in said("user", "remove", "ann", *root)
    assert said("user", "list", *root) == "bob  groups: g; 1 token\n"


def test_rights_are_given_in_one_word(folder: Folder) -> None:
    root = ["--root", str(folder.root)]
    ann, bob, row = folder.add("ann", "--group", "team"), folder.add("bob"), [{"a": "two"}]
    said("grant", "writer", "team", *root)
    assert "no user or group nobody" in said("grant", "reader", "nobody", "--catalog", "1", *root)
    assert "no more than to read" in refused("grant", "owner", "*", *root)
    assert "no catalog 9" in run("grant", "reader", "bob", "--catalog", "9", *root).stderr
    with served(folder.root) as server:
        assert ask(server, "POST", ENTITY, ann, body=row).ok
        assert ask(server, "PUT", "/hatrac/mine?parents=true", ann, body="x").status_code == 201
        assert ask(server, "GET", ENTITY, bob).status_code == 403
        said("grant", "reader", "bob", *root)
        assert ask(server, "GET", ENTITY, bob).ok
        assert ask(server, "GET", "/hatrac/mine", bob).ok
        assert ask(server, "POST", ENTITY, bob, body=row).status_code == 403
        assert ask(server, "PUT", "/hatrac/mine", bob, body="y").status_code == 403
        said("grant", "owner", "bob", *root)
        assert ask(server, "GET", "/ermrest/catalog/1/acl", bob).ok
        said("grant", "reader", "bob", *root)
        assert ask(server, "GET", "/ermrest/catalog/1/acl", bob).status_code == 403
        assert ask(server, "GET", ENTITY).status_code == 401
        said("grant", "reader", "*", *root)
        assert ask(server, "GET", ENTITY).ok
        said("revoke", "*", *root)
        said("revoke", "bob", *root)
        assert ask(server, "GET", ENTITY).status_code == 401
        assert ask(server, "GET", ENTITY, bob).status_code == 403
    assert "Users:    2" in said("info", *root)


def test_what_cannot_be_done_is_said(folder: Folder, tmp_path: Path) -> None:
    root = ["--root", str(folder.root)]
    assert "has no users" in refused("user", "remove", "ann", *root)
    folder.add("ann", "--group", "g")
    assert "already" in refused("user", "add", "ann", *root)
    assert "no user 'anne'" in (answer := refused("user", "remove", "anne", *root))
    assert "ann" in answer.replace("anne", "")
    for name in ("deriva-ml:local", "local:root", "a b", "*"):
        assert "cannot be the name" in refused("user", "add", name, *root)
        assert "cannot be the name" in refused("group", "add", name, "ann", *root)
    assert "group 'g'" in refused("user", "add", "g", *root)
    assert "at least 8" in refused("user", "password", "ann", *root, stdin="short\n")
    assert str(tmp_path) in refused("user", "add", "ann", "--root", str(tmp_path))
    assert run("user").returncode == 2
    assert run("user", "add", *root).returncode == 2


def test_a_password_is_asked_for_twice_at_a_terminal(folder: Folder) -> None:
    for second, code in (("correct horse", 0), ("another one", 2)):
        here, there = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "user", "add", f"ann{code}", "--password", "--root", str(folder.root)],
            stdin=there,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(there)
        try:
            for answer in ("correct horse", second):
                until(process.stderr, b": ")  # what is typed before the question is thrown away
                os.write(here, f"{answer}\n".encode())
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
            os.close(here)
        assert process.returncode == code, errors


def until(stream: IO[bytes] | None, end: bytes) -> None:
    seen = b""
    while stream is not None and not seen.endswith(end):
        seen += (part := os.read(stream.fileno(), 1))
        assert part, seen


def test_help_of_every_command_is_quick() -> None:
    for arguments in ([], ["serve"], ["user"], ["user", "add"], ["group"], ["info"]):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            said(*arguments, "--help")
            times.append(time.perf_counter() - started)
        assert min(times) < 1, arguments


# ---------------------------------------------------------------------------------------------- serving


def test_each_may_do_what_the_access_lists_say(folder: Folder) -> None:
    ann, bob, eve = folder.add("ann"), folder.add("bob", "--group", "readers"), folder.add("eve")
    row = [{"a": "two"}]
    with served(folder.root) as server:
        assert "Users: 3" in server.lines[1]
        assert not any(token in "".join(server.lines) for token in (ann, bob, eve))
        # who is not known sees nothing and changes nothing
        for method, target in (("GET", ENTITY), ("POST", ENTITY), ("DELETE", ENTITY), ("GET", "/hatrac/ns/object")):
            assert ask(server, method, target, body=row if method == "POST" else None).status_code == 401
        assert ask(server, "POST", "/ermrest/catalog", body={}).status_code == 401
        assert ask(server, "PUT", "/hatrac/mine").status_code == 401
        # who is known and has no rights
        assert ask(server, "GET", ENTITY, eve).status_code == 403
        assert ask(server, "GET", "/hatrac/ns/object", eve).status_code == 403
        # a reader
        assert len(ask(server, "GET", ENTITY, bob).json()) == 1
        assert ask(server, "GET", "/hatrac/ns/object", bob).json() == "content"
        for method, target in (
            ("POST", ENTITY),
            ("DELETE", ENTITY),
            ("PUT", "/hatrac/ns/object"),
            ("DELETE", "/hatrac/ns"),
        ):
            assert ask(server, method, target, bob, body=row).status_code == 403, target
        assert ask(server, "GET", "/ermrest/catalog/1/acl", bob).status_code == 403
        assert ask(server, "PUT", "/hatrac/ns;acl/read", bob, body=["*"]).status_code == 403
        # a writer
        made = ask(server, "POST", ENTITY, ann, body=row)
        assert made.json()[0]["RCB"] == "ann"
        assert ask(server, "POST", "/ermrest/catalog", ann, body={}).status_code == 403
        assert ask(server, "PUT", "/ermrest/catalog/1/acl/owner", ann, body=["ann"]).status_code == 403
        # the local user, at the same time, in process
        folder("POST", ENTITY, [{"a": "three"}])
        assert len(ask(server, "GET", ENTITY, bob).json()) == 3
        folder("PUT", "/ermrest/catalog/1/acl/select", [])
        assert ask(server, "GET", ENTITY, bob).status_code == 403
        # groups are asked anew for each request
        folder("PUT", "/ermrest/catalog/1/acl/select", ["late"])
        assert ask(server, "GET", ENTITY, eve).status_code == 403
        said("group", "add", "late", "eve", "--root", str(folder.root))
        assert ask(server, "GET", ENTITY, eve).status_code == 200
        known = json.loads(folder("GET", "/ermrest/catalog/1/entity/public:ERMrest_Client"))
        assert {client["ID"] for client in known} == {local_client().id, "ann", "bob", "eve"}


def test_a_removed_user_s_token_and_session_are_useless_at_once(folder: Folder) -> None:
    token = folder.add("bob", "--group", "readers", "--password", stdin="correct horse\n")
    folder.add("ann")
    with served(folder.root) as server:
        session = requests.Session()
        form = {"username": "bob", "password": "correct horse"}
        assert session.post(f"{server.url}/authn/session", data=form, timeout=20).ok
        assert session.get(server.url + ENTITY, timeout=20).ok
        assert ask(server, "GET", ENTITY, token).ok
        said("user", "remove", "bob", "--root", str(folder.root))
        assert session.get(server.url + ENTITY, timeout=20).status_code == 401
        assert ask(server, "GET", ENTITY, token).status_code == 401
        assert session.post(f"{server.url}/authn/session", data=form, timeout=20).status_code == 401
        session.close()


def test_a_session_survives_a_restart_and_ends_when_it_is_left(folder: Folder) -> None:
    folder.add("bob", "--group", "readers", "--password", stdin="correct horse\n")
    with served(folder.root) as server:
        credential = {"username": "bob", "password": "correct horse"}
        deriva = DerivaServer("http", server.host, credentials=credential)
        assert deriva.get_authn_session().json()["client"]["id"] == "bob"
        assert len(deriva.connect_ermrest("1").get("/entity/S:T").json()) == 1
        cookie = deriva._session.cookies["webauthn"]
        deriva._close_session()
    with served(folder.root) as server:
        # deriva sends a cookie to names without a dot, and never to an address with a port.
        host = server.host.replace("127.0.0.1", "localhost")
        deriva = DerivaServer("http", host, credentials={"cookie": f"webauthn={cookie}"})
        before = deriva.get_authn_session().json()
        later = ask(server, "PUT", "/authn/session", cookies={"webauthn": cookie}).json()
        assert later["expires"] > before["expires"]
        assert ask(server, "DELETE", "/authn/session", cookies={"webauthn": cookie}).json()["logout_url"]
        assert ask(server, "GET", "/authn/session", cookies={"webauthn": cookie}).status_code == 404
        deriva._close_session()


def test_one_folder_served_twice_and_used_in_process_at_once(folder: Folder) -> None:
    token = folder.add("ann")
    folder("PUT", "/ermrest/catalog/1/acl/select", ["ann"])
    failed: list[object] = []

    def write(server: Served, name: str) -> None:
        for number in range(15):
            answer = ask(server, "POST", ENTITY, token, body=[{"a": f"{name}{number}"}])
            if answer.status_code != 200:
                failed.append(answer.text)

    with served(folder.root) as one, served(folder.root) as two:
        threads = [threading.Thread(target=write, args=(server, name)) for server, name in ((one, "a"), (two, "b"))]
        for thread in threads:
            thread.start()
        for number in range(15):
            folder("POST", ENTITY, [{"a": f"c{number}"}])
        for thread in threads:
            thread.join(60)
        assert failed == []
        for server in (one, two):
            rows = ask(server, "GET", ENTITY, token).json()
            assert len(rows) == len({row["RID"] for row in rows}) == 46


def test_beyond_loopback_it_takes_tls_and_a_user(folder: Folder, tmp_path: Path) -> None:
    root = ["--root", str(folder.root)]
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    made = [*command.split(), names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    tls = ["--tls-cert", str(cert), "--tls-key", str(key)]
    out = ["serve", *root, "--host", "0.0.0.0", "--port", "0"]
    assert "in clear" in refused(*out)
    assert "no users" in refused(*out, *tls)
    token = folder.add("bob", "--group", "readers")
    assert "in clear" in refused(*out)
    assert "go together" in refused(*out, *tls[:2])
    assert "TLS cannot be spoken" in refused(*out, "--tls-cert", str(cert), "--tls-key", str(cert))
    assert "token of their own" in refused(*out, *tls, "--token-file", str(tmp_path / "token"))
    with served(folder.root, "--host", "0.0.0.0", *tls) as server:
        port = server.url.rpartition(":")[2]
        url = f"https://localhost:{port}{ENTITY}"
        assert requests.get(url, headers={"authorization": f"Bearer {token}"}, timeout=20, verify=str(cert)).ok
        assert requests.get(url, timeout=20, verify=str(cert)).status_code == 401
        with pytest.raises(requests.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=20)


def test_a_port_that_is_taken_is_said(folder: Folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = refused("serve", "--root", str(folder.root), "--port", str(port))
    assert f"127.0.0.1:{port}" in answer
    assert "in use" in answer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_when_it_is_told_to(folder: Folder, number: signal.Signals) -> None:
    folder.add("ann")
    with served(folder.root) as server:
        ask(server, "GET", ENTITY)
        idle = requests.Session()  # a connection that is kept open holds nobody up
        idle.get(server.url, timeout=20)
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
        idle.close()
    assert [path.name for path in folder.root.rglob("users.db-*")] == []
