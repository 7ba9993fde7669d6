"""Rows that a run writes for tables of the project: files in its directory, stored when it is committed.

1. A table has one file in a run, ``<run>/table/<schema>/<Table>/<Table>.csv``; it may be written on after an upload.
2. The whole file is held against the table before anything of it is sent.
3. Each row gets its RID before it is sent, noted in a file beside the rows with what the row says. So a repeated upload
   finds the rows that are there, and a row that was changed after it was stored is an error, not a second row.
4. Where the table has one column that refers to ``Execution``, the file may leave it out: it is the run.
5. A column that refers to an asset may hold the path of an output of the run, which becomes the asset's RID.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLTableTypeError,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.core.files import hash_file, make_directory
from deriva_ml.core.values import dataclass
from deriva_ml.schema.refused_rows import reason_of_refusal
from deriva_ml.schema.row_files import FORMATS, RowFile, read_row_file
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset, is_association
from deriva_ml.wire.model import Json, Table
from deriva_ml.workspace.entries import ABANDONED, FAILED, PENDING, UPLOADED, TableEntry, encode
from deriva_ml.workspace.lines import LineFile
from deriva_ml.workspace.manifest import Manifest

__all__ = ["RowUpload", "has_changed", "reopen_rewritten", "row_file", "upload_rows"]


@dataclass(frozen=True, slots=True)
class RowUpload:
    """What became of the rows of a run.

    Attributes:
        done: How many rows of each table (``schema:Table``) are now in the catalog through this call.
        failed: Why the rows of a table could not be stored.
        unwritten: Tables whose file was never written.
    """

    done: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    unwritten: tuple[str, ...] = ()


def row_file(session: Session, manifest: Manifest, run_dir: Path, table: str | Table, file_format: str = "csv") -> Path:
    """The file of a run for rows of a table; it is the caller's to write, the directory is there.

    Args:
        session: The catalog.
        manifest: The run's manifest.
        run_dir: The run's directory.
        table: A table of the project.
        file_format: ``csv`` or ``json``.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: Its rows are made in another way.
        DerivaMLValidationError: There is no such format, or the table has a file of the other format in this run.
    """
    found = session.table(table)
    _require_plain(session, found)
    if file_format not in FORMATS:
        raise DerivaMLValidationError(f"Not a way to write rows: {file_format!r}.", allowed=FORMATS)
    schema, name = (part.replace("/", "%2F") for part in found.qualified)
    path = run_dir / "table" / schema / name / f"{name}.{file_format}"
    key = f"{found.schema}:{found.name}"
    known = manifest.tables.get(key)
    if known is None:
        manifest.add_table(TableEntry(key, found.schema, found.name, manifest.relative(path)))
    elif manifest.file_of(known) != path:
        raise DerivaMLValidationError(
            f"This run has the rows of {key} in {Path(known.path).name} already.", hint="write all of them there"
        )
    elif known.uploaded and not path.exists() and not _leases_path(path).exists():
        # Its rows are in the catalog, and it was cleaned away with what says which: it begins anew.
        manifest.update_table(key, status=PENDING, rows=0, uploaded=0)
    elif known.status == ABANDONED:
        manifest.update_table(key, status=PENDING)  # who asks for it again is about to write it
    make_directory(path.parent)
    return path


def _require_plain(session: Session, table: Table) -> None:
    """Refuse tables whose rows have a way of their own into the catalog."""
    way = None
    if is_asset(table):
        way = "register files with asset_file_path"
    elif table.schema not in session.domain_schemas:
        way = f"rows are for tables of the project: {', '.join(sorted(session.domain_schemas))}"
    elif is_association(table, max_arity=9, pure=False) and any(
        fkey.referenced_table[0] == session.ml_schema for fkey in table.association_keys()
    ):
        way = "use add_features for values of features, add_dataset_members for members of datasets"
    if way is not None:
        raise DerivaMLTableTypeError("table for plain rows", f"{table.schema}:{table.name}", hint=way)


def reopen_rewritten(manifest: Manifest) -> None:
    """Note which files that were uploaded have been written on since."""
    for entry in list(manifest.tables.values()):
        if entry.status == UPLOADED and has_changed(manifest.file_of(entry), entry):
            manifest.update_table(entry.key, status=PENDING)


def has_changed(path: Path, entry: TableEntry) -> bool:
    """Whether a file whose rows are in the catalog has been written on since."""
    try:
        return path.stat().st_size != entry.length or hash_file(path).md5 != entry.md5
    except FileNotFoundError:
        return False  # it was cleaned away: the catalog has the rows


def upload_rows(
    session: Session, manifest: Manifest, execution_rid: str, *, left_out: Collection[str] = ()
) -> RowUpload:
    """Store the rows that a run has written; the outputs that they refer to must be in the catalog.

    Args:
        session: The catalog.
        manifest: The run's manifest.
        execution_rid: The run.
        left_out: Keys of tables that stay as they are.

    Returns:
        What became of the rows of each table. One table's failure does not keep the others back.
    """
    session.require_writable()
    done: dict[str, int] = {}
    failed: dict[str, str] = {}
    unwritten: list[str] = []
    wanted = [entry for entry in manifest.pending_tables() if entry.key not in left_out]
    for entry in _ordered(session, wanted):
        try:
            if not manifest.file_of(entry).exists():
                unwritten.append(entry.key)
                raise DerivaMLDataError(f"{manifest.file_of(entry)} was registered and never written")
            done[entry.key] = _Upload(session, manifest, entry, execution_rid).run()
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            failed[entry.key] = str(error)
            manifest.update_table(entry.key, status=FAILED, error=str(error))
    return RowUpload(done, failed, tuple(unwritten))


def _ordered(session: Session, entries: list[TableEntry]) -> list[TableEntry]:
    """The tables, each after those that it refers to as far as that is possible."""
    left = {(entry.schema, entry.table): entry for entry in entries}
    found: list[TableEntry] = []
    while left:
        free = [name for name in left if not _waits(session, name, left.keys() - {name})]
        found += [left.pop(name) for name in free or [*left][:1]]
    return found


def _waits(session: Session, name: tuple[str, str], others: set[tuple[str, str]]) -> bool:
    table = session.model().table(*name)
    return table is not None and any(fkey.referenced_table in others for fkey in table.foreign_keys)


class _Upload:
    """One table's rows on their way into the catalog."""

    def __init__(self, session: Session, manifest: Manifest, entry: TableEntry, execution_rid: str) -> None:
        self._session = session
        self._manifest = manifest
        self._entry = entry
        self._execution = execution_rid
        self._path = manifest.file_of(entry)
        self._table = session.table(f"{entry.schema}:{entry.table}")

    def run(self) -> int:
        """Store the rows that are not there; how many they were.

        Raises:
            DerivaMLDataError: The file does not fit the table, or the catalog refuses a row.
        """
        before = hash_file(self._path)
        file = self._read()
        if self._manifest.tables[self._entry.key].uploaded > len(file.rows):
            raise DerivaMLDataError(
                f"{self._path.name} has {len(file.rows)} row(s), and {self._entry.uploaded} of it are in the catalog.",
                source=str(self._path),
                hint="rows that were uploaded stay in the file; add further ones behind them",
            )
        leases = _Leases(self._path)
        new = self._new(file, leases)
        rids = leases.take(self._session, file, new)
        rows = [{**file.rows[at], "RID": rid} for at, rid in zip(new, rids, strict=True)]
        self._insert(file, new, rows)
        self._manifest.update_table(
            self._entry.key,
            status=UPLOADED,
            rows=len(file.rows),
            uploaded=len(file.rows),
            length=before.length,
            md5=before.md5,
            error=None,
        )
        return len(new)

    def _read(self) -> RowFile:
        """The rows, with the run and with the RIDs of outputs in the columns that refer to them."""
        referring = self._referring()
        mine = [name for name, target in referring.items() if target == self._run_table]
        assets = [name for name, target in referring.items() if self._is_asset(target)]
        file = read_row_file(self._path, self._table, left_open=[*mine, *assets])
        for at, row in enumerate(file.rows):
            if len(mine) == 1 and row.get(mine[0]) is None:
                row[mine[0]] = self._execution
            for name in assets:
                row[name] = self._asset(file, at, name, row.get(name))
        return file

    @property
    def _run_table(self) -> tuple[str, str]:
        return (self._session.ml_schema, MLTable.execution.value)

    def _referring(self) -> dict[str, tuple[str, str]]:
        """The columns that refer to a RID by themselves, and the tables that they refer to."""
        return {
            fkey.columns[0]: fkey.referenced_table
            for fkey in self._table.foreign_keys
            if fkey.referenced_columns == ("RID",) and fkey.columns[0] not in ("RCB", "RMB")
        }

    def _is_asset(self, name: tuple[str, str]) -> bool:
        found = self._session.model().table(*name)
        return found is not None and is_asset(found)

    def _asset(self, file: RowFile, row: int, column: str, value: Json) -> Json:
        """A RID as it is; the path of an output as the RID of its asset."""
        if not isinstance(value, str) or "/" not in value:
            return value
        key = self._manifest.key_of(Path(value))
        if key is None:
            raise file.error(row, column, f"{value} is no output of this run; register it with asset_file_path")
        asset = self._manifest.asset(key)
        if asset.status != UPLOADED:
            raise file.error(row, column, f"the output {asset.file_name} is not in the catalog; its own error says why")
        return asset.rid

    def _new(self, file: RowFile, leases: _Leases) -> list[int]:
        """The rows that are not in the catalog, counted from 0.

        Raises:
            DerivaMLDataError: A row that is there says something else now.
        """
        known = self._manifest.tables[self._entry.key].uploaded
        if not leases.rids.keys() >= set(range(known)):
            raise DerivaMLDataError(
                f"{_leases_path(self._path).name} does not say which {known} rows of {self._path.name} are stored.",
                source=str(_leases_path(self._path)),
                hint="restore it from a copy; new rows belong into the file of another run",
            )
        unsure = [leases.rids[at] for at in sorted(leases.rids) if at >= known]
        present = {
            str(row["RID"])
            for row in self._session.catalog.rows_by(*self._table.qualified, "RID", unsure, columns=["RID"])
        }
        stored = {at for at, rid in leases.rids.items() if at < known or rid in present}
        for at in sorted(stored):
            if at >= len(file.rows) or leases.marks[at] != _mark(file.rows[at]):
                raise file.error(at, None, "the row is in the catalog and was changed here; add further rows behind it")
        return [at for at in range(len(file.rows)) if at not in stored]

    def _insert(self, file: RowFile, new: Sequence[int], rows: Sequence[dict[str, Json]]) -> None:
        try:
            self._session.catalog.insert(*self._table.qualified, rows, nondefaults=("RID",))
        except DerivaMLCatalogError as error:
            if error.status >= 500:
                raise
            rids = {at: str(row["RID"]) for at, row in zip(new, rows, strict=True)}
            reason = reason_of_refusal(self._session.catalog, file, rids)
            raise error if reason is None else reason from error


