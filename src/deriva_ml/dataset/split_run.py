"""The run on whose behalf a dataset is divided, and what it records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from deriva_ml.core.enums import ExecMetadataType, MLAsset, MLVocab
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.schema.create_schema import SEED_TERMS
from deriva_ml.schema.session import HasSession, Session
from deriva_ml.schema.vocabulary import add_term
from deriva_ml.wire.model import Json

__all__ = ["DRY_RUN", "Catalog", "Run", "ensure_types", "record_parameters", "recording"]

DRY_RUN = "(dry run)"
"""What stands for RIDs and versions where nothing is written."""


class Run(Protocol):
    """What is needed of an execution."""

    execution_rid: str
    dry_run: bool

    def add_input_dataset(self, dataset_rid: str, version: DatasetVersion | str | None = None) -> None:
        """Record that the run consumes a dataset."""

    @property
    def asset_file_path(self) -> Any:
        """Registers an output."""


class Catalog(HasSession, Protocol):
    """What is needed of a catalog; a ``DerivaML`` is one."""

    @property
    def create_workflow(self) -> Any:
        """Describes code."""

    @property
    def create_execution(self) -> Any:
        """Records a run."""


@contextmanager
def recording(
    ml: Catalog, execution: Run | None, *, name: str, workflow_type: str, description: str, code: str
) -> Iterator[Run]:
    """The run: the caller's, who uploads its outputs himself; or one of our own, which is complete after the block.

    Args:
        ml: The catalog.
        execution: The caller's run.
        name: Name of the workflow of a run of our own.
        workflow_type: Its kind; a term that is missing is added.
        description: What it is for.
        code: The file that does the work.
    """
    if execution is not None:
        yield execution
        return
    add_term(ml.session, MLVocab.workflow_type.value, workflow_type, "Divides datasets.")
    workflow = ml.create_workflow(name, workflow_type, f"{name} by deriva-ml")
    # It is this library's code that is recorded; who develops it may have changed it.
    workflow = workflow.resolve(Path(code), allow_dirty=True)
    own = ml.create_execution(workflow=workflow, description=description)
    with own.execute() as run:
        yield run
    own.upload_execution_outputs()


def record_parameters(run: Run, file_name: str, parameters: Mapping[str, Json]) -> None:
    """Keep what a run was given, as a file of its metadata."""
    path = run.asset_file_path(
        MLAsset.execution_metadata.value,
        file_name,
        ExecMetadataType.deriva_config.value,
        description="What a dataset was divided by, and the result",
    )
    path.write_text(json.dumps(parameters, indent=2) + "\n", encoding="utf-8")


def ensure_types(session: Session, *names: str) -> None:
    """Add those of the usual types of datasets that are missing."""
    texts = SEED_TERMS[MLVocab.dataset_type]
    for name in names:
        add_term(session, MLVocab.dataset_type.value, name, texts[name])
