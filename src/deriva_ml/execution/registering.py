"""The methods of ``Execution`` by which a model says what it makes, and brings it into the catalog.

It makes files, metrics, directories, values of features, rows of tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from deriva_ml.asset import directory
from deriva_ml.asset.staging import AssetStage
from deriva_ml.asset.upload import Patience
from deriva_ml.execution.outputs import CommitReport
from deriva_ml.schema import staged_rows
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.manifest import Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.asset_record import AssetRecord
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.ermrest import FileUploadState, UploadCallback
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.stage import FeatureStage
    from deriva_ml.wire.model import Table

__all__ = [
    "Producing",
    "add_features",
    "asset_file_path",
    "metrics_file",
    "table_path",
    "upload_assets",
    "upload_execution_outputs",
]


class Producing(Protocol):
    """What these functions need of a run; an ``Execution`` is one."""

    execution_rid: str
    dry_run: bool

    @property
    def catalog(self) -> HasSession | Session:
        """The catalog that the run was made with."""

    @property
    def working_dir(self) -> Path:
        """The run's directory."""

    @property
    def manifest(self) -> Manifest:
        """What the run has registered."""

    @property
    def asset_stage(self) -> AssetStage:
        """What registers files."""

    @property
    def feature_stage(self) -> FeatureStage:
        """What registers values of features."""

    def bring_registered(self) -> CommitReport:
        """Bring what is registered into the catalog, while the run may go on."""

    def bring_outputs(
        self, progress: UploadCallback | None, patience: Patience, *, clean_folder: bool | None
    ) -> CommitReport:
        """Bring what is registered into the catalog; outputs that did not get there are in the report."""

    def brought(self, reports: Iterable[CommitReport]) -> dict[str, list[AssetFilePath]]:
        """The files that some uploads have brought into the catalog, by ``<schema>/<table>``."""


def asset_file_path(
    run: Producing,
    /,
    asset_name: str,
    file_name: str | PurePath,
    asset_types: str | Iterable[str] | None = None,
    copy_file: bool = False,  # noqa: ARG001 - the specification's; a file is always copied, so that it is sealed
    rename_file: str | PurePath | None = None,
    metadata: AssetRecord | Mapping[str, Any] | None = None,
    description: str | None = None,
    **kwargs: Any,
) -> AssetFilePath:
    """Register an output, and give the path to write it to.

    Args:
        run: The run.
        asset_name: The asset table.
        file_name: A bare name for a new file; a ``Path``, or a name with a directory part, for one that exists, which
            is copied as it is now.
        asset_types: Terms of ``Asset_Type``; by default the table's own.
        copy_file: Without effect: a file that exists is always copied.
        rename_file: The name that the file gets in the catalog.
        metadata: Values of the table's metadata columns.
        description: What the file holds.
        kwargs: Further values of metadata columns.

    Raises:
        DerivaMLTableTypeError: There is no such asset table.
        DerivaMLInvalidTerm: A type is not in the vocabulary.
        DerivaMLValidationError: The metadata does not fit the table's columns.
        DerivaMLDataError: The name is no file name, or the path is not of a plain file.
    """
    return run.asset_stage.register(
        asset_name,
        file_name,
        asset_types,
        rename_file=rename_file,
        metadata=metadata,
        description=description,
        **kwargs,
    )


def metrics_file(run: Producing, filename: str = "metrics.jsonl") -> AssetFilePath:
    """The file that the run adds its metrics to, a JSON object on each line; it is an output of the run.

    The file is there, empty, when it is first asked for; who asks again gets the same one.

    Args:
        run: The run.
        filename: Its name in the catalog.
    """
    return directory.metrics_file(run.asset_stage, run.manifest, filename)


def upload_assets(run: Producing, assets_dir: str | Path) -> dict[str, FileUploadState]:
    """Upload the files of a directory that has the name of an asset table, now.

    Args:
        run: The run.
        assets_dir: The directory; files in directories below it are uploaded too.

    Returns:
        What became of each file, by ``<table>/<path below the directory>``; nothing in a dry run.

    Raises:
        DerivaMLTableTypeError: The directory has not the name of an asset table.
        DerivaMLDataError: There is no such directory, or something in it is no plain file.
    """
    staged = directory.register_directory(run.asset_stage, run.manifest, Path(assets_dir))
    if run.dry_run:
        return {}
    run.bring_registered()
    return {name: directory.file_state(run.manifest.asset(str(path.key))) for name, path in staged.items()}


def add_features(run: Producing, features: Iterable[FeatureRecord]) -> int:
    """Stage values of features; they are stored when the outputs are uploaded.

    Returns:
        How many were staged.
    """
    return run.feature_stage.add(features, run.execution_rid)


def table_path(run: Producing, table: str | Table, file_format: str = "csv") -> Path:
    """The file to write rows of a table of the project to; they are stored when the outputs are uploaded.

    A row has no RID; a column that refers to the run may be left out. Rows may be added behind those that were
    uploaded. See :mod:`deriva_ml.schema.staged_rows`.

    Args:
        run: The run.
        table: The table.
        file_format: ``csv``, or ``json``: a list of objects, or an object on each line.
    """
    return staged_rows.row_file(session_of(run.catalog), run.manifest, run.working_dir, table, file_format)


def upload_execution_outputs(
    run: Producing,
    /,
    clean_folder: bool | None = None,
    progress_callback: UploadCallback | None = None,
    max_retries: int = 3,
    retry_delay: float = 5.0,
    timeout: tuple[float, float] | None = None,
    chunk_size: int | None = None,
) -> dict[str, list[AssetFilePath]]:
    """Bring what the run has registered into the catalog; may be called in and after the block, several times.

    Args:
        run: The run.
        clean_folder: Remove inputs and staged files afterwards, if the run has ended and everything is uploaded;
            by default as ``clean_execution_dir`` of the ``DerivaML`` says, and then only if it completed: one that
            did not can be taken up again.
        progress_callback: Is told of the bytes that have been sent.
        max_retries: How often a request is tried again after a lost connection or a fault that may pass.
        retry_delay: Seconds before the first time; doubled before each further one.
        timeout: Seconds to connect, and to wait for the next bytes; by default the connection's own.
        chunk_size: Files longer than this are sent in chunks of so many bytes, and go on at the chunk that was
            reached; by default the connection decides. Nothing is sent to a folder of this machine.

    Returns:
        The files that this call brought into the catalog, by ``<schema>/<table>``; none in a dry run.

    Raises:
        DerivaMLUploadError: Some did not get there; the rest did, and the call can be repeated.
        DerivaMLUnreachable: The catalog cannot be reached.
    """
    patience = Patience(max_retries, retry_delay, timeout, chunk_size)
    report = run.bring_outputs(progress_callback, patience, clean_folder=clean_folder)
    report.require_complete()
    return run.brought([report])
