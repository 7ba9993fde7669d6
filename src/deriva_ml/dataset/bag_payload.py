"""Putting the files of assets into a bag: in parallel, verified, and all of them or an error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLUnreachable
from deriva_ml.core.files import Digests, hash_file
from deriva_ml.dataset.bag_layout import ASSETS, Payload

__all__ = ["BagProgress", "Notice", "fetch_payload"]

_GROUP = 32
"""Files that one task takes: a task for each file would cost more than a small file."""

_LOCAL = 2
"""How many tasks make links at a time."""


@dataclass(frozen=True, slots=True)
class BagProgress:
    """How far the files of a bag are.

    Attributes:
        files_done: Files that are there, verified.
        files_total: Files of the bag.
        bytes_done: Their bytes.
        bytes_total: Bytes of all files.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


Notice = Callable[[BagProgress], None]
"""What is told about the progress."""


def fetch_payload(
    objects: ObjectClient,
    bag: Path,
    payload: Sequence[Payload],
    *,
    concurrency: int = 8,
    known: Mapping[str, Path] | None = None,
    progress: Notice | None = None,
) -> dict[str, Digests]:
    """Put files into a bag.

    A file comes from this disk, by a hard link, where the object store or another bag of the cache has it there; else
    it is fetched. In either case its content is hashed and compared with the manifest.

    Args:
        objects: The object store.
        bag: The bag's directory.
        payload: The files.
        concurrency: How many are fetched at a time.
        known: Files on this disk by their MD5.
        progress: Told after each group of files.

    Returns:
        The hashes of the files by their path within the bag.

    Raises:
        DerivaMLUnreachable: The object store cannot be reached.
        DerivaMLException: A file is missing, or is not what the manifest says; the error names it.
    """
    if not payload:
        return {}
    (bag / ASSETS).mkdir(parents=True, exist_ok=True)
    total = sum(item.length for item in payload)
    done: dict[str, Digests] = {}
    size = 0
    halt = Event()
    # Large files come first, so that at the end small ones fill the gaps.
    groups = list(_groups(sorted(payload, key=lambda item: -item.length)))
    if objects.local_path(groups[0][0].url) is not None:
        # Links are made by the processor: more of them at a time than it has cores takes longer.
        concurrency = min(concurrency, _LOCAL)
    with ThreadPoolExecutor(min(concurrency, len(groups))) as pool:
        tasks: list[Future[dict[str, Digests]]] = [
            pool.submit(_fetch_group, objects, bag, group, known or {}, halt) for group in groups
        ]
        try:
            for task in as_completed(tasks):
                done.update(task.result())
                size += sum(digests.length for digests in task.result().values())
                if progress is not None:
                    progress(BagProgress(len(done), len(payload), size, total))
        except BaseException:
            # Who has begun stops at the next file; who has not begun never does.
            halt.set()
            for task in tasks:
                task.cancel()
            raise
    return done


def _groups(payload: Iterable[Payload], size: int = 1 << 20) -> Iterator[list[Payload]]:
    """Groups of at most ``_GROUP`` files or about ``size`` bytes."""
    group: list[Payload] = []
    length = 0
    for item in payload:
        group.append(item)
        length += item.length
        if len(group) == _GROUP or length > size:
            yield group
            group, length = [], 0
    if group:
        yield group


def _fetch_group(
    objects: ObjectClient, bag: Path, group: Sequence[Payload], known: Mapping[str, Path], halt: Event
) -> dict[str, Digests]:
    done: dict[str, Digests] = {}
    for item in group:
        if halt.is_set():
            break
        done[item.path] = _fetch(objects, bag / item.path, item, known)
    return done


def _fetch(objects: ObjectClient, target: Path, item: Payload, known: Mapping[str, Path]) -> Digests:
    # Making directories takes longer than all else for a small file: no attempt is made that must fail.
    for directory in (target.parent.parent, target.parent):
        with suppress(FileExistsError):
            directory.mkdir()
    try:
        for source in (known.get(item.md5), objects.local_path(item.url)):
            if source is not None and (digests := _linked(source, target, item)) is not None:
                return digests
        return objects.fetch(item.url, target, md5=item.md5, length=item.length)
    except DerivaMLUnreachable:
        raise
    except DerivaMLException as error:
        raise DerivaMLException(
            f"A file of the dataset could not be fetched: {item.path.removeprefix('data/asset/')}",
            source=f"{item.url}: {error}",
            hint="nothing of the bag was kept; see that the object is there and is what its record says, and repeat",
        ) from error


def _linked(source: Path, target: Path, item: Payload) -> Digests | None:
    """Link a file of this disk, or copy it where that cannot be; None, and nothing there, if it is not the content."""
    try:
        real = source.resolve(strict=True)
        try:
            os.link(real, target)
        except FileExistsError:
            raise
        except OSError:
            shutil.copyfile(real, target)
    except FileNotFoundError:
        return None
    digests = hash_file(target)
    if (digests.md5, digests.length) == (item.md5, item.length):
        return digests
    target.unlink()
    return None
