"""A configuration is made from whatever a project or Hydra hands over, and read back as it was."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError

from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.execution_configuration import AssetRID, ExecutionConfiguration
from deriva_ml.execution.workflow import Workflow


def test_every_form_of_an_asset_is_taken():
    given = [
        "1-ABCD",
        AssetRID("1-ABCE", "weights"),
        AssetSpec(rid="1-ABCF", cache=True),
        {"rid": "1-ABCG"},
        OmegaConf.create({"rid": "1-ABCH", "cache": True}),
    ]
    assets = ExecutionConfiguration(assets=given).assets
    assert [asset.rid for asset in assets] == ["1-ABCD", "1-ABCE", "1-ABCF", "1-ABCG", "1-ABCH"]
    assert [asset.cache for asset in assets] == [False, False, True, False, True]


def test_every_form_of_a_dataset_is_taken():
    from deriva_ml.dataset.spec_config import DatasetSpecConfig

    given = [
        DatasetSpec(rid="1-ABCD", version="1.0.0"),
        {"rid": "1-ABCE", "version": "1.0.0"},
        OmegaConf.create({"rid": "1-ABCF", "version": "1.0.0"}),
        DatasetSpecConfig(rid="1-ABCG", version="1.0.0"),
    ]
    for form in (given, tuple(given)):
        datasets = ExecutionConfiguration(datasets=form).datasets
        assert [dataset.rid for dataset in datasets] == ["1-ABCD", "1-ABCE", "1-ABCF", "1-ABCG"]


def test_nothing_is_an_empty_configuration():
    given = ExecutionConfiguration(datasets=None, assets=None, description=None, config_choices={"a": None, "b": "c"})
    assert (given.datasets, given.assets, given.description, given.config_choices) == ([], [], "", {"b": "c"})


def test_a_wrong_rid_is_refused():
    with pytest.raises(ValidationError, match="rid"):
        ExecutionConfiguration(assets=["not a rid"])


def test_an_asset_rid_is_text_with_a_description():
    rid = AssetRID("1-ABCD", "weights")
    assert (rid, rid.rid, rid.description) == ("1-ABCD", "1-ABCD", "weights")


def test_a_configuration_is_read_back(tmp_path):
    given = ExecutionConfiguration(
        datasets=[DatasetSpec(rid="1-ABCD", version="1.2.3")],
        assets=["1-ABCE"],
        workflow=Workflow(name="T", workflow_type="Training", url="u", checksum="c", git_root=tmp_path),
        description="x",
        argv=["run", "a=1"],
        config_choices={"g": "n"},
    )
    file = tmp_path / "configuration.json"
    file.write_text(given.model_dump_json())
    again = ExecutionConfiguration.load_configuration(file)
    assert again == given
    assert given.model_dump(mode="json")["datasets"][0]["version"] == {"major": 1, "minor": 2, "patch": 3}


def test_a_file_that_is_no_configuration_is_named(tmp_path):
    file = tmp_path / "configuration.json"
    file.write_text("{")
    with pytest.raises(DerivaMLConfigurationError, match=r"configuration\.json is not a configuration"):
        ExecutionConfiguration.load_configuration(file)


def test_the_command_is_the_process_own_by_default():
    assert ExecutionConfiguration().argv
    assert ExecutionConfiguration().argv is not ExecutionConfiguration().argv


def test_a_description_that_is_no_text_is_made_legible():
    assert ExecutionConfiguration(description="a\udcff\0").description == "a\\udcff\\x00"
