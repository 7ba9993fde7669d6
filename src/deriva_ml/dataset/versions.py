"""Versions of datasets: how they are kept, and the history. :mod:`deriva_ml.dataset.numbering` makes the next one.

1. A version is complete with one row: its number, and as its moment the row's creation time, which is the catalog's
   snaptime of the very transaction that wrote it. What was committed before that belongs to the version, and what the
   transaction itself changed; what anyone commits afterwards does not, even if it comes before our next request.
2. The columns ``Dataset_Version.Snapshot`` and ``Dataset.Version`` repeat this for readers that look there.
3. Numbers are unique per dataset by a key of the catalog, and the newest version has the highest number.

Where the service takes several requests in one, what is changed, the rows, and what repeats them, of all datasets
concerned, are one transaction (:mod:`deriva_ml.dataset.announcing`). Elsewhere they are several, one after the other:

4. ``Snapshot`` and the pointer are written by the two requests that follow the row. If the process dies in between, a
   version whose ``Snapshot`` is empty is read by rule 1, and the current version of a dataset is the highest in its
   history: nothing is lost, and the next version of the dataset fills both in. The snapshot of such a version shows the
   version's row without its own ``Snapshot``, as that is written later.
5. Who loses a race for a number reads the history again and takes the next one. Who finds, having written, that another
   had taken a higher number before (a major version beside a minor one), takes one more: else what he changed would be
   in no current version.
6. Having written the pointer, the writer reads the history once more, and writes again if the highest number is another
   by then. So whoever writes last has seen the last version, and leaves the pointer at it.
7. Changed members and the version that announces them are two transactions: a process that dies in between leaves
   members that the next version will show. ``Dataset.is_dirty`` tells of them.

How releases (``X.Y.Z``) and development versions (``X.Y.Z.devN``) live together:

- A dataset is in development while the highest entry of its history is a development version: from ``mark_dev`` on,
  until ``release``. Whatever changes it meanwhile gives it the next development version, and it gets no release
  otherwise, also if a neighbour does. A dataset that is not in development gets a release for each change.
- ``mark_dev`` and ``release`` change nothing that is in the dataset, so they number that dataset alone; a change takes
  all along that are connected by nesting, each in its own way.
- A development version is named for the patch that follows the last release, so that every release, of whatever part,
  comes after it.
- Each is a row like any other: it has its moment, its members can be listed, and its bag is the same bytes for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from deriva_ml.core.codes import encode
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import (
    DerivaMLDatasetNotFound,
    DerivaMLRidsNotFound,
    DerivaMLVersionNotFound,
)
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Json

__all__ = [
    "INITIAL_VERSION",
    "by_dataset",
    "current",
    "entries",
    "entry_of",
    "find_version",
    "histories",
    "history",
    "moment_of",
    "not_a_dataset",
    "number_of",
    "read_versions",
    "require_dataset",
    "require_execution",
    "snapshot_of",
]

INITIAL_VERSION = DatasetVersion(0, 1, 0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


Row = Mapping[str, Json]


def moment_of(row: Row) -> datetime:
    """When a row was written."""
    created = datetime.fromisoformat(str(row["RCT"]))
    return created.replace(tzinfo=UTC) if created.tzinfo is None else created


def snapshot_of(row: Row) -> str:
    """The snapshot that shows a version: the recorded one, or the moment in which the version's row was written."""
    recorded = row.get("Snapshot")
    return str(recorded) if recorded else encode((moment_of(row) - _EPOCH) // _MICROSECOND)


def entry_of(row: Row) -> DatasetHistory:
    """The entry of the history that a row of ``Dataset_Version`` describes."""

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


def entries(rows: Iterable[Row]) -> list[DatasetHistory]:
    """The versions that rows of ``Dataset_Version`` describe, the oldest number first.

    Rows of other software whose number is of another form (such as ``1.2.0rc1``) are left out: they cannot be named as
    an input.
    """
    return sorted((entry_of(row) for row in rows if _is_number(row)), key=lambda entry: entry.dataset_version)


def _is_number(row: Row) -> bool:
    try:
        DatasetVersion.parse(str(row["Version"]))
    except ValueError:
        return False
    return True


def current(entries: Iterable[DatasetHistory]) -> DatasetVersion:
    """The highest version; 0.1.0 if there is none."""
    return max((entry.dataset_version for entry in entries), default=INITIAL_VERSION)


def read_versions(session: Session, rids: Iterable[str], columns: Sequence[str] | None = None) -> dict[str, list[Row]]:
    """The rows of the versions of some datasets, however many, by dataset."""
    wanted = list(dict.fromkeys(rids))
    name = MLTable.dataset_version.value
    return by_dataset(wanted, session.catalog.rows_by(session.ml_schema, name, "Dataset", wanted, columns=columns))


def by_dataset(rids: Iterable[str], rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of versions of some datasets, by dataset; those of other software's numbers are left out."""
    found: dict[str, list[Row]] = {rid: [] for rid in rids}
    for row in rows:
        if _is_number(row):
            found[str(row["Dataset"])].append(row)
    return found


def number_of(row: Row) -> DatasetVersion:
    """The number of a version."""
    return DatasetVersion.parse(str(row["Version"]))


def histories(session: Session, rids: Iterable[str]) -> dict[str, list[DatasetHistory]]:
    """The versions of many datasets, the oldest first; in a number of requests that does not grow with them."""
    return {rid: entries(rows) for rid, rows in read_versions(session, rids).items()}


def history(session: Session, rid: str) -> list[DatasetHistory]:
    """The versions of a dataset, the oldest first.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset; the error says what the RID names instead.
    """
    found = histories(session, [rid])[rid]
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


def require_execution(session: Session, execution_rid: str, error: Exception | None = None) -> None:
    """Refuse an execution that does not exist.

    Raises:
        DerivaMLRidsNotFound: There is none.
    """
    name = MLTable.execution.value
    if not session.catalog.rows_by(session.ml_schema, name, "RID", [execution_rid], columns=["RID"]):
        raise DerivaMLRidsNotFound(
            [execution_rid], source="execution of the new version", hint="name a run of this catalog, or none"
        ) from error
