"""Files: hashing, atomic writing, sizes in words, and the one door to optional packages."""

from __future__ import annotations

import base64
import errno
import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLMissingExtra
from deriva_ml.core.values import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = [
    "Digests",
    "atomic_write",
    "copy_hashing",
    "copy_in_kernel",
    "file_lock",
    "fsync_directory",
    "hash_blocks",
    "hash_file",
    "human_size",
    "make_directory",
    "nearest",
    "read_ends",
    "require",
    "unusable_directory",
    "write_all",
]

BLOCK = 1 << 20
HASH_BLOCK = 4 << 20
"""Bytes of a large file that are hashed at a time."""

HASH_WINDOW = 1 << 26
"""Bytes of a large file that are copied ahead of being hashed."""


@dataclass(frozen=True, slots=True)
class Digests:
    """What identifies the content of a file.

    Attributes:
        md5: Hexadecimal MD5.
        sha256: Hexadecimal SHA-256.
        length: Size in bytes.
    """

    md5: str
    sha256: str
    length: int

    @property
    def md5_base64(self) -> str:
        """The MD5 as HTTP's Content-MD5 writes it."""
        return base64.b64encode(bytes.fromhex(self.md5)).decode()

    @property
    def sha256_base64(self) -> str:
        """The SHA-256 as Content-SHA256 writes it."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()


def hash_parts(parts: Iterable[bytes], out: IO[bytes] | None = None) -> Digests:
    """Hash content part by part, writing it to ``out`` on the way if that is given."""
    md5, sha256, length = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    for part in parts:
        md5.update(part)
        sha256.update(part)
        length += len(part)
        if out is not None:
            out.write(part)
    return Digests(md5.hexdigest(), sha256.hexdigest(), length)


def read_parts(source: IO[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """The rest of an open file in parts of at most ``size`` bytes."""
    while part := source.read(size):
        yield part


def hash_blocks(parts: Iterable[bytes], out: IO[bytes] | None = None) -> Digests:
    """Hash content, writing it on the way; the two digests are computed side by side once it proves to be large."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    length = 0
    pool: ThreadPoolExecutor | None = None
    pending: list[Future[None]] = []
    try:
        for part in parts:
            length += len(part)
            if pool is None and length > HASH_BLOCK:
                from concurrent.futures import ThreadPoolExecutor  # threads are loaded by who needs them

                pool = ThreadPoolExecutor(2, thread_name_prefix="digest")
            if pool is None:
                md5.update(part)
                sha256.update(part)
            else:
                # One block is in the digests' hands at a time: while it is hashed, it is written and the next is read.
                for done in pending:
                    done.result()
                pending = [pool.submit(md5.update, part), pool.submit(sha256.update, part)]
            if out is not None:
                write_all(out, part)
        for done in pending:
            done.result()
    finally:
        if pool is not None:
            pool.shutdown()
    return Digests(md5.hexdigest(), sha256.hexdigest(), length)


def write_all(out: IO[bytes], part: bytes) -> None:
    """Write all of a part to an unbuffered file, which may take it in pieces."""
    rest = memoryview(part)
    while rest:
        rest = rest[out.write(rest) :]


def copy_in_kernel(source: int, target: int, length: int) -> int:
    """Copy bytes between open files at their positions; the content is shared where the file system can.

    Args:
        source: Descriptor of the file to read.
        target: Descriptor of the file to write.
        length: How many bytes at most.

    Returns:
        How many bytes were copied; 0 at the end of the source, and where the system or the file systems cannot do it.
    """
    copy = getattr(os, "copy_file_range", None)
    if copy is None:
        return 0
    copied = 0
    try:
        while copied < length and (part := copy(source, target, length - copied)):
            copied += part
    except OSError as error:
        if not copied and error.errno in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            return 0
        raise
    return copied


