"""Datasets, assets and kinds of work that configurations name, looked up in a catalog.

The number of requests depends on the number of tables alone, not on how many things are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from deriva_ml.asset.tables import asset_tables
from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.ermrest import RID_PATTERN
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetVersion
from deriva_ml.dataset.clones import unshown
from deriva_ml.dataset.versions import histories
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import list_vocabulary_terms

__all__ = ["Named", "Wrong", "wrong_references", "wrong_terms"]

LOOKED_UP = 10
"""Of so many RIDs that are of no dataset and no asset it is found out what they are; each takes a request."""


@dataclass(frozen=True, order=True)
class Named:
    """A dataset in a version, or an asset."""

    kind: str
    rid: str
    version: str = ""


@dataclass(frozen=True)
class Wrong:
    """What is wrong with something that is named."""

    message: str
    allowed: tuple[str, ...] = ()
    hint: str | None = None


def wrong_references(session: Session, named: Iterable[Named]) -> dict[Named, Wrong]:
    """Which datasets and assets a run could not take, and why.

    Args:
        session: The catalog.
        named: What is named.
    """
    all_named = sorted(set(named))
    wrong = {
        each: Wrong(f"{each.rid!r} is not a RID, such as 1-ABCD.")
        for each in all_named
        if not re.match(RID_PATTERN, each.rid)
    }
    datasets = [each for each in all_named if each.kind == "dataset" and each not in wrong]
    assets = [each for each in all_named if each.kind == "asset" and each not in wrong]
    rows = _datasets(session, datasets) if datasets else {}
    tables = _asset_places(session, {each.rid for each in assets})
    known = dict.fromkeys(rows, f"{session.ml_schema}:{MLTable.dataset}") | tables
    wanted = [each.rid for each in datasets if each.rid not in rows] + [each.rid for each in assets]
    left = [rid for rid in dict.fromkeys(wanted) if rid not in known]
    known |= {rid: ":".join(place) for rid, place in session.catalog.resolve_rids(left[:LOOKED_UP]).items()}
    wrong |= {each: _not_dataset(each, known) for each in datasets if each.rid not in rows}
    wrong |= {each: _not_asset(each, known) for each in assets if each.rid not in tables}
    return wrong | _wrong_versions(session, [each for each in datasets if each.rid in rows], rows)


def _datasets(session: Session, named: Sequence[Named]) -> dict[str, bool]:
    """Whether each dataset that there is was deleted."""
    rids = [each.rid for each in named]
    found = session.catalog.rows_by(session.ml_schema, str(MLTable.dataset), "RID", rids, columns=["RID", "Deleted"])
    return {str(row["RID"]): bool(row["Deleted"]) for row in found}


def _asset_places(session: Session, rids: set[str]) -> dict[str, str]:
    """The tables of assets."""
    found: dict[str, str] = {}
    for table in reversed(asset_tables(session)):  # what runs made first
        left = rids - set(found)
        if left:
            rows = session.catalog.rows_by(table.schema, table.name, "RID", sorted(left), columns=["RID"])
            found |= {str(row["RID"]): f"{table.schema}:{table.name}" for row in rows}
    return found


def _not_dataset(each: Named, known: dict[str, str]) -> Wrong:
    if each.rid not in known:
        return Wrong(f"There is no dataset {each.rid}.", hint="check the RID against the catalog")
    return Wrong(
        f"{each.rid} is not a dataset, but a record of {known[each.rid]}.", hint="single files belong into assets"
    )


def _not_asset(each: Named, known: dict[str, str]) -> Wrong:
    if each.rid not in known:
        return Wrong(f"There is no asset {each.rid}.", hint="check the RID against the catalog")
    is_dataset = known[each.rid].endswith(f":{MLTable.dataset}")
    return Wrong(
        f"{each.rid} is not an asset, but a record of {known[each.rid]}.",
        hint="a dataset belongs into datasets, with a version" if is_dataset else "name a record of an asset table",
    )


def _wrong_versions(session: Session, named: Sequence[Named], deleted: dict[str, bool]) -> dict[Named, Wrong]:
    wrong = {each: Wrong(f"Dataset {each.rid} was deleted.") for each in named if deleted[each.rid]}
    versioned = [each for each in named if each.version and each not in wrong]
    past = histories(session, [each.rid for each in versioned]) if versioned else {}
    found: dict[str, DatasetHistory] = {}
    by_text = {f"{each.rid} {each.version}": each for each in versioned}
    for text, each in by_text.items():
        entries = {entry.dataset_version: entry for entry in past[each.rid]}
        try:
            version = DatasetVersion.parse(each.version)
        except ValueError:
            wrong[each] = Wrong(f"{each.version!r} is not a version, such as 1.0.0.")
            continue
        if version in entries:
            found[text] = entries[version]
        else:
            numbers = tuple(str(number) for number in reversed(entries))
            wrong[each] = Wrong(f"Dataset {each.rid} has no version {each.version}.", numbers[:10])
    for text, error in unshown(session, found).items():
        wrong[by_text[text]] = Wrong(str(error.args[0]), hint=error.hint)
    return wrong


def wrong_terms(session: Session, terms: Iterable[str]) -> dict[str, Wrong]:
    """Which kinds of work the catalog does not know.

    Args:
        session: The catalog.
        terms: The kinds.
    """
    wanted = sorted(set(terms))
    if not wanted:
        return {}
    vocabulary = MLVocab.workflow_type.value
    listed = list_vocabulary_terms(session, f"{session.ml_schema}:{vocabulary}")
    known = {name for term in listed for name in (term.name, *term.synonyms)}
    return {
        term: Wrong(
            f"The vocabulary {vocabulary} has no term {term!r}.",
            tuple(nearest(term, known)),
            "choose a term, or add it",
        )
        for term in wanted
        if term not in known
    }
