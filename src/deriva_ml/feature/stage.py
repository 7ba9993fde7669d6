"""The values that a run makes: staged in its directory while it runs, stored in the catalog when it is committed.

1. The values of a feature are lines of ``<run>/feature/<schema>/<target>/<feature>.jsonl``: only ever added to, each on
   the disk when the call that stages it returns.
2. A run has one value of a feature for each record. A second one is refused when it is staged, not at the end.
3. An asset column may hold the path of a registered output. It is kept as the output's key in the manifest, and becomes
   the RID of the asset when the values are stored, after the outputs.
4. Storing them again stores nothing twice: what the execution has stored already is left out.
5. In a run that was taken up again, the value that an earlier attempt staged for a record may come again: the same one
   is not staged twice, another takes its place, also in the catalog.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path, PurePath
from typing import Any

from deriva_ml.core.exceptions import (
    DerivaMLAuthenticationError,
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLUnreachable,
    DerivaMLValidationError,
)
from deriva_ml.core.values import dataclass
from deriva_ml.feature.feature import Feature, find_features
from deriva_ml.feature.records import FeatureRecord
from deriva_ml.feature.shape import EXECUTION, FeatureShape
from deriva_ml.feature.values import grouped, named
from deriva_ml.schema.session import Session
from deriva_ml.wire.model import Column
from deriva_ml.wire.path import eq, table
from deriva_ml.workspace.entries import FAILED, PENDING, UPLOADED, encode
from deriva_ml.workspace.lines import LineFile
from deriva_ml.workspace.manifest import FeatureEntry, Manifest

__all__ = ["FeatureStage", "FeatureUpload", "stage_features", "upload_features"]

OUTPUT = "output"
"""In a staged value, ``{"output": key}`` stands for the RID of the output with that key."""


@dataclass(frozen=True, slots=True)
class FeatureUpload:
    """What became of the staged values.

    Attributes:
        done: How many values of each feature (``Target:Feature``) are now in the catalog through this call.
        failed: Why the values of a feature could not be stored.
    """

    done: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


class FeatureStage:
    """The staged values of one run.

    Args:
        manifest: The run's manifest.
        run_dir: The run's directory.
        earlier: How many values of each feature earlier attempts of the run have staged, by the feature's key.
    """

    def __init__(self, manifest: Manifest, run_dir: Path, earlier: Mapping[str, int] | None = None) -> None:
        self._manifest = manifest
        self._run_dir = run_dir
        self._earlier = dict(earlier or {})
        self._staged: dict[str, _Staged] = {}

    def add(self, records: Iterable[FeatureRecord], execution_rid: str) -> int:
        """Stage values; they are stored when the run's outputs are uploaded.

        Args:
            records: Values of any features; their field ``Execution`` is set.
            execution_rid: The execution that makes them.

        Returns:
            How many were staged.

        Raises:
            DerivaMLValidationError: A value belongs to another execution, is the second for its record, or holds a
                path that is no output of the run. Nothing of this call is staged then.
        """
        prepared = [
            (shape, [self._prepare(shape, record, execution_rid) for record in group])
            for shape, group in grouped(records)
        ]
        for shape, rows in prepared:
            self._check_targets(shape, rows)
        for shape, rows in prepared:
            self._write(shape, rows)
        return sum(len(rows) for _, rows in prepared)

    def _prepare(self, shape: FeatureShape, record: FeatureRecord, execution_rid: str) -> dict[str, Any]:
        if record.Execution not in (None, execution_rid):
            raise DerivaMLValidationError(
                f"A value of feature {shape} belongs to execution {record.Execution}, not to {execution_rid}.",
                hint="leave the field Execution out",
            )
        record.Execution = execution_rid
        row = record.to_row()
        for column in shape.asset_columns:
            row[column.name] = self._asset(shape, column.name, row[column.name])
        return row

    def _asset(self, shape: FeatureShape, column: str, value: object) -> object:
        """A RID as it is; the path of an output as the output's key."""
        if value is None:
            return None
        if isinstance(value, PurePath) or "/" in str(value):
            key = self._manifest.key_of(Path(str(value)))
            if key is None:
                raise DerivaMLValidationError(
                    f"A value of feature {shape} has in column {column} a file that is no output of this run: {value}.",
                    hint="register it with asset_file_path and give the path that it returns",
                )
            return {OUTPUT: key}
        return value

    def _check_targets(self, shape: FeatureShape, rows: list[dict[str, Any]]) -> None:
        there = self._there(shape)
        there.take(there.file.read())
        self._refuse_second(shape, rows)

    def _there(self, shape: FeatureShape) -> _Staged:
        """What is known to be staged of a feature."""
        key = _key(shape)
        if key not in self._staged:
            path = self._run_dir / _values_path(shape)
            self._staged[key] = _Staged(path, shape.target_column, self._earlier.get(key, 0))
        return self._staged[key]

    def _refuse_second(self, shape: FeatureShape, rows: list[dict[str, Any]]) -> None:
        given = Counter(str(row[shape.target_column]) for row in rows)
        twice = {target for target, count in given.items() if count > 1} | (given.keys() & self._there(shape).targets)
        if twice:
            raise DerivaMLValidationError(
                f"This run has a value of feature {shape} for {'record' if len(twice) == 1 else 'records'} "
                f"{named(twice)} already; nothing of this call was staged.",
                hint="an execution makes one value of a feature for each record",
            )

    def _write(self, shape: FeatureShape, rows: list[dict[str, Any]]) -> None:
        key = _key(shape)
        if key not in self._manifest.features:
            self._manifest.add_feature(
                FeatureEntry(
                    key=key,
                    feature_name=shape.feature_name,
                    target_table=f"{shape.target_table.schema}:{shape.target_table.name}",
                    schema=shape.feature_table.schema,
                    feature_table=shape.feature_table.name,
                    values_path=_values_path(shape),
                    asset_columns=tuple(sorted(column.name for column in shape.asset_columns)),
                )
            )
        there = self._there(shape)
        with there.file.writing() as writer:
            there.take(writer.unread())
            self._refuse_second(shape, rows)  # whoever had the turn before may have staged the same
            fresh = [line for line in map(encode, rows) if not there.has_earlier(line)]
            writer.append(fresh)
            there.targets.update(str(row[shape.target_column]) for row in rows)
            there.count += len(fresh)
        known = self._manifest.features[key]
        if there.count != known.rows:
            # fewer than were uploaded: the file was cleaned away when all of it was in the catalog
            uploaded = min(known.uploaded, there.count - len(fresh))
            self._manifest.update_feature(key, rows=there.count, uploaded=uploaded, status=PENDING)


