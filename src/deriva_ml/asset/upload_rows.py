"""The rows of outputs: made once, however often it is tried, and the links that say what made them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from deriva_ml.asset.tables import ROLE, Companion, execution_companion, metadata_columns, type_companion
from deriva_ml.catalog.bulk import Content
from deriva_ml.catalog.transport import PASSING, Retry
from deriva_ml.core.enums import AssetRole, MLVocab
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLInvalidTerm, DerivaMLUnreachable
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import list_vocabulary_terms
from deriva_ml.wire.batch import Member, weigh
from deriva_ml.wire.model import Table
from deriva_ml.workspace.manifest import AssetEntry

__all__ = ["Item", "RowWriter", "catalog_name", "object_name", "patiently"]

T = TypeVar("T")


@dataclass(slots=True)
class Item:
    """One output while it is uploaded.

    Attributes:
        entry: Its entry in the manifest.
        path: Its file.
        content: The file, hashed.
        md5: MD5 of what the catalog has, or will have.
        length: Its size.
        url: Where the object store has it, or will have it.
        exists: Its row is there.
    """

    entry: AssetEntry
    path: Path
    content: Content | None = None
    md5: str = ""
    length: int = 0
    url: str = ""
    exists: bool = False


def catalog_name(file_name: str) -> str:
    """A file name as the catalog can hold it: bytes that are not UTF-8 are written out in hexadecimal."""
    return os.fsencode(file_name).decode("utf-8", "backslashreplace")


def object_name(table: str, md5: str, file_name: str, rid: str | None = None) -> str:
    """The name of an output's object; with the RID where the plain name belongs to another output."""
    between = f"{rid}." if rid else ""
    return f"/hatrac/{quote(table, safe='')}/{md5}.{between}{quote(os.fsencode(file_name), safe='')}"


