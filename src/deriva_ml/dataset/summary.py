"""Datasets as text for people: a line of Markdown for each, with a link to its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deriva_ml.core.enums import MLTable
from deriva_ml.core.files import require
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.dataset_types import types_of
from deriva_ml.dataset.nesting import Nesting, read_nesting
from deriva_ml.dataset.reference import DatasetRef
from deriva_ml.dataset.versions import current, histories
from deriva_ml.schema.chaise import record_url
from deriva_ml.schema.session import Session

__all__ = ["display_markdown", "get_chaise_url", "to_markdown"]

_INDENT = "  "


def get_chaise_url(dataset: DatasetRef) -> str:
    """The page of its record in Deriva's browser; a folder has none: the record is named by the folder's identity."""
    return _page(dataset.session, dataset.dataset_rid)


def _page(session: Session, rid: str) -> str:
    return record_url(session, session.ml_schema, MLTable.dataset.value, rid)


def to_markdown(dataset: DatasetRef, show_children: bool = False, indent: int = 0) -> str:
    """The dataset as a line of Markdown: a link, the version, the types and the description.

    Args:
        dataset: The dataset.
        show_children: Add the datasets in it, and those in them, each indented below its holder.
        indent: How far to indent the line.
    """
    session, rid = dataset.session, dataset.dataset_rid
    nesting = read_nesting(session) if show_children else Nesting()
    facts = _read(session, [rid, *nesting.descendants(rid)])
    return "\n".join(_lines(session, nesting, facts, rid, indent, ()))


def display_markdown(dataset: DatasetRef, show_children: bool = False, indent: int = 0) -> None:
    """Show the dataset in a notebook.

    Args:
        dataset: The dataset.
        show_children: Add the datasets in it, and those in them.
        indent: How far to indent the line.

    Raises:
        DerivaMLMissingExtra: IPython is not installed.
    """
    shown = require("IPython.display", "notebook")
    shown.display(shown.Markdown(to_markdown(dataset, show_children, indent)))


@dataclass(frozen=True, slots=True)
class _Facts:
    version: DatasetVersion
    types: list[str]
    description: str


def _read(session: Session, rids: list[str]) -> dict[str, _Facts]:
    """What the lines of some datasets say, in three requests."""
    rows = session.catalog.rows_by(session.ml_schema, MLTable.dataset.value, "RID", rids)
    texts = {str(row["RID"]): " ".join(str(row["Description"] or "").split()) for row in rows}
    types, versions = types_of(session, rids), histories(session, rids)
    return {rid: _Facts(current(versions[rid]), types[rid], texts.get(rid, "")) for rid in rids}


def _lines(
    session: Session, nesting: Nesting, facts: Mapping[str, _Facts], rid: str, depth: int, above: tuple[str, ...]
) -> Iterator[str]:
    known = facts[rid]
    head = f"{_INDENT * depth}- [{rid}]({_page(session, rid)}) v{known.version} [{', '.join(known.types)}]"
    yield f"{head}: {known.description}" if known.description else head
    for child in nesting.children(rid):
        if child not in (*above, rid):  # a cycle in the data does not trap the walk
            yield from _lines(session, nesting, facts, child, depth + 1, (*above, rid))
