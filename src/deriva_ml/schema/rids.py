"""From a RID to the table and row that it names, and to a reference that lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deriva_ml.core.exceptions import DerivaMLRidsNotFound, DerivaMLValidationError
from deriva_ml.core.fields import refuse_text
from deriva_ml.core.values import dataclass
from deriva_ml.schema.session import NamedTable, Session
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import Path, eq, table

__all__ = ["BatchRidResult", "ResolveRidResult", "cite", "resolve_rid", "resolve_rids", "retrieve_rid"]


@dataclass(frozen=True, slots=True)
class ResolveRidResult:
    """Where one RID is: the path of its row, its table, and the RID in its normal form."""

    datapath: Path
    table: Table
    rid: str


@dataclass(frozen=True, slots=True)
class BatchRidResult:
    """Where one of several RIDs is."""

    rid: str
    table: Table
    table_name: str
    schema_name: str


def resolve_rids(
    session: Session, rids: Iterable[str], candidate_tables: Iterable[str | Table | NamedTable] | None = None
) -> dict[str, BatchRidResult]:
    """Find the tables of many RIDs in a number of requests that does not grow with them.

    Args:
        session: The catalog.
        rids: The RIDs.
        candidate_tables: Where they may be; by default anywhere.

    Raises:
        DerivaMLRidsNotFound: Some do not exist, or are not in the candidate tables; only those are named.
    """
    refuse_text("rids", rids)
    wanted = list(dict.fromkeys(rids))
    found = session.catalog.resolve_rids(wanted)
    model = session.model()
    allowed = None if candidate_tables is None else {session.table(item).qualified for item in candidate_tables}
    results: dict[str, BatchRidResult] = {}
    for rid, (schema, name) in found.items():
        if allowed is None or (schema, name) in allowed:
            results[rid] = BatchRidResult(rid, model.schemas[schema].tables[name], name, schema)
    missing = [rid for rid in wanted if rid not in results]
    if missing:
        raise DerivaMLRidsNotFound(missing, source=f"catalog {session.catalog_id} at {session.place}")
    return results


def resolve_rid(session: Session, rid: str) -> ResolveRidResult:
    """Find the table of one RID.

    Raises:
        DerivaMLRidsNotFound: It does not exist.
    """
    found = resolve_rids(session, [rid])[rid]
    return ResolveRidResult(table(found.schema_name, found.table_name).where(eq("RID", rid)), found.table, rid)


def retrieve_rid(session: Session, rid: str) -> dict[str, Json]:
    """The whole row of a RID.

    Raises:
        DerivaMLRidsNotFound: It does not exist.
    """
    rows = session.catalog.rows(resolve_rid(session, rid).datapath)
    if not rows:
        raise DerivaMLRidsNotFound([rid])
    return rows[0]


def cite(session: Session, entity: Mapping[str, Json] | str, current: bool = False) -> str:
    """A lasting reference to a record: its URL as of now, or as it is at any time if ``current``.

    Args:
        session: The catalog.
        entity: The record's RID or row, or a reference to it, which is given back.
        current: Leave out the moment.

    Raises:
        DerivaMLRidsNotFound: There is no such record.
        DerivaMLValidationError: A row has no RID.
    """
    base = f"{session.place.base_url or f'tag:{session.identity}'}/id/{session.catalog_id}/"
    if isinstance(entity, str) and entity.startswith(base):
        return entity
    rid = entity if isinstance(entity, str) else str(entity.get("RID") or "")
    if not rid:
        raise DerivaMLValidationError(
            f"Entity {entity!r} does not have RID column", hint="give a record's RID, or its row"
        )
    found = resolve_rid(session, rid).rid
    return f"{base}{found}" + ("" if current else f"@{session.catalog.latest_snaptime()}")
