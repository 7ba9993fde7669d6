"""The records of a bag as a dataset of TensorFlow.

What needs TensorFlow runs only where it is installed: ``pip install 'deriva-ml[tf]'``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.project import DEMO, Project, content

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLMissingExtra
from deriva_ml.dataset import Dataset, DatasetBag, DatasetSpec, download_dataset_bag

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def _bag(dataset: Dataset, **more: Any) -> DatasetBag:
    spec = DatasetSpec(rid=dataset.dataset_rid, version=dataset.current_version, **more)
    return download_dataset_bag(dataset.session, spec)


def _numbers(project: Project, images: int) -> list[int]:
    return sorted(range(images), key=lambda number: project.images[number])


def _letters(path: Path | None, row: dict[str, Any]) -> list[int]:
    """The first bytes of a file, one more for each subject: lists of several lengths."""
    assert path is not None
    return list(path.read_bytes()[: 6 + int(bool(row["Usable"]))])


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_the_extra_is_named(small: Project) -> None:
    bag = _bag(small.dataset(small.images[:1]))
    with pytest.raises(DerivaMLMissingExtra, match=r"deriva-ml\[tf\]"):
        bag.as_tf_dataset("Image")


@needs_tensorflow
def test_paths_are_text_that_tensorflow_reads(small: Project) -> None:
    import tensorflow as tf

    made = _bag(small.dataset(small.images)).as_tf_dataset("Image", targets=["Quality"])
    assert isinstance(made, tf.data.Dataset)
    assert len(made) == 10
    for _again in range(2):
        read = [(tf.io.read_file(path).numpy(), label.numpy().decode()) for path, label in made]
        assert read == [(content(n), "good" if n % 2 else "bad") for n in _numbers(small, 10)]


@needs_tensorflow
def test_the_signature_is_that_of_the_first_sample_in_any_extent_or_as_given(small: Project) -> None:
    import tensorflow as tf

    bag = _bag(small.dataset(small.images))
    made = bag.as_tf_dataset(
        "Image",
        sample_loader=_letters,
        targets=["Quality", "Subject"],
        target_transform=lambda found: {"good": found["Quality"].Grade == "good", "subject": found["Subject"]},
    )
    sample, label = made.element_spec
    assert (sample.shape.as_list(), sample.dtype) == ([None], tf.int32)
    assert (label["good"].dtype, label["subject"].dtype) == (tf.bool, tf.string)
    assert {len(each) for each, _label in made} == {6, 7}
    given = (tf.TensorSpec([None], tf.uint8), tf.TensorSpec([], tf.float32))
    as_given = bag.as_tf_dataset(
        "Image",
        sample_loader=_letters,
        targets=["Quality"],
        target_transform=lambda record: float(record.Grade == "good"),
        output_signature=given,
    )
    assert as_given.element_spec == given
    batches = list(as_given.padded_batch(4))
    assert [labels.shape.as_list() for _samples, labels in batches] == [[4], [4], [2]]
    assert [label for _s, labels in batches for label in labels.numpy()] == [n % 2 for n in _numbers(small, 10)]


@needs_tensorflow
def test_what_makes_no_tensor_is_refused_when_it_is_made(small: Project) -> None:
    small.session.catalog.update(DEMO, "Image", [{"RID": small.images[0], "Subject": None}])
    bag = _bag(small.dataset([*small.images[:3], small.subjects[0]]))
    with pytest.raises(DerivaMLDataError, match=f"1 records have no label.*{small.images[0]}"):
        bag.as_tf_dataset("Image", targets=["Subject"], missing="unknown", reachable=False)
    assert len(bag.as_tf_dataset("Image", targets=["Subject"], missing="skip", reachable=False)) == 2
    with pytest.raises(DerivaMLDataError, match="TensorFlow makes no tensor of"):
        bag.as_tf_dataset("Subject", sample_loader=lambda _path, row: row["Tags"] or object())
    empty = _bag(small.dataset([small.subjects[4]]))
    with pytest.raises(DerivaMLDataError, match="output_signature"):
        empty.as_tf_dataset("File")
