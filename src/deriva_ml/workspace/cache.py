"""What was downloaded and may be needed again: entries that are whole, sealed, and verified before each use.

An entry is a directory ``<root>/<key>/`` with files and a seal. A key is a relative path of plain names, so that
entries of one kind can lie together (``assets/<catalog>/<rid>_<md5>``).

1. An entry appears whole or not at all: it is filled in a directory of a unique name below ``<root>/.parts``, which
   then takes its place.
2. The seal lists every file with size, modification time, inode and hashes. Before an entry is used its files are
   compared with the seal; a file whose size, time and inode are those noted is taken to be unchanged, any other is
   hashed again. A file that is missing, differs, or is not in the seal makes the entry damaged.
   Directories are not listed for that: theirs is a time that they lose when a name in them changes.
3. A damaged entry is never given out: it is filled again. The old one goes only when the new one is complete.
4. Processes that want the same entry take turns (a lock per key): it is fetched once. What a killed process left half
   done is removed by the next that fills this key.
5. Files are write-protected, since runs see them through hard links.
6. One key does not lie within another.
7. Content that several entries hold is on the disk once (``cache_files``).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.core.files import Digests, atomic_write, file_lock, hash_file, make_directory
from deriva_ml.core.values import dataclass
from deriva_ml.workspace.cache_files import FileStore
from deriva_ml.workspace.seals import (
    SEAL_NAME,
    FileSeal,
    FileSeals,
    has_names,
    plain_names,
    seal_file,
    stamp_directories,
)

__all__ = ["SEAL_NAME", "Cache", "CacheEntry", "FileSeal", "Fill", "Filled", "entry_at"]

FORMAT = 2
_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES})
"""What a disk says that is full, or is not to be written."""

PARTS, LOCKS = ".parts", ".locks"


@dataclass(frozen=True, slots=True)
class Filled:
    """What an entry was filled with, by who has done some of the sealing already.

    Attributes:
        known: The hashes of files that were verified, by their path within the entry.
        closed: A directory within the entry that holds sealed files, and nothing else at any depth.
        sealed: The seals of those files by their path within the entry; their directories are stamped.
    """

    known: Mapping[str, Digests]
    closed: str
    sealed: Mapping[str, FileSeal]


Fill = Callable[[Path], "Mapping[str, Digests] | Filled | None"]
"""Writes an entry's files into the empty directory that it is given."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A whole entry of the cache.

    Attributes:
        key: Its key.
        path: Its directory.
        files: The seals of its files by their path within it.
        sealed_at: When it was filled (UTC, ISO 8601).
        note: What the caller noted when it was filled.
    """

    key: str
    path: Path
    files: Mapping[str, FileSeal]
    sealed_at: str
    note: Mapping[str, Any]

    def size(self) -> int:
        """The size of its files in bytes, from the seal."""
        files = self.files
        return files.size() if isinstance(files, FileSeals) else sum(seal.digests.length for seal in files.values())

    def older_than(self, days: float, now: float) -> bool:
        """Whether it was filled more than this many days before ``now`` (seconds since 1970)."""
        return now - datetime.fromisoformat(self.sealed_at).timestamp() > days * 86400


class Cache:
    """A directory of entries.

    Args:
        root: The directory; it is made when the first entry is filled.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.files = FileStore(self.root)

    def entry(self, key: str) -> CacheEntry | None:
        """The entry of this key, verified; None if there is none, or if it is damaged."""
        found = self._load(self._place(key), key)
        if found is None:
            return None
        return self._verified(found)

    def sealed(self, key: str) -> CacheEntry | None:
        """The entry of this key as its seal describes it; nothing is verified, and nothing is written."""
        return self._load(self._place(key), key)

    def has(self, key: str) -> bool:
        """Whether there is something at the place of this key, be it whole or damaged."""
        return self._place(key).exists()

    def populate(
        self,
        key: str,
        fill: Fill,
        *,
        note: Mapping[str, Any] | None = None,
    ) -> CacheEntry:
        """The entry of this key; it is filled if there is none or if it is damaged.

        Args:
            key: The key.
            fill: Writes the files into the empty directory that it is given. It may return the hashes of files (by
                their path within the directory) that it has verified itself, and seals; the others are hashed.
            note: What to keep with the entry; ``fill`` may still add to it.

        Raises:
            DerivaMLConfigurationError: The cache's directory cannot be made.
            DerivaMLExecutionError: The disk refused.
            Exception: Whatever ``fill`` raises; nothing of the attempt is left.
        """
        place = self._place(key)
        make_directory(self.root)
        # who finds it whole need not wait for its turn
        if (ready := self.entry(key)) is not None:
            return ready
        try:
            with file_lock(self._lock_path(place)):
                if (ready := self.entry(key)) is not None:
                    return ready
                self._clear_parts(place)
                return self._fill(place, key, fill, note or {})
        except OSError as error:
            if error.errno in _REFUSED:
                raise DerivaMLExecutionError(
                    f"Cannot keep {key} in the cache {self.root}: {error.strerror}.",
                    source=error.filename,
                    hint="make room there, or choose another cache_dir; nothing of the attempt was left",
                ) from error
            raise

    def entries(self, prefix: str = "") -> Iterator[CacheEntry]:
        """The entries whose key begins with ``prefix``, as their seals describe them; nothing is verified.

        A prefix that ends in a slash costs no look at other directories.
        """
        start = self.root / prefix if prefix.endswith("/") else self.root
        for directory, names, _files in os.walk(start):
            names[:] = sorted(name for name in names if not name.startswith("."))
            path = Path(directory)
            if (path / SEAL_NAME).exists():
                names.clear()
                key = path.relative_to(self.root).as_posix()
                found = self._load(path, key) if key.startswith(prefix) else None
                if found is not None:
                    yield found

    def remove(self, key: str) -> int:
        """Remove an entry and give the number of bytes of its files; 0 if there is none."""
        place = self._place(key)
        with file_lock(self._lock_path(place)):
            self._clear_parts(place)
            found = self._load(place, key)
            if place.exists():
                self._discard(place)
                self._clear_parts(place)
                self._release(found)
            return found.size() if found else 0

    def _release(self, gone: CacheEntry | None) -> None:
        """Let go of the contents of an entry that is gone; of one whose seal could not be read nobody knows which."""
        if gone is None:
            self.files.sweep()
        else:
            self.files.release((seal.digests, seal.inode) for seal in gone.files.values())

    def _place(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or any(part in ("..", "/") or part.startswith(".") for part in parts) or "\0" in key:
            raise DerivaMLDataError(
                f"Not a key of a cache entry: {key!r}.",
                hint="use a relative path of names that do not begin with a dot",
            )
        return self.root.joinpath(*parts)

    def _lock_path(self, place: Path) -> Path:
        return self.root / LOCKS / f"{self._digest(place)}.lock"

    def _parts_of(self, place: Path) -> Path:
        """Where an entry is filled: on the file system of its place, and where no other entry's parts are."""
        return self.root / PARTS / self._digest(place)

    def _digest(self, place: Path) -> str:
        return hashlib.sha256(os.fsencode(place.relative_to(self.root))).hexdigest()[:32]

    def _fill(
        self,
        place: Path,
        key: str,
        fill: Fill,
        note: Mapping[str, Any],
    ) -> CacheEntry:
        part = self._new_part(place)
        try:
            files = self._seal(part, fill(part))
            made = CacheEntry(key, place, files, datetime.now(UTC).isoformat(timespec="seconds"), dict(note))
            _write_seal(part, made)
            part.chmod(0o755)
            damaged = place.exists()
            before = self._load(place, key) if damaged else None
            if damaged:
                self._discard(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            part.replace(place)
        finally:
            self._clear_parts(place)
        if damaged:
            self._release(before)
        return made

    def _seal(self, part: Path, filled: Mapping[str, Digests] | Filled | None) -> FileSeals:
        """The seals of all files of a new entry."""
        if not isinstance(filled, Filled):
            filled = Filled(filled or {}, "", {})
        seals = {name: self._sealed(part, name, filled.known.get(name)) for name in plain_names(part, filled.closed)}
        files = FileSeals.of(dict(sorted({**seals, **filled.sealed}.items())))
        within = f"{filled.closed}/" if filled.closed else "/"
        stamp_directories(part, [name for name in files.directories() if not name.startswith(within)])
        return files

    def _sealed(self, part: Path, name: str, known: Digests | None) -> FileSeal:
        """The seal of a new file, whose content is kept once in the cache."""
        path = f"{part}/{name}"
        return self.files.keep(path, seal_file(path, known).digests)

    def _new_part(self, place: Path) -> Path:
        parts = self._parts_of(place)
        parts.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parts))

    def _clear_parts(self, place: Path) -> None:
        """Remove what was left half done, by this process or by a killed one; only who holds the lock may do so."""
        shutil.rmtree(self._parts_of(place), ignore_errors=True)

    def _discard(self, place: Path) -> None:
        """Take an entry away at once; it is deleted with the parts."""
        place.replace(self._new_part(place))

    def _load(self, place: Path, key: str) -> CacheEntry | None:
        try:
            document = json.loads((place / SEAL_NAME).read_bytes())
            if document["format"] != FORMAT:
                return None
            files = FileSeals.read(document["files"])
            return CacheEntry(key, place, files, document["sealed_at"], document["note"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            # a seal that cannot be read vouches for nothing: the entry is filled again
            return None

    def _verified(self, entry: CacheEntry) -> CacheEntry | None:
        """The entry if its files are what the seal says, with the seal brought up to date; else None."""
        files = entry.files
        assert isinstance(files, FileSeals)
        root = f"{entry.path}/"
        try:
            if not has_names(entry.path, files):
                return None
            changed = {}
            for name in files.changed(root):
                path = entry.path / name
                if not stat.S_ISREG(os.lstat(path).st_mode) or hash_file(path) != files[name].digests:
                    return None
                changed[name] = seal_file(path, files[name].digests)
        except (FileNotFoundError, NotADirectoryError):
            # another process is replacing it at this moment
            return None
        if not changed:
            return entry
        current = CacheEntry(entry.key, entry.path, FileSeals.of({**files, **changed}), entry.sealed_at, entry.note)
        _write_seal(entry.path, current)
        return current


def _write_seal(directory: Path, entry: CacheEntry) -> None:
    assert isinstance(entry.files, FileSeals)
    document = {
        "format": FORMAT,
        "key": entry.key,
        "sealed_at": entry.sealed_at,
        "note": dict(entry.note),
        "files": entry.files.columns,
    }
    # a seal that does not survive a power failure costs no more than another fetch
    with atomic_write(directory / SEAL_NAME, durable=False) as out:
        out.write(json.dumps(document).encode("ascii"))


def entry_at(path: Path) -> tuple[Cache | None, CacheEntry | None]:
    """The entry that a directory is, with its cache; (None, None) if it is none.

    Args:
        path: The directory.
    """
    try:
        key = str(json.loads((path / SEAL_NAME).read_bytes())["key"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None, None
    root = path.absolute()
    for _part in PurePosixPath(key).parts:
        root = root.parent
    cache = Cache(root)
    found = cache.entry(key)
    return (cache, found) if found is not None and found.path == path.absolute() else (None, None)
