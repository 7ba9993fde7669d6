"""Bags that the public deriva-ml made, written anew as ours.

Such a bag has a CSV for each route to a table, named for the table (``data/<T1>/<T2>.csv``), and files at
``data/asset/<RID>/<Table>/<Filename>``. Here each table has one CSV with each row once (``bag_layout``). The model, the
rows and the files are those of the original: its checksums are verified before anything is taken over.

Tables of one name in two schemas are told apart by their columns; where these do not decide, the bag is refused.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from deriva_ml.core.constants import ML_SCHEMA, get_domain_schemas
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.core.files import Digests, hash_file
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.bag_layout import (
    ASSETS,
    Payload,
    payload_path,
    read_info,
    schema_facts,
    table_path,
)
from deriva_ml.dataset.bag_writer import MODEL, seal_bag, write_fetch, write_model
from deriva_ml.dataset.cells import csv_writer
from deriva_ml.dataset.spool import write_sorted
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Json, Model, Table
from deriva_ml.wire.model_documents import model_from_document
from deriva_ml.wire.rows import read_cells, read_csv
from deriva_ml.wire.values import plain

__all__ = ["ForeignBag", "find_bag"]

Name = tuple[str, str]
Row = dict[str, Json]

MANIFESTS = {"manifest-md5.txt": "md5", "manifest-sha256.txt": "sha256"}
_LINE = re.compile(r"(\S+)\s+\*?(.+)")
_RID = re.compile(r"Dataset_([0-9A-Za-z-]+)")


def find_bag(directory: Path) -> Path:
    """The bag in an unpacked archive.

    Raises:
        DerivaMLDataError: There is none, or several.
    """
    found = [path.parent for path in (*directory.glob("bagit.txt"), *directory.glob("*/bagit.txt"))]
    if len(found) != 1:
        raise DerivaMLDataError(
            f"The archive holds {len(found)} bags, where there should be one.", source=str(directory)
        )
    return found[0]


@dataclass
class ForeignBag:
    """A bag of the public deriva-ml.

    Args:
        root: Its directory.

    Attributes:
        root: Its directory.
        model: Its model.
        dataset_rid: The dataset, as the bag's name says.
    """

    root: Path
    model: Model = field(init=False)
    dataset_rid: str | None = field(init=False)

    def __post_init__(self) -> None:
        schema = self.root / MODEL
        if not schema.is_file():
            raise DerivaMLDataError(
                f"The bag {self.root.name} has no model ({MODEL}), so its tables cannot be read.", source=str(self.root)
            )
        self.model = model_from_document(json.loads(schema.read_bytes()))
        named = _RID.fullmatch(self.root.name)
        self.dataset_rid = named[1] if named else None

    def write(self, bag: Path, dataset_rid: str, snapshot: str, facts: Mapping[str, str]) -> dict[str, Digests]:
        """Write it anew as a bag of ours; files that it has are moved.

        Args:
            bag: The new bag's directory, which is not there yet.
            dataset_rid: The dataset.
            snapshot: The snapshot that it was made from.
            facts: Further entries for ``bag-info.txt``.

        Returns:
            The hashes of what was written, by path within the bag.

        Raises:
            DerivaMLValidationError: A file is not what the original's manifests say.
            DerivaMLDataError: A table cannot be read.
        """
        checksums = self._verified()
        bag.mkdir()
        data = {MODEL: write_model(bag, self.model)}
        moved: dict[str, Payload] = {}
        for name, sources in sorted(self._sources().items()):
            table = self.model.schemas[name[0]].tables[name[1]]
            rows = self._rows(table, sources)
            path = table_path(*name)
            (bag / path).parent.mkdir(parents=True, exist_ok=True)
            header, write = csv_writer(table.columns)
            data[path] = write_sorted(bag / path, header, ((rid, write(row)) for rid, row in rows.items()))
            if is_asset(table):
                moved |= self._files(table, rows, checksums)
        schemas = get_domain_schemas(self.model.schemas, ML_SCHEMA)
        known = {key: value for key, value in self._info().items() if key == "External-Identifier"}
        told = {**known, **facts, "Dataset-RID": dataset_rid, **schema_facts(ML_SCHEMA, schemas)}
        files = {**data, **seal_bag(bag, data, list(moved.values()), snapshot, told)}
        for before, payload in moved.items():
            if (self.root / before).exists():
                (bag / payload.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(self.root / before, bag / payload.path)
        lacking = [payload for payload in moved.values() if not (bag / payload.path).exists()]
        return files | write_fetch(bag, lacking, "")

    def _info(self) -> dict[str, str]:
        info = self.root / "bag-info.txt"
        return read_info(info.read_text("utf-8")) if info.exists() else {}

    # ------------------------------------------------------------------------------------------ what it holds

    def _verified(self) -> dict[str, str]:
        """The MD5 of each file, by path, after those that are there have been verified."""
        found: dict[str, dict[str, str]] = {}
        for name, kind in MANIFESTS.items():
            if (self.root / name).exists():
                for path, digest in self._manifest(name).items():
                    found.setdefault(path, {})[kind] = digest
        if not found:
            raise DerivaMLDataError(f"The bag {self.root.name} has no manifest.", source=str(self.root))
        lacking = set(self._fetched())
        checked: dict[str, str] = {}
        for path, wanted in found.items():
            file = self.root / path
            if not file.is_file():
                if path not in lacking:
                    raise DerivaMLValidationError(f"The bag {self.root.name} lacks {path}.", source=str(self.root))
                checked[path] = wanted.get("md5", "")
                continue
            digests = hash_file(file)
            for kind, digest in wanted.items():
                if getattr(digests, kind) != digest:
                    raise DerivaMLValidationError(
                        f"{path} in the bag {self.root.name} is not what its manifest says.", source=str(file)
                    )
            checked[path] = digests.md5
        return checked

    def _manifest(self, name: str) -> dict[str, str]:
        text = (self.root / name).read_text("utf-8")
        found = {}
        for line in text.splitlines():
            if line.strip():
                match = _LINE.fullmatch(line.rstrip())
                if match is None:
                    raise DerivaMLDataError(f"Not a line of a manifest: {line[:80]!r}", source=name)
                path = unquote(match[2]) if "%0" in match[2] or "%25" in match[2] else match[2]
                if path.startswith("/") or ".." in PurePosixPath(path).parts:
                    raise DerivaMLDataError(f"The manifest names a file outside the bag: {path!r}", source=name)
                found[path] = match[1].lower()
        return found

    def _fetched(self) -> dict[str, tuple[str, int | None]]:
        """The files that it lacks: where they are, and their lengths, by path."""
        listed = self.root / "fetch.txt"
        found = {}
        for line in listed.read_text("utf-8").splitlines() if listed.exists() else ():
            parts = line.split(None, 2)
            if len(parts) == 3:
                found[unquote(parts[2])] = (parts[0], int(parts[1]) if parts[1].isdigit() else None)
        return found

    def _sources(self) -> dict[Name, list[Path]]:
        """The CSVs of each table."""
        found: dict[Name, list[Path]] = {}
        for path in sorted((self.root / "data").rglob("*.csv")):
            if path.is_relative_to(self.root / ASSETS):
                continue
            table = self._table(path)
            found.setdefault(table.qualified, []).append(path)
        return found

    def _table(self, path: Path) -> Table:
        with path.open("rb") as lines:
            header, _ = read_csv(lines.readline() or b"\n")
        candidates = [
            table for table in self.model.tables_named(path.stem) if {*header} <= table.columns_by_name.keys()
        ]
        if len(candidates) != 1:
            said = path.relative_to(self.root)
            raise DerivaMLDataError(
                f"{said} cannot be read: {len(candidates) or 'no'} tables {path.stem} of the model have its columns.",
                source=str(path),
                allowed=[f"{table.schema}:{table.name}" for table in candidates],
            )
        return candidates[0]

    def _rows(self, table: Table, sources: Sequence[Path]) -> dict[str, Row]:
        """The rows of a table, each once."""
        rows: dict[str, Row] = {}
        for path in sources:
            for row in _read(table, path):
                rows.setdefault(str(row["RID"]), row)
        return rows

    def _files(self, table: Table, rows: Mapping[str, Row], checksums: Mapping[str, str]) -> dict[str, Payload]:
        """The files of an asset table by their paths in the original, as they are to be in the new bag."""
        fetched = self._fetched()
        found = {}
        for path, md5 in checksums.items():
            parts = PurePosixPath(path).parts
            if len(parts) == 5 and path.startswith(f"{ASSETS}/") and parts[3] == table.name and parts[2] in rows:
                row = rows[parts[2]]
                url, length = fetched.get(path, (str(row["URL"]), None))
                if (self.root / path).exists():
                    length = (self.root / path).stat().st_size
                given = length if length is not None else row["Length"]
                found[path] = Payload(payload_path(table, row), url, int(str(given)), md5 or str(row["MD5"]))
        return found


def _read(table: Table, path: Path) -> Iterator[Row]:
    """The rows of a CSV as the catalog's JSON rows."""
    names, cells = read_csv(path.read_bytes())
    if "RID" not in names:
        raise DerivaMLDataError(f"{path.name} has no column RID.", source=str(path))
    columns = [table.columns_by_name[name] for name in names]
    try:
        values = [
            [plain(column.type, stored) for stored in read_cells(column.type, column.name, [row[at] for row in cells])]
            for at, column in enumerate(columns)
        ]
    except ValueError as error:
        raise DerivaMLDataError(f"A value in {path.name} cannot be read: {error}", source=str(path)) from error
    for row in zip(*values, strict=True):
        yield dict(zip(names, row, strict=True))
