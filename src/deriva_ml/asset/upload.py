"""Outputs on their way into the catalog: bytes, then rows, in batches; every step can be repeated.

1. RIDs are leased first and noted in the manifest, so that a repeated attempt finds the rows that an earlier one made.
2. A batch is one transaction of each kind: objects, asset rows, links to the execution, types, marks in the manifest.
   Whatever was done before a crash is found done: objects by their digests, rows by their RIDs, links by their keys.
3. Every output has a row of its own, whatever its content. Identical content of one name would have one object URL,
   and URLs are unique: the first keeps the name ``<md5>.<name>``, the others have ``<md5>.<RID>.<name>``. A store that
   is content-addressed, as the embedded one is, holds the bytes once all the same.
4. A file that fails does not keep the others back: its error is recorded with its entry. What concerns all files, a
   catalog that cannot be reached or does not know the caller, ends the attempt at once.
5. One process at a time uploads the outputs of a run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from urllib.parse import quote

from deriva_ml.asset.tables import ROLE, asset_table, execution_companion, metadata_columns, type_companion
from deriva_ml.core.enums import AssetRole
from deriva_ml.core.ermrest import UploadCallback, UploadProgress
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.files import Digests, file_lock, hash_file, human_size
from deriva_ml.core.json_types import Json
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Table
from deriva_ml.workspace.manifest import AssetEntry, Manifest, Uploaded

__all__ = ["BATCH", "UploadReport", "catalog_name", "object_name", "upload"]

BATCH = 500
"""How many outputs are committed together."""

THREADS = 4
"""How many objects are on their way at once."""


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What became of a run's outputs.

    Attributes:
        done: The entries that this call brought into the catalog, with RID and URL.
        failed: Those that it could not, with the error of each.
    """

    done: tuple[AssetEntry, ...] = ()
    failed: tuple[AssetEntry, ...] = ()

    @property
    def complete(self) -> bool:
        """Nothing is left to be done."""
        return not self.failed

    def require_complete(self) -> None:
        """Raise if something failed.

        Raises:
            DerivaMLUploadError: The message names the first files that failed, and why.
        """
        if self.failed:
            shown = [f"{entry.asset_table}/{entry.file_name}: {entry.error}" for entry in self.failed[:5]]
            rest = f" (and {len(self.failed) - 5} more)" if len(self.failed) > 5 else ""
            raise DerivaMLUploadError(
                f"{len(self.failed)} of {len(self.failed) + len(self.done)} outputs did not reach the catalog: "
                f"{'; '.join(shown)}{rest}",
                hint="remove the cause, then upload again: what is done is not repeated",
            )


@dataclass(slots=True)
class _Item:
    """One output while it is uploaded."""

    entry: AssetEntry
    path: Path
    digests: Digests
    url: str = ""
    exists: bool = False


def catalog_name(file_name: str) -> str:
    """A file name as the catalog can hold it: bytes that are not UTF-8 are written out in hexadecimal."""
    return os.fsencode(file_name).decode("utf-8", "backslashreplace")


def object_name(table: str, md5: str, file_name: str, rid: str | None = None) -> str:
    """The name of an output's object; with the RID where the plain name belongs to another output."""
    between = f"{rid}." if rid else ""
    return f"/hatrac/{quote(table, safe='')}/{md5}.{between}{quote(os.fsencode(file_name), safe='')}"


