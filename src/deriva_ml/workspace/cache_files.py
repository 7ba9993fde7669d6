"""The contents of a cache's files, each once: what several entries hold is one file under several names.

    <cache>/.files/ab/<md5>-<length>-<sha256>-<inode>

1. A name tells the content, and the inode that it had when it was verified. Its size and time tell whether it is still
   that: a stored file has the time ``STAMP``, which it loses when anything is written into it.
2. A file whose size, time and inode are those is taken to be unchanged; any other is hashed before it is used, and
   removed if it is something else.
3. A file is stored after it has been verified in its entry, as a further name of the same file. So none is here that is
   not whole, whoever was killed when, and nothing here needs a lock.
4. Content that no entry holds any more has one name left, and is removed with the last entry that held it.
5. Nothing of a catalog's own object store is linked to, unless it is large and the file system cannot clone: who writes
   into a file of the cache (root can) shall not damage the catalog.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deriva_ml.core.files import Digests, hash_file
from deriva_ml.core.values import dataclass

__all__ = ["SMALL", "STAMP", "FileSeal", "FileStore", "bring", "stamp"]

STAMP = 946_684_800_000_000_000
"""The modification time of what is verified, in nanoseconds: the beginning of the year 2000."""

SMALL = 1 << 20
"""What is not longer than this is copied where it cannot be cloned."""

FOLDER = ".files"
_FICLONE = 0x40049409
_NO_LINK = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES})
"""What a file system says that has no hard links, or no more of this file."""


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What a file of an entry was when it was last verified."""

    digests: Digests
    mtime_ns: int
    inode: int


