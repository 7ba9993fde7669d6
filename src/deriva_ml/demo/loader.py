"""The demo catalog: the digits as images, labels and datasets, loaded by a run of their own.

1. The RIDs of the images and datasets are given by the loader, not taken from the catalog's counter. So they are the
   same in every demo catalog, whatever was in the catalog before, and configurations can name them.
2. A catalog that holds the whole demonstration carries a mark; loading it again does nothing. What a load that was
   interrupted left is removed by the next one, which begins anew.
3. Everything is written in batches; the number of requests does not depend on the number of images by more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.codes import encode
from deriva_ml.core.config import Settings
from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.enums import BuiltinTypes
from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.core.files import file_lock
from deriva_ml.core.values import dataclass
from deriva_ml.demo.digits import Digit, read_digits
from deriva_ml.demo.leftovers import clear
from deriva_ml.ml import DEFAULT_CATALOG, DerivaML

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import UploadCallback, UploadProgress
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.schema.session import Session

__all__ = ["COMPLETE", "SCHEMA", "SPLIT", "TESTING", "TRAINING", "VERSION", "DemoCatalog", "load_demo"]

SCHEMA = "digits"
"""The schema of the demonstration's own tables."""

COMMENT = "Handwritten digits of scikit-learn, loaded by create-demo-catalog."
"""The schema's comment: by it a load that was interrupted is known for what it is."""

READY_TAG = "tag:deriva-ml,2026:digits"
"""Annotation of the schema once everything is in the catalog."""

FIRST = 1 << 19
"""The demonstration's RIDs begin after this number, whose code is ``1-0000``: a new catalog is far from it."""

COMPLETE, SPLIT, TRAINING, TESTING = (encode(FIRST + place) for place in (1, 2, 3, 4))
FIRST_IMAGE = FIRST + 16

VERSION = "1.0.0"
"""The version of each dataset once it is loaded."""

TYPES = MappingProxyType(
    {
        "Predictions": "Values that a model predicted, as a table.",
        "Metrics": "Measures of how good a model is.",
        "Figure": "A picture for people.",
    }
)
"""Types of files that the demonstration's models write, beside those that every catalog has."""

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoCatalog:
    """Where the demonstration is.

    Attributes:
        place: The catalog service.
        catalog_id: The catalog.
        execution_rid: The run that loaded it; None if it was there already.
        images: How many images there are.
    """

    place: str
    catalog_id: str
    execution_rid: str | None
    images: int


def image_rid(digit: Digit) -> str:
    """The RID of an image."""
    return encode(FIRST_IMAGE + digit.index)


def load_demo(
    hostname: str = "local", catalog_id: str = DEFAULT_CATALOG, *, progress: Progress | None = None
) -> DemoCatalog:
    """Load the digits into a catalog, which is made if it does not exist.

    Args:
        hostname: ``local``, or a path; a host must hold the catalog already.
        catalog_id: The catalog.
        progress: Is told of each step: what, how far, of how many.

    Raises:
        DerivaMLConfigurationError: The catalog holds something that is in the way.
    """
    tell = progress or _silent
    with open_connection(hostname, settings=Settings.read(), create=True) as connection, _alone(connection):
        place = str(connection.place)
        if _is_loaded(connection, catalog_id):
            return DemoCatalog(place, catalog_id, None, len(_image_rids(connection, catalog_id)))
        tell("catalog", 0, 1)
        _make_room(connection, catalog_id)
        digits = read_digits()
        with DerivaML(hostname, catalog_id, default_schema=SCHEMA) as ml:
            _create_tables(ml.session)
            tell("catalog", 1, 1)
            rid = _load(ml, digits, tell)
            ml.session.catalog.set_annotation(READY_TAG, {"images": len(digits)}, schema=SCHEMA)
    return DemoCatalog(place, catalog_id, rid, len(digits))


def _alone(connection: Connection) -> AbstractContextManager[None]:
    """One load of a folder at a time: nobody takes another's work for leftovers."""
    root = connection.place.root
    return nullcontext() if root is None else file_lock(root / ".demo.lock")


def _silent(what: str, done: int, total: int) -> None:
    """Say nothing."""


def _image_rids(connection: Connection, catalog_id: str) -> list[str]:
    from deriva_ml.wire.path import table

    return [str(row["RID"]) for row in connection.catalog(catalog_id).attributes(table(SCHEMA, "Image"), "RID")]


def _is_loaded(connection: Connection, catalog_id: str) -> bool:
    """Whether the catalog holds the demonstration; what an interrupted load left of it is removed.

    Raises:
        DerivaMLConfigurationError: It holds another schema of that name.
    """
    if catalog_id not in connection.catalog_ids():
        return False
    client = connection.catalog(catalog_id)
    schema = client.model().schemas.get(SCHEMA)
    if schema is None:
        return False
    if READY_TAG in schema.annotations:
        return True
    if schema.comment != COMMENT:
        raise _in_the_way(connection, catalog_id, f"a schema {SCHEMA} that is not the demonstration's")
    clear(client, SCHEMA, [COMPLETE, SPLIT, TRAINING, TESTING])
    return False


def _in_the_way(connection: Connection, catalog_id: str, what: str) -> DerivaMLConfigurationError:
    free = next(
        name for name in ("demo", *(f"demo{n}" for n in range(2, 1000))) if name not in connection.catalog_ids()
    )
    return DerivaMLConfigurationError(
        f"Catalog {catalog_id} at {connection.place} holds {what}.",
        source=f"--catalog {catalog_id}",
        hint=f"load the demonstration into a new catalog: create-demo-catalog --catalog {free}",
    )