class _Staged:
    """The staged values of one feature, as far as they were read: each line is read once.

    Attributes:
        file: The file.
        targets: The records that have a value of this attempt.
        count: How many lines there are.
    """

    def __init__(self, path: Path, target_column: str, before: int) -> None:
        self.file = LineFile(path)
        self.targets: set[str] = set()
        self.count = 0
        self._target_column = target_column
        self._before = before
        self._earlier: dict[str, dict[str, Any]] = {}

    def take(self, lines: list[tuple[int, bytes]]) -> None:
        """Note what others have staged."""
        for (number, _line), row in zip(lines, _parsed(self.file.path, lines), strict=True):
            target = str(row[self._target_column])
            if number <= self._before:
                self._earlier[target] = row
            else:
                self.targets.add(target)
        self.count += len(lines)

    def has_earlier(self, line: bytes) -> bool:
        """Whether a value is the one that an earlier attempt has staged for its record."""
        if not self._earlier:
            return False
        row = json.loads(line)
        return bool(self._earlier.get(str(row[self._target_column])) == row)


def _key(shape: FeatureShape) -> str:
    return f"{shape.feature_table.schema}:{shape.feature_table.name}"


def _values_path(shape: FeatureShape) -> str:
    # a table's name may hold a slash
    parts = (shape.feature_table.schema, shape.target_table.name, shape.feature_name)
    return "/".join(("feature", *(part.replace("/", "%2F") for part in parts))) + ".jsonl"


def _staged_rows(path: Path) -> list[dict[str, Any]]:
    return _parsed(path, LineFile(path).read())


def _parsed(path: Path, lines: list[tuple[int, bytes]]) -> list[dict[str, Any]]:
    rows = []
    for number, line in lines:
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DerivaMLDataError(
                f"Line {number} of {path} cannot be read: {error}.", source=f"{path}:{number}"
            ) from error
    return rows


def stage_features(manifest: Manifest, run_dir: Path, records: Iterable[FeatureRecord], execution_rid: str) -> int:
    """Stage values of a run; see :meth:`FeatureStage.add`.

    Each call reads what was staged before. Who stages often keeps a :class:`FeatureStage`.
    """
    return FeatureStage(manifest, run_dir).add(records, execution_rid)


