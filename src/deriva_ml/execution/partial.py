"""The outputs of a run that failed or was stopped are marked: what there is of them may not be all.

The mark is a further asset type, ``Partial``, so that whoever finds the file in the catalog sees it, without the run. A
file that the model had uploaded itself before the end was whole to it, and files that describe the run are whole.

A run that was taken up again and then completed may have gone on with such a file: what it registered again, and left
with the content that is in the catalog, is whole by now, and the mark is taken away.
"""

from __future__ import annotations

from deriva_ml.asset.tables import type_companion
from deriva_ml.core.enums import ExecAssetType, MLAsset, MLVocab, Status
from deriva_ml.core.exceptions import DerivaMLAuthenticationError, DerivaMLCatalogError
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.attempts import is_attempt_file
from deriva_ml.schema.session import Session
from deriva_ml.wire.path import any_of, table
from deriva_ml.workspace.entries import UPLOADED
from deriva_ml.workspace.manifest import Manifest

__all__ = ["mark_partial", "unmark_whole"]

MARK = ExecAssetType.partial.value


def mark_partial(session: Session, manifest: Manifest, status: Status) -> None:
    """Mark the outputs of a run that did not complete and that are not in the catalog yet.

    Args:
        session: The catalog; one that was made before there was such a type gets it.
        manifest: What the run has registered.
        status: The run's status.
    """
    if status not in {Status.failed, Status.aborted}:
        return
    entries = [
        entry
        for entry in manifest.pending_assets()
        if entry.asset_table != str(MLAsset.execution_metadata) and MARK not in entry.asset_types
    ]
    if entries and _has_type(session):
        manifest.update_many({entry.key: {"asset_types": [*entry.asset_types, MARK]} for entry in entries})


def unmark_whole(session: Session, manifest: Manifest, status: Status) -> None:
    """Take the mark off what a run that completed at a later attempt has registered again, and is whole by now.

    Args:
        session: The catalog.
        manifest: What the run has registered.
        status: The run's status.
    """
    entries = list(manifest.assets.values())
    if status is not Status.completed or not any(is_attempt_file(entry) for entry in entries):
        return
    from deriva_ml.dataset.changes import chunks

    last = {entry.path: entry for entry in entries}
    whole: dict[tuple[str, str], list[str]] = {}
    for entry in last.values():
        is_output = entry.status == UPLOADED and entry.asset_table != str(MLAsset.execution_metadata)
        if is_output and entry.rid and MARK not in entry.asset_types and manifest.file_of(entry).exists():
            whole.setdefault((entry.schema, entry.asset_table), []).append(entry.rid)
    try:
        for (schema, name), rids in whole.items():
            typed = type_companion(session, session.model().schemas[schema].tables[name])
            rows = session.catalog.rows_by(*typed.table.qualified, typed.asset, rids, columns=["RID", typed.other])
            marks = [str(row["RID"]) for row in rows if row[typed.other] == MARK]
            for part in chunks(marks):
                session.catalog.delete(table(*typed.table.qualified).where(any_of("RID", part)))
    except (DerivaMLCatalogError, DerivaMLAuthenticationError) as error:
        get_logger("execution").warning(
            "Outputs that are whole by now keep the asset type %s, since the catalog refuses to take it away: %s",
            MARK,
            str(error).splitlines()[0],
        )


def _has_type(session: Session) -> bool:
    """Whether the catalog has the type, which is made if it is not there and may be made."""
    from deriva_ml.schema.create_schema import PARTIAL
    from deriva_ml.schema.vocabulary import add_term, unknown_terms

    vocabulary = f"{session.ml_schema}:{MLVocab.asset_type}"
    if not unknown_terms(session, vocabulary, [MARK]):
        return True
    try:
        add_term(session, vocabulary, MARK, PARTIAL)
    except (DerivaMLCatalogError, DerivaMLAuthenticationError) as error:
        get_logger("execution").warning(
            "The outputs of the run are not marked as partial, since the catalog refuses the asset type %s: %s",
            MARK,
            str(error).splitlines()[0],
        )
        return False
    return True
