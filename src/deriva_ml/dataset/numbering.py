"""Making the next versions of datasets, whatever others do meanwhile; the rules are at the head of ``versions``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLException, DerivaMLUnreachable
from deriva_ml.dataset.announcing import advance_together
from deriva_ml.dataset.aux_classes import DatasetVersion, VersionPart
from deriva_ml.dataset.changes import Changes, all_or_nothing
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.dataset.versions import (
    INITIAL_VERSION,
    Row,
    moment_of,
    number_of,
    read_versions,
    require_dataset,
    require_execution,
    snapshot_of,
)
from deriva_ml.schema.session import Session

__all__ = ["advance", "increment", "insert_versions", "publish"]

_RACES = 100
"""How often a lost race for a version number is run again; of each race somebody is the winner."""
_PAUSE = 0.002
"""Seconds to wait after the first lost race; twice as many after the second, and so on."""
_CONFLICT = 409


def insert_versions(
    session: Session, numbers: Mapping[str, DatasetVersion], description: str, execution_rid: str | None
) -> list[Row]:
    """Write the rows of new versions, one for each of some datasets, in one transaction.

    Args:
        session: The catalog.
        numbers: The new number of each dataset.
        description: What changed.
        execution_rid: The execution that changed it, if one did.

    Returns:
        The rows; that they are there is all that makes the versions, but ``publish`` is to follow.

    Raises:
        DerivaMLCatalogError: A number is taken (409); nothing was written then.
    """
    wanted: list[Row] = [
        {"Dataset": rid, "Version": str(number), "Description": description, "Execution": execution_rid}
        for rid, number in numbers.items()
    ]
    return list(session.catalog.insert(session.ml_schema, MLTable.dataset_version.value, wanted))


def publish(session: Session, made: Sequence[Row], unfinished: Iterable[Row] = ()) -> list[str]:
    """Repeat what the rows of new versions say where other readers look for it.

    Args:
        session: The catalog.
        made: The new rows.
        unfinished: Older rows without a snapshot, whose writers have died.

    Returns:
        The datasets in which a higher number was written before ours.
    """
    if not made:
        return []
    catalog, schema = session.catalog, session.ml_schema
    seen: list[Row] = [{"RID": row["RID"], "Snapshot": snapshot_of(row)} for row in (*made, *unfinished)]
    catalog.update(schema, MLTable.dataset_version.value, seen, columns=("Snapshot",))
    pointed = {str(row["Dataset"]): row for row in made}
    changed = pointed
    for _attempt in range(_RACES):
        pointers: list[Row] = [{"RID": rid, "Version": row["RID"]} for rid, row in changed.items()]
        catalog.update(schema, MLTable.dataset.value, pointers, columns=("Version",))
        now = read_versions(session, pointed, ("RID", "Dataset", "Version", "RCT"))
        highest = {rid: max(rows, key=number_of) for rid, rows in now.items() if rows}
        changed = {rid: row for rid, row in highest.items() if row["RID"] != pointed[rid]["RID"]}
        if not changed:
            break
        pointed = pointed | changed
    ours = {str(row["Dataset"]): moment_of(row) for row in made}
    return [rid for rid, row in pointed.items() if moment_of(row) < ours[rid]]


def advance(
    session: Session,
    rids: Iterable[str],
    following: Callable[[DatasetVersion], DatasetVersion],
    description: str = "",
    execution_rid: str | None = None,
) -> dict[str, DatasetVersion]:
    """Give some datasets their next versions, whatever others do meanwhile.

    Args:
        session: The catalog.
        rids: The datasets.
        following: The version that follows a dataset's current one; it must be a higher one.
        description: What changed.
        execution_rid: The execution that changed it, if one did.

    Returns:
        The new versions.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
    """
    session.require_writable()
    if session.catalog.takes_batches:
        return advance_together(session, rids, following, description, execution_rid)
    made: dict[str, DatasetVersion] = {}
    left = list(dict.fromkeys(rids))
    for attempt in range(_RACES):
        known = read_versions(session, left)
        numbers = {
            rid: following(max(map(number_of, rows))) if rows else INITIAL_VERSION for rid, rows in known.items()
        }
        try:
            rows = insert_versions(session, numbers, description, execution_rid)
        except DerivaMLCatalogError as error:
            if error.status != _CONFLICT:
                raise
            _explain(session, [rid for rid, found in known.items() if not found], execution_rid, error)
            time.sleep(_PAUSE * attempt)
            continue
        unfinished = [
            row for past in known.values() for row in past if not row["Snapshot"] and number_of(row).is_release
        ]
        made |= numbers
        left = publish(session, rows, unfinished)
        if not left:
            return made
    raise DerivaMLException(f"Dataset {left[0]} got no new version: others took {_RACES} numbers in a row.")


def _explain(session: Session, unnumbered: Sequence[str], execution_rid: str | None, error: Exception) -> None:
    """Tell a reference to nothing apart from a number that was taken.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLRidsNotFound: There is no such execution.
    """
    for rid in unnumbered:
        require_dataset(session, rid)
    if execution_rid is not None:
        require_execution(session, execution_rid, error)


def increment(
    session: Session,
    rid: str,
    component: VersionPart,
    description: str = "",
    execution_rid: str | None = None,
    *,
    changes: Changes | None = None,
) -> DatasetVersion:
    """Give a dataset, and every dataset connected with it by nesting, its next version.

    Args:
        session: The catalog.
        rid: The dataset.
        component: What to increment; each dataset counts from its own current version, and one that is in development
            gets its next development version.
        description: What changed.
        execution_rid: The execution that changed it, if one did.
        changes: What is changed; if it was not made before, it is made with the version.

    Returns:
        The new version of ``rid``.
    """
    session.require_writable()

    def following(now: DatasetVersion) -> DatasetVersion:
        return now.increment_version(component) if now.is_release else now.next_dev()

    if session.catalog.takes_batches:
        with all_or_nothing(changes, unless=DerivaMLUnreachable) if changes is not None else nullcontext():
            options: dict[str, Any] = {"changes": changes, "connected": True}
            return advance_together(session, [rid], following, description, execution_rid, **options)[rid]
    nesting = changes.nesting if changes is not None else None
    affected = (rid, *(nesting or read_nesting(session)).connected(rid))
    return advance(session, affected, following, description, execution_rid)[rid]
