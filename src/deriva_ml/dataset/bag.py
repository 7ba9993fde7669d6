"""A version of a dataset as a bag: from the cache, or written from the version's snapshot.

1. A bag is an entry of the workspace's cache. Its key names the dataset, the snapshot, and by a hash the catalog, the
   excluded tables and whether the files of assets are in it: what has the same key has the same bytes.
2. The cache gives out whole, verified entries only, fills a damaged one again, and lets one process fill while others
   wait. So a bag whose files could not all be fetched does not exist.
3. A bag with files serves a request for one without.
4. Finding a bag in the cache takes one request: the version must be looked up, as only the catalog knows its snapshot.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deriva_ml.core.files import Digests
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec
from deriva_ml.dataset.bag_database import BagDatabase, build_database
from deriva_ml.dataset.bag_layout import ASSETS, Payload, bag_name, read_fetch, read_manifest, schema_facts
from deriva_ml.dataset.bag_payload import BagProgress, Notice, fetch_payload
from deriva_ml.dataset.bag_writer import write_bag
from deriva_ml.dataset.clones import at_version
from deriva_ml.dataset.dataset_bag import DatasetBag
from deriva_ml.dataset.reach import reach
from deriva_ml.dataset.versions import find_version
from deriva_ml.schema.places import cache_of
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.cache import Cache, CacheEntry

__all__ = ["BagProgress", "Notice", "download_dataset_bag"]

FORMAT = 1
"""Counts up when the same version would be written otherwise: older entries of the cache are not used then."""

DATABASE = "tables.db"
"""The bag's database, beside the bag in its cache entry."""


def download_dataset_bag(
    catalog: HasSession | Session,
    spec: DatasetSpec,
    *,
    progress: Notice | None = None,
    source: str | None = None,
) -> DatasetBag:
    """Fetch a version of a dataset as a bag, or find it in the cache.

    Args:
        catalog: The catalog: a ``DerivaML`` or its session.
        spec: Which dataset, in which version, and whether with the files of its assets.
        progress: Told after each group of files that are there.
        source: Where the specification was written, for errors.

    Returns:
        The bag, opened.

    Raises:
        DerivaMLDatasetNotFound: The RID names no dataset; the error says what it names.
        DerivaMLVersionNotFound: The dataset has no such version; the error names those that it has.
        DerivaMLException: A file could not be fetched or is damaged; nothing is kept then.
    """
    session = session_of(catalog)
    entry = find_version(session, spec.rid, spec.version, source=source)
    return _Download(session, spec, entry, progress, source).open()


@dataclass(frozen=True)
class _Download:
    """One request for a bag."""

    session: Session
    spec: DatasetSpec
    version: DatasetHistory
    progress: Notice | None = None
    source: str | None = None

    @property
    def snapshot(self) -> str:
        return str(self.version.snapshot)

    @property
    def cache(self) -> Cache:
        return cache_of(self.session)

    @property
    def base_url(self) -> str:
        """What stands before the URLs of objects in ``fetch.txt``.

        A service that is reached over a network is named by its address, and ``bdbag`` can fetch from there. A folder
        has no address: it is named by its identity, under a scheme of its own that ``bdbag`` refuses to fetch, rather
        than under one (``tag:``) for which it reports success without fetching anything.
        """
        return self.session.place.base_url or f"deriva-ml://{self.session.identity}"

    def key(self, *, materialized: bool) -> str:
        """The key of the cache entry."""
        facts = {
            "format": FORMAT,
            "place": self.base_url,
            "identity": self.session.identity,
            "catalog": self.session.catalog_id,
            "schemas": [self.session.ml_schema, *sorted(self.session.domain_schemas)],
            "exclude": sorted(self.spec.exclude_tables or ()),
            "materialized": materialized,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return f"{self.spec.rid}_{digest[:16]}_{self.snapshot}"

    def open(self) -> DatasetBag:
        """The bag, from the cache or from the catalog."""
        whole = self.key(materialized=True)
        entry = None if self.spec.materialize else self.cache.entry(whole)
        if entry is None:
            key = whole if self.spec.materialize else self.key(materialized=False)
            entry = self.cache.populate(key, self._fill, note=self._note())
        database = BagDatabase(entry.path / bag_name(self.spec.rid), entry.path / DATABASE)
        return DatasetBag(database, self.spec.rid)

    def _note(self) -> dict[str, object]:
        return {
            "kind": "bag",
            "dataset": self.spec.rid,
            "version": str(self.spec.version),
            "snapshot": self.snapshot,
            "catalog": f"{self.session.identity}/{self.session.catalog_id}",
            "materialized": self.spec.materialize,
        }

    def _fill(self, directory: Path) -> dict[str, Digests]:
        """Write the entry's files into its directory."""
        bag = directory / bag_name(self.spec.rid)
        bare = self.cache.entry(self.key(materialized=False)) if self.spec.materialize else None
        files = self._written(directory, bag) if bare is None else _linked(bare, directory)
        if self.spec.materialize:
            payload = payload_of_bag(bag, self.base_url)
            fetched = fetch_payload(
                self.session.objects,
                bag,
                payload,
                concurrency=self.spec.fetch_concurrency,
                known=self._known(payload),
                progress=self.progress,
            )
            files |= {f"{bag.name}/{path}": digests for path, digests in fetched.items()}
        return files

    def _written(self, directory: Path, bag: Path) -> dict[str, Digests]:
        bag.mkdir()
        then = at_version(self.session, self.version, source=self.source)
        content = reach(then, self.spec.rid, self.spec.exclude_tables or ())
        facts = {
            "External-Identifier": f"{self.spec.rid}@{self.snapshot}",
            "External-Description": self.version.description,
            "Dataset-RID": self.spec.rid,
            "Dataset-Version": str(self.spec.version),
            **schema_facts(self.session.ml_schema, self.session.domain_schemas & content.model.schemas.keys()),
        }
        written = write_bag(bag, content, self.snapshot, facts, self.base_url)
        build_database(bag, directory / DATABASE)
        return {f"{bag.name}/{path}": digests for path, digests in written.items()}

    def _known(self, payload: Sequence[Payload]) -> dict[str, Path]:
        """Files that other bags of this dataset have in the cache already, by MD5, where the store is not local.

        They are hashed before they are used, so that a seal that is out of date does no harm.
        """
        if not payload or self.session.objects.local_path(payload[0].url) is not None:
            return {}
        return {
            seal.digests.md5: entry.path / name
            for entry in self.cache.entries(f"{self.spec.rid}_")
            for name, seal in entry.files.items()
            if f"/{ASSETS}/" in name
        }


def _linked(entry: CacheEntry, directory: Path) -> dict[str, Digests]:
    """Take over the files of another entry by hard links."""
    files: dict[str, Digests] = {}
    for name, seal in entry.files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(entry.path / name, target)
        files[name] = seal.digests
    return files


def payload_of_bag(bag: Path, base_url: str) -> list[Payload]:
    """The files that a bag's ``fetch.txt`` lists."""
    listed = bag / "fetch.txt"
    if not listed.exists():
        return []
    checksums: Mapping[str, str] = read_manifest((bag / "manifest-md5.txt").read_text("utf-8"))
    return read_fetch(listed.read_text("utf-8"), base_url, checksums)
