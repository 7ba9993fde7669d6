"""Where the files of a run are, for programs that put them there by themselves: the paths of the public deriva-ml.

    <prefix>/deriva-ml/execution/<RID>/                  or, in a working directory for several catalogs,
    <prefix>/deriva-ml/<identity>/<catalog>/execution/<RID>/
        asset-manifest.jsonl                             what the run has registered
        assets/<Table>/<key>/<name>                      files that were registered with ``asset_file_path`` of a run
        asset/<schema>/<Table>/<values...>/<name>        files that ``upload_directory`` finds; a directory for the
                                                         value of each metadata column, in the order of their names
        asset-type/<schema>/<Table>.jsonl                the types of those: ``{"<name>": ["<type>", ...]}``
        feature/<schema>/<Target>/<Feature>.jsonl        values of features
        table/<schema>/<Table>/<Table>.csv               rows of tables

A value that cannot be the name of a directory is percent-encoded; ``None`` stands for no value. Directories are made
when a path in them is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from deriva_ml.core.constants import DerivaAssetColumns
from deriva_ml.core.exceptions import DerivaMLDataError, DerivaMLValidationError
from deriva_ml.core.files import make_directory, nearest
from deriva_ml.core.values import dataclass
from deriva_ml.workspace.manifest import MANIFEST_NAME

__all__ = [
    "RunFile",
    "asset_file_path",
    "asset_root",
    "asset_type_path",
    "execution_rids",
    "execution_root",
    "feature_dir",
    "feature_root",
    "feature_value_path",
    "flat_asset_dir",
    "is_feature_dir",
    "manifest_path",
    "metadata_names",
    "normalize_asset_dir",
    "run_file",
    "table_path",
    "upload_root",
    "value_of_directory",
]

_NONE = "None"
_PLAIN = " !#$&'()+,;=@[]{}~:"
"""What stands for itself in the name of a directory, beside letters, digits and ``_.-``."""


def _made(path: Path) -> Path:
    make_directory(path)
    return path


def _part(name: str) -> str:
    """A name as one part of a path."""
    if not name or name in (".", "..") or "\0" in name:
        raise DerivaMLValidationError(f"Not the name of a directory: {name!r}.")
    return name.replace("/", "%2F")


def upload_root(prefix: str | Path) -> Path:
    """The directory of all runs below a working directory."""
    return _made(Path(prefix) / "deriva-ml")


def _run_folders(prefix: str | Path) -> Iterator[Path]:
    root = Path(prefix) / "deriva-ml"
    yield root / "execution"
    yield from sorted(root.glob("*/*/execution"))


def execution_root(prefix: str | Path, exec_rid: str) -> Path:
    """The directory of a run: the one that is there, else a new one.

    Raises:
        DerivaMLDataError: Runs of several catalogs have this RID.
    """
    found = [folder / _part(exec_rid) for folder in _run_folders(prefix) if (folder / _part(exec_rid)).is_dir()]
    if len(found) > 1:
        raise DerivaMLDataError(
            f"Runs of several catalogs have the RID {exec_rid}.",
            allowed=[str(path) for path in found],
            hint="execution.working_dir tells the directory of a run",
        )
    return found[0] if found else _made(upload_root(prefix) / "execution" / _part(exec_rid))


def execution_rids(prefix: str | Path) -> list[str]:
    """The runs that have a directory here."""
    folders = [folder for folder in _run_folders(prefix) if folder.is_dir()]
    return sorted({entry.name for folder in folders for entry in folder.iterdir() if entry.is_dir()})


def manifest_path(prefix: str | Path, exec_rid: str) -> Path:
    """The file that says what a run has registered."""
    return execution_root(prefix, exec_rid) / MANIFEST_NAME


def feature_root(prefix: str | Path, exec_rid: str) -> Path:
    """The directory of the values that a run made."""
    return _made(execution_root(prefix, exec_rid) / "feature")


def feature_dir(prefix: str | Path, exec_rid: str, schema: str, target_table: str, feature_name: str) -> Path:
    """The directory in which the file of a feature's values is; those of one table have one."""
    return feature_value_path(prefix, exec_rid, schema, target_table, feature_name).parent


def feature_value_path(prefix: str | Path, exec_rid: str, schema: str, target_table: str, feature_name: str) -> Path:
    """The file of the values that a run made of a feature.

    Args:
        prefix: The working directory.
        exec_rid: The run.
        schema: The schema of the feature's table.
        target_table: The name of the table that it describes.
        feature_name: The feature.
    """
    folder = _made(feature_root(prefix, exec_rid) / _part(schema) / _part(target_table))
    return folder / f"{_part(feature_name)}.jsonl"


