"""What can go wrong with an upload: each is said, nothing is half done, and the next attempt succeeds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.asset.sessions import Run, no_file_longer_than, over
from tests.fakes import Counting, Failing

from deriva_ml.asset.asset import create_asset
from deriva_ml.asset.manifest import AssetManifest
from deriva_ml.asset.transfer import upload
from deriva_ml.asset.upload import JOBS_NAME, Patience
from deriva_ml.catalog.bulk import Outgoing
from deriva_ml.catalog.transport import Transport
from deriva_ml.core.ermrest import ColumnDef, UploadProgress
from deriva_ml.core.exceptions import DerivaMLUnreachable, DerivaMLValidationError
from deriva_ml.schema.session import Session
from deriva_ml.wire.http import Request, Response
from deriva_ml.wire.path import table

LARGE = 5 << 20


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Run:
    create_asset(session, "Image", [ColumnDef("Width", "int4")])
    return Run(session, tmp_path / "runs")


def stage(run: Run, **contents: bytes) -> None:
    for name, content in contents.items():
        run.stage.register("Image", name).write_bytes(content)


def count(session: Session, name: str) -> int:
    return len(session.catalog.rows(table("demo-schema", name)))


def incoming(session: Session) -> list[Path]:
    root = session.place.root
    assert root is not None
    folder = root / "objects" / "incoming"
    return list(folder.iterdir()) if folder.exists() else []


class Faulty(Counting):
    """Does some requests and loses their answers, or answers some with a status without doing them."""

    def __init__(self, inner: Transport, fault: Callable[[Request, int], int | None], *, batches: bool = True) -> None:
        super().__init__(inner, batches=batches)
        self._fault = fault

    def send(self, request: Request) -> Response:
        fault = self._fault(request, self.count)
        self.requests.append((request.method, request.target))
        if fault is None:
            return self.inner.send(request)
        if fault:
            return Response(fault, {"content-type": "text/plain"}, b"not now")
        self.inner.send(request).read()
        raise DerivaMLUnreachable("the answer was lost")


def is_row_change(request: Request) -> bool:
    return request.method == "POST" and ("/entity/" in request.target or request.target.endswith("/batch"))


@pytest.mark.parametrize(
    ("together", "changes"), [(True, 2), (False, 4)]
)  # RIDs, rows with all; RIDs, rows, links, types
@pytest.mark.parametrize("fault", [0, 500, 502, 503, 504])
def test_a_change_of_rows_whose_answer_is_lost_is_made_good_in_the_same_upload(
    run: Run, fault: int, together: bool, changes: int
) -> None:
    stage(run, a=b"a", b=b"b", c=b"c")
    failed: set[str] = set()

    def once(request: Request, _number: int) -> int | None:
        if not is_row_change(request) or request.target in failed:
            return None
        failed.add(request.target)
        return fault

    transport = Faulty(run.session.catalog.transport, once, batches=together)
    report = upload(over(run.session, transport), run.rid, run.manifest, patience=Patience(2, 0.0))
    assert report.complete
    assert len(failed) == changes
    assert count(run.session, "Image") == count(run.session, "Image_Execution") == 3
    assert count(run.session, "Image_Asset_Type") == 3


@pytest.mark.parametrize(("together", "target"), [(True, "/batch"), (False, "entity/demo-schema:Image?")])
def test_patience_ends(run: Run, together: bool, target: str) -> None:
    stage(run, a=b"a")
    transport = Faulty(
        run.session.catalog.transport,
        lambda request, _n: 503 if request.method == "POST" and target in request.target else None,
        batches=together,
    )
    report = upload(over(run.session, transport), run.rid, run.manifest, patience=Patience(3, 0.0))
    assert "503" in str(report.failed[0].error)
    assert sum(method == "POST" and target in asked for method, asked in transport.requests) == 4
    assert upload(run.session, run.rid, run.manifest).complete


@pytest.mark.parametrize("status", [400, 409, 413])
def test_a_refusal_is_not_tried_again(run: Run, status: int) -> None:
    stage(run, a=b"a")
    transport = Faulty(run.session.catalog.transport, lambda request, _n: status if request.method == "PUT" else None)
    report = upload(over(run.session, transport), run.rid, run.manifest, patience=Patience(5, 0.0))
    assert [entry.file_name for entry in report.failed] == ["a"]
    assert transport.methods["PUT"] == 1


@pytest.mark.parametrize("lost", range(2, 7))
def test_a_large_file_goes_on_at_the_chunk_that_was_reached(run: Run, lost: int) -> None:
    content = os.urandom(350_000)
    stage(run, large=content)
    transport = Failing(run.session.catalog.transport, lose=lambda request, _n: False, body_limit=70_000)
    chunks: list[str] = []

    class Breaking(Failing):
        broken = False

        def send(self, request: Request) -> Response:
            is_part = ";upload/" in request.target and request.method in ("PUT", "POST")
            if is_part and not self.broken and len(chunks) + 1 == lost:
                Breaking.broken = True
                raise DerivaMLUnreachable("the connection was lost")
            answer = super().send(request)
            if is_part:
                chunks.append(request.target)
            return answer

    broken = Breaking(transport, body_limit=70_000)
    with pytest.raises(DerivaMLUnreachable):
        upload(over(run.session, broken), run.rid, run.manifest)
    assert json.loads((run.directory / JOBS_NAME).read_text())
    again = AssetManifest(run.manifest.path, run.rid)
    seen: list[UploadProgress] = []
    assert upload(over(run.session, broken), run.rid, again, progress=seen.append).complete
    assert len(chunks) == len(set(chunks)) == 6  # five chunks and the end of the job, each once
    assert seen[-1].bytes_completed == seen[-1].bytes_total == 350_000
    assert not (run.directory / JOBS_NAME).exists()
    row = run.session.catalog.rows(table("demo-schema", "Image"))[0]
    target = run.directory / "back"
    run.session.objects.fetch(str(row["URL"]), target, md5=str(row["MD5"]))
    assert target.read_bytes() == content


def test_a_job_that_the_service_has_forgotten_is_begun_anew(run: Run) -> None:
    stage(run, large=os.urandom(200_000))
    losing = Failing(
        run.session.catalog.transport,
        lose=lambda request, _n: request.target.endswith("/1") and ";upload/" in request.target,
        body_limit=70_000,
    )
    with pytest.raises(DerivaMLUnreachable):
        upload(over(run.session, losing), run.rid, run.manifest)
    (note,) = json.loads((run.directory / JOBS_NAME).read_text()).values()
    run.session.catalog.transport.send(Request("DELETE", note["job"])).read()
    limited = Counting(run.session.catalog.transport, body_limit=70_000)
    assert upload(over(run.session, limited), run.rid, run.manifest).complete
    assert sum(method == "PUT" for method, _target in limited.requests) == 3


def test_notes_that_cannot_be_read_cost_time_only(run: Run) -> None:
    stage(run, large=os.urandom(200_000))
    (run.directory / JOBS_NAME).write_text('{"half')
    assert upload(
        over(run.session, Counting(run.session.catalog.transport, body_limit=70_000)), run.rid, run.manifest
    ).complete


def test_a_large_file_tells_its_progress_in_bytes(run: Run) -> None:
    stage(run, large=b"x" * (9 << 20), small=b"y" * 10)
    seen: list[UploadProgress] = []
    assert upload(run.session, run.rid, run.manifest, progress=seen.append, threads=1).complete
    assert [each.bytes_completed for each in seen] == [4 << 20, 8 << 20, 9 << 20, (9 << 20) + 10]
    assert {each.bytes_total for each in seen} == {(9 << 20) + 10}
    assert seen[-1].percent_complete == 100.0


def test_an_error_of_who_is_told_ends_the_upload_and_leaves_nothing(run: Run) -> None:
    stage(run, large=b"x" * (9 << 20))

    def no(_progress: UploadProgress) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        upload(run.session, run.rid, run.manifest, progress=no)
    assert incoming(run.session) == []
    assert upload(run.session, run.rid, run.manifest).complete


@pytest.mark.parametrize("local", [True, False])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(run: Run, local: bool, tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"x" * LARGE)
    session = run.session if local else over(run.session, Counting(run.session.catalog.transport))

    def grow(_count: int) -> None:
        with path.open("ab") as out:
            out.write(b"more")

    if local:
        with pytest.raises(DerivaMLValidationError, match=r"growing has changed.*written to"):
            Outgoing(session.objects).prepare(path, grow)
        assert incoming(session) == []
    else:
        content = Outgoing(session.objects).prepare(path, grow)
        grow(0)
        with pytest.raises(DerivaMLValidationError, match="growing has changed"):
            session.objects.put("/hatrac/x", path, digests=content.digests)


def test_what_is_no_plain_file_by_now_is_named(run: Run) -> None:
    paths = {name: run.stage.register("Image", name) for name in ("pipe", "dead", "good\nname")}
    os.mkfifo(paths["pipe"])
    paths["dead"].symlink_to("nowhere")
    paths["good\nname"].write_bytes(b"x")
    report = upload(run.session, run.rid, run.manifest)
    assert [entry.file_name for entry in report.done] == ["good\nname"]
    assert {entry.file_name: str(entry.error).partition(" is ")[2] for entry in report.failed} == {
        "pipe": "not a plain file",
        "dead": "a symbolic link to a file that does not exist",
    }


def test_a_disk_that_is_full_in_the_middle_of_a_file_fails_that_file(run: Run) -> None:
    stage(run, small=b"s", large=b"x" * (9 << 20))
    with no_file_longer_than(8 << 20):
        report = upload(run.session, run.rid, run.manifest)
    assert [entry.file_name for entry in report.done] == ["small"]
    assert "large cannot be stored: File too large" in str(report.failed[0].error)
    assert incoming(run.session) == []
    assert upload(run.session, run.rid, run.manifest).complete
    assert count(run.session, "Image") == 2
