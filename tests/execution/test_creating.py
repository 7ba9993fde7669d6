"""Runs that are given their inputs one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes import Counting

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDatasetNotFound, DerivaMLVersionNotFound
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.execution.creating import create_execution


def test_a_dataset_may_be_given_as_text(world, workflow):
    ml = world.ml
    other = Dataset.create_dataset(ml, None, "Testing", "empty").dataset_rid
    spec = DatasetSpec(rid=other, version="0.1.0")
    for given in ([f"{world.dataset}@0.2.0", spec], [world.dataset, other]):
        run = ml.create_execution(datasets=given, workflow=workflow, description="by text")
        named = [(item.rid, str(item.version)) for item in run.configuration.datasets]
        assert named == [(world.dataset, "0.2.0"), (other, "0.1.0")]
        assert sorted(use.version for use in run.describe().input_datasets) == ["0.1.0", "0.2.0"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"datasets": ["9-ZZZZ"]}, DerivaMLDatasetNotFound, "9-ZZZZ"),
        ({"datasets": ["{}@9.9.9"]}, DerivaMLVersionNotFound, "9.9.9"),
        ({"datasets": ["{}@newest"]}, DerivaMLConfigurationError, r"datasets.0.version: .*newest"),
        ({"datasets": [5]}, DerivaMLConfigurationError, r"datasets.0"),
        ({"assets": [None]}, DerivaMLConfigurationError, r"assets.0"),
        ({"description": 5}, DerivaMLConfigurationError, "description"),
    ],
)
def test_what_cannot_be_given_is_told_in_a_word_and_no_run_is_made(world, workflow, given, error, said):
    given = {
        name: [item.format(world.dataset) if isinstance(item, str) else item for item in value]
        if isinstance(value, list)
        else value
        for name, value in given.items()
    }
    with pytest.raises(error, match=said):
        world.ml.create_execution(workflow=workflow, **given)
    assert list(world.ml.find_executions()) == []


def test_current_versions_are_asked_for_at_once(world, workflow):
    session = world.ml.session
    more = [Dataset.create_dataset(world.ml, None, None, "x").dataset_rid for _ in range(5)]
    counts = []
    for given in ([world.dataset], [world.dataset, *more]):
        transport = Counting(session.catalog.transport)
        counted = replace(session, catalog=type(session.catalog)(transport, session.catalog_id))
        create_execution(counted, datasets=given, workflow=workflow, dry_run=True)
        counts.append(transport.count)
    assert counts[0] == counts[1]
