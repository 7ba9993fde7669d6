"""Files are placed all or none: whatever goes wrong, the folder is left as it was.

1. A folder that does not exist is made beside its place and takes its name at the end: it is there whole or not at all.
2. In a folder that exists, what was made is removed again and what was replaced comes back.
3. What else is done in the block belongs to it: an error there undoes the files too.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deriva_ml.core.files import atomic_write

__all__ = ["placed"]


@contextmanager
def placed(folder: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Place files in a folder; gives the folder in which they are while the block goes on.

    Args:
        folder: The folder; it is made, with those above it, if it is not there.
        files: The content of each file by its path in the folder; a file that is there is replaced.
    """
    with _in_place(folder, files) if folder.is_dir() else _beside(folder, files) as where:
        yield where


@contextmanager
def _beside(folder: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    made = _make_folders(folder.parent)
    part = folder.parent / f".{folder.name[:50]}.{secrets.token_hex(4)}.part"
    try:
        part.mkdir()
        for name, content in files.items():
            _write(part / name, content)
        yield part
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        _remove_folders(made)
        raise


@contextmanager
def _in_place(folder: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    folders: list[Path] = []
    written: dict[Path, bytes | None] = {}
    try:
        for name, content in files.items():
            path = folder / name
            folders += _make_folders(path.parent)
            before = path.read_bytes() if path.exists() else None
            _write(path, content)
            written[path] = before
        yield folder
    except BaseException:
        for path, before in written.items():
            if before is None:
                path.unlink(missing_ok=True)
            else:
                _write(path, before)
        _remove_folders(folders)
        raise


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder with those above it; those that were made, the deepest first."""
    missing = [folder, *folder.parents]
    missing = missing[: next(at for at, path in enumerate(missing) if path.exists())]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_folders(folders: list[Path]) -> None:
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, with the rights that a new file has, or those that it had."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    with atomic_write(path, durable=False) as out:
        out.write(content)
        os.fchmod(out.fileno(), mode)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
