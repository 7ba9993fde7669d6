"""A folder as one backup, taken while it is in use, and back again.

What is copied first may refer to what is copied later, never the other way round: the registry, the catalogs, the
object store's records, and last the objects. Each database is copied as of one moment by SQLite itself. Objects are
never changed, so a hard link keeps one: they are linked while no record can be deleted, and read afterwards.

A backup is not a catalog folder: its marker has another name, so that nobody writes into it. Restoring makes a folder,
with an identity of its own unless it takes the place of the one that was lost.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deriva_ml.core.config import MARKER
from deriva_ml.core.files import fsync_directory, hash_file
from deriva_ml.server.app import FORMAT
from deriva_ml.server.catalogs import database_path
from deriva_ml.server.check import check_database
from deriva_ml.server.connections import connect
from deriva_ml.server.errors import FolderError

__all__ = ["MANIFEST", "Backup", "back_up", "identity_of", "restore"]

MANIFEST = "deriva-ml-backup.json"
"""Says what a backup holds; it stands where a folder has its marker."""

MEMBER = re.compile(r"(service|hatrac)\.db|catalogs/[^/]+\.db|objects/[0-9a-f]{2}/[0-9a-f]{64}|" + re.escape(MANIFEST))
"""The names in a backup; nothing else is taken out of one."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds.

    Attributes:
        path: Where it is.
        identity: Identity of the folder.
        created: When it was begun.
        catalogs: Ids of the catalogs.
        objects: How many contents.
        size: Bytes of databases and objects.
    """

    path: Path
    identity: str
    created: str
    catalogs: tuple[str, ...]
    objects: int
    size: int


def _silent(_done: int, _all: int) -> None:
    """Report nothing."""


def back_up(root: Path, target: Path, *, progress: Progress = _silent, link: bool = True) -> Backup:
    """Make a backup.

    Args:
        root: The folder, which the service has been able to open.
        target: Where to put it: a file whose name ends with ``.tar``, ``.tar.gz`` or ``.tgz``, else a new folder.
        progress: Called with the bytes copied so far, and those to be copied.
        link: In a folder on the same disk, link to the objects instead of copying them.

    Raises:
        FolderError: The target is there already, or cannot be written, or the folder is damaged.
    """
    if os.path.lexists(target):
        raise FolderError(f"There is something already: {target}", hint="name a file or a folder that does not exist")
    if target.resolve().is_relative_to(root.resolve()):
        raise FolderError(f"A backup cannot lie in the folder itself: {target}", hint="name a place outside of it")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    try:
        if _is_archive(target):
            with _staging(root, part) as stage:
                made = _gather(root, stage, link=True)
                _archive(stage, part, target, made["size"], progress)
        else:
            made = _gather(root, part, link=link, progress=progress)
        part.rename(target)
        fsync_directory(target.parent)
    except OSError as error:
        raise FolderError(f"The backup cannot be written to {target}: {error.strerror or error}") from error
    finally:
        _discard(part)
    return _described(target, made)


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


def _described(path: Path, manifest: dict[str, Any]) -> Backup:
    return Backup(
        path,
        str(manifest["identity"]),
        str(manifest["created"]),
        tuple(manifest["catalogs"]),
        int(manifest["objects"]),
        int(manifest["size"]),
    )


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _staging(root: Path, part: Path) -> Iterator[Path]:
    """A folder in which objects can be linked: in the folder itself, or beside the target if that is read-only."""
    stage = root / f".backup-{os.urandom(4).hex()}"
    try:
        stage.mkdir()
    except OSError:
        stage = part.with_name(f"{part.name}.stage")
        stage.mkdir()
    try:
        yield stage
    finally:
        _discard(stage)


def _gather(root: Path, target: Path, *, link: bool, progress: Progress = _silent) -> dict[str, Any]:
    """Copy a folder's databases and objects; give the manifest, which is written too."""
    target.mkdir(exist_ok=True)
    marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    names = ["service.db"]
    _copy_database(root / "service.db", target / "service.db")
    with closing(connect(target / "service.db", read_only=True)) as connection:
        rows = connection.execute("SELECT id FROM entries WHERE is_catalog AND NOT deleted ORDER BY id").fetchall()
    catalogs = [str(row[0]) for row in rows]
    (target / "catalogs").mkdir()
    for catalog_id in catalogs:
        source = database_path(root, catalog_id)
        names.append(f"catalogs/{source.name}")
        _copy_database(source, target / "catalogs" / source.name)
    contents: list[tuple[str, int]] = []
    if (root / "hatrac.db").exists():
        names.append("hatrac.db")
        contents = _copy_objects(root, target, link=link, progress=progress)
    databases = {name: hash_file(target / name) for name in names}
    manifest = {
        "backup": 1,
        "format": marker["format"],
        "identity": marker["identity"],
        "created": created,
        "catalogs": catalogs,
        "databases": {name: digests.sha256 for name, digests in databases.items()},
        "objects": len(contents),
        "size": sum(digests.length for digests in databases.values()) + sum(length for _, length in contents),
    }
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as of one moment, while others write to it."""
    with closing(connect(source, read_only=True)) as old, closing(sqlite3.connect(target)) as new:
        try:
            old.backup(new)
            # A file that stands alone: no log beside it is needed to read it.
            new.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise FolderError(f"{source} cannot be copied: {error}", hint="deriva-ml-catalog fsck says more") from error
    _flush(target)


def _flush(path: Path) -> None:
    with path.open("rb") as made:
        os.fsync(made.fileno())


def _copy_objects(root: Path, target: Path, *, link: bool, progress: Progress) -> list[tuple[str, int]]:
    """Copy the object store's records, and all content that they have; give the contents with their sizes."""
    with _no_deletion(root / "hatrac.db"):
        # A copy by SQLite's own means, of a database that we hold ourselves, works as for anyone else.
        _copy_database(root / "hatrac.db", target / "hatrac.db")
        with closing(sqlite3.connect(target / "hatrac.db")) as connection:
            # Uploads that are under way stay here: what they have gathered is no object yet.
            connection.executescript("DELETE FROM chunk; DELETE FROM job;")
            contents = connection.execute("SELECT sha256, min(length) FROM version GROUP BY sha256").fetchall()
        linked = link and _link_all(root, target, [row[0] for row in contents])
        if linked:
            progress(1, 1)
            return contents
        done, total = 0, sum(row[1] for row in contents)
        for sha256, length in contents:
            name = f"objects/{sha256[:2]}/{sha256}"
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            _copy_content(root / name, target / name)
            done += length
            progress(done, total)
    return contents


