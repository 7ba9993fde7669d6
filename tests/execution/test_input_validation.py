"""What a configuration names, held against the catalog: everything that is wrong is said at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError, validate_call
from tests.fakes import Counting

import deriva_ml.catalog
from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.core import validation
from deriva_ml.core.exceptions import DerivaMLTableTypeError
from deriva_ml.core.validation import (
    ValidationResult,
    validate_execution_config,
    validate_rids,
    validate_vocabulary_terms,
)
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.dataset.dataset import Dataset


def test_what_is_right_is_found_and_counted(world):
    result = validate_rids(world.ml, [world.dataset], [world.asset], {world.dataset: "0.2.0"})
    assert (result.is_valid, result.errors, result.warnings) == (True, [], [])
    assert {rid: found.table_name for rid, found in result.validated_rids.items()} == {
        world.dataset: "Dataset",
        world.asset: "Scan",
    }
    assert str(result) == "✓ Validation passed\n  Validated 2 RID(s)"
    assert validate_rids(world.ml).is_valid
    assert str(ValidationResult()) == "✓ Validation passed"


def test_everything_that_is_wrong_is_said_at_once(world):
    subject = world.subjects[0]
    result = validate_rids(
        world.ml,
        dataset_rids=["1-ZZZZ", world.asset],
        asset_rids=[subject, world.asset],
        dataset_versions={world.dataset: "7.0.0"},
        workflow_rids=[world.dataset],
        execution_rids=["2-ZZZZ", world.asset],
    )
    available = "Current version: 0.2.0. Available versions: ['0.1.0', '0.2.0']"
    assert result.errors == [
        "Dataset RID '1-ZZZZ' does not exist in catalog",
        f"RID '{world.asset}' specified as dataset but found in table 'demo-schema.Scan'",
        f"RID '{subject}' specified as asset but found in table 'demo-schema.Subject'",
        f"RID '{world.dataset}' specified as workflow but found in table 'deriva-ml.Dataset'",
        "Execution RID '2-ZZZZ' does not exist in catalog",
        f"RID '{world.asset}' specified as execution but found in table 'demo-schema.Scan'",
        f"Dataset '{world.dataset}' does not have version '7.0.0'. {available}",
    ]
    assert not result.is_valid
    assert str(result).startswith("✗ Validation failed with 7 error(s)\nErrors:\n  • Dataset RID '1-ZZZZ'")


def test_a_dataset_without_description_is_a_warning(world):
    bare = Dataset.create_dataset(world.ml, None, "Training", "").dataset_rid
    result = validate_rids(world.ml, [bare, world.dataset])
    assert (result.is_valid, result.warnings) == (True, [f"Dataset '{bare}' has no description"])
    assert str(result).endswith(f"Warnings:\n  ⚠ Dataset '{bare}' has no description")
    assert validate_rids(world.ml, [bare], warn_missing_descriptions=False).warnings == []


def test_the_inputs_of_a_configuration_may_have_several_forms(world):
    good = validate_execution_config(
        world.ml,
        [DatasetSpec(rid=world.dataset, version="0.2.0"), {"rid": world.dataset, "version": "0.1.0"}],
        [AssetSpec(rid=world.asset), {"rid": world.asset}, world.asset],
    )
    assert (good.errors, good.warnings, len(good.validated_rids)) == ([], [], 2)
    bad = validate_execution_config(world.ml, [{"rid": world.dataset, "version": "9.9.9"}, {}], ["1-ZZZZ"])
    assert [error.partition(".")[0] for error in bad.errors] == [
        "{} has no RID",
        "Asset RID '1-ZZZZ' does not exist in catalog",
        f"Dataset '{world.dataset}' does not have version '9",
    ]
    twice = [{"rid": world.dataset, "version": "9.9.9"}, {"rid": world.dataset, "version": "0.2.0"}]
    assert len(validate_execution_config(world.ml, twice, []).errors) == 1
    assert validate_execution_config(world.ml, None, None).is_valid


def test_names_are_held_against_terms_and_synonyms(ml):
    ml.add_term("Workflow_Type", "Sorting", "Sorts.", synonyms=["Ordering"])
    assert validate_vocabulary_terms(ml, "Workflow_Type", ["Sorting", "Ordering"]).is_valid
    result = validate_vocabulary_terms(ml, "Workflow_Type", ["Sorting", "Sortin", "Sortin"])
    assert result.errors == [f"'Sortin' is no term of Workflow_Type; terms: {result.errors[0].rpartition(': ')[2]}"]
    assert "Sorting" in result.errors[0]
    with pytest.raises(DerivaMLTableTypeError):
        validate_vocabulary_terms(ml, "Dataset", ["x"])


def test_results_can_be_merged():
    one, other = ValidationResult(), ValidationResult()
    one.add_warning("w")
    other.add_error("e")
    one.merge(other)
    assert (one.is_valid, one.errors, one.warnings) == (False, ["e"], ["w"])


def test_the_number_of_requests_does_not_grow_with_the_rids(world):
    rows = [{"Name": f"n{number}"} for number in range(200)]
    rids = [str(row["RID"]) for row in world.ml.session.catalog.insert("demo-schema", "Subject", rows)]
    counts = []
    for number in (10, 200):
        transport = Counting(world.ml.connection.transport)
        session = replace(world.ml.session, catalog=type(world.ml.session.catalog)(transport, "1"))
        assert len(validate_rids(session, asset_rids=rids[:number]).errors) == number
        counts.append(len(transport.requests))
    assert counts[0] == counts[1]


def test_configurations_of_pydantic_are_there():
    class Own:
        pass

    @validate_call(config=validation.VALIDATION_CONFIG)
    def take(value: Own, number: int) -> int:
        return number

    assert take(Own(), "5") == 5
    with pytest.raises(ValidationError):
        take(5, 5)
    assert validation.STRICT_VALIDATION_CONFIG["extra"] == "forbid"
    for module in (validation, deriva_ml.catalog):
        with pytest.raises(AttributeError):
            module.no_such_name  # noqa: B018
