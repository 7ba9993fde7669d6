"""Files that a catalog refers to and does not hold: rows of ``File``, and a dataset for each directory.

1. Everything is checked before anything is written: the execution, the types, the files themselves.
2. A file that the catalog knows already (the same place and the same content) is not entered twice; so what broke off
   can be done again. A file that has changed since is another one, told apart by the date in its URL; on the same day
   it is an error.
3. A directory's dataset holds the files that lie in it directly, and the datasets of the directories below it. Which
   directory lies in which is decided by the paths' parts, and directories that have no files of their own between
   two others are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from deriva_ml.asset.tables import ROLE, execution_companion, type_companion
from deriva_ml.core.enums import AssetRole, MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLTableTypeError, DerivaMLValidationError
from deriva_ml.core.filespec import FILE_TYPE, FileSpec
from deriva_ml.core.json_types import Json
from deriva_ml.dataset.creation import NewDataset, create_datasets
from deriva_ml.dataset.dataset import Dataset
from deriva_ml.schema.rids import resolve_rid
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.wire.model import Table
from deriva_ml.wire.path import table

__all__ = ["add_files", "list_files"]

Row = dict[str, Json]


def add_files(
    session: Session,
    files: Iterable[FileSpec],
    execution_rid: str,
    dataset_types: str | list[str] | None = None,
    description: str = "",
) -> Dataset:
    """Enter files into the catalog by reference, and make a dataset for each of their directories.

    Args:
        session: The catalog.
        files: The files.
        execution_rid: The execution that adds them.
        dataset_types: Types of the datasets; the type ``File`` is added to them.
        description: What the datasets hold; those below the first one have the path of their directory behind it.

    Returns:
        The dataset of the directory that all the others lie in.

    Raises:
        DerivaMLTableTypeError: The RID is not that of an execution.
        DerivaMLInvalidTerm: A type of a file or of the datasets is not in its vocabulary.
        DerivaMLValidationError: There are no files, or two of them are at one place.
        DerivaMLDataError: The catalog knows another content of a file of the same day.
    """
    session.require_writable()
    found = resolve_rid(session, execution_rid).table
    if (found.schema, found.name) != (session.ml_schema, MLTable.execution.value):
        raise DerivaMLTableTypeError(MLTable.execution.value, f"{found.name}, which holds {execution_rid},")
    specs = _distinct(files)
    types = _file_types(session, specs)
    given = [dataset_types] if isinstance(dataset_types, str) else list(dataset_types or ())
    names = check_terms(session, MLVocab.dataset_type.value, list(dict.fromkeys([*given, FILE_TYPE])))
    rids = _enter(session, specs, types, execution_rid)
    return _make_datasets(session, _by_directory(specs, rids), execution_rid, names, description)


def list_files(session: Session, file_types: Iterable[str] | str | None = None) -> list[dict[str, Json]]:
    """The files that the catalog refers to, in two requests.

    Args:
        session: The catalog.
        file_types: Only files that have one of these types.

    Returns:
        For each file ``RID``, ``URL``, ``MD5``, ``Length``, ``Description`` and ``File_Types``.

    Raises:
        DerivaMLInvalidTerm: There is no such type.
    """
    wanted: set[str] | None = None
    if file_types is not None:
        given = [file_types] if isinstance(file_types, str) else list(file_types)
        wanted = set(check_terms(session, MLVocab.asset_type.value, given))
    found = session.catalog.table(session.ml_schema, MLTable.file.value)
    companion = type_companion(session, found)
    types: dict[str, list[Json]] = {}
    for row in session.catalog.attributes(table(*companion.table.qualified), companion.asset, companion.other):
        types.setdefault(str(row[companion.asset]), []).append(row[companion.other])
    columns = ["RID", "URL", "MD5", "Length", "Description"]
    rows = session.catalog.attributes(table(*found.qualified).sorted("RID"), *columns)
    files: list[dict[str, Json]] = [
        {**{name: row[name] for name in columns}, "File_Types": sorted(types.get(str(row["RID"]), []), key=str)}
        for row in rows
    ]
    return [file for file in files if wanted is None or wanted & set(types.get(str(file["RID"]), ()))]


def _distinct(files: Iterable[FileSpec]) -> list[FileSpec]:
    specs: dict[str, FileSpec] = {}
    for spec in files:
        place = _place(spec.url)
        if place in specs and specs[place] != spec:
            raise DerivaMLValidationError(f"Two different files at one place: {spec.url}")
        specs[place] = spec
    if not specs:
        raise DerivaMLValidationError("There are no files to add.", hint="FileSpec.create_filespecs(path, description)")
    return list(specs.values())


def _place(url: str) -> str:
    """What a URL says of the place, whenever it was written: its host and its path."""
    host, date, path = url.partition(",")[0], url.partition(",")[2][:10], url.partition(":file://")[2]
    return f"{host} {path}" if path and date else url


def _file_types(session: Session, specs: Sequence[FileSpec]) -> list[list[str]]:
    """The types of each file, by their preferred names."""
    named = list(dict.fromkeys(name for spec in specs for name in [FILE_TYPE, *(spec.file_types or ())]))
    preferred = dict(zip(named, check_terms(session, MLVocab.asset_type.value, named), strict=True))
    return [list(dict.fromkeys(preferred[name] for name in [FILE_TYPE, *(spec.file_types or ())])) for spec in specs]


def _enter(session: Session, specs: Sequence[FileSpec], types: Sequence[Sequence[str]], execution: str) -> list[str]:
    """Make the rows that are not there; the RIDs of all, in order."""
    catalog = session.catalog
    found = catalog.table(session.ml_schema, MLTable.file.value)
    known = _known(session, found, specs)
    new = [spec for spec in specs if (_place(spec.url), spec.md5) not in known]
    for spec, rid in zip(new, catalog.lease_rids(len(new)) if new else (), strict=True):
        known[_place(spec.url), spec.md5] = rid
    rids = [known[_place(spec.url), spec.md5] for spec in specs]
    rows = [_row(spec, known[_place(spec.url), spec.md5]) for spec in new]
    catalog.insert(*found.qualified, rows, nondefaults=("RID",))
    typed, made = type_companion(session, found), execution_companion(session, found)
    rows = [{typed.asset: rid, typed.other: name} for rid, names in zip(rids, types, strict=True) for name in names]
    catalog.insert(*typed.table.qualified, rows, on_conflict_skip=True)
    links: list[Row] = [
        {made.asset: rid, made.other: execution, ROLE: AssetRole.output.value} for rid in dict.fromkeys(rids)
    ]
    catalog.insert(*made.table.qualified, links, on_conflict_skip=True)
    return rids


def _known(session: Session, found: Table, specs: Sequence[FileSpec]) -> dict[tuple[str, str], str]:
    """The RIDs of files that the catalog knows under the same names, by place and content.

    Raises:
        DerivaMLDataError: It knows another content under the same URL.
    """
    urls = {spec.url: spec for spec in specs}
    known: dict[tuple[str, str], str] = {}
    names = [_file_name(spec) for spec in specs]
    for row in session.catalog.rows_by(*found.qualified, "Filename", names, columns=["RID", "URL", "MD5"]):
        url, md5 = str(row["URL"]), str(row["MD5"])
        if url in urls and urls[url].md5 != md5:
            raise DerivaMLDataError(
                f"The catalog knows another content of {urls[url].path}, entered today.",
                source=f"File {row['RID']} has MD5 {md5}, the file has {urls[url].md5}",
                hint="what runs have used must stay as it was: give the new content a name of its own",
            )
        known[_place(url), md5] = str(row["RID"])
    return known


def _file_name(spec: FileSpec) -> str:
    return os.fsencode(spec.path.name).decode("utf-8", "backslashreplace")


def _row(spec: FileSpec, rid: str) -> Row:
    return {
        "RID": rid,
        "URL": spec.url,
        "Filename": _file_name(spec),
        "Description": spec.description,
        "Length": spec.length,
        "MD5": spec.md5,
    }


def _by_directory(specs: Sequence[FileSpec], rids: Sequence[str]) -> dict[PurePath, list[str]]:
    """The files of each directory; the directory that all lie in is among them, though it may have no file itself."""
    directories: dict[PurePath, list[str]] = {}
    for spec, rid in zip(specs, rids, strict=True):
        directories.setdefault(spec.path.parent, []).append(rid)
    directories.setdefault(PurePath(os.path.commonpath(directories)), [])
    return directories


def _make_datasets(
    session: Session,
    directories: Mapping[PurePath, Sequence[str]],
    execution_rid: str,
    types: list[str],
    description: str,
) -> Dataset:
    """A dataset for each directory, the deepest first, so that each can hold those below it."""
    order = sorted(directories, key=lambda path: (-len(path.parts), path))
    positions = {directory: at for at, directory in enumerate(order)}
    below: dict[PurePath, list[int]] = {}
    for directory in order[:-1]:  # the last one holds all the others
        holder = next(parent for parent in directory.parents if parent in positions)
        below.setdefault(holder, []).append(positions[directory])
    wanted = [
        NewDataset(
            _described(description, directory, order[-1]),
            types,
            members={MLTable.file.value: directories[directory]},
            children=below.get(directory, ()),
        )
        for directory in order
    ]
    made = create_datasets(session, wanted, execution_rid)
    return Dataset(session, made[-1], wanted[-1].description, execution_rid)


def _described(description: str, directory: PurePath, top: PurePath) -> str:
    """What a directory's dataset is said to hold; so that it is known which directory it is of."""
    if not description:
        return f"Files of {directory}"
    return description if directory == top else f"{description}: {directory.relative_to(top)}"
