"""A version of a dataset as a bag: from the cache, or written from the version's snapshot.

1. A bag is an entry of the workspace's cache. Its key names the dataset, the snapshot, and by a hash the catalog, the
   excluded tables and whether the files of assets are in it: what has the same key has the same bytes.
2. The cache gives out whole, verified entries only, fills a damaged one again, and lets one process fill while others
   wait. So a bag whose files could not all be fetched does not exist.
3. A bag with files serves a request for one without.
4. Finding a bag in the cache takes one request: the version must be looked up, as only the catalog knows its snapshot.
5. Whatever is given out, be it new or from the cache, is what was recorded with the version (``bag_record``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from functools import cached_property
from pathlib import Path

from deriva_ml.core.enums import MLTable
from deriva_ml.core.files import Digests
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec
from deriva_ml.dataset.bag_database import BagDatabase, build_database
from deriva_ml.dataset.bag_keys import bag_keys, bag_scope, base_url
from deriva_ml.dataset.bag_layout import ASSETS, FETCH, Payload, bag_name, schema_facts
from deriva_ml.dataset.bag_payload import BagProgress, Notice, fetch_payload, payload_of_bag
from deriva_ml.dataset.bag_record import BagRecord, checksums_of
from deriva_ml.dataset.bag_writer import Written, write_bag, write_fetch
from deriva_ml.dataset.clones import at_version
from deriva_ml.dataset.dataset_bag import DatasetBag
from deriva_ml.dataset.reach import reach
from deriva_ml.dataset.versions import entries, find_version
from deriva_ml.schema.places import cache_of
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.model import Json
from deriva_ml.workspace.cache import Cache, CacheEntry, FileSeal, Filled

__all__ = ["BagProgress", "Notice", "download_dataset_bag", "fill_from", "with_payload"]

DATABASE = "tables.db"
"""The bag's database, beside the bag in its cache entry."""


def download_dataset_bag(
    catalog: HasSession | Session,
    spec: DatasetSpec,
    *,
    progress: Notice | None = None,
    source: str | None = None,
    record: bool = True,
) -> DatasetBag:
    """Fetch a version of a dataset as a bag, or find it in the cache.

    Args:
        catalog: The catalog: a ``DerivaML`` or its session.
        spec: Which dataset, in which version, and whether with the files of its assets.
        progress: Told after each group of files that are there.
        source: Where the specification was written, for errors.
        record: Record the checksum of a first export with the version; else on this machine only.

    Returns:
        The bag, opened.

    Raises:
        DerivaMLDatasetNotFound: The RID names no dataset; the error says what it names.
        DerivaMLVersionNotFound: The dataset has no such version; the error names those that it has.
        DerivaMLException: A file could not be fetched or is damaged; nothing is kept then.
        DerivaMLValidationError: The bag is not what was recorded with the version; the error names the files.
    """
    session = session_of(catalog)
    version, row = _version(session, spec, source)
    return _Download(session, spec, version, row, progress, source).open(record=record)


def _version(session: Session, spec: DatasetSpec, source: str | None) -> tuple[DatasetHistory, Mapping[str, Json]]:
    """The version, and its row: the one request that a bag in the cache takes."""
    name = MLTable.dataset_version.value
    rows = session.catalog.rows_by(session.ml_schema, name, "Dataset", [spec.rid])
    for row in rows:
        for version in entries([row]):
            if version.dataset_version == spec.version:
                return version, row
    version = find_version(session, spec.rid, spec.version, source=source)  # it says what is wrong
    return version, {"RID": version.version_rid}


def fill_from(bare: CacheEntry, directory: Path) -> dict[str, Digests]:
    """Take over the files of a bag without files, by hard links, but for the list of what it lacks."""
    files: dict[str, Digests] = {}
    for name, seal in bare.files.items():
        if name.rpartition("/")[2] == FETCH and name.count("/") == 1:
            continue
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(bare.path / name, target)
        files[name] = seal.digests
    return files


def with_payload(files: Mapping[str, Digests], name: str, fetched: Mapping[str, FileSeal]) -> Filled:
    """What an entry of the cache was filled with that has a bag with its files.

    Args:
        files: The hashes of the other files by their path within the entry.
        name: The bag's name.
        fetched: The seals of the files of assets by their path within the bag.
    """
    return Filled(files, f"{name}/{ASSETS}", {f"{name}/{path}": seal for path, seal in fetched.items()})


