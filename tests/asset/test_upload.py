"""Outputs on their way into the catalog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from benchmarks.transactions import commits, openings
from tests.asset.sessions import Run, over
from tests.fakes import Counting, Failing

from deriva_ml.asset.asset import create_asset, list_assets
from deriva_ml.asset.manifest import AssetManifest
from deriva_ml.asset.transfer import UploadReport, upload
from deriva_ml.asset.upload import object_name
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, UploadProgress
from deriva_ml.core.exceptions import DerivaMLReadOnlyError, DerivaMLUnreachable, DerivaMLUploadError
from deriva_ml.core.files import hash_file
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import table


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    create_asset(
        session,
        "Image",
        [ColumnDef("Width", "int4"), ColumnDef("Note", "text", default="none"), ColumnDef("Source", "text")],
        [ForeignKeyDef(["Source"], "deriva-ml", "Execution")],
    )
    return Run(session, tmp_path / "runs")


def stage(run: Run, *names: str, table: str = "Image", content: bytes | None = None) -> None:
    for name in names:
        path = run.stage.register(table, name)
        path.write_bytes(os.fsencode(name) if content is None else content)


def rows(session: Session, name: str = "Image", schema: str = "demo-schema") -> list[dict[str, object]]:
    return session.catalog.rows(table(schema, name))  # type: ignore[return-value]


def check_whole(run: Run, count: int) -> None:
    """Every output is in the catalog exactly once, with its bytes, its link and its type."""
    assert run.manifest.pending_assets() == []
    found = rows(run.session)
    entries = {entry.rid: entry for entry in run.manifest.uploaded_assets()}
    assert len(found) == len(entries) == count
    for row in found:
        entry = entries[str(row["RID"])]
        digests = hash_file(run.manifest.file_of(entry))
        assert (row["Filename"], row["MD5"], row["Length"]) == (entry.file_name, digests.md5, digests.length)
        assert row["URL"] == entry.url
        head = run.session.objects.head(str(row["URL"]))
        assert (head.md5, head.length) == (digests.md5, digests.length)
    links = rows(run.session, "Image_Execution")
    assert sorted((str(link["Image"]), link["Execution"], link["Asset_Role"]) for link in links) == sorted(
        (str(rid), run.rid, "Output") for rid in entries
    )
    types = rows(run.session, "Image_Asset_Type")
    assert sorted((str(each["Image"]), each["Asset_Type"]) for each in types) == sorted(
        (str(rid), "Image") for rid in entries
    )


def test_outputs_become_assets_of_the_execution(run: Run) -> None:
    run.stage.register("Image", "a.png", metadata={"Width": 3}, description="first").write_bytes(b"a")
    run.stage.register("Image", "b.png").write_bytes(b"")
    report = upload(run.session, run.rid, run.manifest)
    assert report.complete
    assert [entry.file_name for entry in report.done] == ["a.png", "b.png"]
    check_whole(run, 2)
    (first, second) = sorted(rows(run.session), key=lambda row: str(row["Filename"]))
    assert (first["Width"], first["Note"], first["Description"]) == (3, "none", "first")
    assert (second["Width"], second["Note"], second["Description"]) == (None, "none", None)
    assert str(first["URL"]).startswith(f"/hatrac/Image/{first['MD5']}.a.png:")


def test_outputs_of_several_tables_and_types(run: Run) -> None:
    stage(run, "a.png")
    path = run.stage.register("Execution_Asset", "model.pt", ["Model_File", "Output_File"])
    path.write_bytes(b"m")
    assert upload(run.session, run.rid, run.manifest).complete
    assert {row["Asset_Type"] for row in rows(run.session, "Execution_Asset_Asset_Type", "deriva-ml")} == {
        "Model_File", "Output_File",
    }  # fmt: skip
    assert rows(run.session, "Execution_Asset_Execution", "deriva-ml")[0]["Execution_Asset"] == path.asset_rid


def test_what_is_changed_after_registering_is_what_is_uploaded(run: Run) -> None:
    path = run.stage.register("Image", "a.png")
    path.write_bytes(b"x")
    path.metadata = {"Width": 7}
    path.set_asset_types(["Model_File"])
    upload(run.session, run.rid, run.manifest)
    assert rows(run.session)[0]["Width"] == 7
    assert [row["Asset_Type"] for row in rows(run.session, "Image_Asset_Type")] == ["Model_File"]


NAMES = [
    "a b.txt", "model.tar.gz", "LICENSE", ".hidden", "né.txt", "ne\u0301.txt", "日本語", "a:b;c?d&e=f#g", "100%", "%41",
    "'\"<>|*\\", "new\nline", "tab\t", "-rf", "x" * 255, "(1), [2] {3}", "~", "@", "_implementations.log",
]  # fmt: skip


def test_any_file_name_is_uploaded(run: Run) -> None:
    stage(run, *NAMES)
    report = upload(run.session, run.rid, run.manifest)
    assert report.failed == ()
    check_whole(run, len(NAMES))
    assert {row["Filename"] for row in rows(run.session)} == set(NAMES)


def test_a_name_that_is_not_utf_8_is_uploaded_in_a_legible_form(run: Run) -> None:
    stage(run, os.fsdecode(b"caf\xe9.txt"))
    assert upload(run.session, run.rid, run.manifest).complete
    assert [row["Filename"] for row in rows(run.session)] == ["caf\\xe9.txt"]
    assert "caf%E9.txt" in str(rows(run.session)[0]["URL"])


def test_equal_content_and_name_are_assets_of_their_own(run: Run, tmp_path: Path) -> None:
    stage(run, "a.png", "a.png", "b.png", content=b"same")
    assert upload(run.session, run.rid, run.manifest).complete
    other = Run(run.session, tmp_path / "other")
    stage(other, "a.png", content=b"same")
    assert upload(other.session, other.rid, other.manifest).complete
    found = rows(run.session)
    assert len(found) == len({row["RID"] for row in found}) == len({row["URL"] for row in found}) == 4
    assert len({row["MD5"] for row in found}) == 1
    plain = object_name("Image", str(found[0]["MD5"]), "a.png")
    assert sum(str(row["URL"]).startswith(f"{plain}:") for row in found) == 1
    root = run.session.place.root
    assert root is not None
    objects = [path for path in (root / "objects").rglob("*") if path.is_file() and path.read_bytes() == b"same"]
    assert len(objects) == 1


def test_a_file_that_was_never_written_is_a_failure_that_names_it(run: Run) -> None:
    stage(run, "a.png")
    path = run.stage.register("Image", "missing.png")
    folder = run.stage.register("Image", "folder")
    folder.mkdir()
    report = upload(run.session, run.rid, run.manifest)
    assert [entry.file_name for entry in report.done] == ["a.png"]
    errors = {entry.file_name: entry.error for entry in report.failed}
    assert errors == {
        "missing.png": f"{path} was registered and never written",
        "folder": f"{folder} is a directory, not a file",
    }
    with pytest.raises(DerivaMLUploadError, match=r"2 of 3 outputs did not reach the catalog: Image/missing\.png"):
        report.require_complete()
    path.write_bytes(b"late")
    folder.rmdir()
    folder.write_bytes(b"late too")
    assert upload(run.session, run.rid, run.manifest).complete
    check_whole(run, 3)


def test_a_row_that_the_catalog_refuses_fails_alone(run: Run) -> None:
    stage(run, *(f"{number}.png" for number in range(7)))
    run.stage.register("Image", "bad.png", Source="9-9999").write_bytes(b"bad")
    stage(run, "last.png")
    report = upload(run.session, run.rid, run.manifest)
    assert [entry.file_name for entry in report.failed] == ["bad.png"]
    assert "9-9999" in str(report.failed[0].error) or "foreign key" in str(report.failed[0].error)
    assert len(report.done) == len(rows(run.session)) == 8


def test_uploading_again_does_nothing(run: Run) -> None:
    stage(run, "a.png")
    upload(run.session, run.rid, run.manifest)
    transport = Counting(run.session.catalog.transport)
    session = over(run.session, transport)
    transport.reset()
    assert upload(session, run.rid, run.manifest) == UploadReport()
    assert transport.count == 0


def test_a_snapshot_is_not_written_to(run: Run) -> None:
    snapshot = run.session.snapshot(run.session.catalog.latest_snaptime())
    with pytest.raises(DerivaMLReadOnlyError):
        upload(snapshot, run.rid, run.manifest)


def test_progress_counts_bytes(run: Run) -> None:
    stage(run, "a.png", "b.png", content=b"x" * 50)
    seen: list[UploadProgress] = []
    upload(run.session, run.rid, run.manifest, progress=seen.append)
    assert [(each.bytes_completed, each.bytes_total) for each in seen] == [(50, 100), (100, 100)]
    assert seen[-1].percent_complete == 100.0
    assert seen[-1].file_name == "b.png"


@pytest.mark.parametrize(("together", "requests"), [(True, 2), (False, 4)])
@pytest.mark.parametrize("count", [10, 200])
def test_rows_are_sent_in_batches_however_many_there_are(run: Run, count: int, together: bool, requests: int) -> None:
    stage(run, *(f"{number}.png" for number in range(count)))
    transport = Counting(run.session.catalog.transport, batches=together)
    session = over(run.session, transport)
    transport.reset()
    assert upload(session, run.rid, run.manifest).complete
    about_rows = [target for _method, target in transport.requests if target.startswith("/ermrest")]
    assert len(about_rows) == requests
    check_whole(run, count)


def test_two_uploads_of_one_run_at_once_make_nothing_twice(run: Run) -> None:
    stage(run, *(f"{number}.png" for number in range(30)))
    manifests = [AssetManifest(run.manifest.path, run.rid) for _ in range(3)]
    reports: list[UploadReport] = []

    def work(manifest: AssetManifest) -> None:
        reports.append(upload(run.session, run.rid, manifest, batch=7))

    threads = [threading.Thread(target=work, args=(manifest,)) for manifest in manifests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(report.done) for report in reports) == 30
    run.manifest.refresh()
    check_whole(run, 30)


def requests_of_an_upload(run: Run, *, together: bool) -> int:
    transport = Counting(run.session.catalog.transport, batches=together)
    session = over(run.session, transport)
    transport.reset()
    upload(session, run.rid, run.manifest, batch=3, threads=1)
    return transport.count


@pytest.mark.parametrize(
    ("lost", "together"), [*((lost, True) for lost in range(18)), *((lost, False) for lost in range(22))]
)
def test_a_connection_lost_at_any_request_is_made_good_by_the_next_attempt(run: Run, lost: int, together: bool) -> None:
    stage(run, "a.png", "b.png", "c.png", "c.png", "d.png", content=b"same")
    transport = Failing(
        run.session.catalog.transport, lose=lambda _request, number: number == lost + 1, batches=together
    )
    session = over(run.session, transport)
    try:
        upload(session, run.rid, run.manifest, batch=3, threads=1)
    except DerivaMLUnreachable:
        again = AssetManifest(run.manifest.path, run.rid)
        assert upload(run.session, run.rid, again).complete
        run.manifest.refresh()
    check_whole(run, 5)


CHILD = """
import os, signal, sys
from dataclasses import replace
from deriva_ml.asset.manifest import AssetManifest
from deriva_ml.asset.transfer import upload
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.ml import DerivaML

