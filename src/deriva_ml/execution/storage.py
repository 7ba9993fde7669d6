"""What runs and downloads take of this machine's disk: to see it, and to clean it without losing anything.

A run's directory with outputs that the catalog does not have, or whose process is alive, is never removed by age: only
who names it and says so loses it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deriva_ml.core.files import human_size
from deriva_ml.core.values import dataclass
from deriva_ml.execution.recovery import incomplete_run
from deriva_ml.execution.states import is_final, parse_status
from deriva_ml.schema.places import cache_of, place_of
from deriva_ml.schema.session import Session
from deriva_ml.workspace.cache import CacheEntry
from deriva_ml.workspace.evidence import Sign
from deriva_ml.workspace.journal import JOURNAL_NAME, Journal
from deriva_ml.workspace.places import WorkPlace

__all__ = [
    "RunDirectory",
    "clean_execution_dirs",
    "clear_cache",
    "disk_use",
    "get_cache_size",
    "get_storage_summary",
    "kept_reasons",
    "list_execution_dirs",
    "run_directories",
]

RUNNING = "it is running"
"""Why a directory stays whose run goes on."""

_MB = 1024 * 1024
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of a run.

    Attributes:
        execution_rid: The run.
        path: Where it is.
        size_bytes: The bytes of its files; links to files elsewhere count nothing.
        file_count: How many files it has.
        modified: When something of it was last changed (seconds since 1970).
    """

    execution_rid: str
    path: Path
    size_bytes: int
    file_count: int
    modified: float


def _files(root: Path) -> Iterator[os.stat_result]:
    """What the system says of each plain file below a directory; what vanishes meanwhile is passed over."""
    for directory, _names, names in os.walk(root):
        for name in names:
            try:
                found = os.lstat(os.path.join(directory, name))  # noqa: PTH118  # many files, and no Path of each
            except FileNotFoundError:
                continue
            yield found


def _directories(root: Path) -> int:
    return sum(len(names) for _directory, names, _files in os.walk(root))


def run_directories(place: WorkPlace) -> list[RunDirectory]:
    """The directories of a catalog's runs on this machine, the one that was changed last first."""
    found = []
    if place.runs_dir.is_dir():
        for entry in place.runs_dir.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                stats = list(_files(entry))
                modified = max([entry.stat().st_mtime, *(stat.st_mtime for stat in stats)])
                size = sum(stat.st_size for stat in stats)
                found.append(RunDirectory(entry.name, entry, size, len(stats), modified))
    return sorted(found, key=lambda run: (-run.modified, run.execution_rid))


def list_execution_dirs(session: Session) -> list[dict[str, Any]]:
    """The directories of runs on this machine, the one that was changed last first.

    Returns:
        For each ``execution_rid``, ``path``, ``size_bytes``, ``size_mb``, ``modified`` (a local time) and
        ``file_count``.
    """
    return [
        {
            "execution_rid": run.execution_rid,
            "path": str(run.path),
            "size_bytes": run.size_bytes,
            "size_mb": run.size_bytes / _MB,
            "modified": datetime.fromtimestamp(run.modified, UTC).astimezone(),
            "file_count": run.file_count,
        }
        for run in run_directories(place_of(session))
    ]


def kept_reasons(place: WorkPlace) -> Mapping[str, str]:
    """Why directories of runs must stay, by the run's RID; a run that is not named is not needed any more."""
    path = place.records_dir / JOURNAL_NAME
    if not path.exists():
        return {}
    with Journal(path, catalog=place.identity, catalog_id=place.catalog_id) as journal:
        runs = journal.runs()
    reasons: dict[str, str] = {}
    for run in runs:
        if not is_final(parse_status(run.status)) and run.process.sign() is not Sign.gone:
            reasons[run.execution] = RUNNING
            continue
        waiting = incomplete_run(run)
        if waiting is not None:
            reasons[run.execution] = f"{str(waiting.waiting) or 'its outputs'} are not in the catalog yet"
    return reasons


