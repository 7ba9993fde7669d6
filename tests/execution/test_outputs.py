"""There is one way for outputs into the catalog, and it can be gone again and again."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest
from tests.fakes import Failing

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLUnreachable, DerivaMLUploadError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.finishing import clean_run_directory, commit_run, parse_upload
from deriva_ml.execution.outputs import CommitReport, execution_root
from deriva_ml.execution.recovery import incomplete_runs
from deriva_ml.execution.states import Upload
from deriva_ml.workspace.manifest import MANIFEST_NAME, AssetEntry, Manifest, Uploaded


def test_an_upload_that_breaks_off_is_finished_by_another_process(ml, configuration):
    down = []
    transport = Failing(
        ml.connection.transport, lose=lambda request, _number: bool(down) and "hatrac" in request.target
    )
    session = replace(
        ml.session,
        catalog=type(ml.session.catalog)(transport, "1"),
        objects=type(ml.session.objects)(transport),
    )
    execution = Execution(configuration, session)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    down.append(True)
    with pytest.raises(DerivaMLUnreachable):
        execution.upload_execution_outputs(max_retries=1, retry_delay=0.01)
    assert execution.upload_state is Upload.failed
    record = ml.lookup_execution(execution.execution_rid)
    assert (record.status, record.upload_state) == (Status.completed, "failed")
    (left,) = incomplete_runs(ml)
    assert left.run.execution == execution.execution_rid
    assert [entry.file_name for entry in commit_run(ml, left.run.execution).done] == ["a.txt"]
    assert ml.lookup_execution(execution.execution_rid).upload_state == "uploaded"
    assert incomplete_runs(ml) == []


def test_values_of_a_feature_that_is_gone_do_not_keep_files_back(world, configuration):
    ml = world.ml
    score = ml.feature_record_class("Subject", "Score")
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        execution.add_features([score(Subject=world.subjects[0], Value=1.0)])
    ml.delete_feature("Subject", "Score")
    with pytest.raises(DerivaMLUploadError, match="feature Subject:Score"):
        execution.upload_execution_outputs()
    assert [use.file_name for use in execution.describe().output_assets] == ["a.txt"]
    assert not execution.reports[-1].complete


def test_a_run_without_outputs_is_uploaded_too(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        pass
    assert execution.upload_execution_outputs() == {}
    assert ml.lookup_execution(execution.execution_rid).upload_state == "uploaded"


def test_a_long_list_of_errors_is_cut():
    report = CommitReport("1-ABCD", failed_features={f"T:{number}": "why" for number in range(9)})
    with pytest.raises(DerivaMLUploadError, match=r"\(and 4 more\)"):
        report.require_complete()
    assert len(report.errors()) == 9


def test_progress_is_told(ml, configuration):
    told = []
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("abc")
    execution.upload_execution_outputs(progress_callback=told.append)
    assert told[-1].percent_complete == 100.0
    assert told[-1].bytes_completed == 3


def test_cleaning_a_directory_keeps_manifest_and_configuration_and_what_was_registered_meanwhile(tmp_path):
    for name in ("inputs/1-AB/x", "assets/T/k/y", "metadata/uv.lock", "metadata/configuration.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "metadata")
    manifest = Manifest(tmp_path / MANIFEST_NAME, "1-AB")
    entry = AssetEntry("T", "s", key="k", file_name="y", path="assets/T/k/y")
    Manifest(manifest.path).add(entry)  # by another process
    clean_run_directory(manifest, Status.completed)
    assert (tmp_path / "assets/T/k/y").exists()
    manifest.mark_uploaded([Uploaded("k", "1-CD")])
    clean_run_directory(manifest, Status.completed)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in left if not name.endswith(".lock")] == [MANIFEST_NAME, "metadata/configuration.json"]


def test_what_cannot_be_removed_is_told_and_is_no_error(tmp_path):
    for name in ("assets/T/k/y", "inputs/1-AB/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    Manifest(tmp_path / MANIFEST_NAME, "1-AB").path.chmod(0o666)
    for folder in (tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())):
        folder.chmod(0o777)
    (tmp_path / "assets/T/k").chmod(0o555)
    code = """
