"""A run that one process has opened, as facts that another can make it from: of JSON's kinds, and without secrets.

The process that opens a run holds the catalog; the one that calls the model gets the run by these facts. Both write to
the same journal and the same manifest, which bear that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.asset.aux_classes import AssetFilePath, AssetSpec
from deriva_ml.core.enums import Status
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.input_check import AssetInput, DatasetInput, Inputs
from deriva_ml.execution.inputs import DatasetCollection, RunInputs
from deriva_ml.execution.ledger import Ledger, open_journal
from deriva_ml.execution.opening import Opened
from deriva_ml.execution.states import Upload
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.session import Session
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

if TYPE_CHECKING:
    from deriva_ml.execution.execution import Execution

__all__ = ["facts_of", "opened_from"]


def facts_of(execution: Execution) -> dict[str, Any]:
    """What another process needs to know of a run that has been started."""
    inputs = execution.inputs
    assert execution.start_time is not None
    return {
        "execution_rid": execution.execution_rid,
        "workflow_rid": execution.workflow_rid,
        "working_dir": str(execution.working_dir),
        "start_time": execution.start_time.isoformat(),
        "attempt": execution.attempt,
        "upload": execution.upload_state.value,
        # so that the model can register outputs while the catalog is away
        "asset_types": dict(execution.asset_types()),
        "configuration": execution.configuration.model_copy(update={"workflow": None}).model_dump(mode="json"),
        "workflow": execution.workflow.model_dump(mode="json"),
        "datasets": [
            {"spec": item.spec.model_dump(mode="json"), "version": item.version.model_dump(mode="json")}
            for item in inputs.checked.datasets
        ],
        "bags": [
            {"path": str(bag.path), "database": str(bag.database.database), "rid": bag.dataset_rid}
            for bag in inputs.datasets
        ],
        "assets": [
            {"spec": item.spec.model_dump(mode="json"), "schema": item.schema, "table": item.table}
            for item in inputs.checked.assets
        ],
        "files": [
            {
                "path": str(path),
                "table": table,
                "name": path.file_name,
                "metadata": path.metadata,
                "types": path.asset_types,
                "rid": path.asset_rid,
            }
            for table, paths in inputs.asset_paths.items()
            for path in paths
        ],
    }


def opened_from(session: Session, facts: Mapping[str, Any]) -> Opened:
    """The run that some facts tell of, for the process that does its work.

    Args:
        session: The catalog.
        facts: What :func:`facts_of` gave.
    """
    rid, directory = str(facts["execution_rid"]), Path(facts["working_dir"])
    ledger = Ledger(
        session, open_journal(session), rid, Status.running, Upload(str(facts["upload"])), mask=process_mask()
    )
    workflow = Workflow.model_validate(facts["workflow"])
    configuration = ExecutionConfiguration.model_validate(facts["configuration"])
    configuration.workflow = workflow
    return Opened(
        workflow,
        str(facts["workflow_rid"]),
        directory,
        ledger,
        Manifest(directory / MANIFEST_NAME, rid),
        _inputs(session, rid, directory, facts),
        configuration,
        datetime.fromisoformat(facts["start_time"]),
        attempt=int(facts["attempt"]),
        asset_types=facts["asset_types"],
    )


def _inputs(session: Session, rid: str, directory: Path, facts: Mapping[str, Any]) -> RunInputs:
    checked = Inputs(
        tuple(
            DatasetInput(DatasetSpec.model_validate(item["spec"]), DatasetHistory.model_validate(item["version"]))
            for item in facts["datasets"]
        ),
        tuple(
            AssetInput(AssetSpec.model_validate(item["spec"]), item["schema"], item["table"])
            for item in facts["assets"]
        ),
    )
    files: dict[str, list[AssetFilePath]] = {}
    for item in facts["files"]:
        path = AssetFilePath(item["path"], item["table"], item["name"], item["metadata"], item["types"], item["rid"])
        files.setdefault(item["table"], []).append(path)
    return RunInputs.brought(session, rid, directory, checked, _bags(session, rid, facts["bags"]), files)


def _bags(session: Session, rid: str, facts: list[Mapping[str, Any]]) -> DatasetCollection:
    if not facts:  # what opens bags takes long to import
        return DatasetCollection(())
    from deriva_ml.dataset.bag_database import BagDatabase
    from deriva_ml.dataset.dataset_bag import DatasetBag

    return DatasetCollection(
        DatasetBag(
            BagDatabase(Path(item["path"]), Path(item["database"]), objects=session.objects),
            item["rid"],
            execution_rid=rid,
        )
        for item in facts
    )
