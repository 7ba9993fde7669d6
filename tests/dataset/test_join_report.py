"""What joining would do, said beforehand."""

from __future__ import annotations

import pytest
from tests.dataset.project import Project

from deriva_ml.core.exceptions import DerivaMLTableNotFound
from deriva_ml.dataset import Dataset, DatasetBag, DatasetSpec, Denormalizer, download_dataset_bag


def _of_both(project: Project) -> tuple[Dataset, DatasetBag]:
    dataset = project.dataset(project.images[:4])
    spec = DatasetSpec(rid=dataset.dataset_rid, version="0.2.0", materialize=False)  # type: ignore[arg-type]
    return dataset, download_dataset_bag(project.session, spec)


def test_a_report_tells_steps_bridges_and_what_a_row_stands_for(small: Project) -> None:
    dataset, bag = _of_both(small)
    report = dataset.describe_denormalized(["Image", "Subject", "Grade"])
    assert report == bag.describe_denormalized(["Image", "Subject", "Grade"])
    assert report["columns"] == dataset.denormalize_columns(["Image", "Subject", "Grade"])
    assert report["problems"] == []
    assert report["bridges"] == ["Execution_Image_Quality"]
    assert report["row_per"] is None  # an image may have several grades
    steps = {step["to"]: step for step in report["joins"]["Image"]}
    assert steps["Subject"] == {
        "from": "Image",
        "to": "Subject",
        "on": [("Subject", "RID")],
        "keeps_rows": True,
        "multiplies": False,
    }
    assert steps["Execution_Image_Quality"]["multiplies"]
    assert set(report["joins"]) == {"Image", "Subject"}
    assert dataset.describe_denormalized(["Image", "Subject"])["row_per"] == "Image"


def test_a_report_says_what_stands_in_the_way_and_raises_for_names_only(small: Project) -> None:
    dataset, bag = _of_both(small)
    report = dataset.describe_denormalized(["Image", "Subject"], row_per="Subject")
    assert "Image may have several rows for one of Subject" in report["problems"][0]
    assert report["joins"] == {}
    assert report["columns"] == dataset.denormalize_columns(["Image", "Subject"])
    assert report == bag.describe_denormalized(["Image", "Subject"], row_per="Subject")
    with pytest.raises(DerivaMLTableNotFound, match="Image"):
        bag.describe_denormalized(["Imagge"])


def test_the_ways_to_tables_are_named(small: Project) -> None:
    dataset, bag = _of_both(small)
    found = dataset.list_schema_paths()
    assert found == bag.list_schema_paths()
    assert found["element_types"][:2] == ["Image", "Subject"]
    assert found["feature_tables"] == ["Execution_Image_Quality"]
    assert "Dataset_Image" in found["association_tables"]
    assert found["paths"]["Subject"][0] == ["Image", "Subject"]
    assert ["Image", "Execution_Image_Quality", "Grade"] in found["paths"]["Grade"]
    assert list(dataset.list_schema_paths(["Grade"])["paths"]) == ["Grade"]
    assert dataset.list_schema_paths(["Grade"], version="0.2.0")["paths"]["Grade"] == found["paths"]["Grade"]


def test_a_denormalizer_joins_a_dataset_at_a_version_and_a_bag_alike(small: Project) -> None:
    dataset, bag = _of_both(small)
    dataset.add_dataset_members(small.images[4:6])
    of_version, of_bag, of_present = Denormalizer(dataset, "0.2.0"), Denormalizer(bag), Denormalizer(dataset)
    rows = list(of_version.as_dict(["Image", "Subject"], row_per="Image"))
    assert len(rows) == 4
    assert rows == list(of_bag.as_dict(["Image", "Subject"], row_per="Image"))
    assert len(of_present.as_dataframe(["Image", "Subject"])) == 6
    assert of_version.as_dataframe(["Subject"], via=["Image"])["Subject.RID"].tolist() == sorted(small.subjects[:2])
    assert of_bag.columns(["Subject"]) == of_version.columns(["Subject"])
    assert of_bag.describe(["Subject"], via=["Image"]) == of_version.describe(["Subject"], via=["Image"])
    assert of_bag.list_paths(["Grade"]) == of_version.list_paths(["Grade"])
