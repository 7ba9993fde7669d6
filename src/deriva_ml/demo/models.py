"""Two small models of the digits, and one that does nothing.

Each trains on the dataset of type Training, is judged on the one of type Testing, and leaves the fitted model, its
predictions, its metrics and a confusion matrix, and a predicted digit with its confidence for each test image.
"""

from __future__ import annotations

import csv
import json
import logging
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import require
from deriva_ml.core.values import dataclass
from deriva_ml.demo.digits import LEVELS, STEP

__all__ = ["k_nearest_neighbours", "logistic_regression", "nothing"]

EXTRA = "demo"


@dataclass(frozen=True)
class Sample:
    """The images of one dataset.

    Attributes:
        rids: The images.
        pixels: One row of 64 numbers from 0 (black) to 1 for each image.
        labels: The true digit of each image.
    """

    rids: list[str]
    pixels: Any
    labels: Any


def logistic_regression(
    regularisation: float = 1.0, max_iter: int = 1000, *, ml_instance: Any = None, execution: Any = None
) -> None:
    """Multinomial logistic regression on the pixels.

    Args:
        regularisation: Inverse strength of the penalty (``C`` of scikit-learn).
        max_iter: Most iterations of the solver.
        ml_instance: The catalog.
        execution: The run.
    """
    linear_model = require("sklearn.linear_model", EXTRA)
    _fit_and_judge(linear_model.LogisticRegression(C=regularisation, max_iter=max_iter), ml_instance, execution)


def k_nearest_neighbours(
    n_neighbors: int = 5, weights: str = "distance", *, ml_instance: Any = None, execution: Any = None
) -> None:
    """Vote of the nearest training images.

    Args:
        n_neighbors: How many vote.
        weights: ``uniform``, or ``distance`` so that nearer ones count more.
        ml_instance: The catalog.
        execution: The run.
    """
    neighbors = require("sklearn.neighbors", EXTRA)
    classifier = neighbors.KNeighborsClassifier(n_neighbors=n_neighbors, weights=weights)
    _fit_and_judge(classifier, ml_instance, execution)


def nothing(*, ml_instance: Any = None, execution: Any = None) -> None:
    """Do nothing: what a run of this costs is what recording costs.

    Args:
        ml_instance: The catalog.
        execution: The run.
    """


def _fit_and_judge(classifier: Any, ml_instance: Any, execution: Any) -> None:
    training = _read(_dataset_of_type(execution, "Training"))
    testing = _read(_dataset_of_type(execution, "Testing"))
    classifier.fit(training.pixels, training.labels)
    shares = classifier.predict_proba(testing.pixels)
    predicted = classifier.classes_[shares.argmax(axis=1)]
    confidence = shares.max(axis=1)
    _write_model(execution, classifier)
    _write_predictions(execution, testing, predicted, confidence)
    _write_metrics(execution, classifier, training, testing, predicted)
    _write_confusion(execution, testing.labels, predicted)
    record = ml_instance.feature_record_class("Image", "Predicted_Digit")
    execution.add_features(
        record(Image=rid, Image_Class=str(digit), Confidence=float(sure))
        for rid, digit, sure in zip(testing.rids, predicted, confidence, strict=True)
    )


def _dataset_of_type(execution: Any, wanted: str) -> Any:
    """The input dataset of a type.

    Raises:
        DerivaMLDataError: No input dataset, or more than one, is of this type.
    """
    found = [bag for bag in execution.datasets if wanted in bag.dataset_types]
    if len(found) != 1:
        raise DerivaMLDataError(
            f"The model needs one dataset of type {wanted}, and the run has {len(found)}.",
            source="datasets",
            hint="choose datasets=digits, or another group with one Training and one Testing dataset",
        )
    return found[0]


def _read(bag: Any) -> Sample:
    """Read the images and true labels of a bag, in the order of the files' names."""
    numpy = require("numpy", EXTRA)
    image = require("PIL.Image", EXTRA)
    labels = {record.Image: int(record.Image_Class) for record in bag.list_feature_values("Image", "Digit")}
    rows = sorted(bag.list_dataset_members(recurse=True)["Image"], key=lambda row: str(row["Filename"]))
    pixels = []
    for row in rows:
        with image.open(row["Filename"]) as picture:
            pixels.append(numpy.asarray(picture, dtype=float).ravel() / (LEVELS * STEP))
    rids = [row["RID"] for row in rows]
    return Sample(rids, numpy.stack(pixels), numpy.array([labels[rid] for rid in rids]))


def _output(execution: Any, name: str, kind: str, description: str) -> Any:
    return execution.asset_file_path("Execution_Asset", name, asset_types=kind, description=description)


def _write_model(execution: Any, classifier: Any) -> None:
    path = _output(execution, "model.joblib", "Model_File", "the fitted scikit-learn classifier")
    require("joblib", EXTRA).dump(classifier, path)


def _write_predictions(execution: Any, sample: Sample, predicted: Any, confidence: Any) -> None:
    path = _output(execution, "predictions.csv", "Predictions", "predicted and true digit of each test image")
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["Image", "Predicted", "True", "Confidence"])
        for rid, digit, label, sure in zip(sample.rids, predicted, sample.labels, confidence, strict=True):
            writer.writerow([rid, int(digit), int(label), f"{sure:.6f}"])


def _write_metrics(execution: Any, classifier: Any, training: Sample, testing: Sample, predicted: Any) -> None:
    metrics = require("sklearn.metrics", EXTRA)
    report = metrics.classification_report(testing.labels, predicted, output_dict=True, zero_division=0)
    values = {
        "model": type(classifier).__name__,
        "parameters": classifier.get_params(),
        "training_images": len(training.rids),
        "test_images": len(testing.rids),
        "accuracy": float(metrics.accuracy_score(testing.labels, predicted)),
        "macro_f1": float(report["macro avg"]["f1-score"]),
        "per_digit": {digit: report[digit] for digit in map(str, range(10)) if digit in report},
    }
    path = _output(execution, "metrics.json", "Metrics", "accuracy and F1 on the test images")
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _write_confusion(execution: Any, labels: Any, predicted: Any) -> None:
    metrics = require("sklearn.metrics", EXTRA)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.WARNING)  # it tells of its cache on first use
    figure = require("matplotlib.figure", EXTRA).Figure(figsize=(5, 5), layout="constrained")
    counts = metrics.confusion_matrix(labels, predicted, labels=range(10))
    axes = figure.add_subplot()
    axes.imshow(counts, cmap="Blues")
    axes.set(xlabel="predicted digit", ylabel="true digit", xticks=range(10), yticks=range(10))
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            if count:
                shade = "white" if count > counts.max() / 2 else "black"
                axes.text(column, row, int(count), ha="center", va="center", color=shade, fontsize=8)
    path = _output(execution, "confusion_matrix.png", "Figure", "confusion matrix on the test images")
    figure.savefig(path, format="png", dpi=120)
