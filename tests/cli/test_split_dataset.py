"""``deriva-ml-split-dataset`` divides a dataset, says what it made, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.dataset.project import DEMO, Project, make_project

from deriva_ml.cli.split_dataset import main
from deriva_ml.ml import DerivaML


@pytest.fixture
def small(ml: DerivaML) -> Project:
    return make_project(replace(ml.session, domain_schemas=frozenset({DEMO}), default_schema=DEMO), 10)


@pytest.fixture
def arguments(small: Project, catalog_root) -> list[str]:
    source = small.dataset(small.images)
    return ["--hostname", str(catalog_root), "--catalog-id", "1", "--dataset-rid", source.dataset_rid]


def test_a_split_is_made_and_summed_up(arguments, ml: DerivaML, capsys) -> None:
    assert main([*arguments, "--val-size", "2", "--testing-types", "Unlabeled", "--show-urls", "--seed", "7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line == "=" * 60] == ["=" * 60] * 3
    assert lines[1] == "SPLIT COMPLETE"
    told = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert told["Source"] == f"{arguments[-1]} (version 0.2.0)"
    rid, version, counted = told["Testing"].replace(",", "").split(" ", 2)[0], "0.1.0", "2 records of Image"
    assert told["Testing"] == f"{rid} (version {version}), {counted}"
    assert ml.lookup_dataset(rid).dataset_types == ["Testing", "Unlabeled"]
    assert told["Testing URL"].endswith(f"RID={rid}")
    assert (told["Seed"], told["Strategy"]) == ("7", "random")
    validation = ml.lookup_dataset(told["Validation"].split()[0])
    assert validation.dataset_types == ["Labeled", "Validation"]


def test_a_dry_run_says_what_would_be_done(arguments, ml: DerivaML, capsys) -> None:
    assert main([*arguments, "--dry-run", "--partition-by", "Subject", "--test-size", "0.4"]) == 0
    out = capsys.readouterr().out
    assert "DRY RUN - No changes will be made" in out
    assert "Testing: 4 records of Image" in out
    assert [dataset.dataset_rid for dataset in ml.find_datasets()] == arguments[-1:]


def test_the_result_can_be_had_as_json(arguments, capsys) -> None:
    tables = [
        "--include-tables",
        "Image,Grade",
        "--via",
        "Execution_Image_Quality",
        "--stratify-by-column",
        "Grade.Name",
    ]
    assert main([*arguments, "--json", "--test-size", "4", *tables, "--domain-schema", DEMO]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["training"]["count"], found["validation"]) == (arguments[-1], 6, None)
    assert found["strategy"] == "stratified by Grade.Name"


def test_what_is_wrong_is_said_and_nothing_is_written(arguments, ml: DerivaML, capsys) -> None:
    assert main([*arguments, "--test-size", "20"]) == 2
    assert "there are 10" in capsys.readouterr().err
    assert main([*arguments[:-1], "9-ZZZZ"]) == 2
    assert "9-ZZZZ" in capsys.readouterr().err
    assert main([*arguments, "--training-types", "Labelled"]) == 2
    assert "Labeled" in capsys.readouterr().err
    assert len(ml.find_datasets(deleted=True)) == 1
    with pytest.raises(SystemExit) as stopped:
        main(["--hostname", "local"])
    assert stopped.value.code == 2