@contextmanager
def _no_deletion(database: Path) -> Iterator[None]:
    """Keep objects from being deleted; where the folder cannot be written nobody can delete any."""
    with closing(connect(database, read_only=False)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
                raise
        try:
            yield
        finally:
            connection.rollback()


def _link_all(root: Path, target: Path, contents: list[str]) -> bool:
    """Link to all content; False, and nothing is linked, where that is impossible."""
    try:
        for sha256 in contents:
            name = f"objects/{sha256[:2]}/{sha256}"
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(root / name, target / name)
    except FileNotFoundError as error:
        raise FolderError(
            f"An object has no content: {error.filename}", hint="deriva-ml-catalog fsck says which"
        ) from error
    except OSError:
        _discard(target / "objects")
        return False
    return True


def _copy_content(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise FolderError(f"An object has no content: {source}", hint="deriva-ml-catalog fsck says which") from error
    target.chmod(0o444)
    _flush(target)


def _archive(stage: Path, part: Path, target: Path, total: int, progress: Progress) -> None:
    """Write a staged backup into one file, the manifest first."""
    done = 0
    gzip = not target.name.endswith(".tar")
    with tarfile.open(part, "w:gz" if gzip else "w", format=tarfile.PAX_FORMAT) as archive:
        files = sorted(path for path in stage.rglob("*") if path.is_file() and path.name != MANIFEST)
        for path in [stage / MANIFEST, *files]:
            archive.add(path, str(path.relative_to(stage)), recursive=False)
            done += path.stat().st_size
            progress(min(done, total), total)
    _flush(part)


# ---------------------------------------------------------------------------------------------- back again


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
        raise FolderError(f"{backup} cannot be read as a backup: {error}") from error


def restore(backup: Path, root: Path, *, identity: str | None = None, progress: Progress = _silent) -> Backup:
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
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_name(f".{root.name}.{os.urandom(4).hex()}.part")
    try:
        part.mkdir()
        manifest = _bring(backup, part, progress)
        _verify(part, manifest, backup)
        if identity is None:
            import uuid

            identity = str(uuid.uuid4())
        marker = {"format": manifest["format"], "identity": identity, "created": manifest["created"]}
        (part / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        (part / MANIFEST).unlink()
        for name in ("catalogs", "objects"):
            (part / name).mkdir(exist_ok=True)
        part.rename(root)
        fsync_directory(root.parent)
    except (OSError, tarfile.TarError, ValueError, KeyError, EOFError) as error:
        raise FolderError(f"{backup} cannot be restored to {root}: {error}") from error
    finally:
        _discard(part)
    return _described(root, {**manifest, "identity": identity})


def _bring(backup: Path, part: Path, progress: Progress) -> dict[str, Any]:
    """Copy the members of a backup; give its manifest."""
    if backup.is_dir():
        manifest = _manifest((backup / MANIFEST).read_bytes(), backup)
        names = sorted(str(path.relative_to(backup)) for path in backup.rglob("*") if path.is_file())
        done = 0
        for name in filter(MEMBER.fullmatch, names):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            # Read anew, never linked: a restored folder shares no disk block with the backup that it came from.
            shutil.copyfile(backup / name, part / name)
            done += (part / name).stat().st_size
            progress(min(done, manifest["size"]), manifest["size"])
        return manifest
    if not backup.exists():
        raise FolderError(f"There is no backup: {backup}", hint="name what deriva-ml-catalog backup made")
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
    if number != 1 or layout > FORMAT:
        raise FolderError(
            f"The backup {backup} is of format {number}, of a folder of format {layout}; this version of deriva-ml "
            f"reads formats 1 and {FORMAT}.",
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
        _log_mode(part / name)
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
        _flush(path)


def _log_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    _flush(path)
