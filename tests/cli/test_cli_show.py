"""What ``deriva-ml-show`` prints of runs, and the pieces of the printer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.execution.test_resume import held_by, leave

from deriva_ml.cli.check_schema import main as check_schema
from deriva_ml.cli.records import show_latest, show_report
from deriva_ml.cli.show import main
from deriva_ml.cli.terminal import show_json
from deriva_ml.cli.upload import main as upload
from deriva_ml.core.config import place_flags
from deriva_ml.core.enums import Status
from deriva_ml.execution import ExecutionConfiguration, Workflow
from deriva_ml.execution.execution_record import ExecutionRecord
from deriva_ml.ml import DerivaML

CODE = Workflow(name="A [b] c", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)


@pytest.fixture
def run(ml: DerivaML) -> Any:
    """A run with an output, part of another."""
    parent = ml.create_execution(ExecutionConfiguration(workflow=CODE, description="# All [of] them\nmore"))
    child = ml.create_execution(
        ExecutionConfiguration(workflow=CODE, description="a part"), parent=parent.execution_rid, sequence=2
    )
    with parent.execute(), child.execute():
        path = child.asset_file_path("Execution_Asset", "a [x] b.txt", asset_types="Output_File")
        path.write_text("x" * 2048)
    child.upload_execution_outputs()
    parent.upload_execution_outputs()
    return child


def test_the_latest_runs_come_first_and_sweeps_are_recognisable(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "sweep of 1: All [of] them" in lines[2]
    assert "a part" in lines[3]
    assert lines[3].startswith(f"  {run.execution_rid}")


def test_a_run_is_shown_with_everything_that_it_made(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([run.execution_rid]) == 0
    text = capsys.readouterr().out
    for said in ("Completed", "a part", "A [b] c (Analysis)", "job 2 of ", "a [x] b.txt", "Output_File", "2.0 KB"):
        assert said in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_of_a_run_of_another_machine_it_is_said_when_it_was_last_seen(ml, capsys: pytest.CaptureFixture[str]) -> None:
    running = ml.create_execution(ExecutionConfiguration(workflow=CODE, description="far away"))
    running.execution_start()
    assert main([running.execution_rid]) == 0
    assert "last seen" not in capsys.readouterr().out
    held_by(ml, running, host="far", boot="another", namespace="another", heartbeat="2026-01-02T03:04:05.000+00:00")
    assert main([running.execution_rid]) == 0
    text = capsys.readouterr().out
    assert "Running" in text
    assert re.search(r"process \d+ on far was last seen at 2026-01-02 .*cannot be seen from here", text)


def test_a_run_that_another_machine_began_cannot_be_judged_here(ml, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = ml.session.catalog.insert("deriva-ml", "Execution", [{"Description": "elsewhere", "Status": "Running"}])
    assert main([str(row["RID"])]) == 0
    assert "It is no run of this machine" in capsys.readouterr().out


@pytest.mark.parametrize("command", [check_schema, main, upload])
def test_whichever_command_comes_next_finds_a_run_whose_process_is_gone(ml, command) -> None:
    left = ml.create_execution(ExecutionConfiguration(workflow=CODE, description="left"))
    left.execution_start()
    leave(ml, left)
    command([])
    assert ml.lookup_execution(left.execution_rid).status is Status.aborted


def test_json_holds_the_same(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([run.execution_rid, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["record"]["status"] == "Completed"
    assert report["output_assets"][0]["length"] == 2048
    assert main(["--json"]) == 0
    assert [item["jobs"] for item in json.loads(capsys.readouterr().out)] == [None, 1]


def test_a_catalog_without_runs_says_so(catalog_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", str(catalog_root)]) == 0
    assert capsys.readouterr().out == "No runs yet.\n"


def test_nothing_is_made_by_looking(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert upload([]) == 2
    assert not settings.local.exists()
    assert "There is no catalog 1" in capsys.readouterr().err


def test_nothing_to_upload_says_so(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert upload([]) == 0
    assert "Nothing to upload" in capsys.readouterr().out


def test_the_upload_of_a_run_that_is_not_complete_goes_on(ml: DerivaML, capsys: pytest.CaptureFixture[str]) -> None:
    execution = ml.create_execution(ExecutionConfiguration(workflow=CODE, description="late"))
    with execution.execute():
        late = execution.asset_file_path("Execution_Asset", "late.txt")
    assert upload(["--execution", execution.execution_rid]) == 4
    assert "late.txt" in capsys.readouterr().err
    late.write_text("here")
    assert upload([]) == 0
    assert f"{execution.execution_rid}: 1 file(s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("hostname", "catalog", "flags"),
    [("local", "1", ""), ("local", "demo", " --catalog demo"), ("/a b", "1", " --host '/a b'")],
)
def test_the_command_that_shows_a_run_names_its_catalog(hostname: str, catalog: str, flags: str) -> None:
    assert place_flags(hostname, catalog) == flags


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1:01 min"), (3723, "1:02:03")]
)
def test_durations_are_short(run: Any, seconds: float, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    record = ExecutionRecord(
        "1-ABCD", status=Status.failed, start_time=start, stop_time=start + timedelta(seconds=seconds)
    )
    show_report(replace(run.describe(), record=record))
    assert f"took {shown}" in capsys.readouterr().out


def test_json_knows_every_value_of_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"a": ExecutionRecord("1-ABCD", created=datetime(2026, 1, 1, tzinfo=UTC)), "b": Path("/x")})
    shown = json.loads(capsys.readouterr().out)
    assert shown["a"]["created"] == "2026-01-01T00:00:00+00:00"
    assert shown["b"] == "/x"


def _record(rid: str, *, upload: str = "uploaded") -> ExecutionRecord:
    return replace(
        ExecutionRecord(rid, None, Status.completed, "", f"what {rid} is for, at some length", None, None, None, None),
        upload_state=upload,
    )


def test_jobs_of_sweeps_that_ran_at_once_stand_below_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    records = [_record(rid) for rid in ("1-000F", "1-000E", "1-000D", "1-000C", "1-000B", "1-000A")]
    parts = {"1-000F": "1-000A", "1-000E": "1-000B", "1-000D": "1-000A", "1-000C": "1-0001"}
    show_latest(records, {"1-000A": 2, "1-000B": 1}, parts, "")
    lines = capsys.readouterr().out.splitlines()[2:8]
    assert [line.split()[0] for line in lines] == ["1-000A", "1-000F", "1-000D", "1-000B", "1-000E", "1-000C"]
    assert "(of 1-0001)" in lines[-1]


@pytest.mark.parametrize("width", [20, 40, 60])
def test_in_a_narrow_terminal_only_the_description_is_folded(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deriva_ml.cli.terminal.PLAIN_WIDTH", width)
    show_latest([_record("1-000F-0001", upload="failed")], {}, {}, "")
    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith("1-000F-0001 ")
    assert "Completed (upload failed)" in line


def test_an_output_that_was_never_written_can_be_given_up(ml: DerivaML, capsys: pytest.CaptureFixture[str]) -> None:
    execution = ml.create_execution(ExecutionConfiguration(workflow=CODE, description="forgetful"))
    with execution.execute() as running:
        running.asset_file_path("Execution_Asset", "never.txt")
        running.asset_file_path("Execution_Asset", "written.txt").write_text("x")
    rid = execution.execution_rid
    for _ in range(2):
        assert upload(["--execution", rid]) == 4
    assert "--abandon" in capsys.readouterr().err
    assert main([rid]) == 0
    assert f"1 file(s) wait on this machine: deriva-ml-upload --execution {rid}" in capsys.readouterr().out
    assert upload(["--abandon"]) == 2
    assert upload(["--execution", rid, "--abandon"]) == 0
    assert upload(["--execution", rid]) == 0
    assert upload([]) == 0
    report = execution.describe()
    assert report.record.upload_state == "uploaded"
    assert [asset.file_name for asset in report.output_assets] == ["written.txt"]
