"""Outputs that are registered in other ways than one by one: the metrics of a run, and whole directories."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.asset.staging import AssetStage
from deriva_ml.core.enums import ExecAssetType, MLAsset, UploadState
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.workspace.entries import FAILED, UPLOADED
from deriva_ml.workspace.manifest import AssetEntry, Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.ermrest import FileUploadState

__all__ = ["file_state", "metrics_file", "register_directory"]


def metrics_file(stage: AssetStage, manifest: Manifest, filename: str) -> AssetFilePath:
    """The file of a run's metrics: registered and made when it is first asked for, the same one afterwards.

    Args:
        stage: The run's outputs.
        manifest: The run's manifest.
        filename: Its name in the catalog.

    Raises:
        DerivaMLDataError: The name has a directory part.
    """
    if (filename := str(filename)) != Path(filename).name:
        raise DerivaMLDataError(f"Not a name for a file: {filename!r}.", hint="give a name without a directory part")
    last: AssetEntry | None = None
    for entry in manifest.assets.values():
        if (entry.asset_table, entry.file_name) == (MLAsset.execution_asset.value, filename):
            last = entry
    if last is not None:
        return stage.path_of(last)
    path = stage.register(
        MLAsset.execution_asset.value,
        filename,
        ExecAssetType.output_file.value,
        description="Metrics of the run, a JSON object on each line.",
    )
    path.touch()
    return path


def register_directory(stage: AssetStage, manifest: Manifest, directory: Path) -> dict[str, AssetFilePath]:
    """Register every file below a directory that has the name of an asset table.

    Args:
        stage: The run's outputs.
        manifest: The run's manifest, which is written once for all files.
        directory: The directory.

    Returns:
        The staged files by ``<table>/<path below the directory>``.

    Raises:
        DerivaMLDataError: There is no such directory, or something in it is no plain file; nothing was registered.
    """
    if not directory.is_dir():
        raise DerivaMLDataError(f"There is no directory {directory}.")
    files: list[Path] = []
    for folder, names, found in os.walk(directory, onerror=_refuse):
        names.sort()
        files += [Path(folder, name) for name in sorted(found)]
    for file in files:
        if not file.is_file():
            raise DerivaMLDataError(f"{file} is not a plain file.", hint="take it out of the directory")
    name = directory.resolve().name
    with manifest.batch():
        return {f"{name}/{file.relative_to(directory)}": stage.register(name, file.absolute()) for file in files}


def file_state(entry: AssetEntry) -> FileUploadState:
    """What became of an output, in the form of the public interface."""
    from deriva_ml.core.ermrest import FileUploadState

    if entry.status == UPLOADED:
        row = {"RID": entry.rid, "URL": entry.url, "MD5": entry.md5, "Length": entry.length}
        return FileUploadState(state=UploadState.success, status="uploaded", result=row)
    state = UploadState.failed if entry.status == FAILED else UploadState.pending
    return FileUploadState(state=state, status=entry.error or entry.status)


def _refuse(error: OSError) -> None:
    raise DerivaMLDataError(f"{error.filename} cannot be read: {error.strerror or error}.") from error
