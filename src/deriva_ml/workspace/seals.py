"""The seal of a cache entry: what its files were when they were last verified, and whether they are still that."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import Digests, hash_file
from deriva_ml.workspace.cache_files import STAMP, FileSeal, stamp

__all__ = [
    "SEAL_NAME",
    "FileSeal",
    "FileSeals",
    "has_names",
    "plain_names",
    "seal_file",
    "stamp_directories",
]

SEAL_NAME = ".seal.json"
"""The file with an entry's seal, in its directory."""


class FileSeals(Mapping[str, FileSeal]):
    """The seals of an entry's files, held column by column: tens of thousands of them are read in no time."""

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.columns = columns
        self._at: dict[str, int] | None = None

    @classmethod
    def of(cls, seals: Mapping[str, FileSeal]) -> FileSeals:
        """The seals of files by their path within the entry."""
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
    def read(cls, columns: Mapping[str, list[Any]]) -> FileSeals:
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


def has_names(path: Path, files: FileSeals) -> bool:
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
    stamp_directories(path, directories)
    return True


def plain_names(part: Path, closed: str = "") -> list[str]:
    """The files that were put into a new entry; empty directories are taken out, as no seal could tell of them.

    Args:
        part: The entry's directory.
        closed: A directory within it into which nobody needs to look.
    """
    names = _walk(part, closed)
    for empty in [name for name in names if name.endswith("/")]:
        (part / empty).rmdir()
    return [name for name in names if not name.endswith("/")]


def stamp_directories(path: Path, directories: Iterable[str]) -> None:
    """Give directories the time that says that no name in them has changed."""
    for directory in directories:
        os.utime(f"{path}/{directory}", ns=(STAMP, STAMP))


def _walk(root: Path, closed: str = "") -> list[str]:
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
                    if f"{within}{entry.name}" != closed:
                        left.append(f"{within}{entry.name}/")
                elif within or entry.name != SEAL_NAME:
                    found.append(f"{within}{entry.name}")
        if empty and within:
            found.append(within)
    return sorted(found)


def seal_file(path: Path | str, known: Digests | None) -> FileSeal:
    """The seal of a file, which is write-protected; it is hashed unless its digests are known.

    Raises:
        DerivaMLDataError: It is no plain file, or not of the size that its digests have.
    """
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
    return FileSeal(digests, status.st_mtime_ns, status.st_ino)
