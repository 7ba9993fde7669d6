"""Rows and columns that are read while they arrive, over connections that break."""

from __future__ import annotations

import pytest
from tests.fakes import Counting, Failing

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.streaming import columns_of, stream_rows
from deriva_ml.catalog.transport import Retry
from deriva_ml.core.ermrest import ColumnDef, TableDef
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLUnreachable
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.batch import Member
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import Path, table

ROWS = 5000
PATH = table("demo-schema", "Thing")


@pytest.fixture
def things(client: CatalogClient) -> CatalogClient:
    """A catalog with a table of many rows."""
    definition = TableDef("Thing", [ColumnDef("Text"), ColumnDef("Number", "int4")])
    client.create_table("demo-schema", table_document("demo-schema", definition))
    texts = ["plain", None, 'a "quote", and\na line', ""]
    client.insert("demo-schema", "Thing", [{"Text": texts[n % 4], "Number": n} for n in range(ROWS)])
    return client


def read_columns(client: CatalogClient, path: Path, columns: list[str]) -> list[list[str]]:
    member = Member("GET", path.attributes(*columns), accept="text/csv")
    [found] = client.batch([member], lambda _place, answer: columns_of(answer, columns))
    assert found.count == len(found.values[0])
    return found.values


def _patient() -> Retry:
    return Retry(attempts=3, sleep=lambda _seconds: None)


def test_rows_arrive_in_parts_and_in_order(things: CatalogClient) -> None:
    parts = list(stream_rows(things, PATH))
    rows = [row for part in parts for row in part]
    assert len(parts) > 1
    assert rows == things.rows(PATH.sorted("RID"))


def test_an_empty_table_has_no_parts(client: CatalogClient) -> None:
    client.create_table("demo-schema", table_document("demo-schema", TableDef("Thing", [ColumnDef("Text")])))
    assert list(stream_rows(client, PATH)) == []
    assert read_columns(client, PATH, ["RID", "Text"]) == [[], []]


def test_rows_go_on_after_the_last_one_that_was_read(things: CatalogClient) -> None:
    failing = Failing(things.transport, break_after=lambda _request, number: 400_000 if number < 2 else None)
    rows = [row for part in stream_rows(CatalogClient(failing, "1"), PATH, retry=_patient()) for row in part]
    assert rows == things.rows(PATH.sorted("RID"))
    assert [("@after" in target) for _method, target in failing.requests] == [False, True, True]


def test_rows_that_never_come_to_an_end_are_an_error(things: CatalogClient) -> None:
    failing = Failing(things.transport, break_after=lambda _request, _number: 10)
    with pytest.raises(DerivaMLUnreachable):
        list(stream_rows(CatalogClient(failing, "1"), PATH, retry=_patient()))
    assert failing.count == 3


class Cut(Counting):
    """Ends answers too early, without a word."""

    def __init__(self, inner: Counting, share: float) -> None:
        super().__init__(inner)
        self._share = share

    def send(self, request: Request) -> Response:
        answer = super().send(request)
        whole = answer.read()
        answer.body = whole[: int(len(whole) * self._share)]
        return answer


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9999])
def test_an_answer_that_ends_too_early_is_not_taken_for_a_whole_one(things: CatalogClient, share: float) -> None:
    cut = CatalogClient(Cut(things.transport, share), "1", retry=_patient())  # type: ignore[arg-type]
    with pytest.raises(DerivaMLUnreachable):
        read_columns(cut, PATH, ["RID", "Number"])
    with pytest.raises(DerivaMLUnreachable):
        list(stream_rows(cut, PATH.where(), retry=Retry(attempts=1)))


@pytest.mark.parametrize("columns", [["RID", "Number"], ["RID", "Text"], ["Text", "RID", "Number"]])
def test_columns_are_those_of_the_rows(things: CatalogClient, columns: list[str]) -> None:
    found = read_columns(things, PATH, columns)
    rows = sorted(zip(*found, strict=True))
    expected = sorted(
        tuple("" if row[name] is None else str(row[name]) for name in columns) for row in things.rows(PATH)
    )
    assert rows == expected


def test_columns_begin_anew_after_a_broken_connection(things: CatalogClient) -> None:
    failing = Failing(things.transport, break_after=lambda _request, number: 20_000 if number == 0 else None)
    found = read_columns(CatalogClient(failing, "1", retry=_patient()), PATH, ["RID"])
    assert len(set(found[0])) == ROWS
    assert failing.count == 2


def test_a_refusal_is_not_repeated(things: CatalogClient) -> None:
    counting = Counting(things.transport)
    with pytest.raises(DerivaMLCatalogError):
        read_columns(CatalogClient(counting, "1"), PATH, ["Nothing"])
    assert counting.count == 1


def test_columns_of_whole_rows_are_picked_and_measured(things: CatalogClient) -> None:
    member = Member("GET", PATH.sorted("RID").entity(), accept="text/csv")
    [found] = things.batch([member], lambda _place, answer: columns_of(answer, ["Number", "Text"]))
    rows = things.rows(PATH.sorted("RID"))
    assert found.values == [[str(row["Number"]) for row in rows], [str(row["Text"] or "") for row in rows]]
    content = things.send("GET", PATH.entity(), headers={"accept": "text/csv"}).read()
    assert found.length == len(content.partition(b"\n")[2])
