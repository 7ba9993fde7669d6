"""What a run will need before it can start: its inputs with their sizes, room for them, and the right to write.

Nothing is written, the cache included: what it has is told by its seals. How large a bag is that is neither here nor
recorded can only be worked out by walking through the dataset, which takes requests for each of its tables; it is left
out unless it is asked for.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path

from deriva_ml.asset.cached import asset_key
from deriva_ml.asset.local_file import LocalFile
from deriva_ml.asset.tables import execution_companion, type_companion
from deriva_ml.connect import unwritable_part
from deriva_ml.core.enums import BaseStrEnum, MLAsset, MLTable
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLConfigurationError,
    DerivaMLException,
    DerivaMLReadOnlyError,
)
from deriva_ml.core.files import human_size, unusable_directory
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_keys import bag_keys, bag_scope
from deriva_ml.dataset.bag_record import recorded_size
from deriva_ml.execution.facts import Facts
from deriva_ml.execution.input_check import AssetInput, DatasetInput, Inputs
from deriva_ml.schema.session import Session
from deriva_ml.workspace.cache import Cache

__all__ = ["InputNeed", "Known", "Room", "input_needs", "no_room", "room_for", "unwritable"]


class Known(BaseStrEnum):
    """How it is known how large an input is."""

    cache = "cache"
    """It is here."""
    recorded = "recorded"
    """The catalog says it: of a file always, of a version since its bag was first exported."""
    estimated = "estimated"
    """It was worked out from the rows."""
    unknown = "unknown"
    """It is not known."""


@dataclass(frozen=True, slots=True)
class InputNeed:
    """An input, as far as it is known before it is brought.

    Attributes:
        kind: ``dataset``, ``asset`` or ``file`` (of this machine).
        rid: Its RID; None of a file of this machine.
        version: A dataset's version.
        name: Of a file, its name; of a dataset, its description.
        table: Of an asset, its table (``schema:Table``).
        size: Its bytes; None if that is not known.
        known: How that is known.
        is_cached: Nothing of it has to be fetched.
        to_cache: It is kept in the cache; else it lies in the run's own directory.
    """

    kind: str
    rid: str | None
    version: str | None
    name: str
    table: str | None
    size: int | None
    known: Known
    is_cached: bool
    to_cache: bool


@dataclass(frozen=True, slots=True)
class Room:
    """What is to be written to one file system.

    Attributes:
        path: A directory on it.
        needed: Bytes that are known to be needed.
        free: Bytes that there are.
        unknown: How many inputs go there whose size is not known.
    """

    path: Path
    needed: int
    free: int
    unknown: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether what is known to be needed finds room."""
        return self.needed <= self.free


def input_needs(session: Session, inputs: Iterable[Inputs], facts: Facts, *, estimate: bool = False) -> list[InputNeed]:
    """What the inputs of runs need, each input once.

    Args:
        session: The catalog.
        inputs: What the runs consume.
        facts: What the catalog holds of it.
        estimate: Work out how large bags are of which it is not known; requests for each table of each such dataset.
    """
    look = _Look(session, facts, estimate=estimate)
    found: dict[object, InputNeed] = {}
    for one in inputs:
        for dataset in one.datasets:
            key = (dataset.spec.rid, str(dataset.spec.version), dataset.spec.materialize, _left_out(dataset))
            if key not in found:
                found[key] = look.dataset(dataset)
        for asset in one.assets:
            if (asset.spec.rid, asset.spec.cache) not in found:
                found[asset.spec.rid, asset.spec.cache] = look.asset(asset)
        for file in one.local:
            if file.path not in found:
                found[file.path] = _local(file)
    return list(found.values())


def _left_out(item: DatasetInput) -> tuple[str, ...]:
    return tuple(sorted(item.spec.exclude_tables or ()))


def _local(file: LocalFile) -> InputNeed:
    size = file.path.stat().st_size
    return InputNeed("file", None, None, str(file.path), None, size, Known.cache, True, file.cache)


@dataclass(frozen=True)
class _Look:
    session: Session
    facts: Facts
    estimate: bool
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cache", Cache(self.session.cache_dir))  # `cache_of` would note the place

    def dataset(self, item: DatasetInput) -> InputNeed:
        spec, version = item.spec, item.version
        whole, bare = bag_keys(self.session, spec, str(version.snapshot))
        entry = self.cache.sealed(whole)
        if entry is None and not spec.materialize:
            entry = self.cache.sealed(bare)
        size, known = (None, Known.unknown) if entry is None else (entry.size(), Known.cache)
        found = self.facts.datasets[spec.rid]
        if entry is None:
            scope = bag_scope(self.session, spec, self.session.domain_schemas)
            size = recorded_size(found.rows.get(version.version_rid, {}), scope, with_assets=spec.materialize)
            known = Known.unknown if size is None else Known.recorded
        if size is None and self.estimate:
            from deriva_ml.dataset.estimate import estimate_bag_size

            worked_out = estimate_bag_size(self.session, spec)
            size = worked_out["total_estimated_bytes" if spec.materialize else "total_csv_bytes"]
            known = Known.estimated
        name = spec.description or found.description
        return InputNeed(
            "dataset", spec.rid, str(spec.version), name, None, size, known, entry is not None, to_cache=True
        )

    def asset(self, item: AssetInput) -> InputNeed:
        found = self.facts.records[item.spec.rid]
        md5 = str(found.row.get("MD5") or "").lower()
        cached = item.spec.cache and bool(md5) and self.cache.sealed(asset_key(self.session, item.spec.rid, md5))
        known = Known.unknown if found.length is None else Known.recorded
        name = str(found.row.get("Filename") or "")
        place = f"{item.schema}:{item.table}"
        return InputNeed(
            "asset", item.spec.rid, None, name, place, found.length, known, bool(cached), to_cache=item.spec.cache
        )


