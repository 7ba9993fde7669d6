"""Archives of others, unpacked so that nothing of them comes outside the directory that they are given."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from deriva_ml.core.exceptions import DerivaMLDataError

__all__ = ["unpack"]

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
    RuntimeError,  # it is encrypted
    NotImplementedError,  # it is compressed in a way that Python does not know
)


def unpack(archive: Path, directory: Path) -> None:
    """Unpack an archive (zip; tar, plain or compressed): plain files and their directories, nothing else.

    Args:
        archive: The archive.
        directory: An empty directory.

    Raises:
        DerivaMLDataError: It is no archive, is damaged, or has a member that is no plain file, has no plain relative
            name, or stands twice in it. Members before that one are there.
    """
    try:
        for name, content in _members(archive):
            target = directory.joinpath(*_parts(name, archive))
            target.parent.mkdir(parents=True, exist_ok=True)
            with content, target.open("xb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except FileExistsError as error:
        raise _bad(archive, Path(str(error.filename)).name, "it stands twice in the archive") from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise _bad(archive, Path(str(error.filename)).name, "it is a file and a directory") from error
    except OSError as error:
        if error.errno != errno.EINVAL or error.filename:
            raise  # the disk's fault
        raise _damaged(archive, error) from error  # it says that something is where nothing can be


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _bad(archive, info.filename, "it is no plain file")
                if not info.is_dir():
                    yield info.filename, opened.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as packed:
            for member in packed:
                if not (member.isfile() or member.isdir()):
                    raise _bad(archive, member.name, "it is no plain file")
                content = packed.extractfile(member)
                if content is not None:
                    yield member.name, content
    else:
        raise DerivaMLDataError(
            f"{archive.name} is no archive.", source=str(archive), allowed=["zip", "tar", "tgz", "tar.bz2", "tar.xz"]
        )


def _parts(name: str, archive: Path) -> tuple[str, ...]:
    """The parts of a member's name, below the directory."""
    path = PurePosixPath(name)
    strange = "\\" in name or "\0" in name or ".." in path.parts or path.is_absolute()
    if strange or not path.parts or (len(name) > 1 and name[1] == ":"):
        raise _bad(archive, name, "its name leads elsewhere")
    return path.parts


def _damaged(archive: Path, error: Exception) -> DerivaMLDataError:
    return DerivaMLDataError(f"{archive.name} cannot be read: {error}", source=str(archive))


def _bad(archive: Path, name: str, why: str) -> DerivaMLDataError:
    return DerivaMLDataError(
        f"{archive.name} cannot be unpacked because of {name!r}: {why}.",
        source=str(archive),
        hint="do not trust it: ask who made it",
    )
