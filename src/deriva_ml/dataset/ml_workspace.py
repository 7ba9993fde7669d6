"""A catalog of its own from everything that can be reached from one record of another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from deriva_ml.catalog.client import CatalogClient, Row
from deriva_ml.catalog.clone_result import AssetCopyMode, CloneCatalogResult, CloneProgress, OrphanStrategy
from deriva_ml.catalog.copy_mark import mark, unmark
from deriva_ml.catalog.copy_objects import Carrier
from deriva_ml.catalog.copy_part import Changes, Part, copy_part
from deriva_ml.catalog.service import alias_exists, create_alias
from deriva_ml.connect import Connection, open_connection
from deriva_ml.core.config import Place
from deriva_ml.core.constants import get_domain_schemas
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLException
from deriva_ml.dataset import clones
from deriva_ml.dataset.reach_rows import found_rows
from deriva_ml.dataset.workspace_plan import WorkspaceOptions, WorkspacePlan, planned
from deriva_ml.schema.create_schema import create_ml_schema
from deriva_ml.schema.provenance import CatalogCreationMethod, set_catalog_provenance
from deriva_ml.schema.session import Session
from deriva_ml.schema.unfinished import broke_off, copy_target, who_copies

__all__ = ["WorkspaceOptions", "create_ml_workspace", "plan_ml_workspace"]

Name = tuple[str, str]


def create_ml_workspace(
    source_hostname: str,
    source_catalog_id: str | int,
    root_rid: str,
    *,
    include_tables: Iterable[str] | None = None,
    exclude_objects: Iterable[str] | None = None,
    exclude_schemas: Iterable[str] | None = None,
    include_associations: bool = True,
    include_vocabularies: bool = True,
    dest_hostname: str | None = None,
    alias: str | None = None,
    add_ml_schema: bool = True,
    asset_mode: AssetCopyMode | str = AssetCopyMode.REFERENCES,
    copy_annotations: bool = True,
    copy_policy: bool = True,
    source_credential: dict[str, Any] | None = None,
    dest_credential: dict[str, Any] | None = None,
    orphan_strategy: OrphanStrategy | str = OrphanStrategy.FAIL,
    prune_hidden_fkeys: bool = False,
    truncate_oversized: bool = False,
    reinitialize_dataset_versions: bool = True,
    table_concurrency: int = 1,
    progress_callback: CloneProgress | None = None,
    dest_catalog_id: str | int | None = None,
    restart: bool = False,
) -> CloneCatalogResult:
    """Copy everything that can be reached from one record into a new catalog; RIDs are kept.

    What can be reached is said in ``dataset/part_rules``. The copy carries a mark until it is whole, and nothing opens
    it before. Called again, a copy that broke off is begun anew in its place.

    Args:
        source_hostname: Where the source is: ``local``, a path, a host name or a URL.
        source_catalog_id: Its id; ``<id>@<snaptime>`` for a moment of its past.
        root_rid: The record.
        include_tables: Tables that are copied whole, as ``Table`` or ``schema:Table``, with what their rows refer to.
        exclude_objects: Tables that are not copied. Of the ML schema they are made, and stay empty.
        exclude_schemas: Schemas of which nothing is copied.
        include_associations: Copy all rows of associations whose two ends are copied, and make those without rows.
        include_vocabularies: Copy vocabularies that are referred to whole, not only the terms in use.
        dest_hostname: Where the copy is to be; by default where the source is.
        alias: A second name for the copy.
        add_ml_schema: Make all tables of the ML schema, even if they stay empty; where the source has none, a new one.
        asset_mode: What becomes of the files of assets.
        copy_annotations: Copy annotations; what makes a table one of assets is copied in any case.
        copy_policy: Copy access lists and rules.
        source_credential: Credential for the source's host; by default the one that is stored.
        dest_credential: Credential for the copy's host; by default the one that is stored.
        orphan_strategy: What becomes of rows that refer to rows which do not come along.
        prune_hidden_fkeys: Make no references to tables of which the user may see some rows only: rows that refer to
            what is hidden are no orphans then, and keep the value.
        truncate_oversized: Cut values that are too long for an index of the copy's service; else such rows are skipped.
        reinitialize_dataset_versions: Give datasets a version of what is in the copy, as its past does not have theirs.
        table_concurrency: How many tables are copied at a time.
        progress_callback: Told what is being done, how many rows are done, and how many there are.
        dest_catalog_id: The id that the copy shall have; by default the next number.
        restart: Begin a copy anew although it cannot be seen from here whether its process has ended.

    Returns:
        What was copied, and what was not.

    Raises:
        DerivaMLRidsNotFound: There is no such record.
        DerivaMLTableNotFound: A table that is named does not exist.
        DerivaMLOrphansFound: Rows refer to rows that do not come along, and ``orphan_strategy`` is ``FAIL``.
        DerivaMLConfigurationError: There is no such source, or the copy's id or alias is taken.
    """
    options = WorkspaceOptions(
        include_tables,
        exclude_objects,
        exclude_schemas,
        include_associations,
        include_vocabularies,
        add_ml_schema,
        _member(AssetCopyMode, asset_mode, "asset_mode"),
        copy_annotations,
        copy_policy,
        _member(OrphanStrategy, orphan_strategy, "orphan_strategy"),
        prune_hidden_fkeys,
    )
    progress = progress_callback or (lambda _what, _done, _all: None)
    to = dest_hostname or source_hostname
    with planned(source_hostname, source_catalog_id, root_rid, options, source_credential, progress) as plan:
        credential = dest_credential or (source_credential if dest_hostname is None else None)
        with open_connection(to, create=True, credential=credential) as target:
            if alias is not None:
                _require_free(target, alias)
            about = {
                "source": f"{plan.session.identity}#{plan.session.catalog_id}/{plan.result.root_rid}",
                "by": who_copies(),
            }
            copy = copy_target(
                target,
                None if dest_catalog_id is None else str(dest_catalog_id),
                alias,
                about,
                named="dest_hostname, dest_catalog_id",
                restart=restart,
            )
            making = _Making(plan, target, copy, progress, truncate=truncate_oversized, concurrency=table_concurrency)
            making.run(about, alias, renew=reinitialize_dataset_versions)
            if alias is not None:
                _name(target, alias, copy.catalog_id)
                plan.result.alias = alias
            return plan.result


def plan_ml_workspace(
    source_hostname: str,
    source_catalog_id: str | int,
    root_rid: str,
    options: WorkspaceOptions | None = None,
    *,
    source_credential: dict[str, Any] | None = None,
) -> CloneCatalogResult:
    """What ``create_ml_workspace`` would copy: the same, with nothing written and no place named.

    Args:
        source_hostname: Where the source is.
        source_catalog_id: Its id.
        root_rid: The record.
        options: What is to be copied.
        source_credential: Credential for the source's host; by default the one that is stored.

    Raises:
        DerivaMLOrphansFound: Rows refer to rows that do not come along, and nothing is to be done about that.
    """
    chosen = options or WorkspaceOptions()
    with planned(source_hostname, source_catalog_id, root_rid, chosen, source_credential, _silent) as plan:
        return plan.result


def _silent(_what: str, _done: int, _all: int) -> None:
    """Report nothing."""


def _member(kind: Any, value: Any, source: str) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise DerivaMLConfigurationError(
            f"{value!r} is no {kind.__name__}.", source=source, allowed=[str(each.value) for each in kind]
        ) from error


def _require_free(target: Connection, alias: str) -> None:
    if alias_exists(target.transport, alias):
        raise DerivaMLConfigurationError(
            f"{alias} names a catalog at {target.place} already.", source="alias", hint="name another one, or none"
        )


def _name(target: Connection, alias: str, catalog_id: str) -> None:
    """Give the copy, which is whole, its second name."""
    try:
        create_alias(target.transport, alias, catalog_id)
    except DerivaMLException as error:
        error.hint = f"the copy is whole, as catalog {catalog_id} of {target.place}; it has no second name"
        raise


# -------------------------------------------------------------------------------------------------- the copy


class _Making:
    """Makes the copy that a plan describes."""

    def __init__(
        self,
        plan: WorkspacePlan,
        target: Connection,
        copy: CatalogClient,
        progress: CloneProgress,
        *,
        truncate: bool,
        concurrency: int,
    ) -> None:
        self._plan = plan
        self._target = target
        self._copy = copy
        self._truncate = truncate
        self._concurrency = concurrency
        self._progress = progress

    def run(self, about: dict[str, Any], alias: str | None, *, renew: bool) -> None:
        """Make the copy, which carries a mark until it is whole.

        Args:
            about: What the mark says.
            alias: A name to note.
            renew: Give datasets a version of what is in the copy.
        """
        copy = self._copy
        mark(copy, about)
        try:
            self.copy()
            self.finish(alias, renew=renew)
        except BaseException as error:
            advice = (
                f"the copy is not finished, and catalog {copy.catalog_id} of {self._target.place} is marked so: repeat "
                f"it to begin it anew in its place (dest_catalog_id={copy.catalog_id!r}, or DST#{copy.catalog_id} of "
                "deriva-ml-catalog clone), or delete that catalog"
            )
            broke_off(copy, about, error, advice)
            raise

    def copy(self) -> None:
        """Bring tables, rows and references."""
        plan, result = self._plan, self._plan.result
        is_far = plan.connection.identity != self._target.identity
        is_full = plan.options.asset_mode is AssetCopyMode.FULL
        carrier = None
        if is_far and is_full:
            carrier = Carrier(
                plan.connection.objects(),
                self._target.objects(),
                result.count_object,
                result.missing.append,
                origin=plan.connection.place.base_url,
            )
        part = Part(plan.document, plan.part.counts(), self._rows, plan.settling.nulled_rids(), self._settle)
        report = copy_part(
            plan.session.catalog,
            self._copy,
            part,
            carrier=carrier,
            refer=_reference(plan.connection.place) if is_far and not is_full else None,
            truncate=self._truncate,
            concurrency=self._concurrency,
            progress=self._progress,
        )
        result.skipped, result.truncated = report.skipped, report.truncated
        result.missing += report.missing
        result.orphans = plan.settling.done
        result.tables = {":".join(name): count for name, count in plan.part.counts().items()}

    def _rows(self, name: Name) -> Iterator[list[Row]]:
        return found_rows(self._plan.session, self._plan.part.found(name))

    def _settle(self, lost: Mapping[Name, Collection[str]]) -> Changes:
        return self._plan.settling.without(lost)

    def finish(self, alias: str | None, *, renew: bool) -> None:
        """Make what a catalog of its own has, and take the mark off."""
        plan, result, copy = self._plan, self._plan.result, self._copy
        result.hostname, result.catalog_id = self._target.place.hostname, copy.catalog_id
        if result.ml_schema_added:
            create_ml_schema(copy, plan.session.ml_schema)
        schemas = copy.model(refresh=True).schemas
        session = replace(
            plan.session,
            catalog=copy,
            objects=self._target.objects(),
            place=self._target.place,
            identity=self._target.identity,
            catalog_id=copy.catalog_id,
            domain_schemas=get_domain_schemas(schemas, plan.session.ml_schema),
        )
        if renew and plan.session.ml_schema in schemas:
            origin = f"{result.source_hostname}#{result.source_catalog_id}"
            result.versions = {
                one.dataset_rid: str(one.after) for one in clones.reinitialize_dataset_versions(session, origin)
            }
        self._note(session, alias)
        unmark(copy)

    def _note(self, session: Session, alias: str | None) -> None:
        """Note how the copy came to be."""
        options, result = self._plan.options, self._plan.result
        set_catalog_provenance(
            session,
            creation_method=CatalogCreationMethod.clone,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            name=alias,
            clone_details={
                "source_hostname": result.source_hostname,
                "source_catalog_id": result.source_catalog_id,
                "source_snapshot": result.source_snapshot,
                "root_rid": result.root_rid,
                "tables": len(result.tables),
                "rows": result.rows,
                "objects": result.objects,
                "asset_mode": str(options.asset_mode.value),
                "orphan_strategy": str(options.orphan_strategy.value),
                "orphans": [str(each) for each in result.orphans],
                "skipped": len(result.skipped),
                "truncated": len(result.truncated),
            },
        )


def _reference(place: Place) -> str:
    """What is put before the URLs of a place's objects, so that they can be found from elsewhere."""
    return str(place.base_url) if place.root is None else f"deriva-ml:{quote(str(place.root))}"
