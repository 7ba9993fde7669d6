"""Files that a program has put into the tree of a run by itself, brought into the catalog as outputs of the run.

They go the way of all outputs: each is registered in the manifest of its run, where it lies, and uploaded from there.
So a second call uploads nothing twice, and ``deriva-ml-upload`` goes on with what a first one left. Outputs that the
run has registered in other ways are not touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from deriva_ml.asset.directory import file_state
from deriva_ml.asset.rewritten import stage_rewritten
from deriva_ml.asset.run_tree import RunFile, metadata_names, run_file, value_of_directory
from deriva_ml.asset.staging import AssetStage
from deriva_ml.asset.tables import asset_table
from deriva_ml.asset.upload import Patience, upload
from deriva_ml.core.enums import MLTable, UploadState
from deriva_ml.core.ermrest import FileUploadState, UploadCallback
from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLNotFoundError,
    DerivaMLUnreachable,
)
from deriva_ml.schema.row_files import FORMATS
from deriva_ml.schema.session import Session
from deriva_ml.schema.staged_rows import reopen_rewritten, row_file, upload_rows
from deriva_ml.wire.model import Json, Table
from deriva_ml.wire.values import codec, plain
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = ["upload_tree"]

States = dict[str, FileUploadState]


def upload_tree(
    session: Session,
    directory: Path,
    *,
    progress: UploadCallback | None = None,
    patience: Patience | None = None,
) -> States:
    """Upload the files below a directory that lie in the ``asset`` and ``table`` trees of runs.

    Args:
        session: The catalog.
        directory: The directory of a run, one in it, or one that holds several.
        progress: Is told of the bytes that have been sent.
        patience: How to meet a service that is slow or away.

    Returns:
        What became of each file, by its path; a file that lies in no run's directory, or cannot be what its place
        says, is there with the reason.

    Raises:
        DerivaMLDataError: There is no such directory.
        DerivaMLNotFoundError: The catalog has no such run.
        DerivaMLUnreachable: The catalog cannot be reached.
    """
    session.require_writable()
    if not directory.is_dir():
        raise DerivaMLDataError(f"Directory does not exist: {directory}")
    states: States = {}
    runs: dict[Path, list[RunFile]] = {}
    for path in _files(directory.absolute()):
        found = run_file(path)
        if found is None:
            states[str(path)] = _failed("it lies in no .../deriva-ml/execution/<RID>/asset/<schema>/<Table>/")
        elif found.kind in ("asset", "table"):
            runs.setdefault(found.root, []).append(found)
    _require_executions(session, {root.name for root in runs})
    for root, files in runs.items():
        run = _Run(session, root)
        with run.manifest.turn():
            states |= run.upload(files, progress, patience)
    return dict(sorted(states.items()))


def _files(directory: Path) -> Iterable[Path]:
    for folder, names, found in os.walk(directory, onerror=_refuse):
        names.sort()
        for name in sorted(found):
            yield Path(folder, name)


def _refuse(error: OSError) -> None:
    raise DerivaMLDataError(f"{error.filename} cannot be read: {error.strerror or error}.") from error


def _require_executions(session: Session, rids: set[str]) -> None:
    rows = session.catalog.rows_by(session.ml_schema, MLTable.execution.value, "RID", sorted(rids), columns=["RID"])
    missing = sorted(rids - {str(row["RID"]) for row in rows})
    if missing:
        raise DerivaMLNotFoundError(
            f"The catalog has no execution {', '.join(missing)}, of which there are files.",
            hint="files belong to a run; make it with ml.create_execution, or use upload_asset",
        )


def _failed(reason: str) -> FileUploadState:
    return FileUploadState(state=UploadState.failed, status=reason)


def _value(table: Table, column: str, text: str | None) -> Json:
    """The value of a metadata column of which a directory has the text."""
    kind = table.columns_by_name[column].type
    try:
        return None if text is None else plain(kind, codec(kind).read(text))
    except ValueError as error:
        raise DerivaMLDataError(f"The value of {column} cannot be read: {error}".partition("\n")[0]) from error


class _Run:
    """The files of one run on their way into the catalog."""

    def __init__(self, session: Session, root: Path) -> None:
        self._session = session
        self._root = root
        self.manifest = Manifest(root / MANIFEST_NAME, root.name)
        self._stage = AssetStage(session, self.manifest, root)
        self._types: dict[tuple[str, str], dict[str, list[str]]] = {}

    def upload(self, files: list[RunFile], progress: UploadCallback | None, patience: Patience | None) -> States:
        """Upload files; what became of each."""
        states: States = {}
        keys: dict[str, str] = {}
        tables: dict[str, str] = {}
        for file in files:
            try:
                if file.kind == "asset":
                    keys[str(file.path)] = self._register(file)
                elif not file.path.name.endswith(".rids"):
                    tables[str(file.path)] = self._register_rows(file)
            except (DerivaMLUnreachable, DerivaMLAuthenticationError):
                raise
            except DerivaMLException as error:
                states[str(file.path)] = _failed(str(error))
        states |= self._upload_assets(keys, progress, patience)
        return states | self._upload_rows(tables)

    def _register(self, file: RunFile) -> str:
        if len(file.parts) < 3:
            raise DerivaMLDataError("it does not lie in asset/<schema>/<Table>/.")
        schema, name, *values, _file = file.parts
        table = asset_table(self._session, f"{schema.replace('%2F', '/')}:{name.replace('%2F', '/')}")
        columns = metadata_names(table)
        if len(values) not in (0, len(columns)):
            raise DerivaMLDataError(
                f"{len(values)} directories lie between {name} and the file: they cannot be the values of "
                f"{', '.join(columns) or 'metadata, of which the table has none'}.",
                hint="asset_file_path gives the path, with the metadata",
            )
        given = {
            name: _value(table, name, value_of_directory(value)) for name, value in zip(columns, values, strict=False)
        }
        types = self._types_of(schema, name).get(file.path.name)
        return self._stage.adopt(table, file.path, types, given).key

    def _types_of(self, schema: str, table: str) -> dict[str, list[str]]:
        """The types of the files of a table, by name, as they were written down beside the tree."""
        if (schema, table) not in self._types:
            path = self._root / "asset-type" / schema / f"{table}.jsonl"
            found: dict[str, list[str]] = {}
            for number, line in enumerate(path.read_text("utf-8").split("\n") if path.exists() else (), start=1):
                try:
                    found.update({name: list(types) for name, types in json.loads(line or "{}").items()})
                except (ValueError, TypeError, AttributeError) as error:
                    raise DerivaMLDataError(
                        f"Line {number} of {path} cannot be read: {error}.", source=f"{path}:{number}"
                    ) from error
            self._types[(schema, table)] = found
        return self._types[(schema, table)]

    def _upload_assets(
        self, keys: dict[str, str], progress: UploadCallback | None, patience: Patience | None
    ) -> States:
        paths = {path: self.manifest.relative(Path(path)) for path in keys}
        stage_rewritten(self.manifest, paths.values())
        last = {path: self.manifest.key_of(Path(path)) or key for path, key in keys.items()}
        upload(
            self._session,
            self._root.name,
            self.manifest,
            progress=progress,
            patience=patience,
            keys=set(last.values()),
        )
        return {path: file_state(self.manifest.asset(key)) for path, key in last.items()}

    def _register_rows(self, file: RunFile) -> str:
        schema, name = file.parts[0], file.path.stem
        if len(file.parts) != 3 or file.parts[1] != name or file.path.suffix[1:] not in FORMATS:
            raise DerivaMLDataError("it is not table/<schema>/<Table>/<Table>.csv, or .json.")
        schema, name = schema.replace("%2F", "/"), name.replace("%2F", "/")
        row_file(self._session, self.manifest, self._root, f"{schema}:{name}", file.path.suffix[1:])
        return f"{schema}:{name}"

    def _upload_rows(self, keys: dict[str, str]) -> States:
        reopen_rewritten(self.manifest)
        others = self.manifest.tables.keys() - set(keys.values())
        report = upload_rows(self._session, self.manifest, self._root.name, left_out=others)
        states: States = {}
        for path, key in keys.items():
            if key in report.failed:
                states[path] = _failed(report.failed[key])
            else:
                states[path] = FileUploadState(
                    state=UploadState.success, status=f"{report.done.get(key, 0)} row(s) stored"
                )
        return states
