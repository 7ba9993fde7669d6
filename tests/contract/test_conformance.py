"""The recorded answers of a real ERMrest, replayed on the embedded service in process."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tests.contract.replayer import Answer, replay

from deriva_ml.server.app import create_folder, open_service
from deriva_ml.wire.http import ANONYMOUS, Client, Request

RECORDINGS = [
    Path(__file__).parents[3] / "shared" / "conformance" / "ermrest.jsonl",
    Path(__file__).parent / "recordings" / "ermrest.jsonl.gz",
]
"""The recording beside the checkout, which is not always there, and the repository's own copy."""

CLIENTS = {
    "admin": Client("admin", roles=frozenset({"admin"})),
    "user2": Client("user2", roles=frozenset({"user2"})),
    "user3": Client("user3", roles=frozenset({"user3", "members"})),
    "anon": ANONYMOUS,
}

FULL_TYPES = "the answer to a creation shows types and defaults in full, as every later answer does"
QUOTED = "a default with a quote in it is shown as it was given"
ON_PURPOSE = {
    **dict.fromkeys(
        [
            *("e0166", "e0184", "e0269", "e0285", "e0286", "e0287", "e0288", "e0300", "e0301", "e0302", "e0303"),
            *("e0304", "e0305", "e0306", "e0307", "e0308", "e0309", "e0328", "e0329", "e0333", "e0426", "e0527"),
            *("e0553", "e0597", "e0598", "e0604", "e0605", "e0606", "e0607", "e0992", "e1022"),
        ],
        FULL_TYPES,
    ),
    **dict.fromkeys(
        ["e0186", "e0191", "e0193", "e0194", "e0195", "e0203", "e0227", "e1075", "e1174"],
        QUOTED,
    ),
    "e0115": "an empty document in a bulk request is refused",
    "e0534": "a key without columns is refused with 400 instead of 500",
    "e0535": "a key without columns is refused with 400 instead of 500",
    "e0632": "CSV answers to writes have each column once",
    "e0696": "::ts:: is refused with 400 instead of 500",
    "e0745": "a negative limit is refused with 400 instead of 409",
    "e1070": "GET with an If-Match that fails is answered 412 instead of 304",
}
"""Interactions that differ from the original by design, with the reason; `docs/conformance.md` lists the same."""


def recorded(path: Path) -> list[str]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    return text.splitlines()


@pytest.mark.parametrize("recording", RECORDINGS, ids=["shared", "own"])
def test_the_service_answers_as_the_original_does(tmp_path: Path, recording: Path) -> None:
    if not recording.exists():
        pytest.skip("the shared recordings are not beside this checkout")
    create_folder(tmp_path)
    service = open_service(tmp_path)

    def send(method: str, target: str, headers: dict[str, str], body: bytes | None, who: str) -> Answer:
        fields = {name.lower(): value for name, value in headers.items()}
        answer = service(Request(method, target, fields, body), CLIENTS[who])
        return Answer(answer.status, answer.headers, answer.read())

    try:
        replayed = list(replay(recorded(recording), send, errors="status", headers="basic"))
    finally:
        service.close()
    different = {interaction["id"]: problems for interaction, problems in replayed if problems}
    unexpected = {name: problems for name, problems in different.items() if name not in ON_PURPOSE}
    assert not unexpected, json.dumps(unexpected, indent=1)
    assert set(different) == set(ON_PURPOSE), "an interaction agrees with the original: take it off the list"
    assert len(replayed) == 724
    assert all(interaction["status"] < 500 for interaction, problems in replayed if not problems)


def test_both_copies_of_the_recording_are_the_same() -> None:
    shared, own = RECORDINGS
    assert recorded(own)
    if shared.exists():
        assert recorded(shared) == recorded(own)