class FileStore:
    """The contents of one cache's files.

    Args:
        root: The cache's directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / FOLDER
        self._text = str(self._root)
        self._listed: dict[str, dict[str, str]] = {}

    def link(self, md5: str, length: int, target: Path | str) -> FileSeal | None:
        """Give a stored content a further name.

        Args:
            md5: Its MD5.
            length: Its size.
            target: The name, at which nothing is.

        Returns:
            What it is; None, and nothing there, if it is not stored.
        """
        key = f"{md5}-{length}"
        found = self._names(md5[:2]).get(key)
        if found is None:
            return None
        seal = self._verified(md5[:2], found, key)
        if seal is None:
            return None
        source = self._root / md5[:2] / self._listed[md5[:2]].get(key, found)
        try:
            os.link(source, target)
        except FileNotFoundError:
            # swept meanwhile, or there is no directory for the target
            self._listed.pop(md5[:2], None)
            return None
        except OSError as error:
            if error.errno in _NO_LINK:
                return None
            raise
        return seal

    def _names(self, prefix: str) -> dict[str, str]:
        """The names that begin with two digits, by MD5 and size."""
        if prefix not in self._listed:
            found: dict[str, str] = {}
            with suppress(FileNotFoundError), os.scandir(self._root / prefix) as entries:
                for entry in entries:
                    parts = entry.name.split("-")
                    if len(parts) == 4:
                        found[f"{parts[0]}-{parts[1]}"] = entry.name
            self._listed[prefix] = found
        return self._listed[prefix]

    def _verified(self, prefix: str, name: str, key: str) -> FileSeal | None:
        """What a stored file is, if it is still what its name says; it is removed if not."""
        md5, length, sha256, inode = name.split("-")
        digests = Digests(md5, sha256, int(length))
        path = self._root / prefix / name
        try:
            status = path.lstat()
            if (status.st_size, status.st_mtime_ns, status.st_ino) == (digests.length, STAMP, int(inode)):
                return FileSeal(digests, STAMP, status.st_ino)
            if stat.S_ISREG(status.st_mode) and hash_file(path) == digests:
                stamp(path)
                new = f"{key}-{sha256}-{status.st_ino}"
                path.rename(path.with_name(new))
                self._listed[prefix][key] = new
                return FileSeal(digests, STAMP, status.st_ino)
            path.unlink()
        except FileNotFoundError:
            """Somebody else has removed it."""
        self._listed[prefix].pop(key, None)
        return None

    def keep(self, path: Path | str, digests: Digests) -> FileSeal:
        """Store a verified file of an entry; if its content is stored already, the file becomes a name of that.

        Args:
            path: The file, which nobody uses yet.
            digests: What it is.

        Returns:
            The file's seal.
        """
        prefix, key = digests.md5[:2], f"{digests.md5}-{digests.length}"
        names = self._names(prefix)
        status = os.lstat(path)
        seal = FileSeal(digests, status.st_mtime_ns, status.st_ino)
        # A file that has another name is stored already, or is the catalog's.
        if status.st_nlink > 1 or not digests.length:
            return seal
        if key in names and (stored := self._replaced(Path(path), digests)) is not None:
            return stored
        name = f"{key}-{digests.sha256}-{status.st_ino}"
        folder = f"{self._text}/{prefix}"
        try:
            try:
                os.link(path, f"{folder}/{name}")
            except FileNotFoundError:
                Path(folder).mkdir(parents=True, exist_ok=True)
                os.link(path, f"{folder}/{name}")
        except FileExistsError:
            """The very file is stored."""
        except OSError as error:
            if error.errno in _NO_LINK:
                return seal  # nothing is shared on such a file system
            raise
        names[key] = name
        return seal

    def _replaced(self, path: Path, digests: Digests) -> FileSeal | None:
        """Make a file a name of the stored content; None if that is not there, or not the same."""
        other = path.with_name(f".{path.name[:100]}.link")
        stored = self.link(digests.md5, digests.length, other)
        if stored is None:
            return None
        if stored.digests != digests:
            other.unlink()
            return None
        # Of two names of one file, rename would leave both.
        if other.samefile(path):
            other.unlink()
        else:
            other.replace(path)
        return stored

    def release(self, files: Iterable[tuple[Digests, int]]) -> None:
        """Remove those of some contents that no entry holds any more.

        Args:
            files: What they are, and the inode of each.
        """
        for digests, inode in files:
            name = f"{digests.md5}-{digests.length}-{digests.sha256}-{inode}"
            path = f"{self._text}/{digests.md5[:2]}/{name}"
            with suppress(FileNotFoundError):
                if os.lstat(path).st_nlink == 1:
                    Path(path).unlink()
        self._listed.clear()

    def sweep(self) -> None:
        """Remove whatever no entry holds any more."""
        with suppress(FileNotFoundError), os.scandir(self._root) as folders:
            for folder in folders:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):
                            if entry.stat(follow_symlinks=False).st_nlink == 1:
                                Path(entry).unlink()
        self._listed.clear()


def stamp(path: Path | str) -> None:
    """Write-protect a verified file and give it the time of what is verified."""
    with suppress(PermissionError):  # a link to somebody else's large file: its time is noted as it is
        Path(path).chmod(0o444)
        os.utime(path, ns=(STAMP, STAMP))


def bring(source: Path | str, target: Path | str) -> Digests | None:
    """Put the content of a file of this machine at a new name, write-protected, and tell what it is.

    It is cloned where the file system can; else small content is copied, and large content linked, or copied where no
    link is possible.

    Args:
        source: The file; it may be a link to one.
        target: The name, at which nothing is.

    Returns:
        What is there now; None, and nothing there, if the source is missing.
    """
    try:
        handle = os.open(source, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content = os.read(handle, SMALL + 1)
        if len(content) > SMALL or os.fstat(handle).st_size != len(content):
            if not _cloned(handle, target) and not _linked(source, target):
                shutil.copyfile(source, target)
            return _settled(Path(target))
    finally:
        os.close(handle)
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(out, view) :]
        os.utime(out, ns=(STAMP, STAMP))
    finally:
        os.close(out)
    return _digests(content)


def _digests(content: bytes) -> Digests:
    return Digests(
        hashlib.md5(content, usedforsecurity=False).hexdigest(), hashlib.sha256(content).hexdigest(), len(content)
    )


def _settled(target: Path) -> Digests:
    digests = hash_file(target)
    stamp(target)
    return digests


def _cloned(source: int, target: Path | str) -> bool:
    """Make a clone, which shares the blocks on the disk and is a file of its own."""
    import fcntl

    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.ioctl(out, _FICLONE, source)
    except OSError:
        Path(target).unlink()
        return False
    finally:
        os.close(out)
    return True


def _linked(source: Path | str, target: Path | str) -> bool:
    try:
        # a link to the file itself, never to a symbolic link that names it
        os.link(Path(source).resolve(strict=True), target)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True