def copy_hashing(source: IO[bytes], out: IO[bytes], progress: Callable[[int], None]) -> Digests:
    """Copy a file to another and hash what has been copied; what the source grows by meanwhile is left.

    A large file is copied by the kernel, and read for hashing while it is still in memory; the two digests are computed
    side by side.

    Args:
        source: The file, unbuffered, at its beginning.
        out: An empty file, unbuffered, open for reading and writing.
        progress: Called with the number of bytes each time some have been hashed.
    """
    size = os.fstat(source.fileno()).st_size
    window = min(size, HASH_WINDOW)
    copied = copy_in_kernel(source.fileno(), out.fileno(), window) if size > HASH_BLOCK else 0
    if not copied:
        return hash_blocks(_counted(source, size, progress), out)
    from concurrent.futures import ThreadPoolExecutor

    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    start = 0
    pending: list[Future[None]] = []
    with ThreadPoolExecutor(2, thread_name_prefix="digest") as pool:
        while copied:
            for done in pending:
                done.result()
            pending = [
                pool.submit(_hash_range, out.fileno(), md5, start, copied, progress),
                pool.submit(_hash_range, out.fileno(), sha256, start, copied),
            ]
            start += copied
            # the next part is copied while this one is hashed
            copied = copy_in_kernel(source.fileno(), out.fileno(), min(HASH_WINDOW, size - start))
        for done in pending:
            done.result()
    return Digests(md5.hexdigest(), sha256.hexdigest(), start)


def _hash_range(
    handle: int, hasher: Any, start: int, length: int, progress: Callable[[int], None] = lambda _count: None
) -> None:
    buffer = memoryview(bytearray(HASH_BLOCK))
    while length:
        count = os.preadv(handle, [buffer[: min(HASH_BLOCK, length)]], start)
        if not count:
            raise OSError(errno.EIO, "a file has become shorter while it was hashed")
        hasher.update(buffer[:count])
        progress(count)
        start, length = start + count, length - count


def _counted(source: IO[bytes], size: int, progress: Callable[[int], None]) -> Iterator[bytes]:
    while size > 0 and (part := source.read(min(HASH_BLOCK, size))):
        yield part
        progress(len(part))
        size -= len(part)


def hash_file(path: Path) -> Digests:
    """Read a file once and give its size, MD5 and SHA-256."""
    with path.open("rb", buffering=0) as source:
        return hash_blocks(read_parts(source, HASH_BLOCK))


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write a file so that it is there whole or not at all.

    The content goes into a file of a unique name in the same directory and takes the final name at the end; if the
    block raises, nothing is left.

    Args:
        path: The final name; its directory is made if need be.
        durable: Wait until the content is on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{_beginning(path.name)}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            if durable:
                os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if durable:
        fsync_directory(path.parent)


def _beginning(name: str) -> str:
    """As much of a name as leaves room for more in another one, whatever its letters take in bytes."""
    return os.fsencode(name)[:100].decode("utf-8", "ignore")


def unusable_directory(path: Path, error: OSError) -> DerivaMLConfigurationError:
    """What to say where a directory of the user's cannot be made or written, and how to choose another.

    Args:
        path: The directory.
        error: Why not.
    """
    return DerivaMLConfigurationError(
        f"The directory {path} cannot be used: {error.strerror or error}.",
        source=str(error.filename) if error.filename and str(error.filename) != str(path) else None,
        hint="choose one that you can write: HOME (its .deriva-ml is used by default), DERIVA_ML_LOCAL for the "
        "catalog, deriva_ml.working_dir and deriva_ml.cache_dir for runs",
    )


def make_directory(path: Path) -> None:
    """Make a directory that the user chose, with its parents; without effect if it is there.

    Raises:
        DerivaMLConfigurationError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable_directory(path, error) from error


def human_size(size: float) -> str:
    """A number of bytes in words: ``0 B``, ``1.5 KB``, ``2.0 MB``."""
    if size < 1024:
        return f"{int(size)} B"
    for unit in ("KB", "MB", "GB", "TB"):
        size /= 1024
        if size < 1024 or unit == "TB":
            break
    return f"{size:.1f} {unit}"


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names most like this one, the likest first; all of them (up to ten) if none is like it."""
    import difflib

    names = sorted(set(known))
    return difflib.get_close_matches(name, names, n=limit, cutoff=0.5) or names[:10]


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        package: The module to import.
        extra: The extra of deriva-ml that installs it.

    Raises:
        DerivaMLMissingExtra: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise DerivaMLMissingExtra(package, extra) from error


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock that one process at a time can have; it is given back even if the process is killed.

    Args:
        path: The file that stands for the lock; it is made if need be and stays.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


LONGEST_LOG = 20_000_000
"""Of a log, so much from the beginning and from the end is read."""


def read_ends(path: Path) -> bytes:
    """The content of a log; of a very long one, its beginning and its end; nothing if it cannot be read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= 2 * LONGEST_LOG:
                return file.read()
            head = file.read(LONGEST_LOG)
            file.seek(size - LONGEST_LOG)
            left_out = str(size - 2 * LONGEST_LOG).encode()
            return head + b"\n... " + left_out + b" bytes are left out ...\n" + file.read()
    except OSError:
        return b""
