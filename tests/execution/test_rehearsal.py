"""A fully dry run goes the whole way in a copy of the catalog, and leaves the catalog byte for byte as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.serving import served

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import open_connection
from deriva_ml.core.config import resolve_place
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLExecutionError, DerivaMLModelError
from deriva_ml.core.ml_config import DerivaMLConfig
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.request import RunRequest
from deriva_ml.execution.runner import perform
from deriva_ml.execution.throwaway import copied
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML

NO_JOB = JobContext({}, None)
SEEN: dict[str, Any] = {}


def train(stranger: bool = False, *, ml_instance: Any = None, execution: Any = None) -> None:
    """Read the inputs, write a file and a feature value for each subject."""
    SEEN["bags"] = [bag.dataset_rid for bag in execution.datasets]
    SEEN["files"] = {table: [path.read_bytes() for path in paths] for table, paths in execution.asset_paths.items()}
    SEEN["place"] = ml_instance.session.place.root
    execution.asset_file_path("Execution_Asset", "out.txt", asset_types="Output_File").write_text("done")
    record = ml_instance.feature_record_class("Subject", "Score")
    subjects = execution.datasets[0].list_dataset_members()["Subject"]
    rids = ["9-ZZZZ"] if stranger else [row["RID"] for row in subjects]
    execution.add_features(record(Subject=rid, Value=1.5) for rid in rids)


def wrong_output(*, ml_instance: Any = None, execution: Any = None) -> None:
    execution.asset_file_path("Execution_Asset", "never written.txt")


def raises(*, ml_instance: Any = None, execution: Any = None) -> None:
    raise ValueError("diverged")


def request(hostname: str, model: Any = train, **changes: Any) -> RunRequest:
    code = Workflow(name="w", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)
    values: dict[str, Any] = {
        "deriva_ml": DerivaMLConfig(hostname=hostname, catalog_id=1),
        "datasets": [],
        "assets": [],
        "description": "a run",
        "workflow": code,
        "model_config": model,
        "dry_run": "full",
    }
    return RunRequest(**(values | changes))


@pytest.fixture
def given(world: Any, tmp_path: Path) -> dict[str, Any]:
    """The inputs of a run: a dataset, an asset and a file of this machine."""
    version = str(world.ml.lookup_dataset(world.dataset).current_version)
    (tmp_path / "local.txt").write_text("mine")
    world.ml.close()
    return {
        "datasets": [DatasetSpec(rid=world.dataset, version=version)],
        "assets": [world.asset, str(tmp_path / "local.txt")],
    }


@contextmanager
def untouched(root: Path) -> Iterator[None]:
    """Within the block nothing of the folder changes; what SQLite keeps of readers does not count."""

    def content() -> dict[str, bytes]:
        files = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
        found = {str(path): path.read_bytes() for path in files}
        return {name: held for name, held in found.items() if held or not name.endswith("-wal")}

    before = content()
    yield
    assert content() == before


def assert_went_the_whole_way(outcome: Any, hostname: str) -> None:
    assert outcome.error is None
    report = outcome.report
    assert (report.record.status, report.record.upload_state) == ("Completed", "uploaded")
    assert [asset.file_name for asset in report.output_assets] == ["out.txt"]
    assert [(feature.feature, feature.count) for feature in report.features] == [("Score", 3)]
    assert sorted(asset.file_name for asset in report.input_assets) == ["input.bin", "local.txt"]
    assert [use.version for use in report.input_datasets] == [str(outcome.checked.inputs.datasets[0].spec.version)]
    assert SEEN["files"] == {"Scan": [b"scan"], "Execution_Asset": [b"mine"]}
    assert report.place == str(resolve_place(hostname))
    assert not SEEN["place"].exists()


def test_the_whole_way_in_a_folder_leaves_it_byte_for_byte(world: Any, given: Any, tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    with untouched(root):
        outcome = perform(request(str(root), **given), NO_JOB)
    assert_went_the_whole_way(outcome, str(root))
    with DerivaML(str(root), 1) as ml:
        assert list(ml.find_executions()) == []
        assert [bag.dataset_rid for bag in ml.list_cached_bags()] == [world.dataset]  # the cache is the usual one


def test_what_the_upload_would_not_take_shows_before_the_real_run(given: Any, tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    with untouched(root):
        outcome = perform(request(str(root), wrong_output, **given), NO_JOB)
        assert isinstance(outcome.error, DerivaMLExecutionError)
        assert "never written.txt" in str(outcome.error)
        assert "nothing of it was recorded" in str(outcome.error.hint)
        assert outcome.error.exit_code == 1
        strange = perform(request(str(root), partial(train, stranger=True), **given), NO_JOB)
    assert isinstance(strange.error, DerivaMLException)
    assert "9-ZZZZ" in str(strange.error)


def test_a_model_that_raises_is_told_and_nothing_is_kept(given: Any, tmp_path: Path) -> None:
    root = tmp_path / "catalog"
    with untouched(root):
        outcome = perform(request(str(root), raises, **given), NO_JOB)
    assert isinstance(outcome.error, DerivaMLModelError)
    assert "diverged" in str(outcome.error)
    assert "deriva-ml-show" not in str(outcome.error.hint)
    assert outcome.report is not None
    assert outcome.report.record.status == "Failed"


def test_if_something_is_wrong_no_model_is_called(given: Any, tmp_path: Path) -> None:
    SEEN.clear()
    outcome = perform(request(str(tmp_path / "catalog"), assets=["9-ZZZZ"]), NO_JOB)
    assert "9-ZZZZ" in str(outcome.error)
    assert SEEN == {}


def test_a_default_catalog_that_is_not_there_is_not_made(settings: Any) -> None:
    def look(*, ml_instance: Any = None, execution: Any = None) -> None:
        SEEN["place"] = ml_instance.session.place.root

    outcome = perform(request("local", look), NO_JOB)
    assert outcome.error is None
    assert outcome.report is not None
    assert outcome.report.record.status == "Completed"
    assert not settings.local.exists()
    assert not SEEN["place"].exists()


def test_the_whole_way_against_a_folder_that_is_served(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "catalog"
    with served(root) as server:
        monkeypatch.setenv("DERIVA_ML_TOKEN", server.token)
        assert perform(request(server.url, **given, dry_run=True), NO_JOB).error is None  # opens the databases
        with untouched(root):
            outcome = perform(request(server.url, **given), NO_JOB)
        assert_went_the_whole_way(outcome, server.url)
        wrong = perform(request(server.url, partial(train, stranger=True), **given), NO_JOB)
    assert "9-ZZZZ" in str(wrong.error)


def test_a_copy_reads_the_objects_below_and_keeps_its_own(world: Any, tmp_path: Path) -> None:
    session = world.ml.session
    with copied(session, []) as place:
        with open_connection(str(place.root)) as connection:
            objects = connection.objects()
            (row,) = connection.catalog(1).rows_by("demo-schema", "Scan", "RID", [world.asset])
            objects.fetch(str(row["URL"]), tmp_path / "fetched")
            assert (tmp_path / "fetched").read_bytes() == b"scan"
            path = objects.local_path(str(row["URL"]))
            assert path is not None
            assert path.is_relative_to(session.place.root)
            objects.put("/hatrac/Scan/new.bin", b"new", filename="new.bin")
            client = CatalogClient(connection.transport, "1")
            client.insert("demo-schema", "Subject", [{"Name": "only here"}])
        assert len(list((place.root / "objects").rglob("*"))) > 0
    assert len(list(world.ml.get_table_as_dict("Subject"))) == 3
    assert not place.folder.exists()
