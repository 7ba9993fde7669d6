"""Members of datasets: adding, deleting, listing; a number of requests that does not grow with the members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLCycleError,
    DerivaMLDataError,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
)
from deriva_ml.core.fields import refuse_text
from deriva_ml.core.files import nearest
from deriva_ml.dataset.changes import Changes, all_or_nothing, chunks
from deriva_ml.dataset.elements import Element, elements, labels
from deriva_ml.dataset.nesting import Nesting, read_nesting
from deriva_ml.dataset.versions import require_dataset
from deriva_ml.schema.rids import resolve_rids
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import Associate, association_document
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import Path, any_of, eq, table

__all__ = [
    "add_dataset_element_type",
    "add_members",
    "by_element",
    "chunks",
    "delete_members",
    "link",
    "list_dataset_element_types",
    "list_members",
    "member_stamps",
    "session_elements",
]

Row = dict[str, Json]
_NAMED = 5
"""How many offending RIDs an error names."""
_BATCH = 10_000
"""How many links are made in one request: what is stored in one transaction is noted before the next begins."""
_CONFLICT = 409


def session_elements(session: Session) -> dict[tuple[str, str], Element]:
    """The kinds of member that datasets can have, by schema and table."""
    return elements(session.model(), session.ml_schema, session.domain_schemas)


def list_dataset_element_types(session: Session) -> list[Table]:
    """The tables whose rows can be members of datasets."""
    return [element.table for element in session_elements(session).values()]


def add_dataset_element_type(session: Session, element: str | Table) -> Table:
    """Let the rows of a table be members of datasets; a table that is an element type already stays as it is.

    Args:
        session: The catalog.
        element: The table.

    Returns:
        The table.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: The table is of the ML schema, which has its element types.
    """
    chosen = session.table(element)
    if chosen.qualified in session_elements(session):
        return chosen
    session.require_writable()
    if chosen.schema not in session.domain_schemas:
        raise DerivaMLTableTypeError(
            "dataset element", chosen.name, hint="members are datasets, files and records of the project's own tables"
        )
    sides = [Associate(session.ml_schema, MLTable.dataset.value), Associate(chosen.schema, chosen.name)]
    name = f"{MLTable.dataset.value}_{chosen.name}"
    document = association_document(chosen.schema, name, sides, comment=f"Datasets of {chosen.name} records.")
    try:
        session.catalog.create_table(chosen.schema, document)
    except DerivaMLCatalogError as error:
        session.catalog.model(refresh=True)
        if error.status != _CONFLICT or chosen.qualified not in session_elements(session):
            raise
        # somebody else has just made it an element type
    return chosen


def _few(rids: Sequence[str]) -> str:
    return ", ".join(rids[:_NAMED]) + (f" and {len(rids) - _NAMED} more" if len(rids) > _NAMED else "")


def _no_element(name: str, known: Iterable[tuple[str, str]], source: str) -> DerivaMLTableTypeError:
    return DerivaMLTableTypeError(
        "dataset element",
        name,
        source=source,
        hint=f"call add_dataset_element_type({name!r}) first; element types here: "
        + ", ".join(nearest(name, (key[1] for key in known))),
    )


def _by_element(
    session: Session, members: Iterable[str] | Mapping[str, Iterable[str]]
) -> list[tuple[Element, list[str]]]:
    """The members by their kind, each once, in the order given.

    Raises:
        DerivaMLRidsNotFound: A RID of a list does not exist.
        DerivaMLTableTypeError: Rows of a table cannot be members.
    """
    known = session_elements(session)
    wanted: dict[tuple[str, str], dict[str, None]] = {}
    refuse_text("members", members)
    if isinstance(members, Mapping):
        for name, rids in members.items():
            refuse_text(f"members of {name}", rids)
            wanted.setdefault(session.table(name).qualified, {}).update(dict.fromkeys(rids))
    else:
        for rid, found in resolve_rids(session, members).items():
            wanted.setdefault((found.schema_name, found.table_name), {})[rid] = None
    for name, rids in wanted.items():
        if name not in known:
            raise _no_element(name[1], known, f"member {_few(list(rids))}")
    return [(known[name], list(rids)) for name, rids in wanted.items() if rids]


def _links(session: Session, rid: str, element: Element) -> dict[str, Row]:
    """The links of a dataset with its members of one kind, by member."""
    path = table(element.association.schema, element.association.name).where(eq(element.holder, rid))
    return {str(row[element.member]): row for row in session.catalog.rows(path)}


def _is_nesting(session: Session, element: Element) -> bool:
    return element.table.qualified == (session.ml_schema, MLTable.dataset.value)


def _refuse_cycle(nesting: Nesting, rid: str, members: Iterable[str]) -> None:
    cycle = nesting.cycle_with(rid, members)
    if cycle is not None:
        raise DerivaMLCycleError(cycle, "Creating cycle of datasets is not allowed")


def add_members(
    session: Session,
    rid: str,
    members: Iterable[str] | Mapping[str, Iterable[str]],
    changes: Changes | None = None,
    *,
    validate: bool = True,
) -> None:
    """Put records into a dataset, all or none; no version is made.

    Args:
        session: The catalog.
        rid: The dataset.
        members: RIDs, whose tables are looked up; or RIDs by table, which are believed.
        changes: What is changed; by default it is changed at once.
        validate: A record that is a member already is an error; else it is passed over.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLRidsNotFound: A RID does not exist.
        DerivaMLTableTypeError: Rows of a table cannot be members.
        DerivaMLCycleError: The dataset would come to hold itself.
        DerivaMLDataError: A record is a member already.
    """
    session.require_writable()
    changes = changes if changes is not None else Changes(session)
    additions: list[tuple[Element, list[str]]] = []
    # Everything is checked before anything is written.
    for element, rids in _by_element(session, members):
        if _is_nesting(session, element):
            _refuse_cycle(read_nesting(session), rid, rids)
        present = _links(session, rid, element)
        again = [member for member in rids if member in present]
        if again and validate:
            raise DerivaMLDataError(
                f"Dataset {rid} has these members already: {_few(again)}",
                hint="leave them out, or pass validate=False to pass over them",
            )
        additions.append((element, [member for member in rids if member not in present]))
    with all_or_nothing(changes):
        for element, rids in additions:
            link(session, element, [(rid, member) for member in rids], changes)
            if rids and _is_nesting(session, element) and changes.draft is None:
                # Who nested the other way round at the same time was not seen before: one of the two sees it now. Where
                # changes and version are one transaction, it is looked at there.
                changes.nesting = read_nesting(session)
                _refuse_cycle(changes.nesting, rid, rids)


def by_element(session: Session, names: Iterable[str]) -> dict[str, Element]:
    """The kinds of member that tables are, by the names given.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: Rows of a table cannot be members.
    """
    known = session_elements(session)
    tables = {name: session.table(name).qualified for name in names}
    for name, qualified in tables.items():
        if qualified not in known:
            raise _no_element(qualified[1], known, name)
    return {name: known[qualified] for name, qualified in tables.items()}


def link(
    session: Session, element: Element, pairs: Sequence[tuple[str, str]], changes: Changes, *, new: bool = False
) -> None:
    """Store links of datasets with members; one that somebody else has made meanwhile is passed over.

    Args:
        session: The catalog.
        element: The kind of member.
        pairs: Datasets, each with a member.
        changes: What is changed.
        new: The datasets are being made.

    Raises:
        DerivaMLDatasetNotFound: There is no such dataset.
        DerivaMLRidsNotFound: A member does not exist.
    """
    association = element.association
    for start in range(0, len(pairs), _BATCH):
        part = pairs[start : start + _BATCH]
        rows: list[Row] = [{element.holder: rid, element.member: member} for rid, member in part]
        explain = partial(_refuse_unknown, session, element, part, new)
        changes.insert(association.schema, association.name, rows, explain)


def _refuse_unknown(
    session: Session, element: Element, pairs: Sequence[tuple[str, str]], new: bool, error: DerivaMLCatalogError
) -> None:
    """Say which reference of a refused link leads nowhere, if one does."""
    target, key = element.table, element.key
    rows = session.catalog.rows_by(target.schema, target.name, key, [member for _rid, member in pairs], columns=[key])
    known = {str(row[key]) for row in rows} | ({rid for rid, _member in pairs} if new else set())
    missing = list(dict.fromkeys(member for _rid, member in pairs if member not in known))
    if missing:
        raise DerivaMLRidsNotFound(
            missing,
            source=f"members of table {target.name}",
            hint="a list of RIDs, without tables, has their tables looked up",
        ) from error
    for rid in dict.fromkeys(rid for rid, _member in pairs if not new):
        require_dataset(session, rid)


def delete_members(
    session: Session, rid: str, members: Iterable[str] | Mapping[str, Iterable[str]], changes: Changes
) -> None:
    """Take records out of a dataset, all or none; no version is made, and the records themselves stay.

    Args:
        session: The catalog.
        rid: The dataset.
        members: RIDs, or RIDs by table.
        changes: What is changed.

    Raises:
        DerivaMLRidsNotFound: A RID does not exist.
        DerivaMLDataError: A record is no member; nothing was changed then.
    """
    session.require_writable()
    removals: list[tuple[Element, dict[str, Row]]] = []
    for element, rids in _by_element(session, members):
        present = _links(session, rid, element)
        absent = [member for member in rids if member not in present]
        if absent:
            raise DerivaMLDataError(
                f"Dataset {rid} has no such members: {_few(absent)}",
                hint="members of nested datasets are taken out of those",
            )
        if _is_nesting(session, element) and changes.draft is None:
            # A nested dataset that is taken out is still told of the change: the graph before it counts.
            changes.nesting = read_nesting(session)
        removals.append((element, {member: present[member] for member in rids}))
    with all_or_nothing(changes):
        for element, links in removals:
            association = element.association
            path = table(association.schema, association.name).where(eq(element.holder, rid))
            for part in chunks(links):
                rows = [links[member] for member in part]
                changes.delete([path.where(any_of(element.member, part))], association.schema, association.name, rows)


def list_members(
    session: Session, rid: str, *, recurse: bool = False, limit: int | None = None
) -> dict[str, list[Row]]:
    """The members of a dataset, as rows by table; every element type has its entry, empty where there are none.

    Args:
        session: The catalog, or the snapshot of a version.
        rid: The dataset.
        recurse: Include the members of nested datasets; a record that several of them hold is listed once.
        limit: At most so many of each table.
    """
    holders = [rid, *read_nesting(session).descendants(rid)] if recurse else [rid]
    known = session_elements(session)
    names = labels(element.table for element in known.values())
    return {names[name]: _rows(session, holders, element, limit) for name, element in known.items()}


def _rows(session: Session, holders: Sequence[str], element: Element, limit: int | None) -> list[Row]:
    found: dict[str, Row] = {}
    for chunk in chunks(holders):
        path = _members(element, chunk).sorted("RID")
        path = path if limit is None else path.limited(limit)
        found.update((str(row["RID"]), row) for row in session.catalog.rows(path))
    return list(found.values())[:limit]


def member_stamps(session: Session, rid: str) -> dict[str, dict[str, str]]:
    """When each member of a dataset, and of those nested in it, was last changed: by table, then by RID.

    Nested datasets have no such moment: their rows change with each version, and what is in them is listed itself.
    """
    holders = [rid, *read_nesting(session).descendants(rid)]
    known = session_elements(session)
    names = labels(element.table for element in known.values())
    found: dict[str, dict[str, str]] = {}
    for name, element in known.items():
        stamps = found[names[name]] = {}
        for chunk in chunks(holders):
            rows = session.catalog.attributes(_members(element, chunk), "RID", "RMT")
            nested = _is_nesting(session, element)
            stamps.update((str(row["RID"]), "" if nested else str(row["RMT"])) for row in rows)
    return found


def _members(element: Element, holders: Sequence[str]) -> Path:
    """The members of one kind that some datasets have."""
    return (
        table(element.association.schema, element.association.name)
        .where(any_of(element.holder, holders))
        .link(element.table.schema, element.table.name, on=[(element.member, element.key)], alias="member")
    )
