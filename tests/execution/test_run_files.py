"""Files in a run: local ones as inputs, metrics, directories, files by reference."""

from __future__ import annotations

import json
import os

import pytest

from deriva_ml.asset.local_file import LocalFile
from deriva_ml.core.enums import UploadState
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLReadOnlyError,
    DerivaMLTableTypeError,
    DerivaMLUploadError,
    DerivaMLValidationError,
)
from deriva_ml.core.filespec import FileSpec
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.wire.path import eq, table


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "data" / "in put.csv"
    path.parent.mkdir()
    path.write_text("1,2\n")
    return path


def configured(configuration, *assets):
    return ExecutionConfiguration(
        **{**configuration.model_dump(), "workflow": configuration.workflow, "assets": assets}
    )


def test_a_local_file_is_an_asset_of_the_run(world, configuration, local):
    execution = world.ml.create_execution(configured(configuration, world.asset, str(local)))
    local.write_text("changed afterwards")
    with execution.execute():
        (path,) = execution.asset_paths["Execution_Asset"]
    assert path.name == "in put.csv"
    assert path.read_text() == "1,2\n"
    assert path.parent.name == path.asset_rid
    inputs = {asset.asset_rid: asset.asset_types for asset in execution.list_assets("Input")}
    assert inputs == {world.asset: [], path.asset_rid: ["Input_File"]}
    assert [spec.rid for spec in execution.configuration.assets] == [world.asset, path.asset_rid]
    recorded = json.loads(next(execution.working_dir.rglob("configuration.json")).read_text())
    assert [spec["rid"] for spec in recorded["assets"]] == [world.asset, path.asset_rid]


def test_a_second_run_reads_the_same_asset(world, configuration, local):
    runs = [world.ml.create_execution(configured(configuration, LocalFile(path=local, cache=True))) for _ in "ab"]
    assert len({run.configuration.assets[0].rid for run in runs}) == 1
    assert runs[0].configuration.assets[0].cache


def test_a_run_that_is_taken_up_again_reads_the_same_asset(world, configuration, local):
    given = configured(configuration, local)
    first = world.ml.create_execution(given)
    again = Execution(given, world.ml, reload=first.execution_rid)
    with again.execute():
        (path,) = again.asset_paths["Execution_Asset"]
    assert path.asset_rid == first.configuration.assets[0].rid
    assert len(again.list_assets("Input")) == 1


def test_a_dry_run_brings_a_local_file_and_stores_nothing(world, configuration, local):
    before = len(world.ml.list_assets("Execution_Asset"))
    execution = world.ml.create_execution(configured(configuration, local), dry_run=True)
    with execution.execute():
        (path,) = execution.asset_paths["Execution_Asset"]
        assert path.read_text() == "1,2\n"
        assert path.asset_rid is None
        path.write_text("the model writes to its input")
    assert local.read_text() == "1,2\n"
    assert len(world.ml.list_assets("Execution_Asset")) == before


def test_a_local_file_that_is_not_there_is_said_before_anything_is_written(world, configuration, local):
    before = world.ml.session.catalog.latest_snaptime()
    with pytest.raises(DerivaMLDataError, match=r"(?s)none\.csv does not exist.*assets\[0\]"):
        world.ml.create_execution(configured(configuration, str(local.with_name("none.csv"))))
    with pytest.raises(DerivaMLValidationError, match="named twice"):
        world.ml.create_execution(configured(configuration, local, str(local)))
    assert world.ml.session.catalog.latest_snaptime() == before


def test_metrics_are_added_to_one_file(world, configuration):
    execution = world.ml.create_execution(configuration)
    with execution.execute() as run:
        assert run.metrics_file().read_bytes() == b""
        for epoch in range(3):
            with run.metrics_file().open("a") as out:
                out.write(json.dumps({"epoch": epoch}) + "\n")
        other = run.metrics_file("other.jsonl")
        assert other != run.metrics_file()
    execution.upload_execution_outputs(clean_folder=False)
    stored = {asset.filename: asset for asset in execution.list_assets("Output")}
    assert stored["metrics.jsonl"].length == len('{"epoch": 0}\n') * 3
    assert stored["metrics.jsonl"].asset_types == ["Output_File"]
    assert stored["other.jsonl"].length == 0


def test_a_directory_of_assets_is_uploaded(world, configuration, tmp_path):
    folder = tmp_path / "Scan"
    (folder / "below").mkdir(parents=True)
    for name in ("a b.nii.gz", "below/a b.nii.gz"):
        (folder / name).write_text(name)
    execution = world.ml.create_execution(configuration)
    with execution.execute() as run:
        states = run.upload_assets(folder)
    assert set(states) == {"Scan/a b.nii.gz", "Scan/below/a b.nii.gz"}
    assert {state.state for state in states.values()} == {UploadState.success}
    rids = {state.rid for state in states.values()}
    assert len(rids) == 2
    assert rids <= {asset.asset_rid for asset in world.ml.list_assets("Scan")}
    os.mkfifo(folder / "pipe")
    with pytest.raises(DerivaMLDataError, match="pipe is not a plain file"):
        execution.upload_assets(folder)
    with pytest.raises(DerivaMLTableTypeError):
        (tmp_path / "Subject").mkdir()
        (tmp_path / "Subject" / "x").touch()
        execution.upload_assets(tmp_path / "Subject")
    with pytest.raises(DerivaMLDataError, match="no directory"):
        execution.upload_assets(tmp_path / "none")
    assert execution.manifest.pending_assets() == []


def test_files_by_reference_are_outputs_of_the_run(world, configuration, local):
    execution = world.ml.create_execution(configuration)
    with execution.execute() as run:
        dataset = run.add_files(FileSpec.create_filespecs(local.parent, "by reference"), description="d")
    assert len(dataset.list_dataset_members()["File"]) == 1
    links = world.ml.session.catalog.rows(
        table("deriva-ml", "File_Execution").where(eq("Execution", run.execution_rid))
    )
    assert len(links) == 1
    dry = world.ml.create_execution(configuration, dry_run=True)
    with dry.execute(), pytest.raises(DerivaMLReadOnlyError):
        dry.add_files([])


def test_patience_that_makes_no_sense_is_refused(world, configuration):
    execution = world.ml.create_execution(configuration)
    with execution.execute() as run:
        run.metrics_file()
    for wrong in ({"max_retries": -1}, {"retry_delay": -0.5}, {"chunk_size": 0}):
        with pytest.raises(DerivaMLUploadError, match="Not a way to upload"):
            execution.upload_execution_outputs(**wrong)
    assert execution.upload_execution_outputs(max_retries=0, timeout=(1, 1), chunk_size=1)
