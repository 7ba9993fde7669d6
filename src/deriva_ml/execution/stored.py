"""What is kept on this machine, item by item, wherever it is: bags, cached assets, directories of runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLNotFoundError
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.execution.storage import RUNNING, kept_reasons, run_directories
from deriva_ml.workspace.cache import Cache, CacheEntry
from deriva_ml.workspace.places import WorkPlace

__all__ = ["Kind", "StoredItem", "delete_item", "find_items", "stored_items"]


class Kind(StrEnum):
    """What is kept."""

    bag = "bag"
    asset = "asset"
    other = "other"
    run = "run"

    @property
    def is_cache(self) -> bool:
        """It was downloaded, and is fetched again when it is needed."""
        return self is not Kind.run


@dataclass(frozen=True, slots=True)
class StoredItem:
    """Something that is kept.

    Attributes:
        place: For which catalog.
        kind: What it is.
        rid: The dataset, the asset, or the run; empty where the cache does not tell.
        detail: The version of a dataset, or the name of an asset's file.
        key: Its key in the cache, or the name of its directory.
        path: Where it is.
        size: Bytes.
        files: How many files.
        modified: When it was filled, or last changed (seconds since 1970).
        kept: Why it must stay; empty if it may go.
    """

    place: WorkPlace
    kind: Kind
    rid: str
    detail: str
    key: str
    path: Path
    size: int
    files: int
    modified: float
    kept: str = ""


def stored_items(place: WorkPlace, *, cache: bool = True, runs: bool = True) -> list[StoredItem]:
    """Everything that is kept for a catalog.

    Args:
        place: Where this machine works for the catalog.
        cache: List what was downloaded.
        runs: List directories of runs.
    """
    found = [_cached(place, entry) for entry in Cache(place.cache_dir).entries()] if cache else []
    if runs:
        reasons = kept_reasons(place)
        for run in run_directories(place):
            rid = run.execution_rid
            size, files, modified = run.size_bytes, run.file_count, run.modified
            kept = reasons.get(rid, "")
            found.append(StoredItem(place, Kind.run, rid, "", rid, run.path, size, files, modified, kept))
    return found


def _cached(place: WorkPlace, entry: CacheEntry) -> StoredItem:
    note = entry.note
    if note.get("kind") == "bag":
        files = "" if note.get("materialized", True) else ", without files"
        kind, rid, detail = Kind.bag, str(note.get("dataset", "")), f"{note.get('version', '')}{files}"
    elif entry.key.startswith("assets/"):
        kind, rid, detail = Kind.asset, str(note.get("rid", "") or _rid_of(entry.key)), next(iter(entry.files), "")
    else:
        kind, rid, detail = Kind.other, "", entry.key
    filled = datetime.fromisoformat(entry.sealed_at).timestamp()
    return StoredItem(place, kind, rid, detail, entry.key, entry.path, entry.size(), len(entry.files), filled)


def _rid_of(key: str) -> str:
    return key.rpartition("/")[2].rpartition("_")[0]


def find_items(items: Iterable[StoredItem], rids: Iterable[str]) -> list[StoredItem]:
    """The items of some RIDs.

    Raises:
        DerivaMLNotFoundError: Nothing of a RID is kept here.
    """
    known = list(items)
    found: list[StoredItem] = []
    for rid in dict.fromkeys(rids):
        matches = [item for item in known if item.rid == rid]
        if not matches:
            names = sorted({item.rid for item in known if item.rid})
            raise DerivaMLNotFoundError(
                f"Nothing of {rid} is kept on this machine.",
                allowed=nearest(rid, names),
                hint="deriva-ml-storage --list shows what is",
            )
        found += matches
    return found


def delete_item(item: StoredItem, *, force: bool = False) -> int:
    """Remove an item; how many bytes that frees.

    Args:
        item: The item.
        force: Remove it although outputs of it are not in the catalog.

    Raises:
        DerivaMLDataError: It must stay, and was not forced; or it is of a run that goes on, which cannot be forced.
    """
    if item.kept and (not force or item.kept == RUNNING):
        raise DerivaMLDataError(
            f"The directory of run {item.rid} stays: {item.kept}.",
            source=str(item.path),
            hint="wait for it" if item.kept == RUNNING else "bring them there with deriva-ml-upload, or add --force",
        )
    if item.kind is Kind.run:
        shutil.rmtree(item.path)
        return item.size
    return Cache(item.place.cache_dir).remove(item.key)
