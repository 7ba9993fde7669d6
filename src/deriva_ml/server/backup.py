"""A folder as one backup, taken while it is in use; `deriva_ml.server.restore` makes a folder of one.

What is copied first may refer to what is copied later, never the other way round: the registry, the catalogs, the
object store's records, and last the objects. Each database is copied as of one moment by SQLite itself. Objects are
never changed, so a hard link keeps one: they are linked while no record can be deleted, and read afterwards.

A backup is not a catalog folder: its marker has another name, so that nobody writes into it. It holds the users of a
folder that is served, with the hashes of their secrets, so only its owner may read it; sessions are not kept.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deriva_ml.core.config import MARKER
from deriva_ml.core.files import fsync_directory, hash_file
from deriva_ml.core.values import dataclass
from deriva_ml.server import names, registry, store, users
from deriva_ml.server.catalogs import database_path
from deriva_ml.server.claims import claimed, discard, draft_of
from deriva_ml.server.connections import connect
from deriva_ml.server.damage import unusable
from deriva_ml.server.errors import FolderError, is_no_room
from deriva_ml.server.formats import format_of, refuse_later

__all__ = [
    "MANIFEST",
    "MEMBER",
    "NUMBER",
    "Backup",
    "Progress",
    "back_up",
    "copy_database",
    "described",
    "discard",
    "flush",
    "known_format",
    "silent",
]

MANIFEST = "deriva-ml-backup.json"
"""Says what a backup holds; it stands where a folder has its marker."""

NUMBER = 2
"""The layout of a backup; the first had no users."""

MEMBER = re.compile(
    r"(service|hatrac|users)\.db|catalogs/[^/]+\.db|objects/[0-9a-f]{2}/[0-9a-f]{64}|" + re.escape(MANIFEST)
)
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
        users: It holds users.
    """

    path: Path
    identity: str
    created: str
    catalogs: tuple[str, ...]
    objects: int
    size: int
    users: bool


def silent(_done: int, _all: int) -> None:
    """Report nothing."""


