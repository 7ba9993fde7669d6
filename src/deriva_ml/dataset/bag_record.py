"""The checksum of a version's bag: recorded with the version when it is first exported, compared ever after.

1. What is recorded: the SHA-256 of ``tagmanifest-sha256.txt``, which vouches for every byte but ``fetch.txt``, and the
   beginning of each file's own SHA-256, so that a difference can be told by the file; and the bytes of tables and of
   the files of assets, so that it is known beforehand how large the bag is.
2. Where: in ``Dataset_Version.Bag_Checksum``, a JSON object with an entry for each way to export (other tables left
   out, other schemas: another bag). In a catalog without that column, from a snapshot, or by a user who may not write
   there, in this machine's cache. Nobody is kept from a bag because it cannot be recorded.
3. What was recorded holds: a bag that differs is not given out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import DerivaMLAuthenticationError, DerivaMLReadOnlyError, DerivaMLValidationError
from deriva_ml.core.files import Digests, atomic_write
from deriva_ml.dataset.bag_layout import SEAL
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Json

__all__ = ["BagRecord", "Checksums", "checksums_of", "recorded_size"]

COLUMN = "Bag_Checksum"
FOLDER = ".checksums"
_DIGITS = 12
_DERIVED = ("tagmanifest-", "manifest-", "bag-info.txt")
"""Files that differ whenever another does."""

Checksums = dict[str, Any]
"""``sha256``: of the whole bag; ``files``: the beginning of each file's own, by its path; ``bytes``: of ``tables`` and
``assets``, which older records do not have."""


def checksums_of(files: Mapping[str, Digests], assets: int | None = None) -> Checksums:
    """What is recorded of a bag.

    Args:
        files: The hashes of its files by path, with or without those of assets.
        assets: The bytes of the files of assets, if that is known.
    """
    kept = {name: each.sha256 for name, each in files.items() if _is_recorded(name)}
    found: Checksums = {"sha256": kept[SEAL], "files": {name: kept[name][:_DIGITS] for name in sorted(kept)}}
    if assets is not None:
        tables = sum(each.length for name, each in files.items() if _is_recorded(name))
        found["bytes"] = {"tables": tables, "assets": assets}
    return found


def recorded_size(row: Mapping[str, Json], scope: str, *, with_assets: bool = True) -> int | None:
    """How many bytes the bag of a version has, if that was recorded when it was first exported.

    Args:
        row: The version's row.
        scope: The way to export.
        with_assets: Count the files of assets.
    """
    recorded = row.get(COLUMN)
    found = recorded.get(scope) if isinstance(recorded, dict) else None
    size = found.get("bytes") if isinstance(found, dict) else None
    if not isinstance(size, dict):
        return None
    tables, assets = size.get("tables"), size.get("assets")
    if not isinstance(tables, int) or not isinstance(assets, int):
        return None
    return tables + (assets if with_assets else 0)


def _is_recorded(name: str) -> bool:
    # The manifests list the files of assets; an address is no part of what a version holds.
    return not name.startswith("data/asset/") and name != "fetch.txt"


class BagRecord:
    """What is known of the bag of one version, exported in one way.

    Args:
        session: The catalog.
        row: The version's row.
        scope: The way to export, as a word.
        label: What to call the bag in errors.
    """

    def __init__(self, session: Session, row: Mapping[str, Json], scope: str, label: str) -> None:
        self._session = session
        self._row = row
        self._scope = scope
        self._label = label

    def _in_catalog(self) -> Mapping[str, Any]:
        recorded = self._row.get(COLUMN)
        return recorded if isinstance(recorded, dict) else {}

    @property
    def _file(self) -> Path:
        catalog = f"{self._session.identity}/{self._session.catalog_id}".encode()
        name = f"{self._row['RID']}-{hashlib.sha256(catalog).hexdigest()[:16]}-{self._scope}.json"
        return self._session.cache_dir / FOLDER / name

    def _here(self) -> Checksums | None:
        try:
            document = json.loads(self._file.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return document if isinstance(document, dict) and "sha256" in document else None

    def expected(self) -> Checksums | None:
        """What was recorded, if anything was."""
        found = self._in_catalog().get(self._scope)
        return found if isinstance(found, dict) else self._here()

    def check(self, found: Checksums) -> None:
        """Compare a bag with what was recorded.

        Raises:
            DerivaMLValidationError: It differs; the error names the files.
        """
        expected = self.expected()
        if expected is None or expected["sha256"] == found["sha256"]:
            return
        names = _differing(expected.get("files", {}), found["files"])
        raise DerivaMLValidationError(
            f"The bag of {self._label} is not the one that was exported before: {', '.join(names)} "
            f"{'differs' if len(names) == 1 else 'differ'}.",
            source=f"{MLTable.dataset_version.value} {self._row['RID']}, {COLUMN}: {expected['sha256']}",
            hint="a version's past must not change: see whether it was amended, and whether you may read all that the "
            "first to export it could read; then make a new version and name that",
        )

    def keep(self, found: Checksums, *, in_catalog: bool = True) -> None:
        """Record a bag that is the first one.

        Args:
            found: The bag.
            in_catalog: With the version, if that can be; else on this machine only.
        """
        if self._scope in self._in_catalog():
            return
        here = self._here()
        if here is not None and (here.get("refused") or not in_catalog):
            return  # the catalog is asked once, not each time that the bag is used
        if not (in_catalog and self._recorded_in_catalog(found)):
            # a name of its own below a dot: it is no entry of the cache, and outlives them
            with atomic_write(self._file, durable=False) as out:
                out.write(json.dumps({**found, "refused": in_catalog}, sort_keys=True).encode())

    def _recorded_in_catalog(self, found: Checksums) -> bool:
        if COLUMN not in self._row or self._session.is_snapshot:
            return False
        document = {**self._in_catalog(), self._scope: found}
        try:
            self._session.catalog.update(
                self._session.ml_schema, MLTable.dataset_version.value, [{"RID": self._row["RID"], COLUMN: document}]
            )
        except (DerivaMLAuthenticationError, DerivaMLReadOnlyError):
            return False
        return True


def _differing(expected: Mapping[str, str], found: Mapping[str, str]) -> Sequence[str]:
    names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    return [name for name in names if not name.startswith(_DERIVED)] or names
