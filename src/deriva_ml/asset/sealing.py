"""A file of the user's as it is now: found at the path that the caller gives, and copied so that it stays so.

1. What is copied is what the file has when the copy begins. What it grows by meanwhile, as a log does, is left; a file
   that is rewritten or cut short meanwhile is refused, since no moment ever saw what would be copied.
2. The copy is independent of the file: a write to the one never shows in the other. The kernel shares the content where
   the file system can, and holes stay holes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import IO

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.files import atomic_write, copy_in_kernel, write_all

__all__ = ["existing_file", "seal_copy"]

BLOCK = 1 << 20


def existing_file(file_name: str | PurePath) -> Path | None:
    """The file that a caller points at; None for the name of a new one.

    Raises:
        DerivaMLDataError: Something that is not a plain file is there, or nobody may look.
    """
    if isinstance(file_name, str) and os.sep not in file_name:
        return None
    path = _home_written_out(Path(file_name))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a ValueError: a name that no file can have
        if path.is_symlink():
            raise DerivaMLDataError(f"{path} is a symbolic link to a file that does not exist.") from None
        return None
    except OSError as error:
        raise DerivaMLDataError(f"There may be a file at {path}, but: {error.strerror or error}.") from error
    if not stat.S_ISREG(mode):
        raise DerivaMLDataError(
            f"{path} is not a plain file.",
            hint="register the files of a directory one by one, or an archive of it" if stat.S_ISDIR(mode) else None,
        )
    # the name is the link's, the content that of the file itself
    return path.absolute()


def _home_written_out(path: Path) -> Path:
    """A path with ``~`` written out, unless that is just how a file's name begins."""
    if not path.parts[:1] or not path.parts[0].startswith("~") or os.path.lexists(path):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def seal_copy(source: Path, target: Path) -> None:
    """Copy a file as it is now, whole or not at all.

    Args:
        source: The file.
        target: The copy; its directory is made if need be.

    Raises:
        OSError: The file cannot be read, was rewritten meanwhile, or the disk refuses.
    """
    # The content is waited for, its name is not: the manifest's own write, which follows, takes the name to the disk;
    # where it does not, a power failure leaves an output without a file, which the upload tells.
    with source.open("rb", buffering=0) as content, atomic_write(target, durable=False) as out:
        before = os.fstat(content.fileno())
        for start, stop in _filled(content.fileno(), before.st_size):
            _copy_range(content, out, start, stop)
        if not before.st_size:
            _copy_unknown(content, out)
        else:
            out.truncate(before.st_size)
        after = os.fstat(content.fileno())
        if after.st_mtime_ns != before.st_mtime_ns and after.st_size <= before.st_size:
            raise OSError(errno.EBUSY, "it was written to while it was copied", str(source))
        os.fchmod(out.fileno(), 0o644)
        out.flush()
        os.fsync(out.fileno())


def _filled(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that are no holes; all of it where the system does not tell."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(handle, stop, os.SEEK_DATA)
            stop = min(size, os.lseek(handle, start, os.SEEK_HOLE))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # only a hole is left
            start, stop = stop, size
        if start < stop:
            yield start, stop


def _copy_range(content: IO[bytes], out: IO[bytes], start: int, stop: int) -> None:
    content.seek(start)
    out.seek(start)
    left = stop - start
    left -= copy_in_kernel(content.fileno(), out.fileno(), left)
    # the kernel cannot, or the file has become shorter
    while left and (part := content.read(min(left, BLOCK))):
        out.write(part)
        left -= len(part)


def _copy_unknown(content: IO[bytes], out: IO[bytes]) -> None:
    """Copy a file that claims to be empty, as those of some file systems do that are made while they are read."""
    while part := content.read(BLOCK):
        write_all(out, part)
