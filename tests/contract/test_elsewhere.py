"""The life of a project in a catalog whose ML schema was made elsewhere, with nothing in it that is ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.elsewhere import PROJECT, make_catalog

from deriva_ml import FileSpec
from deriva_ml.asset import AssetSpec
from deriva_ml.cli.show import main as show
from deriva_ml.core.config import Settings, folder_identity
from deriva_ml.core.enums import Status
from deriva_ml.core.ermrest import ColumnDefinition
from deriva_ml.core.exceptions import DerivaMLInvalidTerm
from deriva_ml.dataset import DatasetSpec, DatasetVersion
from deriva_ml.execution import Execution, ExecutionConfiguration, Workflow
from deriva_ml.execution.recovery import incomplete_runs, reconcile_dead_runs
from deriva_ml.feature import FeatureRecord
from deriva_ml.ml import DerivaML

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("elsewhere") / "catalog"
    make_catalog(root)
    return root


@pytest.fixture
def ml(elsewhere: Path, settings: Settings) -> Iterator[DerivaML]:
    shutil.copytree(elsewhere, settings.local)
    folder_identity(settings.local)
    with DerivaML() as opened:
        yield opened


def configuration(**values: Any) -> ExecutionConfiguration:
    workflow = Workflow(
        name="Load", workflow_type=["Ingest", "VGG19"], url="https://example.org/load", checksum="0" * 40, version="1"
    )
    return ExecutionConfiguration(workflow=workflow, **values)


def load(ml: DerivaML, count: int = 4) -> tuple[Execution, list[str]]:
    """Bring in images of two subjects, each with a mask; give the run and the images."""
    subjects = [row["RID"] for row in ml.session.catalog.insert(PROJECT, "Subject", [{"Name": n} for n in "ab"])]
    run = ml.create_execution(configuration(description="load"))
    with run.execute():
        for n in range(count):
            metadata = {"Subject": subjects[n % 2], "Exposure": n / 4}
            run.asset_file_path("Image", f"image {n}.png", metadata=metadata).write_text("pixels" * (n + 1))
    uploaded = run.upload_execution_outputs()
    return run, [str(path.asset_rid) for path in uploaded[f"{PROJECT}/Image"]]


def test_the_schema_is_taken_for_what_it_is(ml: DerivaML) -> None:
    report = ml.validate_schema()
    assert report.is_valid, report.to_text()
    assert not report.warnings
    assert ml.validate_schema(strict=True).errors == [], "terms beyond ours are no errors"
    assert ml.default_schema == PROJECT
    assert {str(feature) for feature in ml.find_features("Image")} == {"Image:Quality", "Image:Outline"}
    assert {table.name for table in ml.list_asset_tables()} >= {"Image", "Mask", "Execution_Asset"}
    assert {table.name for table in ml.list_dataset_element_types()} >= {"Subject", "Image"}


def test_vocabularies_with_lower_case_columns_serve(ml: DerivaML) -> None:
    term = ml.add_term("Grade", "Fair", "Neither.", synonyms=["So-so"])
    assert ml.lookup_term("Grade", "So-so").name == "Fair"
    assert term.id.startswith("lab:")
    term.description = "Between."
    assert ml.lookup_term("Grade", "Fair").description == "Between."
    with pytest.raises(DerivaMLInvalidTerm) as caught:
        ml.lookup_term("Grade", "Gud")
    assert "Good" in caught.value.allowed
    ml.delete_term("Grade", "Fair")
    assert {each.name for each in ml.list_vocabulary_terms("Grade")} == {"Good", "Bad"}


def test_outputs_features_datasets_and_bags(ml: DerivaML, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, images = load(ml)
    assert ml.lookup_execution(first.execution_rid).status == Status.completed
    assert [asset.filename for asset in ml.list_assets("Image")] == [f"image {n}.png" for n in range(4)]
    assert ml.lookup_asset(images[0]).asset_types == ["Image"]

    # datasets, by an execution
    making = ml.create_execution(configuration(description="select"))
    with making.execute():
        whole = making.create_dataset(["Complete", "Labeled"], description="all images")
        part = making.create_dataset("Training", description="half of them")
        part.add_dataset_members({"Image": images[:2]})
        whole.add_dataset_members({"Image": images[2:], "Dataset": [part.dataset_rid]})
        whole.add_dataset_type("Validation")
    making.upload_execution_outputs()
    assert sorted(whole.dataset_types) == ["Complete", "Labeled", "Validation"]
    assert whole.current_version > DatasetVersion(0, 1, 0)
    assert len(whole.list_dataset_members(recurse=True)["Image"]) == 4
    assert [each.dataset_rid for each in part.list_dataset_parents()] == [whole.dataset_rid]
    version = str(whole.current_version)

    # a run that reads the dataset and an asset, and gives values of features that were made elsewhere and here
    ml.create_feature(
        "Image", "Size", terms=["Grade"], metadata=[ColumnDefinition("Bytes", "int4")], optional=["Grade"]
    )
    quality, outline, size = (ml.feature_record_class("Image", name) for name in ("Quality", "Outline", "Size"))
    run = ml.create_execution(
        configuration(
            description="grade", datasets=[DatasetSpec(rid=whole.dataset_rid, version=version)],
            assets=[AssetSpec(rid=images[0])],
        )
    )  # fmt: skip
    with run.execute():
        (bag,) = run.datasets
        rows = [row for rows in _members(bag).values() for row in rows]
        assert {Path(row["Filename"]).read_text()[:6] for row in rows} == {"pixels"}
        (path,) = run.asset_paths["Image"]
        assert path.read_text() == "pixels"
        for number, row in enumerate(rows):
            mask = run.asset_file_path("Mask", f"mask{number}.txt")
            mask.write_text(f"mask {number}")
            run.add_features([quality(Image=row["RID"], Grade="Good", Score=0.1), outline(Image=row["RID"], Mask=mask)])
            run.add_features([size(Image=row["RID"], Bytes=number)])
    run.upload_execution_outputs()
    _features(ml, run, images)
    assert [each.dataset_rid for each in run.list_input_datasets()] == [whole.dataset_rid]
    assert {asset.asset_table for asset in run.list_assets("Output")} >= {"Mask"}
    assert run.execution_rid in {record.execution_rid for record in ml.find_executions(workflow_type="VGG19")}

    # what a bag holds of it
    newest = whole.increment_dataset_version("minor", "graded")  # type: ignore[arg-type]
    bag = whole.download_dataset_bag(newest)
    assert {str(feature) for feature in bag.find_features("Image")} == {"Image:Quality", "Image:Outline", "Image:Size"}
    values = bag.list_feature_values("Image", "Quality", FeatureRecord.select_majority_vote())
    assert {value.target_rid: value.column_value("Grade") for value in values} == dict.fromkeys(images, "Good")
    assert (bag.path / "bagit.txt").is_file() if hasattr(bag, "path") else True
    frame = bag.denormalize_as_dataframe(["Image", "Subject"])
    assert set(frame["Subject.Name"]) == {"a", "b"}

    # what the commands and the experiment say
    assert show([run.execution_rid]) == 0
    shown = capsys.readouterr().out
    assert "grade" in shown
    assert whole.dataset_rid in shown
    experiment = ml.lookup_experiment(run.execution_rid)
    assert experiment.status == "Completed"
    (source,) = experiment.summary()["input_datasets"]
    assert source["dataset_rid"] == whole.dataset_rid
    assert {each["filename"] for each in experiment.summary()["output_assets"]} >= {"mask0.txt"}
    assert run.execution_rid in experiment.to_markdown()
    assert list(ml.find_experiments()) == []


def _members(bag: Any) -> dict[str, list[dict[str, Any]]]:
    return {"Image": bag.list_dataset_members(recurse=True)["Image"]}


def _features(ml: DerivaML, run: Execution, images: list[str]) -> None:
    found = {
        name: {value.target_rid: value for value in values} for name, values in ml.fetch_table_features("Image").items()
    }
    assert set(found) == {"Quality", "Outline", "Size"}
    assert all(set(values) == set(images) for values in found.values())
    masks = {asset.asset_rid for asset in ml.list_assets("Mask")}
    assert {value.column_value("Mask") for value in found["Outline"].values()} == masks
    for workflow in ("VGG19", run.workflow_rid):
        assert len(ml.feature_values("Image", "Quality", workflow=workflow)) == len(images)
    assert ml.feature_values("Image", "Quality", workflow="Testing") == []
    assert ml.feature_values("Image", "Size", execution_rids=[run.execution_rid])
    newest = ml.select_by_workflow(list(found["Quality"].values()), "Ingest")
    assert newest.Execution == run.execution_rid


def test_a_run_that_fails_keeps_its_outputs(ml: DerivaML) -> None:
    _, images = load(ml, 1)
    quality = ml.feature_record_class("Image", "Quality")
    run = ml.create_execution(configuration(description="breaks"))
    with pytest.raises(ValueError, match="half way"), run.execute():
        run.asset_file_path("Execution_Asset", "half.txt").write_text("half")
        run.add_features([quality(Image=images[0], Grade="Bad", Score=1.5)])
        raise ValueError("half way")
    run.upload_execution_outputs()
    assert ml.lookup_execution(run.execution_rid).status == Status.failed
    assert outputs(run) == ["half.txt"]
    (value,) = ml.feature_values("Image", "Quality")
    assert (value.column_value("Grade"), value.Execution) == ("Bad", run.execution_rid)


def outputs(run: Execution) -> list[str]:
    return sorted(asset.filename for asset in run.list_assets("Output") if asset.asset_table == "Execution_Asset")


KILLED = """
import os
from tests.contract.test_elsewhere import configuration
from deriva_ml.ml import DerivaML

