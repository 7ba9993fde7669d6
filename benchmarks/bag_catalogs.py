"""The catalogs whose datasets ``bags.py`` exports: images with a feature, plain rows, and a whole project."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.connect import open_connection
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.ml import DerivaML
from deriva_ml.schema.create_schema import asset_table_documents, create_ml_schema
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import (
    Associate,
    asset_document,
    association_document,
    table_document,
    vocabulary_document,
)
from deriva_ml.wire.hatrac import object_name

ML, PROJECT = "deriva-ml", "bench"
SMALL = 4096
BATCH = 50_000
NESTED = 84
FEATURES = 16
RECORDS = 31
"""Plain tables of the whole project, so that its bag has some 80 together with the ML schema's."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Built:
    """A dataset to export.

    Attributes:
        root: The catalog's folder.
        rid: The dataset.
        version: Its version.
    """

    root: Path
    rid: str
    version: str


@contextmanager
def catalog(root: Path) -> Iterator[Session]:
    """A session on a new catalog with the ML schema and an empty one for the project."""
    with open_connection(str(root), create=True) as connection:
        client = connection.create_catalog(1)
        create_ml_schema(client, project_name="bench")
        client.create_schema(PROJECT, "A project.")
    places = {"cache_dir": root.parent / "building", "working_dir": root.parent / "working"}
    with DerivaML(str(root), 1, **places) as ml:
        yield replace(ml.session, domain_schemas=frozenset({PROJECT}), default_schema=PROJECT)


class Filler:
    """Adds rows and hands out their RIDs."""

    def __init__(self, client: CatalogClient) -> None:
        self._client = client

    def __call__(self, table: str, rows: Sequence[Row], schema: str = PROJECT, **how: Any) -> list[str]:
        return [str(row["RID"]) for row in self._client.insert(schema, table, rows, **how)]

    def terms(self, table: str, names: Sequence[str], schema: str = PROJECT) -> None:
        """Add terms to a vocabulary."""
        rows = [{"Name": name, "Description": name, "Synonyms": []} for name in names]
        self(table, rows, schema, defaults=["ID", "URI"])


def member_table(element: str) -> Row:
    """The table of a dataset's members of one type."""
    return association_document(PROJECT, f"Dataset_{element}", [Associate(ML, "Dataset"), Associate(PROJECT, element)])


def image_tables(columns: Sequence[ColumnDef] = (), keys: Sequence[ForeignKeyDef] = ()) -> list[Row]:
    """The asset table of images, and what comes with it."""
    return [*asset_table_documents(PROJECT, asset_document(PROJECT, "Image", columns, keys), ML), member_table("Image")]


def feature_tables(number: int) -> list[Row]:
    """A feature of images, and the vocabulary of its values."""
    terms = f"Term_{number}"
    sides = [Associate(ML, "Execution"), Associate(PROJECT, "Image"), Associate(ML, "Feature_Name", "Name")]
    key = ForeignKeyDef([terms], PROJECT, terms, ["Name"])
    values = association_document(PROJECT, f"Execution_Image_F{number}", sides, [ColumnDef(terms, nullok=False)], [key])
    for column in values["column_definitions"]:
        if column["name"] == "Feature_Name":
            column["default"] = f"F{number}"
    return [vocabulary_document(PROJECT, terms, "bench"), values]


def fill_feature(fill: Filler, number: int, images: Sequence[str], execution: str) -> None:
    """Give images a value of a feature."""
    fill.terms(f"Term_{number}", ["good", "bad"])
    fill.terms("Feature_Name", [f"F{number}"], ML)
    rows = [
        {"Image": rid, "Execution": execution, f"Term_{number}": ("good", "bad")[at % 2]}
        for at, rid in enumerate(images)
    ]
    fill(f"Execution_Image_F{number}", rows, defaults=["Feature_Name"])


def images(root: Path, files: Path, count: int) -> Built:
    """A dataset of images of 4 KiB with one feature; their files lie in ``files`` too, for the baseline."""
    files.mkdir()
    chooser = random.Random(count)
    with catalog(root) as session:
        session.catalog.create_tables([*image_tables(), *feature_tables(0)])
        fill = Filler(session.catalog)
        (execution,) = fill("Execution", [{"Description": "labels"}], ML)
        rows = []
        for at in range(count):
            content = chooser.randbytes(SMALL)
            name, md5 = f"image{at}.png", hashlib.md5(content).hexdigest()
            (files / name).write_bytes(content)
            url = session.objects.put(object_name("Image", md5, name), content)
            rows.append({"URL": url, "Filename": name, "Length": SMALL, "MD5": md5})
        rids = fill("Image", rows)
        fill_feature(fill, 0, rids, execution)
        dataset = Dataset.create_dataset(session, None, description="images")
        fill("Dataset_Image", [{"Dataset": dataset.dataset_rid, "Image": rid} for rid in rids])
        return Built(root, dataset.dataset_rid, str(dataset.increment_dataset_version("minor")))


