"""Fetching the files that a bag lacks, wherever the bag lies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDataError
from deriva_ml.core.files import Digests
from deriva_ml.dataset.bag import DATABASE, fill_from
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.bag_keys import NO_ADDRESS
from deriva_ml.dataset.bag_layout import FETCH, Payload
from deriva_ml.dataset.bag_payload import Notice, fetch_payload, payload_of_bag
from deriva_ml.workspace.cache import Cache, CacheEntry, entry_at

__all__ = ["materialize"]


def materialize(database: BagDatabase, *, fetch_concurrency: int = 8, progress: Notice | None = None) -> None:
    """Fetch the files that a bag lacks; all of them, or none.

    A bag of the cache stays as it is, and becomes part of one that has its files, which ``database`` reads from then
    on. Any other bag gets its files where it lies.

    Args:
        database: The bag.
        fetch_concurrency: How many files are fetched at a time.
        progress: Told after each group of files.

    Raises:
        DerivaMLConfigurationError: The bag does not tell where its files are.
        DerivaMLException: A file is missing or damaged; the error names it.
    """
    payload = payload_of_bag(database.bag, NO_ADDRESS)
    if not payload:
        return
    with _store(database, payload) as (objects, found):
        cache, entry = entry_at(database.bag.parent)
        if entry is not None and cache is not None:
            _in_cache(database, cache, entry, objects, found, fetch_concurrency, progress)
        else:
            _in_place(database.bag, objects, found, fetch_concurrency, progress)


@contextmanager
def _store(database: BagDatabase, payload: Sequence[Payload]) -> Iterator[tuple[ObjectClient, list[Payload]]]:
    """The object store with the files, and the files with URLs as it takes them."""
    hosts = {_host(item.url) for item in payload}
    if len(hosts) > 1:
        raise DerivaMLDataError(
            f"The files of {database.bag.name} are on several hosts: {', '.join(sorted(hosts))}.",
            source=str(database.bag / FETCH),
            hint="fetch them with the command bdbag --materialize",
        )
    (host,) = hosts
    found = [replace(item, url=item.url.removeprefix(host)) for item in payload]
    if database.objects is not None:
        yield database.objects, found
        return
    if not host:
        raise DerivaMLConfigurationError(
            f"The bag {database.bag.name} was made from a catalog folder and does not tell where that is.",
            source=str(database.bag / FETCH),
            hint="get it with download_dataset_bag of a DerivaML on that folder, with materialize=True",
        )
    with open_connection(host) as connection:
        yield connection.objects(), found


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _in_cache(
    database: BagDatabase,
    cache: Cache,
    entry: CacheEntry,
    objects: ObjectClient,
    payload: Sequence[Payload],
    concurrency: int,
    progress: Notice | None,
) -> None:
    name = database.bag.name

    def fill(directory: Path) -> dict[str, Digests]:
        files = fill_from(entry, directory)
        fetched = fetch_payload(
            objects, directory / name, payload, concurrency=concurrency, store=cache.files, progress=progress
        )
        return files | {f"{name}/{path}": digests for path, digests in fetched.items()}

    whole = cache.populate(str(entry.note["whole"]), fill, note={**entry.note, "materialized": True})
    database.moved(whole.path / name, whole.path / DATABASE)


def _in_place(
    bag: Path, objects: ObjectClient, payload: Sequence[Payload], concurrency: int, progress: Notice | None
) -> None:
    """Fetch the files beside the bag, then put them in it; the list of what it lacks goes last."""
    missing = [item for item in payload if not (bag / item.path).exists()]
    with tempfile.TemporaryDirectory(dir=bag.parent, prefix=f".{bag.name}.") as beside:
        fetch_payload(objects, Path(beside), missing, concurrency=concurrency, progress=progress)
        for item in missing:
            target = bag / item.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(beside) / item.path, target)
    (bag / FETCH).unlink()
