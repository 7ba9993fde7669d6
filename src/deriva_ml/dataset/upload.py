"""Uploading files by hand, under the documented path: where files lie, and functions that bring them into the catalog.

It is the same way that the outputs of a run go: see ``asset/tree_upload``, ``asset/store_files``, ``asset/run_tree``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.asset.run_tree import (
    asset_file_path,
    asset_root,
    asset_type_path,
    execution_rids,
    execution_root,
    feature_dir,
    feature_root,
    feature_value_path,
    flat_asset_dir,
    is_feature_dir,
    manifest_path,
    metadata_names,
    normalize_asset_dir,
    table_path,
    upload_root,
)
from deriva_ml.asset.store_files import upload_asset
from deriva_ml.core.json_types import Json
from deriva_ml.schema.session import HasSession, Session, session_of

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import FileUploadState, UploadCallback
    from deriva_ml.wire.model import Table

__all__ = [
    "asset_file_path",
    "asset_root",
    "asset_table_upload_spec",
    "asset_type_path",
    "bulk_upload_configuration",
    "execution_rids",
    "execution_root",
    "feature_dir",
    "feature_root",
    "feature_value_path",
    "flat_asset_dir",
    "is_feature_dir",
    "manifest_path",
    "normalize_asset_dir",
    "table_path",
    "upload_asset",
    "upload_directory",
    "upload_root",
]


def upload_directory(
    model: HasSession | Session,
    directory: str | Path,
    progress_callback: UploadCallback | None = None,
    max_retries: int = 3,
    retry_delay: float = 5.0,
    timeout: tuple[float, float] | None = None,
    chunk_size: int | None = None,
) -> dict[str, FileUploadState]:
    """Upload the files that a program has put into the ``asset`` and ``table`` trees of runs.

    They become outputs of the run in whose directory they lie. What was uploaded is not uploaded again.

    Args:
        model: A ``DerivaML``, its model or its session.
        directory: The directory of a run, one in it, or one that holds several.
        progress_callback: Is told of the bytes that have been sent.
        max_retries: How often a request is tried again after a lost connection or a fault that may pass.
        retry_delay: Seconds before the first time; doubled before each further one.
        timeout: Seconds to connect, and to wait for the next bytes; by default the connection's own.
        chunk_size: Files longer than this are sent in chunks of so many bytes; by default the connection decides.

    Returns:
        What became of each file, by its path; a file that failed is there with the reason.

    Raises:
        DerivaMLDataError: There is no such directory.
        DerivaMLNotFoundError: The catalog has no such run.
        DerivaMLUnreachable: The catalog cannot be reached.
    """
    from deriva_ml.asset.tree_upload import upload_tree
    from deriva_ml.asset.upload import Patience

    patience = Patience(max_retries, retry_delay, timeout, chunk_size)
    return upload_tree(session_of(model), Path(directory), progress=progress_callback, patience=patience)


def asset_table_upload_spec(
    model: HasSession | Session, asset_table: str | Table, chunk_size: int | None = None
) -> dict[str, Json]:
    """A rule of the ``deriva`` package's uploader for the files of a table, with the values of their metadata.

    Args:
        model: A ``DerivaML``, its model or its session.
        asset_table: The asset table.
        chunk_size: Files longer than this are sent in chunks of so many bytes.

    Raises:
        DerivaMLTableTypeError: It is no asset table.
    """
    from deriva_ml.asset.tables import asset_table as find
    from deriva_ml.schema.chaise import asset_rule

    found = find(session_of(model), asset_table)
    return asset_rule(found, chunk_size, metadata_names(found))


def bulk_upload_configuration(model: HasSession | Session, chunk_size: int | None = None) -> dict[str, Json]:
    """A configuration of the ``deriva`` package's uploader for all asset tables, and for rows of tables.

    Args:
        model: A ``DerivaML``, its model or its session.
        chunk_size: Files longer than this are sent in chunks of so many bytes.
    """
    from deriva_ml.asset.tables import asset_tables
    from deriva_ml.schema.chaise import asset_rule

    found = asset_tables(session_of(model))
    with_metadata = [asset_rule(table, chunk_size, names) for table in found if (names := metadata_names(table))]
    rows: dict[str, Json] = {
        "asset_type": "table",
        "default_columns": ["RID", "RCB", "RMB", "RCT", "RMT"],
        "file_pattern": "^.*/table/(?P<schema>[^/]+)/(?P<table>[^/]+)/(?P=table)[.]",
        "ext_pattern": "^.*[.](?P<file_ext>json|csv)$",
    }
    return {
        "asset_mappings": [*with_metadata, *(asset_rule(table, chunk_size) for table in found), rows],
        "version_compatibility": [[">=1.4.0"]],
    }
