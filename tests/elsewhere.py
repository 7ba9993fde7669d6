"""A catalog as others make it: the ML schema of the specification (2.1 to 2.3) and no more, by the ``deriva`` package.

It has none of the columns that are ours alone (times and upload state of executions, the version that was consumed).
Its vocabularies have lower-case columns, as those of older catalogs; every table refers to ``ERMrest_Client``, as that
package has it; features and assets of the project are tables that were made so too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deriva.core.ermrest_model import Column, ForeignKey, Key, Table, builtin_types

from deriva_ml.connect import open_connection

ML, PROJECT = "deriva-ml", "lab"
LOWER = {"ID": "id", "URI": "uri", "Name": "name", "Description": "description", "Synonyms": "synonyms"}
TERMS = {
    "Asset_Type": (
        "Execution_Config Runtime_Env Hydra_Config Deriva_Config Execution_Metadata Execution_Asset File Input_File "
        "Output_File Model_File Notebook_Output"
    ),
    "Asset_Role": "Input Output",
    "Dataset_Type": "Complete File Training Testing Validation Split Labeled Unlabeled",
    "Workflow_Type": (
        "Training Testing Prediction Feature_Creation Visualization Analysis Ingest Data_Cleaning Embedding "
        "Dataset_Management VGG19 RETFound Multimodal"
    ),
}


def text(name: str, kind: str = "text", **options: Any) -> dict[str, Any]:
    """The definition of a column."""
    return dict(Column.define(name, builtin_types[kind], **options))


class Maker:
    """Makes tables as the ``deriva`` package does.

    Args:
        catalog: The package's own catalog.
    """

    def __init__(self, catalog: Any) -> None:
        self.catalog = catalog
        self.model = catalog.getCatalogModel()

    def table(self, schema: str, name: str) -> Any:
        """A table that is there."""
        return self.model.schemas[schema].tables[name]

    def make(self, schema: str, document: dict[str, Any]) -> Any:
        """Make a table."""
        return self.model.schemas[schema].create_table(document)

    def vocabulary(self, schema: str, name: str, prefix: str) -> Any:
        """Make a vocabulary with lower-case columns."""
        document = Table.define_vocabulary(name, f"{prefix}:{{RID}}", comment=f"{name}.")
        for column in document["column_definitions"]:
            column["name"] = LOWER.get(column["name"], column["name"])
        for key in document["keys"]:
            key["unique_columns"] = [LOWER.get(column, column) for column in key["unique_columns"]]
        return self.make(schema, document)

    def association(self, schema: str, associates: list[Any], metadata: Any = (), name: str | None = None) -> Any:
        """Make a table that relates rows."""
        return self.make(schema, Table.define_association(associates, list(metadata), table_name=name))

    def asset(self, schema: str, name: str, columns: Any = (), template: str | None = None) -> Any:
        """Make an asset table with the tables of its types and executions."""
        made = self.make(schema, Table.define_asset(schema, name, template, column_defs=list(columns)))
        own = (name, made)
        self.association(schema, [own, ("Asset_Type", self.table(ML, "Asset_Type"))], name=f"{name}_Asset_Type")
        role = ("Asset_Role", False, self.table(ML, "Asset_Role"))
        self.association(schema, [own, ("Execution", self.table(ML, "Execution"))], [role], name=f"{name}_Execution")
        return made

    def feature(self, schema: str, target: Any, name: str, metadata: list[Any]) -> Any:
        """Make the table of a feature."""
        document = Table.define_association(
            [self.table(ML, "Execution"), target, self.table(ML, "Feature_Name")],
            metadata,
            table_name=f"Execution_{target.name}_{name}",
        )
        for column in document["column_definitions"]:
            if column["name"] == "Feature_Name":
                column["default"] = name
        return self.make(schema, document)

    def terms(self, schema: str, vocabulary: str, names: list[str]) -> None:
        """Add terms."""
        rows = [{"name": name, "description": f"{name}.", "synonyms": None} for name in names]
        self.catalog.post(f"/entity/{schema}:{vocabulary}?defaults=id,uri", json=rows)


def _workflows(make: Maker) -> None:
    columns = [
        text("Name"), text("Description", "markdown"), text("URL", "ermrest_uri"), text("Checksum"), text("Version"),
    ]  # fmt: skip
    workflow = make.make(ML, Table.define("Workflow", columns))
    make.association(ML, [workflow, make.table(ML, "Workflow_Type")], name="Workflow_Workflow_Type")
    columns = [
        text("Workflow"), text("Description", "markdown"), text("Duration"), text("Status"), text("Status_Detail"),
    ]  # fmt: skip
    reference = ForeignKey.define(["Workflow"], ML, "Workflow", ["RID"])
    execution = make.make(ML, Table.define("Execution", columns, fkey_defs=[reference]))
    make.association(
        ML,
        [("Execution", execution), ("Nested_Execution", execution)],
        [text("Sequence", "int4")],
        "Execution_Execution",
    )


def _datasets(make: Maker) -> None:
    columns = [text("Description", "markdown"), text("Deleted", "boolean")]
    dataset = make.make(ML, Table.define("Dataset", columns))
    make.association(ML, [dataset, make.table(ML, "Dataset_Type")], name="Dataset_Dataset_Type")
    columns = [
        text("Version", default="0.1.0"), text("Description", "markdown"), text("Dataset"), text("Execution"),
        text("Minid"), text("Minid_Spec_Hash"), text("Snapshot"),
    ]  # fmt: skip
    references = [
        ForeignKey.define(["Dataset"], ML, "Dataset", ["RID"]),
        ForeignKey.define(["Execution"], ML, "Execution", ["RID"]),
    ]
    keys = [Key.define(["Dataset", "Version"])]
    version = make.make(ML, Table.define("Dataset_Version", columns, keys, references))
    dataset.create_reference(("Version", True, version))
    make.association(ML, [("Dataset", dataset), ("Nested_Dataset", dataset)], name="Dataset_Dataset")
    make.association(ML, [dataset, make.table(ML, "Execution")], name="Dataset_Execution")


def make_ml_schema(make: Maker) -> None:
    """Make the ML schema, in the order of the specification (2.4)."""
    make.model.create_schema({"schema_name": ML})
    for name in ("Feature_Name", "Asset_Type", "Asset_Role", "Workflow_Type", "Dataset_Type"):
        make.vocabulary(ML, name, "elsewhere")
    _workflows(make)
    _datasets(make)
    template = "/hatrac/metadata/{{{MD5}}}.{{{Filename}}}"
    for name in ("Execution_Metadata", "Execution_Asset", "File"):
        make.asset(ML, name, template=template)
    make.association(ML, [make.table(ML, "Dataset"), make.table(ML, "File")], name="Dataset_File")
    for vocabulary, names in TERMS.items():
        make.terms(ML, vocabulary, names.split())


def make_project(make: Maker) -> None:
    """Make a project: subjects, images of them, grades, a feature with a term and one with a file."""
    make.model.create_schema({"schema_name": PROJECT})
    subject = make.make(PROJECT, Table.define("Subject", [text("Name"), text("Age", "int4")]))
    make.asset(PROJECT, "Image", [("Subject", True, subject), text("Exposure", "float8")])
    make.asset(PROJECT, "Mask")
    make.vocabulary(PROJECT, "Grade", "lab")
    make.terms(PROJECT, "Grade", ["Good", "Bad"])
    make.terms(ML, "Asset_Type", ["Image", "Mask"])
    make.terms(ML, "Feature_Name", ["Quality", "Outline"])
    image = make.table(PROJECT, "Image")
    make.feature(PROJECT, image, "Quality", [("Grade", False, make.table(PROJECT, "Grade")), text("Score", "float4")])
    make.feature(PROJECT, image, "Outline", [("Mask", False, make.table(PROJECT, "Mask"))])
    for element in ("Subject", "Image"):
        make.association(PROJECT, [make.table(ML, "Dataset"), make.table(PROJECT, element)], name=f"Dataset_{element}")


def make_catalog(root: Path) -> None:
    """Make a folder whose catalog 1 was made so."""
    with open_connection(str(root), create=True) as connection:
        connection.create_catalog(1)
        make = Maker(connection.deriva().catalog("1"))
        make_ml_schema(make)
        make_project(make)
