"""A catalog behind another process is the same catalog: rows, long answers, objects, errors, and nothing left open."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.piped import PART, Piped, answering
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLUnreachable
from deriva_ml.ml import DerivaML
from deriva_ml.wire.http import Request, Response


@dataclass
class Said:
    data: Mapping[str, Any]
    payload: bytes


def piped(transport: Any, asked: list[str] | None = None) -> Piped:
    """The way to a service through handlers, as the two ends of a conversation have them."""
    handlers = answering(transport)

    def ask(name: str, data: dict[str, Any], payload: bytes = b"") -> Said:
        if asked is not None:
            asked.append(name)
        return Said(*handlers[name](data, payload))

    return Piped(ask, transport.batch)


@pytest.fixture
def connection(catalog_root: Path) -> Iterator[Any]:
    with open_connection(str(catalog_root)) as opened:
        yield opened


class Broken:
    """A service that answers with parts, and is lost in the middle of them."""

    batch = None

    def __init__(self) -> None:
        self.closed = 0

    def send(self, request: Request) -> Response:
        if request.target == "/lost":
            raise DerivaMLUnreachable("No answer.", source="x", hint="wait")
        outer = self

        class Parts:
            def __iter__(self) -> Iterator[bytes]:
                yield b"a" * PART
                if request.target == "/middle":
                    raise DerivaMLUnreachable("Lost in the middle.")
                for _ in range(5):
                    yield b"b" * (PART // 2)

            def close(self) -> None:
                outer.closed += 1

        return Response(200, {"content-type": "x"}, Parts())

    def local_path(self, target: str) -> Path | None:
        return None


def test_rows_and_refusals_are_those_of_the_service(connection: Any, ml: DerivaML) -> None:
    client = CatalogClient(piped(connection.transport), "1")
    ml.add_term("Asset_Type", "Piped", "made for the test")
    rows = client.rows_by("deriva-ml", "Asset_Type", "Name", ["Piped"])
    assert [row["Description"] for row in rows] == ["made for the test"]
    [made] = client.insert("deriva-ml", "Workflow", [{"Name": "x"}])
    assert connection.catalog(1).rows_by("deriva-ml", "Workflow", "RID", [made["RID"]])[0]["Name"] == "x"
    with pytest.raises(DerivaMLCatalogError) as caught:
        client.insert("deriva-ml", "Dataset_Type", [{"Name": "Training", "Description": "again"}])
    assert caught.value.status == 409


def test_objects_of_any_length_go_both_ways(connection: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    objects = ObjectClient(piped(connection.transport, asked))
    for size in (0, 10, 3 * PART + 5):
        source = tmp_path / f"{size}.bin"
        source.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
        url = objects.put(f"/hatrac/piped/{size}.bin", source)
        target = tmp_path / f"{size}.back"
        digests = objects.fetch(url, target)
        assert target.read_bytes() == source.read_bytes()
        assert digests.length == size
        found = objects.local_path(url)
        assert found is not None
        assert found.read_bytes() == source.read_bytes()
    assert set(asked) >= {"catalog.send", "catalog.file"}


def test_a_long_answer_comes_in_parts_and_is_forgotten_when_it_is_not_wanted() -> None:
    service, asked = Broken(), []
    answer = piped(service, asked).send(Request("GET", "/long"))
    assert answer.headers == {"content-type": "x"}
    assert answer.read() == b"a" * PART + b"b" * (5 * (PART // 2))
    assert asked.count("catalog.more") == 4
    assert service.closed == 1
    answer = piped(service, asked).send(Request("GET", "/long"))
    answer.close()
    assert service.closed == 2


def test_a_service_that_is_lost_is_lost_here_too() -> None:
    way = piped(Broken())
    with pytest.raises(DerivaMLUnreachable) as caught:
        way.send(Request("GET", "/lost"))
    assert (caught.value.source, caught.value.hint) == ("x", "wait")
    with pytest.raises(DerivaMLUnreachable, match="Lost in the middle"):
        way.send(Request("GET", "/middle")).read()


def test_a_body_that_is_a_file_is_sent(connection: Any) -> None:
    answer = piped(connection.transport).send(
        Request(
            "POST",
            "/ermrest/catalog/1/entity/deriva-ml:Workflow?defaults=RID,RCT,RMT,RCB,RMB",
            {"content-type": "application/json"},
            io.BytesIO(b'[{"Name": "from a file"}]'),
        )
    )
    assert answer.status == 200
    assert b"from a file" in answer.read()