@dataclass(frozen=True)
class _Download:
    """One request for a bag."""

    session: Session
    spec: DatasetSpec
    version: DatasetHistory
    row: Mapping[str, Json]
    progress: Notice | None = None
    source: str | None = None
    note: dict[str, object] = field(default_factory=dict)

    @property
    def snapshot(self) -> str:
        return str(self.version.snapshot)

    @cached_property
    def cache(self) -> Cache:
        return cache_of(self.session)

    def _record(self, scope: object) -> BagRecord:
        return BagRecord(self.session, self.row, str(scope), f"dataset {self.spec.rid} version {self.spec.version}")

    def open(self, *, record: bool) -> DatasetBag:
        """The bag, from the cache or from the catalog."""
        whole, bare = bag_keys(self.session, self.spec, self.snapshot)
        entry = None if self.spec.materialize else self.cache.entry(whole)
        if entry is None:
            self.note.update(self._note(whole))
            key = whole if self.spec.materialize else bare
            entry = self.cache.populate(key, self._fill, note=self.note)
        known = self._record(entry.note["scope"])
        known.check(entry.note["checksums"])
        known.keep(entry.note["checksums"], in_catalog=record)
        bag = entry.path / bag_name(self.spec.rid)
        return DatasetBag(BagDatabase(bag, entry.path / DATABASE, objects=self.session.objects), self.spec.rid)

    def _note(self, whole: str) -> dict[str, object]:
        return {
            "kind": "bag",
            "dataset": self.spec.rid,
            "version": str(self.spec.version),
            "snapshot": self.snapshot,
            "catalog": f"{self.session.identity}/{self.session.catalog_id}",
            "materialized": self.spec.materialize,
            "whole": whole,
        }

    def _fill(self, directory: Path) -> Filled | dict[str, Digests]:
        """Write the entry's files into its directory."""
        bag = directory / bag_name(self.spec.rid)
        bare = self.cache.entry(bag_keys(self.session, self.spec, self.snapshot)[1]) if self.spec.materialize else None
        if bare is not None:
            self.note.update({name: bare.note[name] for name in ("scope", "checksums")})
            files = fill_from(bare, directory)
            return with_payload(files, bag.name, self._fetched(bag, payload_of_bag(bare.path / bag.name, self._base)))
        written = self._written(bag)
        files = {f"{bag.name}/{path}": digests for path, digests in written.files.items()}
        if not self.spec.materialize:
            build_database(bag, directory / DATABASE)
            listed = write_fetch(bag, written.payload, self._base)
            return files | {f"{bag.name}/{path}": digests for path, digests in listed.items()}
        # Files wait for the disk, and the database for the processor.
        with ThreadPoolExecutor(1, "deriva-ml-database") as aside:
            database = aside.submit(build_database, bag, directory / DATABASE)
            fetched = self._fetched(bag, written.payload)
            database.result()
        return with_payload(files, bag.name, fetched)

    @property
    def _base(self) -> str:
        return base_url(self.session)

    def _fetched(self, bag: Path, payload: Sequence[Payload]) -> dict[str, FileSeal]:
        return fetch_payload(
            self.session.objects,
            bag,
            payload,
            concurrency=self.spec.fetch_concurrency,
            store=self.cache.files,
            progress=self.progress,
        )

    def _written(self, bag: Path) -> Written:
        bag.mkdir()
        then = at_version(self.session, self.version, source=self.source)
        content = reach(then, self.spec.rid, self.spec.exclude_tables or ())
        schemas = self.session.domain_schemas & content.model.schemas.keys()
        facts = {
            "External-Identifier": f"{self.spec.rid}@{self.snapshot}",
            "External-Description": self.version.description,
            "Dataset-RID": self.spec.rid,
            "Dataset-Version": str(self.spec.version),
            **schema_facts(self.session.ml_schema, schemas),
        }
        written = write_bag(bag, then, content, self.snapshot, facts)
        found = checksums_of(written.files, sum(item.length for item in written.payload))
        self.note.update({"scope": bag_scope(self.session, self.spec, schemas), "checksums": found})
        self._record(self.note["scope"]).check(found)  # before anything is fetched
        return written
