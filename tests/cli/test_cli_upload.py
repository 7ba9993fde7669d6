"""``deriva-ml-upload``: what waits is finished, from any process; the exit code says how far it came."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml.cli.upload import main as upload
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.ml import DerivaML


@pytest.fixture
def workflow(ml: DerivaML) -> str:
    """The row of a workflow; where its code is does not matter here."""
    (row,) = ml.session.catalog.insert(
        "deriva-ml", "Workflow", [{"Name": "Test", "URL": "https://example.org/code", "Checksum": "0" * 40}]
    )
    return str(row["RID"])


def waiting(ml: DerivaML, workflow: str, *names: str, never: str | None = None) -> Execution:
    """A run that has ended, and whose outputs are not in the catalog."""
    execution = Execution(ExecutionConfiguration(description="waits"), ml, workflow=workflow)
    with execution:
        for name in names:
            execution.asset_file_path("Execution_Asset", name).write_text(name)
        if never is not None:
            execution.asset_file_path("Execution_Asset", never)
    return execution


def outputs(execution: Execution) -> list[str]:
    return sorted(use.file_name for use in execution.describe().output_assets)


def test_another_process_finishes_what_waits_and_a_second_finds_nothing(ml, workflow, capsys):
    one, two = waiting(ml, workflow, "a.txt"), waiting(ml, workflow, "b.txt", "c.txt")
    command = [sys.executable, "-m", "deriva_ml.cli.upload", "--host", ml.host_name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{one.execution_rid}: 1 file(s) and 0 feature value(s) uploaded" in done.stdout
    assert f"{two.execution_rid}: 2 file(s)" in done.stdout
    assert (outputs(one), outputs(two)) == (["a.txt"], ["b.txt", "c.txt"])
    assert upload(["--host", ml.host_name]) == 0
    assert "Nothing to upload" in capsys.readouterr().out


def test_only_the_runs_that_are_named_are_finished(ml, workflow, capsys):
    one, two = waiting(ml, workflow, "a.txt"), waiting(ml, workflow, "b.txt")
    assert upload(["--host", ml.host_name, "--execution", two.execution_rid]) == 0
    assert one.execution_rid not in capsys.readouterr().out
    assert (outputs(one), outputs(two)) == ([], ["b.txt"])


def test_clean_frees_the_disk_of_what_the_catalog_has(ml, workflow):
    whole, partly = waiting(ml, workflow, "a.txt"), waiting(ml, workflow, "b.txt", never="never.txt")
    assert upload(["--host", ml.host_name, "--clean"]) == 4
    assert not (whole.working_dir / "assets").exists()
    assert (partly.working_dir / "assets").exists()
    assert upload(["--host", ml.host_name, "--clean", "--execution", partly.execution_rid, "--abandon"]) == 0
    assert not (partly.working_dir / "assets").exists()
    assert outputs(partly) == ["b.txt"]


def test_what_stays_pending_is_code_4_and_keeps_no_other_back(ml, workflow, capsys):
    missing, whole = waiting(ml, workflow, never="never.txt"), waiting(ml, workflow, "a.txt")
    assert upload(["--host", ml.host_name]) == 4
    said = capsys.readouterr()
    assert "never.txt" in said.err
    assert f"{missing.execution_rid}: 0 file(s) and 0 feature value(s) uploaded, 1 still missing" in said.out
    assert outputs(whole) == ["a.txt"]
    assert upload(["--host", ml.host_name]) == 4


def test_a_run_that_goes_on_is_passed_over_and_is_code_4_if_it_is_named(ml, workflow, capsys):
    execution = Execution(ExecutionConfiguration(description="goes on"), ml, workflow=workflow)
    execution.execution_start()
    execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    assert upload(["--host", ml.host_name]) == 0
    assert upload(["--host", ml.host_name, "--execution", execution.execution_rid]) == 4
    assert "has not ended" in capsys.readouterr().err
    execution.abort()


def test_a_wrong_request_is_code_2_and_the_runs_that_exist_are_finished(ml, workflow, capsys):
    execution = waiting(ml, workflow, "a.txt")
    assert upload(["--host", ml.host_name, "--execution", "1-NONE", "--execution", execution.execution_rid]) == 2
    assert "no outputs of execution 1-NONE" in capsys.readouterr().err
    assert outputs(execution) == ["a.txt"]
    assert upload(["--host", ml.host_name, "--abandon"]) == 2
    assert upload(["--host", ml.host_name, "--working-dir", f"{ml.host_name}-nowhere"]) == 2
    assert "There is no directory" in capsys.readouterr().err


def test_a_catalog_that_is_away_is_code_5(capsys):
    assert upload(["--host", "http://127.0.0.1:1"]) == 5
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_runs_of_a_working_directory_are_found_where_they_worked(ml, workflow, tmp_path: Path, capsys):
    place = tmp_path / "scratch"
    place.mkdir()
    with DerivaML(ml.host_name, 1, working_dir=place) as elsewhere:
        execution = waiting(elsewhere, workflow, "a.txt")
        assert upload(["--host", ml.host_name]) == 0
        assert "Nothing to upload" in capsys.readouterr().out
        assert upload(["--host", ml.host_name, "--working-dir", str(place)]) == 0
        assert outputs(execution) == ["a.txt"]
    shutil.rmtree(place)