root, path, rid, at, when, together = sys.argv[1:]

class Deadly:
    '''Kills the process before, or after, one request.'''
    def __init__(self, inner):
        self.inner, self.number, self.body_limit, self.bulk = inner, 0, inner.body_limit, None
        self.batch = inner.batch if together == "True" else None
    def send(self, request):
        self.number += 1
        if self.number == int(at) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = self.inner.send(request)
        answer.read()
        if self.number == int(at) and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    def local_path(self, target):
        return None
    def close(self):
        self.inner.close()

with DerivaML(root, 1) as ml:
    transport = Deadly(ml.session.catalog.transport)
    catalog = CatalogClient(transport, "1")
    session = replace(ml.session, catalog=catalog, objects=ObjectClient(transport))
    upload(session, rid, AssetManifest(path, rid), batch=3, threads=1)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("at", "together"),
    [*((at, False) for at in (2, 3, 5, 8, 9, 10, 11, 12, 14, 16, 17, 18)), *((at, True) for at in (9, 10, 13, 14))],
)
def test_kill_9_at_any_request_is_made_good_by_the_next_attempt(run: Run, at: int, when: str, together: bool) -> None:
    stage(run, "a.png", "b.png", "c.png", "d.png", "e.png")
    root = str(run.session.place.root)
    arguments = [root, str(run.manifest.path), run.rid, str(at), when, str(together)]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=False)
    assert child.returncode == -signal.SIGKILL
    again = AssetManifest(run.manifest.path, run.rid)
    assert again.pending_assets()
    assert upload(run.session, run.rid, again).complete
    run.manifest.refresh()
    check_whole(run, 5)
    assert {asset.filename for asset in list_assets(run.session, "Image")} == {
        "a.png", "b.png", "c.png", "d.png", "e.png",
    }  # fmt: skip