def asset_root(prefix: str | Path, exec_rid: str) -> Path:
    """The directory whose files ``upload_directory`` finds."""
    return _made(execution_root(prefix, exec_rid) / "asset")


def flat_asset_dir(prefix: str | Path, exec_rid: str, asset_table: str) -> Path:
    """The directory of the files that a run has registered for a table."""
    return _made(execution_root(prefix, exec_rid) / "assets" / _part(asset_table))


def table_path(prefix: str | Path, schema: str, table: str) -> Path:
    """A file for the rows of a table, as ``ml.table_path`` gives it."""
    schema, table = (_part(name).replace(":", "-").replace("%2F", "-") for name in (schema, table))
    return _made(upload_root(prefix) / "table" / schema / table) / f"{table}.csv"


def asset_type_path(prefix: str | Path, exec_rid: str, asset_table: Any) -> Path:
    """The file that says of which types the files in :func:`asset_root` are.

    Args:
        prefix: The working directory.
        exec_rid: The run.
        asset_table: The table: ours, one of the ``deriva`` package, or ``schema:Table``.
    """
    schema, name = _qualified(asset_table)
    return _made(execution_root(prefix, exec_rid) / "asset-type" / _part(schema)) / f"{_part(name)}.jsonl"


def asset_file_path(
    prefix: str | Path, exec_rid: str, asset_table: Any, file_name: str, metadata: Mapping[str, Any] | None = None
) -> Path:
    """Where to put a file that ``upload_directory`` is to find.

    Args:
        prefix: The working directory.
        exec_rid: The run.
        asset_table: The table: ours, or one of the ``deriva`` package.
        file_name: The file's name; any that a file can have.
        metadata: Values of the table's metadata columns.

    Raises:
        DerivaMLValidationError: The table has no such column, or the name is that of no file.
    """
    names, given = metadata_names(asset_table), dict(metadata or {})
    for name in given:
        if name not in names:
            raise DerivaMLValidationError(
                f"{asset_table.name} has no metadata column {name!r}.", allowed=nearest(name, names)
            )
    if "/" in file_name:
        raise DerivaMLValidationError(f"Not the name of a file: {file_name!r}.", hint="give it without a directory")
    schema, table = _qualified(asset_table)
    folder = asset_root(prefix, exec_rid) / _part(schema) / _part(table)
    return _made(folder.joinpath(*(_directory_of_value(given.get(name)) for name in names))) / _part(file_name)


def metadata_names(asset_table: Any) -> list[str]:
    """The metadata columns of an asset table, in the order in which their values are directories."""
    return sorted(column.name for column in asset_table.columns if column.name not in DerivaAssetColumns)


def _qualified(table: Any) -> tuple[str, str]:
    if isinstance(table, str):
        schema, colon, name = table.partition(":")
        if not colon:
            raise DerivaMLValidationError(f"The table {table!r} has no schema.", hint="name it as schema:Table")
        return schema, name
    return (table.schema if isinstance(table.schema, str) else table.schema.name), table.name


def _directory_of_value(value: Any) -> str:
    if value is None:
        return _NONE
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if text == _NONE:
        return "%4Eone"
    if not text.strip("."):
        return text.replace(".", "%2E") or "%00"
    return quote(text, safe=_PLAIN)


def value_of_directory(name: str) -> str | None:
    """The value that a directory stands for."""
    return None if name == _NONE else unquote(name).replace("\0", "")


# ---------------------------------------------------------------------------------------------- reading paths


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file of a run, as its path tells.

    Attributes:
        path: The file.
        root: The directory of the run.
        kind: The directory in it, such as ``asset`` or ``table``.
        parts: What comes after that.
    """

    path: Path
    root: Path
    kind: str
    parts: tuple[str, ...]

    @property
    def execution_rid(self) -> str:
        """The run."""
        return self.root.name


def run_file(path: str | Path) -> RunFile | None:
    """What a path tells of a file of a run; None if it is that of none."""
    path = Path(path)
    parts = path.parts
    for at in range(len(parts) - 3, 0, -1):
        if parts[at] == "execution" and "deriva-ml" in parts[max(0, at - 3) : at]:
            return RunFile(path, Path(*parts[: at + 2]), parts[at + 2], parts[at + 3 :])
    return None


def normalize_asset_dir(path: str | Path) -> tuple[str, str] | None:
    """The table, as ``<schema>/<Table>``, and the name of a file in :func:`asset_root`; None if it is not there."""
    found = run_file(path)
    if found is None or found.kind != "asset" or len(found.parts) < 3:
        return None
    schema, table, *_values, name = found.parts
    return f"{schema}/{table}", name


def is_feature_dir(path: str | Path) -> bool:
    """Whether a directory is one that :func:`feature_dir` gives."""
    found = run_file(path)
    return found is not None and found.kind == "feature" and len(found.parts) == 2
