"""Validation before a run: of RIDs, of specifications of datasets, of terms, of a run's whole configuration.

Nothing here raises for what is wrong with what was given; it is said, all of it, in the answer. All of it rests on one
reading of the catalog (:class:`~deriva_ml.execution.facts.Facts`) and one judge of inputs
(:mod:`~deriva_ml.execution.input_check`), which the pre-flight of a run uses too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetSpec
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.facts import Facts
from deriva_ml.execution.input_check import Inputs, facts_for, judge_inputs, judge_workflow
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.vocabulary import unknown_terms

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetSpec
    from deriva_ml.asset.local_file import LocalFile

__all__ = [
    "ConfigurationReport",
    "DatasetSpecsReport",
    "SpecReport",
    "ValidationResult",
    "validate_dataset_specs",
    "validate_execution_config",
    "validate_execution_configuration",
    "validate_rids",
    "validate_vocabulary_terms",
]


@dataclass
class ValidationResult:
    """What a validation found, in words.

    Attributes:
        is_valid: There is no error.
        errors: What is wrong.
        warnings: What may be wrong.
        validated_rids: The RIDs that are good, each with its table (``schema:Table``).
    """

    is_valid: bool = True
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    validated_rids: dict[str, str] = field(default_factory=dict)

    def add_error(self, message: str) -> None:
        """Note something that is wrong."""
        self.is_valid = False
        self.errors.append(message)

    def add_warning(self, message: str) -> None:
        """Note something that may be wrong."""
        self.warnings.append(message)

    def merge(self, other: ValidationResult) -> None:
        """Take over what another validation found."""
        self.is_valid = self.is_valid and other.is_valid
        self.errors += other.errors
        self.warnings += other.warnings
        self.validated_rids |= other.validated_rids

    def __str__(self) -> str:
        if self.is_valid:
            lines = ["✓ Validation passed"]
            lines += [f"  Validated {len(self.validated_rids)} RID(s)"] if self.validated_rids else []
        else:
            lines = [f"✗ Validation failed with {len(self.errors)} error(s)"]
        for title, mark, messages in (("Errors", "•", self.errors), ("Warnings", "⚠", self.warnings)):
            lines += [f"{title}:", *(f"  {mark} {message}" for message in messages)] if messages else []
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class SpecReport:
    """What was found of one input.

    Attributes:
        spec: The input, as it was named.
        problems: What is wrong with it; each error says what, where from, what is allowed and what to do.
    """

    spec: DatasetSpec | AssetSpec | LocalFile
    problems: tuple[DerivaMLException, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether a run can consume it."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class DatasetSpecsReport:
    """What was found of specifications of datasets, in the order in which they were given."""

    specs: tuple[SpecReport, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether a run can consume all of them together."""
        return all(spec.is_valid for spec in self.specs)

    @property
    def problems(self) -> list[DerivaMLException]:
        """Everything that is wrong."""
        return [problem for spec in self.specs for problem in spec.problems]


@dataclass(frozen=True, slots=True)
class ConfigurationReport:
    """What was found of the configuration of a run.

    Attributes:
        datasets: Of its datasets.
        assets: Of its assets and files of this machine.
        workflow: What is wrong with the kind of work.
        inputs: The inputs that are good, with the versions that would be consumed.
    """

    datasets: tuple[SpecReport, ...] = ()
    assets: tuple[SpecReport, ...] = ()
    workflow: tuple[DerivaMLException, ...] = ()
    inputs: Inputs = field(default_factory=Inputs)

    @property
    def is_valid(self) -> bool:
        """Whether a run could be opened with it."""
        return not self.problems

    @property
    def problems(self) -> list[DerivaMLException]:
        """Everything that is wrong."""
        found = [problem for spec in (*self.datasets, *self.assets) for problem in spec.problems]
        return [*self.workflow, *found]


def validate_dataset_specs(ml: HasSession | Session, specs: Iterable[DatasetSpec]) -> DatasetSpecsReport:
    """Find out which of some datasets a run could consume, and what is wrong with the others.

    Existence, table and version are looked at, and whether one is named twice; in a number of requests that does not
    depend on how many there are.

    Args:
        ml: The catalog.
        specs: The datasets, each in a version; mappings and configurations of such count too.
    """
    configuration = ExecutionConfiguration(datasets=list(specs))
    return DatasetSpecsReport(validate_execution_configuration(ml, configuration).datasets)


def validate_execution_configuration(
    ml: HasSession | Session, config: ExecutionConfiguration, *, facts: Facts | None = None
) -> ConfigurationReport:
    """Find out whether a run could be opened with a configuration, and everything that is wrong with it.

    Args:
        ml: The catalog.
        config: What the run would be given; without a workflow, only its inputs are looked at.
        facts: What the catalog holds of it, if that was read before.
    """
    session = session_of(ml)
    known = facts_for(session, [config]) if facts is None else facts
    judged = judge_inputs(session, config, known)

    def reports(kind: str, specs: Sequence[Any]) -> tuple[SpecReport, ...]:
        return tuple(
            SpecReport(spec, tuple(one.error for one in judged.findings if (one.kind, one.at) == (kind, at)))
            for at, spec in enumerate(specs)
        )

    workflow = tuple(judge_workflow(session, config, known))
    if config.workflow is not None and config.workflow.rid is None:
        vocabulary = f"{session.ml_schema}:{MLVocab.workflow_type}"
        workflow = (*workflow, *unknown_terms(session, vocabulary, config.workflow.workflow_types))
    return ConfigurationReport(
        reports("datasets", config.datasets), reports("assets", config.assets), workflow, judged.inputs
    )


