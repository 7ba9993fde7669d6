"""Code that a model imports from outside its own repository: which repositories, at which commits, and what differs.

A library that is worked on beside the project (installed in place, or on ``PYTHONPATH``) is part of what runs. So its
commit is recorded, and of the files that the model imports each must be as that commit has it; files in no repository
can be named by nobody, and count as changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from pathlib import Path
from urllib.parse import quote

from deriva_ml.core.values import dataclass
from deriva_ml.execution.blobs import blob_checksum, new_file_patch
from deriva_ml.execution.git import Change, Repository, open_repository

__all__ = ["Library", "changed_files", "find_libraries", "repository_root"]


@dataclass(frozen=True, slots=True)
class Library:
    """What a model imports from one place outside its repository.

    Attributes:
        name: Name of the repository's folder, or of the folder of the files.
        url: The repository's address, or its folder's name.
        commit: Its last commit; None for files that are in no repository.
        files: The files that are imported, relative to the folder.
        dirty: Those that differ from the commit, as ``XY path``.
        patch: The difference.
    """

    name: str
    url: str
    commit: str | None
    files: tuple[str, ...]
    dirty: tuple[str, ...] = ()
    patch: bytes = field(default=b"", repr=False)

    def to_dict(self) -> dict[str, object]:
        """The record of the library, for a run's configuration file."""
        return {
            "name": self.name,
            "url": self.url,
            "commit": self.commit,
            "files": list(self.files),
            "dirty": list(self.dirty),
        }


def repository_root(path: Path) -> Path | None:
    """The folder above a file that is a repository's working tree, if there is one; git is not asked."""
    return next((folder for folder in path.parents if (folder / ".git").exists()), None)


def changed_files(repository: Repository, paths: Iterable[Path]) -> list[Change]:
    """The files that are not as the last commit has them, whatever git was told to overlook.

    Args:
        repository: The repository.
        paths: Files in its working tree.
    """
    changes: list[Change] = []
    by_name = {path.relative_to(repository.root).as_posix(): path for path in paths}
    for name, blob in repository.blobs(by_name).items():
        path = by_name[name]
        if blob is None:
            changes.append(Change("!!", name))
        elif blob_checksum(path.read_bytes(), len(blob)) != blob and repository.filtered_checksum(path) != blob:
            changes.append(Change(".M", name))
    return changes


def find_libraries(
    paths: Sequence[Path], own: Path, opening: Callable[[Path], Repository | None] = open_repository
) -> list[Library]:
    """The places outside a model's own repository that it imports from.

    Args:
        paths: The user's files that it imports.
        own: The root of its repository; without one, the folder that it is in.
        opening: Opens the repository of a file.

    Returns:
        A library for each repository, and for each folder whose files are in none, by name.

    Raises:
        DerivaMLWorkflowError: git refuses a repository.
    """
    places: dict[Path, list[Path]] = {}
    for path in paths:
        root = repository_root(path)
        if root != own and not (root is None and path.is_relative_to(own)):
            places.setdefault(root or path.parent, []).append(path)
    return sorted(
        (_library(place, files, opening) for place, files in places.items()), key=lambda each: (each.name, each.url)
    )


def _library(place: Path, files: Sequence[Path], opening: Callable[[Path], Repository | None]) -> Library:
    names = tuple(path.relative_to(place).as_posix() for path in files)
    repository = opening(files[0])
    if repository is None or repository.commit is None:
        patch = b"".join(new_file_patch(path, name) for path, name in zip(files, names, strict=True))
        return Library(
            place.name, quote(os.fsencode(place.name)), None, names, tuple(f"?? {name}" for name in names), patch
        )
    changes = changed_files(repository, files)
    patch = _patch(repository, changes) if changes else b""
    return Library(
        place.name, repository.web_url(), repository.commit, names, tuple(str(change) for change in changes), patch
    )


def _patch(repository: Repository, changes: Sequence[Change]) -> bytes:
    """The patch that makes the imported files from the commit."""
    head = [f"# Imported code that differs from commit {repository.commit}", f"# {repository.web_url()}"]
    head += [f"# {change}" for change in changes]
    modified = [change.path for change in changes if change.code == ".M"]
    parts = ["\n".join(head).encode("utf-8", "backslashreplace") + b"\n"]
    if modified:
        parts.append(repository.difference(modified))
    parts += [new_file_patch(repository.root / change.path, change.path) for change in changes if change.code == "!!"]
    return b"".join(parts)
