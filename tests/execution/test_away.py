"""A catalog that is lost, slow, or restarted while a run works with it: a real server, behind a line that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from tests.line import Line, line_to
from tests.serving import Server

from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.core.enums import Status
from deriva_ml.core.ermrest import ColumnDefinition, TableDefinition
from deriva_ml.core.exceptions import DerivaMLAuthenticationError, DerivaMLUnreachable, DerivaMLUploadError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.running import finish
from deriva_ml.ml import DerivaML

QUICK = {"max_retries": 3, "retry_delay": 0.05}


@dataclass
class Far:
    """A catalog behind a line."""

    ml: DerivaML
    near: DerivaML
    line: Line
    server: Server
    subjects: list[str]

    def open(self, *, by_line: bool = True) -> DerivaML:
        """Another connection, with the token that the server has now."""
        url = self.line.url if by_line else self.server.url
        return DerivaML(url, 1, credential=self.server.credential)

    def serve_again(self) -> None:
        """Kill the server and serve the folder anew, on another port, to which the line then leads."""
        self.server.kill()
        self.line.cut()
        self.server.start()
        self.line.port = self.server.port

    def begin(self, configuration: Any) -> Execution:
        """A run whose model has staged files, values and rows of a table."""
        run = self.ml.create_execution(configuration)
        run.execution_start()
        run.asset_file_path("Scan", "a.txt").write_text("a")
        run.asset_file_path("Scan", "large.bin").write_bytes(b"0123456789abcdef" * (1 << 17))
        score = self.ml.feature_record_class("Subject", "Score")
        run.add_features([score(Subject=rid, Value=1.0) for rid in self.subjects])
        run.table_path("Note").write_text("Text\none\ntwo\n")
        return run

    def made(self, rid: str) -> dict[str, int]:
        """How many of each thing the catalog has of a run."""
        count = {
            name: len(
                [row for row in self.near.get_table_as_dict(name) if row.get("Execution") == rid or name == "Note"]
            )
            for name in ("Execution_Subject_Score", "Note", "Scan_Execution")
        }
        scans = {row["Scan"] for row in self.near.get_table_as_dict("Scan_Execution") if row["Execution"] == rid}
        typed = [row for row in self.near.get_table_as_dict("Scan_Asset_Type") if row["Scan"] in scans]
        return {**count, "types": len(typed)}

    def state(self, rid: str) -> tuple[str, str]:
        """Status and upload state in the catalog."""
        record = self.near.lookup_execution(rid)
        return str(record.status), str(record.upload_state)


WHOLE = {"Execution_Subject_Score": 2, "Note": 2, "Scan_Execution": 2, "types": 2}


@pytest.fixture
def far(world: Any, tmp_path: Path) -> Iterator[Far]:
    text = ColumnDefinition(name="Text", type="text")
    world.ml.create_table(TableDefinition(name="Note", columns=[text]))
    root = Path(str(world.ml.session.place.root))
    secret = tmp_path / "token"
    server = Server(root, secret)
    try:
        with line_to(server.port) as line, DerivaML(line.url, 1, credential=server.credential) as ml:
            yield Far(ml, world.ml, line, server, world.subjects[:2])
    finally:
        server.kill()


def once(sign: bytes, then: Callable[[], object] = lambda: None) -> Callable[[bytes], bool]:
    """True for the first bytes with this sign; then something is done."""
    left = [sign]

    def seen(content: bytes) -> bool:
        if left and left[0] in content:
            left.clear()
            then()
            return True
        return False

    return seen


SIGNS = [b"PUT /hatrac", b"entity/demo-schema:Scan?", b"Execution_Subject_Score"]
MORE = [
    b"ERMrest_RID_Lease",
    b"HEAD /hatrac",
    b"Scan_Execution",
    b"Scan_Asset_Type",
    b"demo-schema:Note",
    b"Upload_State",
]


@pytest.mark.parametrize(
    ("what", "sign"),
    [("lose_answer", sign) for sign in SIGNS]
    + [pytest.param("lose_answer", sign, marks=pytest.mark.slow) for sign in MORE]
    + [pytest.param("lose", sign, marks=pytest.mark.slow) for sign in SIGNS + MORE],
)
def test_a_connection_that_is_lost_at_any_step_of_an_upload_is_taken_up(
    far: Far, configuration: Any, what: str, sign: bytes
) -> None:
    run = far.begin(configuration)
    run.execution_stop()
    seen = once(sign)
    setattr(far.line, what, seen)
    run.upload_execution_outputs(**QUICK)
    assert seen.__closure__[0].cell_contents == []  # type: ignore[index]
    assert far.made(run.execution_rid) == WHOLE
    assert far.state(run.execution_rid) == ("Completed", "uploaded")


@pytest.mark.parametrize("sign", [b"PUT /hatrac", b"Scan_Execution"])
def test_a_server_that_is_killed_and_started_again_in_the_middle_of_an_upload(
    far: Far, configuration: Any, sign: bytes
) -> None:
    run = far.begin(configuration)
    run.execution_stop()
    first = far.server.process
    far.line.lose = once(sign, far.serve_again)
    run.upload_execution_outputs(max_retries=4, retry_delay=0.5)
    assert far.server.process is not first
    assert far.made(run.execution_rid) == WHOLE
    assert far.state(run.execution_rid) == ("Completed", "uploaded")


def test_a_catalog_that_does_not_come_back_in_time_is_given_up_and_the_upload_finished_later(
    far: Far, configuration: Any
) -> None:
    run = far.begin(configuration)
    run.execution_stop()
    ended = run.stop_time
    away = [True]
    seen = once(b"entity/demo-schema:Scan?")

    def lose(content: bytes) -> bool:
        away.extend([True] if seen(content) else [])
        return len(away) > 1

    far.line.lose = lose
    with pytest.raises(DerivaMLUnreachable, match="No answer from"):
        run.upload_execution_outputs(**QUICK)
    assert far.state(run.execution_rid)[0] == "Completed"
    [waiting] = far.ml.find_incomplete_executions()
    assert (waiting.execution_rid, str(waiting.upload_state)) == (run.execution_rid, "failed")
    with pytest.raises(DerivaMLUnreachable):
        far.ml.commit_pending_executions()
    far.line.lose = lambda _content: False
    report = far.ml.commit_pending_executions()
    assert report.complete
    assert far.made(run.execution_rid) == WHOLE
    assert far.state(run.execution_rid) == ("Completed", "uploaded")
    record = far.near.lookup_execution(run.execution_rid)
    assert (record.start_time, record.stop_time) == (run.start_time, ended)
    assert far.ml.commit_pending_executions().execution_rids == []
    assert far.made(run.execution_rid) == WHOLE


@pytest.mark.slow
def test_a_slow_and_narrow_line_takes_its_time_and_is_no_fault(far: Far, configuration: Any) -> None:
    run = far.begin(configuration)
    run.execution_stop()
    far.line.delay, far.line.rate = 0.1, 2_000_000  # a second for the large file
    run.upload_execution_outputs(max_retries=0, timeout=(0.5, 10.0), chunk_size=500_000)
    far.line.delay, far.line.rate = 0.0, None
    assert far.made(run.execution_rid) == WHOLE


def test_a_connection_on_which_nothing_moves_is_given_up_and_tried_again(far: Far, configuration: Any) -> None:
    run = far.begin(configuration)
    run.execution_stop()

    def hush() -> None:
        far.line.is_silent = True
        Timer(1.5, setattr, (far.line, "is_silent", False)).start()

    seen = once(b"PUT /hatrac", hush)
    far.line.lose = lambda content: seen(content) and False
    before = time.monotonic()
    run.upload_execution_outputs(max_retries=6, retry_delay=0.2, timeout=(0.5, 0.5))
    assert time.monotonic() - before < 15
    assert far.made(run.execution_rid) == WHOLE


def test_what_a_model_needs_works_while_the_catalog_is_away_and_the_rest_says_so_soon(
    far: Far, configuration: Any
) -> None:
    run = far.ml.create_execution(configuration)
    run.execution_start()
    run.asset_types()
    score = far.ml.feature_record_class("Subject", "Score")
    far.line.close()
    before = time.monotonic()
    run.asset_file_path("Scan", "a.txt", asset_types="Model_File").write_text("a")
    run.metrics_file().write_text("{}\n")
    run.table_path("Note").write_text("Text\none\ntwo\n")
    run.add_features([score(Subject=rid, Value=1.0) for rid in far.subjects])
    for number in range(50):
        run.update_status(Status.running, f"step {number}")
    assert run.datasets is not None
    assert time.monotonic() - before < 3
    with pytest.raises(DerivaMLUnreachable):
        list(far.ml.get_table_as_dict("Subject"))  # which waits, since the service has been there
    before = time.monotonic()
    for _ in range(20):
        with pytest.raises(DerivaMLUnreachable):
            list(far.ml.get_table_as_dict("Subject"))
    assert time.monotonic() - before < 5
    run.execution_stop()
    assert run.status is Status.completed
    assert far.near.lookup_execution(run.execution_rid).status is Status.running
    with far.open(by_line=False) as there:
        assert there.commit_pending_executions().complete
    assert far.state(run.execution_rid) == ("Completed", "uploaded")
    assert far.made(run.execution_rid)["Execution_Subject_Score"] == 2


def test_a_type_that_could_not_be_checked_is_checked_when_it_is_uploaded(far: Far, configuration: Any) -> None:
    run = far.ml.create_execution(configuration)
    run.execution_start()
    run.asset_types()
    far.line.lose = lambda _content: True
    run.asset_file_path("Scan", "a.txt", asset_types="Model_File").write_text("a")
    run.asset_file_path("Scan", "b.txt", asset_types="Modle_File").write_text("b")
    far.line.lose = lambda _content: False
    run.execution_stop()
    with pytest.raises(DerivaMLUploadError, match=r"(?s)b\.txt: .*Modle_File.*Model_File"):
        run.upload_execution_outputs(**QUICK)
    assert far.made(run.execution_rid)["types"] == 1
    far.near.add_term("Asset_Type", "Modle_File", "Meant so.")
    run.upload_execution_outputs(**QUICK)
    made = far.made(run.execution_rid)
    assert (made["types"], made["Scan_Execution"]) == (2, 2)


def test_a_run_whose_row_could_not_be_made_gets_it_from_the_next_command(far: Far, configuration: Any) -> None:
    seen = once(b"entity/deriva-ml:Execution?")
    gone: list[bool] = []

    def lose(content: bytes) -> bool:
        if seen(content):
            gone.append(True)
        return bool(gone)

    far.line.lose = lose
    with pytest.raises(DerivaMLUnreachable):
        far.ml.create_execution(configuration)
    far.line.lose = lambda _content: False
    [left] = far.ml.list_executions()
    assert (left.status, left.synced) == (Status.failed, False)
    reconcile_dead_runs(far.near)
    record = far.near.lookup_execution(left.execution_rid)
    assert record.status is Status.failed
    assert "No answer" in str(record.status_detail)
    assert far.near.commit_pending_executions().complete


@pytest.mark.slow
def test_a_catalog_that_is_lost_while_inputs_are_brought(far: Far, world: Any, configuration: Any) -> None:
    given = configuration.model_copy(update={"assets": [AssetSpec(rid=world.asset)]})
    gone: list[bool] = []

    def lose(content: bytes) -> bool:
        if b"GET /hatrac" in content:
            gone.append(True)
        return bool(gone)

    far.line.lose = lose
    with pytest.raises(DerivaMLUnreachable):
        far.ml.create_execution(given)
    far.line.lose = lambda _content: False
    assert far.ml.commit_pending_executions().complete
    [left] = far.ml.list_executions()
    assert far.state(left.execution_rid) == ("Failed", "uploaded")


def test_a_token_that_is_not_known_any_more_loses_nothing(far: Far, configuration: Any) -> None:
    run = far.begin(configuration)
    run.execution_stop()
    right = far.server.secret.read_text()
    far.server.secret.unlink()
    far.serve_again()
    for _ in range(2):
        with pytest.raises(DerivaMLAuthenticationError, match="does not know who asks"):
            far.ml.commit_pending_executions()
    assert far.server.secret.read_text() != right
    with far.open() as again:
        assert again.commit_pending_executions().complete
    assert far.made(run.execution_rid) == WHOLE


def test_a_run_that_may_not_upload_any_more_ends_with_the_way_to_finish_it(far: Far, configuration: Any) -> None:
    run = far.begin(configuration)
    far.server.secret.unlink()
    far.serve_again()
    run.execution_stop()  # which cannot be told, and is noted here
    assert run.status is Status.completed
    report, error = finish(run, None, " --host far", QUICK)
    assert report is None
    assert isinstance(error, DerivaMLUploadError)
    assert error.exit_code == 4
    assert "does not know who asks" in str(error)
    assert f"deriva-ml-upload --execution {run.execution_rid} --host far" in str(error)
    with far.open() as again:
        assert again.commit_pending_executions().complete
    assert far.made(run.execution_rid) == WHOLE


def test_a_download_that_breaks_goes_on_and_is_verified(far: Far, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    url = far.near.session.objects.put("/hatrac/Scan/large.in", content)
    far.line.break_after = 2_000_000
    digests = far.ml.session.objects.fetch(url, tmp_path / "large.in")
    assert far.line.break_after is None
    assert digests.length == len(content)
    assert (tmp_path / "large.in").read_bytes() == content


def test_a_folder_that_is_moved_away_and_brought_back(world: Any, configuration: Any) -> None:
    run = world.ml.create_execution(configuration)
    run.execution_start()
    root = Path(str(world.ml.session.place.root))
    root.rename(root.with_name("elsewhere"))
    run.asset_file_path("Scan", "a.txt").write_text("a")
    run.execution_stop()
    before = time.monotonic()
    with pytest.raises(DerivaMLUnreachable, match="is not there any more"):
        run.upload_execution_outputs()
    assert time.monotonic() - before < 2  # a folder does not come back by itself
    assert not root.exists()
    root.with_name("elsewhere").rename(root)
    run.upload_execution_outputs()
    assert (str(run.status), run.upload_state.value) == ("Completed", "uploaded")
    record = world.ml.lookup_execution(run.execution_rid)
    assert (record.status, record.upload_state) == (Status.completed, "uploaded")
