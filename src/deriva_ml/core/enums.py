"""Names that the catalog stores as text: statuses, tables, vocabularies, types.

Members are strings, so they compare equal to, hash as and can be dictionary keys in place of their values.
"""

from __future__ import annotations

from enum import Enum, StrEnum

__all__ = [
    "AssetRole",
    "BaseStrEnum",
    "BuiltinTypes",
    "ExecAssetType",
    "ExecMetadataType",
    "MLAsset",
    "MLTable",
    "MLVocab",
    "Status",
    "UploadState",
]


class BaseStrEnum(StrEnum):
    """An enum whose members are their string values."""


class UploadState(Enum):
    """How far the upload of one file is."""

    success = 0
    failed = 1
    pending = 2
    running = 3
    paused = 4
    aborted = 5
    cancelled = 6
    timeout = 7


class Status(BaseStrEnum):
    """Status of an execution; the allowed moves are in ``deriva_ml.execution.states``."""

    initializing = "Initializing"
    created = "Created"
    pending = "Pending"
    running = "Running"
    aborted = "Aborted"
    completed = "Completed"
    failed = "Failed"


class MLVocab(BaseStrEnum):
    """The vocabularies of the ML schema."""

    dataset_type = "Dataset_Type"
    workflow_type = "Workflow_Type"
    asset_type = "Asset_Type"
    asset_role = "Asset_Role"
    feature_name = "Feature_Name"


class MLAsset(BaseStrEnum):
    """The asset tables that hold an execution's own files."""

    execution_metadata = "Execution_Metadata"
    execution_asset = "Execution_Asset"


class MLTable(BaseStrEnum):
    """The tables of the ML schema."""

    dataset = "Dataset"
    workflow = "Workflow"
    file = "File"
    asset = "Asset"
    execution = "Execution"
    execution_execution = "Execution_Execution"
    dataset_version = "Dataset_Version"
    dataset_dataset = "Dataset_Dataset"
    dataset_execution = "Dataset_Execution"
    dataset_type = "Dataset_Dataset_Type"
    workflow_type = "Workflow_Workflow_Type"
    execution_metadata = "Execution_Metadata"
    execution_asset = "Execution_Asset"


class AssetRole(BaseStrEnum):
    """Which side of an execution an asset is on."""

    input = "Input"
    output = "Output"


class ExecMetadataType(BaseStrEnum):
    """Asset types of the files that describe an execution."""

    execution_config = "Execution_Config"
    runtime_env = "Runtime_Env"
    hydra_config = "Hydra_Config"
    deriva_config = "Deriva_Config"


class ExecAssetType(BaseStrEnum):
    """Asset types of what an execution reads and writes."""

    input_file = "Input_File"
    output_file = "Output_File"
    notebook_output = "Notebook_Output"
    model_file = "Model_File"
    partial = "Partial"


class BuiltinTypes(BaseStrEnum):
    """Column types that ERMrest accepts; the value is the type's name in a model document."""

    text = "text"
    int2 = "int2"
    int4 = "int4"
    int8 = "int8"
    float4 = "float4"
    float8 = "float8"
    boolean = "boolean"
    date = "date"
    timestamp = "timestamp"
    timestamptz = "timestamptz"
    json = "json"
    jsonb = "jsonb"
    markdown = "markdown"
    longtext = "longtext"
    ermrest_curie = "ermrest_curie"
    ermrest_uri = "ermrest_uri"
    ermrest_rid = "ermrest_rid"
    ermrest_rcb = "ermrest_rcb"
    ermrest_rmb = "ermrest_rmb"
    ermrest_rct = "ermrest_rct"
    ermrest_rmt = "ermrest_rmt"
    color_rgb_hex = "color_rgb_hex"
    serial2 = "serial2"
    serial4 = "serial4"
    serial8 = "serial8"
    text_array = "text[]"
    int2_array = "int2[]"
    int4_array = "int4[]"
    int8_array = "int8[]"
    float4_array = "float4[]"
    float8_array = "float8[]"
    boolean_array = "boolean[]"
    date_array = "date[]"
    timestamp_array = "timestamp[]"
    timestamptz_array = "timestamptz[]"