def validate_rids(
    ml: HasSession | Session,
    dataset_rids: Iterable[str] | None = None,
    asset_rids: Iterable[str] | None = None,
    dataset_versions: Mapping[str, str] | None = None,
    workflow_rids: Iterable[str] | None = None,
    execution_rids: Iterable[str] | None = None,
    warn_missing_descriptions: bool = True,
) -> ValidationResult:
    """Find out whether RIDs exist, and name what they are taken for.

    Args:
        ml: The catalog.
        dataset_rids: RIDs of datasets.
        asset_rids: RIDs of assets.
        dataset_versions: The version that is needed, by the dataset's RID.
        workflow_rids: RIDs of workflows.
        execution_rids: RIDs of executions.
        warn_missing_descriptions: Warn of datasets that say nothing of themselves.
    """
    session = session_of(ml)
    versions = {str(rid): str(version) for rid, version in (dataset_versions or {}).items()}
    datasets = list(dict.fromkeys([*map(str, dataset_rids or ()), *versions]))
    others = {
        "Asset": list(map(str, asset_rids or ())),
        "Workflow": list(map(str, workflow_rids or ())),
        "Execution": list(map(str, execution_rids or ())),
    }
    result = ValidationResult()
    facts = Facts.read(session, datasets, [rid for rids in others.values() for rid in rids])
    for rid in datasets:
        _judge_dataset(session, facts, rid, versions.get(rid), result, warn=warn_missing_descriptions)
    ml_tables = {"Workflow": str(MLTable.workflow), "Execution": str(MLTable.execution)}
    for category, rids in others.items():
        for rid in dict.fromkeys(rids):
            wanted = ml_tables.get(category)
            _judge_record(facts, rid, category, result, is_right=_is_in(session, wanted) if wanted else _is_asset)
    return result


def _is_asset(facts: Facts, rid: str) -> bool:
    return facts.records[rid].is_asset


def _is_in(session: Session, table: str) -> Callable[[Facts, str], bool]:
    def is_in(facts: Facts, rid: str) -> bool:
        found = facts.records[rid]
        return (found.schema, found.table) == (session.ml_schema, table)

    return is_in


def _judge_record(
    facts: Facts, rid: str, category: str, result: ValidationResult, *, is_right: Callable[[Facts, str], bool]
) -> None:
    found = facts.records.get(rid)
    if found is None:
        result.add_error(f"{category} RID '{rid}' does not exist in catalog")
    elif not is_right(facts, rid):
        place = f"{found.schema}.{found.table}"
        result.add_error(f"RID '{rid}' specified as {category.lower()} but found in table '{place}'")
    else:
        result.validated_rids[rid] = f"{found.schema}:{found.table}"


def _judge_dataset(
    session: Session, facts: Facts, rid: str, version: str | None, result: ValidationResult, *, warn: bool
) -> None:
    found = facts.datasets.get(rid)
    if found is None:
        _judge_record(facts, rid, "Dataset", result, is_right=lambda _facts, _rid: False)
        return
    known = [str(entry.dataset_version) for entry in found.versions]
    if found.deleted:
        result.add_error(f"Dataset '{rid}' was deleted")
        return
    if version is not None and version not in known:
        if not known:
            result.add_warning(f"Dataset '{rid}' has no version")
        else:
            available = ", ".join(repr(each) for each in known)
            result.add_error(
                f"Dataset '{rid}' does not have version '{version}'. Current version: {known[-1]}. "
                f"Available versions: [{available}]"
            )
            return
    if warn and not found.description:
        result.add_warning(f"Dataset '{rid}' has no description")
    result.validated_rids[rid] = f"{session.ml_schema}:{MLTable.dataset}"


def validate_execution_config(
    ml: HasSession | Session, datasets: Iterable[Any] | None = None, assets: Iterable[Any] | None = None
) -> ValidationResult:
    """Find out whether the inputs of a run exist, in the versions that are named.

    Args:
        ml: The catalog.
        datasets: Objects or mappings with ``rid`` and perhaps ``version``, or RIDs.
        assets: RIDs, or objects or mappings with ``rid``; files of this machine are left to the run.
    """
    named = [_named(item) for item in datasets or ()]
    files = [rid for rid, _version in map(_named, assets or ()) if rid is not None]
    rids = [rid for rid, _version in named if rid is not None]
    versions = {rid: str(version) for rid, version in named if rid is not None and version is not None}
    if not rids and not files:
        return ValidationResult()
    return validate_rids(ml, rids, files, versions, warn_missing_descriptions=False)


def _named(item: Any) -> tuple[str | None, Any]:
    """RID and version of whatever names an input; no RID for a file of this machine."""
    if isinstance(item, str):
        return item, None
    rid = item.get("rid") if isinstance(item, Mapping) else getattr(item, "rid", None)
    version = item.get("version") if isinstance(item, Mapping) else getattr(item, "version", None)
    return None if rid is None else str(rid), version


def validate_vocabulary_terms(ml: HasSession | Session, vocabulary_name: str, terms: Iterable[str]) -> ValidationResult:
    """Find out whether terms are in a vocabulary, by name or synonym; in one request.

    Args:
        ml: The catalog.
        vocabulary_name: The vocabulary.
        terms: The terms.
    """
    result = ValidationResult()
    try:
        found = unknown_terms(session_of(ml), vocabulary_name, list(terms))
    except DerivaMLException as error:
        if error.exit_code != 2:  # the catalog is not there, or fails: nothing was found out
            raise
        result.add_error(str(error).splitlines()[0])
        return result
    for problem in found:
        nearest = f" Nearest: {', '.join(problem.allowed)}" if problem.allowed else ""
        result.add_error(f"{str(problem).splitlines()[0]}{nearest}")
    return result