def _leases_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.rids")


class _Leases:
    """The RIDs of the rows of a file, and marks of what the rows said; a later line of a row holds."""

    def __init__(self, path: Path) -> None:
        self._file = LineFile(_leases_path(path))
        self.rids: dict[int, str] = {}
        self.marks: dict[int, str] = {}
        for number, line in self._file.read():
            try:
                at, rid, mark = json.loads(line)
            except (ValueError, TypeError) as error:
                raise DerivaMLDataError(
                    f"Line {number} of {self._file.path} cannot be read: {error}.", source=f"{self._file.path}:{number}"
                ) from error
            self.rids[int(at)], self.marks[int(at)] = str(rid), str(mark)

    def take(self, session: Session, file: RowFile, rows: Sequence[int]) -> list[str]:
        """The RIDs of rows, those that have none yet with new ones; they are on the disk before anything is sent."""
        without = [at for at in rows if at not in self.rids]
        if without:
            self.rids.update(zip(without, session.catalog.lease_rids(len(without)), strict=True))
        lines = []
        for at in rows:
            mark = _mark(file.rows[at])
            if self.marks.get(at) != mark:
                self.marks[at] = mark
                lines.append(json.dumps([at, self.rids[at], mark]).encode())
        if lines:
            with self._file.writing() as writer:
                writer.append(lines)
        return [self.rids[at] for at in rows]


def _mark(row: Mapping[str, Json]) -> str:
    return hashlib.sha256(encode({name: row[name] for name in sorted(row)})).hexdigest()[:16]
