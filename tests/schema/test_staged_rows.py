"""Rows that a run writes for tables of the project: stored once, however often that is tried."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes import Counting

from deriva_ml.catalog.transport import Transport
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLTableNotFound,
    DerivaMLTableTypeError,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session
from deriva_ml.schema.staged_rows import RowUpload, reopen_rewritten, row_file, upload_rows
from deriva_ml.schema.tables import table_document
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import table as rows_of
from deriva_ml.workspace.entries import UPLOADED, AssetEntry
from deriva_ml.workspace.manifest import Manifest

DEMO = "demo-schema"


@pytest.fixture
def lab(ml: DerivaML) -> DerivaML:
    columns = [ColumnDef("Name", nullok=False), ColumnDef("Age", "int4"), ColumnDef("Kind"), ColumnDef("Run")]
    references = [ForeignKeyDef(["Run"], "deriva-ml", "Execution"), ForeignKeyDef(["Kind"], DEMO, "Kind", ["Name"])]
    ml.create_vocabulary("Kind", "Kinds.")
    for name in ("mouse", "rat"):
        ml.add_term("Kind", name, name)
    ml.session.catalog.create_table(
        DEMO, table_document(DEMO, TableDef("Subject", columns, [KeyDef(["Name"])], references))
    )
    ml.create_asset("Image")
    link = TableDef("Shot", [ColumnDef("Image"), ColumnDef("Subject")], [], [ForeignKeyDef(["Image"], DEMO, "Image")])
    ml.session.catalog.create_table(DEMO, table_document(DEMO, link))
    return ml


@pytest.fixture
def execution(lab: DerivaML) -> str:
    (made,) = lab.session.catalog.insert("deriva-ml", "Execution", [{"Description": "a run"}])
    return str(made["RID"])


@pytest.fixture
def manifest(tmp_path: Path, execution: str) -> Manifest:
    return Manifest(tmp_path / "run" / "asset-manifest.jsonl", execution)


def stored(session: Session, table: str = "Subject") -> list[dict[str, Any]]:
    rows = session.catalog.rows(rows_of(DEMO, table))
    return sorted(rows, key=lambda row: (len(str(row["RID"])), str(row["RID"])))


def staged(lab: DerivaML, manifest: Manifest, table: str = "Subject", **more: Any) -> Path:
    return row_file(lab.session, manifest, manifest.path.parent, table, **more)


def commit(lab: DerivaML, manifest: Manifest, session: Session | None = None) -> RowUpload:
    reopen_rewritten(manifest)
    return upload_rows(session or lab.session, manifest, manifest.execution_rid)


def test_rows_are_stored_once_and_belong_to_the_run(lab: DerivaML, manifest: Manifest) -> None:
    path = staged(lab, manifest)
    assert path.relative_to(manifest.path.parent).as_posix() == f"table/{DEMO}/Subject/Subject.csv"
    path.write_text("Name,Age,Kind\na,5,mouse\nb,,\n")
    assert commit(lab, manifest) == RowUpload({f"{DEMO}:Subject": 2})
    rows = stored(lab.session)
    assert [(row["Name"], row["Age"], row["Kind"], row["Run"]) for row in rows] == [
        ("a", 5, "mouse", manifest.execution_rid),
        ("b", None, None, manifest.execution_rid),
    ]
    assert commit(lab, manifest) == RowUpload()
    assert commit(lab, Manifest(manifest.path)) == RowUpload()
    assert stored(lab.session) == rows
    (entry,) = manifest.tables.values()
    assert (entry.status, entry.rows, entry.uploaded) == (UPLOADED, 2, 2)


def test_rows_that_are_added_later_are_stored_later(lab: DerivaML, manifest: Manifest) -> None:
    path = staged(lab, manifest)
    path.write_text("Name\na\n")
    commit(lab, manifest)
    assert staged(lab, manifest) == path
    path.write_text("Name\na\nb\nc\n")
    assert commit(lab, manifest).done == {f"{DEMO}:Subject": 2}
    assert [row["Name"] for row in stored(lab.session)] == ["a", "b", "c"]


@pytest.mark.parametrize("changed", ["Name\nx\nb\n", "Name\nb\n", "Name,Age\na,7\nb,\n"])
def test_a_row_that_was_stored_cannot_be_changed_in_the_file(lab: DerivaML, manifest: Manifest, changed: str) -> None:
    path = staged(lab, manifest)
    path.write_text("Name\na\nb\n")
    commit(lab, manifest)
    path.write_text(changed)
    (error,) = commit(lab, manifest).failed.values()
    assert "in the catalog" in error
    assert [row["Name"] for row in stored(lab.session)] == ["a", "b"]
    path.write_text("Name\na\nb\nc\n")
    assert commit(lab, manifest).done == {f"{DEMO}:Subject": 1}


def test_json_is_another_way_to_write_them(lab: DerivaML, manifest: Manifest) -> None:
    path = staged(lab, manifest, file_format="json")
    path.write_text(json.dumps([{"Name": "a", "Age": 3}, {"Name": "b", "Kind": "rat"}]))
    assert commit(lab, manifest).done == {f"{DEMO}:Subject": 2}
    assert [(row["Age"], row["Kind"]) for row in stored(lab.session)] == [(3, None), (None, "rat")]
    with pytest.raises(DerivaMLValidationError, match=r"Subject\.json already"):
        staged(lab, manifest)
    with pytest.raises(DerivaMLValidationError, match=r"(?s)'xlsx'.*csv, json"):
        staged(lab, manifest, file_format="xlsx")


def test_a_table_whose_rows_have_a_way_of_their_own_is_refused_at_once(lab: DerivaML, manifest: Manifest) -> None:
    lab.add_dataset_element_type("Subject")
    lab.create_feature("Subject", "Score", metadata=[])
    for table, way in (
        ("Image", "asset_file_path"),
        ("Workflow", f"tables of the project: {DEMO}"),
        ("Execution_Subject_Score", "add_features"),
        ("Dataset_Subject", "add_dataset_members"),
        ("Image_Execution", "add_features"),
    ):
        with pytest.raises(DerivaMLTableTypeError, match=f"(?s){table}.*{way}"):
            staged(lab, manifest, table)
    with pytest.raises(DerivaMLTableNotFound, match="Subject"):
        staged(lab, manifest, "Subjct")
    assert manifest.tables == {}
    staged(lab, manifest, "Kind")


def test_an_output_stands_for_the_asset_that_it_becomes(lab: DerivaML, manifest: Manifest) -> None:
    (image,) = lab.session.catalog.insert(
        DEMO, "Image", [{"URL": "/hatrac/x", "Filename": "x", "Length": 1, "MD5": "0" * 32}]
    )
    entry = AssetEntry("Image", DEMO, key="k", file_name="x.png", path="assets/Image/k/x.png", rid=str(image["RID"]))
    manifest.add(entry)
    file = manifest.file_of(entry)
    path = staged(lab, manifest, "Shot")
    path.write_text(f"Image,Subject\n{file},s\n{image['RID']},t\n,u\n")
    (error,) = commit(lab, manifest).failed.values()
    assert "Shot.csv, row 1, column 'Image': the output x.png is not in the catalog" in error
    manifest.update("k", status=UPLOADED)
    assert commit(lab, manifest).done == {f"{DEMO}:Shot": 3}
    assert [row["Image"] for row in stored(lab.session, "Shot")] == [image["RID"], image["RID"], None]
    path.write_text(path.read_text() + f"{file}.other,v\n")
    (error,) = commit(lab, manifest).failed.values()
    assert "row 4, column 'Image'" in error and "asset_file_path" in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Name,Age\na,1\nb,old\n", "Subject.csv, row 2, column 'Age': invalid input syntax for type integer"),
        ("Age\n1\n", "column 'Name': the column must have values and is missing"),
        (
            "Name,Kind\na,mouse\nb,mose\n",
            r"row 2, column 'Kind': demo-schema:Kind has no row with Name 'mose'(?s:.*)mouse",
        ),
        ("Name,Run\na,\nb,1-ZZZZ\n", "row 2, column 'Run': deriva-ml:Execution has no row with RID '1-ZZZZ'"),
        ("Name\na\nb\na\n", "row 3, column 'Name': 'a' is also that of row 1"),
        ("Name\nnew\nthere\n", "row 2, column 'Name': 'there' is that of row "),
    ],
)
def test_a_row_that_is_wrong_is_named_and_nothing_is_stored(
    lab: DerivaML, manifest: Manifest, content: str, message: str
) -> None:
    lab.session.catalog.insert(DEMO, "Subject", [{"Name": "there"}])
    staged(lab, manifest).write_text(content)
    found = commit(lab, manifest)
    with pytest.raises(DerivaMLDataError, match=message):
        raise DerivaMLDataError(found.failed[f"{DEMO}:Subject"])
    assert (found.done, len(stored(lab.session))) == ({}, 1)
    staged(lab, manifest).write_text("Name\nx\n")
    assert commit(lab, manifest).done == {f"{DEMO}:Subject": 1}


def test_one_tables_failure_does_not_keep_the_others_back(lab: DerivaML, manifest: Manifest) -> None:
    staged(lab, manifest).write_text("Name,Age\na,x\n")
    staged(lab, manifest, "Shot").write_text("Subject\ns\n")
    found = commit(lab, manifest)
    assert (found.done, list(found.failed)) == ({f"{DEMO}:Shot": 1}, [f"{DEMO}:Subject"])
    assert [entry.key for entry in manifest.pending_tables()] == [f"{DEMO}:Subject"]


def test_a_table_is_filled_after_those_that_it_refers_to(lab: DerivaML, manifest: Manifest) -> None:
    staged(lab, manifest).write_text("Name,Kind\na,vole\n")
    staged(lab, manifest, "Kind").write_text("Name,Description\nvole,A vole.\n")
    assert commit(lab, manifest) == RowUpload({f"{DEMO}:Kind": 1, f"{DEMO}:Subject": 1})
    assert lab.lookup_term("Kind", "vole").rid


def test_a_file_that_was_never_written_is_named(lab: DerivaML, manifest: Manifest) -> None:
    staged(lab, manifest)
    found = commit(lab, manifest)
    assert list(found.unwritten) == [f"{DEMO}:Subject"]
    assert "Subject.csv was registered and never written" in found.failed[f"{DEMO}:Subject"]


class Lost(Counting):
    """Loses requests that store rows of a table, or the answers to them."""

    def __init__(self, inner: Transport, table: str, *, answer: bool) -> None:
        super().__init__(inner)
        self._table = table
        self._answer = answer

    def send(self, request: Request) -> Response:
        hit = request.method == "POST" and self._table in request.target
        if hit and self._answer:
            self.inner.send(request).read()
        if hit:
            raise DerivaMLUnreachable("gone")
        return self.inner.send(request)


def losing(lab: DerivaML, table: str, *, answer: bool) -> Session:
    transport = Lost(lab.connection.transport, table, answer=answer)
    return replace(lab.session, catalog=type(lab.session.catalog)(transport, "1"))


@pytest.mark.parametrize("answer", [False, True], ids=["request", "answer"])
def test_a_connection_that_breaks_while_rows_are_sent_makes_no_row_twice(
    lab: DerivaML, manifest: Manifest, answer: bool
) -> None:
    staged(lab, manifest).write_text("Name\n" + "".join(f"n{number}\n" for number in range(20)))

    with pytest.raises(DerivaMLUnreachable):
        commit(lab, manifest, losing(lab, "Subject", answer=answer))
    assert len(stored(lab.session)) == (20 if answer else 0)
    assert commit(lab, Manifest(manifest.path)).done == {f"{DEMO}:Subject": 0 if answer else 20}
    assert [row["Name"] for row in stored(lab.session)] == [f"n{number}" for number in range(20)]


def test_a_row_that_was_stored_before_the_connection_broke_cannot_be_changed_either(
    lab: DerivaML, manifest: Manifest
) -> None:
    path = staged(lab, manifest)
    path.write_text("Name\na\nb\n")
    commit(lab, manifest)
    manifest.update_table(f"{DEMO}:Subject", status="pending", uploaded=0)  # it was not noted any more
    path.write_text("Name\na\nx\n")
    (error,) = commit(lab, manifest).failed.values()
    assert "Subject.csv, row 2: the row is in the catalog and was changed here" in error
    path.write_text("Name\na\n")
    (error,) = commit(lab, manifest).failed.values()
    assert "row 2" in error


def test_the_number_of_requests_does_not_grow_with_the_rows(lab: DerivaML, tmp_path: Path, execution: str) -> None:
    counts = []
    for rows in (10, 200):
        own = Manifest(tmp_path / f"run{rows}" / "asset-manifest.jsonl", execution)
        row_file(lab.session, own, own.path.parent, "Shot").write_text("Subject\n" + "s\n" * rows)
        transport = Counting(lab.connection.transport)
        session = replace(lab.session, catalog=type(lab.session.catalog)(transport, "1"))
        assert upload_rows(session, own, execution).done == {f"{DEMO}:Shot": rows}
        counts.append(len(transport.requests))
    assert counts[0] == counts[1]


def test_a_file_that_was_cleaned_away_begins_anew(lab: DerivaML, manifest: Manifest) -> None:
    path = staged(lab, manifest)
    path.write_text("Name\na\n")
    commit(lab, manifest)
    for file in path.parent.iterdir():
        file.unlink()
    assert commit(lab, manifest) == RowUpload()
    staged(lab, manifest).write_text("Name\nb\n")
    assert commit(lab, manifest).done == {f"{DEMO}:Subject": 1}
    assert [row["Name"] for row in stored(lab.session)] == ["a", "b"]


def test_rows_are_not_stored_twice_where_their_rids_are_lost(lab: DerivaML, manifest: Manifest) -> None:
    path = staged(lab, manifest)
    path.write_text("Name\na\n")
    commit(lab, manifest)
    path.with_name("Subject.csv.rids").unlink()
    path.write_text("Name\na\nb\n")
    (error,) = commit(lab, manifest).failed.values()
    assert "Subject.csv.rids does not say which 1 rows" in error
    path.with_name("Subject.csv.rids").write_text("nonsense\n")
    (error,) = commit(lab, manifest).failed.values()
    assert "Line 1 of" in error
    assert [row["Name"] for row in stored(lab.session)] == ["a"]


STEPS = st.one_of(
    st.integers(1, 3), st.sampled_from(["store", "lose the request", "lose the answer", "another process"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_whatever_happens_each_row_of_the_file_is_stored_once(
    lab: DerivaML, tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
) -> None:
    (made,) = lab.session.catalog.insert("deriva-ml", "Execution", [{"Description": "a run"}])
    place = tmp_path_factory.mktemp("run") / "asset-manifest.jsonl"
    manifest = Manifest(place, str(made["RID"]))
    path = staged(lab, manifest, "Shot")
    lines = [f"{made['RID']} first"]
    path.write_text("Subject\n" + lines[0] + "\n")
    for step in steps:
        if isinstance(step, int):
            lines += [f"{made['RID']} {len(lines) + number}" for number in range(step)]
            path.write_text("Subject\n" + "".join(f"{line}\n" for line in lines))
        elif step == "store":
            commit(lab, manifest)
        elif step == "another process":
            manifest = Manifest(place)
        else:
            with suppress(DerivaMLUnreachable):  # where nothing is left to be sent, nothing is lost
                commit(lab, manifest, losing(lab, "Shot", answer=step == "lose the answer"))
    commit(lab, manifest)
    own = [row["Subject"] for row in stored(lab.session, "Shot") if row["Subject"].startswith(f"{made['RID']} ")]
    assert own == lines
