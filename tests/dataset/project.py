"""A small project for the tests of datasets: subjects, images with files, a feature, and what must not be reached."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, TableDef
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.schema.create_schema import asset_table_documents
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import (
    Associate,
    asset_document,
    association_document,
    table_document,
    vocabulary_document,
)
from deriva_ml.wire.model import Json

ML, DEMO = "deriva-ml", "demo-schema"


def documents() -> list[dict[str, Json]]:
    """The project's tables."""
    subject = TableDef("Subject", [ColumnDef("Name"), ColumnDef("Age", "int4"), ColumnDef("Tags", "text[]")])
    image = asset_document(
        DEMO,
        "Image",
        [
            ColumnDef("Subject"),
            ColumnDef("Usable", "boolean"),
            ColumnDef("Info", "jsonb"),
            ColumnDef("Score", "float8"),
        ],
        [ForeignKeyDef(["Subject"], DEMO, "Subject")],
    )
    feature = association_document(
        DEMO,
        "Execution_Image_Quality",
        [Associate(ML, "Execution"), Associate(DEMO, "Image"), Associate(ML, "Feature_Name", "Name")],
        [ColumnDef("Grade", nullok=False)],
        [ForeignKeyDef(["Grade"], DEMO, "Grade", ["Name"])],
    )
    columns: Any = feature["column_definitions"]
    for column in columns:
        if column["name"] == "Feature_Name":
            column["default"] = "Quality"
    return [
        table_document(DEMO, subject),
        *asset_table_documents(DEMO, image, ML),
        vocabulary_document(DEMO, "Grade", "demo"),
        feature,
        association_document(DEMO, "Dataset_Subject", [Associate(ML, "Dataset"), Associate(DEMO, "Subject")]),
        association_document(DEMO, "Dataset_Image", [Associate(ML, "Dataset"), Associate(DEMO, "Image")]),
    ]


def content(number: int) -> bytes:
    """The bytes of an image."""
    return f"image {number} ".encode() * 40


@dataclass
class Project:
    """The project in a catalog.

    Attributes:
        session: The catalog.
        execution: An execution that all of it is of.
        subjects: RIDs of subjects.
        images: RIDs of images; two belong to each subject.
    """

    session: Session
    execution: str
    subjects: list[str]
    images: list[str]

    def dataset(self, members: list[str], **more: Any) -> Dataset:
        """A dataset with members; its version is 0.2.0, or 0.1.0 if there are none."""
        made = Dataset.create_dataset(self.session, self.execution, **more)
        if members:
            made.add_dataset_members(members)
        return made


def make_project(session: Session, images: int) -> Project:
    """Make the project's tables, and so many images with their files, subjects and feature values."""
    catalog = session.catalog
    catalog.create_tables(documents())
    (execution,) = catalog.insert(ML, "Execution", [{"Description": "made the project"}])
    catalog.insert(DEMO, "Grade", [_term("good"), _term("bad")], defaults=["ID", "URI"])
    catalog.insert(ML, "Feature_Name", [_term("Quality")], defaults=["ID", "URI"])
    names = [
        {"Name": f"subject {n}", "Age": n % 90, "Tags": ["a", ""] if n % 2 else []} for n in range((images + 1) // 2)
    ]
    subjects = [str(row["RID"]) for row in catalog.insert(DEMO, "Subject", names)]
    rows: list[dict[str, Json]] = []
    for number in range(images):
        data = content(number)
        url = session.objects.put(f"/hatrac/Image/{number}.png", data)
        rows.append(
            {
                "URL": url,
                "Filename": f"image {number}, 50%.png",
                "Length": len(data),
                "MD5": hashlib.md5(data).hexdigest(),
                "Subject": subjects[number // 2],
                "Usable": number % 3 != 0,
                "Info": {"n": [number, None, 'a "quote",\n']},
                "Score": number / 7,
                "Description": "" if number % 5 == 0 else None,
            }
        )
    made = [str(row["RID"]) for row in catalog.insert(DEMO, "Image", rows)]
    links: list[dict[str, Json]] = [
        {"Image": rid, "Execution": execution["RID"], "Asset_Role": "Output"} for rid in made
    ]
    catalog.insert(DEMO, "Image_Execution", links)
    values: list[dict[str, Json]] = [
        {"Image": rid, "Execution": execution["RID"], "Grade": "good" if n % 2 else "bad"} for n, rid in enumerate(made)
    ]
    catalog.insert(DEMO, "Execution_Image_Quality", values, defaults=["Feature_Name"])
    return Project(session, str(execution["RID"]), subjects, made)


def _term(name: str) -> dict[str, Json]:
    return {"Name": name, "Description": name, "Synonyms": []}