class RowWriter:
    """Makes rows for the outputs of a run.

    Args:
        session: The catalog.
        execution_rid: The execution that made them.
        retry: When to try again after a loss of the connection, or a fault that may pass.
        send: Stores the bytes of items again, under other names; notes the errors of those that it cannot.
    """

    def __init__(
        self,
        session: Session,
        execution_rid: str,
        retry: Retry,
        send: Callable[[list[Item], dict[str, str]], object],
    ) -> None:
        self._session = session
        self._execution = execution_rid
        self._retry = retry
        self._send = send

    def present(self, table: Table, rids: Sequence[str]) -> dict[str, Mapping[str, Json]]:
        """The rows that are there, by RID."""
        columns = ["RID", "URL", "MD5", "Length"]
        found = self._session.catalog.rows_by(*table.qualified, "RID", rids, columns=columns)
        return {str(row["RID"]): row for row in found}

    def record(self, table: Table, items: list[Item], errors: dict[str, str]) -> list[Item]:
        """Make the rows that are not there, and say what made them, in one transaction where the service takes that.

        Where it does not, or refuses something of it, the rows come first, then the links, then the types.

        Returns:
            The items whose rows are there, with all that is said of them.
        """
        if not self._at_once(table, items):
            items = self.insert(table, items, errors)
            items = self.link(table, items, errors)
        return items

    def _at_once(self, table: Table, items: list[Item]) -> bool:
        """Make everything in one transaction; False if that cannot be, and then nothing was made."""
        attempt = 1
        while True:
            members = self._members(table, items)
            several = self._session.catalog.several
            if not several.has_room(len(members), sum(map(weigh, members))):
                return False
            try:
                several.change(members)
            except (DerivaMLUnreachable, DerivaMLCatalogError) as error:
                if isinstance(error, DerivaMLCatalogError) and error.status < 500:
                    return False
                if not _may_pass(error) or not self._retry.again(attempt):
                    raise
            else:
                return True
            attempt += 1
            self._note_present(table, items)

    def _members(self, table: Table, items: Sequence[Item]) -> list[Member]:
        catalog = self._session.catalog
        fresh = _rows(table, [item for item in items if not item.exists])
        members = catalog.insertions(*table.qualified, fresh, nondefaults=("RID",))
        for into, rows in self._links(table, items):
            members += catalog.insertions(*into.qualified, rows, on_conflict_skip=True)
        return members

    def insert(self, table: Table, items: list[Item], errors: dict[str, str]) -> list[Item]:
        """Make the rows that are not there; where one is refused the others are still made."""
        fresh = [item for item in items if not item.exists]
        if not self._accepted(table, fresh):
            fresh = [item for item in fresh if not item.exists]
            self._rename_taken(table, fresh, errors)
            self._insert_halves(table, [item for item in fresh if item.entry.key not in errors], errors)
        return [item for item in items if item.entry.key not in errors]

    def _accepted(self, table: Table, items: list[Item], errors: dict[str, str] | None = None) -> bool:
        """Insert rows at once; False, with the error noted for each, if the catalog refuses one of them."""
        if not items:
            return True
        try:
            self._insert_once(table, items)
        except DerivaMLCatalogError as error:
            if error.status >= 500:
                raise
            self._note_present(table, items)
            rest = [item for item in items if not item.exists]
            if len(rest) < len(items):
                return self._accepted(table, rest, errors)
            if errors is not None:
                errors.update({item.entry.key: str(error) for item in items})
            return False
        return True

    def _note_present(self, table: Table, items: Sequence[Item]) -> None:
        """Note which rows are there: of a request whose answer was lost, the service may have been at work still."""
        there = self.present(table, [str(item.entry.rid) for item in items if not item.exists])
        for item in items:
            item.exists = item.exists or item.entry.rid in there

    def _rename_taken(self, table: Table, items: list[Item], errors: dict[str, str]) -> None:
        """Give outputs other object names where those chosen belong to assets of the catalog already."""
        urls = [item.url for item in items]
        taken = {row["URL"] for row in self._session.catalog.rows_by(*table.qualified, "URL", urls, columns=["URL"])}
        renamed = [item for item in items if item.url in taken]
        for item in renamed:
            item.url = object_name(table.name, item.md5, item.entry.file_name, item.entry.rid)
        self._send(renamed, errors)

    def _insert_halves(self, table: Table, items: list[Item], errors: dict[str, str]) -> None:
        """Insert rows by halves, until those that the catalog refuses stand alone."""
        if self._accepted(table, items, errors if len(items) == 1 else None):
            return
        if len(items) == 1:
            self._insert_renamed(table, items, errors)
            return
        half = len(items) // 2
        self._insert_halves(table, items[:half], errors)
        self._insert_halves(table, items[half:], errors)

    def _insert_renamed(self, table: Table, items: list[Item], errors: dict[str, str]) -> None:
        """Try one output again under a name with its RID, if another run has taken its name in the meantime."""
        (item,) = items
        refusal, plain = errors.pop(item.entry.key), item.url
        self._rename_taken(table, items, errors)
        if item.url == plain:
            errors[item.entry.key] = refusal
        elif item.entry.key not in errors:
            self._accepted(table, items, errors)

    def link(self, table: Table, items: list[Item], errors: dict[str, str]) -> list[Item]:
        """Say which execution made the outputs, and of which types they are; what is said already is left.

        Returns:
            The outputs of which that could be said: a type that could not be checked when the output was registered,
            since the catalog was away, may be no term.
        """
        (made, links), (typed, types) = self._links(table, items)
        self._repeat(made, links)
        try:
            self._repeat(typed, types)
        except DerivaMLCatalogError as error:
            if error.status != 409:
                raise
            return self._check_types(type_companion(self._session, table), items, errors)
        return items

    def _links(self, table: Table, items: Sequence[Item]) -> list[tuple[Table, list[dict[str, Json]]]]:
        """What is said of outputs beside their own rows, by table: who made them, and of which types they are."""
        made, typed = execution_companion(self._session, table), type_companion(self._session, table)
        role = {made.other: self._execution, ROLE: AssetRole.output.value}
        return [
            (made.table, [{made.asset: item.entry.rid, **role} for item in items]),
            (typed.table, _type_rows(typed, {item.entry.key: item.entry.asset_types for item in items}, items)),
        ]

    def _check_types(self, typed: Companion, items: list[Item], errors: dict[str, str]) -> list[Item]:
        """Say the types of the outputs whose types are terms; note what is wrong with the others."""
        terms = list_vocabulary_terms(self._session, f"{self._session.ml_schema}:{MLVocab.asset_type.value}")
        known = {synonym: term.name for term in terms for synonym in term.synonyms}
        known |= {term.name: term.name for term in terms}
        for item in items:
            for name in item.entry.asset_types:
                if name not in known:
                    vocabulary = MLVocab.asset_type.value
                    errors[item.entry.key] = str(DerivaMLInvalidTerm(vocabulary, name, allowed=nearest(name, known)))
        said = [item for item in items if item.entry.key not in errors]
        preferred = {
            item.entry.key: tuple(dict.fromkeys(known[name] for name in item.entry.asset_types)) for item in said
        }
        self._repeat(typed.table, _type_rows(typed, preferred, said))
        return said

    def _insert_once(self, table: Table, items: Sequence[Item]) -> None:
        """Insert rows; where the answer was lost, those that were made are not made again."""
        attempt = 1
        while items:
            try:
                self._session.catalog.insert(*table.qualified, _rows(table, items), nondefaults=("RID",))
            except (DerivaMLUnreachable, DerivaMLCatalogError) as error:
                if not _may_pass(error):
                    raise
                if not self._retry.again(attempt):
                    if isinstance(error, DerivaMLUnreachable):
                        error.was_repeated = True
                    raise
            else:
                return
            attempt += 1
            there = self.present(table, [str(item.entry.rid) for item in items])
            items = [item for item in items if item.entry.rid not in there]

    def _repeat(self, table: Table, rows: Sequence[Mapping[str, Json]]) -> None:
        """Insert what may be inserted again and again."""
        given = [dict(row) for row in rows]
        patiently(self._retry, lambda: self._session.catalog.insert(*table.qualified, given, on_conflict_skip=True))


