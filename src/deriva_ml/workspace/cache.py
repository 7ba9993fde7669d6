"""What was downloaded and may be needed again: entries that are whole, sealed, and verified before each use.

An entry is a directory ``<root>/<key>/`` with files and a seal. A key is a relative path of plain names, so that
entries of one kind can lie together (``assets/<catalog>/<rid>_<md5>``).

1. An entry appears whole or not at all: it is filled in a directory of a unique name below ``<root>/.parts``, which
   then takes its place.
2. The seal lists every file with size, modification time, inode and hashes. Before an entry is used its files are
   compared with the seal; a file whose size, time and inode are those noted is taken to be unchanged, any other is
   hashed again. A file that is missing, differs, or is not in the seal makes the entry damaged.
3. A damaged entry is never given out: it is filled again. The old one goes only when the new one is complete.
4. Processes that want the same entry take turns (a lock per key): it is fetched once. What a killed process left half
   done is removed by the next that fills this key.
5. Files are write-protected, since runs see them through hard links.
6. One key does not lie within another.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.core.files import Digests, atomic_write, file_lock, hash_file, make_directory

__all__ = ["SEAL_NAME", "Cache", "CacheEntry", "FileSeal", "place_file"]

SEAL_NAME = ".seal.json"
"""The file with an entry's seal, in its directory."""

FORMAT = 1
PARTS, LOCKS = ".parts", ".locks"
_FRESH_NS = 5_000_000_000
_MANY = 100


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What a file of an entry was when it was last verified."""

    digests: Digests
    mtime_ns: int
    inode: int

    def unchanged(self, stat: os.stat_result) -> bool:
        """Whether the file is, by all that costs nothing to look at, the one that was verified."""
        return (stat.st_size, stat.st_mtime_ns, stat.st_ino) == (self.digests.length, self.mtime_ns, self.inode)


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
        return sum(seal.digests.length for seal in self.files.values())

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

    def entry(self, key: str) -> CacheEntry | None:
        """The entry of this key, verified; None if there is none, or if it is damaged."""
        found = self._load(self._place(key), key)
        if found is None:
            return None
        return self._verified(found)

    def populate(
        self,
        key: str,
        fill: Callable[[Path], Mapping[str, Digests] | None],
        *,
        note: Mapping[str, Any] | None = None,
    ) -> CacheEntry:
        """The entry of this key; it is filled if there is none or if it is damaged.

        Args:
            key: The key.
            fill: Writes the files into the empty directory that it is given. It may return the hashes of files (by
                their path within the directory) that it has verified itself; the others are hashed.
            note: What to keep with the entry.

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
                return self._fill(place, key, fill, dict(note or {}))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
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
            return found.size() if found else 0

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
        fill: Callable[[Path], Mapping[str, Digests] | None],
        note: dict[str, Any],
    ) -> CacheEntry:
        part = self._new_part(place)
        try:
            known = dict(fill(part) or {})
            files = {name: _seal(part / name, known.get(name)) for name in _walk(part)}
            made = CacheEntry(
                key, place, MappingProxyType(files), datetime.now(UTC).isoformat(timespec="seconds"), note
            )
            _write_seal(part, made)
            part.chmod(0o755)
            if place.exists():
                self._discard(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            part.replace(place)
        finally:
            self._clear_parts(place)
        return made

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
            files = {
                name: FileSeal(Digests(md5, sha256, length), mtime_ns, inode)
                for name, (length, mtime_ns, inode, md5, sha256) in document["files"].items()
            }
            return CacheEntry(key, place, MappingProxyType(files), document["sealed_at"], document["note"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            # a seal that cannot be read vouches for nothing: the entry is filled again
            return None

    def _verified(self, entry: CacheEntry) -> CacheEntry | None:
        """The entry if its files are what the seal says, with the seal brought up to date; else None."""
        try:
            if set(_walk(entry.path)) != set(entry.files):
                return None
            changed: dict[str, FileSeal] = {}
            for name, seal in entry.files.items():
                path = entry.path / name
                if seal.unchanged(path.lstat()):
                    continue
                if path.is_symlink() or hash_file(path) != seal.digests:
                    return None
                changed[name] = _seal(path, seal.digests)
        except (FileNotFoundError, NotADirectoryError):
            # another process is replacing it at this moment
            return None
        if not changed:
            return entry
        current = CacheEntry(
            entry.key, entry.path, MappingProxyType({**entry.files, **changed}), entry.sealed_at, entry.note
        )
        _write_seal(entry.path, current)
        return current


def _walk(root: Path) -> Iterator[str]:
    """The files below a directory, by their path within it, without the seal."""
    for directory, names, files in os.walk(root):
        names.sort()
        relative = Path(directory).relative_to(root)
        for name in sorted(files):
            if relative.parts or name != SEAL_NAME:
                yield (relative / name).as_posix()


def _seal(path: Path, known: Digests | None) -> FileSeal:
    if path.is_symlink() or not path.is_file():
        raise DerivaMLDataError(f"Only plain files can be kept in the cache, and {path.name} is none.")
    if path.stat().st_mode & 0o222:
        path.chmod(0o444)
    _age(path)
    stat = path.stat()
    digests = known or hash_file(path)
    if digests.length != stat.st_size:
        raise DerivaMLDataError(
            f"{path.name} has {stat.st_size} bytes where {digests.length} were expected.", source=str(path)
        )
    return FileSeal(digests, stat.st_mtime_ns, stat.st_ino)


def _age(path: Path) -> None:
    """Move a fresh modification time back by some seconds.

    The system's clock for files ticks in milliseconds: a change within one tick of the sealing would not show.
    """
    modified = path.stat().st_mtime_ns
    if time.time_ns() - modified < _FRESH_NS:
        os.utime(path, ns=(modified - _FRESH_NS, modified - _FRESH_NS))


def _settle(paths: Iterable[Path]) -> None:
    """Put the content of files on the disk before a seal vouches for it."""
    several = list(paths)
    if len(several) > _MANY:
        # one flush of everything takes less time than very many of one file
        os.sync()
        return
    for path in several:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_seal(directory: Path, entry: CacheEntry) -> None:
    document = {
        "format": FORMAT,
        "key": entry.key,
        "sealed_at": entry.sealed_at,
        "note": dict(entry.note),
        "files": {
            name: [seal.digests.length, seal.mtime_ns, seal.inode, seal.digests.md5, seal.digests.sha256]
            for name, seal in entry.files.items()
        },
    }
    # a seal that does not survive a power failure costs no more than another fetch
    with atomic_write(directory / SEAL_NAME, durable=False) as out:
        out.write(json.dumps(document).encode("ascii"))


def place_file(source: Path, target: Path) -> None:
    """Put a file of the cache where a run wants it: by a hard link where that is possible, else as a copy.

    What is there already is left if it is the same file or has the same content; the name appears with the whole
    content or not at all.

    Raises:
        DerivaMLDataError: Another file is there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        if target.is_file() and not target.is_symlink() and _same_content(source, target):
            return
        raise DerivaMLDataError(
            f"{target} is there already, with other content.",
            source=str(source),
            hint="remove it, or use a new directory",
        )
    try:
        # a link to the file itself, never to a symbolic link that names it
        os.link(source.resolve(), target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EEXIST:
            place_file(source, target)
            return
        _copy(source, target)


def _same_content(one: Path, other: Path) -> bool:
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and hash_file(one) == hash_file(other)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content, atomic_write(target, durable=False) as out:
        shutil.copyfileobj(content, out, 1 << 20)
        os.fchmod(out.fileno(), 0o444)