@pytest.mark.parametrize(("together", "for_rows"), [(True, 1), (False, 3)])
def test_killing_covers_every_request_of_an_upload(run: Run, together: bool, for_rows: int) -> None:
    stage(run, "a.png", "b.png", "c.png", "d.png", "e.png")
    # 1 for the RIDs; for each of two batches those for rows, and 2 for each object; the child reads the model before
    assert requests_of_an_upload(run, together=together) == 1 + 2 * for_rows + 5 * 2


def test_rows_links_and_types_of_a_batch_are_one_moment(run: Run) -> None:
    stage(run, *(f"{number}.png" for number in range(10)))
    assert upload(run.session, run.rid, run.manifest, batch=5).complete
    moments = [{row["RCT"] for row in rows(run.session, name)} for name in ("Image", "Image_Execution")]
    moments.append({row["RCT"] for row in rows(run.session, "Image_Asset_Type")})
    assert [len(each) for each in moments] == [2, 2, 2]
    assert len(set.union(*moments)) == 2


def test_many_outputs_take_few_transactions(run: Run) -> None:
    stage(run, "first.png")
    assert upload(run.session, run.rid, run.manifest).complete  # the store makes its database for the first object
    stage(run, *(f"{number}.png" for number in range(1_200)))
    root = run.session.place.root
    assert root is not None
    with (
        commits(root / "catalogs" / "1.db") as changes,
        commits(root / "hatrac.db") as objects,
        openings(run.manifest.path) as marks,
    ):
        assert upload(run.session, run.rid, run.manifest).complete
    # three batches of 500 at most; before them, RIDs are leased and noted
    assert (objects.number, changes.number, marks.number) == (3, 3 + 1, 3 + 1)


def test_a_name_that_another_run_takes_in_between_is_given_up_for_one_with_the_rid(
    run: Run, session: Session, tmp_path: Path
) -> None:
    first, rival = Run(session, tmp_path / "first"), Run(session, tmp_path / "rival")
    stage(first, "x.txt", content=b"x")
    assert upload(session, first.rid, first.manifest).complete
    stage(run, "x.txt", content=b"x")
    stage(run, "y.txt", content=b"y")
    stage(rival, "y.txt", content=b"y")

    class Meanwhile(Counting):
        """Lets the rival store its file just after it was asked which names are taken."""

        done = False

        def send(self, request: Request) -> Response:
            response = super().send(request)
            if not self.done and request.method == "GET" and "/URL=" in request.target:
                self.done = True
                response.read()
                assert upload(session, rival.rid, rival.manifest).complete
            return response

    transport = Meanwhile(session.catalog.transport)
    assert upload(over(session, transport), run.rid, run.manifest).complete
    assert transport.done
    mine = {entry.file_name: str(entry.url) for entry in run.manifest.uploaded_assets()}
    assert all(str(entry.rid) in mine[entry.file_name] for entry in run.manifest.uploaded_assets())
    assert len({str(row["URL"]) for row in rows(session)}) == 4