def clean_execution_dirs(
    session: Session, older_than_days: float | None = None, exclude_rids: Collection[str] | None = None
) -> dict[str, Any]:
    """Remove the directories of runs that ended and whose outputs the catalog has.

    Args:
        session: The catalog.
        older_than_days: Only those in which nothing was changed for so many days.
        exclude_rids: Runs whose directories stay.

    Returns:
        ``dirs_removed``, ``bytes_freed``, ``errors`` (how many could not be removed), and ``kept``: by RID, why a
        directory that is old enough stays.
    """
    limit = None if older_than_days is None else time.time() - older_than_days * _DAY_S
    place = place_of(session)
    reasons = kept_reasons(place)
    removed = freed = errors = 0
    kept: dict[str, str] = {}
    for run in run_directories(place):
        if run.execution_rid in (exclude_rids or ()) or (limit is not None and run.modified > limit):
            continue
        if run.execution_rid in reasons:
            kept[run.execution_rid] = reasons[run.execution_rid]
            continue
        try:
            shutil.rmtree(run.path)
        except OSError:
            errors += 1
            continue
        removed += 1
        freed += run.size_bytes
    return {"dirs_removed": removed, "bytes_freed": freed, "errors": errors, "kept": kept}


def _old(entry: CacheEntry, older_than_days: float | None) -> bool:
    return older_than_days is None or entry.older_than(older_than_days, time.time())


def clear_cache(session: Session, older_than_days: float | None = None) -> dict[str, int]:
    """Remove what was downloaded: it is fetched again when it is needed.

    Args:
        session: The catalog.
        older_than_days: Only what was filled more than so many days ago.

    Returns:
        ``files_removed``, ``dirs_removed`` (entries of the cache), ``bytes_freed``, and ``errors`` (how many entries
        could not be removed).
    """
    cache = cache_of(session)
    files = entries = freed = errors = 0
    for entry in list(cache.entries()):
        if not _old(entry, older_than_days):
            continue
        try:
            freed += cache.remove(entry.key)
        except OSError:
            errors += 1
            continue
        files += len(entry.files)
        entries += 1
    return {"files_removed": files, "dirs_removed": entries, "bytes_freed": freed, "errors": errors}


def get_cache_size(session: Session) -> dict[str, Any]:
    """What the cache takes: ``total_bytes``, ``total_mb``, ``file_count``, ``dir_count``.

    A file that several entries share is counted once.
    """
    size, files = disk_use(session.cache_dir)
    directories = _directories(session.cache_dir)
    return {"total_bytes": size, "total_mb": size / _MB, "file_count": files, "dir_count": directories}


def disk_use(root: Path) -> tuple[int, int]:
    """Bytes and number of the files below a directory; a file with several names is counted once."""
    seen: set[tuple[int, int]] = set()
    size = 0
    for stat in _files(root):
        if (stat.st_dev, stat.st_ino) not in seen:
            seen.add((stat.st_dev, stat.st_ino))
            size += stat.st_size
    return size, len(seen)


def get_storage_summary(session: Session) -> dict[str, Any]:
    """What this catalog takes of the machine's disk.

    Returns:
        ``working_dir``, ``cache_dir``, ``cache_size_mb``, ``cache_file_count``, ``execution_dir_count``,
        ``execution_size_mb``, ``total_size_mb``, and ``total_size`` in words.
    """
    cache = get_cache_size(session)
    runs = run_directories(place_of(session))
    size = sum(run.size_bytes for run in runs)
    total = cache["total_bytes"] + size
    return {
        "working_dir": str(session.working_dir),
        "cache_dir": str(session.cache_dir),
        "cache_size_mb": cache["total_mb"],
        "cache_file_count": cache["file_count"],
        "execution_dir_count": len(runs),
        "execution_size_mb": size / _MB,
        "total_size_mb": total / _MB,
        "total_size": human_size(total),
    }
