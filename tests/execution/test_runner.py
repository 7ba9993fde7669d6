"""One run as a pipeline, called from Python: what is checked, what is recorded, what the caller gets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra_zen import ZenStore, builds
from omegaconf import OmegaConf

from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDatasetNotFound,
    DerivaMLInvalidTerm,
    DerivaMLModelError,
    DerivaMLUploadError,
    DerivaMLValidationError,
)
from deriva_ml.core.ml_config import DerivaMLConfig
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.request import RunRequest, instantiate, unwrap
from deriva_ml.execution.runner import Child, Job, RunOptions, create_model_config, perform, plan_run, run_model
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML

NO_JOB = JobContext({}, None)


def write(name: str = "out.txt", *, ml_instance: Any = None, execution: Any = None) -> None:
    execution.asset_file_path("Execution_Asset", name, asset_types="Output_File").write_text("done")


def fail(*, ml_instance: Any = None, execution: Any = None) -> None:
    write(ml_instance=ml_instance, execution=execution)
    raise ValueError("diverged")


def forget(*, ml_instance: Any = None, execution: Any = None) -> None:
    write(ml_instance=ml_instance, execution=execution)
    execution.asset_file_path("Execution_Asset", "never written.txt")


def request(root: Path, model: Any = write, **changes: Any) -> RunRequest:
    code = Workflow(name="w", workflow_type="Analysis", url="https://example.org/w", checksum="0" * 40)
    values = {
        "deriva_ml": DerivaMLConfig(hostname=str(root), catalog_id=1),
        "datasets": [],
        "assets": [],
        "description": "a run",
        "workflow": code,
        "model_config": model,
    }
    return RunRequest(**(values | changes))


def runs(ml: DerivaML) -> list[Any]:
    return list(ml.find_executions())


def test_a_run_is_recorded_with_its_outputs(catalog_root: Path, ml: DerivaML) -> None:
    outcome = perform(request(catalog_root), NO_JOB)
    assert outcome.error is None
    assert outcome.report is not None
    assert outcome.report.record.status == "Completed"
    assert [asset.file_name for asset in outcome.report.output_assets] == ["out.txt"]
    assert [record.execution_rid for record in runs(ml)] == [outcome.report.record.execution_rid]


def test_run_model_raises_what_the_model_raised_and_records_it(catalog_root: Path, ml: DerivaML) -> None:
    asked = request(catalog_root, fail)
    with pytest.raises(DerivaMLModelError, match="fail raised ValueError: diverged") as caught:
        run_model(asked.deriva_ml, [], [], "a run", asked.workflow, fail)
    assert isinstance(caught.value.__cause__, ValueError)
    assert str(caught.value.source).startswith(__file__)
    [record] = runs(ml)
    assert record.status == "Failed"
    assert "diverged" in record.status_detail
    assert record.upload_state == "uploaded"


def test_an_upload_that_is_not_complete_is_told_and_the_run_is_completed(catalog_root: Path) -> None:
    outcome = perform(request(catalog_root, forget), NO_JOB)
    assert isinstance(outcome.error, DerivaMLUploadError)
    assert outcome.error.exit_code == 4
    assert outcome.report is not None
    assert (outcome.report.record.status, outcome.report.record.upload_state) == ("Completed", "failed")


def test_a_dry_run_calls_no_model_and_records_nothing(catalog_root: Path, ml: DerivaML) -> None:
    outcome = perform(request(catalog_root, fail, dry_run=True), NO_JOB)
    assert outcome.checked is not None
    assert outcome.checked.model.endswith(".fail")
    assert (outcome.report, outcome.error, runs(ml)) == (None, None, [])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"datasets": [DatasetSpec(rid="1-ZZZZ", version="1.0.0")]}, "RID not found in the catalog: 1-ZZZZ"),
        ({"workflow": None}, "has no workflow"),
        ({"datasets": ["XY"]}, "version"),
        ({"model_config": lambda ml_instance: None}, "does not take the keyword execution"),
        ({"model_config": "train"}, "not callable"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    catalog_root: Path, ml: DerivaML, changes: dict[str, Any], error: str
) -> None:
    with pytest.raises(Exception, match=error) as caught:
        perform(request(catalog_root, **changes), NO_JOB)
    assert getattr(caught.value, "exit_code", None) == 2
    assert runs(ml) == []


def test_a_kind_of_work_that_is_no_term_is_refused(catalog_root: Path, ml: DerivaML) -> None:
    code = Workflow(name="w", workflow_type="Analysys", url="https://example.org/w", checksum="0" * 40)
    with pytest.raises(DerivaMLInvalidTerm) as caught:
        perform(request(catalog_root, workflow=code), NO_JOB)
    assert "Analysis" in caught.value.allowed
    assert runs(ml) == []


def test_an_image_given_as_a_dataset_is_told_apart(catalog_root: Path, ml: DerivaML) -> None:
    outcome = perform(request(catalog_root), NO_JOB)
    assert outcome.report is not None
    rid = outcome.report.output_assets[0].rid
    with pytest.raises(DerivaMLDatasetNotFound, match="record of deriva-ml:Execution_Asset"):
        perform(request(catalog_root, datasets=[DatasetSpec(rid=rid, version="1.0.0")]), NO_JOB)


def test_a_projects_own_class_opens_the_catalog(catalog_root: Path) -> None:
    seen: list[type] = []

    class Mine(DerivaML):
        pass

    def look(*, ml_instance: Any = None, execution: Any = None) -> None:
        seen.append(type(ml_instance))

    perform(request(catalog_root, look, ml_class=Mine), NO_JOB)
    assert seen == [Mine]


def test_a_script_takes_the_models_place(catalog_root: Path) -> None:
    outcome = perform(request(catalog_root, fail, script_config=write), NO_JOB)
    assert outcome.error is None


def test_a_job_links_itself_even_if_its_inputs_cannot_be_brought(catalog_root: Path, ml: DerivaML) -> None:
    parent = perform(request(catalog_root), NO_JOB).report
    assert parent is not None
    rid = parent.record.execution_rid
    job = JobContext({}, None, ("a=1",), number=4)
    outcome = perform(request(catalog_root, fail), job, RunOptions(), Child(rid, Path("/no/stop")))
    assert outcome.report is not None
    assert outcome.report.record.description == "[Job 4] a run"
    assert [(part.record.execution_rid, part.sequence) for part in outcome.report.parents] == [(rid, 4)]


def test_the_choices_of_the_configuration_are_recorded(catalog_root: Path, tmp_path: Path) -> None:
    outcome = perform(request(catalog_root), JobContext({"datasets": "none"}, None))
    assert outcome.checked is not None
    assert outcome.checked.configuration.config_choices == {"datasets": "none"}
    assert outcome.report is not None
    assert "configuration.json" in [asset.file_name for asset in outcome.report.metadata]


def test_a_job_answers_with_its_error_and_can_be_pickled(catalog_root: Path, tmp_path: Path) -> None:
    told: list[Any] = []
    job = Job(RunOptions(fail_fast=True, on_outcome=told.append), Child(None, tmp_path / "stop"))
    outcome = job(OmegaConf.create({"deriva_ml": None}))
    assert outcome.failed
    assert told == [outcome]
    assert job(OmegaConf.create({})).skipped
    assert pickle.loads(pickle.dumps(Job())) == Job()


def test_a_configuration_that_cannot_be_made_into_objects_is_named() -> None:
    config = {"deriva_ml": {"_target_": "deriva_ml.core.ml_config.DerivaMLConfig", "logging_level": "loud"}}
    rest = {"datasets": [], "assets": [], "description": "", "workflow": None, "model_config": None}
    with pytest.raises(DerivaMLConfigurationError) as caught:
        instantiate(OmegaConf.create(config | rest))
    assert "logging_level" in str(caught.value)
    assert "'loud'" in str(caught.value)
    with pytest.raises(DerivaMLConfigurationError, match="Missing key deriva_ml"):
        instantiate(OmegaConf.create({"datasets": []}))


def test_partials_are_seen_through() -> None:
    from functools import partial

    assert unwrap(partial(partial(write, name="a"), execution=None)) == (write, ["name"])


def test_a_parameter_that_the_model_lacks_is_refused(catalog_root: Path) -> None:
    from functools import partial

    with pytest.raises(DerivaMLValidationError, match="has no parameter epochs"):
        perform(request(catalog_root, partial(write, epochs=1)), NO_JOB)


def test_a_main_configuration_holds_the_arguments_of_a_run() -> None:
    config = create_model_config(ml_class=DerivaML, description="x")
    assert config.description == "x"
    assert {"deriva_ml", "datasets", "assets", "workflow", "model_config", "dry_run"} <= set(config.__annotations__)


def test_a_plan_knows_a_sweep_from_a_single_run() -> None:
    store = ZenStore()
    store(builds(run_model, populate_full_signature=True, hydra_defaults=["_self_"]), name="runner_test_main")
    plan = plan_run(["dry_run=true"], config_name="runner_test_main", store=store)
    assert not plan.is_sweep
    assert plan.all_overrides[-1] == "dry_run=true"
    assert json.dumps(plan.all_overrides).count(plan.stamp) == 2
    assert plan_run(["upload_timeout=1,2"], config_name="runner_test_main", multirun=True, store=store).is_sweep
    with pytest.raises(DerivaMLConfigurationError):
        plan_run(["upload_timeout=1,2"], config_name="runner_test_main", store=store)
