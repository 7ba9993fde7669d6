"""What a catalog that is made from one record of another is to hold: the plan, before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from deriva_ml.catalog.clone_result import AssetCopyMode, CloneCatalogResult, CloneProgress, OrphanStrategy
from deriva_ml.connect import Connection
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLOrphansFound
from deriva_ml.core.files import nearest
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.part import Selection, select_part, start_of
from deriva_ml.dataset.part_orphans import Settling
from deriva_ml.dataset.part_rules import PartRules, part_document, partly_readable, tables_without_rows, unreadable
from deriva_ml.schema.opening import Opened, open_session
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Table

__all__ = ["WorkspaceOptions", "WorkspacePlan", "planned"]

Name = tuple[str, str]


@dataclass(frozen=True)
class WorkspaceOptions:
    """What is to be copied; the fields are those of ``create_ml_workspace``."""

    include_tables: Iterable[str] | None = None
    exclude_objects: Iterable[str] | None = None
    exclude_schemas: Iterable[str] | None = None
    include_associations: bool = True
    include_vocabularies: bool = True
    add_ml_schema: bool = True
    asset_mode: AssetCopyMode = AssetCopyMode.REFERENCES
    copy_annotations: bool = True
    copy_policy: bool = True
    orphan_strategy: OrphanStrategy = OrphanStrategy.FAIL
    prune_hidden_fkeys: bool = False


@dataclass
class WorkspacePlan:
    """What is to be copied.

    Attributes:
        session: The source as of a moment.
        connection: The way to it.
        document: The model of the copy.
        part: The rows of each table.
        settling: What becomes of orphans.
        options: What was asked for.
        result: The report.
    """

    session: Session
    connection: Connection
    document: dict[str, Any]
    part: Selection
    settling: Settling
    options: WorkspaceOptions
    result: CloneCatalogResult


@contextmanager
def planned(
    hostname: str,
    catalog_id: str | int,
    root_rid: str,
    options: WorkspaceOptions,
    credential: dict[str, Any] | None,
    progress: CloneProgress,
) -> Iterator[WorkspacePlan]:
    """The plan of a copy, while its source is open.

    Args:
        hostname: Where the source is.
        catalog_id: Its id.
        root_rid: The record.
        options: What is to be copied.
        credential: Credential for the source's host; by default the one that is stored.
        progress: Told what is going on.

    Raises:
        DerivaMLOrphansFound: Rows refer to rows that do not come along, and nothing is to be done about that.
    """
    opened = open_session(hostname, catalog_id, credential=credential, check_auth=False)
    try:
        progress("what can be reached", 0, 0)
        yield _plan(opened, root_rid, options)
    finally:
        opened.connection.close()


def _plan(opened: Opened, root_rid: str, options: WorkspaceOptions) -> WorkspacePlan:
    present = opened.session
    session = present.snapshot(present.catalog.snaptime or present.catalog.latest_snaptime())
    document = session.catalog.get("/schema")
    root, root_rid = start_of(session, root_rid)
    hidden = unreadable(document)
    excluded = _excluded(session, options) | hidden
    whole = _tables(session, options.include_tables)
    if contradicted := sorted(":".join(name) for name in excluded.intersection(whole)):
        raise DerivaMLConfigurationError(
            f"{', '.join(contradicted)} cannot be copied whole: excluded, or not for you to read.",
            source="include_tables",
            hint="leave it out of include_tables (--include)",
        )
    rules = PartRules(session.model(), session.ml_schema, root, tables_without_rows(session.model(), excluded))
    ml_schema = session.model().schemas.get(session.ml_schema) if options.add_ml_schema else None
    ml_tables = {each.qualified for each in ml_schema.tables.values()} if ml_schema else set()
    part = select_part(
        session,
        rules,
        root_rid,
        whole=whole,
        made=ml_tables - hidden,
        associations=options.include_associations,
        vocabularies=options.include_vocabularies,
    )
    unbound = (partly_readable(document) if options.prune_hidden_fkeys else set()) | hidden
    kept, pruned = part_document(
        document, part.tables, unbound, annotations=options.copy_annotations, policy=options.copy_policy
    )
    settling = _settled(part, unbound, options, root_rid, root)
    left_out = [
        f"{said}, which is not copied{' whole' if name in part.tables else ''}"
        for name in sorted(pruned)
        for said in pruned[name]
    ]
    result = CloneCatalogResult(
        source_hostname=opened.connection.place.hostname,
        source_catalog_id=session.catalog_id,
        source_snapshot=str(session.catalog.snaptime),
        root_rid=root_rid,
        root_table=":".join(root.qualified),
        asset_mode=options.asset_mode,
        tables={":".join(name): count for name, count in part.counts().items()},
        orphans=settling.done,
        pruned=left_out,
        hidden=sorted(":".join(name) for name in hidden),
        ml_schema_added=options.add_ml_schema and ml_schema is None,
    )
    return WorkspacePlan(session, opened.connection, kept, part, settling, options, result)


def _settled(part: Selection, unbound: set[Name], options: WorkspaceOptions, root_rid: str, root: Table) -> Settling:
    """What becomes of orphans; the record itself must be none."""
    settling = Settling(part, unbound, options.orphan_strategy)
    settling.settle()
    if root_rid not in part.reader.keys(root).rids(part.rows_of(root.qualified)):
        raise DerivaMLOrphansFound(
            [f"the record itself, {root_rid}, refers to what does not come along", *map(str, settling.done)],
            source=f"root_rid {root_rid}",
            hint="name another record, or do not exclude what it refers to",
        )
    return settling


def _excluded(session: Session, options: WorkspaceOptions) -> set[Name]:
    excluded = set(_tables(session, options.exclude_objects))
    schemas = session.model().schemas
    for name in options.exclude_schemas or ():
        if name not in schemas:
            raise DerivaMLConfigurationError(
                f"Schema {name} does not exist.", source="exclude_schemas", allowed=nearest(name, schemas)
            )
        excluded |= {each.qualified for each in schemas[name].tables.values()}
    if options.asset_mode is AssetCopyMode.NONE:
        excluded |= {each.qualified for each in session.model().tables() if is_asset(each)}
    return excluded


def _tables(session: Session, names: Iterable[str] | None) -> list[Name]:
    return [session.table(name).qualified for name in names or ()]
