"""Changes of datasets and the versions that tell of them, in one transaction, where the service takes that.

1. The batch has the changes, the versions' rows, the pointers of the datasets, and what they rest on: the history and
   the nesting must be as they were read (``expect``). If others were quicker (412), they are read again.
2. So a number is never taken, a higher one is never there before ours, nobody connected is left out, and no circle of
   datasets comes to be: there is nothing to be looked at afterwards.
3. ``Snapshot`` is filled in by the service: it is the moment of the transaction, and so the row's own time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deriva_ml.catalog.exchange import json_body
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLCycleError, DerivaMLException
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.changes import Changes
from deriva_ml.dataset.nesting import Nesting
from deriva_ml.dataset.versions import (
    INITIAL_VERSION,
    Row,
    by_dataset,
    number_of,
    require_dataset,
    require_execution,
    snapshot_of,
)
from deriva_ml.schema.session import Session
from deriva_ml.wire import targets
from deriva_ml.wire.batch import SNAPTIME, Member
from deriva_ml.wire.http import Response
from deriva_ml.wire.path import Path, any_of, cnt, max_, table

__all__ = ["advance_together", "version_members"]

_RACES = 100
_PAUSE = 0.002
"""Seconds to wait after the first lost race; twice as many after the second, and so on."""
_CONFLICT, _CHANGED = 409, 412
_PART = 500
"""Versions in one member of a batch."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read, and how it is seen that it still holds.

    Attributes:
        guard: A member that is refused if it does not.
        rows: What was read.
    """

    guard: Member
    rows: Sequence[Row]


def advance_together(
    session: Session,
    rids: Iterable[str],
    following: Callable[[DatasetVersion], DatasetVersion],
    description: str = "",
    execution_rid: str | None = None,
    *,
    changes: Changes | None = None,
    connected: bool = False,
) -> dict[str, DatasetVersion]:
    """Make changes, and give the datasets that they concern their next versions.

    Args:
        session: The catalog.
        rids: The datasets; with ``connected``, the one that is changed.
        following: The version that follows a dataset's current one; it must be a higher one.
        description: What changed.
        execution_rid: The execution that changed it, if one did.
        changes: What else is to be done.
        connected: All that are connected with the dataset by nesting get versions too.

    Returns:
        The new versions.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLRidsNotFound: There is no such execution, or a new member does not exist.
        DerivaMLCycleError: A dataset would come to hold itself.
    """
    pending = changes.members() if changes is not None else []
    named = tuple(dict.fromkeys(rids))
    for attempt in range(_RACES):
        guards: list[Member] = []
        affected = named
        if connected:
            guard, affected = _connected(session, named[0], changes)
            guards.append(guard)
        versions = _versions(session, affected)
        known = by_dataset(affected, versions.rows)
        numbers = {
            rid: following(max(map(number_of, rows))) if rows else INITIAL_VERSION for rid, rows in known.items()
        }
        members = [*guards, versions.guard, *pending]
        members += version_members(session, numbers, description, execution_rid, known=known, after=len(members))
        try:
            session.catalog.several.change(members)
        except DerivaMLCatalogError as error:
            if error.status == _CONFLICT:
                _explain(session, changes, [rid for rid, rows in known.items() if not rows], execution_rid, error)
            if error.status != _CHANGED:
                raise
            time.sleep(_PAUSE * attempt)
        else:
            if changes is not None:
                changes.made()
            return numbers
    raise DerivaMLException(f"Dataset {named[0]} got no new version: others were quicker {_RACES} times in a row.")


def _explain(
    session: Session, changes: Changes | None, unnumbered: Sequence[str], execution_rid: str | None, error: Exception
) -> None:
    """Say what a refused batch refers to that is not there, if that is why."""
    if changes is not None and isinstance(error, DerivaMLCatalogError):
        changes.explain(error)
    for rid in unnumbered:
        require_dataset(session, rid)
    if execution_rid is not None:
        require_execution(session, execution_rid, error)


def version_members(
    session: Session,
    numbers: Mapping[str, DatasetVersion],
    description: str,
    execution_rid: str | None,
    *,
    known: Mapping[str, Sequence[Row]] | None = None,
    after: int,
) -> list[Member]:
    """What gives datasets new versions, as members of a batch: the rows, the pointers to them.

    Args:
        session: The catalog.
        numbers: The new number of each dataset.
        description: What changed.
        execution_rid: The execution that changed it, if one did.
        known: The rows of their histories; a snapshot that its writer died before noting is noted now.
        after: How many members come before these.
    """
    schema, name = session.ml_schema, MLTable.dataset_version.value
    found: list[Member] = []
    rids = list(numbers)
    for start in range(0, len(rids), _PART):
        part = rids[start : start + _PART]
        rows: list[dict[str, Any]] = [
            {
                "Dataset": rid,
                "Version": str(numbers[rid]),
                "Description": description,
                "Execution": execution_rid,
                "Snapshot": None,
            }
            for rid in part
        ]
        [row, *_more] = session.catalog.insertions(schema, name, rows)
        place = after + len(found)
        found.append(replace(row, body=_text(rows), fill={"Snapshot": SNAPTIME}))
        pointers = targets.update(schema, MLTable.dataset.value, ("RID",), ("Version",))
        body = _text([{"RID": rid, "Version": None} for rid in part])
        found.append(Member("PUT", pointers, body=body, fill={"Version": (place, "RID")}))
    unfinished = [
        {"RID": row["RID"], "Snapshot": snapshot_of(row)}
        for rows_ in (known or {}).values()
        for row in rows_
        if not row["Snapshot"] and number_of(row).is_release
    ]
    if unfinished:
        found.append(Member("PUT", targets.update(schema, name, ("RID",), ("Snapshot",)), body=_text(unfinished)))
    return found


def _text(rows: Sequence[Row]) -> str:
    return json_body(list(rows)).decode()


def _guarded(path: Path, answer: Any) -> Member:
    """A member that is refused once a row of a path has come, gone or changed."""
    return replace(_state(path), expect=answer)


def _state(path: Path) -> Member:
    return Member("GET", path.aggregate(count=cnt("RID"), last=max_("RMT")), accept="application/json")


def _versions(session: Session, rids: Sequence[str]) -> _Known:
    path = table(session.ml_schema, MLTable.dataset_version.value).where(any_of("Dataset", rids))
    state, rows = session.catalog.batch_rows([_state(path).target, path.entity()])
    return _Known(_guarded(path, state), rows)


def _connected(session: Session, rid: str, changes: Changes | None) -> tuple[Member, tuple[str, ...]]:
    """A dataset and all that are connected with it, before the changes or after them.

    Raises:
        DerivaMLCycleError: The changes close a circle.
    """
    name = (session.ml_schema, MLTable.dataset_dataset.value)
    path = table(*name)
    pairs = Member("GET", path.attributes("Dataset", "Nested_Dataset"), accept="application/json")
    pending = changes.members([name]) if changes is not None else []
    if pending:
        answers = session.catalog.several.change([_state(path), pairs, *pending, pairs], commit=False)
        state, before, after = (_document(answers[place]) for place in (0, 1, -1))
    else:
        state, before = session.catalog.batch_rows([_state(path).target, pairs.target])
        after = before
    nesting = _nesting(after)
    if pending and (cycle := nesting.cycle_with(rid, nesting.children(rid))) is not None:
        raise DerivaMLCycleError(cycle, "Creating cycle of datasets is not allowed")
    # What is taken out of a dataset is still told of it.
    return _guarded(path, state), (rid, *_nesting([*before, *after]).connected(rid))


def _document(answer: Response) -> list[Any]:
    return list(json.loads(answer.read()))


def _nesting(pairs: Iterable[Row]) -> Nesting:
    return Nesting.of((str(row["Dataset"]), str(row["Nested_Dataset"])) for row in pairs)
