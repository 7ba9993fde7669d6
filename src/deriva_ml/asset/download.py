"""Inputs on their way from the catalog: every file under the RID of its asset, whole and verified, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import cast

from deriva_ml.asset.aux_classes import AssetFilePath
from deriva_ml.asset.cached import asset_key
from deriva_ml.asset.tables import ROLE, execution_companion, metadata_columns, type_companion
from deriva_ml.core.enums import AssetRole
from deriva_ml.core.exceptions import (
    DerivaMLCatalogError,
    DerivaMLDataError,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
)
from deriva_ml.core.files import Digests, hash_file
from deriva_ml.core.json_types import Json
from deriva_ml.core.values import dataclass
from deriva_ml.schema.places import cache_of
from deriva_ml.schema.rids import resolve_rids
from deriva_ml.schema.session import Session
from deriva_ml.schema.tables import is_asset
from deriva_ml.wire.model import Table
from deriva_ml.workspace.placing import place_file

__all__ = ["THREADS", "download", "download_many", "link_inputs"]

THREADS = 4
"""How many files are on their way at once."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file to be fetched."""

    rid: str
    table: Table
    row: Mapping[str, Json]
    types: Sequence[str]

    @property
    def name(self) -> str:
        """The file's name, such that it cannot lead out of its directory."""
        name = str(self.row.get("Filename") or self.row.get("MD5") or self.rid)
        name = name.replace("/", "_").replace("\0", "_")
        return f"_{name}" if name in (".", "..") else name

    @property
    def md5(self) -> str | None:
        value = self.row.get("MD5")
        return str(value).lower() if value else None


def download(session: Session, rid: str, dest_dir: Path | str, *, use_cache: bool = True) -> AssetFilePath:
    """Bring the file of one asset to ``<dest_dir>/<RID>/<file name>``.

    Args:
        session: The catalog.
        rid: The asset.
        dest_dir: Where inputs lie.
        use_cache: Take it from the cache, or keep it there for others. The file in ``dest_dir`` is then a hard link
            where that is possible, and is write-protected.

    Raises:
        DerivaMLRidsNotFound: There is no such record.
        DerivaMLTableTypeError: It is not an asset.
        DerivaMLDataError: Its bytes are not in the object store, are not what the record says, or another file is at
            the destination.
    """
    return download_many(session, [rid], dest_dir, use_cache=use_cache)[0]


def download_many(
    session: Session,
    rids: Iterable[str],
    dest_dir: Path | str,
    *,
    use_cache: bool | Mapping[str, bool] = True,
    threads: int = THREADS,
) -> list[AssetFilePath]:
    """Bring the files of assets to ``<dest_dir>/<RID>/<file name>``, several at a time, in the order of the RIDs.

    The number of requests for records depends on the number of tables, not on that of files.

    Args:
        session: The catalog.
        rids: The assets.
        dest_dir: Where inputs lie.
        use_cache: For all of them, or by RID; see :func:`download`.
        threads: How many files are on their way at once.
    """
    wanted = _records(session, list(dict.fromkeys(rids)))
    dest = Path(dest_dir)

    def fetch(one: _Wanted) -> AssetFilePath:
        cached = use_cache if isinstance(use_cache, bool) else use_cache.get(one.rid, True)
        return _fetch(session, one, dest / one.rid / one.name, use_cache=cached)

    if len(wanted) == 1:
        return [fetch(wanted[0])]
    with ThreadPoolExecutor(threads, "deriva-ml-download") as pool:
        try:
            return list(pool.map(fetch, wanted))
        except BaseException:
            # one input that is missing makes the others useless: those not begun are not fetched
            pool.shutdown(cancel_futures=True)
            raise


def link_inputs(session: Session, execution_rid: str, rids: Iterable[str]) -> None:
    """Record that an execution reads assets; what is recorded already is left.

    Raises:
        DerivaMLRidsNotFound: There is no such record.
        DerivaMLTableTypeError: One is not an asset.
    """
    session.require_writable()
    for found, members in _by_table(session, list(dict.fromkeys(rids))):
        companion = execution_companion(session, found)
        rows: list[dict[str, Json]] = [
            {companion.asset: rid, companion.other: execution_rid, ROLE: AssetRole.input.value} for rid in members
        ]
        session.catalog.insert(*companion.table.qualified, rows, on_conflict_skip=True)


