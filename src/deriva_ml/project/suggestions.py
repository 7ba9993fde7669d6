"""What of a catalog a project may want to name in its configurations: datasets, files, kinds of work.

The number of requests depends on the number of asset tables alone, not on what is in the catalog.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace

from deriva_ml.asset.tables import asset_tables, execution_companion, type_companion
from deriva_ml.core.enums import AssetRole, MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLSchemaError
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetHistory
from deriva_ml.dataset.clones import unshown
from deriva_ml.dataset.dataset_types import types_of
from deriva_ml.dataset.versions import histories
from deriva_ml.project.naming import configuration_name, unique_name
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms, list_vocabulary_terms
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import cnt, table

__all__ = ["Suggested", "Suggestion", "suggest_assets", "suggest_datasets", "suggest_workflows"]

FEW = 20
"""Of each asset table the newest so many are suggested; a table of the project with more holds data, not inputs."""

LONGEST_DESCRIPTION = 200

Row = Mapping[str, Json]


@dataclass(frozen=True)
class Suggestion:
    """Something that a configuration may name.

    Attributes:
        kind: The configuration group.
        name: What the configuration may be called.
        subject: The RID, or the term.
        description: What it is, in one line.
        version: The version of a dataset.
    """

    kind: str
    name: str
    subject: str
    description: str
    version: str | None = None


@dataclass
class Suggested:
    """What a catalog suggests, and what of it was left out, and why."""

    entries: list[Suggestion] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, kind: str, wish: str, subject: str, description: str, version: str | None = None) -> None:
        """Add a suggestion under the name that is wished for, which may not be its own yet."""
        group = {"dataset": "datasets", "asset": "assets"}.get(kind, kind)
        self.entries.append(Suggestion(group, configuration_name(wish, kind), subject, description, version))

    def named_apart(self) -> Suggested:
        """The same, with names of their own: where several wish for a name, each gets its RID behind it."""
        wishes = Counter(entry.name for entry in self.entries)
        taken = set(wishes)
        entries = []
        for entry in self.entries:
            name = unique_name(entry.name, entry.subject, taken) if wishes[entry.name] > 1 else entry.name
            taken.add(name)
            entries.append(replace(entry, name=name))
        return Suggested(entries, self.left_out)


def _line(text: object) -> str:
    """The first line of a description, cut to a length."""
    lines = str(text or "").strip().lstrip("# ").splitlines()
    line = lines[0].strip() if lines else ""
    return line if len(line) <= LONGEST_DESCRIPTION else f"{line[: LONGEST_DESCRIPTION - 1]}…"


def suggest_datasets(session: Session, types: Collection[str] | None = None) -> Suggested:
    """The datasets that were not deleted, each in its newest version that was released.

    Args:
        session: The catalog.
        types: Only datasets of one of these types.

    Raises:
        DerivaMLInvalidTerm: There is no such type.
    """
    wanted = None if types is None else set(check_terms(session, MLVocab.dataset_type.value, list(types)))
    rows = session.catalog.rows(table(session.ml_schema, MLTable.dataset.value).sorted("RID"))
    found = {str(row["RID"]): row for row in rows if not row["Deleted"]}
    kinds = types_of(session, found)
    if wanted is not None:
        found = {rid: row for rid, row in found.items() if wanted & set(kinds[rid])}
    newest, suggested = _newest(histories(session, found))
    gone = unshown(session, newest)
    for rid, row in found.items():
        if rid in gone:
            suggested.left_out.append(f"dataset {rid}: {gone[rid].args[0]} ({gone[rid].hint})")
        elif rid in newest:
            of_type = f"of type {', '.join(kinds[rid])}" if kinds[rid] else "of no type"
            description = _line(row["Description"]) or f"dataset {rid} {of_type}"
            wish = _line(row["Description"]) or " ".join(kinds[rid])
            suggested.add("dataset", wish, rid, description, str(newest[rid].dataset_version))
    return suggested.named_apart()


def _newest(past: Mapping[str, Sequence[DatasetHistory]]) -> tuple[dict[str, DatasetHistory], Suggested]:
    """The newest released version of each dataset; those that have none are left out."""
    newest, suggested = {}, Suggested()
    for rid, entries in past.items():
        released = [entry for entry in entries if entry.dataset_version.dev is None]
        if released:
            newest[rid] = released[-1]
        else:
            why = "has only development versions: release one" if entries else "has no version"
            suggested.left_out.append(f"dataset {rid}: {why}")
    return newest, suggested


def suggest_assets(session: Session) -> Suggested:
    """The files that runs made, the newest first, and those of small asset tables of the project.

    Args:
        session: The catalog.
    """
    suggested = Suggested()
    for found in asset_tables(session):
        is_ours = found.schema == session.ml_schema
        if is_ours and found.name != MLTable.execution_asset:
            continue
        count = int(str(session.catalog.aggregate(table(*found.qualified), n=cnt("RID"))["n"]))
        if count > FEW and not is_ours:
            suggested.left_out.append(f"{found.name}: {count} files, which are brought as members of datasets")
            continue
        if count > FEW:
            suggested.left_out.append(f"{found.name}: {count - FEW} files that are older")
        path = table(*found.qualified).sorted("RCT", desc=True).sorted("RID", desc=True).limited(FEW)
        rows = session.catalog.rows(path) if count else []
        _suggest_files(session, found, rows, suggested)
    return suggested.named_apart()


def _suggest_files(session: Session, found: Table, rows: Sequence[Row], suggested: Suggested) -> None:
    rids = [str(row["RID"]) for row in rows]
    kinds = _linked(session, found, rids, is_type=True)
    makers = _linked(session, found, rids, is_type=False)
    runs = _runs(session, {rid for made_by in makers.values() for rid in made_by})
    for row in rows:
        rid, file = str(row["RID"]), str(row["Filename"] or "")
        what = f"{file or rid} ({', '.join(kinds.get(rid, [])) or found.name})"
        made_by = [f" of execution {run}" + (f", {runs[run]}" if runs.get(run) else "") for run in makers.get(rid, [])]
        own = _line(row.get("Description")).rstrip(".")
        description = _line(f"{own}: {what}" if own else what) + "".join(made_by[:1])
        suggested.add("asset", file.partition(".")[0] or found.name, rid, description)


def _linked(session: Session, found: Table, rids: Sequence[str], *, is_type: bool) -> dict[str, list[str]]:
    """The types of assets, or the executions that made them; none where the catalog has no table for it."""
    try:
        companion = type_companion(session, found) if is_type else execution_companion(session, found)
    except DerivaMLSchemaError:
        return {}
    links: dict[str, list[str]] = {}
    for row in session.catalog.rows_by(companion.table.schema, companion.table.name, companion.asset, rids):
        if is_type or row["Asset_Role"] == AssetRole.output:
            links.setdefault(str(row[companion.asset]), []).append(str(row[companion.other]))
    return {rid: sorted(others) for rid, others in links.items()}


def _runs(session: Session, rids: Iterable[str]) -> dict[str, str]:
    """What executions were for."""
    name = MLTable.execution.value
    rows = session.catalog.rows_by(session.ml_schema, name, "RID", list(rids), columns=["RID", "Description"])
    return {str(row["RID"]): _line(row["Description"]) for row in rows}


def suggest_workflows(session: Session) -> Suggested:
    """The kinds of work that the catalog knows."""
    suggested = Suggested()
    for term in list_vocabulary_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type.value}"):
        if "${" in term.name:
            suggested.left_out.append(f"kind of work {term.name!r}: a configuration would read it as an interpolation")
        else:
            suggested.add("workflow", term.name, term.name, _line(term.description))
    return suggested.named_apart()
