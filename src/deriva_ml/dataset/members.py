"""Members of datasets: adding, deleting, listing; a number of requests that does not grow with the members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLCycleError, DerivaMLDataError, DerivaMLTableTypeError
from deriva_ml.core.files import nearest
from deriva_ml.dataset.elements import Element, elements, labels
from deriva_ml.dataset.nesting import read_nesting
from deriva_ml.schema.rids import resolve_rids
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import Associate, association_document
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.path import any_of, both, eq, table

__all__ = [
    "add_dataset_element_type",
    "add_members",
    "delete_members",
    "list_dataset_element_types",
    "list_members",
    "session_elements",
]

Row = dict[str, Json]
_NAMED = 5
"""How many offending RIDs an error names."""
_LIST_BYTES = 3000
"""The length of a list of RIDs in one request; services accept some 4 KiB."""


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
    session.catalog.create_table(chosen.schema, document)
    return chosen


def chunks(rids: Iterable[str], size: int = _LIST_BYTES) -> Iterator[list[str]]:
    """Lists of RIDs that are at most ``size`` bytes long in a request."""
    chunk: list[str] = []
    length = 0
    for rid in rids:
        if chunk and length + len(rid) + 1 > size:
            yield chunk
            chunk, length = [], 0
        chunk.append(rid)
        length += len(rid) + 1
    if chunk:
        yield chunk


def _few(rids: Sequence[str]) -> str:
    return ", ".join(rids[:_NAMED]) + (f" and {len(rids) - _NAMED} more" if len(rids) > _NAMED else "")


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
    if isinstance(members, Mapping):
        for name, rids in members.items():
            wanted.setdefault(session.table(name).qualified, {}).update(dict.fromkeys(rids))
    else:
        for rid, found in resolve_rids(session, members).items():
            wanted.setdefault((found.schema_name, found.table_name), {})[rid] = None
    for name, rids in wanted.items():
        if name not in known:
            raise DerivaMLTableTypeError(
                "dataset element",
                name[1],
                source=f"member {_few(list(rids))}",
                hint=f"call add_dataset_element_type({name[1]!r}) first; element types here: "
                + ", ".join(nearest(name[1], (key[1] for key in known))),
            )
    return [(known[name], list(rids)) for name, rids in wanted.items() if rids]


def _present(session: Session, rid: str, element: Element) -> list[str]:
    path = table(element.association.schema, element.association.name).where(eq(element.holder, rid))
    return [str(row[element.member]) for row in session.catalog.attributes(path, element.member)]


def add_members(
    session: Session,
    rid: str,
    members: Iterable[str] | Mapping[str, Iterable[str]],
    *,
    validate: bool = True,
) -> int:
    """Put records into a dataset; no version is made.

    Args:
        session: The catalog.
        rid: The dataset.
        members: RIDs, whose tables are looked up; or RIDs by table, which are believed.
        validate: A record that is a member already is an error; else it is passed over.

    Returns:
        How many records became members.

    Raises:
        DerivaMLRidsNotFound: A RID does not exist.
        DerivaMLTableTypeError: Rows of a table cannot be members.
        DerivaMLCycleError: The dataset would come to hold itself.
        DerivaMLDataError: A record is a member already.
    """
    session.require_writable()
    additions: list[tuple[Element, list[str]]] = []
    # Everything is checked before anything is written.
    for element, rids in _by_element(session, members):
        if element.table.qualified == (session.ml_schema, MLTable.dataset.value):
            cycle = read_nesting(session).cycle_with(rid, rids)
            if cycle is not None:
                raise DerivaMLCycleError(cycle, "Creating cycle of datasets is not allowed")
        present = set(_present(session, rid, element))
        again = [member for member in rids if member in present]
        if again and validate:
            raise DerivaMLDataError(
                f"Dataset {rid} has these members already: {_few(again)}",
                hint="leave them out, or pass validate=False to pass over them",
            )
        additions.append((element, [member for member in rids if member not in present]))
    for element, rids in additions:
        rows: list[Row] = [{element.holder: rid, element.member: member} for member in rids]
        if rows:
            session.catalog.insert(
                element.association.schema, element.association.name, rows, on_conflict_skip=not validate
            )
    return sum(len(rids) for _element, rids in additions)


def delete_members(session: Session, rid: str, members: Iterable[str] | Mapping[str, Iterable[str]]) -> int:
    """Take records out of a dataset; no version is made, and the records themselves stay.

    Returns:
        How many records were taken out.

    Raises:
        DerivaMLRidsNotFound: A RID does not exist.
        DerivaMLDataError: A record is no member; nothing was changed then.
    """
    session.require_writable()
    removals = _by_element(session, members)
    for element, rids in removals:
        present = set(_present(session, rid, element))
        absent = [member for member in rids if member not in present]
        if absent:
            raise DerivaMLDataError(f"Dataset {rid} has no such members: {_few(absent)}")
    for element, rids in removals:
        association = table(element.association.schema, element.association.name)
        for chunk in chunks(rids):
            session.catalog.delete(association.where(both(eq(element.holder, rid), any_of(element.member, chunk))))
    return sum(len(rids) for _element, rids in removals)


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
        path = (
            table(element.association.schema, element.association.name)
            .where(any_of(element.holder, chunk))
            .link(element.table.schema, element.table.name, on=[(element.member, element.key)], alias="member")
            .sorted("RID")
        )
        path = path if limit is None else path.limited(limit)
        found.update((str(row["RID"]), row) for row in session.catalog.rows(path))
    return list(found.values())[:limit]