import os
from pathlib import Path
from deriva_ml.core.enums import Status
from deriva_ml.execution.finishing import clean_run_directory
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest
os.fchdir(os.open(".", os.O_RDONLY))
if not os.geteuid():
    os.seteuid(65534)
clean_run_directory(Manifest(Path(MANIFEST_NAME)), Status.completed)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "cannot be removed: Permission denied" in done.stderr
    assert (tmp_path / "assets/T/k/y").exists()
    assert not (tmp_path / "inputs").exists()


def test_in_the_middle_of_a_run_what_is_not_written_yet_is_no_failure(world, configuration):
    with Execution(configuration, world.ml) as run:
        last = run.asset_file_path("Execution_Asset", "final.txt")
        rows = run.table_path("Subject")
        run.asset_file_path("Execution_Asset", "first.txt").write_text("1")
        assert [path.name for path in run.upload_execution_outputs()["deriva-ml/Execution_Asset"]] == ["first.txt"]
        assert run.upload_execution_outputs() == {}
        assert [entry.file_name for entry in run.reports[-1].unwritten] == ["final.txt"]
        assert run.pending_summary().pending_files == 1
    with pytest.raises(DerivaMLUploadError, match=r"final.txt.*never written"):
        run.upload_execution_outputs()
    last.write_text("2")
    rows.write_text("Name\nlate\n")
    assert [path.name for path in run.upload_execution_outputs()["deriva-ml/Execution_Asset"]] == ["final.txt"]
    assert run.upload_state is Upload.uploaded


def test_several_threads_may_upload_at_once_and_each_is_told_what_it_brought(ml, configuration):
    execution = Execution(configuration, ml)
    assert execution.uploaded_assets is None
    with execution:
        for number in range(20):
            execution.asset_file_path("Execution_Asset", f"{number}.txt").write_text(str(number))
        inside = execution.upload_execution_outputs()
        for number in range(20, 60):
            execution.asset_file_path("Execution_Asset", f"{number}.txt").write_text(str(number))
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(execution.upload_execution_outputs) for _ in range(4)]
        brought = [call.result() for call in calls]
    assert [len(found.get("deriva-ml/Execution_Asset", ())) for found in (inside, *brought)].count(0) == 3
    together = [path for found in (inside, *brought) for paths in found.values() for path in paths]
    assert sorted(int(path.stem) for path in together) == list(range(60))
    assert execution.uploaded_assets == {"deriva-ml/Execution_Asset": together}
    assert len(execution.describe().output_assets) == 60
    assert execution.upload_state is Upload.uploaded


def test_two_who_upload_at_once_take_turns_and_the_last_says_how_it_stands(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        path = execution.asset_file_path("Execution_Asset", "late.txt")
    with ThreadPoolExecutor(2) as pool:
        with execution.manifest.turn():
            calls = [pool.submit(commit_run, ml, execution.execution_rid) for _ in range(2)]
            wait(calls, timeout=0.2)
            assert not any(call.done() for call in calls)
            path.write_text("here it is")
        assert all(call.result().complete for call in calls)
    assert ml.lookup_execution(execution.execution_rid).upload_state == "uploaded"


def test_names_of_upload_states(tmp_path):
    assert [parse_upload(text) for text in (None, "", "failed", "??")] == [
        Upload.none,
        Upload.none,
        Upload.failed,
        Upload.none,
    ]


def test_the_directory_of_a_run_is_the_catalog_s_own(session, tmp_path):
    usual = session.working_dir / "deriva-ml" / "execution" / "1-AB"
    assert execution_root(session, "1-AB") == usual
    assert execution_root(replace(session, own_dir=tmp_path), "1-AB") == tmp_path / "execution" / "1-AB"