ml = DerivaML()
run = ml.create_execution(configuration(description="killed"))
run.execution_start()
run.asset_file_path("Execution_Asset", "half.txt").write_text("half")
quality = ml.feature_record_class("Image", "Quality")
run.add_features([quality(Image=row["RID"], Grade="Bad", Score=1.5) for row in ml.get_table_as_dict("Image")])
print(run.execution_rid, flush=True)
os._exit(9)
"""


def test_a_run_whose_process_is_gone_is_ended_and_resumed(ml: DerivaML, capsys: pytest.CaptureFixture[str]) -> None:
    load(ml, 1)
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 9, done.stderr
    rid = done.stdout.split()[-1]
    reconcile_dead_runs(ml)
    assert ml.lookup_execution(rid).status == Status.aborted
    (waiting,) = incomplete_runs(ml)
    assert (waiting.run.execution, waiting.assets > 0, waiting.features) == (rid, True, 1)
    assert show([rid]) == 0
    assert f"deriva-ml-upload --execution {rid}" in capsys.readouterr().out
    again = ml.restore_execution(rid)
    again.upload_execution_outputs()
    assert outputs(again) == ["half.txt"]
    (value,) = ml.feature_values("Image", "Quality")
    assert (value.column_value("Grade"), value.Execution) == ("Bad", rid)
    assert incomplete_runs(ml) == []


def test_runs_may_be_nested_and_take_their_times(ml: DerivaML) -> None:
    parent, child = (ml.create_execution(configuration(description=name)) for name in ("parent", "child"))
    parent.add_nested_execution(child, 1)
    with child.execute():
        pass
    with parent.execute():
        pass
    for run in (child, parent):
        run.upload_execution_outputs()
    (record,) = parent.list_nested_executions()
    assert record.execution_rid == child.execution_rid
    assert record.duration is not None
    assert (record.start_time, record.stop_time) == (None, None)


def test_tables_of_the_project_are_made_in_it(ml: DerivaML) -> None:
    ml.create_vocabulary("Organ", "Organs.")
    ml.add_term("Organ", "Eye", "An eye.")
    ml.create_asset("Slide", [ColumnDefinition("Stain")], referenced_tables=["Subject", "Grade"])
    ml.add_dataset_element_type("Slide")
    record = ml.create_feature("Subject", "Site", terms=["Organ", "Grade"], optional=["Grade"])
    (subject,) = ml.session.catalog.insert(PROJECT, "Subject", [{"Name": "c"}])
    run = ml.create_execution(configuration(description="slides"))
    with run.execute():
        run.asset_file_path(
            "Slide", "s.tiff", metadata={"Stain": "H", "Subject": subject["RID"], "Grade": "Good"}
        ).touch()
        run.add_features([record(Subject=subject["RID"], Organ="Eye")])
    run.upload_execution_outputs()
    (slide,) = ml.list_assets("Slide")
    dataset = run.create_dataset(description="slides")
    dataset.add_dataset_members([slide.asset_rid])
    bag = dataset.download_dataset_bag(dataset.current_version)
    (value,) = bag.list_feature_values("Subject", "Site")
    assert value.column_value("Organ") == "Eye"


def test_files_are_referred_to_and_local_files_are_inputs(ml: DerivaML, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.txt", "deeper/b.txt"):
        (folder / name).write_text(name)
    run = ml.create_execution(configuration(description="files"))
    with run.execute():
        made = run.add_files(FileSpec.create_filespecs(folder, "brought", ["Input_File"]), ["Training"], "by reference")
        own = run.asset_file_path("Execution_Asset", folder / "a.txt", description="mine")
        assert own.read_text() == "a.txt"
    run.upload_execution_outputs()
    assert {"File", "Training"} <= set(made.dataset_types)
    listed = ml.list_files(["Input_File"])
    assert len(listed) == 2
    assert all({"File", "Input_File"} <= set(each["File_Types"]) for each in listed)
    (asset,) = ml.find_assets("Execution_Asset", "Execution_Asset")
    assert (asset.description, asset.execution_rid) == ("mine", run.execution_rid)
    assert asset.download(tmp_path / "back").read_text() == "a.txt"
    asset.add_asset_type("Model_File")
    assert "Model_File" in ml.lookup_asset(asset.asset_rid).asset_types