def upload_features(session: Session, manifest: Manifest, execution_rid: str) -> FeatureUpload:
    """Store what a run has staged; the outputs that the values refer to must be in the catalog.

    Returns:
        What became of the values of each feature. One feature's failure does not keep the others back.

    Raises:
        DerivaMLUnreachable: The catalog cannot be reached; what was done before is recorded.
        DerivaMLAuthenticationError: It does not know the caller, or grants too little.
    """
    session.require_writable()
    pending = manifest.pending_features()
    if not pending:
        return FeatureUpload()
    known = {feature.feature_table.qualified: feature for feature in find_features(session)}
    done: dict[str, int] = {}
    failed: dict[str, str] = {}
    for entry in pending:
        name = f"{entry.target_table.partition(':')[2]}:{entry.feature_name}"
        try:
            feature = known.get((entry.schema, entry.feature_table))
            if feature is None:
                raise DerivaMLDataError(f"Feature {name} is not in the catalog any more.")
            done[name], total = _upload(session, manifest, entry, feature, execution_rid)
        except (DerivaMLUnreachable, DerivaMLAuthenticationError):
            raise
        except DerivaMLException as error:
            failed[name] = str(error)
            manifest.update_feature(entry.key, status=FAILED, error=str(error))
        else:
            manifest.update_feature(entry.key, status=UPLOADED, rows=total, uploaded=total, error=None)
    return FeatureUpload(done, failed)


def _upload(
    session: Session, manifest: Manifest, entry: FeatureEntry, feature: Feature, execution_rid: str
) -> tuple[int, int]:
    """Store the values of one feature; give how many were stored, and how many there are."""
    staged = [_with_rids(manifest, entry, row) for row in _staged_rows(manifest.values_of(entry))]
    rows = {str(row[feature.target_column]): row for row in staged}  # of several, the one of the last attempt
    mine = table(*feature.feature_table.qualified).where(eq(EXECUTION, execution_rid))
    stored = {str(row[feature.target_column]): row for row in session.catalog.rows(mine)}
    replaced = {
        target: row for target, row in rows.items() if target in stored and _differ(feature, row, stored[target])
    }
    _refuse_others(feature, staged, {target: stored[target] for target in replaced})
    missing = [row for target, row in rows.items() if target not in stored]
    session.catalog.insert(*feature.feature_table.qualified, missing)
    columns = [column.name for column in feature.feature_columns]
    changes = [
        {"RID": stored[target]["RID"], **{name: row.get(name) for name in columns}} for target, row in replaced.items()
    ]
    session.catalog.update(*feature.feature_table.qualified, changes)
    return len(missing) + len(changes), len(staged)


def _refuse_others(feature: Feature, staged: list[dict[str, Any]], stored: Mapping[str, dict[str, Any]]) -> None:
    """Refuse to take values that someone else has stored for the execution for our own.

    Args:
        feature: The feature.
        staged: All values that the run has staged, those of earlier attempts among them.
        stored: The rows of records for which another value is there than the last one that was staged.

    Raises:
        DerivaMLDataError: A record has another value than any that was staged for it.
    """
    ours = {
        target
        for row in staged
        if (target := str(row[feature.target_column])) in stored and not _differ(feature, row, stored[target])
    }
    other = stored.keys() - ours
    if other:
        raise DerivaMLDataError(
            f"The catalog has other values of feature {feature} by this execution for "
            f"{'record' if len(other) == 1 else 'records'} {named(other)} than those that were staged.",
            hint="ml.add_features was used for the same records; remove those values, then upload again",
        )


def _differ(feature: Feature, row: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    return any(not _same(column, row.get(column.name), stored.get(column.name)) for column in feature.feature_columns)


_FORMS = ("date", "timestamp", "timestamptz", "json", "jsonb")
"""Types whose values the catalog may write in another form than they were given in."""


def _same(column: Column, given: Any, stored: Any) -> bool:
    if given is None or stored is None or column.type.is_array or column.type.name in _FORMS:
        return (given is None) == (stored is None) or given is None  # without a value the column's default is taken
    if isinstance(given, int | float) and isinstance(stored, int | float):
        return math.isclose(given, stored, rel_tol=1e-5)
    return bool(given == stored)


def _with_rids(manifest: Manifest, entry: FeatureEntry, row: dict[str, Any]) -> dict[str, Any]:
    for column in entry.asset_columns:
        value = row.get(column)
        if isinstance(value, dict):
            asset = manifest.asset(value[OUTPUT])
            if asset.status != UPLOADED:
                raise DerivaMLDataError(
                    f"The output {asset.file_name}, to which column {column} refers, is not in the catalog.",
                    source=str(manifest.file_of(asset)),
                    hint="its own error says why; upload again when that is mended",
                )
            row[column] = asset.rid
    return row
