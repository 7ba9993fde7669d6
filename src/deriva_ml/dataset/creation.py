"""Making datasets: whole or not at all, several at once where they belong together.

1. Everything is checked before anything is written: types are terms, members exist and may be members.
2. Rows of datasets, their links, types and members come first; the versions come last, all at one moment. So the first
   version of a dataset that is made with members shows them.
3. Where the service takes several requests in one, all of it is one transaction. Elsewhere, if a step fails, what was
   made before is deleted again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial

from deriva_ml.catalog.drafts import Draft
from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLCatalogError
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.announcing import version_members
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.changes import Changes, all_or_nothing
from deriva_ml.dataset.dataset_types import insert_types
from deriva_ml.dataset.members import by_element, link
from deriva_ml.dataset.numbering import insert_versions, publish
from deriva_ml.dataset.versions import INITIAL_VERSION, require_execution
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json

__all__ = ["FIRST", "NewDataset", "create_datasets"]

FIRST = "Initial dataset creation."
"""What the first version of a dataset says."""


_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class NewDataset:
    """A dataset that is to be made.

    Attributes:
        description: What it holds.
        types: Its types, names or synonyms of terms of ``Dataset_Type``.
        version: Its first version.
        members: Its members, RIDs by table; they are believed to exist.
        children: Positions of the datasets in it among those that are made with it and before it.
        rid: The RID that it shall have; by default the catalog's next one.
    """

    description: str = ""
    types: Sequence[str] = ()
    version: DatasetVersion = INITIAL_VERSION
    members: Mapping[str, Sequence[str]] = field(default_factory=dict)
    children: Sequence[int] = ()
    rid: str | None = None


def create_datasets(
    session: Session, wanted: Sequence[NewDataset], execution_rid: str | None, reason: str = FIRST
) -> list[str]:
    """Make datasets, each with one version; in a number of requests that does not grow with them.

    Args:
        session: The catalog.
        wanted: The datasets.
        execution_rid: The execution that makes them, recorded as their producer; None if none does.
        reason: What the versions say.

    Returns:
        Their RIDs, in order.

    Raises:
        DerivaMLInvalidTerm: A type is not in the vocabulary; nothing was written then.
        DerivaMLRidsNotFound: There is no such execution, or a member does not exist.
        DerivaMLTableTypeError: Rows of a table cannot be members.
    """
    session.require_writable()
    types = _terms(session, wanted)
    nested = f"{session.ml_schema}:{MLTable.dataset.value}"
    elements = by_element(session, {name: None for each in wanted for name in (*each.members, nested)})
    changes = Changes(session, Draft() if session.catalog.takes_batches else None)
    with all_or_nothing(changes):
        rids = _rows(session, wanted, changes)
        if execution_rid is not None:
            _link(session, rids, execution_rid, changes)
        insert_types(session, dict(zip(rids, types, strict=True)), changes, new=True)
        for name, element in elements.items():
            link(session, element, list(_pairs(name, name == nested, rids, wanted)), changes, new=True)
        numbers = {rid: each.version for rid, each in zip(rids, wanted, strict=True)}
        if changes.draft is not None:
            _make(session, numbers, reason, execution_rid, changes)
            return rids
        versions = insert_versions(session, numbers, reason, execution_rid)
    publish(session, versions)
    return rids


def _make(
    session: Session,
    numbers: Mapping[str, DatasetVersion],
    reason: str,
    execution_rid: str | None,
    changes: Changes,
) -> None:
    """Make everything that was kept for it, with the versions, in one transaction."""
    members = changes.members()
    members += version_members(session, numbers, reason, execution_rid, after=len(members))
    try:
        session.catalog.several.change(members)
    except DerivaMLCatalogError as error:
        if error.status == _CONFLICT:
            changes.explain(error)
        raise
    changes.made()


def _pairs(name: str, is_nested: bool, rids: Sequence[str], wanted: Sequence[NewDataset]) -> Iterator[tuple[str, str]]:
    """The links of new datasets with their members of one table."""
    for rid, each in zip(rids, wanted, strict=True):
        yield from ((rid, member) for member in each.members.get(name, ()))
        if is_nested:
            yield from ((rid, rids[child]) for child in each.children)


def _terms(session: Session, wanted: Sequence[NewDataset]) -> list[list[str]]:
    """The preferred names of the types of each dataset."""
    given = list(dict.fromkeys(name for each in wanted for name in each.types))
    names = dict(zip(given, check_terms(session, MLVocab.dataset_type.value, given), strict=True)) if given else {}
    return [[names[name] for name in each.types] for each in wanted]


def _rows(session: Session, wanted: Sequence[NewDataset], changes: Changes) -> list[str]:
    """Store the rows of the datasets themselves."""
    name = MLTable.dataset.value
    chosen = [each.rid for each in wanted]
    if not any(chosen) and changes.draft is None:
        rows: list[dict[str, Json]] = [{"Description": each.description, "Deleted": False} for each in wanted]
        made = changes.insert(session.ml_schema, name, rows, _as_it_is, skip=False)
    else:
        # What goes in one request with its links must have its RID before.
        left = iter(session.catalog.lease_rids(chosen.count(None)) if None in chosen else ())
        rows = [{"RID": each.rid or next(left), "Description": each.description, "Deleted": False} for each in wanted]
        made = changes.insert(session.ml_schema, name, rows, _as_it_is, nondefaults=("RID",), skip=False)
    return [str(row["RID"]) for row in made]


def _as_it_is(error: DerivaMLCatalogError) -> None:
    """There is nothing better to say."""
    del error


def _link(session: Session, rids: Sequence[str], execution_rid: str, changes: Changes) -> None:
    """Store which execution makes the datasets."""
    links: list[dict[str, Json]] = [{"Dataset": rid, "Execution": execution_rid} for rid in rids]
    explain = partial(require_execution, session, execution_rid)
    changes.insert(session.ml_schema, MLTable.dataset_execution.value, links, explain, skip=False)
