"""The records of a bag as samples with labels."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, Project, content

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableTypeError
from deriva_ml.dataset import Dataset, DatasetBag, DatasetSpec, download_dataset_bag
from deriva_ml.dataset.samples import BagSamples


def _bag(dataset: Dataset, **more: Any) -> DatasetBag:
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version, **more)
    return download_dataset_bag(dataset._session, spec)


def numbers(project: Project, images: int) -> list[int]:
    """The first images in the order of their RIDs, which is that of samples."""
    return sorted(range(images), key=lambda number: project.images[number])


def read(path: Path | None, row: dict[str, Any]) -> bytes:
    assert path is not None
    assert row["Filename"] == str(path)
    return path.read_bytes()


def test_samples_are_files_with_features_as_labels(project: Project) -> None:
    samples = _bag(project.dataset(project.images)).as_torch_dataset("Image", sample_loader=read, targets=["Quality"])
    assert samples.rids == sorted(project.images)
    by_rid = {rid: n for n, rid in enumerate(project.images)}
    assert len(samples) == len(project.images)
    for rid, (sample, label) in zip(samples.rids, samples, strict=True):
        assert (sample, label) == (content(by_rid[rid]), "good" if by_rid[rid] % 2 else "bad")
    assert samples[-1] == samples[len(samples) - 1]
    with pytest.raises(IndexError):
        samples[len(samples)]


def test_without_targets_there_are_samples_only_and_rows_where_there_are_no_files(small: Project) -> None:
    bag = _bag(small.dataset([small.subjects[0]]))
    assert [row["Name"] for row in bag.as_torch_dataset("Subject")] == ["subject 0"]
    assert [path.read_bytes() for path in bag.as_torch_dataset("Image")] == [content(n) for n in numbers(small, 2)]
    assert list(bag.as_torch_dataset("Image", reachable=False)) == []
    with pytest.raises(DerivaMLTableTypeError, match="Grade"):
        bag.as_torch_dataset("Grade", reachable=False)


def test_transformations_are_given_samples_and_whole_records(small: Project) -> None:
    bag = _bag(small.dataset(small.images[:2]))
    samples = bag.as_torch_dataset(
        "Image",
        sample_loader=read,
        transform=len,
        targets=["Quality", "Subject"],
        target_transform=lambda found: (found["Quality"].Execution, found["Subject"]),
    )
    assert list(samples) == [(len(content(n)), (small.execution, small.subjects[0])) for n in numbers(small, 2)]
    assert list(bag.as_torch_dataset("Image", transform=str.upper, sample_loader=lambda _p, _r: "x")) == ["X", "X"]
    at = numbers(small, 2).index(0)
    assert bag.as_torch_dataset("Image", targets=["Quality", "Subject"])[at][1] == {
        "Quality": "bad",
        "Subject": small.subjects[0],
    }


def test_a_file_is_read_when_its_sample_is_asked_for(small: Project) -> None:
    opened: list[Path | None] = []
    bag = _bag(small.dataset(small.images))
    samples = bag.as_torch_dataset("Image", sample_loader=lambda path, _row: opened.append(path), targets=["Quality"])
    assert opened == []
    samples[3]
    assert len(opened) == 1
    absent = _bag(small.dataset(small.images[:1]), materialize=False).as_torch_dataset("Image")
    with pytest.raises(DerivaMLDataError, match=small.images[0]):
        absent[0]


def test_a_file_elsewhere_is_left_to_the_loader(small: Project, caplog: Any, tmp_path: Path) -> None:
    place = "tag://host,2020-01-01:file:///data/x.png"
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "URL": place}])
    bag = _bag(small.dataset(small.images[:1]))
    loaded = bag.as_torch_dataset("Image", sample_loader=lambda path, row: (path, row["URL"]))
    assert list(loaded) == [(None, place)]
    assert [row["RID"] for row in bag.as_torch_dataset("Image")] == small.images[:1]
    assert bag.restructure_assets(tmp_path / "out") == {}
    assert "They are elsewhere" in caplog.text


def test_what_has_no_label_is_an_error_or_left_out_or_none(small: Project) -> None:
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    bag = _bag(small.dataset(small.images[:3]))
    with pytest.raises(DerivaMLDataError, match="'Subject' is one text, not several"):
        bag.as_torch_dataset("Image", targets="Subject")
    with pytest.raises(DerivaMLDataError, match=f"1 records of Image have no value of Subject: {small.images[0]}"):
        bag.as_torch_dataset("Image", targets=["Subject"])
    assert bag.as_torch_dataset("Image", targets=["Subject"], missing="skip").rids == sorted(small.images[1:3])
    labels = [label for _path, label in bag.as_torch_dataset("Image", targets=["Subject"], missing="unknown")]
    expected = [None, small.subjects[0], small.subjects[1]]
    assert labels == [expected[n] for n in numbers(small, 3)]


def test_samples_travel_to_other_processes(small: Project) -> None:
    samples = _bag(small.dataset(small.images)).as_torch_dataset("Image", sample_loader=read, targets=["Quality"])
    again = pickle.loads(pickle.dumps(samples))
    assert isinstance(again, BagSamples)
    assert list(again) == list(samples)


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_a_loader_of_pytorch_takes_them(small: Project) -> None:
    import torch
    from torch.utils.data import DataLoader, Dataset, Subset

    bag = _bag(small.dataset(small.images))
    samples = bag.as_torch_dataset(
        "Image",
        sample_loader=lambda path, row: torch.tensor(list(read(path, row)[:6])),
        targets=["Quality"],
        target_transform=lambda record: int(record.Grade == "good"),
    )
    assert isinstance(samples, Dataset)
    batches = list(DataLoader(Subset(samples, [0, 1, 2]), batch_size=2))
    assert [tuple(batch.shape) for batch, _labels in batches] == [(2, 6), (1, 6)]
    assert torch.cat([labels for _batch, labels in batches]).tolist() == [n % 2 for n in numbers(small, 10)[:3]]
    loader = DataLoader(bag.as_torch_dataset("Image", sample_loader=read, targets=["Quality"]), batch_size=5)
    labels = [label for _samples, several in loader for label in several]
    assert labels == ["good" if n % 2 else "bad" for n in numbers(small, 10)]