def patiently(retry: Retry, work: Callable[[], T]) -> T:
    """Do what can be repeated without harm, again if the connection was lost or the fault may pass.

    Args:
        retry: When to try again.
        work: What is done.
    """
    attempt = 1
    while True:
        try:
            return work()
        except (DerivaMLUnreachable, DerivaMLCatalogError) as error:
            if not _may_pass(error):
                raise
            if not retry.again(attempt):
                if isinstance(error, DerivaMLUnreachable):
                    error.was_repeated = True
                raise
        attempt += 1


def _may_pass(error: DerivaMLUnreachable | DerivaMLCatalogError) -> bool:
    if isinstance(error, DerivaMLCatalogError):
        return error.status in PASSING
    return not error.was_repeated


def _type_rows(typed: Companion, types: Mapping[str, Sequence[str]], items: Sequence[Item]) -> list[dict[str, Json]]:
    """The rows that say of which types outputs are; the types are given by the outputs' keys."""
    return [{typed.asset: item.entry.rid, typed.other: name} for item in items for name in types[item.entry.key]]


def _rows(table: Table, items: Sequence[Item]) -> list[dict[str, Json]]:
    """The rows of outputs; a column for which none of them has a value is left to the catalog."""
    defaults = {column.name: column.default for column in metadata_columns(table)}
    used = {name: defaults.get(name) for item in items for name in item.entry.metadata}
    return [
        {
            **used,
            **item.entry.metadata,
            "RID": item.entry.rid,
            "URL": item.url,
            "Filename": catalog_name(item.entry.file_name),
            "Description": item.entry.description,
            "Length": item.length,
            "MD5": item.md5,
        }
        for item in items
    ]