def back_up(
    root: Path, target: Path, *, progress: Progress = silent, link: bool = True, with_users: bool = True
) -> Backup:
    """Make a backup.

    Args:
        root: The folder, which the service has been able to open.
        target: Where to put it: a file whose name ends with ``.tar``, ``.tar.gz`` or ``.tgz``, else a new folder.
        progress: Called with the bytes copied so far, and those to be copied.
        link: In a folder on the same disk, link to the objects instead of copying them.
        with_users: Take the folder's users with it, if it has any.

    Raises:
        FolderError: The target is there already, or cannot be written, or the folder is damaged.
    """
    if os.path.lexists(target):
        raise FolderError(f"There is something already: {target}", hint="name a file or a folder that does not exist")
    if target.resolve().is_relative_to(root.resolve()):
        raise FolderError(f"A backup cannot lie in the folder itself: {target}", hint="name a place outside of it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = draft_of(target)
        if _is_archive(target):
            made = _into_archive(root, part, target, with_users=with_users, progress=progress)
        else:
            with claimed(part, folder=True):
                made = _gather(root, part, link=link, with_users=with_users, progress=progress)
                part.rename(target)
        fsync_directory(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise unusable(error, target) from error
    return described(target, made)


def _into_archive(root: Path, part: Path, target: Path, *, with_users: bool, progress: Progress) -> dict[str, Any]:
    """Write a backup into one file; staged in the folder, where objects need no room, or beside the target."""
    for stage in (draft_of(root / "backup"), part.with_name(f"{part.name}-stage")):
        try:
            with claimed(stage, folder=True):
                made = _gather(root, stage, link=True, with_users=with_users)
                with claimed(part, folder=False, mode=0o600 if "users.db" in made["databases"] else 0o666):
                    _archive(stage, part, target, made["size"], progress)
                    part.rename(target)
                return made
        except (FolderError, OSError, sqlite3.Error) as error:
            if stage.parent != root or not _is_closed(error):
                raise
    raise AssertionError("the last place raises what is wrong with it")


def _is_closed(error: Exception) -> bool:
    """Whether nothing can be written in the folder: it is read-only, or its disk is full."""
    cause = error.__cause__ if isinstance(error, FolderError) else error
    return isinstance(cause, OSError) or (isinstance(cause, sqlite3.Error) and is_no_room(cause))


def _is_archive(path: Path) -> bool:
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


def described(path: Path, manifest: dict[str, Any]) -> Backup:
    """What a backup's manifest says of it."""
    return Backup(
        path,
        str(manifest["identity"]),
        str(manifest["created"]),
        tuple(manifest["catalogs"]),
        int(manifest["objects"]),
        int(manifest["size"]),
        "users.db" in manifest["databases"],
    )


def _gather(root: Path, target: Path, *, link: bool, with_users: bool, progress: Progress = silent) -> dict[str, Any]:
    """Copy a folder's databases and objects; give the manifest, which is written too."""
    marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    copied = ["service.db"]
    copy_database(root / "service.db", target / "service.db")
    with closing(connect(target / "service.db", read_only=True)) as connection:
        rows = connection.execute("SELECT id FROM entries WHERE is_catalog AND NOT deleted ORDER BY id").fetchall()
    catalogs = [str(row[0]) for row in rows]
    (target / "catalogs").mkdir()
    for catalog_id in catalogs:
        source = database_path(root, catalog_id)
        copied.append(f"catalogs/{source.name}")
        copy_database(source, target / "catalogs" / source.name)
    if with_users and (root / "users.db").exists():
        copied.append("users.db")
        _copy_users(root / "users.db", target / "users.db")
    contents: list[tuple[str, int]] = []
    if (root / "hatrac.db").exists():
        copied.append("hatrac.db")
        contents = _copy_objects(root, target, link=link, progress=progress)
    databases = {name: hash_file(target / name) for name in copied}
    manifest = {
        "backup": NUMBER,
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


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as of one moment, while others write to it."""
    try:
        with closing(connect(source, read_only=True)) as old, closing(sqlite3.connect(target)) as new:
            refuse_later(source, format_of(old), known_format(source.name))
            old.backup(new)
            # A file that stands alone: no log beside it is needed to read it.
            new.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise unusable(error, target if is_no_room(error) else source) from error
    flush(target)


def known_format(name: str) -> int:
    """The latest format that is known here of a folder's database of this name."""
    return {"service.db": registry.FORMAT.number, "hatrac.db": names.FORMAT.number, "users.db": users.FORMAT}.get(
        name, store.FORMAT.number
    )


def _copy_users(source: Path, target: Path) -> None:
    """Copy users, groups and the hashes of secrets, for their owner's eyes; who is logged in now is left out."""
    target.touch(0o600, exist_ok=False)
    copy_database(source, target)
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("DELETE FROM secrets WHERE expires IS NOT NULL")
        connection.commit()
    flush(target)


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb") as made:
        os.fsync(made.fileno())


def _copy_objects(root: Path, target: Path, *, link: bool, progress: Progress) -> list[tuple[str, int]]:
    """Copy the object store's records, and all content that they have; give the contents with their sizes."""
    with _no_deletion(root / "hatrac.db"):
        # A copy by SQLite's own means, of a database that we hold ourselves, works as for anyone else.
        copy_database(root / "hatrac.db", target / "hatrac.db")
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
    """Keep objects from being deleted; where nothing can be written nobody can delete any."""
    try:
        connection = connect(database, read_only=False)
    except sqlite3.OperationalError as error:
        if not is_no_room(error):
            raise
        yield
        return
    with closing(connection):
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
        discard(target / "objects")
        return False
    return True


def _copy_content(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise FolderError(f"An object has no content: {source}", hint="deriva-ml-catalog fsck says which") from error
    target.chmod(0o444)
    flush(target)


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
    flush(part)