def room_for(session: Session, needs: Sequence[InputNeed]) -> list[Room]:
    """The room that inputs need, one entry for each file system that they go to."""
    wanted: dict[int, tuple[Path, int, int]] = {}
    for need in needs:
        path = _standing(session.cache_dir if need.to_cache else session.runs_dir)
        device = path.stat().st_dev
        at, size, unknown = wanted.get(device, (path, 0, 0))
        # What is in the cache is linked to; a file of this machine is copied.
        is_here = need.is_cached and need.kind != "file"
        more = 0 if is_here or need.size is None else need.size
        wanted[device] = (at, size + more, unknown + (need.size is None and not is_here))
    return [
        Room(path, size, shutil.disk_usage(path).free, unknown)
        for path, size, unknown in wanted.values()
        if size or unknown
    ]


def _standing(path: Path) -> Path:
    """The directory itself, or the nearest one above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def no_room(rooms: Iterable[Room]) -> Iterator[DerivaMLException]:
    """What to say where the inputs find no room."""
    for room in rooms:
        if not room.is_enough:
            yield DerivaMLConfigurationError(
                f"The inputs need {human_size(room.needed)}, and only {human_size(room.free)} are free at {room.path}.",
                source=f"file system of {room.path}",
                hint="make room, or choose another place: deriva_ml.cache_dir, deriva_ml.working_dir",
            )


def unwritable(
    session: Session, inputs: Iterable[Inputs], *, is_sweep: bool = False, workflow_is_new: bool = True
) -> list[DerivaMLException]:
    """What a run would write, and may not.

    Args:
        session: The catalog.
        inputs: What the runs consume.
        is_sweep: There will be a parent and children.
        workflow_is_new: The code has no row yet.
    """
    problems = [*_closed_directories(session)]
    if session.is_snapshot:
        try:
            session.require_writable()
        except DerivaMLReadOnlyError as error:
            return [*problems, error]
    closed = unwritable_part(session.place, session.catalog_id)
    if closed is not None:
        problems.append(
            DerivaMLReadOnlyError(
                f"The catalog cannot be written: {closed} is read-only for this user.",
                source=f"hostname {session.place.hostname!r}",
                hint="ask the folder's owner for the right to write there, or use another catalog",
            )
        )
    try:
        tables = list(_written(session, inputs, is_sweep=is_sweep, workflow_is_new=workflow_is_new))
    except DerivaMLException as error:  # the catalog lacks a table that runs need
        return [*problems, error]
    denied = [f"{schema}:{name}" for schema, name in dict.fromkeys(tables) if not _may_add(session, schema, name)]
    if denied:
        problems.append(
            DerivaMLAuthenticationError(
                f"You may not add rows to {', '.join(denied)} of catalog {session.catalog_id} at {session.place}.",
                source="access lists of the catalog",
                hint="ask its owner for the right to write (deriva-ml-catalog grant, of a folder that is served)",
            )
        )
    return problems


def _may_add(session: Session, schema: str, name: str) -> bool:
    return session.catalog.may("insert", schema, name)


def _closed_directories(session: Session) -> Iterator[DerivaMLException]:
    told: set[Path] = set()
    for path in (session.records_dir, session.runs_dir, session.cache_dir):
        standing = _standing(path)
        if standing in told:
            continue
        told.add(standing)
        if not standing.is_dir():
            yield unusable_directory(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(standing)))
        elif not os.access(standing, os.W_OK | os.X_OK):
            yield unusable_directory(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(standing)))


def _written(
    session: Session, inputs: Iterable[Inputs], *, is_sweep: bool, workflow_is_new: bool
) -> Iterator[tuple[str, str]]:
    """The tables that every run adds rows to; which its model will write, nobody knows."""
    ml = session.ml_schema
    yield "public", "ERMrest_RID_Lease"
    yield ml, str(MLTable.execution)
    if workflow_is_new:
        yield ml, str(MLTable.workflow)
        yield ml, str(MLTable.workflow_type)
    if is_sweep:
        yield ml, str(MLTable.execution_execution)
    tables = [f"{ml}:{MLAsset.execution_metadata}"]
    for one in inputs:
        if one.datasets:
            yield ml, str(MLTable.dataset_execution)
        tables += [f"{item.schema}:{item.table}" for item in one.assets]
        if one.local:
            yield ml, str(MLAsset.execution_asset)
            tables.append(f"{ml}:{MLAsset.execution_asset}")
    yield ml, str(MLAsset.execution_metadata)
    for name in dict.fromkeys(tables):
        table = session.table(name)
        companions = [execution_companion(session, table)]
        companions += [type_companion(session, table)] if name == tables[0] else []
        for companion in companions:
            yield companion.table.schema, companion.table.name