def _by_table(session: Session, rids: list[str]) -> list[tuple[Table, list[str]]]:
    groups: dict[tuple[str, str], tuple[Table, list[str]]] = {}
    for rid, found in resolve_rids(session, rids).items():
        if not is_asset(found.table):
            raise DerivaMLTableTypeError(
                "asset table", found.table_name, source=f"RID {rid} is not for an asset table."
            )
        groups.setdefault(found.table.qualified, (found.table, []))[1].append(rid)
    return list(groups.values())


def _records(session: Session, rids: list[str]) -> list[_Wanted]:
    """The records of assets, with their types, in the order of the RIDs."""
    found: dict[str, _Wanted] = {}
    for table, members in _by_table(session, rids):
        rows = {str(row["RID"]): row for row in session.catalog.rows_by(*table.qualified, "RID", members)}
        companion = type_companion(session, table)
        types: dict[str, list[str]] = {}
        columns = [companion.asset, companion.other]
        for row in session.catalog.rows_by(*companion.table.qualified, companion.asset, members, columns=columns):
            types.setdefault(str(row[companion.asset]), []).append(str(row[companion.other]))
        for rid in members:
            found[rid] = _Wanted(rid, table, rows[rid], sorted(types.get(rid, [])))
    return [found[rid] for rid in rids]


def _fetch(session: Session, wanted: _Wanted, target: Path, *, use_cache: bool) -> AssetFilePath:
    url = str(wanted.row.get("URL") or "")
    if not url.startswith("/hatrac/"):
        raise DerivaMLDataError(
            f"The bytes of asset {wanted.rid} ({wanted.name}) are not in the catalog's object store.",
            source=f"{wanted.table.name}.URL = {url!r}",
            hint="it is a reference to a file elsewhere; of another catalog's store it can be brought here: "
            "deriva_ml.catalog.localize_assets, or deriva-ml-catalog localize",
        )
    if use_cache and wanted.md5:
        _from_cache(session, wanted, url, target)
    elif not _is_there(wanted, target):
        _bring(session, wanted, url, target)
    metadata = {column.name: wanted.row.get(column.name) for column in metadata_columns(wanted.table)}
    return AssetFilePath(target, wanted.table.name, wanted.name, metadata, wanted.types, wanted.rid)


def _length(wanted: _Wanted) -> int | None:
    value = wanted.row.get("Length")
    return None if value is None else int(cast("int", value))


def _from_cache(session: Session, wanted: _Wanted, url: str, target: Path) -> None:
    """Put the file in place from the cache, filling it first if need be."""

    def fill(directory: Path) -> dict[str, Digests]:
        return {wanted.name: _bring(session, wanted, url, directory / wanted.name)}

    key = asset_key(session, wanted.rid, str(wanted.md5))
    entry = cache_of(session).populate(key, fill)
    (name,) = entry.files
    place_file(entry.path / name, target)


def _bring(session: Session, wanted: _Wanted, url: str, target: Path) -> Digests:
    """Fetch the file, with the asset in what is said if it is not there or is another.

    Raises:
        DerivaMLDataError: The store does not have it, or not all of it; a ``DerivaMLValidationError`` if it has
            something else.
    """
    try:
        return session.objects.fetch(url, target, md5=wanted.md5, length=_length(wanted))
    except (DerivaMLDataError, DerivaMLCatalogError) as error:
        if isinstance(error, DerivaMLCatalogError) and error.status != HTTPStatus.NOT_FOUND:
            raise
        kind = DerivaMLValidationError if isinstance(error, DerivaMLValidationError) else DerivaMLDataError
        said = str(error).splitlines()[0]
        raise kind(
            f"The file of asset {wanted.rid} ({wanted.table.name}, {wanted.name}) could not be fetched: {said}",
            source=f"{wanted.table.name}.URL = {url!r}",
            hint=error.hint or "see that the object is there, and repeat: nothing was kept",
        ) from error


def _is_there(wanted: _Wanted, target: Path) -> bool:
    """Whether an earlier attempt has brought the file.

    Raises:
        DerivaMLDataError: Another file is there.
    """
    if not target.exists():
        return False
    digests = hash_file(target)
    if wanted.md5 in (None, digests.md5) and _length(wanted) in (None, digests.length):
        return True
    raise DerivaMLDataError(
        f"{target} is there already, with other content than asset {wanted.rid}.",
        hint="remove it, or use a new directory",
    )
