"""The bags in this machine's cache: which there are, fetching them beforehand, deleting them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deriva_ml.core.enums import BaseStrEnum
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetSpec, DatasetVersion
from deriva_ml.dataset.bag import download_dataset_bag
from deriva_ml.dataset.bag_keys import bag_keys
from deriva_ml.dataset.bag_layout import bag_name
from deriva_ml.dataset.versions import find_version
from deriva_ml.schema.places import cache_of
from deriva_ml.schema.session import Session
from deriva_ml.workspace.cache import CacheEntry

__all__ = ["CacheStatus", "CachedBag", "cache_dataset", "cache_status", "delete_cached_bag", "list_cached_bags"]


class CacheStatus(BaseStrEnum):
    """What the cache has of a version."""

    not_cached = "not_cached"
    cached_metadata_only = "cached_metadata_only"
    cached_materialized = "cached_materialized"
    cached_incomplete = "cached_incomplete"


@dataclass(frozen=True, slots=True)
class CachedBag:
    """A bag in the cache.

    Attributes:
        dataset_rid: The dataset.
        version: Its version.
        snapshot: The version's snapshot.
        path: The bag's directory.
        materialized: The files of assets are in it.
        size_bytes: The size of all its files; content that several bags share is counted in each.
        cached_at: When it was fetched (UTC, ISO 8601).
    """

    dataset_rid: str
    version: str
    snapshot: str
    path: Path
    materialized: bool
    size_bytes: int
    cached_at: str


def _bags(session: Session, rid: str | None = None) -> Iterator[CacheEntry]:
    """The catalog's bags in the cache, which may serve other catalogs too."""
    catalog = f"{session.identity}/{session.catalog_id}"
    for entry in cache_of(session).entries("" if rid is None else f"{rid}_"):
        if entry.note.get("kind") == "bag" and entry.note.get("catalog") == catalog:
            yield entry


def list_cached_bags(session: Session) -> list[CachedBag]:
    """The bags of this catalog that the cache has, by dataset and version; no request is made.

    Args:
        session: The catalog.
    """
    found = [
        CachedBag(
            dataset_rid=str(entry.note["dataset"]),
            version=str(entry.note["version"]),
            snapshot=str(entry.note["snapshot"]),
            path=entry.path / bag_name(str(entry.note["dataset"])),
            materialized=bool(entry.note["materialized"]),
            size_bytes=entry.size(),
            cached_at=entry.sealed_at,
        )
        for entry in _bags(session)
    ]
    return sorted(found, key=lambda bag: (bag.dataset_rid, DatasetVersion.parse(bag.version), bag.path))


def delete_cached_bag(session: Session, rid: str, version: DatasetVersion | str | None = None) -> int:
    """Delete bags from the cache; they are fetched again when they are needed.

    Args:
        session: The catalog.
        rid: The dataset.
        version: Bags of this version only; of all versions by default.

    Returns:
        How many bags were deleted.
    """
    wanted = None if version is None else str(DatasetVersion.of(version))
    entries = [entry for entry in _bags(session, rid) if wanted in (None, entry.note["version"])]
    for entry in entries:
        cache_of(session).remove(entry.key)
    return len(entries)


def cache_status(session: Session, spec: DatasetSpec) -> dict[str, Any]:
    """What the cache has of a version, verified.

    Args:
        session: The catalog.
        spec: The version, and what is left out.

    Returns:
        ``status``, ``cache_path`` (of the bag, None if there is none), ``versions_cached`` (of this dataset).
    """
    version = find_version(session, spec.rid, spec.version)
    whole, bare = bag_keys(session, spec, str(version.snapshot))
    cache = cache_of(session)
    cached = sorted({str(entry.note["version"]) for entry in _bags(session, spec.rid)}, key=DatasetVersion.parse)
    status, path = CacheStatus.not_cached, None
    for key, if_whole in ((whole, CacheStatus.cached_materialized), (bare, CacheStatus.cached_metadata_only)):
        entry = cache.entry(key)
        if entry is not None:
            status, path = if_whole, entry.path / bag_name(spec.rid)
            break
        if cache.has(key):
            status = CacheStatus.cached_incomplete
    return {"status": status, "cache_path": path, "versions_cached": cached}


def cache_dataset(session: Session, spec: DatasetSpec, materialize: bool = True) -> dict[str, Any]:
    """Fetch a version into the cache, without a run.

    Args:
        session: The catalog.
        spec: The version, and what is left out.
        materialize: Fetch the files of assets too.

    Returns:
        What ``bag_info`` returns afterwards.
    """
    from deriva_ml.dataset.estimate import bag_info

    download_dataset_bag(session, spec.model_copy(update={"materialize": materialize}))
    return bag_info(session, spec)
