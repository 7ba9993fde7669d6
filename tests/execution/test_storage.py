"""What runs and downloads take of the disk is told truly, and cleaning loses nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.execution import Execution


@pytest.fixture
def finished(ml, configuration):
    """A run whose output is in the catalog, and whose directory is still there."""
    run = Execution(configuration, ml)
    with run.execute() as each:
        each.asset_file_path("Execution_Asset", "out.txt").write_text("x" * 1000)
    run.upload_execution_outputs(clean_folder=False)
    return run


@pytest.fixture
def waiting(ml, configuration):
    """A run whose output is not in the catalog."""
    run = Execution(configuration, ml)
    with run.execute() as each:
        each.asset_file_path("Execution_Asset", "keep.txt").write_text("precious")
    return run


def test_directories_are_listed_with_what_they_take(ml, finished):
    (listed,) = ml.list_execution_dirs()
    assert listed["execution_rid"] == finished.execution_rid
    assert listed["size_bytes"] >= 1000
    assert listed["file_count"] >= 2
    assert listed["size_mb"] == pytest.approx(listed["size_bytes"] / 1048576)


def test_only_what_the_catalog_has_is_removed(ml, finished, waiting):
    report = ml.clean_execution_dirs()
    assert report["dirs_removed"] == 1
    assert report["bytes_freed"] >= 1000
    assert list(report["kept"]) == [waiting.execution_rid]
    assert "1 file(s) are not in the catalog yet" in report["kept"][waiting.execution_rid]
    assert [each["execution_rid"] for each in ml.list_execution_dirs()] == [waiting.execution_rid]
    waiting.upload_execution_outputs(clean_folder=False)
    assert ml.clean_execution_dirs()["dirs_removed"] == 1


def test_a_run_that_goes_on_is_kept(ml, configuration):
    run = Execution(configuration, ml)
    with run.execute():
        assert ml.clean_execution_dirs()["kept"] == {run.execution_rid: "it is running"}


def test_age_and_exclusion_are_kept_to(ml, finished):
    assert ml.clean_execution_dirs(older_than_days=1)["dirs_removed"] == 0
    assert ml.clean_execution_dirs(exclude_rids=[finished.execution_rid])["dirs_removed"] == 0
    old = time.time() - 3 * 86400
    for directory, _names, files in os.walk(ml.session.runs_dir):
        for name in (".", *files):
            os.utime(Path(directory) / name, (old, old))
    assert ml.clean_execution_dirs(older_than_days=1)["dirs_removed"] == 1


def test_the_cache_is_measured_and_cleared(ml, world):
    ml.download_dataset_bag(DatasetSpec(rid=world.dataset, version=ml.lookup_dataset(world.dataset).current_version))
    size = ml.get_cache_size()
    assert size["total_bytes"] > 0
    assert size["file_count"] > 0
    assert ml.clear_cache(older_than_days=1)["dirs_removed"] == 0
    report = ml.clear_cache()
    assert report["dirs_removed"] == 1
    assert report["files_removed"] > 0
    assert report["errors"] == 0
    assert ml.clear_cache()["dirs_removed"] == 0


def test_the_summary_adds_up(ml, finished):
    summary = ml.get_storage_summary()
    assert summary["execution_dir_count"] == 1
    assert summary["total_size_mb"] == pytest.approx(summary["cache_size_mb"] + summary["execution_size_mb"])
    assert summary["working_dir"] == str(ml.working_dir)


def test_a_machine_without_runs_takes_nothing(ml):
    assert ml.list_execution_dirs() == []
    assert ml.clean_execution_dirs() == {"dirs_removed": 0, "bytes_freed": 0, "errors": 0, "kept": {}}
    assert ml.get_cache_size()["total_bytes"] == 0
