"""What a process is making and has not finished: as long as it lives, nobody takes that for a leftover.

A claim is a lock on the file or folder itself, which the system gives back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["claimed", "discard", "draft_of", "is_claimed"]


def draft_of(target: Path) -> Path:
    """A name beside a target, to make it under; drafts of the same target that dead processes left are removed.

    Args:
        target: What is to be made.
    """
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.part*"):
        if not is_claimed(left):
            discard(left)
    return target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")


@contextmanager
def claimed(path: Path, *, folder: bool, mode: int = 0o777) -> Iterator[None]:
    """Make a file or a folder that is this process's while the block lasts; afterwards it is removed if it is there.

    Args:
        path: Its name; nothing may be there.
        folder: Make a folder.
        mode: The permissions, before the process's mask.
    """
    if folder:
        path.mkdir(mode)
    else:
        path.touch(mode & 0o666, exist_ok=False)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
        discard(path)


def is_claimed(path: Path) -> bool:
    """Whether a process that lives is making a file or a folder."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def discard(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
