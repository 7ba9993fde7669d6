"""The files of assets in this machine's cache: listing and deleting them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deriva_ml.core.values import dataclass
from deriva_ml.schema.session import Session
from deriva_ml.workspace.cache import Cache, CacheEntry

__all__ = ["CachedAsset", "asset_key", "delete_cached_asset", "list_cached_assets"]


@dataclass(frozen=True, slots=True)
class CachedAsset:
    """The file of one asset in the cache.

    Attributes:
        rid: The asset.
        md5: MD5 of the content, as the catalog recorded it when the file was fetched.
        filename: The file's name.
        path: Where the file is; it is write-protected, and other runs read it.
        length: Its size in bytes.
        cached_at: When it was fetched (UTC, ISO 8601).
    """

    rid: str
    md5: str
    filename: str
    path: Path
    length: int
    cached_at: str


def _plain(text: str) -> str:
    """Text as a part of a cache key: a host name may have a port, an identity may begin with a dot."""
    return "".join(each if each.isalnum() or each in "-_" else "_" for each in text)


def _prefix(session: Session) -> str:
    # one cache may serve several catalogs
    return f"assets/{_plain(session.identity)}-{_plain(session.catalog_id)}/"


def asset_key(session: Session, rid: str, md5: str) -> str:
    """The key of an asset's file in the cache."""
    return f"{_prefix(session)}{_plain(rid)}_{md5}"


def _entries(session: Session) -> Iterator[tuple[str, str, CacheEntry]]:
    for entry in Cache(session.cache_dir).entries(_prefix(session)):
        rid, _mark, md5 = entry.key.rpartition("/")[2].rpartition("_")
        yield rid, md5, entry


def list_cached_assets(session: Session) -> list[CachedAsset]:
    """The files of this catalog's assets that are in the cache, the latest first.

    Args:
        session: The catalog.
    """
    found = [
        CachedAsset(rid, md5, name, entry.path / name, seal.digests.length, entry.sealed_at)
        for rid, md5, entry in _entries(session)
        for name, seal in entry.files.items()
    ]
    return sorted(found, key=lambda each: (each.cached_at, each.rid), reverse=True)


def delete_cached_asset(session: Session, rid: str, md5: str | None = None) -> int:
    """Delete an asset's file from the cache; it is fetched again when it is needed.

    Args:
        session: The catalog.
        rid: The asset.
        md5: Only the file with this content; by default whatever there is of the asset.

    Returns:
        How many files were deleted.
    """
    cache = Cache(session.cache_dir)
    found = [entry for each, content, entry in _entries(session) if each == _plain(rid) and md5 in (None, content)]
    for entry in found:
        cache.remove(entry.key)
    return sum(len(entry.files) for entry in found)
