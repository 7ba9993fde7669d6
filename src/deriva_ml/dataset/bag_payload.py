"""Putting the files of assets into a bag: in parallel, verified, and all of them or an error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import field
from pathlib import Path
from threading import Event, Lock

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLUnreachable
from deriva_ml.core.files import Digests
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_layout import ASSETS, FETCH, Payload, read_fetch, read_manifest
from deriva_ml.workspace.cache_files import STAMP, FileSeal, FileStore, bring, stamp
from deriva_ml.workspace.seals import seal_file

__all__ = ["BagProgress", "Notice", "fetch_payload", "payload_of_bag"]

_GROUP = 32
"""Files that one task takes: a task for each file would cost more than a small file."""

_LOCAL_GROUP = 256
"""The same where files are copied on this machine: where they are is asked for a group at a time."""

_LOCAL = 2
"""How many tasks copy files at a time."""

_BETWEEN = 1 << 22
"""Bytes of a large file after which the progress is told again."""


@dataclass(frozen=True, slots=True)
class BagProgress:
    """How far the files of a bag are.

    Attributes:
        files_done: Files that are there, verified.
        files_total: Files of the bag.
        bytes_done: Bytes that are there.
        bytes_total: Bytes of all files.
        seconds: Time since the first file was begun.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    seconds: float = field(default=0.0, compare=False)

    @property
    def rate(self) -> float:
        """Bytes in a second; 0 before any have arrived."""
        return self.bytes_done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at this rate; None if nothing can be said yet."""
        left = self.bytes_total - self.bytes_done
        if not left:
            return 0.0 if self.files_done == self.files_total else None
        return left / self.rate if self.rate else None


Notice = Callable[[BagProgress], None]
"""What is told about the progress."""


class _Meter:
    """Counts what has arrived, and tells of it; several threads report to it."""

    def __init__(self, payload: Sequence[Payload], notice: Notice | None) -> None:
        self._notice = notice
        self._lock = Lock()
        self._files, self._bytes, self._told = 0, 0, 0
        self._files_total, self._bytes_total = len(payload), sum(item.length for item in payload)
        self._start = time.monotonic()

    def bytes(self, count: int) -> None:
        """Bytes of a file have arrived; the number is negative where some must be fetched again."""
        with self._lock:
            self._bytes += count
            if self._bytes - self._told >= _BETWEEN:
                self._tell()

    def files(self, count: int) -> None:
        """Files are there."""
        with self._lock:
            self._files += count
            self._tell()

    def _tell(self) -> None:
        self._told = self._bytes
        if self._notice is not None:
            seconds = time.monotonic() - self._start
            self._notice(BagProgress(self._files, self._files_total, self._bytes, self._bytes_total, seconds))


def payload_of_bag(bag: Path, base_url: str) -> list[Payload]:
    """The files that a bag lacks.

    Args:
        bag: The bag's directory.
        base_url: What was put before URLs without authority, and is taken off again.
    """
    listed = bag / FETCH
    if not listed.exists():
        return []
    checksums = read_manifest((bag / "manifest-md5.txt").read_text("utf-8"))
    return read_fetch(listed.read_text("utf-8"), base_url, checksums)


def fetch_payload(
    objects: ObjectClient,
    bag: Path,
    payload: Sequence[Payload],
    *,
    concurrency: int = 8,
    store: FileStore | None = None,
    progress: Notice | None = None,
) -> dict[str, FileSeal]:
    """Put files into a bag.

    A file comes from the cache where that has its content, from this disk where the object store has it there; else it
    is fetched. In either case it is what the manifest says, and is kept in the cache.

    Args:
        objects: The object store.
        bag: The bag's directory.
        payload: The files.
        concurrency: How many are fetched at a time.
        store: The contents of the cache's files; the bag is then being made in an entry of that cache.
        progress: Told after each group of files, and now and then within large ones.

    Returns:
        The seals of the files by their path within the bag; the directories that they are in are stamped, and hold
        nothing else.

    Raises:
        DerivaMLUnreachable: The object store cannot be reached.
        DerivaMLException: A file is missing, or is not what the manifest says; the error names it.
    """
    if not payload:
        return {}
    (bag / ASSETS).mkdir(parents=True, exist_ok=True)
    done: dict[str, FileSeal] = {}
    fetching = _Fetching(objects, bag, store, _Meter(payload, progress))
    # Large files come first, so that at the end small ones fill the gaps.
    ordered = sorted(payload, key=lambda item: -item.length)
    is_local = objects.local_paths([ordered[0].url]) != [None]
    groups = list(_groups(ordered, _LOCAL_GROUP if is_local else _GROUP))
    if is_local:
        # Copies are made by the processor: more of them at a time than it has cores takes longer.
        concurrency = min(concurrency, _LOCAL)
    with ThreadPoolExecutor(min(concurrency, len(groups)), "deriva-ml-bag") as pool:
        tasks: list[Future[dict[str, FileSeal]]] = [pool.submit(fetching.group, group) for group in groups]
        try:
            for task in as_completed(tasks):
                done.update(task.result())
        except BaseException:
            # Who has begun stops at the next file; who has not begun never does.
            fetching.halt.set()
            for task in tasks:
                task.cancel()
            raise
    return done


def _groups(payload: Iterable[Payload], count: int, size: int = 1 << 20) -> Iterator[list[Payload]]:
    """Groups of at most ``count`` files or about ``size`` bytes."""
    group: list[Payload] = []
    length = 0
    for item in payload:
        group.append(item)
        length += item.length
        if len(group) == count or length > size:
            yield group
            group, length = [], 0
    if group:
        yield group


class _Fetching:
    """The fetching of one bag's files."""

    def __init__(self, objects: ObjectClient, bag: Path, store: FileStore | None, meter: _Meter) -> None:
        self._objects = objects
        self._bag = bag
        self._store = store
        self._meter = meter
        self.halt = Event()

    def group(self, group: Sequence[Payload]) -> dict[str, FileSeal]:
        """Put some files into the bag; give their seals."""
        done: dict[str, FileSeal] = {}
        for item, source in zip(group, self._objects.local_paths([item.url for item in group]), strict=True):
            if self.halt.is_set():
                break
            done[item.path] = self._one(f"{self._bag}/{item.path}", item, source)
        self._meter.files(len(done))
        return done

    def _one(self, target: str, item: Payload, source: str | None) -> FileSeal:
        # Making directories takes longer than all else for a small file: no attempt is made that must fail, and text
        # is cut where a path object would take as long as the system's own work.
        inner = target.rpartition("/")[0]
        outer = inner.rpartition("/")[0]
        for directory in (outer, inner):
            try:
                os.mkdir(directory)  # noqa: PTH102
            except FileExistsError:
                """An earlier attempt for this file, or another one of the same record, has made it."""
        seal = self._sealed(target, item, source)
        for directory in (inner, outer):
            os.utime(directory, ns=(STAMP, STAMP))
        return seal

    def _sealed(self, target: str, item: Payload, source: str | None) -> FileSeal:
        if self._store is None:
            return seal_file(target, self._arrived(target, item, source))
        stored = self._store.link(item.md5, item.length, target)
        if stored is None:
            return self._store.keep(target, self._arrived(target, item, source))
        self._meter.bytes(item.length)
        return stored

    def _arrived(self, target: str, item: Payload, source: str | None) -> Digests:
        try:
            return self._brought(target, item, source) or self._fetched(target, item)
        except DerivaMLUnreachable:
            raise
        except DerivaMLException as error:
            raise DerivaMLException(
                f"A file of the dataset could not be fetched: {item.path.removeprefix('data/asset/')}",
                source=f"{item.url}: {error}",
                hint="nothing of the bag was kept; see that the object is there and is what its record says, and "
                "repeat",
            ) from error

    def _brought(self, target: str, item: Payload, source: str | None) -> Digests | None:
        """Take the content from this disk; None, and nothing there, if it is not there or is something else."""
        digests = bring(source, target) if source is not None else None
        if digests is None:
            return None
        if (digests.md5, digests.length) == (item.md5, item.length):
            self._meter.bytes(item.length)
            return digests
        os.unlink(target)  # noqa: PTH108
        return None

    def _fetched(self, target: str, item: Payload) -> Digests:
        digests = self._objects.fetch(
            item.url, Path(target), md5=item.md5, length=item.length, progress=self._meter.bytes, durable=False
        )
        stamp(target)
        return digests
