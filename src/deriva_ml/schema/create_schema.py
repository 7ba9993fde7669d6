"""The deriva-ml schema: its tables as one document, its seed terms, and the functions that make them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deriva_ml.catalog.client import CatalogClient
from deriva_ml.core.constants import ML_SCHEMA
from deriva_ml.core.enums import AssetRole, ExecAssetType, MLAsset, MLTable, MLVocab
from deriva_ml.core.ermrest import ColumnDef, ForeignKeyDef, KeyDef, TableDef
from deriva_ml.schema.handles import client_of
from deriva_ml.schema.tables import (
    Associate,
    asset_document,
    association_document,
    table_document,
    vocabulary_document,
)
from deriva_ml.wire.model import Json

__all__ = [
    "PARTIAL",
    "SEED_TERMS",
    "create_ml_catalog",
    "create_ml_schema",
    "initialize_ml_schema",
    "ml_schema_documents",
]

Document = dict[str, Json]

VOCABULARIES: dict[str, str] = {
    MLVocab.feature_name: "Names of the features that have been defined.",
    MLVocab.asset_type: "Kinds of files.",
    MLVocab.asset_role: "Which side of an execution an asset is on.",
    MLVocab.workflow_type: "Kinds of workflows.",
    MLVocab.dataset_type: "Kinds of datasets.",
}

PARTIAL = "What there was of a file when the execution that wrote it failed or was stopped; it may not be all."
"""Description of the type ``Partial``."""

SEED_TERMS: dict[str, dict[str, str]] = {
    MLVocab.asset_type: {
        "Execution_Config": "Configuration of an execution, such as a lock file.",
        "Runtime_Env": "Description of the environment that an execution ran in.",
        "Hydra_Config": "Configuration that Hydra resolved for an execution.",
        "Deriva_Config": "The inputs and parameters that an execution was given.",
        "Execution_Metadata": "Any file that describes an execution.",
        "Execution_Asset": "Any file that an execution made.",
        "File": "A file that is referred to and not stored.",
        "Input_File": "A file that an execution reads.",
        "Output_File": "A file that an execution writes.",
        "Model_File": "A trained model or its weights.",
        "Notebook_Output": "A notebook after it was executed.",
        ExecAssetType.partial: PARTIAL,
    },
    MLVocab.asset_role: {
        AssetRole.input: "The execution read the asset.",
        AssetRole.output: "The execution made the asset.",
    },
    MLVocab.dataset_type: {
        "Complete": "All of the data of a study.",
        "File": "A dataset of files.",
        "Training": "Data to fit a model to.",
        "Testing": "Data to evaluate a model on.",
        "Validation": "Data to choose a model's settings with.",
        "Split": "A dataset whose members are the parts of another one.",
        "Labeled": "Data whose labels are known.",
        "Unlabeled": "Data whose labels are not known.",
    },
    MLVocab.workflow_type: {
        "Training": "Fits a model.",
        "Testing": "Evaluates a model.",
        "Prediction": "Applies a model to new data.",
        "Feature_Creation": "Computes features.",
        "Visualization": "Draws data or results.",
        "Analysis": "Analyses data or results.",
        "Ingest": "Brings data into the catalog.",
        "Data_Cleaning": "Corrects or selects data.",
        "Embedding": "Computes embeddings.",
        "Dataset_Management": "Makes or changes datasets.",
    },
}


def _vocabularies(schema: str, prefix: str) -> Iterator[Document]:
    for name, comment in VOCABULARIES.items():
        yield vocabulary_document(schema, str(name), prefix, comment)


def _workflow_tables(schema: str) -> Iterator[Document]:
    columns = (
        ColumnDef("Name", comment="Name of the workflow."),
        ColumnDef("Description", "markdown", comment="What the workflow does."),
        ColumnDef("URL", "ermrest_uri", comment="Where the code is, at the commit that ran."),
        ColumnDef("Checksum", comment="Checksum of the code."),
        ColumnDef("Version", comment="Version of the code's package."),
    )
    yield table_document(schema, TableDef(MLTable.workflow.value, columns, comment="Code that executions run."))
    sides = [Associate(schema, "Workflow"), Associate(schema, "Workflow_Type", "Name")]
    yield association_document(schema, "Workflow_Workflow_Type", sides, comment="Kinds of each workflow.")


def _execution_tables(schema: str) -> Iterator[Document]:
    columns = (
        ColumnDef("Workflow", comment="The code that ran."),
        ColumnDef("Description", "markdown", comment="What the run was for."),
        ColumnDef("Duration", comment="How long the model ran."),
        ColumnDef("Status", comment="Created, Initializing, Pending, Running, Completed, Failed or Aborted."),
        ColumnDef("Status_Detail", comment="What was last said of the status."),
        ColumnDef("Start_Time", "timestamptz", comment="When the model started."),
        ColumnDef("Stop_Time", "timestamptz", comment="When the model ended."),
        ColumnDef("Upload_State", comment="none, pending, uploaded or failed."),
        ColumnDef("Download_Duration", comment="How long it took to bring the inputs."),
        ColumnDef("Upload_Duration", comment="How long the last upload of outputs took."),
    )
    references = [ForeignKeyDef(["Workflow"], schema, "Workflow")]
    definition = TableDef(MLTable.execution.value, columns, (), references, comment="Runs of workflows.")
    yield table_document(schema, definition)
    yield association_document(
        schema,
        MLTable.execution_execution.value,
        [Associate(schema, "Execution"), Associate(schema, "Execution", column="Nested_Execution")],
        [ColumnDef("Sequence", "int4", comment="Order of the nested executions; empty where there is none.")],
        comment="Executions that are part of others.",
    )


def _dataset_tables(schema: str) -> Iterator[Document]:
    dataset = (
        ColumnDef("Description", "markdown", comment="What the dataset holds."),
        ColumnDef("Deleted", "boolean", comment="Whether the dataset was deleted."),
        ColumnDef("Version", comment="The current version."),
    )
    pointer = ForeignKeyDef(["Version"], schema, MLTable.dataset_version.value)
    definition = TableDef(MLTable.dataset.value, dataset, (), [pointer], comment="Collections of records.")
    yield table_document(schema, definition)
    sides = [Associate(schema, "Dataset"), Associate(schema, "Dataset_Type", "Name")]
    yield association_document(schema, "Dataset_Dataset_Type", sides, comment="Kinds of each dataset.")
    version = (
        ColumnDef("Version", default="0.1.0", comment="Semantic version."),
        ColumnDef("Description", "markdown", comment="What changed."),
        ColumnDef("Dataset", comment="The dataset."),
        ColumnDef("Execution", comment="The execution that made the version."),
        ColumnDef("Minid", comment="Identifier of an exported bag."),
        ColumnDef("Minid_Spec_Hash", comment="What that bag was made from."),
        ColumnDef("Snapshot", comment="The catalog's snapshot that shows the version."),
        ColumnDef("Bag_Checksum", "jsonb", comment="What its bag was when it was first exported."),
    )
    yield table_document(
        schema,
        TableDef(
            MLTable.dataset_version.value,
            version,
            [KeyDef(["Dataset", "Version"])],
            [ForeignKeyDef(["Dataset"], schema, "Dataset"), ForeignKeyDef(["Execution"], schema, "Execution")],
            comment="Versions of datasets.",
        ),
    )
    yield association_document(
        schema,
        MLTable.dataset_dataset.value,
        [Associate(schema, "Dataset"), Associate(schema, "Dataset", column="Nested_Dataset")],
        comment="Datasets that are part of others.",
    )
    yield association_document(
        schema,
        MLTable.dataset_execution.value,
        [Associate(schema, "Dataset"), Associate(schema, "Execution")],
        [ColumnDef("Dataset_Version", comment="The version that the execution consumed.")],
        [ForeignKeyDef(["Dataset_Version"], schema, MLTable.dataset_version.value)],
        comment="Datasets that executions consumed.",
    )


def asset_table_documents(
    schema: str, asset: Document, ml_schema: str, *, type_key: str = "Name", role_key: str = "Name"
) -> Iterator[Document]:
    """The documents of an asset table and of its two companions: its types and its executions.

    Args:
        schema: Where they are made.
        asset: The document of the asset table.
        ml_schema: Name of the ML schema.
        type_key: The column of ``Asset_Type`` that holds a term's name; older catalogs have lower-case columns.
        role_key: The same of ``Asset_Role``.
    """
    name = str(asset["table_name"])
    yield asset
    own = Associate(schema, name)
    yield association_document(
        schema,
        f"{name}_Asset_Type",
        [own, Associate(ml_schema, "Asset_Type", type_key)],
        comment=f"Kinds of each {name}.",
    )
    yield association_document(
        schema,
        f"{name}_Execution",
        [own, Associate(ml_schema, "Execution")],
        [ColumnDef("Asset_Role", nullok=False, comment="Input or Output.")],
        [ForeignKeyDef(["Asset_Role"], ml_schema, "Asset_Role", [role_key])],
        comment=f"Executions that read or made each {name}.",
    )


def _asset_tables(schema: str) -> Iterator[Document]:
    comments = {
        MLAsset.execution_metadata.value: "Files that describe executions.",
        MLAsset.execution_asset.value: "Files that executions made.",
        MLTable.file.value: "Files that are referred to and not stored.",
    }
    for name, comment in comments.items():
        yield from asset_table_documents(schema, asset_document(schema, name, comment=comment), schema)
    sides = [Associate(schema, "Dataset"), Associate(schema, "File")]
    yield association_document(schema, "Dataset_File", sides, comment="Files in datasets.")


def ml_schema_documents(schema: str = ML_SCHEMA, project_name: str | None = None) -> list[Document]:
    """Everything that the ML schema consists of, in the order in which it is made.

    Args:
        schema: Name of the ML schema.
        project_name: Prefix of the terms' identifiers; the schema's name by default.
    """
    prefix = project_name or schema
    return [
        {"schema_name": schema, "comment": "Machine-learning runs, their inputs and their results.", "annotations": {}},
        *_vocabularies(schema, prefix),
        *_workflow_tables(schema),
        *_execution_tables(schema),
        *_dataset_tables(schema),
        *_asset_tables(schema),
    ]


def initialize_ml_schema(model: CatalogClient | Any, schema_name: str = ML_SCHEMA) -> None:
    """Add the seed terms that are missing; terms that are there stay as they are.

    Args:
        model: The catalog: a client of ours, or an ``ErmrestCatalog`` or a model of the ``deriva`` package.
        schema_name: Name of the ML schema.
    """
    with client_of(getattr(model, "catalog", model)) as client:
        for vocabulary, terms in SEED_TERMS.items():
            # older catalogs have lower-case columns
            names = {column.name.lower(): column.name for column in client.table(schema_name, str(vocabulary)).columns}
            rows: list[Document] = [
                {names["name"]: str(name), names["description"]: text, names["synonyms"]: []}
                for name, text in terms.items()
            ]
            defaults = (names["id"], names["uri"])
            client.insert(schema_name, str(vocabulary), rows, defaults=defaults, on_conflict_skip=True)


def create_ml_schema(
    catalog: CatalogClient | Any, schema_name: str = ML_SCHEMA, project_name: str | None = None
) -> None:
    """Make the ML schema in a catalog that has none, in one transaction, and seed its vocabularies.

    Args:
        catalog: The catalog: a client of ours, or an ``ErmrestCatalog`` of the ``deriva`` package.
        schema_name: Name of the ML schema.
        project_name: Prefix of the terms' identifiers.

    Raises:
        DerivaMLCatalogError: The schema exists already (409); nothing is changed then.
    """
    with client_of(catalog) as client:
        client.create_tables(ml_schema_documents(schema_name, project_name))
        initialize_ml_schema(client, schema_name)


def create_ml_catalog(hostname: str, project_name: str, catalog_alias: str | None = None) -> Any:
    """Make a catalog with the ML schema in it.

    Args:
        hostname: ``local``, a path, a host name or a URL.
        project_name: Prefix of the terms' identifiers.
        catalog_alias: The id that the catalog shall have; by default the next free one.

    Returns:
        The new catalog as the ``deriva`` package's own ``ErmrestCatalog``.
    """
    from deriva_ml.connect import open_connection

    connection = open_connection(hostname, create=True)
    client = connection.create_catalog(catalog_alias, name=project_name)
    create_ml_schema(client, project_name=project_name)
    return connection.deriva().catalog(client.catalog_id)
