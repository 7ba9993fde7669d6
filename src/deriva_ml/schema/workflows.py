"""Rows of the Workflow table and their types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLNotFoundError
from deriva_ml.core.values import dataclass
from deriva_ml.schema.ordering import sorted_path
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Json
from deriva_ml.wire.path import Path, eq, table

__all__ = [
    "WorkflowRow",
    "add_workflow",
    "find_workflows",
    "lookup_workflow",
    "lookup_workflow_by_url",
    "same_workflow",
]

WORKFLOW = str(MLTable.workflow)
WORKFLOW_TYPE = str(MLTable.workflow_type)


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """A workflow as the catalog holds it.

    Attributes:
        rid: Its record.
        name: Its name.
        workflow_type: Its kinds, by name.
        description: What it does.
        url: Where the code is, at the commit that ran.
        checksum: Checksum of the code.
        version: Version of the code's package.
    """

    rid: str
    name: str
    workflow_type: tuple[str, ...]
    description: str | None
    url: str | None
    checksum: str | None
    version: str | None


def _text(value: Json) -> str | None:
    return None if value is None else str(value)


def _with_types(session: Session, rows: Iterable[dict[str, Json]]) -> list[WorkflowRow]:
    found = list(rows)
    types: dict[str, list[str]] = {}
    rids = [str(row["RID"]) for row in found]
    for link in session.catalog.rows_by(session.ml_schema, WORKFLOW_TYPE, "Workflow", rids):
        types.setdefault(str(link["Workflow"]), []).append(str(link["Workflow_Type"]))
    return [
        WorkflowRow(
            rid=str(row["RID"]),
            name=str(row["Name"] or ""),
            workflow_type=tuple(sorted(types.get(str(row["RID"]), ()))),
            description=_text(row["Description"]),
            url=_text(row["URL"]),
            checksum=_text(row["Checksum"]),
            version=_text(row["Version"]),
        )
        for row in found
    ]


def _path(session: Session) -> Path:
    return table(session.ml_schema, WORKFLOW)


def add_workflow(
    session: Session,
    *,
    name: str,
    workflow_type: Sequence[str],
    description: str | None = None,
    url: str | None = None,
    checksum: str | None = None,
    version: str | None = None,
) -> str:
    """The RID of a workflow; one of the same URL, checksum and version that is there already is taken.

    Two commits that differ in a helper module have two URLs, and so are two workflows though the file is the same.

    Args:
        session: The catalog.
        name: Its name.
        workflow_type: Its kinds, by name or synonym.
        description: What it does.
        url: Where the code is, at the commit that ran.
        checksum: Checksum of the code.
        version: Version of the code's package.

    Raises:
        DerivaMLInvalidTerm: A kind is not in the vocabulary; nothing is written then.
    """
    session.require_writable()
    kinds = check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", list(workflow_type))
    known = same_workflow(session, name=name, url=url, checksum=checksum, version=version)
    if known is not None:
        return known
    row = {"Name": name, "Description": description, "URL": url, "Checksum": checksum, "Version": version}
    rid = str(session.catalog.insert(session.ml_schema, WORKFLOW, [row])[0]["RID"])
    links = [{"Workflow": rid, "Workflow_Type": kind} for kind in dict.fromkeys(kinds)]
    session.catalog.insert(session.ml_schema, WORKFLOW_TYPE, links)
    return rid


def same_workflow(
    session: Session, *, name: str, url: str | None, checksum: str | None, version: str | None
) -> str | None:
    """The RID of the workflow of this very code and name, if there is one; in one request.

    Args:
        session: The catalog.
        name: Its name.
        url: Where the code is, at the commit that ran.
        checksum: Checksum of the code.
        version: Version of the code's package.
    """
    if not (url or checksum):
        return None
    key = eq("Checksum", checksum) if checksum else eq("URL", url or "")
    for row in session.catalog.rows(_path(session).where(key)):
        if (row["URL"], row["Checksum"], row["Version"], row["Name"]) == (url, checksum, version, name):
            return str(row["RID"])
    return None


def find_workflows(session: Session, *, newest_first: bool = False) -> list[WorkflowRow]:
    """All workflows, in two requests."""
    return _with_types(session, session.catalog.rows(sorted_path(_path(session), newest_first, "RID")))


def lookup_workflow(session: Session, rid: str) -> WorkflowRow:
    """The workflow of this RID.

    Raises:
        DerivaMLNotFoundError: There is none.
    """
    rows = _with_types(session, session.catalog.rows(_path(session).where(eq("RID", rid))))
    if not rows:
        raise DerivaMLNotFoundError(f"Workflow with RID '{rid}' not found in the catalog")
    return rows[0]


def lookup_workflow_by_url(session: Session, url_or_checksum: str) -> WorkflowRow:
    """The newest workflow of this URL or checksum.

    Raises:
        DerivaMLNotFoundError: There is none.
    """
    for column in ("URL", "Checksum"):
        path = _path(session).where(eq(column, url_or_checksum)).sorted("RCT", desc=True).limited(1)
        rows = _with_types(session, session.catalog.rows(path))
        if rows:
            return rows[0]
    raise DerivaMLNotFoundError(f"Workflow with URL or checksum '{url_or_checksum}' not found in the catalog")
