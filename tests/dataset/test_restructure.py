"""The assets of a bag as a tree of directories."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, Project, content

from deriva_ml.core.ermrest import ColumnDef
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLNotFoundError,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.dataset import Dataset, DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.feature.feature import create_feature
from deriva_ml.feature.select import newest


def _bag(dataset: Dataset, **more: Any) -> DatasetBag:
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version, **more)
    return download_dataset_bag(dataset._session, spec)


def _tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


def _rename(project: Project, names: dict[int, str]) -> None:
    rows: list[Any] = [{"RID": project.images[number], "Filename": name} for number, name in names.items()]
    project.session.catalog.update(DEMO, "Image", rows)


def test_the_directories_are_those_of_the_types_and_of_the_labels(small: Project, tmp_path: Path) -> None:
    training = small.dataset(small.images[:4], dataset_types=["Training"])
    testing = small.dataset(small.images[4:6], dataset_types=["Testing"])
    whole = small.dataset([training.dataset_rid, testing.dataset_rid], dataset_types=["Split"])
    placed = _bag(whole).restructure_assets(tmp_path / "out", group_by=["Quality"])
    assert _tree(tmp_path / "out") == sorted(
        f"{'training' if n < 4 else 'testing'}/{'good' if n % 2 else 'bad'}/image {n}, 50%.png" for n in range(6)
    )
    assert {target.read_bytes() for target in placed.values()} == {content(n) for n in range(6)}
    assert all(target.is_symlink() and target.resolve() == source.resolve() for source, target in placed.items())


def test_a_dataset_without_types_is_for_testing_unless_others_are_in_it(small: Project, tmp_path: Path) -> None:
    inner = small.dataset(small.images[:1])
    placed = _bag(small.dataset([inner.dataset_rid, small.images[1]])).restructure_assets(tmp_path / "out")
    assert _tree(tmp_path / "out") == ["image 1, 50%.png", "testing/image 0, 50%.png"]
    assert len(placed) == 2


def test_types_can_be_chosen_and_mapped(small: Project, tmp_path: Path) -> None:
    dataset = small.dataset(small.images[:1], dataset_types=["Testing", "Training"])
    bag = _bag(dataset)
    bag.restructure_assets(tmp_path / "a", type_selector=max)
    bag.restructure_assets(tmp_path / "b", type_to_dir_map={"Training": "learn/../x"})
    assert _tree(tmp_path / "a") == ["training/image 0, 50%.png"]
    assert _tree(tmp_path / "b") == ["learn%2F..%2Fx/image 0, 50%.png"]


def test_assets_that_members_lead_to_are_placed_too(small: Project, tmp_path: Path) -> None:
    bag = _bag(small.dataset([small.subjects[0]], dataset_types=["Training"]))
    assert len(bag.restructure_assets(tmp_path / "out", "Image", ["Subject"])) == 2
    assert _tree(tmp_path / "out") == [f"training/{small.subjects[0]}/image {n}, 50%.png" for n in range(2)]
    with pytest.raises(DerivaMLDataError, match="Could not auto-detect asset table"):
        bag.restructure_assets(tmp_path / "none")
    with pytest.raises(DerivaMLTableTypeError, match="Subject"):
        bag.restructure_assets(tmp_path / "none", "Subject")
    assert not (tmp_path / "none").exists()


def test_assets_of_one_name_are_kept_apart_and_each_keeps_its_bytes(small: Project, tmp_path: Path) -> None:
    _rename(small, {0: "a.png", 1: "a.png", 2: "A.PNG", 3: "b.png", 4: f"a.{small.images[0]}.png"})
    bag = _bag(small.dataset(small.images[:5], dataset_types=["Training"]))
    for use_symlinks in (True, False, True):
        placed = bag.restructure_assets(tmp_path / "out", use_symlinks=use_symlinks)
        assert len(set(placed.values())) == 5
        assert sorted(target.read_bytes() for target in placed.values()) == sorted(content(n) for n in range(5))
        assert all(target.is_symlink() == use_symlinks for target in placed.values())
        assert len(_tree(tmp_path / "out")) == 5
    assert "training/b.png" in _tree(tmp_path / "out")
    assert f"training/a.{small.images[1]}.png" in _tree(tmp_path / "out")
    assert sorted(source.read_bytes() for source in placed) == sorted(content(n) for n in range(5))


def test_a_transformer_makes_the_files_and_different_suffixes_do_not_meet(small: Project, tmp_path: Path) -> None:
    _rename(small, {0: "a.tif", 1: "a.dcm"})

    def convert(source: Path, target: Path) -> Path:
        made = target.with_suffix(".txt")
        made.write_bytes(source.read_bytes().upper())
        return made

    bag = _bag(small.dataset(small.images[:2], dataset_types=["Training"]))
    for _again in range(2):
        placed = bag.restructure_assets(tmp_path / "out", file_transformer=convert)
        assert sorted(path.read_bytes() for path in placed.values()) == [content(0).upper(), content(1).upper()]
    with pytest.raises(DerivaMLDataError, match="were made into one file"):
        bag.restructure_assets(tmp_path / "two", file_transformer=lambda source, _target: source.parents[2])
    with pytest.raises(DerivaMLDataError, match="made no file"):
        bag.restructure_assets(tmp_path / "three", file_transformer=lambda _source, target: target)
    assert sorted(source.read_bytes() for source in placed) == [content(0), content(1)]


def _second_run(project: Project, image: int, grade: str) -> None:
    (execution,) = project.session.catalog.insert("deriva-ml", "Execution", [{"Description": "second"}])
    row: Any = {"Image": project.images[image], "Execution": execution["RID"], "Grade": grade}
    project.session.catalog.insert(DEMO, "Execution_Image_Quality", [row], defaults=["Feature_Name"])


def test_several_values_are_an_error_unless_one_is_chosen(small: Project, tmp_path: Path) -> None:
    _second_run(small, 0, "good")
    bag = _bag(small.dataset(small.images[:2], dataset_types=["Training"]))
    with pytest.raises(DerivaMLDataError, match=f"{small.images[0]} has several values of Quality: 'bad' by execution"):
        bag.restructure_assets(tmp_path / "out", group_by=["Quality"])
    assert not (tmp_path / "out").exists()
    bag.restructure_assets(tmp_path / "a", group_by=["Quality"], value_selector=newest)
    bag.restructure_assets(tmp_path / "b", targets={"Quality.Grade": newest})
    bag.restructure_assets(tmp_path / "c", group_by=["Quality"], enforce_vocabulary=False)
    assert _tree(tmp_path / "a") == _tree(tmp_path / "b")
    assert "training/good/image 0, 50%.png" in _tree(tmp_path / "a")
    assert "training/bad/image 0, 50%.png" in _tree(tmp_path / "c")


def test_a_feature_without_terms_must_be_asked_for(small: Project, tmp_path: Path) -> None:
    create_feature(small.session, "Subject", "Weight", metadata=[ColumnDef("Kilo", "float8")])
    row: Any = {"Subject": small.subjects[0], "Execution": small.execution, "Kilo": 70.5}
    small.session.catalog.insert(DEMO, "Execution_Subject_Weight", [row], defaults=["Feature_Name"])
    bag = _bag(small.dataset(small.images[:3], dataset_types=["Training"]))
    with pytest.raises(DerivaMLDataError, match="Subject:Weight has no column with terms"):
        bag.restructure_assets(tmp_path / "out", group_by=["Weight"])
    bag.restructure_assets(tmp_path / "out", group_by=["Weight"], enforce_vocabulary=False)
    assert _tree(tmp_path / "out") == [
        *(f"training/70.5/image {n}, 50%.png" for n in range(2)),
        "training/Unknown/image 2, 50%.png",
    ]
    with pytest.raises(DerivaMLNotFoundError, match="Quality"):
        bag.restructure_assets(tmp_path / "none", group_by=["Qualty"])
    with pytest.raises(DerivaMLNotFoundError, match="Grade"):
        bag.restructure_assets(tmp_path / "none", group_by=["Quality.Grad"])


def test_what_has_no_value_is_unknown_or_left_out_or_an_error(small: Project, tmp_path: Path) -> None:
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    bag = _bag(small.dataset(small.images[:2], dataset_types=["Training"]))
    bag.restructure_assets(tmp_path / "a", targets=["Subject"])
    bag.restructure_assets(tmp_path / "b", targets=["Subject"], missing="skip")
    assert {path.split("/")[1] for path in _tree(tmp_path / "a")} == {small.subjects[0], "Unknown"}
    assert [path.split("/")[1] for path in _tree(tmp_path / "b")] == [small.subjects[0]]
    with pytest.raises(DerivaMLDataError, match=f"1 assets have no value of Subject: {small.images[0]}"):
        bag.restructure_assets(tmp_path / "c", targets=["Subject"], missing="error")
    with pytest.raises(DerivaMLValidationError, match="missing='never'"):
        bag.restructure_assets(tmp_path / "c", missing="never")  # type: ignore[arg-type]
    with pytest.raises(DerivaMLValidationError, match="group_by and targets"):
        bag.restructure_assets(tmp_path / "c", group_by=["Subject"], targets=["Subject"])
    assert not (tmp_path / "c").exists()


def test_a_transformation_of_targets_gives_directories(small: Project, tmp_path: Path) -> None:
    bag = _bag(small.dataset(small.images[:2], dataset_types=["Training"]))
    bag.restructure_assets(tmp_path / "a", targets=["Quality"], target_transform=lambda record: record.Grade.upper())
    bag.restructure_assets(
        tmp_path / "b",
        targets=["Quality", "Usable"],
        target_transform=lambda found: [found["Quality"].Grade, f"usable={found['Usable']}"],
    )
    assert _tree(tmp_path / "a") == ["training/BAD/image 0, 50%.png", "training/GOOD/image 1, 50%.png"]
    assert _tree(tmp_path / "b") == [
        "training/bad/usable=False/image 0, 50%.png",
        "training/good/usable=True/image 1, 50%.png",
    ]


def test_files_that_are_not_there_are_named_and_left_out(
    small: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = _bag(small.dataset(small.images, dataset_types=["Training"]), materialize=False)
    with caplog.at_level(logging.WARNING, "deriva_ml"):
        assert bag.restructure_assets(tmp_path / "out") == {}
    assert "The files of 10 assets are not in the bag" in caplog.text
    assert f"{min(small.images)} (image" in caplog.text


@pytest.mark.parametrize("use_symlinks", [True, False])
def test_a_place_that_cannot_be_written_leaves_none_of_the_files_and_the_next_attempt_succeeds(
    small: Project, tmp_path: Path, use_symlinks: bool
) -> None:
    bag = _bag(small.dataset(small.images))
    root = tmp_path / "out"
    blocked = root / "testing" / "good"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("mine")
    with pytest.raises(DerivaMLException, match=f"(?s)Cannot lay files out in {root}.*was removed"):
        bag.restructure_assets(root, group_by=["Quality"], use_symlinks=use_symlinks)
    assert [path for path in root.rglob("*") if not path.is_dir()] == [blocked]
    blocked.unlink()
    assert len(bag.restructure_assets(root, group_by=["Quality"], use_symlinks=use_symlinks)) == 10


def test_the_bag_itself_is_no_place_for_the_tree(small: Project, tmp_path: Path) -> None:
    bag = _bag(small.dataset(small.images[:1]))
    with pytest.raises(DerivaMLValidationError, match="in the bag itself"):
        bag.restructure_assets(bag.path / "data" / "out")
    (tmp_path / "out" / "testing" / "image 0, 50%.png").mkdir(parents=True)
    with pytest.raises(DerivaMLDataError, match="directory where a file is to be"):
        bag.restructure_assets(tmp_path / "out")
