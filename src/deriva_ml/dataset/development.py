"""Development versions of a dataset, their release, and what differs between two versions.

How they live together with releases is said at the head of :mod:`deriva_ml.dataset.versions`.
"""

from __future__ import annotations

from collections.abc import Mapping

from deriva_ml.core.exceptions import DerivaMLDataError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetVersion, VersionPart
from deriva_ml.dataset.clones import session_at
from deriva_ml.dataset.dataset_types import list_types
from deriva_ml.dataset.members import member_stamps
from deriva_ml.dataset.numbering import advance
from deriva_ml.dataset.reference import DatasetRef
from deriva_ml.dataset.versions import current, history

__all__ = ["VersionDiff", "compare_versions", "is_dirty", "mark_dev", "release", "release_diff"]

Rids = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What differs between two versions of a dataset; true if anything does.

    Members are those of the dataset and of all that are nested in it. Values of features are no part of the comparison.

    Attributes:
        dataset_rid: The dataset.
        before: The one version; None if it had none.
        after: The other version; None for the present.
        added: RIDs of the members that the second one has and the first one has not, by table.
        removed: RIDs of the members that the first one has and the second one has not, by table.
        changed: RIDs of members of both whose records were changed in between, by table.
        types_added: Types that the second one has and the first one has not.
        types_removed: Types that the first one has and the second one has not.
    """

    dataset_rid: str
    before: DatasetVersion | None
    after: DatasetVersion | None
    added: Rids
    removed: Rids
    changed: Rids
    types_added: tuple[str, ...] = ()
    types_removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.types_added or self.types_removed)


def mark_dev(dataset: DatasetRef, description: str = "", execution: str | None = None) -> DatasetVersion:
    """Give the dataset its next development version; until it is released, changes make such versions too.

    Args:
        dataset: The dataset.
        description: What is going to be changed.
        execution: The execution that changes it; by default the one that this object was made for.

    Returns:
        The development version, such as 1.2.1.dev1.
    """
    made = advance(
        dataset.session,
        [dataset.dataset_rid],
        DatasetVersion.next_dev,
        description or "In development.",
        execution or dataset.execution_rid,
    )
    return made[dataset.dataset_rid]


def release(
    dataset: DatasetRef,
    bump: VersionPart | str = VersionPart.minor,
    description: str = "",
    execution: str | None = None,
) -> DatasetVersion:
    """Make the present state of the dataset a release, and end its development.

    Args:
        dataset: The dataset.
        bump: The part of the last release's number to increment.
        description: What has changed since the last release.
        execution: The execution that releases it; by default the one that this object was made for.

    Returns:
        The release.
    """
    part = VersionPart(bump)
    made = advance(
        dataset.session,
        [dataset.dataset_rid],
        lambda now: now.increment_version(part),
        description or "Released.",
        execution or dataset.execution_rid,
    )
    return made[dataset.dataset_rid]


def is_dirty(dataset: DatasetRef) -> bool:
    """Whether the dataset is not as it was last released.

    That is so if it is in development, if it was never released, and if its members or types were changed and no
    version tells of it (who changed them has died, or is about to make the version).
    """
    known = history(dataset.session, dataset.dataset_rid)
    return not known or not current(known).is_release or bool(release_diff(dataset))


def release_diff(dataset: DatasetRef) -> VersionDiff:
    """What differs between the last release and the present; all of the present if there is no release.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
    """
    known = history(dataset.session, dataset.dataset_rid)
    released = [entry.dataset_version for entry in known if entry.dataset_version.is_release]
    return _compare(dataset, max(released, default=None), None)


def compare_versions(
    dataset: DatasetRef, a: DatasetVersion | str, b: DatasetVersion | str | None = None
) -> VersionDiff:
    """What differs between two versions.

    Args:
        dataset: The dataset.
        a: The one version.
        b: The other version; by default the present.

    Raises:
        DerivaMLVersionNotFound: The dataset has no such version; the error names those that it has.
    """
    return _compare(dataset, DatasetVersion.of(a), None if b is None else DatasetVersion.of(b))


def _compare(dataset: DatasetRef, before: DatasetVersion | None, after: DatasetVersion | None) -> VersionDiff:
    rid = dataset.dataset_rid
    if dataset.session.is_snapshot and after is None:
        raise DerivaMLDataError(
            f"What dataset {rid} is at present cannot be told from a snapshot of the catalog.",
            hint="name both versions, or connect to the catalog without a snapshot",
        )
    old, old_types = _state(dataset, before) if before is not None else ({}, [])
    new, new_types = _state(dataset, after)
    nothing: dict[str, str] = {}
    tables = list(dict.fromkeys((*old, *new)))
    pairs = {name: (old.get(name, nothing), new.get(name, nothing)) for name in tables}
    return VersionDiff(
        dataset_rid=rid,
        before=before,
        after=after,
        added=_listed({name: new.keys() - old.keys() for name, (old, new) in pairs.items()}),
        removed=_listed({name: old.keys() - new.keys() for name, (old, new) in pairs.items()}),
        changed=_listed(
            {
                name: {rid for rid in old.keys() & new.keys() if old[rid] != new[rid]}
                for name, (old, new) in pairs.items()
            }
        ),
        types_added=tuple(sorted(set(new_types) - set(old_types))),
        types_removed=tuple(sorted(set(old_types) - set(new_types))),
    )


def _listed(found: Mapping[str, set[str]]) -> Rids:
    return {name: tuple(sorted(rids)) for name, rids in found.items() if rids}


def _state(dataset: DatasetRef, version: DatasetVersion | None) -> tuple[dict[str, dict[str, str]], list[str]]:
    session = session_at(dataset.session, dataset.dataset_rid, version)
    return member_stamps(session, dataset.dataset_rid), list_types(session, dataset.dataset_rid)
