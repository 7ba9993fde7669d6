"""The recorded answers of real servers, replayed over HTTP on a served folder by its users."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.contract import test_conformance as ermrest
from tests.contract import test_hatrac_conformance as hatrac
from tests.contract.replayer import Answer, Send, replay
from tests.serving import served

from deriva_ml.catalog.transport import Http
from deriva_ml.server.app import create_folder
from deriva_ml.server.users import users_of
from deriva_ml.wire.http import Request

GROUPS = {"admin": ["admin"], "user2": [], "user3": ["members"]}


@contextmanager
def users_at(root: Path) -> Iterator[Send]:
    """A served folder with the users of the recordings; gives what sends as one of them."""
    create_folder(root)
    users = users_of(root)
    tokens = {name: users.add(name, groups=groups) for name, groups in GROUPS.items()}
    users.close()
    with ExitStack() as opened:
        url = opened.enter_context(served(root)).url
        ways = {name: {"bearer-token": token} for name, token in tokens.items()}
        ways["user2"] = {"cookie": f"webauthn={tokens['user2']}"}
        transports = {name: Http(url, way) for name, way in ways.items()} | {"anon": Http(url, None)}
        for transport in transports.values():
            opened.callback(transport.close)

        def send(method: str, target: str, headers: dict[str, str], body: bytes | None, who: str) -> Answer:
            fields = {name.lower(): value for name, value in headers.items()}
            answer = transports[who].send(Request(method, target, fields, body))
            return Answer(answer.status, answer.headers, answer.read())

        yield send


def test_a_served_folder_answers_as_a_real_ermrest_does(tmp_path: Path) -> None:
    lines = gzip.decompress(ermrest.RECORDINGS[1].read_bytes()).decode().splitlines()
    with users_at(tmp_path) as send:
        replayed = list(replay(lines, send, errors="status", headers="basic"))
    different = {interaction["id"]: problems for interaction, problems in replayed if problems}
    assert set(different) == set(ermrest.ON_PURPOSE), json.dumps(
        {name: problems for name, problems in different.items() if name not in ermrest.ON_PURPOSE}, indent=1
    )
    assert len(replayed) == 724


def test_a_served_folder_answers_as_a_real_hatrac_does(tmp_path: Path) -> None:
    lines = hatrac.RECORDING.read_text().splitlines()
    with users_at(tmp_path) as send:
        different = {one["id"]: problems for one, problems in replay(lines, send) if problems}
    assert set(different) == set(hatrac.ON_PURPOSE), json.dumps(different, indent=1)
