"""A folder made from a backup; every byte is verified on the way.

The folder has an identity of its own unless it takes the place of the one that was lost.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from deriva_ml.core.config import MARKER
from deriva_ml.core.files import fsync_directory, hash_file
from deriva_ml.server.app import FORMAT
from deriva_ml.server.backup import (
    MANIFEST,
    MEMBER,
    NUMBER,
    Backup,
    Progress,
    described,
    flush,
    known_format,
    silent,
)
from deriva_ml.server.check import check_database
from deriva_ml.server.claims import claimed, draft_of
from deriva_ml.server.connections import connect
from deriva_ml.server.damage import unusable
from deriva_ml.server.errors import FULL, FolderError
from deriva_ml.server.formats import format_of, refuse_later

__all__ = ["identity_of", "log_mode", "restore"]

MADE_BY = "name what deriva-ml-catalog backup made"


def identity_of(backup: Path) -> str:
    """The identity of the folder that a backup was made of.

    Raises:
        FolderError: It is no backup.
    """
    try:
        if backup.is_dir():
            return str(_manifest((backup / MANIFEST).read_bytes(), backup)["identity"])
        with tarfile.open(backup, "r:*") as archive:
            member = archive.next()
            content = archive.extractfile(member) if member is not None else None
            return str(_manifest(content.read() if content is not None else b"", backup)["identity"])
    except (OSError, tarfile.TarError, EOFError) as error:
        raise FolderError(f"{backup} cannot be read as a backup: {_first_line(error)}", hint=MADE_BY) from error


def restore(backup: Path, root: Path, *, identity: str | None = None, progress: Progress = silent) -> Backup:
    """Make a folder from a backup; every byte is verified on the way.

    Args:
        backup: What `back_up` made.
        root: The new folder; nothing may be there, except an empty folder.
        identity: The folder's identity: that of the backup, if it takes the place of the folder that was lost.
        progress: Called with the bytes restored so far, and those to be restored.

    Raises:
        FolderError: Something is there already, or the backup is damaged, or was made by a later version.
    """
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise FolderError(f"There is something already: {root}", hint="a backup is restored only where nothing is yet")
    if not backup.exists():
        raise FolderError(f"There is no backup: {backup}", hint=MADE_BY)
    if backup.is_dir() and not (backup / MANIFEST).is_file():
        raise FolderError(f"{backup} is not a backup: it has no {MANIFEST}", hint=MADE_BY)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        part = draft_of(root)
        with claimed(part, folder=True):
            manifest = _bring(backup, part, progress)
            _verify(part, manifest, backup)
            identity = identity or _new_identity()
            marker = {"format": manifest["format"], "identity": identity, "created": manifest["created"]}
            (part / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
            flush(part / MARKER)
            (part / MANIFEST).unlink()
            for name in ("catalogs", "objects"):
                (part / name).mkdir(exist_ok=True)
            part.rename(root)
        fsync_directory(root.parent)
    except OSError as error:
        if error.errno in FULL:
            raise unusable(error, root) from error
        raise FolderError(f"{backup} cannot be restored to {root}: {error}") from error
    except tarfile.ReadError as error:
        raise FolderError(f"{backup} is not a backup, or is not whole: {_first_line(error)}", hint=MADE_BY) from error
    except (sqlite3.Error, tarfile.TarError, zlib.error, ValueError, KeyError, TypeError, EOFError) as error:
        raise FolderError(f"{backup} cannot be restored to {root}: {error}") from error
    return described(root, {**manifest, "identity": identity})


def _first_line(error: Exception) -> str:
    """What an error says, without the list of all that was tried."""
    return str(error).partition("\n")[0].rstrip(": ")


def _new_identity() -> str:
    import uuid

    return str(uuid.uuid4())


def _bring(backup: Path, part: Path, progress: Progress) -> dict[str, Any]:
    """Copy the members of a backup; give its manifest."""
    if backup.is_dir():
        manifest = _manifest((backup / MANIFEST).read_bytes(), backup)
        names = sorted(str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file())
        done = 0
        for name in filter(MEMBER.fullmatch, names):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            # Read anew, never linked: a restored folder shares no disk block with the backup that it came from.
            if name == "users.db":
                (part / name).touch(0o600, exist_ok=False)
            shutil.copyfile(backup / name, part / name)
            done += (part / name).stat().st_size
            progress(min(done, manifest["size"]), manifest["size"])
        return manifest
    return _extract(backup, part, progress)


def _extract(backup: Path, part: Path, progress: Progress) -> dict[str, Any]:
    manifest: dict[str, Any] = {}
    done = 0
    with tarfile.open(backup, "r:*") as archive:
        for member in archive:
            if not member.isfile() or not MEMBER.fullmatch(member.name):
                raise FolderError(f"{backup} is not a backup: it holds {member.name}")
            content = archive.extractfile(member)
            assert content is not None  # it is a file
            (part / member.name).parent.mkdir(parents=True, exist_ok=True)
            if member.name == "users.db":
                (part / member.name).touch(0o600, exist_ok=False)
            with (part / member.name).open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            manifest = manifest or _manifest((part / member.name).read_bytes(), backup)
            done += member.size
            progress(min(done, manifest["size"]), manifest["size"])
    if not manifest:
        raise FolderError(f"{backup} is not a backup: it is empty")
    return manifest


def _manifest(content: bytes, backup: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
        number, layout = manifest["backup"], manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{backup} is not a backup: it does not begin with {MANIFEST}") from error
    if number not in range(1, NUMBER + 1) or layout > FORMAT:
        raise FolderError(
            f"The backup {backup} is of format {number}, of a folder of format {layout}; this version of deriva-ml "
            f"reads formats up to {NUMBER}, and {FORMAT}.",
            hint="use the version of deriva-ml that made it, or a later one",
        )
    return dict(manifest)


def _verify(part: Path, manifest: dict[str, Any], backup: Path) -> None:
    """Compare what was copied with the manifest, and each content with its name."""
    for name, sha256 in manifest["databases"].items():
        if not MEMBER.fullmatch(name) or not (part / name).is_file():
            raise FolderError(f"The backup {backup} is damaged: it lacks {name}")
        if hash_file(part / name).sha256 != sha256:
            raise FolderError(f"The backup {backup} is damaged: {name} has changed")
        for finding in check_database(part / name, name):
            raise FolderError(f"The backup {backup} is damaged: {finding.problem}")
        with closing(connect(part / name, read_only=True)) as connection:
            refuse_later(backup / name, format_of(connection), known_format(Path(name).name))
        if name != "users.db":
            log_mode(part / name)
    wanted: set[str] = set()
    if (part / "hatrac.db").exists():
        with closing(connect(part / "hatrac.db", read_only=True)) as connection:
            wanted = {str(row[0]) for row in connection.execute("SELECT DISTINCT sha256 FROM version")}
    for sha256 in sorted(wanted):
        path = part / "objects" / sha256[:2] / sha256
        if not path.is_file() or hash_file(path).sha256 != sha256:
            raise FolderError(
                f"The backup {backup} is damaged: objects/{sha256[:2]}/{sha256} is missing or has changed"
            )
        path.chmod(0o444)
        flush(path)


def log_mode(path: Path) -> None:
    """Let a database that was copied be written as those of a folder are."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    flush(path)
