"""The methods of ``Execution`` by which a model says what it makes: files, metrics, directories, values, rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Protocol

from deriva_ml.asset import directory
from deriva_ml.asset.staging import AssetStage
from deriva_ml.execution.outputs import CommitReport
from deriva_ml.schema import staged_rows
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.manifest import Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.asset_record import AssetRecord
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.ermrest import FileUploadState
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.stage import FeatureStage
    from deriva_ml.wire.model import Table

__all__ = ["Producing", "add_features", "asset_file_path", "metrics_file", "table_path", "upload_assets"]


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
