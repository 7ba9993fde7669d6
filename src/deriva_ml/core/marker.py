"""The marker of a catalog folder: it makes a folder a catalog's, and holds the identity that is this folder's alone.

1. The marker records where it was written: its device, its inode, and that of the folder. A folder that was renamed or
   moved on its file system still has them; one that was copied, unpacked or restored has not, and is another folder.
2. A folder that is not where its marker says gets a new identity when it is first met; the marker keeps the old one as
   ``copied_from``. Where the folder cannot be written, its identity is derived from the old one and its place.
3. A device alone says nothing: many file systems are given another number each time they are mounted. If both inodes
   agree, it is the same folder on a file system that was mounted again.
4. Nothing else writes a marker, but the first write to a folder whose marker is too old to know its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["MARKER", "add_place", "marker_content", "place_of", "settle_identity"]

MARKER = "deriva-ml-catalog.json"
"""The file that makes a folder a catalog's folder and holds its identity."""

KNOWN = 1
"""The layout of a folder whose marker this version may write; a later version's is left as it is."""

PLACE = "place"


def place_of(marker: os.stat_result, root: Path) -> dict[str, int]:
    """Where a marker is, as it records it."""
    return {"device": marker.st_dev, "inode": marker.st_ino, "folder": root.stat().st_ino}


def marker_content(document: dict[str, Any]) -> bytes:
    """A marker as its file holds it."""
    return (json.dumps(document, indent=1) + "\n").encode()


def settle_identity(root: Path) -> dict[str, Any]:
    """A folder's marker, with the identity that is its own: a folder that was copied gets it now.

    Args:
        root: The folder.

    Raises:
        OSError: There is no marker, or it cannot be read.
        ValueError: It is damaged.
    """
    path = root / MARKER
    document = _read(path)
    if _is_at_home(document, path):
        return document
    try:
        with _locked(root):
            document = _read(path)
            if _is_at_home(document, path):  # another process was first
                return document
            copy = _as_copy(document)
            _write(path, copy)
    except OSError:
        return {**document, "identity": _derived(document, path)}
    from deriva_ml.core.logging_config import get_logger

    get_logger().warning(
        "%s is a copy of the catalog folder %s: it is %s from now on.",
        root,
        document["identity"],
        copy["identity"],
    )
    return copy


def add_place(root: Path) -> None:
    """Let a marker that does not know its place record it; without effect where it cannot be written.

    Args:
        root: The folder.
    """
    path = root / MARKER
    try:
        with _locked(root):
            document = _read(path)
            if PLACE not in document:
                _write(path, document)
    except (OSError, ValueError):
        # It is an improvement of what is there, and no reason not to write to the folder.
        return


def _read(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # damaged, as a text that is no JSON is
    return document


def _write(path: Path, document: dict[str, Any]) -> None:
    from deriva_ml.core.files import atomic_write

    with atomic_write(path) as out:
        os.fchmod(out.fileno(), path.stat().st_mode & 0o777)
        # the file keeps its inode when it takes its final name
        document[PLACE] = place_of(os.fstat(out.fileno()), path.parent)
        out.write(marker_content(document))


def _is_at_home(document: dict[str, Any], path: Path) -> bool:
    """Whether a marker is where it was written, or does not say where that was."""
    recorded = document.get(PLACE)
    if document.get("format") != KNOWN or not isinstance(recorded, dict):
        return True
    here = place_of(path.stat(), path.parent)
    if recorded.get("inode") != here["inode"]:
        return False
    return recorded.get("device") == here["device"] or recorded.get("folder") == here["folder"]


def _as_copy(document: dict[str, Any]) -> dict[str, Any]:
    # Needed once in a folder's life; the import costs more than a request.
    import uuid

    return {**document, "identity": str(uuid.uuid4()), "copied_from": document["identity"]}


def _derived(document: dict[str, Any], path: Path) -> str:
    """The identity of a copy that cannot be written: the same each time it is opened."""
    import uuid

    here = place_of(path.stat(), path.parent)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{document['identity']}/{here['device']}/{here['inode']}"))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the folder itself as a lock: nothing is left in it, and it is given back even if the process is killed."""
    import fcntl

    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
