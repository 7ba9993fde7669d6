"""Versions of datasets: the history, and making the next one.

1. A version is complete with one row: its number, and as its moment the row's creation time, which is the catalog's
   snaptime of the very transaction that wrote it. What was committed before that belongs to the version; what anyone
   commits afterwards does not, even if it comes before our next request.
2. The columns ``Dataset_Version.Snapshot`` and ``Dataset.Version`` repeat this for readers that look there. They are
   written by the two requests that follow the row. If the process dies in between, a version whose ``Snapshot`` is
   empty is read by rule 1, and the current version of a dataset is the highest in its history: nothing is lost.
3. The snapshot of a version shows the version's row without its own ``Snapshot``, as that is written later.
4. Numbers are unique per dataset by a key of the catalog. Who loses a race for a number reads the history again and
   takes the next one.
5. Changed members and the version that announces them are two transactions: a process that dies in between leaves
   members that the next version will show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from deriva_ml.core.codes import encode
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLDatasetNotFound,
    DerivaMLException,
    DerivaMLVersionNotFound,
)
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion, VersionPart
from deriva_ml.dataset.nesting import Nesting, read_nesting
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Json

__all__ = [
    "INITIAL_VERSION",
    "add_versions",
    "current",
    "entries",
    "find_version",
    "history",
    "increment",
    "snapshot_of",
]

INITIAL_VERSION = DatasetVersion(0, 1, 0)
_RACES = 8
"""How often a lost race for a version number is run again."""
_CONFLICT = 409
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def snapshot_of(row: Mapping[str, Json]) -> str:
    """The snapshot that shows a version: the recorded one, or the moment in which the version's row was written."""
    recorded = row.get("Snapshot")
    if recorded:
        return str(recorded)
    created = datetime.fromisoformat(str(row["RCT"]))
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return encode((created - _EPOCH) // _MICROSECOND)


def _entry(row: Mapping[str, Json]) -> DatasetHistory:
    def text(column: str) -> str | None:
        value = row.get(column)
        return None if value is None else str(value)

    return DatasetHistory(
        dataset_version=DatasetVersion.parse(str(row["Version"])),
        dataset_rid=str(row["Dataset"]),
        version_rid=str(row["RID"]),
        execution_rid=text("Execution"),
        description=text("Description") or "",
        minid=text("Minid"),
        spec_hash=text("Minid_Spec_Hash"),
        snapshot=snapshot_of(row),
    )


def entries(rows: Iterable[Mapping[str, Json]]) -> list[DatasetHistory]:
    """The versions that rows of ``Dataset_Version`` describe, the oldest number first.

    Rows of other software whose number is not of the form X.Y.Z (such as ``1.2.0.dev3``) are left out: they cannot be
    named as an input.
    """
    return sorted((_entry(row) for row in rows if _is_number(row)), key=lambda entry: entry.dataset_version)


def _is_number(row: Mapping[str, Json]) -> bool:
    try:
        DatasetVersion.parse(str(row["Version"]))
    except ValueError:
        return False
    return True


def current(entries: Iterable[DatasetHistory]) -> DatasetVersion:
    """The highest version; 0.1.0 if there is none."""
    return max((entry.dataset_version for entry in entries), default=INITIAL_VERSION)


def _read(session: Session, rids: Sequence[str]) -> dict[str, list[DatasetHistory]]:
    found: dict[str, list[DatasetHistory]] = {rid: [] for rid in rids}
    rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset_version.value, "Dataset", list(rids))
    for entry in entries(rows):
        found[entry.dataset_rid].append(entry)
    return found


def history(session: Session, rid: str) -> list[DatasetHistory]:
    """The versions of a dataset, the oldest first.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset; the error says what the RID names instead.
    """
    found = _read(session, [rid])[rid]
    if not found:
        require_dataset(session, rid)
    return found


def require_dataset(session: Session, rid: str) -> Mapping[str, Json]:
    """The row of a dataset.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset; the error says what the RID names instead.
    """
    rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", [rid])
    if rows:
        return rows[0]
    raise not_a_dataset(session, rid)


def not_a_dataset(session: Session, rid: str) -> DerivaMLDatasetNotFound:
    """The error for a RID that names no dataset; it says what the RID names, if anything."""
    where = session.catalog.resolve_rids([rid]).get(rid)
    if where is None:
        return DerivaMLDatasetNotFound(rid, hint=f"catalog {session.catalog_id} has no record with this RID")
    return DerivaMLDatasetNotFound(
        rid,
        f"Not a dataset, but a record of table {where[0]}:{where[1]}",
        hint="name a dataset; a single file is an asset input",
    )


def find_version(session: Session, rid: str, version: DatasetVersion, *, source: str | None = None) -> DatasetHistory:
    """The history's entry for one version.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLVersionNotFound: The dataset has no such version; the error names those that it has.
    """
    known = history(session, rid)
    for entry in known:
        if entry.dataset_version == version:
            return entry
    numbers = [str(entry.dataset_version) for entry in reversed(known)]
    raise DerivaMLVersionNotFound(rid, str(version), numbers, source=source)


def add_versions(
    session: Session, numbers: Mapping[str, DatasetVersion], description: str, execution_rid: str | None
) -> list[DatasetHistory]:
    """Record one new version for each of some datasets, all at the same moment.

    Args:
        session: The catalog.
        numbers: The new number of each dataset.
        description: What changed.
        execution_rid: The execution that changed it, if one did.

    Raises:
        DerivaMLCatalogError: A number is taken (409); nothing was written then.
    """
    wanted: list[dict[str, Json]] = [
        {"Dataset": rid, "Version": str(number), "Description": description, "Execution": execution_rid}
        for rid, number in numbers.items()
    ]
    if not wanted:
        return []
    rows = session.catalog.insert(session.ml_schema, MLTable.dataset_version.value, wanted)
    catalog, schema = session.catalog, session.ml_schema
    seen: list[dict[str, Json]] = [{"RID": row["RID"], "Snapshot": snapshot_of(row)} for row in rows]
    catalog.update(schema, MLTable.dataset_version.value, seen, columns=("Snapshot",))
    pointers: list[dict[str, Json]] = [{"RID": row["Dataset"], "Version": row["RID"]} for row in rows]
    catalog.update(schema, MLTable.dataset.value, pointers, columns=("Version",))
    return [_entry(row) for row in rows]


def increment(
    session: Session,
    rid: str,
    component: VersionPart,
    description: str = "",
    execution_rid: str | None = None,
    *,
    nesting: Nesting | None = None,
) -> DatasetVersion:
    """Give a dataset, and every dataset connected with it by nesting, its next version.

    Args:
        session: The catalog.
        rid: The dataset.
        component: What to increment; each dataset counts from its own current version.
        description: What changed.
        execution_rid: The execution that changed it, if one did.
        nesting: The graph of datasets, if it is known.

    Returns:
        The new version of ``rid``.
    """
    session.require_writable()
    affected = (rid, *(nesting or read_nesting(session)).connected(rid))
    for attempt in range(_RACES):
        known = _read(session, affected)
        numbers = {
            dataset: current(past).increment_version(component) if past else INITIAL_VERSION
            for dataset, past in known.items()
        }
        try:
            add_versions(session, numbers, description, execution_rid)
        except DerivaMLCatalogError as error:
            if error.status != _CONFLICT or attempt == _RACES - 1:
                raise
            if not known[rid]:
                require_dataset(session, rid)
        else:
            return numbers[rid]
    raise DerivaMLException(f"Dataset {rid} got no new version: others took {_RACES} numbers in a row.")
