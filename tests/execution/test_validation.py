"""Validation before a run: everything that is wrong is said, by the documented paths and in typed reports."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import Counting

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import DerivaMLInvalidTerm, DerivaMLRidsNotFound, DerivaMLVersionNotFound
from deriva_ml.core.validation import (
    ValidationResult,
    validate_execution_config,
    validate_rids,
    validate_vocabulary_terms,
)
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.validation import validate_dataset_specs
from deriva_ml.execution.workflow import Workflow


@pytest.fixture
def version(world):
    return str(world.ml.lookup_dataset(world.dataset).current_version)


def test_a_result_says_in_words_what_was_found():
    good = ValidationResult(validated_rids={"1-ABCD": "deriva-ml:Dataset"})
    assert str(good) == "✓ Validation passed\n  Validated 1 RID(s)"
    bad = ValidationResult()
    bad.add_error("one")
    bad.add_warning("two")
    good.merge(bad)
    assert not good.is_valid
    assert str(good) == "✗ Validation failed with 1 error(s)\nErrors:\n  • one\nWarnings:\n  ⚠ two"


def test_one_unknown_rid_is_the_only_one_that_is_reported(world, version):
    found = validate_rids(world.ml, [world.dataset, "9-ZZZZ"], [world.asset], {world.dataset: version})
    assert found.errors == ["Dataset RID '9-ZZZZ' does not exist in catalog"]
    assert found.validated_rids == {world.dataset: "deriva-ml:Dataset", world.asset: "demo-schema:Scan"}


def test_a_version_that_is_not_in_the_history_is_an_error(world, version):
    found = validate_rids(world.ml, dataset_versions={world.dataset: "7.0.0"})
    (said,) = found.errors
    assert said.startswith(f"Dataset '{world.dataset}' does not have version '7.0.0'. Current version: {version}.")
    assert f"'{version}'" in said.partition("Available versions:")[2]
    assert validate_rids(world.ml, dataset_versions={world.dataset: "0.1.0"}).is_valid


def test_records_of_other_tables_are_told_apart_assets_included(world):
    found = validate_rids(world.ml, [world.asset], [world.subjects[0], world.dataset], None, [world.asset], ["9-ZZZZ"])
    assert found.errors == [
        f"RID '{world.asset}' specified as dataset but found in table 'demo-schema.Scan'",
        f"RID '{world.subjects[0]}' specified as asset but found in table 'demo-schema.Subject'",
        f"RID '{world.dataset}' specified as asset but found in table 'deriva-ml.Dataset'",
        f"RID '{world.asset}' specified as workflow but found in table 'demo-schema.Scan'",
        "Execution RID '9-ZZZZ' does not exist in catalog",
    ]


def test_workflows_and_executions_are_found(world, configuration):
    execution = world.ml.create_execution(configuration)
    found = validate_rids(world.ml, workflow_rids=[execution.workflow_rid], execution_rids=[execution.execution_rid])
    assert found.is_valid
    assert set(found.validated_rids) == {execution.workflow_rid, execution.execution_rid}


def test_a_dataset_that_says_nothing_of_itself_is_a_warning_if_that_is_asked_for(world):
    silent = Dataset.create_dataset(world.ml, None, "Training", "").dataset_rid
    assert validate_rids(world.ml, [silent]).warnings == [f"Dataset '{silent}' has no description"]
    assert validate_rids(world.ml, [silent], warn_missing_descriptions=False).warnings == []
    assert validate_execution_config(world.ml, [{"rid": silent, "version": "0.1.0"}], []).warnings == []


def test_the_inputs_of_a_run_are_taken_in_every_form(world, version):
    datasets = [DatasetSpec(rid=world.dataset, version=version)]
    assert validate_execution_config(world.ml, datasets, [{"rid": world.asset}]).is_valid
    found = validate_execution_config(world.ml, [{"rid": world.dataset, "version": "3.0.0"}], ["9-ZZZZ"])
    assert len(found.errors) == 2
    assert validate_execution_config(world.ml, [], []) == ValidationResult()


def test_terms_are_looked_up_by_name_and_synonym(world):
    assert validate_vocabulary_terms(world.ml, "Workflow_Type", ["Training", "Analysis"]).is_valid
    found = validate_vocabulary_terms(world.ml, "Workflow_Type", ["Trainig", "Training", "Nonsense"])
    assert len(found.errors) == 2
    assert "Nearest: Training" in found.errors[0]
    assert not validate_vocabulary_terms(world.ml, "Workflow_Typ", ["Training"]).is_valid
    assert not validate_vocabulary_terms(world.ml, "Scan", ["Training"]).is_valid


def test_each_specification_gets_a_report_of_its_own(world, version):
    good = DatasetSpec(rid=world.dataset, version=version)
    specs = [good, DatasetSpec(rid="9-ZZZZ", version="1.0.0"), DatasetSpec(rid="9-YYYY", version="1.0.0"), good]
    report = world.ml.validate_dataset_specs(specs)
    assert [one.is_valid for one in report.specs] == [True, False, False, False]
    assert not report.is_valid
    assert isinstance(report.specs[1].problems[0], DerivaMLRidsNotFound)
    assert report.specs[1].problems[0].missing == ("9-ZZZZ",)
    assert "named twice" in str(report.specs[3].problems[0])
    assert len(report.problems) == 3
    assert world.ml.validate_dataset_specs([good]).is_valid
    assert world.ml.validate_dataset_specs([]).is_valid


def test_a_configuration_gets_everything_that_is_wrong_with_it_at_once(world, version):
    code = Workflow(name="w", workflow_type=["Training", "Trainig"], url="https://example.org/w", checksum="0" * 40)
    config = ExecutionConfiguration(
        datasets=[{"rid": world.dataset, "version": "7.0.0"}],
        assets=[world.asset, world.subjects[0], "/no/such/file"],
        workflow=code,
    )
    report = world.ml.validate_execution_configuration(config)
    assert not report.is_valid
    assert isinstance(report.workflow[0], DerivaMLInvalidTerm)
    assert isinstance(report.datasets[0].problems[0], DerivaMLVersionNotFound)
    assert [one.is_valid for one in report.assets] == [True, False, False]
    assert len(report.problems) == 4
    assert [item.spec.rid for item in report.inputs.assets] == [world.asset]


@pytest.mark.parametrize("count", [2, 40])
def test_the_number_of_requests_does_not_depend_on_how_many_there_are(world, count):
    session = world.ml.session
    transport = Counting(session.catalog.transport)
    counted = replace(session, catalog=CatalogClient(transport, session.catalog_id))
    made = [Dataset.create_dataset(world.ml, None, "Training", f"number {at}") for at in range(count)]
    specs = [DatasetSpec(rid=one.dataset_rid, version="0.1.0") for one in made]
    assert all(one.is_valid for one in world.ml.validate_dataset_specs(specs).specs)
    assert validate_dataset_specs(counted, specs).is_valid
    assert transport.count == 3  # the model, the datasets with their histories, the first moment
