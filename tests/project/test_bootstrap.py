"""What is suggested from a catalog can be executed, composed, and is right for that catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import Counting

from deriva_ml.asset.asset import create_asset
from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLInvalidTerm
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.execution import ExecutionConfiguration, Workflow
from deriva_ml.ml import DerivaML
from deriva_ml.project.bootstrap import BootstrapReport, bootstrap_config

AWKWARD = "${x} \"quoted\" 'and' \\ back\nsecond line"


@pytest.fixture
def rich(ml: DerivaML) -> DerivaML:
    """A catalog with datasets of all sorts, and a run that made a file."""
    for description, types in [
        ("Handwritten digits", ["Training"]),
        ("Handwritten digits", ["Testing"]),
        (AWKWARD, []),
        ("", ["Training", "Labeled"]),
        ("漢字", []),
    ]:
        Dataset.create_dataset(ml, None, types, description)
    gone = Dataset.create_dataset(ml, None, [], "gone")
    ml.delete_dataset(gone.dataset_rid)
    code = Workflow(name="Fit", workflow_type="Training", url="https://example.org/fit", checksum="0" * 40)
    execution = ml.create_execution(ExecutionConfiguration(workflow=code, description=AWKWARD))
    with execution.execute():
        execution.asset_file_path("Execution_Asset", "network.json", asset_types="Model_File").write_text("{}")
    execution.upload_execution_outputs()
    ml.add_term("Workflow_Type", "${odd}", "cannot be named")
    ml.add_term("Workflow_Type", 'A "quoted" kind', AWKWARD)
    return ml


def entries(report: BootstrapReport, kind: str) -> dict[str, tuple[str, str | None]]:
    return {entry.name: (entry.subject, entry.version) for entry in report.suggestions if entry.kind == kind}


def test_what_is_suggested_is_composed_and_is_in_the_catalog_that_it_came_from(rich: DerivaML, project: Any) -> None:
    report = rich.bootstrap_config()
    for name, text in report.files.items():
        project.config(name).write_text(text, encoding="utf-8")
    checked = rich.validate_config_directory(project.folder)
    assert checked.problems == ()
    assert checked.references == len(entries(report, "datasets")) + len(entries(report, "assets")) == 6
    offered = {f"{entry.kind}={entry.name}" for entry in report.suggestions}
    assert offered <= set(checked.composed)
    assert len(offered) == len(report.suggestions) == 6 + 11


def test_datasets_have_names_of_their_own_and_their_newest_released_version(rich: DerivaML) -> None:
    dataset = rich.find_datasets()[0]
    dataset.increment_dataset_version("minor", "more")
    dataset.mark_dev("in the making", None)
    found = entries(rich.bootstrap_config(kinds="datasets"), "datasets")
    rids = [each.dataset_rid for each in rich.find_datasets()]
    assert [subject for subject, _version in found.values()] == rids
    alike = [f"handwritten_digits_{rid.lower().replace('-', '_')}" for rid in rids[:2]]
    assert found[alike[0]] == (dataset.dataset_rid, "0.2.0")
    assert alike[1] in found
    assert {"x_quoted_and_back", "labeled_training", "dataset"} <= set(found)


def test_only_datasets_of_a_type_are_suggested_if_one_is_named(rich: DerivaML) -> None:
    training = rich.bootstrap_config(kinds=["datasets"], dataset_type_filter="Training")
    assert set(entries(training, "datasets")) == {"handwritten_digits", "labeled_training"}
    several = rich.bootstrap_config(kinds=["datasets"], dataset_type_filter=["Training", "Testing"])
    assert len(entries(several, "datasets")) == 3
    with pytest.raises(DerivaMLInvalidTerm, match="Trainig"):
        rich.bootstrap_config(dataset_type_filter="Trainig")


def test_files_are_said_what_run_made_them(rich: DerivaML) -> None:
    report = rich.bootstrap_config(kinds=["assets"])
    [asset] = report.suggestions
    run = next(rich.find_executions()).execution_rid
    assert asset.name == "network"
    assert asset.description.startswith(f"network.json (Model_File) of execution {run}, ${{x}}")
    assert list(report.files) == ["assets.py"]


def test_a_table_with_many_files_is_left_out_and_that_is_said(rich: DerivaML) -> None:
    create_asset(rich.session, "Scan")
    url = rich.session.objects.put("/hatrac/x", b"x", filename="x")
    rows = [
        {"URL": f"{url}?{number}", "Filename": f"{number}.png", "Length": 1, "MD5": f"{number:032}"}
        for number in range(21)
    ]
    rich.session.catalog.insert("demo-schema", "Scan", rows[:20])
    assert len(rich.bootstrap_config(kinds=["assets"]).suggestions) == 21
    rich.session.catalog.insert("demo-schema", "Scan", rows[20:])
    report = rich.bootstrap_config(kinds=["assets"])
    assert len(report.suggestions) == 1
    assert report.left_out == ("Scan: 21 files, which are brought as members of datasets",)
    assert report.left_out[0] in report.to_text()


def test_the_number_of_requests_does_not_grow_with_the_catalog(rich: DerivaML) -> None:
    def count() -> int:
        counting = Counting(rich.session.catalog.transport)
        bootstrap_config(replace(rich.session, catalog=CatalogClient(counting, rich.session.catalog_id)))
        return counting.count

    few = count()
    for number in range(20):
        Dataset.create_dataset(rich, None, [], f"one more {number}")
    assert count() == few <= 14


def test_the_text_is_one_module_after_the_other_and_can_be_executed(rich: DerivaML) -> None:
    report = rich.bootstrap_config()
    text = report.to_text()
    for name in ("deriva.py", "datasets.py", "assets.py", "workflow.py"):
        assert f"# {name}\n" in text
    compile(text, "suggested", "exec")
    assert "# Left out:\n#   kind of work '${odd}'" in text


def test_files_that_are_there_are_never_replaced(rich: DerivaML, tmp_path: Path) -> None:
    report = rich.bootstrap_config(kinds=["datasets", "deriva_ml"])
    folder = tmp_path / "new" / "configs"
    assert report.write(folder) == [folder / "deriva.py", folder / "datasets.py"]
    (folder / "deriva.py").unlink()
    (folder / "datasets.py").write_text("mine")
    with pytest.raises(DerivaMLConfigurationError, match=r"already: datasets\.py"):
        report.write(folder)
    assert [path.name for path in folder.iterdir()] == ["datasets.py"]
    assert (folder / "datasets.py").read_text() == "mine"


def test_an_empty_catalog_suggests_what_it_has(ml: DerivaML, project: Any) -> None:
    report = ml.bootstrap_config()
    assert {entry.kind for entry in report.suggestions} == {"workflow"}
    for name, text in report.files.items():
        project.config(name).write_text(text, encoding="utf-8")
    assert ml.validate_config_directory(project.folder).problems == ()


def test_a_kind_that_there_is_not_is_refused(ml: DerivaML) -> None:
    with pytest.raises(DerivaMLConfigurationError, match="kind 'dataset'") as caught:
        ml.bootstrap_config(kinds=["dataset"])
    assert "datasets" in caught.value.allowed