def plain(root: Path, count: int) -> Built:
    """A dataset of rows without files."""
    columns = [ColumnDef("Name"), ColumnDef("Number", "int4"), ColumnDef("Score", "float8")]
    with catalog(root) as session:
        session.catalog.create_tables([table_document(PROJECT, TableDef("Item", columns)), member_table("Item")])
        fill = Filler(session.catalog)
        dataset = Dataset.create_dataset(session, None, description="rows")
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            rids = fill("Item", [{"Name": f"item {at}", "Number": at, "Score": at / 7} for at in numbers])
            fill("Dataset_Item", [{"Dataset": dataset.dataset_rid, "Item": rid} for rid in rids])
        return Built(root, dataset.dataset_rid, str(dataset.increment_dataset_version("minor")))


# --------------------------------------------------------------------------------------------- a whole project


def project_tables() -> list[Row]:
    """Subjects, observations, images with features, and plain tables that refer to subjects."""
    of_subject = ForeignKeyDef(["Subject"], PROJECT, "Subject")
    observation = [ColumnDef("Subject"), ColumnDef("Date", "date")]
    record = [ColumnDef("Subject"), ColumnDef("Value", "float8"), ColumnDef("Note")]
    tables = [
        TableDef("Subject", [ColumnDef("Name"), ColumnDef("Age", "int4")]),
        TableDef("Observation", observation, (), [of_subject]),
    ]
    records = [TableDef(f"Record_{at}", record, (), [of_subject]) for at in range(RECORDS)]
    return [
        *(table_document(PROJECT, table) for table in tables),
        *image_tables([ColumnDef("Observation")], [ForeignKeyDef(["Observation"], PROJECT, "Observation")]),
        member_table("Subject"),
        member_table("Observation"),
        *(document for at in range(FEATURES) for document in feature_tables(at)),
        *(table_document(PROJECT, table) for table in records),
    ]


def fill_project(fill: Filler, scale: float) -> tuple[list[str], list[str], str]:
    """Fill the tables; the RIDs of subjects and images, and an execution's."""
    executions = fill("Execution", [{"Description": f"run {at}"} for at in range(40)], ML)
    people, seen, taken, labelled = (max(1, round(size * scale)) for size in (4500, 12_000, 40_000, 8000))
    subjects = fill("Subject", [{"Name": f"subject {at}", "Age": at % 90} for at in range(people)])
    dated = [{"Subject": subjects[at % people], "Date": "2020-01-01"} for at in range(seen)]
    observations = fill("Observation", dated)
    files = (
        {"URL": f"/hatrac/Image/{at}.png:1", "Filename": f"image{at}.png", "Length": 50_000, "MD5": f"{at:032x}"}
        for at in range(taken)
    )
    images = fill("Image", [{**row, "Observation": observations[at % seen]} for at, row in enumerate(files)])
    made = [{"Image": rid, "Execution": executions[at % 40], "Asset_Role": "Output"} for at, rid in enumerate(images)]
    fill("Image_Execution", made)
    fill.terms("Asset_Type", ["Image"], ML)
    fill("Image_Asset_Type", [{"Image": rid, "Asset_Type": "Image"} for rid in images])
    for number in range(FEATURES):
        start = round(number * 1000 * scale)
        fill_feature(fill, number, images[start : start + labelled], executions[number])
    for number in range(RECORDS):
        values = range(max(1, round(1500 * scale)))
        notes = [{"Subject": subjects[at % people], "Value": at / 7, "Note": f"note {at}"} for at in values]
        fill(f"Record_{number}", notes)
    return subjects, images, executions[0]


def project(root: Path, scale: float) -> Built:
    """A dataset with 84 nested ones, in two layers, whose members reach all of a project's tables."""
    with catalog(root) as session:
        session.catalog.create_tables(project_tables())
        fill = Filler(session.catalog)
        subjects, images, execution = fill_project(fill, scale)
        top = Dataset.create_dataset(session, execution, description="top")
        nested = [
            Dataset.create_dataset(session, execution, description=f"part {at}").dataset_rid for at in range(NESTED)
        ]
        holders = [top.dataset_rid if at < 10 else nested[at % 10] for at in range(NESTED)]
        pairs = zip(holders, nested, strict=True)
        fill("Dataset_Dataset", [{"Dataset": holder, "Nested_Dataset": rid} for holder, rid in pairs], ML)
        fill("Dataset_Image", [{"Dataset": nested[at % NESTED], "Image": rid} for at, rid in enumerate(images)])
        of_subjects = [{"Dataset": nested[at % NESTED], "Subject": rid} for at, rid in enumerate(subjects)]
        fill("Dataset_Subject", of_subjects)
        return Built(root, top.dataset_rid, str(top.increment_dataset_version("minor")))
