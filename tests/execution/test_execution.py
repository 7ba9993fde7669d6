"""A run, from its configuration to its outputs in a real catalog."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes import Counting, Failing

from deriva_ml.core.codes import decode, encode
from deriva_ml.core.config import folder_identity
from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDataError,
    DerivaMLDirtyWorkflowError,
    DerivaMLException,
    DerivaMLExecutionError,
    DerivaMLInvalidTerm,
    DerivaMLInvalidTransition,
    DerivaMLModelError,
    DerivaMLReadOnlyError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLUploadError,
    DerivaMLValidationError,
)
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.recovery import incomplete_runs
from deriva_ml.execution.report import describe
from deriva_ml.execution.resume import restore_execution
from deriva_ml.execution.states import Upload
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML
from deriva_ml.wire.path import table


def everything(session):
    """All rows of all tables, to see whether anything was written."""
    model = session.model()
    return {
        (schema, name): session.catalog.rows(table(schema, name))
        for schema in model.schemas
        for name in model.schemas[schema].tables
    }


def counted(ml, **failures):
    """The session of a ``DerivaML`` with a transport that counts, or fails."""
    transport = Failing(ml.connection.transport, **failures) if failures else Counting(ml.connection.transport)
    catalog = type(ml.session.catalog)(transport, ml.session.catalog_id)
    objects = type(ml.session.objects)(transport)
    return transport, replace(ml.session, catalog=catalog, objects=objects)


def test_a_run_is_recorded(ml, configuration):
    execution = Execution(configuration, ml)
    assert execution.status is Status.pending
    with execution.execute() as run:
        assert run.status is Status.running
        path = run.asset_file_path("Execution_Asset", "notes.txt", asset_types="Model_File", description="some notes")
        path.write_text("hello")
    assert execution.status is Status.completed
    uploaded = execution.upload_execution_outputs(clean_folder=False)
    assert [path.name for path in uploaded["deriva-ml/Execution_Asset"]] == ["notes.txt"]
    report = execution.describe()
    assert report.record.status is Status.completed
    assert report.record.upload_state == "uploaded"
    assert report.record.start_time < report.record.stop_time
    assert report.record.duration.startswith("0.0H 0.0min ")
    assert report.workflow.url == configuration.workflow.url
    (asset,) = report.output_assets
    assert (asset.file_name, asset.length, asset.description) == ("notes.txt", 5, "some notes")
    assert asset.types == ("Model_File",)
    names = {use.file_name.partition("_2")[0] for use in report.metadata}
    assert names == {"configuration.json", "uv.lock", "environment_snapshot"}
    assert all(use.description for use in report.metadata)


def test_a_run_takes_few_requests_and_their_number_does_not_grow(ml, configuration):
    transport, session = counted(ml)
    session.model()
    counts = []
    for outputs in (0, 10, 60):
        transport.reset()
        execution = Execution(configuration, session)
        with execution:
            for number in range(outputs):
                execution.asset_file_path("Execution_Asset", f"{number}.txt").write_text(f"{outputs} {number}")
        execution.upload_execution_outputs()
        puts = sum(method in {"PUT", "HEAD"} and "hatrac" in target for method, target in transport.requests)
        counts.append((transport.count, transport.count - puts))
    assert counts[0][0] <= 25
    assert counts[1][1] == counts[2][1]


def test_the_row_is_never_without_a_status(ml, configuration):
    execution = Execution(configuration, ml)
    rows = ml.session.catalog.rows(table("deriva-ml", "Execution"))
    assert [row["Status"] for row in rows] == ["Pending"]
    with open_journal(ml.session) as journal:
        steps = [step.what for step in journal.steps(execution.execution_rid)]
    assert steps == ["Created", "Initializing", "Pending"]


def test_a_failed_run_says_why_and_keeps_its_outputs(ml, configuration):
    execution = Execution(configuration, ml)
    with pytest.raises(ValueError, match="bad weights"), execution.execute() as run:
        run.asset_file_path("Execution_Asset", "partial.txt").write_text("so far")
        run.asset_file_path("Execution_Asset", "never.txt")
        raise ValueError("bad weights")
    report = execution.describe()
    assert report.record.status is Status.failed
    assert report.record.status_detail.startswith("ValueError: bad weights (at ")
    assert "test_execution.py" in report.record.status_detail
    assert [use.file_name for use in report.output_assets] == ["partial.txt"]
    assert report.record.upload_state == "uploaded"
    assert [entry.file_name for entry in execution.reports[-1].unwritten] == ["never.txt"]
    assert execution.upload_execution_outputs() == {}


def test_a_model_error_is_told_by_its_cause(ml, configuration):
    execution = Execution(configuration, ml)
    with pytest.raises(DerivaMLModelError), execution:
        try:
            raise KeyError("label")
        except KeyError as error:
            raise DerivaMLModelError("The model raised") from error
    assert execution.describe().record.status_detail.startswith("KeyError: 'label'")


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "Aborted"), (SystemExit, "Failed")])
def test_an_interruption_is_no_failure_and_an_exit_is_one(ml, configuration, error, status):
    execution = Execution(configuration, ml)
    with pytest.raises(error), execution:
        raise error
    assert lookup_execution(ml.session, execution.execution_rid).status == status


def test_a_second_failure_does_not_hide_the_first(ml, configuration):
    execution = Execution(configuration, ml)
    with pytest.raises(ValueError, match="first") as caught, execution:
        path = execution.asset_file_path("Execution_Asset", "x.txt")
        path.write_text("x")
        execution.manifest.path.write_text("spoiled\n")
        raise ValueError("first")
    assert "while the failed run was recorded" in caught.value.__notes__[0]
    assert execution.status is Status.failed


def test_outputs_may_be_uploaded_in_and_after_the_block_and_are_made_once(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        first = execution.upload_execution_outputs()
        assert execution.upload_state is Upload.uploaded
        execution.asset_file_path("Execution_Asset", "b.txt").write_text("b")
    second = execution.upload_execution_outputs()
    assert execution.upload_execution_outputs() == {}
    names = [[path.name for path in found["deriva-ml/Execution_Asset"]] for found in (first, second)]
    assert names == [["a.txt"], ["b.txt"]]
    assert [use.file_name for use in execution.describe().output_assets] == ["a.txt", "b.txt"]


def test_an_output_that_was_never_written_fails_the_upload_and_keeps_no_other_back(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        late = execution.asset_file_path("Execution_Asset", "b.txt")
    with pytest.raises(DerivaMLUploadError, match=r"Execution_Asset/b\.txt: .* never written") as caught:
        execution.upload_execution_outputs()
    assert caught.value.exit_code == 4
    assert f"--execution {execution.execution_rid}" in caught.value.hint
    record = lookup_execution(ml.session, execution.execution_rid)
    assert (record.status, record.upload_state) == (Status.completed, "failed")
    late.write_text("b")
    execution.upload_execution_outputs()
    assert lookup_execution(ml.session, execution.execution_rid).upload_state == "uploaded"


def test_features_are_stored_with_their_provenance(world, configuration):
    ml = world.ml
    score, mask = ml.feature_record_class("Subject", "Score"), ml.feature_record_class("Subject", "Mask")
    execution = Execution(configuration, ml)
    with execution:
        assert execution.add_features(score(Subject=rid, Value=0.5) for rid in world.subjects) == 3
        scan = execution.asset_file_path("Scan", "mask.bin")
        scan.write_bytes(b"mask")
        execution.add_features([mask(Subject=world.subjects[0], Scan=scan)])
    execution.upload_execution_outputs()
    report = execution.describe()
    assert {(use.table, use.feature, use.count) for use in report.features} == {
        ("Subject", "Score", 3),
        ("Subject", "Mask", 1),
    }
    (value,) = ml.list_feature_values("Subject", "Mask")
    assert value.Scan == report.output_assets[0].rid


def test_inputs_are_brought_and_recorded_with_their_version(world, configuration):
    ml = world.ml
    spec = DatasetSpec(rid=world.dataset, version=ml.lookup_dataset(world.dataset).current_version)
    given = configuration.model_copy(update={"datasets": [spec]})
    given = ExecutionConfiguration(**given.model_dump(exclude={"workflow", "assets"}), workflow=configuration.workflow,
                                   assets=[world.asset])  # fmt: skip
    execution = Execution(given, ml)
    bag = execution.datasets[0]
    assert execution.datasets[world.dataset] is bag
    assert bag.execution_rid == execution.execution_rid
    assert {row["Name"] for row in bag.list_dataset_members()["Subject"]} == {"S0", "S1", "S2"}
    (path,) = execution.asset_paths["Scan"]
    assert path.read_bytes() == b"scan"
    assert path.relative_to(execution.working_dir).parts == ("inputs", world.asset, "input.bin")
    with execution:
        made = execution.create_dataset("Testing", description="a part")
    report = execution.describe()
    assert [(use.rid, use.version) for use in report.input_datasets] == [(world.dataset, str(spec.version))]
    assert [(use.rid, use.version) for use in report.output_datasets] == [(made.dataset_rid, "0.1.0")]
    assert [use.rid for use in report.input_assets] == [world.asset]
    assert [dataset.dataset_rid for dataset in execution.list_input_datasets()] == [world.dataset]
    assert [asset.asset_rid for asset in execution.list_assets("Input")] == [world.asset]


def test_more_inputs_can_be_brought_during_the_run(world, configuration):
    ml = world.ml
    execution = Execution(configuration, ml)
    with execution:
        version = ml.lookup_dataset(world.dataset).current_version
        execution.download_dataset_bag(DatasetSpec(rid=world.dataset, version=version))
        path = execution.download_asset(world.asset)
    assert path.read_bytes() == b"scan"
    report = execution.describe()
    assert [use.version for use in report.input_datasets] == [str(version)]
    assert [use.rid for use in report.input_assets] == [world.asset]


def test_a_dry_run_leaves_the_catalog_as_it_was(world, configuration, tmp_path):
    ml = world.ml
    before = everything(ml.session)
    spec = DatasetSpec(rid=world.dataset, version="0.1.0")
    execution = Execution(configuration.model_copy(update={"datasets": [spec]}), ml, dry_run=True)
    assert not execution.datasets
    assert execution.database_catalog is None
    with execution:
        assert len(execution.datasets) == 1
        assert execution.database_catalog is not None
        assert [each.dataset_rid for each in execution.database_catalog.find_datasets()] == [spec.rid]
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        with pytest.raises(DerivaMLReadOnlyError, match="dry run"):
            execution.create_dataset("Training")
        folder = execution.working_dir
        assert folder.is_dir()
    assert execution.upload_execution_outputs() == {}
    assert not folder.exists()
    assert everything(ml.session) == before
    assert not (ml.working_dir / "journal.db").exists()
    assert not (ml.working_dir / "deriva-ml").exists()


def dry_run_directories():
    return sorted(Path(tempfile.gettempdir()).glob("deriva-ml-dry-run-*"))


def test_a_dry_run_takes_no_room_before_it_needs_some(ml, configuration, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    execution = Execution(configuration, ml, dry_run=True)
    assert (execution.status, execution.dataset_rids, execution.execution_rid) == (Status.pending, [], "0000")
    assert "directory" not in str(execution)
    with execution:
        assert not dry_run_directories()
    assert execution.upload_execution_outputs() == {}
    assert not dry_run_directories()
    with pytest.raises(RuntimeError), Execution(configuration, ml, dry_run=True):
        raise RuntimeError
    assert not dry_run_directories()


def test_the_directory_of_a_dry_run_is_its_own_and_gone_at_the_end(ml, configuration, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    execution = Execution(configuration, ml, dry_run=True)
    other = Execution(configuration, ml, dry_run=True)
    assert execution.working_dir != other.working_dir
    assert execution.working_dir.stat().st_mode & 0o777 == 0o700
    with execution as run:
        run.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        names = {entry.file_name.partition("_2")[0] for entry in run.manifest.assets.values()}
        assert names == {"a.txt", "configuration.json", "uv.lock", "environment_snapshot"}
    assert execution.status is Status.completed
    other.abort()
    assert execution.upload_execution_outputs() == other.upload_execution_outputs() == {}
    assert execution.uploaded_assets == {}
    assert not dry_run_directories()
    for ended in (execution, other):
        assert not ended.pending_summary().has_pending
        with pytest.raises(DerivaMLExecutionError):
            ended.asset_file_path("Execution_Asset", "b.txt")
    assert not dry_run_directories()


def test_a_dry_run_that_fails_leaves_nothing_either(ml, configuration):
    execution = Execution(configuration, ml, dry_run=True)
    with pytest.raises(ValueError, match="x"), execution:
        raise ValueError("x")
    assert not execution.working_dir.exists()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"workflow": None}, DerivaMLConfigurationError),
        ({"workflow": Workflow(name="T", workflow_type="Nonsense", url="u", checksum="c")}, DerivaMLInvalidTerm),
        ({"datasets": [DatasetSpec(rid="9-ZZZZ", version="1.0.0")]}, DerivaMLRidsNotFound),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_wrong_request_leaves_no_trace(ml, configuration, change, error, dry_run):
    before = everything(ml.session)
    with pytest.raises(error) as caught:
        Execution(configuration.model_copy(update=change), ml, dry_run=dry_run)
    assert caught.value.exit_code == 2
    assert everything(ml.session) == before
    assert not (ml.working_dir / "deriva-ml").exists()


def test_what_is_no_workflow_is_refused(ml, configuration):
    with pytest.raises(DerivaMLConfigurationError, match="must be a Workflow object, not dict"):
        Execution(configuration, ml, workflow={"name": "x"})


def test_changed_code_is_refused_and_allowed_code_is_kept(ml, project):
    (project / "src" / "model.py").write_text("changed = True\n")
    plain = Workflow(name="Test", workflow_type="Training")
    with pytest.raises(DerivaMLDirtyWorkflowError):
        plain.resolve(project / "src" / "model.py")
    workflow = plain.resolve(project / "src" / "model.py", allow_dirty=True)
    execution = Execution(ExecutionConfiguration(workflow=workflow), ml)
    report = execution.describe()
    assert ".dirty." in report.workflow.version
    assert "code.patch" in [use.file_name for use in report.metadata]
    text = (execution.working_dir / "metadata" / "configuration.json").read_text()
    assert json.loads(text)["code"]["dirty"] == [".M src/model.py"]


def test_a_workflow_of_the_catalog_can_be_named_by_its_rid(ml, configuration):
    rid = ml.add_workflow(configuration.workflow)
    execution = Execution(ExecutionConfiguration(), ml, workflow=rid)
    assert execution.workflow_rid == rid


def test_the_same_code_is_one_workflow(ml, configuration):
    assert len({Execution(configuration, ml).workflow_rid for _ in range(2)}) == 1


def test_a_failure_before_the_model_is_recorded_too(world, configuration):
    session = world.ml.session
    (ml_dir := world.ml.working_dir / "deriva-ml").mkdir(parents=True)
    (ml_dir / "execution").write_text("in the way")
    with pytest.raises(DerivaMLConfigurationError, match=r"(?s)execution.* cannot be used.*do: .*working_dir"):
        Execution(configuration, world.ml)
    (row,) = session.catalog.rows(table("deriva-ml", "Execution"))
    assert row["Status"] == "Failed"
    assert "execution" in row["Status_Detail"]
    assert row["Description"] == "by hand"


def test_one_working_directory_serves_several_catalogs(configuration, catalog_root, tmp_path):
    """The folders are copies: what they lease, make and cache is called the same in both."""
    shutil.copytree(catalog_root, other := tmp_path / "other")
    runs = []
    for root in (catalog_root, other):
        with DerivaML(str(root), 1, working_dir=tmp_path / "work") as ml:
            execution = Execution(configuration, ml)
            runs.append((execution.execution_rid, execution.working_dir, ml.cache_dir))
            assert ml.working_dir == tmp_path / "work"
            with ml.catalog_snapshot(ml.session.catalog.latest_snaptime()) as past:
                assert past.session.runs_dir == ml.session.runs_dir
    (rid, directory, cache), (other_rid, other_directory, other_cache) = runs
    assert rid == other_rid
    assert directory != other_directory
    assert cache != other_cache
    for root, mine in ((catalog_root, directory), (other, other_directory)):
        identity = json.loads((mine / "metadata" / "configuration.json").read_text())["catalog"]["identity"]
        assert mine.parts[-4:] == (identity[:8], "1", "execution", rid)
        assert identity == folder_identity(root)
        with DerivaML(str(root), 1, working_dir=tmp_path / "work") as ml:
            assert restore_execution(ml, rid).working_dir == mine


def test_the_dead_runs_of_a_folder_stay_with_it_when_it_is_copied(configuration, ml, catalog_root, tmp_path):
    with Execution(configuration, ml) as execution:
        execution.asset_file_path("Execution_Asset", "out.txt", asset_types="Model_File").write_text("text")
    assert [item.run.execution for item in incomplete_runs(ml)] == [execution.execution_rid]
    shutil.copytree(catalog_root, copy := tmp_path / "copy")
    with DerivaML(str(copy), 1) as other:
        assert incomplete_runs(other) == []
        assert other.working_dir != ml.working_dir
    catalog_root.rename(tmp_path / "moved")
    with DerivaML(str(tmp_path / "moved"), 1) as moved:
        assert [item.run.execution for item in incomplete_runs(moved)] == [execution.execution_rid]
        assert moved.working_dir == ml.working_dir


def test_a_directory_that_is_there_already_is_named(ml, configuration):
    (rid,) = ml.session.catalog.lease_rids(1)
    serial = decode(rid)
    for ahead in range(1, 40):
        (ml.session.runs_dir / encode(serial + ahead)).mkdir(parents=True)
    with pytest.raises(DerivaMLExecutionError, match=r"(?s)is there already: .*execution/.*do: .*move it away"):
        Execution(configuration, ml)


def test_a_working_directory_that_cannot_be_made_is_named_before_anything_is_begun(
    configuration, catalog_root, tmp_path, caplog
):
    (tmp_path / "file").write_text("in the way")
    with DerivaML(str(catalog_root), 1, working_dir=tmp_path / "file" / "work") as ml:
        before = everything(ml.session)
        with pytest.raises(DerivaMLConfigurationError, match=r"(?s)file/work.* cannot be used.*working_dir") as error:
            Execution(configuration, ml)
        assert incomplete_runs(ml) == []
        assert everything(ml.session) == before
    assert error.value.exit_code == 2
    assert caplog.records == []


def test_a_run_directory_is_never_shared(ml, configuration):
    first, second = Execution(configuration, ml), Execution(configuration, ml)
    assert first.working_dir != second.working_dir
    assert first.working_dir.name == first.execution_rid


def test_moves_are_checked_and_details_can_be_said(ml, configuration):
    execution = Execution(configuration, ml)
    with pytest.raises(DerivaMLInvalidTransition):
        execution.update_status("Completed", "no")
    with execution:
        execution.update_status(Status.running, "epoch 3 with token=geheim")
        record = lookup_execution(ml.session, execution.execution_rid)
        assert record.status_detail == "epoch 3 with token=***"
    with pytest.raises(DerivaMLInvalidTransition):
        execution.execution_start()
    other = Execution(configuration, ml)
    other.abort("not wanted")
    assert lookup_execution(ml.session, other.execution_rid).status is Status.aborted


def test_a_run_may_be_ended_from_within(ml, configuration):
    execution = Execution(configuration, ml)
    with execution as run:
        run.abort("enough")
    record = lookup_execution(ml.session, execution.execution_rid)
    assert (record.status, record.status_detail) == (Status.aborted, "enough")


def test_a_run_that_fails_while_it_is_prepared_keeps_what_describes_it(world, configuration):
    session = world.ml.session
    row = {"RID": world.asset, "MD5": "0" * 32}
    session.catalog.update("demo-schema", "Scan", [row])
    given = ExecutionConfiguration(workflow=configuration.workflow, assets=[world.asset])
    with pytest.raises(DerivaMLException):
        Execution(given, world.ml)
    (row,) = session.catalog.rows(table("deriva-ml", "Execution"))
    report = describe(session, str(row["RID"]))
    assert report.record.status is Status.failed
    assert len(report.metadata) == 3
    assert [use.rid for use in report.input_assets] == [world.asset]


def test_no_secret_is_written_anywhere(ml, project, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_TOKEN", "planted-secret-4711")
    hydra = tmp_path / "2026-01-01_00-00-00"
    (hydra / "hydra-config").mkdir(parents=True)
    (hydra / "hydra-config" / "config.yaml").write_text("model:\n  key_for_it: planted-secret-4711\n  lr: 0.1\n")
    (hydra / "hydra-config" / "overrides.yaml").write_text("- model.password=other-secret-1\n")
    (hydra / "hydra-config" / "hydra.yaml").write_text("a: 1\n")
    ml.hydra_runtime_output_dir = hydra
    workflow = Workflow(name="Test", workflow_type="Training").resolve(project / "src" / "model.py")
    argv = ["run", "--api-key", "other-secret-1", "url=https://u:other-secret-1@h/", "lr=1"]
    given = ExecutionConfiguration(
        workflow=workflow,
        description="with planted-secret-4711",
        argv=argv,
        config_choices={"x": "planted-secret-4711"},
    )
    execution = Execution(given, ml)
    with pytest.raises(ValueError, match="planted"), execution:
        raise ValueError("planted-secret-4711 was refused")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and hydra not in path.parents]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        assert b"planted-secret-4711" not in content, path
        assert b"other-secret-1" not in content, path
    names = {use.file_name for use in execution.describe().metadata}
    assert {f"hydra-{hydra.name}-{name}.yaml" for name in ("config", "overrides", "hydra")} <= names


def test_nested_runs_are_listed_in_their_sequence(ml, configuration):
    parent = Execution(configuration, ml)
    children = [Execution(configuration, ml) for _ in range(3)]
    for place, child in zip((2, 0, 1), children, strict=True):
        parent.add_nested_execution(child, sequence=place)
        parent.add_nested_execution(child.execution_rid, sequence=place)
    expected = [children[at].execution_rid for at in (1, 2, 0)]
    assert [record.execution_rid for record in parent.list_nested_executions()] == expected
    assert [relative.record.execution_rid for relative in parent.describe().children] == expected
    assert [record.execution_rid for record in children[0].list_parent_executions()] == [parent.execution_rid]
    assert parent.is_parent()
    assert children[0].is_nested()
    assert not parent.is_nested()


def test_a_run_goes_on_while_the_catalog_cannot_be_reached(ml, configuration):
    down = []
    transport, session = counted(ml, lose=lambda _request, _number: bool(down))
    execution = Execution(configuration, session)
    down.append(True)
    with execution:
        execution.update_status("Running", "far away")
    assert lookup_execution(ml.session, execution.execution_rid).status is Status.pending
    down.clear()
    execution.upload_execution_outputs()
    record = lookup_execution(ml.session, execution.execution_rid)
    assert (record.status, record.upload_state) == (Status.completed, "uploaded")
    assert record.start_time is not None
    assert transport.count


def test_the_catalog_may_lack_the_optional_columns(ml, configuration):
    for column in ("Start_Time", "Stop_Time", "Upload_State"):
        ml.session.catalog.drop_column("deriva-ml", "Execution", column)
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    execution.upload_execution_outputs()
    record = describe(ml, execution.execution_rid).record
    assert (record.status, record.start_time, record.upload_state) == (Status.completed, None, None)
    assert record.duration


def test_a_run_that_was_left_can_be_restored(ml, configuration):
    left = Execution(configuration, ml)
    left.execution_start()
    left.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    left._ledger.journal.close()  # as the end of its process would
    started = lookup_execution(ml.session, left.execution_rid).start_time
    again = restore_execution(ml, left.execution_rid)
    assert again.status is Status.running
    assert again.configuration.argv == ["run", "lr=1"]
    again.execution_stop()
    again.upload_execution_outputs()
    report = again.describe()
    assert [use.file_name for use in report.output_assets] == ["a.txt"]
    assert report.record.start_time == started
    assert len(report.metadata) == 3


def test_cleaning_removes_what_the_catalog_has_and_lets_more_be_added(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a" * 1000)
    execution.upload_execution_outputs(clean_folder=True)
    left = sorted(path.name for path in execution.working_dir.rglob("*") if path.is_file())
    assert [name for name in left if not name.endswith(".lock")] == ["asset-manifest.jsonl", "configuration.json"]
    execution.asset_file_path("Execution_Asset", "b.txt").write_text("b")
    execution.upload_execution_outputs()
    assert [use.file_name for use in execution.describe().output_assets] == ["a.txt", "b.txt"]


def test_a_snapshot_cannot_be_run_on(ml, configuration):
    snapshot = ml.session.snapshot(ml.session.catalog.latest_snaptime())
    with pytest.raises(DerivaMLReadOnlyError):
        Execution(configuration, snapshot)


def test_it_says_what_it_is(ml, configuration):
    execution = Execution(configuration, ml)
    assert str(execution).startswith(f"Execution {execution.execution_rid}: Pending\n")
    assert execution.execution_record.status is Status.pending
    with pytest.raises(DerivaMLException):
        Execution(configuration, ml, dry_run=True).describe()


def test_in_a_dry_run_a_model_may_upload_in_the_middle_and_go_on(ml, configuration):
    execution = Execution(configuration, ml, dry_run=True)
    with execution.execute() as run:
        run.asset_file_path("Execution_Asset", "first.txt").write_text("1")
        assert run.upload_execution_outputs() == {}
        run.asset_file_path("Execution_Asset", "second.txt").write_text("2")
    execution.upload_execution_outputs()
    assert not execution.working_dir.exists()


def test_a_file_that_is_written_again_after_its_upload_is_an_output_of_its_own(ml, configuration):
    execution = Execution(configuration, ml)
    with execution.execute() as run:
        path = run.asset_file_path("Execution_Asset", "ck.txt", asset_types="Model_File", description="a checkpoint")
        path.write_text("epoch1")
        run.upload_execution_outputs()
        path.write_text("epoch2 final")
    uploaded = execution.upload_execution_outputs(clean_folder=True)
    assert [file.name for file in uploaded["deriva-ml/Execution_Asset"]] == ["ck.txt"]
    found = {asset.length: asset for asset in execution.describe().output_assets}
    assert set(found) == {len("epoch1"), len("epoch2 final")}
    assert {asset.description for asset in found.values()} == {"a checkpoint"}
    assert execution.upload_execution_outputs() == {}


def test_the_metrics_of_a_run_are_one_file_by_whatever_it_is_named(ml, configuration, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("of the user")
    with Execution(configuration, ml) as run:
        path = run.metrics_file(Path("metrics.jsonl"))
        path.write_text('{"loss": 1}\n')
        assert run.metrics_file() == path
        with pytest.raises(DerivaMLDataError, match="Not a name for a file"):
            run.metrics_file("logs/metrics.jsonl")
    assert (tmp_path / "metrics.jsonl").read_text() == "of the user"


def test_words_that_mean_nothing_are_refused(world, configuration):
    ml = world.ml
    with Execution(configuration, ml) as run:
        with pytest.raises(DerivaMLValidationError, match="no status 'Runing'") as refused:
            run.update_status("Runing")
        assert refused.value.allowed[0] == "Running"
        run.update_status("running", "in another case")
        with pytest.raises(DerivaMLRidsNotFound):
            run.add_nested_execution("9-ZZZZ")
        with pytest.raises(DerivaMLTableTypeError):
            run.add_nested_execution(world.dataset)
    with pytest.raises(DerivaMLInvalidTerm, match="Outpt"):
        run.list_assets("Outpt")
    assert run.list_assets("Input") == []
    with pytest.raises(DerivaMLValidationError, match="no age"):
        ml.gc_executions(older_than=5)
    with pytest.raises(DerivaMLValidationError, match="no moment"):
        ml.list_executions(since="yesterday")


def test_a_failure_is_recorded_though_this_machine_can_note_nothing_any_more(ml, configuration):
    execution = Execution(configuration, ml)
    with pytest.raises(ValueError, match="no good"), execution:
        with open_journal(ml.session) as journal:
            path = journal.path
        execution._ledger.journal.close()
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        path.write_bytes(b"no database" * 1000)
        raise ValueError("no good")
    record = lookup_execution(ml.session, execution.execution_rid)
    assert record.status is Status.failed
    assert record.status_detail.startswith("ValueError: no good")
    assert record.stop_time is not None
