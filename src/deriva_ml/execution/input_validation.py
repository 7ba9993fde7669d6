"""What a configuration names, held against the catalog, with everything that is wrong said at once.

A run makes its own checks and stops at the first error; this is for programs that look before. It is documented as
``deriva_ml.core.validation``. The number of requests does not depend on how many RIDs there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deriva_ml.core.enums import MLTable
from deriva_ml.core.files import nearest
from deriva_ml.dataset.aux_classes import DatasetVersion
from deriva_ml.dataset.versions import current, histories
from deriva_ml.schema.rids import BatchRidResult
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.tables import is_asset
from deriva_ml.schema.vocabulary import list_vocabulary_terms
from deriva_ml.wire.model import Table

__all__ = ["ValidationResult", "validate_execution_config", "validate_rids", "validate_vocabulary_terms"]


@dataclass
class ValidationResult:
    """What a check found.

    Attributes:
        is_valid: There is no error.
        errors: What is wrong.
        warnings: What may be wrong.
        validated_rids: Where the RIDs are that were found.
    """

    is_valid: bool = True
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    validated_rids: dict[str, BatchRidResult] = field(default_factory=dict)

    def add_error(self, message: str) -> None:
        """Say what is wrong."""
        self.errors.append(message)
        self.is_valid = False

    def add_warning(self, message: str) -> None:
        """Say what may be wrong."""
        self.warnings.append(message)

    def merge(self, other: ValidationResult) -> None:
        """Take in what another check found."""
        self.errors += other.errors
        self.warnings += other.warnings
        self.validated_rids |= other.validated_rids
        self.is_valid = self.is_valid and other.is_valid

    def __str__(self) -> str:
        if self.is_valid:
            lines = ["✓ Validation passed"]
            lines += [f"  Validated {len(self.validated_rids)} RID(s)"] if self.validated_rids else []
        else:
            lines = [f"✗ Validation failed with {len(self.errors)} error(s)", "Errors:"]
            lines += [f"  • {each}" for each in self.errors]
        if self.warnings:
            lines += ["Warnings:", *(f"  ⚠ {each}" for each in self.warnings)]
        return "\n".join(lines)


def validate_rids(
    ml: HasSession | Session,
    dataset_rids: Iterable[str] | None = None,
    asset_rids: Iterable[str] | None = None,
    dataset_versions: Mapping[str, str] | None = None,
    workflow_rids: Iterable[str] | None = None,
    execution_rids: Iterable[str] | None = None,
    warn_missing_descriptions: bool = True,
) -> ValidationResult:
    """Hold RIDs against the catalog: that they exist, that they are what they are taken for, that versions exist.

    Args:
        ml: The catalog.
        dataset_rids: RIDs that are to be datasets.
        asset_rids: RIDs that are to be assets.
        dataset_versions: The version that is needed of datasets, by RID; these are datasets, too.
        workflow_rids: RIDs that are to be workflows.
        execution_rids: RIDs that are to be executions.
        warn_missing_descriptions: Name the datasets that have no description.
    """
    session = session_of(ml)
    versions = {rid: str(version) for rid, version in (dataset_versions or {}).items()}
    wanted = {
        "Dataset": [*(dataset_rids or ()), *versions],
        "Asset": [*(asset_rids or ())],
        "Workflow": [*(workflow_rids or ())],
        "Execution": [*(execution_rids or ())],
    }
    result = ValidationResult()
    places = session.catalog.resolve_rids(rid for rids in wanted.values() for rid in rids)
    datasets: list[str] = []
    for category, rids in wanted.items():
        for rid in dict.fromkeys(rids):
            table = session.model().table(*places[rid]) if rid in places else None
            if table is None:
                result.add_error(f"{category} RID '{rid}' does not exist in catalog")
                continue
            result.validated_rids[rid] = BatchRidResult(rid, table, table.name, table.schema)
            if not _is_of(session, category, table):
                found = f"found in table '{table.schema}.{table.name}'"
                result.add_error(f"RID '{rid}' specified as {category.lower()} but {found}")
            elif category == "Dataset":
                datasets.append(rid)
    _check_versions(session, [(rid, version) for rid, version in versions.items() if rid in datasets], result)
    if warn_missing_descriptions:
        _warn_of_descriptions(session, datasets, result)
    return result


def _is_of(session: Session, category: str, table: Table) -> bool:
    return is_asset(table) if category == "Asset" else table.qualified == (session.ml_schema, category)


def _check_versions(session: Session, versions: Sequence[tuple[str, str]], result: ValidationResult) -> None:
    found = histories(session, {rid for rid, _version in versions}) if versions else {}
    for rid, version in versions:
        known = [str(entry.dataset_version) for entry in found[rid]]
        if not known:
            result.add_warning(f"Dataset '{rid}' has no version")
        elif _plain_version(version) not in known:
            result.add_error(
                f"Dataset '{rid}' does not have version '{version}'. Current version: {current(found[rid])}. "
                f"Available versions: {known}"
            )


def _plain_version(text: str) -> str:
    try:
        return str(DatasetVersion.parse(text))
    except ValueError:
        return text


def _warn_of_descriptions(session: Session, datasets: list[str], result: ValidationResult) -> None:
    table = MLTable.dataset.value
    rows = session.catalog.rows_by(session.ml_schema, table, "RID", datasets, columns=["RID", "Description"])
    bare = {str(row["RID"]) for row in rows if not row["Description"]}
    for rid in datasets:
        if rid in bare:
            result.add_warning(f"Dataset '{rid}' has no description")


def validate_execution_config(
    ml: HasSession | Session, datasets: Iterable[Any] | None = None, assets: Iterable[Any] | None = None
) -> ValidationResult:
    """Hold the inputs of a configuration against the catalog.

    Args:
        ml: The catalog.
        datasets: Specifications with ``rid`` and ``version``, or dictionaries of these.
        assets: Specifications with ``rid``, dictionaries of it, or RIDs.
    """
    session, result = session_of(ml), ValidationResult()
    named = [(rid, _field(spec, "version")) for spec in datasets or () if (rid := _rid_of(spec, result)) is not None]
    files = [rid for spec in assets or () if (rid := _rid_of(spec, result)) is not None]
    if named or files:
        result.merge(validate_rids(session, [rid for rid, _version in named], files, warn_missing_descriptions=False))
    known = {rid for rid, found in result.validated_rids.items() if _is_of(session, "Dataset", found.table)}
    _check_versions(session, [(rid, str(each)) for rid, each in named if each is not None and rid in known], result)
    return result


def _field(spec: Any, name: str) -> Any:
    return spec.get(name) if isinstance(spec, Mapping) else getattr(spec, name, None)


def _rid_of(spec: Any, result: ValidationResult) -> str | None:
    rid = spec if isinstance(spec, str) else _field(spec, "rid")
    if rid is None:
        result.add_error(f"{spec!r} has no RID")
        return None
    return str(rid)


def validate_vocabulary_terms(ml: HasSession | Session, vocabulary_name: str, terms: Iterable[str]) -> ValidationResult:
    """Hold names against the terms of a vocabulary, and their synonyms.

    Args:
        ml: The catalog.
        vocabulary_name: The vocabulary.
        terms: The names.

    Raises:
        DerivaMLTableNotFound: There is no such table.
        DerivaMLTableTypeError: It is no vocabulary.
    """
    known = [
        name for term in list_vocabulary_terms(session_of(ml), vocabulary_name) for name in (term.name, *term.synonyms)
    ]
    result = ValidationResult()
    for wanted in dict.fromkeys(terms):
        if wanted not in known:
            near = ", ".join(nearest(wanted, known)) or "it has none"
            result.add_error(f"'{wanted}' is no term of {vocabulary_name}; terms: {near}")
    return result
