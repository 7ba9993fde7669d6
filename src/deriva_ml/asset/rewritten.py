"""Outputs that a model wrote again after they had been uploaded, such as a checkpoint under one name.

What the catalog has of a file stays as it is, for somebody may have used it already; the new content becomes an output
of its own, with the name, types, metadata and description of the first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime

from deriva_ml.core.files import hash_file
from deriva_ml.workspace.entries import PENDING, UPLOADED, AssetEntry, new_key
from deriva_ml.workspace.manifest import Manifest

__all__ = ["rewritten_outputs", "stage_rewritten"]

SLACK_S = 2.0
"""A file that was last written so long before its upload is not read again: clocks and file systems are not exact."""


def stage_rewritten(manifest: Manifest, paths: Collection[str] | None = None) -> int:
    """Register the present content of each uploaded file that has changed since; how many there are.

    Args:
        manifest: The run's manifest.
        paths: These files only, named as entries name them.
    """
    entries = [entry for entry in rewritten_outputs(manifest) if paths is None or entry.path in paths]
    manifest.add_many(entries)
    return len(entries)


def rewritten_outputs(manifest: Manifest) -> Iterator[AssetEntry]:
    """The present content of each uploaded file that has changed since, as an entry that is not registered yet."""
    last: dict[str, AssetEntry] = {entry.path: entry for entry in manifest.assets.values()}
    for entry in last.values():
        if entry.status == UPLOADED and _has_changed(manifest, entry):
            yield replace(
                entry,
                key=new_key(),
                status=PENDING,
                rid=None,
                md5=None,
                length=None,
                url=None,
                uploaded_at=None,
                error=None,
            )


def _has_changed(manifest: Manifest, entry: AssetEntry) -> bool:
    path = manifest.file_of(entry)
    try:
        found = path.stat()
    except FileNotFoundError:
        return False  # it was cleaned away: the catalog has it
    if found.st_size != entry.length:
        return True
    if entry.uploaded_at is not None:
        uploaded = datetime.fromisoformat(entry.uploaded_at).timestamp()
        if max(found.st_mtime, found.st_ctime) < uploaded - SLACK_S:
            return False
    try:
        return hash_file(path).md5 != entry.md5
    except FileNotFoundError:
        return False  # another process cleans it away at this moment
