"""The records of a bag as a ``tf.data.Dataset`` of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import require
from deriva_ml.dataset.bag_labels import Missing, Targets
from deriva_ml.dataset.samples import BagSamples, Loading, Row, samples_of
from deriva_ml.wire.model import Table

if TYPE_CHECKING:
    from deriva_ml.dataset.dataset_bag import DatasetBag

__all__ = ["as_tf_dataset"]


def as_tf_dataset(
    bag: DatasetBag,
    element_type: str | Table,
    *,
    sample_loader: Callable[[Path | None, Row], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    targets: Targets | None = None,
    target_transform: Callable[[Any], Any] | None = None,
    missing: Missing = "error",
    reachable: bool = True,
    output_signature: Any = None,
) -> Any:
    """The records of a table as a ``tf.data.Dataset``, which knows its length and can be gone through many times.

    A file is read when its sample is asked for. The samples and labels are those of ``as_torch_dataset``, in the same
    order; a path is given as text, as ``tf.io.read_file`` wants it.

    Args:
        bag: The bag.
        element_type: The table.
        sample_loader: Given the path of the file (None for records that are no files, or only refer to one
            elsewhere) and the row, gives the sample, which must be something that TensorFlow makes a tensor of; by
            default the path.
        transform: Applied to the sample.
        targets: What a sample's label is, as in ``as_torch_dataset``. Without, there are samples only.
        target_transform: Given the feature's record, or the value, gives the label.
        missing: What becomes of records without a label: ``error`` refuses, ``skip`` leaves them out, ``unknown``
            leaves it to ``target_transform``, which is given None.
        reachable: All records of the table that belong to the dataset; else members only.
        output_signature: The ``tf.TensorSpec`` of a sample, or of sample and label. By default that of the first
            sample, with its types and numbers of dimensions, of any extent; it is loaded for that.

    Raises:
        DerivaMLMissingExtra: TensorFlow is not installed.
        DerivaMLTableNotFound: There is no such table.
        DerivaMLDataError: Records lack a label, or have several; there is no sample to tell the signature by, or
            TensorFlow makes no tensor of it.
    """
    tf = require("tensorflow", "tf")
    loading = Loading(sample_loader, transform)
    samples = samples_of(bag, element_type, loading, targets, target_transform, missing, reachable=reachable)
    _require_labels(samples)
    signature = _signature(tf, samples) if output_signature is None else output_signature

    def generate() -> Iterator[Any]:
        return map(_plain, samples)

    made = tf.data.Dataset.from_generator(generate, output_signature=signature)
    return made.apply(tf.data.experimental.assert_cardinality(len(samples)))


def _plain(sample: Any) -> Any:
    """A sample, or a sample and its label, with paths as text."""
    if isinstance(sample, tuple):
        return tuple(_plain(part) for part in sample)
    return str(sample) if isinstance(sample, PurePath) else sample


def _require_labels(samples: BagSamples) -> None:
    """Refuse labels of which there can be no tensor."""
    without = [rid for rid, label in zip(samples.rids, samples.targets or (), strict=False) if label is None]
    if without:
        raise DerivaMLDataError(
            f"{len(without)} records have no label, of which TensorFlow makes no tensor: {without[0]}...",
            hint="give them one with target_transform, or leave them out with missing='skip'",
        )


def _signature(tf: Any, samples: BagSamples) -> Any:
    """What the first sample is like."""
    if not len(samples):
        raise DerivaMLDataError(
            "There is no record to tell the signature of samples by.", hint="pass output_signature=tf.TensorSpec(...)"
        )
    return _spec(tf, _plain(samples[0]), samples.rids[0])


def _spec(tf: Any, value: Any, rid: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_spec(tf, part, rid) for part in value)
    if isinstance(value, dict):
        return {name: _spec(tf, part, rid) for name, part in value.items()}
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise DerivaMLDataError(
            f"TensorFlow makes no tensor of {type(value).__name__} in the sample of {rid}: {error}",
            hint="give it something else with sample_loader, transform or target_transform",
        ) from error
    return tf.TensorSpec([None] * tensor.shape.rank, tensor.dtype)
