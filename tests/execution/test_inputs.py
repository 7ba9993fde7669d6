"""What a run names is checked before anything is written; each mistake is named with its place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import Counting

from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDatasetNotFound,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
    DerivaMLVersionNotFound,
)
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.input_check import check_inputs
from deriva_ml.execution.inputs import Datasets

CHOICES = {"datasets": "small", "assets": "weights"}


def configured(datasets=(), assets=()):
    specs = [DatasetSpec(rid=rid, version=version) for rid, version in datasets]
    return ExecutionConfiguration(datasets=specs, assets=list(assets), config_choices=CHOICES)


def test_good_inputs_are_found_in_few_requests(world):
    session = world.ml.session
    transport = Counting(session.catalog.transport)
    counted = replace(session, catalog=type(session.catalog)(transport, session.catalog_id))
    counted.model()
    transport.reset()
    version = world.ml.lookup_dataset(world.dataset).current_version
    inputs = check_inputs(counted, configured([(world.dataset, version)], [world.asset]))
    assert transport.count <= 4
    assert inputs.datasets[0].version.dataset_version == version
    assert (inputs.assets[0].schema, inputs.assets[0].table) == ("demo-schema", "Scan")


def test_nothing_to_check_asks_nothing(world):
    session = world.ml.session
    transport = Counting(session.catalog.transport)
    check_inputs(replace(session, catalog=type(session.catalog)(transport, "1")), configured())
    assert transport.count == 0


def test_missing_rids_are_all_named_and_only_they(world):
    with pytest.raises(DerivaMLRidsNotFound) as caught:
        check_inputs(world.ml.session, configured([(world.dataset, "0.1.0"), ("9-ZZZZ", "1.0.0"), ("9-YYYY", "1.0.0")]))
    assert caught.value.missing == ("9-ZZZZ", "9-YYYY")
    assert "datasets[1] of the configuration datasets=small" in caught.value.source


def test_an_unknown_version_names_those_that_there_are(world):
    with pytest.raises(DerivaMLVersionNotFound) as caught:
        check_inputs(world.ml.session, configured([(world.dataset, "7.0.0")]))
    assert caught.value.known[-1] == "0.1.0"
    assert caught.value.source == "datasets[0] of the configuration datasets=small"


def test_an_asset_among_the_datasets_is_told_apart(world):
    with pytest.raises(DerivaMLDatasetNotFound, match="demo-schema:Scan"):
        check_inputs(world.ml.session, configured([(world.asset, "0.1.0")]))


@pytest.mark.parametrize("what", ["dataset", "subject"])
def test_something_else_among_the_assets_is_told_apart(world, what):
    rid = world.dataset if what == "dataset" else world.subjects[0]
    with pytest.raises(DerivaMLTableTypeError) as caught:
        check_inputs(world.ml.session, configured(assets=[world.asset, rid]))
    assert rid in str(caught.value)
    assert "assets[1] of the configuration assets=weights" in caught.value.source


def test_a_missing_asset_is_named(world):
    with pytest.raises(DerivaMLRidsNotFound) as caught:
        check_inputs(world.ml.session, configured(assets=["9-ZZZZ"]))
    assert caught.value.missing == ("9-ZZZZ",)


def test_a_deleted_dataset_is_no_input(world):
    world.ml.delete_dataset(world.dataset)
    with pytest.raises(DerivaMLDatasetNotFound, match="was deleted"):
        check_inputs(world.ml.session, configured([(world.dataset, "0.1.0")]))


def test_an_input_is_named_once(world):
    with pytest.raises(DerivaMLValidationError, match="named twice"):
        check_inputs(world.ml.session, configured([(world.dataset, "0.1.0"), (world.dataset, "0.1.0")]))
    with pytest.raises(DerivaMLValidationError, match="named twice"):
        check_inputs(world.ml.session, configured(assets=[world.asset, world.asset]))


class Bag:
    """Something with a RID."""

    def __init__(self, dataset_rid):
        self.dataset_rid = dataset_rid


def test_datasets_are_found_by_position_and_by_rid():
    first, second = Bag("1-AAAA"), Bag("1-BBBB")
    found = Datasets([first])
    found.append(second)
    assert (found[0], found["1-BBBB"], found[-1], found[0:1]) == (first, second, second, [first])
    assert list(found) == found.values() == [first, second]
    assert found.keys() == ["1-AAAA", "1-BBBB"]
    assert found.items()[0] == ("1-AAAA", first)
    assert "1-AAAA" in found
    assert first in found
    assert "1-CCCC" not in found
    with pytest.raises(KeyError, match="1-CCCC; there are 1-AAAA, 1-BBBB"):
        found["1-CCCC"]
    with pytest.raises(IndexError):
        found[2]


def _uses(ml, rid):
    return [(use.execution_rid, use.dataset_role, use.version) for use in ml.lookup_dataset(rid).list_execution_uses()]


def test_a_dataset_can_be_declared_consumed_without_being_brought(world, configuration):
    execution = world.ml.create_execution(configuration)
    execution.add_input_dataset(world.dataset)
    execution.add_input_dataset(world.dataset, world.ml.lookup_dataset(world.dataset).current_version)
    current = str(world.ml.lookup_dataset(world.dataset).current_version)
    assert (execution.execution_rid, "input", current) in _uses(world.ml, world.dataset)
    assert len(execution.datasets) == 0
    with pytest.raises(DerivaMLValidationError, match="another version"):
        execution.add_input_dataset(world.dataset, "0.1.0")
    with pytest.raises(DerivaMLVersionNotFound):
        execution.add_input_dataset(world.dataset, "7.0.0")


def test_a_dry_run_declares_nothing(world, configuration):
    before = world.ml.session.catalog.latest_snaptime()
    world.ml.create_execution(configuration, dry_run=True).add_input_dataset(world.dataset)
    assert world.ml.session.catalog.latest_snaptime() == before


def test_a_run_that_consumes_what_it_made_is_both(world, configuration):
    execution = world.ml.create_execution(configuration)
    made = execution.create_dataset(["Training"], description="Made here")
    execution.add_input_dataset(made.dataset_rid)
    rid = execution.execution_rid
    assert _uses(world.ml, made.dataset_rid) == [(rid, "input", "0.1.0"), (rid, "output", "0.1.0")]
    assert [record.execution_rid for record in made.list_executions()] == [rid]


def test_a_run_is_configured_by_name_or_by_a_configuration_not_both(world, workflow):
    execution = world.ml.create_execution(workflow=workflow, description="By name")
    assert execution.configuration.description == "By name"
    with pytest.raises(DerivaMLConfigurationError, match="description"):
        world.ml.create_execution(ExecutionConfiguration(workflow=workflow), description="Twice")
