"""Registering the outputs of a run.

1. Every output has a directory of its own, ``<run>/assets/<table>/<key>/<name>``, so that two outputs of one name are
   two assets, and no name can lead out of it.
2. A file that exists is copied in when it is registered (as a copy on write, where the file system has that). What is
   uploaded is what it was then; writing to the staged file never changes the user's own.
3. A file in the current directory is taken only when the caller points at it: with a ``Path``, or with a name that has
   a directory part. A bare name is always that of a new file.
4. In a run that was taken up again, who registers an output under the table and the name of an earlier attempt's gets
   that one, with what is in it: the same content is the same asset, and another is what ``rewritten`` makes of it.
5. Types and metadata are checked against the vocabulary and the table's columns here, not at the end of the run. What
   cannot be checked because the catalog is away is taken as it is, and checked when it is uploaded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from deriva_ml.asset.asset_record import AssetRecord, asset_record_class, checked_metadata
from deriva_ml.asset.aux_classes import AssetFilePath, Binding
from deriva_ml.asset.sealing import existing_file, seal_copy
from deriva_ml.asset.tables import asset_table
from deriva_ml.core.enums import ExecAssetType, MLVocab
from deriva_ml.core.error_text import legible
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLExecutionError,
    DerivaMLInvalidTerm,
    DerivaMLUnreachable,
)
from deriva_ml.core.files import nearest
from deriva_ml.core.json_types import Json
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import list_vocabulary_terms
from deriva_ml.wire.model import Table
from deriva_ml.workspace.entries import PENDING, UPLOADED, new_key
from deriva_ml.workspace.manifest import AssetEntry, Manifest

__all__ = ["AssetStage", "register"]

NAME_BYTES = 255
"""The longest name of a file, in bytes, that the usual file systems allow."""

MARK = ExecAssetType.partial.value
"""The type that marks an output of an attempt that failed or was stopped."""


class AssetStage:
    """The outputs of one run. Tables and vocabulary are asked for once, and again only for what is not known yet.

    Args:
        session: The catalog.
        manifest: The run's manifest.
        run_dir: The run's directory.
        key: Makes the key of an output.
        earlier: The outputs that earlier attempts of the run have registered; each is given out once.
        types: The asset types, as :meth:`known_types` gives them, if somebody has read them already.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        run_dir: Path,
        *,
        key: Callable[[], str] = new_key,
        earlier: Iterable[AssetEntry] = (),
        types: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session
        self._manifest = manifest
        self._run_dir = run_dir
        self._key = key
        self._earlier = [entry.key for entry in earlier]
        self._types: Mapping[str, str] = types or {}
        self._records: dict[tuple[str, str], type[AssetRecord]] = {}

    def register(
        self,
        asset_name: str | Table,
        file_name: str | PurePath,
        asset_types: str | Iterable[str] | None = None,
        *,
        rename_file: str | PurePath | None = None,
        metadata: AssetRecord | Mapping[str, Any] | None = None,
        description: str | None = None,
        **more: Any,
    ) -> AssetFilePath:
        """Register an output: a file that exists, or one that the caller is about to write.

        Args:
            asset_name: The asset table.
            file_name: A bare name for a new file; a ``Path``, or a name with a directory part, for one that exists. If
                there is no file at such a path, its last part is the name of a new file.
            asset_types: Terms of ``Asset_Type``; by default the table's own.
            rename_file: The name that the file gets in the catalog.
            metadata: Values of the table's metadata columns.
            description: Description of the asset.
            more: Further values of metadata columns.

        Returns:
            The path of the staged file, to be written to if the file is new.

        Raises:
            DerivaMLTableTypeError: There is no such asset table.
            DerivaMLInvalidTerm: A type is not in the vocabulary.
            DerivaMLValidationError: The metadata does not fit the table's columns.
            DerivaMLDataError: The name is no file name, or the path is not of a plain file.
            DerivaMLExecutionError: The disk refused; nothing was registered.
        """
        table = asset_table(self._session, asset_name)
        source = existing_file(file_name)
        name = _checked_name(os.fspath(rename_file or (source.name if source else PurePath(file_name).name)))
        types = self._check_types([table.name] if asset_types is None else asset_types)
        values = self._check_metadata(table, name, _merged(metadata, more))
        said = None if description is None else legible(str(description))
        told = {"asset_types": types, "metadata": values, "description": said}
        known = self._take_earlier(table, name, told)
        entry = self._add(table, name, source, told) if known is None else self._write_again(known, source)
        return self.path_of(entry, table)

    def _add(self, table: Table, name: str, source: Path | None, told: Mapping[str, Any]) -> AssetEntry:
        """Register a new output."""
        key = self._key()
        staged = self._stage(table, key, name, source)
        path = self._manifest.relative(staged)
        entry = AssetEntry(table.name, table.schema, key=key, file_name=name, path=path, **told)
        try:
            self._manifest.add(entry)
        except BaseException:
            shutil.rmtree(staged.parent, ignore_errors=True)
            raise
        return entry

    def _take_earlier(self, table: Table, name: str, told: Mapping[str, Any]) -> AssetEntry | None:
        """The output of this table and name that an earlier attempt registered, if it can be gone on with."""
        for key in self._earlier:
            entry = self._manifest.asset(key)
            if (entry.schema, entry.asset_table, entry.file_name) != (table.schema, table.name, name):
                continue
            whole = tuple(kind for kind in entry.asset_types if kind != MARK)
            is_same = all((whole if name == "asset_types" else getattr(entry, name)) == told[name] for name in told)
            if not is_same and (entry.status == UPLOADED or entry.rid is not None):
                continue  # the catalog may say something else of it: this is another output
            self._earlier.remove(key)
            if not is_same or entry.status not in (PENDING, UPLOADED):
                entry = self._manifest.update(key, **told, status=PENDING, error=None)
            elif whole != entry.asset_types:  # if this attempt completes, it is whole
                entry = self._manifest.update(key, asset_types=whole)
            return entry
        return None

    def _write_again(self, entry: AssetEntry, source: Path | None) -> AssetEntry:
        """Give an earlier output the content of a file that exists; without one the caller is about to write it."""
        staged = self._manifest.file_of(entry)
        try:
            staged.parent.mkdir(parents=True, exist_ok=True)
            if source is not None:
                seal_copy(source, staged)
        except OSError as error:
            raise _not_staged(entry.file_name, entry.asset_table, staged.parent, error) from error
        return entry

    def adopt(
        self,
        asset_name: str | Table,
        path: Path,
        asset_types: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AssetEntry:
        """Register a file where it lies, which is not copied; one that is registered already is not again.

        Args:
            asset_name: The asset table.
            path: The file.
            asset_types: Terms of ``Asset_Type``; by default the table's own.
            metadata: Values of the table's metadata columns.

        Raises:
            DerivaMLTableTypeError: There is no such asset table.
            DerivaMLInvalidTerm: A type is not in the vocabulary.
            DerivaMLValidationError: The metadata does not fit the table's columns.
        """
        known = self._manifest.key_of(path)
        if known is not None:
            return self._manifest.asset(known)
        table = asset_table(self._session, asset_name)
        entry = AssetEntry(
            key=self._key(),
            asset_table=table.name,
            schema=table.schema,
            file_name=path.name,
            path=self._manifest.relative(path),
            asset_types=self._check_types([table.name] if asset_types is None else asset_types),
            metadata=self._check_metadata(table, path.name, metadata or {}),
        )
        self._manifest.add(entry)
        return entry

    def path_of(self, entry: AssetEntry, table: Table | None = None) -> AssetFilePath:
        """The path of a registered output, bound to its entry."""

        def check(values: Mapping[str, Any]) -> dict[str, Json]:
            # who asks for many paths changes the metadata of few: only then is the table looked up
            found = table or asset_table(self._session, f"{entry.schema}:{entry.asset_table}")
            return self._check_metadata(found, entry.file_name, values)

        binding = Binding(self._manifest, entry.key, check, self._check_types)
        return AssetFilePath(self._manifest.file_of(entry), entry.asset_table, entry.file_name, binding=binding)

    def _check_types(self, given: str | Iterable[str]) -> tuple[str, ...]:
        wanted = list(dict.fromkeys([given] if isinstance(given, str) else map(str, given)))
        if any(name not in self._types for name in wanted):
            try:
                self._types = self._read_types()  # a term may have been added since
            except DerivaMLUnreachable:
                return tuple(dict.fromkeys(self._types.get(name, name) for name in wanted))
        for name in wanted:
            if name not in self._types:
                raise DerivaMLInvalidTerm(MLVocab.asset_type.value, name, allowed=nearest(name, self._types))
        return tuple(dict.fromkeys(self._types[name] for name in wanted))

    def known_types(self) -> Mapping[str, str]:
        """The preferred name of each asset type and synonym; nothing while the catalog cannot be reached."""
        if not self._types:
            with contextlib.suppress(DerivaMLUnreachable):  # what is not known is checked when it is uploaded
                self._types = self._read_types()
        return self._types

    def _read_types(self) -> Mapping[str, str]:
        return self._read_terms(self._session.table(f"{self._session.ml_schema}:{MLVocab.asset_type.value}"))

    def _check_metadata(self, table: Table, name: str, values: Mapping[str, Any]) -> dict[str, Json]:
        if table.qualified not in self._records:
            self._records[table.qualified] = asset_record_class(self._session.model(), table, self._read_terms)
        return checked_metadata(self._records[table.qualified], values, f"output {name!r} of {table.name}")

    def _read_terms(self, vocabulary: Table) -> dict[str, str]:
        terms = list_vocabulary_terms(self._session.brief(), vocabulary)
        synonyms = {synonym: term.name for term in terms for synonym in term.synonyms}
        return synonyms | {term.name: term.name for term in terms}

    def _stage(self, table: Table, key: str, name: str, source: Path | None) -> Path:
        place = self._run_dir / "assets" / table.name.replace("/", "%2F") / key
        try:
            try:
                place.mkdir()
            except FileNotFoundError:
                self._run_dir.stat()  # a run's directory that is gone is not begun anew
                place.mkdir(parents=True)
            if source is not None:
                seal_copy(source, place / name)
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            raise _not_staged(name, table.name, place, error) from error
        return place / name


def _not_staged(name: str, table: str, place: Path, error: OSError) -> DerivaMLExecutionError:
    return DerivaMLExecutionError(
        f"Cannot stage output {name!r} of {table}: {error.strerror or error}.",
        source=str(error.filename or place),
        hint="nothing was registered; remove the cause and register it again",
    )


def register(
    manifest: Manifest,
    run_dir: Path,
    session: Session,
    asset_name: str | Table,
    file_name: str | PurePath,
    asset_types: str | Iterable[str] | None = None,
    **options: Any,
) -> AssetFilePath:
    """Register one output; see :meth:`AssetStage.register`. Who registers many keeps an :class:`AssetStage`."""
    return AssetStage(session, manifest, run_dir).register(asset_name, file_name, asset_types, **options)


def _checked_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise DerivaMLDataError(f"Not a name for a file: {name!r}.", hint="give a name without a directory part")
    if len(os.fsencode(name)) > NAME_BYTES:
        raise DerivaMLDataError(
            f"The name has more than {NAME_BYTES} bytes: {name!r}.", hint="rename_file gives another"
        )
    return name


def _merged(metadata: AssetRecord | Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    given = metadata.to_metadata() if isinstance(metadata, AssetRecord) else dict(metadata or {})
    return {**given, **more}
