"""Fetching the files that a bag lacks, wherever the bag lies."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deriva_ml.catalog.objects import ObjectClient
from deriva_ml.catalog.transport import stored_credential
from deriva_ml.connect import open_connection
from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.dataset.bag import DATABASE, fill_from, with_payload
from deriva_ml.dataset.bag_database import BagDatabase
from deriva_ml.dataset.bag_layout import FETCH, MINID_FACT, Payload
from deriva_ml.dataset.bag_payload import Notice, fetch_payload, payload_of_bag
from deriva_ml.dataset.bag_sources import SCHEME, Folders, split_address
from deriva_ml.workspace.cache import Cache, CacheEntry, Filled, entry_at

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
        DerivaMLConfigurationError: This machine knows no folder that has the bag's files.
        DerivaMLException: A file is missing or damaged; the error names it.
    """
    payload = payload_of_bag(database.bag, "")
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
    addressed = [(*split_address(item.url), item) for item in payload]
    addresses = {address for address, _path, _item in addressed}
    if len(addresses) > 1:
        raise DerivaMLDataError(
            f"The files of {database.bag.name} are on several hosts: {', '.join(sorted(addresses))}.",
            source=str(database.bag / FETCH),
            hint="fetch them with the command bdbag --materialize",
        )
    (address,) = addresses
    found = [replace(item, url=path) for _address, path, item in addressed]
    if database.objects is not None:
        yield database.objects, found
    elif not address or address.startswith(f"{SCHEME}:"):
        with Folders() as folders:
            yield folders.holding(payload[0].url), found
    else:
        # A bag from elsewhere names hosts that the user did not: they are shown nothing that was not made for them.
        credential = (stored_credential(address) or {}) if MINID_FACT in database.info else None
        with open_connection(address, credential=credential) as connection:
            yield connection.objects(), found


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

    def fill(directory: Path) -> Filled:
        files = fill_from(entry, directory)
        fetched = fetch_payload(
            objects, directory / name, payload, concurrency=concurrency, store=cache.files, progress=progress
        )
        return with_payload(files, name, fetched)

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
