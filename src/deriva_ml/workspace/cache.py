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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLExecutionError
from deriva_ml.core.files import Digests, atomic_write, file_lock, hash_file, make_directory
from deriva_ml.workspace.cache_files import STAMP, FileStore, stamp

__all__ = ["SEAL_NAME", "Cache", "CacheEntry", "FileSeal", "entry_at", "place_file"]

SEAL_NAME = ".seal.json"
"""The file with an entry's seal, in its directory."""

FORMAT = 2
_REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES})
"""What a disk says that is full, or is not to be written."""

PARTS, LOCKS = ".parts", ".locks"


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What a file of an entry was when it was last verified."""

    digests: Digests
    mtime_ns: int
    inode: int


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
        return files.size() if isinstance(files, _Files) else sum(seal.digests.length for seal in files.values())

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

    def has(self, key: str) -> bool:
        """Whether there is something at the place of this key, be it whole or damaged."""
        return self._place(key).exists()

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
        fill: Callable[[Path], Mapping[str, Digests] | None],
        note: Mapping[str, Any],
    ) -> CacheEntry:
        part = self._new_part(place)
        try:
            known = dict(fill(part) or {})
            files = _Files.of({name: self._sealed(part, name, known.get(name)) for name in _plain_names(part)})
            _stamp_directories(part, files.directories())
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

    def _sealed(self, part: Path, name: str, known: Digests | None) -> FileSeal:
        """The seal of a new file, whose content is kept once in the cache."""
        path = f"{part}/{name}"
        seal, names = _look(path, known)
        if names > 1 or not seal.digests.length:
            return seal  # it is a name of a stored file already
        self.files.keep(path, seal.digests)
        return _seal(path, seal.digests)

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
            files = _Files.read(document["files"])
            return CacheEntry(key, place, files, document["sealed_at"], document["note"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            # a seal that cannot be read vouches for nothing: the entry is filled again
            return None

    def _verified(self, entry: CacheEntry) -> CacheEntry | None:
        """The entry if its files are what the seal says, with the seal brought up to date; else None."""
        files = entry.files
        assert isinstance(files, _Files)
        root = f"{entry.path}/"
        try:
            if not _has_names(entry.path, files):
                return None
            changed = {}
            for name in files.changed(root):
                path = entry.path / name
                if not stat.S_ISREG(os.lstat(path).st_mode) or hash_file(path) != files[name].digests:
                    return None
                changed[name] = _seal(path, files[name].digests)
        except (FileNotFoundError, NotADirectoryError):
            # another process is replacing it at this moment
            return None
        if not changed:
            return entry
        current = CacheEntry(entry.key, entry.path, _Files.of({**files, **changed}), entry.sealed_at, entry.note)
        _write_seal(entry.path, current)
        return current


class _Files(Mapping[str, FileSeal]):
    """The seals of an entry's files, held column by column: tens of thousands of them are read in no time."""

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.columns = columns
        self._at: dict[str, int] | None = None

    @classmethod
    def of(cls, seals: Mapping[str, FileSeal]) -> _Files:
        every = list(seals.values())
        return cls(
            {
                "names": list(seals),
                "lengths": [seal.digests.length for seal in every],
                "times": [seal.mtime_ns for seal in every],
                "inodes": [seal.inode for seal in every],
                "md5": [seal.digests.md5 for seal in every],
                "sha256": [seal.digests.sha256 for seal in every],
            }
        )

    @classmethod
    def read(cls, columns: Mapping[str, list[Any]]) -> _Files:
        """The seals of a document.

        Raises:
            ValueError: It is not one.
        """
        lengths = {len(columns[name]) for name in ("names", "lengths", "times", "inodes", "md5", "sha256")}
        if len(lengths) != 1:
            raise ValueError("columns of different lengths")
        return cls(columns)

    def __getitem__(self, name: str) -> FileSeal:
        if self._at is None:
            self._at = {each: at for at, each in enumerate(self.columns["names"])}
        at, columns = self._at[name], self.columns
        digests = Digests(columns["md5"][at], columns["sha256"][at], columns["lengths"][at])
        return FileSeal(digests, columns["times"][at], columns["inodes"][at])

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns["names"])

    def __len__(self) -> int:
        return len(self.columns["names"])

    def size(self) -> int:
        """The bytes of all files."""
        return sum(self.columns["lengths"])

    def changed(self, root: str) -> Iterator[str]:
        """The files that are not, by all that costs nothing to look at, those that were verified."""
        columns, look = self.columns, os.lstat
        for name, length, time_ns, inode in zip(
            columns["names"], columns["lengths"], columns["times"], columns["inodes"], strict=True
        ):
            status = look(root + name)
            if status.st_ino != inode or status.st_mtime_ns != time_ns or status.st_size != length:
                yield name

    def directories(self) -> set[str]:
        """The directories that the files are in, at any depth, but for the entry's own."""
        found: set[str] = set()
        for name in self.columns["names"]:
            directory = name.rpartition("/")[0]
            while directory and directory not in found:
                found.add(directory)
                directory = directory.rpartition("/")[0]
        return found


def _has_names(path: Path, files: _Files) -> bool:
    """Whether an entry has these files and no others.

    Raises:
        FileNotFoundError: A directory is missing.
    """
    directories = files.directories()
    top = {name for name in directories if "/" not in name} | {name for name in files if "/" not in name}
    if top != {each.name for each in path.iterdir()} - {SEAL_NAME}:
        return False
    root, look = f"{path}/", os.lstat
    if all(look(root + directory).st_mtime_ns == STAMP for directory in directories):
        return True
    if set(_walk(path)) != set(files):
        return False
    _stamp_directories(path, directories)
    return True


def _plain_names(part: Path) -> list[str]:
    """The files that were put into a new entry; empty directories are taken out, as no seal could tell of them."""
    names = _walk(part)
    for empty in [name for name in names if name.endswith("/")]:
        (part / empty).rmdir()
    return [name for name in names if not name.endswith("/")]


def _stamp_directories(path: Path, directories: Iterable[str]) -> None:
    for directory in directories:
        os.utime(f"{path}/{directory}", ns=(STAMP, STAMP))


def _walk(root: Path) -> list[str]:
    """The files below a directory, by their path within it, without the seal; an empty directory counts as one."""
    found: list[str] = []
    left = [""]
    while left:
        within = left.pop()
        empty = True
        with os.scandir(f"{root}/{within}") as entries:
            for entry in entries:
                empty = False
                if entry.is_dir(follow_symlinks=False):
                    left.append(f"{within}{entry.name}/")
                elif within or entry.name != SEAL_NAME:
                    found.append(f"{within}{entry.name}")
        if empty and within:
            found.append(within)
    return sorted(found)


def _seal(path: Path | str, known: Digests | None) -> FileSeal:
    return _look(path, known)[0]


def _look(path: Path | str, known: Digests | None) -> tuple[FileSeal, int]:
    """The seal of a file, and how many names it has."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DerivaMLDataError(f"Only plain files can be kept in the cache, and {Path(path).name} is none.")
    if status.st_mtime_ns != STAMP or status.st_mode & 0o222:
        # A fresh time would not tell a change within the same tick of the clock.
        stamp(path)
        status = os.lstat(path)
    digests = known or hash_file(Path(path))
    if digests.length != status.st_size:
        raise DerivaMLDataError(
            f"{Path(path).name} has {status.st_size} bytes where {digests.length} were expected.", source=str(path)
        )
    return FileSeal(digests, status.st_mtime_ns, status.st_ino), status.st_nlink


def _write_seal(directory: Path, entry: CacheEntry) -> None:
    assert isinstance(entry.files, _Files)
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
