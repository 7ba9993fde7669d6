"""Runs: their configuration, code, inputs, status and outputs. Each name is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetSpec
    from deriva_ml.asset.local_file import LocalFile
    from deriva_ml.asset.spec_config import AssetSpecConfig, LocalFileConfig
    from deriva_ml.execution.base_config import (
        BaseConfig,
        DerivaBaseConfig,
        DescribedList,
        base_defaults,
        get_notebook_configuration,
        load_configs,
        notebook_config,
        with_description,
    )
    from deriva_ml.execution.collecting import GcReport
    from deriva_ml.execution.committing import UploadReport
    from deriva_ml.execution.execution import Execution
    from deriva_ml.execution.execution_configuration import AssetRID, ExecutionConfiguration
    from deriva_ml.execution.execution_record import ExecutionRecord
    from deriva_ml.execution.inputs import DatasetCollection
    from deriva_ml.execution.local_runs import ExecutionSnapshot
    from deriva_ml.execution.model_protocol import DerivaMLModel
    from deriva_ml.execution.multirun_config import (
        MultirunSpec,
        get_all_multirun_configs,
        get_multirun_config,
        list_multirun_configs,
        multirun_config,
    )
    from deriva_ml.execution.notebook import run_notebook
    from deriva_ml.execution.pending import PendingSummary, WorkspacePendingSummary
    from deriva_ml.execution.runner import create_model_config, reset_multirun_state, run_model
    from deriva_ml.execution.workflow import Workflow

__all__ = [
    "AssetRID",
    "AssetSpec",
    "AssetSpecConfig",
    "BaseConfig",
    "DatasetCollection",
    "DerivaBaseConfig",
    "DerivaMLModel",
    "DescribedList",
    "Execution",
    "ExecutionConfiguration",
    "ExecutionRecord",
    "ExecutionSnapshot",
    "GcReport",
    "LocalFile",
    "LocalFileConfig",
    "MultirunSpec",
    "PendingSummary",
    "UploadReport",
    "Workflow",
    "WorkspacePendingSummary",
    "base_defaults",
    "create_model_config",
    "get_all_multirun_configs",
    "get_multirun_config",
    "get_notebook_configuration",
    "list_multirun_configs",
    "load_configs",
    "multirun_config",
    "notebook_config",
    "reset_multirun_state",
    "run_model",
    "run_notebook",
    "with_description",
]

_HOMES = MappingProxyType(
    {
        "deriva_ml.asset.aux_classes": ("AssetSpec",),
        "deriva_ml.asset.local_file": ("LocalFile",),
        "deriva_ml.asset.spec_config": ("AssetSpecConfig", "LocalFileConfig"),
        "deriva_ml.execution.base_config": (
            "BaseConfig",
            "DerivaBaseConfig",
            "DescribedList",
            "base_defaults",
            "get_notebook_configuration",
            "load_configs",
            "notebook_config",
            "with_description",
        ),
        "deriva_ml.execution.collecting": ("GcReport",),
        "deriva_ml.execution.committing": ("UploadReport",),
        "deriva_ml.execution.execution": ("Execution",),
        "deriva_ml.execution.execution_configuration": ("AssetRID", "ExecutionConfiguration"),
        "deriva_ml.execution.execution_record": ("ExecutionRecord",),
        "deriva_ml.execution.inputs": ("DatasetCollection",),
        "deriva_ml.execution.local_runs": ("ExecutionSnapshot",),
        "deriva_ml.execution.model_protocol": ("DerivaMLModel",),
        "deriva_ml.execution.multirun_config": (
            "MultirunSpec",
            "get_all_multirun_configs",
            "get_multirun_config",
            "list_multirun_configs",
            "multirun_config",
        ),
        "deriva_ml.execution.notebook": ("run_notebook",),
        "deriva_ml.execution.pending": ("PendingSummary", "WorkspacePendingSummary"),
        "deriva_ml.execution.runner": ("create_model_config", "reset_multirun_state", "run_model"),
        "deriva_ml.execution.workflow": ("Workflow",),
    }
)


def __getattr__(name: str) -> Any:
    # pydantic, Hydra and the catalog take long to import: a name pays for its own module only.
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