def upload(
    session: Session,
    execution_rid: str,
    manifest: Manifest,
    *,
    progress: UploadCallback | None = None,
    batch: int = BATCH,
    threads: int = THREADS,
) -> UploadReport:
    """Bring the outputs of a run into the catalog; those that are there already are left as they are.

    Args:
        session: The catalog.
        execution_rid: The execution that made them.
        manifest: The run's manifest.
        progress: Is told of each file that has been sent.
        batch: How many outputs are committed together.
        threads: How many objects are on their way at once.

    Returns:
        What was done, and what failed; a file that was registered and never written is among the failures.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached; what was done before is recorded.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    session.require_writable()
    with file_lock(manifest.path.with_suffix(".lock")):
        manifest.refresh()
        pending = manifest.pending_assets()
        if not pending:
            return UploadReport()
        fresh = _lease(session, manifest, pending)
        run = _Upload(session, execution_rid, manifest, progress, threads, fresh)
        run.begin(pending)
        for group in _by_table(manifest.asset(entry.key) for entry in pending):
            for start in range(0, len(group), batch):
                run.commit(group[start : start + batch])
        return UploadReport(
            tuple(manifest.asset(key) for key in run.done), tuple(manifest.asset(key) for key in run.failed)
        )


def _lease(session: Session, manifest: Manifest, entries: Iterable[AssetEntry]) -> frozenset[str]:
    """Give every entry the RID that its row will have; the RIDs that are new, and that no row can have yet."""
    without = [entry.key for entry in entries if entry.rid is None]
    if not without:
        return frozenset()
    leased = session.catalog.lease_rids(len(without))
    manifest.lease(dict(zip(without, leased, strict=True)))
    return frozenset(leased)


def _by_table(entries: Iterable[AssetEntry]) -> list[list[AssetEntry]]:
    groups: dict[tuple[str, str], list[AssetEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.schema, entry.asset_table), []).append(entry)
    return list(groups.values())


class _Upload:
    """One attempt to commit a run's outputs."""

    def __init__(
        self,
        session: Session,
        execution_rid: str,
        manifest: Manifest,
        progress: UploadCallback | None,
        threads: int,
        fresh: frozenset[str],
    ) -> None:
        self._session = session
        self._execution = execution_rid
        self._manifest = manifest
        self._progress = progress
        self._threads = threads
        self._fresh = fresh
        self._names: dict[str, str] = {}
        self._sent = 0
        self._total = 0
        self.done: list[str] = []
        self.failed: list[str] = []

    def begin(self, entries: Iterable[AssetEntry]) -> None:
        """Note how much there is to send."""
        for entry in entries:
            try:
                self._total += self._manifest.file_of(entry).stat().st_size
            except OSError:
                # the commit says what is wrong with it
                continue

    def commit(self, entries: Sequence[AssetEntry]) -> None:
        """Bring outputs of one table into the catalog."""
        errors: dict[str, str] = {}
        try:
            table = asset_table(self._session, f"{entries[0].schema}:{entries[0].asset_table}")
            items = self._hash(entries, errors)
            self._name(table, items)
            items = self._send(items, errors)
            items = self._insert(table, items, errors)
            self._link(table, items)
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            # nothing of the batch is marked: its rows are found by their RIDs next time
            items, errors = [], {entry.key: errors.get(entry.key, str(error)) for entry in entries}
        self._mark(items, errors)

    def _hash(self, entries: Sequence[AssetEntry], errors: dict[str, str]) -> list[_Item]:
        items = []
        for entry in entries:
            path = self._manifest.file_of(entry)
            if not path.is_file():
                errors[entry.key] = _absence(path)
                continue
            try:
                items.append(_Item(entry, path, hash_file(path)))
            except OSError as error:
                errors[entry.key] = f"{path} cannot be read: {error.strerror or error}"
        return items

    def _name(self, table: Table, items: list[_Item]) -> None:
        """Choose object names, and find the rows that an earlier attempt has made."""
        earlier = [item.entry.rid for item in items if item.entry.rid not in self._fresh]
        rows = self._session.catalog.rows_by(*table.qualified, "RID", earlier, columns=["RID", "URL", "MD5", "Length"])
        present = {str(row["RID"]): row for row in rows}
        for item in items:
            rid = cast("str", item.entry.rid)
            if rid in present:
                row = present[rid]
                item.exists, item.url = True, str(row["URL"])
                # The file may have been written again since its row was made: what counts is what the catalog has.
                item.digests = replace(item.digests, md5=str(row["MD5"]), length=int(cast("int", row["Length"])))
                continue
            name = object_name(table.name, item.digests.md5, item.entry.file_name)
            if self._names.setdefault(name, rid) != rid:
                name = object_name(table.name, item.digests.md5, item.entry.file_name, rid)
            item.url = name

    def _send(self, items: list[_Item], errors: dict[str, str], *, report: bool = True) -> list[_Item]:
        """Store the bytes; give the items whose bytes are stored."""
        sent: list[_Item] = []
        with ThreadPoolExecutor(self._threads, "deriva-ml-upload") as pool:
            try:
                for item, outcome in zip(items, pool.map(self._put, items), strict=True):
                    if isinstance(outcome, str):
                        item.url = outcome
                        sent.append(item)
                    else:
                        errors[item.entry.key] = str(outcome)
                    if report:
                        self._report(item)
            except BaseException:
                # what ends the attempt must not wait for hundreds of others to fail the same way
                pool.shutdown(cancel_futures=True)
                raise
        return sent

    def _put(self, item: _Item) -> str | DerivaMLException:
        if item.exists:
            return item.url
        try:
            return self._session.objects.put(
                item.url, item.path, digests=item.digests, filename=catalog_name(item.entry.file_name)
            )
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            return error
        except OSError as error:
            return DerivaMLUploadError(f"{item.path} cannot be read: {error.strerror or error}")

    def _insert(self, table: Table, items: list[_Item], errors: dict[str, str]) -> list[_Item]:
        """Make the rows that are not there; where one is refused the others are still made."""
        fresh = [item for item in items if not item.exists]
        if not self._accepted(table, fresh):
            self._rename_taken(table, fresh, errors)
            self._insert_halves(table, [item for item in fresh if item.entry.key not in errors], errors)
        return [item for item in items if item.entry.key not in errors]

    def _accepted(self, table: Table, items: list[_Item], errors: dict[str, str] | None = None) -> bool:
        """Insert rows at once; False, with the error noted for each, if the catalog refuses one of them."""
        if not items:
            return True
        try:
            self._session.catalog.insert(*table.qualified, _rows(table, items), nondefaults=("RID",))
        except DerivaMLCatalogError as error:
            if error.status >= 500:
                raise
            if errors is not None:
                errors.update({item.entry.key: str(error) for item in items})
            return False
        return True

    def _rename_taken(self, table: Table, items: list[_Item], errors: dict[str, str]) -> None:
        """Give outputs other object names where those chosen belong to assets of the catalog already."""
        urls = [item.url for item in items]
        taken = {row["URL"] for row in self._session.catalog.rows_by(*table.qualified, "URL", urls, columns=["URL"])}
        renamed = [item for item in items if item.url in taken]
        for item in renamed:
            item.url = object_name(table.name, item.digests.md5, item.entry.file_name, item.entry.rid)
        self._send(renamed, errors, report=False)

    def _insert_halves(self, table: Table, items: list[_Item], errors: dict[str, str]) -> None:
        """Insert rows by halves, until those that the catalog refuses stand alone."""
        if self._accepted(table, items, errors if len(items) == 1 else None):
            return
        if len(items) == 1:
            self._insert_renamed(table, items, errors)
            return
        half = len(items) // 2
        self._insert_halves(table, items[:half], errors)
        self._insert_halves(table, items[half:], errors)

    def _insert_renamed(self, table: Table, items: list[_Item], errors: dict[str, str]) -> None:
        """Try one output again under a name with its RID, if another run has taken its name in the meantime."""
        (item,) = items
        refusal, plain = errors.pop(item.entry.key), item.url
        self._rename_taken(table, items, errors)
        if item.url == plain:
            errors[item.entry.key] = refusal
        elif item.entry.key not in errors:
            self._accepted(table, items, errors)

    def _link(self, table: Table, items: list[_Item]) -> None:
        """Say which execution made the outputs, and of which types they are; what is said already is left."""
        made = execution_companion(self._session, table)
        catalog = self._session.catalog
        rows: list[dict[str, Json]] = [
            {made.asset: item.entry.rid, made.other: self._execution, ROLE: AssetRole.output.value} for item in items
        ]
        catalog.insert(*made.table.qualified, rows, on_conflict_skip=True)
        typed = type_companion(self._session, table)
        rows = [{typed.asset: item.entry.rid, typed.other: name} for item in items for name in item.entry.asset_types]
        catalog.insert(*typed.table.qualified, rows, on_conflict_skip=True)

    def _mark(self, items: list[_Item], errors: dict[str, str]) -> None:
        with self._manifest.batch():
            self._manifest.mark_uploaded(
                Uploaded(item.entry.key, cast("str", item.entry.rid), item.url, item.digests.md5, item.digests.length)
                for item in items
            )
            self._manifest.mark_failed(errors)
        self.done.extend(item.entry.key for item in items)
        self.failed.extend(errors)

    def _report(self, item: _Item) -> None:
        self._sent += item.digests.length
        if self._progress is None:
            return
        total = max(self._total, self._sent)
        self._progress(
            UploadProgress(
                file_path=str(item.path),
                file_name=item.entry.file_name,
                bytes_completed=self._sent,
                bytes_total=total,
                percent_complete=100.0 * self._sent / total if total else 100.0,
                phase="uploading",
                message=f"{item.entry.file_name}: {human_size(self._sent)} of {human_size(total)}",
            )
        )


def _rows(table: Table, items: Sequence[_Item]) -> list[dict[str, Json]]:
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
            "Length": item.digests.length,
            "MD5": item.digests.md5,
        }
        for item in items
    ]


def _absence(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a directory, not a file"
    if path.is_symlink():
        return f"{path} is a symbolic link to a file that does not exist"
    return f"{path} was registered and never written"
