"""Several requests: in one where the service takes that, else one by one; the answers are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fakes import Counting, Failing
from tests.serving import served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.several import Several
from deriva_ml.catalog.transport import Retry
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLAuthenticationError, DerivaMLCatalogError, DerivaMLUnreachable
from deriva_ml.wire.batch import Limits, Member
from deriva_ml.wire.http import Response
from deriva_ml.wire.path import eq, table

A = table("S", "A")
PATHS = [A.where(eq("n", number)).entity() for number in range(20)]


class Narrow(Counting):
    """A service that takes little at a time."""

    @property
    def batch(self) -> Limits | None:
        return Limits(6, 1000)


def once() -> Retry:
    return Retry(1, sleep=lambda _seconds: None)


def several(client: CatalogClient, transport: Counting | None = None) -> Several:
    return Several(transport or client.transport, f"/ermrest/catalog/{client.catalog_id}", once())


@pytest.fixture
def filled(bare: CatalogClient) -> CatalogClient:
    bare.insert("S", "A", [{"n": number, "t": "x" * 100} for number in range(20)])
    return bare


def test_answers_are_the_same_and_requests_fewer(filled: CatalogClient) -> None:
    for batches, most in ((True, 1), (False, 20)):
        counting = Counting(filled.transport, batches=batches)
        client = CatalogClient(counting, filled.catalog_id)
        assert client.takes_batches is batches
        assert [[row["n"] for row in rows] for rows in client.batch_rows(PATHS)] == [[n] for n in range(20)]
        assert counting.count == most


def test_more_than_the_service_takes_in_one_goes_in_several(filled: CatalogClient) -> None:
    narrow = Narrow(filled.transport)
    client = CatalogClient(narrow, filled.catalog_id)
    assert [rows[0]["n"] for rows in client.batch_rows(PATHS)] == list(range(20))
    assert narrow.count == 4
    room = Several(narrow, "/x", once()).has_room
    assert (room(6, 900), room(7, 900), room(6, 901), room(4, 600, share=0.5)) == (True, False, False, False)
    assert not Several(Counting(filled.transport, batches=False), "/x", once()).has_room(1, 1)


@pytest.mark.parametrize("batches", [True, False])
def test_a_refusal_is_an_error_that_names_its_target(filled: CatalogClient, batches: bool) -> None:
    client = CatalogClient(Counting(filled.transport, batches=batches), filled.catalog_id)
    with pytest.raises(DerivaMLCatalogError) as caught:
        client.batch_rows([*PATHS, table("S", "C").entity()])
    assert (caught.value.status, caught.value.target) == (409, "/ermrest/catalog/1/entity/C:=S:C")


@pytest.mark.parametrize("batches", [True, False])
def test_what_was_broken_off_is_read_again(filled: CatalogClient, batches: bool) -> None:
    broken = Failing(filled.transport, break_after=lambda _request, number: 30 if number < 2 else None, batches=batches)
    retry = Retry(3, sleep=lambda _seconds: None)
    assert CatalogClient(broken, filled.catalog_id, retry=retry).batch_rows(PATHS[:5])[4][0]["n"] == 4
    with pytest.raises(DerivaMLUnreachable):
        CatalogClient(
            Failing(filled.transport, break_after=lambda _request, _n: 30, batches=batches),
            filled.catalog_id,
            retry=retry,
        ).batch_rows(PATHS[:5])


def test_faults_that_may_pass_are_waited_for(filled: CatalogClient) -> None:
    class Busy(Counting):
        def send(self, request: object) -> Response:
            answer = super().send(request)  # type: ignore[arg-type]
            return answer if self.count > 2 else Response(503, {}, b"busy")

    retry = Retry(3, sleep=lambda _seconds: None)
    assert len(CatalogClient(Busy(filled.transport), filled.catalog_id, retry=retry).batch_rows(PATHS)) == 20


def test_changes_happen_together_or_not_at_all(filled: CatalogClient) -> None:
    add = [Member("POST", "/entity/S:A", body=json.dumps([{"n": number}])) for number in (50, 51, 5)]
    with pytest.raises(DerivaMLCatalogError) as caught:
        several(filled).change(add)
    assert (caught.value.status, caught.value.method, caught.value.target) == (
        409,
        "POST",
        "/ermrest/catalog/1/entity/S:A",
    )
    assert len(filled.rows(A)) == 20
    first, second = several(filled).change(add[:2], commit=False)
    assert json.loads(first.read())[0]["RCT"] == json.loads(second.read())[0]["RCT"]
    assert len(filled.rows(A)) == 20
    several(filled).change(add[:2])
    assert len(filled.rows(A)) == 22


def test_a_lost_change_is_not_sent_again(filled: CatalogClient) -> None:
    lost = Failing(filled.transport, break_after=lambda _request, _n: 10)
    with pytest.raises(DerivaMLUnreachable):
        several(filled, lost).change([Member("POST", "/entity/S:A", body='[{"n":60}]')])
    assert lost.count == 1
    assert len(filled.rows(A)) == 21


def test_a_served_folder_says_that_it_takes_batches(tmp_path: Path) -> None:
    with open_connection(str(tmp_path / "folder"), create=True) as inside:
        client = inside.create_catalog("1")
        client.create_schema("S")
        assert client.takes_batches
        with served(tmp_path / "folder") as server:
            with open_connection(server.url, credential={"bearer-token": server.token}) as outside:
                over = outside.catalog("1")
                assert over.takes_batches
                targets = ["/attribute/public:ERMrest_Client/ID", "/aggregate/public:ERMrest_Client/n:=cnt(RID)"]
                assert over.batch_rows(targets) == client.batch_rows(targets)
            with open_connection(server.url, credential={"bearer-token": "wrong"}) as unknown:
                assert not unknown.catalog("1").takes_batches
                with pytest.raises(DerivaMLAuthenticationError):
                    unknown.catalog("1").batch_rows(targets)
