"""Putting a file of the cache where a run wants it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import atomic_write, hash_file

__all__ = ["place_file"]


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
