"""Files of this machine as inputs of runs.

A run's record must say which bytes it read, for ever, so a local file becomes an asset before the run reads it: it is
stored in ``Execution_Asset`` with the type ``Input_File``, and from then on it is an input like any other, named by its
RID in the run's recorded configuration. The same content under the same name is stored once, however many runs read it.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from deriva_ml.asset.aux_classes import AssetFilePath, AssetSpec
from deriva_ml.asset.store_files import store_contents
from deriva_ml.asset.tables import asset_table, type_companion
from deriva_ml.asset.upload_rows import catalog_name
from deriva_ml.catalog.bulk import Content, Outgoing
from deriva_ml.core.enums import AssetRole, ExecAssetType, MLAsset
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.core.files import atomic_write
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table

__all__ = ["LocalFile", "bring_local_file", "check_local_file", "store_local_files"]


class LocalFile(BaseModel):
    """A file of this machine that a run reads; a bare string is its path.

    Attributes:
        path: The file; a relative path is resolved where the configuration is read.
        cache: Keep the file in the cache for other runs.
        asset_role: Its role in the execution.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    cache: bool = False
    asset_role: str = AssetRole.input.value

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def check_local_file(file: LocalFile, source: str | None = None) -> None:
    """Find out whether a file can be read.

    Args:
        file: The file.
        source: Where the configuration names it.

    Raises:
        DerivaMLDataError: There is no such file, it is no plain file, or it may not be read.
    """
    path, reason = file.path, None
    if not path.exists():
        reason = "is a symbolic link to a file that does not exist" if path.is_symlink() else "does not exist"
    elif not path.is_file():
        reason = "is a directory, not a file" if path.is_dir() else "is not a plain file"
    elif not os.access(path, os.R_OK):
        reason = "may not be read"
    if reason:
        raise DerivaMLDataError(f"The local file {path} {reason}.", source=source, hint="correct the path")


def bring_local_file(file: LocalFile, folder: Path) -> AssetFilePath:
    """Copy a file to where a run that records nothing finds its inputs.

    Args:
        file: The file.
        folder: The directory of this input.
    """
    target = folder / file.path.name
    with file.path.open("rb") as content, atomic_write(target, durable=False) as out:
        shutil.copyfileobj(content, out, 1 << 20)
    return AssetFilePath(target, MLAsset.execution_asset.value, file.path.name, {}, [ExecAssetType.input_file.value])


def store_local_files(session: Session, files: Sequence[LocalFile]) -> list[AssetSpec]:
    """Make local files into assets; those that the catalog has already, under the same name, are not stored again.

    Args:
        session: The catalog.
        files: The files.

    Returns:
        The assets, as a run names them.

    Raises:
        DerivaMLDataError: A file cannot be read, or two of them are the same asset.
        DerivaMLCatalogError: The catalog refuses one.
    """
    if not files:
        return []
    session.require_writable()
    table = asset_table(session, f"{session.ml_schema}:{MLAsset.execution_asset.value}")
    out = Outgoing(session.objects)
    contents: list[Content] = []
    try:
        contents.extend(out.prepare(file.path, lambda _count: None) for file in files)
        rids = _known(session, table, contents)
        new = [content for content in contents if _key(content) not in rids]
        _store(session, table, out, new, rids)
    finally:
        for content in contents:
            content.discard()
    specs = [
        AssetSpec(rid=rids[_key(content)], asset_role=file.asset_role, cache=file.cache)
        for file, content in zip(files, contents, strict=True)
    ]
    for at, spec in enumerate(specs):
        if spec.rid in [each.rid for each in specs[:at]]:
            raise DerivaMLValidationError(
                f"The local file {files[at].path} is among the inputs twice, under one name.",
                source=f"asset {spec.rid}",
                hint="name each input once",
            )
    return specs


def _key(content: Content) -> tuple[str, str]:
    return content.digests.md5, catalog_name(content.source.name)


def _known(session: Session, table: Table, contents: Sequence[Content]) -> dict[tuple[str, str], str]:
    """The inputs that the catalog has, by content and name. Outputs of runs are not taken for inputs."""
    columns = ["RID", "MD5", "Filename", "Length"]
    hashes = [content.digests.md5 for content in contents]
    found = session.catalog.rows_by(*table.qualified, "MD5", hashes, columns=columns)
    typed = type_companion(session, table)
    rows = session.catalog.rows_by(*typed.table.qualified, typed.asset, [row["RID"] for row in found])
    inputs = {row[typed.asset] for row in rows if row[typed.other] == ExecAssetType.input_file.value}
    return {
        (str(row["MD5"]), str(row["Filename"])): str(row["RID"])
        for row in sorted(found, key=lambda row: str(row["RID"]), reverse=True)
        if row["RID"] in inputs
    }


def _store(
    session: Session, table: Table, out: Outgoing, contents: Sequence[Content], rids: dict[tuple[str, str], str]
) -> None:
    """Store the bytes, then make rows and types; notes the new RIDs."""
    distinct = {_key(content): content for content in contents}
    items = [
        (content, {"Description": f"Local file {catalog_name(str(content.source))} of {socket.gethostname()}"})
        for content in distinct.values()
    ]
    rows = store_contents(session, table, out, items, [ExecAssetType.input_file.value])
    rids.update({key: str(row["RID"]) for key, row in zip(distinct, rows, strict=True)})
