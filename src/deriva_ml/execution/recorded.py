"""What the catalog holds of a run beside its outputs: the methods of ``Execution`` that write and read it at once.

Inputs that are declared or brought later, datasets and files that it makes, and its relatives. In a dry run there is
nothing to read, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.execution import execution_record as records
from deriva_ml.execution import report
from deriva_ml.execution.consumed import RunRef, list_assets, list_input_datasets, require_catalog
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import ExecutionRecord, HasRid
from deriva_ml.execution.input_check import check_inputs
from deriva_ml.execution.inputs import RunInputs, record_datasets
from deriva_ml.execution.report import RunReport
from deriva_ml.schema.session import session_of

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.filespec import FileSpec
    from deriva_ml.dataset.aux_classes import DatasetSpec, DatasetVersion
    from deriva_ml.dataset.dataset import Dataset

__all__ = [
    "Consuming",
    "RunRef",
    "add_files",
    "add_input_dataset",
    "add_nested_execution",
    "create_dataset",
    "declare_dataset",
    "describe",
    "download_asset",
    "is_nested",
    "is_parent",
    "list_assets",
    "list_input_datasets",
    "list_nested_executions",
    "list_parent_executions",
]


class Consuming(RunRef, Protocol):
    """What some of these functions need of a run beside that; an ``Execution`` is one."""

    @property
    def inputs(self) -> RunInputs:
        """What the run consumes, and what of it is on this machine."""


def describe(run: RunRef) -> RunReport:
    """Everything that the catalog holds of the run."""
    require_catalog(run, "describe the run")
    return report.describe(session_of(run.catalog), run.execution_rid)


def add_input_dataset(run: RunRef, dataset_rid: str, version: DatasetVersion | str | None = None) -> None:
    """Record that the run consumes another dataset, without bringing it.

    Args:
        run: The run.
        dataset_rid: The dataset.
        version: The version that is consumed; by default the current one.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLVersionNotFound: The dataset has no such version.
    """
    from deriva_ml.dataset.aux_classes import DatasetSpec
    from deriva_ml.dataset.versions import current, history

    chosen = current(history(session_of(run.catalog), dataset_rid)) if version is None else version
    declare_dataset(run, DatasetSpec.model_validate({"rid": dataset_rid, "version": chosen}))


def declare_dataset(run: RunRef, dataset: DatasetSpec) -> None:
    """Check a dataset, and record that the run consumes it.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLVersionNotFound: The dataset has no such version.
    """
    (item,) = check_inputs(session_of(run.catalog), ExecutionConfiguration(datasets=[dataset])).datasets
    if not run.dry_run:
        record_datasets(session_of(run.catalog), run.execution_rid, [item])


def download_asset(
    run: Consuming,
    asset_rid: str,
    dest_dir: Path | str | None = None,
    update_catalog: bool = True,
    use_cache: bool = False,
) -> AssetFilePath:
    """Bring another asset during the run, to ``<dest_dir>/<RID>/<name>``.

    Args:
        run: The run.
        asset_rid: The asset.
        dest_dir: Where to; by default the run's inputs.
        update_catalog: Record that the run consumed it; never in a dry run.
        use_cache: Keep the file in the cache for other runs.
    """
    path = run.inputs.bring_asset(asset_rid, dest_dir, use_cache=use_cache)
    if update_catalog and not run.dry_run:
        from deriva_ml.asset.download import link_inputs

        link_inputs(session_of(run.catalog), run.execution_rid, [asset_rid])
    return path


def add_files(
    run: RunRef, files: Iterable[FileSpec], dataset_types: str | list[str] | None = None, description: str = ""
) -> Dataset:
    """Enter files into the catalog by reference, as outputs of this run; see ``DerivaML.add_files``.

    Raises:
        DerivaMLReadOnlyError: This is a dry run.
    """
    from deriva_ml.dataset.files import add_files

    require_catalog(run, "add files")
    return add_files(session_of(run.catalog), files, run.execution_rid, dataset_types, description)


def create_dataset(
    run: RunRef,
    dataset_types: str | list[str] | None = None,
    version: DatasetVersion | str | None = None,
    description: str = "",
) -> Dataset:
    """Make a dataset, recorded as made by this run.

    Raises:
        DerivaMLReadOnlyError: This is a dry run.
    """
    from deriva_ml.dataset.dataset import Dataset

    require_catalog(run, "create a dataset")
    return Dataset.create_dataset(run.catalog, run.execution_rid, dataset_types, description, version)


def add_nested_execution(run: RunRef, nested: HasRid | str, sequence: int | None = None) -> None:
    """Make another run part of this one; without effect in a dry run.

    Args:
        run: The run.
        nested: The other run.
        sequence: Its place among the parts.
    """
    child = nested if isinstance(nested, str) else nested.execution_rid
    if not run.dry_run and child != DRY_RUN_RID:
        records.add_nested_execution(session_of(run.catalog), run.execution_rid, child, sequence)


def list_nested_executions(run: RunRef, recurse: bool = False) -> list[ExecutionRecord]:
    """The runs that are part of this one, in their sequence."""
    return (
        []
        if run.dry_run
        else records.list_nested_executions(session_of(run.catalog), run.execution_rid, recurse=recurse)
    )


def list_parent_executions(run: RunRef, recurse: bool = False) -> list[ExecutionRecord]:
    """The runs that this one is part of."""
    return (
        []
        if run.dry_run
        else records.list_parent_executions(session_of(run.catalog), run.execution_rid, recurse=recurse)
    )


def is_nested(run: RunRef) -> bool:
    """Whether this run is part of another one."""
    return bool(list_parent_executions(run))


def is_parent(run: RunRef) -> bool:
    """Whether other runs are part of this one."""
    return bool(list_nested_executions(run))
