"""Whether everything that a run consumes exists, and is what it is taken for.

What the catalog holds is read first (:class:`~deriva_ml.execution.facts.Facts`), for any number of runs at once; then
each run is judged by it, and everything that is wrong with its inputs is found, with the place that names each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deriva_ml.core.enums import MLTable
from deriva_ml.core.exceptions import (
    DerivaMLDatasetNotFound,
    DerivaMLException,
    DerivaMLProblems,
    DerivaMLRidsNotFound,
    DerivaMLTableTypeError,
    DerivaMLValidationError,
    DerivaMLVersionNotFound,
)
from deriva_ml.core.values import dataclass
from deriva_ml.dataset.aux_classes import DatasetHistory, DatasetSpec
from deriva_ml.dataset.clones import not_shown
from deriva_ml.execution.facts import Facts, RecordFacts
from deriva_ml.schema.session import Session

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetSpec
    from deriva_ml.asset.local_file import LocalFile
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration

__all__ = [
    "AssetInput",
    "DatasetInput",
    "Finding",
    "Inputs",
    "Judgement",
    "check_inputs",
    "facts_for",
    "judge_inputs",
    "judge_workflow",
]


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run consumes, and the entry of its history for the version."""

    spec: DatasetSpec
    version: DatasetHistory


@dataclass(frozen=True, slots=True)
class AssetInput:
    """An asset that a run consumes, and where its row is."""

    spec: AssetSpec
    schema: str
    table: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that a run consumes, known to exist.

    Attributes:
        datasets: Datasets.
        assets: Assets of the catalog.
        local: Files of this machine; they become assets when the run is opened.
    """

    datasets: tuple[DatasetInput, ...] = ()
    assets: tuple[AssetInput, ...] = ()
    local: tuple[LocalFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with one input.

    Attributes:
        kind: ``datasets`` or ``assets``: the list that names the input.
        at: Its place there.
        error: What is wrong.
    """

    kind: str
    at: int
    error: DerivaMLException


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the inputs of one run are worth.

    Attributes:
        inputs: Those that are good.
        findings: What is wrong with the others.
    """

    inputs: Inputs
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> list[DerivaMLException]:
        """What is wrong; RIDs of one list that name nothing are one problem."""
        out: list[DerivaMLException] = []
        missing: dict[str, int] = {}
        for finding in self.findings:
            error = finding.error
            if isinstance(error, DerivaMLRidsNotFound) and finding.kind in missing:
                out[missing[finding.kind]] = _joined(out[missing[finding.kind]], error)
                continue
            if isinstance(error, DerivaMLRidsNotFound):
                missing[finding.kind] = len(out)
            out.append(error)
        return out


def _joined(first: DerivaMLException, second: DerivaMLRidsNotFound) -> DerivaMLException:
    assert isinstance(first, DerivaMLRidsNotFound)
    rids = dict.fromkeys((*first.missing, *second.missing))
    return DerivaMLRidsNotFound(list(rids), source=f"{first.source}, {second.source}", hint=first.hint)


def facts_for(session: Session, configurations: Sequence[ExecutionConfiguration]) -> Facts:
    """What the catalog holds of what runs consume, read at once for all of them."""
    datasets = [spec.rid for one in configurations for spec in one.datasets]
    assets = [rid for one in configurations for _at, rid, _spec in _asset_specs(one)]
    workflows = [one.workflow.rid for one in configurations if one.workflow is not None and one.workflow.rid]
    return Facts.read(session, datasets, [*assets, *workflows])


def judge_workflow(session: Session, configuration: ExecutionConfiguration, facts: Facts) -> list[DerivaMLException]:
    """What is wrong with a workflow that is named by its row.

    Args:
        session: The catalog, for messages.
        configuration: What the run is given.
        facts: What the catalog holds of it (`facts_for`).
    """
    rid = configuration.workflow.rid if configuration.workflow is not None else None
    if rid is None:
        return []
    found = facts.records.get(rid)
    if found is None:
        hint = f"check the RID against catalog {session.catalog_id} at {session.place}"
        return [DerivaMLRidsNotFound([rid], source="workflow", hint=hint)]
    if (found.schema, found.table) != (session.ml_schema, str(MLTable.workflow)):
        text = f"{rid} is no workflow, but a record of {found.schema}:{found.table}."
        return [DerivaMLValidationError(text, source="workflow", hint="name a row of Workflow, or none")]
    return []


def check_inputs(session: Session, configuration: ExecutionConfiguration) -> Inputs:
    """Find out whether everything that a run consumes exists, and is what it is taken for.

    Raises:
        DerivaMLDatasetNotFound: A dataset's RID names something else, or a dataset that was deleted.
        DerivaMLRidsNotFound: Some RIDs name nothing; all such are in the error.
        DerivaMLVersionNotFound: A dataset has no such version.
        DerivaMLNotFoundError: A version's moment is not in the catalog's past.
        DerivaMLTableTypeError: An asset's RID names something else.
        DerivaMLValidationError: An input is named twice.
        DerivaMLProblems: Several of these.
    """
    named = configuration.model_copy(update={"workflow": None})  # which is looked up where it is used
    judged = judge_inputs(session, configuration, facts_for(session, [named]))
    if judged.findings:
        raise DerivaMLProblems.of(judged.problems)
    return judged.inputs


def judge_inputs(session: Session, configuration: ExecutionConfiguration, facts: Facts) -> Judgement:
    """The inputs of a run that are good, and everything that is wrong with the others.

    Args:
        session: The catalog, for messages.
        configuration: What the run is given.
        facts: What the catalog holds of it (`facts_for`).
    """
    judge = _Judge(session, configuration, facts)
    local = tuple(judge.local_files())
    datasets, assets = tuple(judge.datasets()), tuple(judge.assets())
    return Judgement(Inputs(datasets, assets, local), tuple(judge.findings))


def _asset_specs(configuration: ExecutionConfiguration) -> Iterator[tuple[int, str, AssetSpec]]:
    from deriva_ml.asset.aux_classes import AssetSpec

    for at, spec in enumerate(configuration.assets):
        if isinstance(spec, AssetSpec):
            yield at, spec.rid, spec


class _Judge:
    """One run's inputs, judged by what the catalog holds.

    Attributes:
        findings: What is wrong, in the order in which it was found.
    """

    def __init__(self, session: Session, configuration: ExecutionConfiguration, facts: Facts) -> None:
        self._session = session
        self._configuration = configuration
        self._facts = facts
        self.findings: list[Finding] = []

    def local_files(self) -> Iterator[LocalFile]:
        """The files of this machine that can be read."""
        from deriva_ml.asset.local_file import LocalFile, check_local_file

        seen: list[LocalFile] = []
        for at, item in enumerate(self._configuration.assets):
            if not isinstance(item, LocalFile):
                continue
            source = self._source("assets", at)
            if item.path in [other.path for other in seen]:
                text, hint = f"The local file {item.path} is named twice.", "name each input once"
                self._found("assets", at, DerivaMLValidationError(text, source=source, hint=hint))
                continue
            seen.append(item)
            try:
                check_local_file(item, source)
            except DerivaMLException as error:
                self._found("assets", at, error)
            else:
                yield item

    def datasets(self) -> Iterator[DatasetInput]:
        """The datasets that can be consumed."""
        specs = self._configuration.datasets
        for at, rid in self._once("datasets", [(at, spec.rid) for at, spec in enumerate(specs)]):
            found = self._facts.datasets.get(rid)
            if found is None:
                self._found("datasets", at, self._no_dataset(at, rid))
                continue
            source = self._source("datasets", at)
            number = specs[at].version
            version = found.version(number)
            if found.deleted:
                hint = f"named by {source}"
                self._found("datasets", at, DerivaMLDatasetNotFound(rid, "Dataset was deleted", hint=hint))
            elif version is None:
                known = [str(entry.dataset_version) for entry in reversed(found.versions)]
                self._found("datasets", at, DerivaMLVersionNotFound(rid, str(number), known, source=source))
            elif (lost := not_shown(self._session, version, self._facts.first, source=source)) is not None:
                self._found("datasets", at, lost)
            else:
                yield DatasetInput(specs[at], version)

    def assets(self) -> Iterator[AssetInput]:
        """The assets of the catalog that can be consumed."""
        specs = {at: spec for at, _rid, spec in _asset_specs(self._configuration)}
        for at, rid in self._once("assets", [(at, spec.rid) for at, spec in specs.items()]):
            found = self._record(rid)
            if found is None:
                self._found("assets", at, self._missing("assets", at, rid))
            elif found.is_asset:
                yield AssetInput(specs[at], found.schema, found.table)
            else:
                self._found("assets", at, self._no_asset(at, found))

    def _found(self, kind: str, at: int, error: DerivaMLException) -> None:
        self.findings.append(Finding(kind, at, error))

    def _record(self, rid: str) -> RecordFacts | None:
        if rid in self._facts.datasets and rid not in self._facts.records:
            return RecordFacts(rid, self._session.ml_schema, str(MLTable.dataset), False, {})
        return self._facts.records.get(rid)

    def _once(self, kind: str, named: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        """The inputs, each once; one that is named again is a problem."""
        seen: set[str] = set()
        for at, rid in named:
            if rid in seen:
                text = f"The RID {rid} is named twice among the {kind} of the run."
                hint = "name each input once; a run consumes a dataset in one version"
                self._found(kind, at, DerivaMLValidationError(text, source=self._source(kind, at), hint=hint))
            else:
                seen.add(rid)
                yield at, rid

    def _missing(self, kind: str, at: int, rid: str) -> DerivaMLException:
        hint = f"check the RIDs against catalog {self._session.catalog_id} at {self._session.place}"
        return DerivaMLRidsNotFound([rid], source=self._source(kind, at), hint=hint)

    def _no_dataset(self, at: int, rid: str) -> DerivaMLException:
        found = self._facts.records.get(rid)
        if found is None:
            return self._missing("datasets", at, rid)
        return DerivaMLDatasetNotFound(
            rid,
            "Dataset specified in execution configuration is not a dataset, but a record of "
            f"{found.schema}:{found.table}",
            hint=f"named by {self._source('datasets', at)}; single files belong into assets",
        )

    def _no_asset(self, at: int, found: RecordFacts) -> DerivaMLException:
        hint = "a dataset belongs into datasets, with a version" if found.table == str(MLTable.dataset) else None
        return DerivaMLTableTypeError(
            "asset",
            f"{found.schema}:{found.table}, which holds {found.rid},",
            source=f"{self._source('assets', at)}: asset specified in execution configuration",
            hint=hint or "name a record of an asset table",
        )

    def _source(self, kind: str, at: int) -> str:
        """Where the configuration names an input, in words."""
        choice = self._configuration.config_choices.get(kind)
        return f"{kind}[{at}]" + (f" of the configuration {kind}={choice}" if choice else "")