def _make_room(connection: Connection, catalog_id: str) -> None:
    """Make the catalog and the ML schema if need be, and the demonstration's schema."""
    from deriva_ml.schema.create_schema import create_ml_schema

    if catalog_id not in connection.catalog_ids():
        connection.create_catalog(catalog_id, name="handwritten digits")
    client = connection.catalog(catalog_id)
    if ML_SCHEMA not in client.model().schemas:
        create_ml_schema(client)
    taken = client.resolve_rids([COMPLETE, SPLIT, TRAINING, TESTING, encode(FIRST_IMAGE)])
    if taken:
        raise _in_the_way(connection, catalog_id, f"other records under the demonstration's RIDs ({', '.join(taken)})")
    client.create_schema(SCHEMA, comment=COMMENT)


def _create_tables(session: Session) -> None:
    """The tables of the demonstration: images, their classes, the true and the predicted digit."""
    from deriva_ml.asset.asset import create_asset
    from deriva_ml.core.ermrest import ColumnDefinition
    from deriva_ml.dataset.members import add_dataset_element_type
    from deriva_ml.feature.feature import create_feature
    from deriva_ml.schema.vocabulary import add_term, create_vocabulary

    create_vocabulary(session, "Image_Class", "Which digit an image shows.")
    for digit, name in enumerate(NAMES):
        add_term(session, "Image_Class", str(digit), f"The digit {name}.", [name])
    for kind, text in TYPES.items():
        add_term(session, "Asset_Type", kind, text)
    create_asset(session, "Image", comment="A handwritten digit, 8 by 8 pixels, 17 grey levels.")
    create_feature(session, "Image", "Digit", terms=["Image_Class"], comment="The digit that the writer meant.")
    create_feature(
        session,
        "Image",
        "Predicted_Digit",
        terms=["Image_Class"],
        metadata=[ColumnDefinition("Confidence", BuiltinTypes.float8)],
        comment="The digit that a model sees, and how sure it is.",
    )
    add_dataset_element_type(session, "Image")


def _load(ml: DerivaML, digits: Sequence[Digit], tell: Progress) -> str:
    """Load images, labels and datasets in one run; its RID."""
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.source import identify
    from deriva_ml.execution.workflow import Workflow

    # Somebody who works on this very project may load the demonstration too: hence no warning of uncommitted changes.
    code = identify(Path(__file__), allow_dirty=True)
    workflow = Workflow(
        name="Digits ingest",
        workflow_type="Ingest",
        description="Load the handwritten digits of scikit-learn",
        url=code.url,
        checksum=code.checksum,
        version=code.version,
    )
    configuration = ExecutionConfiguration(workflow=workflow, description="Load the digits demonstration")
    execution = ml.create_execution(configuration)
    with execution.execute():
        _stage(ml, execution, digits, tell)
        execution.upload_execution_outputs(progress_callback=_upload_progress(tell, len(digits)))
        tell("datasets", 0, 4)
        _make_datasets(ml.session, execution.execution_rid, digits)
        tell("datasets", 4, 4)
    execution.upload_execution_outputs()
    return str(execution.execution_rid)


def _stage(ml: DerivaML, execution: Any, digits: Sequence[Digit], tell: Progress) -> None:
    """Register every image under the RID that it shall have, and its label."""
    label: Any = ml.feature_record_class("Image", "Digit")  # a class made for this feature's columns
    leased: dict[str, str] = {}
    with execution.manifest.batch():
        for digit in digits:
            path = execution.asset_file_path("Image", digit.filename, description=f"a handwritten {digit.label}")
            path.write_bytes(digit.content)
            leased[path.key] = image_rid(digit)
            if digit.index % 100 == 0:
                tell("images staged", digit.index, len(digits))
        execution.manifest.lease(leased)
    tell("images staged", len(digits), len(digits))
    execution.add_features(label(Image=image_rid(digit), Image_Class=str(digit.label)) for digit in digits)


def _upload_progress(tell: Progress, count: int) -> UploadCallback:
    def report(progress: UploadProgress) -> None:
        tell("images uploaded", round(count * progress.percent_complete / 100), count)

    return report


def _make_datasets(session: Session, execution_rid: str, digits: Sequence[Digit]) -> None:
    """Complete holds every image; Split holds Training and Testing, which share them."""
    from deriva_ml.dataset.aux_classes import VersionPart
    from deriva_ml.dataset.members import add_members

    complete = _dataset(session, execution_rid, COMPLETE, ["Complete", "Labeled"], "Handwritten digits: all images")
    split = _dataset(session, execution_rid, SPLIT, ["Split"], "Handwritten digits: one image in five kept for testing")
    training = _dataset(session, execution_rid, TRAINING, ["Training", "Labeled"], "Handwritten digits for training")
    testing = _dataset(session, execution_rid, TESTING, ["Testing", "Labeled"], "Handwritten digits for testing")
    # Members first and versions last: one number for all that belongs together.
    add_members(session, COMPLETE, {"Image": [image_rid(digit) for digit in digits]}, validate=False)
    add_members(session, TRAINING, {"Image": [image_rid(digit) for digit in digits if not digit.test]}, validate=False)
    add_members(session, TESTING, {"Image": [image_rid(digit) for digit in digits if digit.test]}, validate=False)
    add_members(session, SPLIT, {"Dataset": [training.dataset_rid, testing.dataset_rid]}, validate=False)
    for dataset in (complete, split):  # the parts of the split get theirs with it
        dataset.increment_dataset_version(VersionPart.major, "Loaded with all members.")


def _dataset(session: Session, execution_rid: str, rid: str, types: list[str], description: str) -> Dataset:
    from deriva_ml.dataset.dataset import Dataset

    return Dataset.create_dataset(session, execution_rid, types, description, rid=rid)
