"""Versions whose moment is not in the catalog's own past, and making them anew.

A version is a moment of the catalog's past. Software that makes a catalog from the rows of another one, such as the
``deriva`` package's own clone, brings the rows of ``Dataset_Version`` and no past: their snapshots are moments of the
source, and what a dataset was then is known there alone. The same happens where a catalog's history was truncated.

Such a version is refused, never read from the present: its number stands for content that nobody can vouch for here.
What is here now gets a version of its own, with a number of its own, whose description names the version that it
follows and that version's moment. Records of runs that consumed the older versions stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deriva_ml.core import codes
from deriva_ml.core.config import place_flags
from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLNotFoundError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion, VersionPart
from deriva_ml.dataset.numbering import advance
from deriva_ml.dataset.versions import entries, find_version
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.wire.path import table

__all__ = [
    "Renewed",
    "at_version",
    "first_moment",
    "not_shown",
    "reinitialize_dataset_versions",
    "session_at",
    "unshown",
]


@dataclass(frozen=True)
class Renewed:
    """A dataset that got a version of its own.

    Attributes:
        dataset_rid: The dataset.
        before: The current version before, whose moment is not in this catalog.
        snapshot: That moment.
        after: The version that shows what is here.
    """

    dataset_rid: str
    before: DatasetVersion
    snapshot: str
    after: DatasetVersion


def at_version(session: Session, entry: DatasetHistory, *, source: str | None = None) -> Session:
    """The session as of a version's moment.

    Args:
        session: The catalog.
        entry: The version.
        source: Where it was named, for errors.

    Raises:
        DerivaMLNotFoundError: The moment is not in the catalog's past, or the dataset was not there then.
    """
    if entry.dataset_rid not in _shown(session, str(entry.snapshot), [entry.dataset_rid]):
        raise _not_shown(session, entry, source)
    return session.snapshot(str(entry.snapshot))


def session_at(session: Session, rid: str, version: DatasetVersion | str | None) -> Session:
    """The session as of a version of a dataset; as it is if none is named.

    Raises:
        DerivaMLVersionNotFound: The dataset has no such version.
        DerivaMLNotFoundError: The version's moment is not in the catalog's past.
    """
    if version is None:
        return session
    return at_version(session, find_version(session, rid, DatasetVersion.of(version)))


def not_shown(
    session: Session, entry: DatasetHistory, first: int, *, source: str | None = None
) -> DerivaMLNotFoundError | None:
    """What to say of a version from before the catalog's first moment; None of any other.

    Args:
        session: The catalog.
        entry: The version.
        first: The first moment of the catalog that is known (`first_moment`).
        source: Where it was named.
    """
    return _not_shown(session, entry, source) if _moment(entry) < first else None


def unshown(session: Session, named: Mapping[str, DatasetHistory]) -> dict[str, DerivaMLNotFoundError]:
    """The errors of versions from before the catalog's first moment, by where each was named; in one request.

    Args:
        session: The catalog.
        named: The versions, by where each was named.
    """
    if not named:
        return {}
    first = first_moment(session)
    told = {source: not_shown(session, entry, first, source=source) for source, entry in named.items()}
    return {source: error for source, error in told.items() if error is not None}


def reinitialize_dataset_versions(catalog: HasSession | Session, origin: str | None = None) -> list[Renewed]:
    """Give every dataset whose current version this catalog cannot show a new one, of what is here now.

    All of them get their next patch version, at one moment. Datasets whose current version can be shown are left alone,
    so it can be repeated.

    Args:
        catalog: The catalog: a ``DerivaML`` or its session.
        origin: Where the rows came from, for the versions' descriptions.

    Returns:
        The datasets that got a new version, in the order of their RIDs.
    """
    session = session_of(catalog)
    session.require_writable()
    lost = _not_here(session)
    numbers = advance(session, lost, _next, _description(origin)) if lost else {}
    return [
        Renewed(rid, entry.dataset_version, str(entry.snapshot), numbers[rid]) for rid, entry in sorted(lost.items())
    ]


def _next(version: DatasetVersion) -> DatasetVersion:
    return version.increment_version(VersionPart.patch) if version.is_release else version.next_dev()


def _description(origin: str | None) -> str:
    whence = f", which came from {origin}" if origin else ""
    return f"Made anew of what is in this catalog{whence}; earlier versions name moments that are not in its past."


def _not_here(session: Session) -> dict[str, DatasetHistory]:
    """The current versions, by dataset, that the catalog cannot show."""
    rows = session.catalog.rows(table(session.ml_schema, MLTable.dataset_version.value))
    current = {entry.dataset_rid: entry for entry in entries(rows)}  # the highest number comes last
    first = first_moment(session)
    moments: dict[str, list[str]] = {}
    for rid, entry in current.items():
        if _moment(entry) >= first:
            moments.setdefault(str(entry.snapshot), []).append(rid)
    here = {rid for moment, rids in moments.items() for rid in _shown(session, moment, rids)}
    return {rid: entry for rid, entry in current.items() if rid not in here}


def _shown(session: Session, moment: str, rids: Iterable[str]) -> set[str]:
    """Those of some datasets that the catalog had at a moment; none if it is not in its past."""
    past = session.snapshot(moment).catalog
    try:
        rows = past.rows_by(session.ml_schema, MLTable.dataset.value, "RID", rids, columns=["RID"])
    except DerivaMLCatalogError as error:
        if error.status not in {400, 404, 409}:  # no moment at all; none that is known; no such table then
            raise
        return set()
    return {str(row["RID"]) for row in rows}


def _moment(entry: DatasetHistory) -> int:
    """A version's moment in microseconds; -1 for text of other software that is none."""
    try:
        return codes.decode(str(entry.snapshot))
    except ValueError:
        return -1


def first_moment(session: Session) -> int:
    """The first moment of the catalog that is known, in microseconds; 0 where the service does not say."""
    try:
        known = session.catalog.get("/history/,")
    except DerivaMLCatalogError as error:
        if error.status not in {403, 404, 405, 501}:
            raise
        return 0
    return codes.decode(str(known["snaprange"][0]))


def _not_shown(session: Session, entry: DatasetHistory, source: str | None) -> DerivaMLNotFoundError:
    command = f"deriva-ml-catalog renew-versions{place_flags(session.place.hostname, session.catalog_id)}"
    return DerivaMLNotFoundError(
        f"Version {entry.dataset_version} of dataset {entry.dataset_rid} names the moment {entry.snapshot}, which is "
        "not in this catalog's past.",
        source=source,
        hint="its rows were brought from another catalog, or the history was truncated: name a later version, which "
        f"{command} makes of what is here now; or use the catalog that they came from, or a copy of it by "
        "deriva-ml-catalog copy, which brings all versions",
    )
