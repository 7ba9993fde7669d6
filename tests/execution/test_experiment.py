"""A run is read back with the choices and settings that Hydra resolved for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import Counting

from deriva_ml.core.exceptions import DerivaMLTableTypeError
from deriva_ml.dataset import Dataset
from deriva_ml.execution.execution import Execution
from deriva_ml.experiment import Experiment
from deriva_ml.ml import DerivaML

CONFIG = """
description: compare
model_config:
  _target_: models.train
  rate: 0.1
  layers: [1, 2]
"""
HYDRA = """
hydra:
  runtime:
    choices:
      model_config: fast
      datasets: small
      hydra/launcher: basic
"""


@pytest.fixture
def configured(catalog_root, tmp_path, configuration):
    """A run with Hydra's files, made by a ``DerivaML`` that knows where they are."""
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "hydra.yaml").write_text(HYDRA)
    with DerivaML(str(catalog_root), 1, hydra_runtime_output_dir=folder) as ml:
        run = Execution(configuration, ml)
        with run.execute() as each:
            each.asset_file_path("Execution_Asset", "out.txt", description="the result").write_text("x")
        run.upload_execution_outputs()
        yield ml, run.execution_rid


def test_choices_and_settings_come_from_the_recorded_files(configured):
    ml, rid = configured
    found = ml.lookup_experiment(rid)
    assert found.name == "fast"
    assert found.config_choices == {"model_config": "fast", "datasets": "small"}
    assert found.model_config["rate"] == 0.1
    assert found.hydra_config["config_choices"]["datasets"] == "small"
    assert found.status == "Completed"


def test_the_summary_is_plain_and_whole(configured):
    ml, rid = configured
    summary = Experiment(ml, rid).summary()
    assert set(summary) == {
        "name",
        "execution_rid",
        "description",
        "status",
        "config_choices",
        "model_config",
        "input_datasets",
        "input_assets",
        "output_assets",
        "metadata_assets",
        "url",
    }
    assert summary["model_config"] == {"rate": 0.1, "layers": [1, 2]}
    (output,) = summary["output_assets"]
    assert (output["filename"], output["asset_table"]) == ("out.txt", "Execution_Asset")
    assert {one["filename"] for one in summary["metadata_assets"]} >= {"hydra-job-config.yaml", "configuration.json"}


def test_markdown_shows_the_parts_that_are_there(configured):
    ml, rid = configured
    text = ml.lookup_experiment(rid).to_markdown()
    assert text.startswith(f"### fast ([{rid}](")
    assert "`datasets=small`, `model_config=fast`" in text
    assert "- **rate**: 0.1" in text
    assert "_target_" not in text
    assert "Input Datasets" not in text


def test_experiments_are_the_configured_runs_newest_first(configured, configuration):
    ml, rid = configured
    with DerivaML(ml.host_name, 1) as plain:
        other = Execution(configuration, plain)
        with other.execute():
            pass
        other.upload_execution_outputs()
        assert [each.execution_rid for each in plain.find_experiments()] == [rid]
        assert [each.execution_rid for each in plain.find_experiments(status="Completed")] == [rid]
        assert list(plain.find_experiments(status="Failed")) == []
        bare = plain.lookup_experiment(other.execution_rid)
        assert bare.name == other.execution_rid
        assert bare.hydra_config == {}
        assert bare.model_config == {}


def test_inputs_are_shown_with_their_versions(world, configuration):
    from deriva_ml.dataset.aux_classes import DatasetSpec

    ml = world.ml
    version = ml.lookup_dataset(world.dataset).current_version
    given = configuration.model_copy(update={"datasets": [DatasetSpec(rid=world.dataset, version=version)]})
    run = Execution(given, ml)
    with run.execute():
        pass
    run.upload_execution_outputs()
    found = ml.lookup_experiment(run.execution_rid)
    (used,) = found.summary()["input_datasets"]
    assert (used["dataset_rid"], used["version"]) == (world.dataset, str(version))
    assert f"v{version}" in found.to_markdown()
    assert "Input Datasets" not in found.to_markdown(show_datasets=False)


def test_a_record_of_another_kind_is_refused(ml):
    term = ml.lookup_term("Dataset_Type", "Training")
    with pytest.raises(DerivaMLTableTypeError):
        ml.lookup_experiment(term.rid)


def test_a_summary_takes_the_same_requests_however_many_datasets_there_are(world, configuration):
    ml = world.ml
    more = [Dataset.create_dataset(ml, None, "Training", "more").dataset_rid for _ in range(9)]
    counts = []
    for given in ([world.dataset], [world.dataset, *more]):
        run = ml.create_execution(datasets=given, workflow=configuration.workflow)
        transport = Counting(ml.session.catalog.transport)
        counted = replace(ml.session, catalog=type(ml.session.catalog)(transport, ml.session.catalog_id))
        assert len(Experiment(counted, run.execution_rid).summary()["input_datasets"]) == len(given)
        counts.append(transport.count)
    assert counts[0] == counts[1]
