"""A dry run that only looks: everything that can be known of one run or of the jobs of a sweep, in a few requests.

1. Nothing is written, nothing is downloaded, and no model is called; a catalog that does not exist is not made.
2. What the jobs have in common is looked at once: which code it is, the catalog's rows, the right to write, the room.
3. Everything that is wrong is found. A job has its own problems; those of the place are told once.
4. Without the catalog (``offline``) configuration, model and code are looked at, and it is said what is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from deriva_ml.core.config import resolve_place
from deriva_ml.core.enums import MLTable, MLVocab
from deriva_ml.core.exceptions import DerivaMLCatalogError, DerivaMLException, DerivaMLProblems
from deriva_ml.core.values import dataclass
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.outcome import Outcome, RunOptions
from deriva_ml.execution.preflight import Checked, CodeReader, catalog_is_there, examine_request
from deriva_ml.execution.request import DryRun, RunRequest, instantiate, open_catalog, salvage

if TYPE_CHECKING:
    from deriva_ml.execution.needs import InputNeed, Room
    from deriva_ml.execution.workflow import Workflow
    from deriva_ml.schema.session import Session

__all__ = ["Asked", "LookAhead", "PlaceAhead", "look_ahead", "look_at_one"]

OFFLINE = (
    "whether the catalog is there, and may be written",
    "datasets and their versions, assets: whether they exist, how large they are, what the cache has of them",
    "the kinds of work: whether they are terms of Workflow_Type",
    "room on the disk",
)
NO_CATALOG = ("the kinds of work, and the right to write: the catalog is made by the first run",)
MODELS = ("what the model itself will read and write: dry_run=full calls it, in a copy of the catalog",)


@dataclass(frozen=True)
class Asked:
    """A job that is asked for: its request, or why there is none.

    Attributes:
        context: What Hydra knows about the job.
        request: What to do, without what cannot be made; None if too little is left.
        broken: Arguments that cannot be made, and why; under an empty name, why there is nothing at all.
    """

    context: JobContext
    request: RunRequest | None = None
    broken: Mapping[str, DerivaMLException] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Any, context: JobContext) -> Asked:
        """What a composed configuration asks for."""
        try:
            return cls(context, instantiate(config, context.overrides))
        except DerivaMLException as error:
            request, broken = salvage(config, context.overrides)
            return cls(context, request, broken or {"": error})


@dataclass(frozen=True)
class PlaceAhead:
    """A catalog that jobs are for, and what they need there.

    Attributes:
        hostname: Its host as the configuration names it.
        catalog_id: The catalog.
        place: Where that is.
        exists: It is there; None if it was not looked for.
        needs: The inputs, each once.
        rooms: The room that they need.
        problems: What is wrong for all jobs.
        not_checked: What was not looked at, in words.
    """

    hostname: str
    catalog_id: str
    place: str
    exists: bool | None = None
    needs: tuple[InputNeed, ...] = ()
    rooms: tuple[Room, ...] = ()
    problems: tuple[DerivaMLException, ...] = ()
    not_checked: tuple[str, ...] = ()


@dataclass(frozen=True)
class LookAhead:
    """What a dry run found.

    Attributes:
        jobs: The jobs, each with its own problems.
        places: The catalogs.
    """

    jobs: tuple[Outcome, ...] = ()
    places: tuple[PlaceAhead, ...] = ()

    @property
    def problems(self) -> list[DerivaMLException]:
        """What is wrong for all jobs."""
        return [problem for place in self.places for problem in place.problems]


@dataclass
class _Job:
    """A job on its way through the checks."""

    asked: Asked
    checked: Checked | None = None

    def outcome(self) -> Outcome:
        context, request = self.asked.context, self.asked.request
        problems = [*self.asked.broken.values(), *(self.checked.problems if self.checked else ())]
        where = request.deriva_ml if request is not None else None
        return Outcome(
            description=self.checked.configuration.description if self.checked else "",
            number=context.number,
            overrides=context.overrides,
            hostname=str(getattr(where, "hostname", "")),
            catalog_id=str(getattr(where, "catalog_id", "")),
            checked=self.checked,
            dry=DryRun.checks,
            error=DerivaMLProblems.of(problems) if problems else None,
        )


def look_at_one(asked: Asked, options: RunOptions) -> Outcome:
    """Look at one run; what is wrong with it and with its catalog is one error."""
    ahead = look_ahead([asked], options)
    (job,) = ahead.jobs
    own = () if job.error is None else job.error.errors if isinstance(job.error, DerivaMLProblems) else (job.error,)
    problems = [error for error in (*own, *ahead.problems) if isinstance(error, DerivaMLException)]
    place = ahead.places[0] if ahead.places else None
    return replace(job, ahead=place, error=DerivaMLProblems.of(problems) if problems else None)


def look_ahead(asked: Sequence[Asked], options: RunOptions, *, is_sweep: bool = False) -> LookAhead:
    """Look at jobs.

    Args:
        asked: The jobs.
        options: What the command says.
        is_sweep: They will have a parent.
    """
    codes = CodeReader(options.allow_dirty, is_dry=True)
    jobs = [_Job(one) for one in asked]
    for job in jobs:
        if job.asked.request is not None:
            job.checked = examine_request(job.asked.request, job.asked.context, codes, job.asked.broken)
    places = [_look(group, options, is_sweep=is_sweep) for group in _by_place(jobs)]
    return LookAhead(tuple(job.outcome() for job in jobs), tuple(places))


def _by_place(jobs: Iterable[_Job]) -> list[list[_Job]]:
    """The jobs that can be looked at further, those of one catalog together."""
    groups: list[tuple[Any, list[_Job]]] = []
    for job in jobs:
        if job.asked.request is None:
            continue
        # Hydra's directory is each job's own
        place = job.asked.request.deriva_ml.model_copy(update={"hydra_runtime_output_dir": None})
        key = (place, job.asked.request.ml_class)
        found = next((members for known, members in groups if known == key), None)
        if found is None:
            groups.append((key, [job]))
        else:
            found.append(job)
    return [members for _key, members in groups]


def _look(jobs: Sequence[_Job], options: RunOptions, *, is_sweep: bool) -> PlaceAhead:
    """Look at jobs in their catalog; note what is wrong with each."""
    request = jobs[0].asked.request
    assert request is not None
    config = request.deriva_ml
    ahead = PlaceAhead(str(config.hostname), str(config.catalog_id), str(config.hostname), not_checked=MODELS)
    if options.offline:
        return replace(ahead, not_checked=(*OFFLINE, *MODELS))
    try:
        ahead = replace(ahead, place=str(resolve_place(config.hostname)))
        if not all(catalog_is_there(job.asked.request) for job in jobs if job.asked.request is not None):
            return replace(ahead, exists=False, not_checked=(*NO_CATALOG, *MODELS))
        with open_catalog(request) as ml:
            return _look_in(ml.session, jobs, replace(ahead, exists=True), options, is_sweep=is_sweep)
    except DerivaMLException as error:
        if isinstance(error, DerivaMLCatalogError) and error.status >= 500:
            raise
        return replace(ahead, problems=(error,), not_checked=(*OFFLINE[1:], *MODELS))


def _look_in(
    session: Session, jobs: Sequence[_Job], ahead: PlaceAhead, options: RunOptions, *, is_sweep: bool
) -> PlaceAhead:
    from deriva_ml.execution.input_check import facts_for, judge_inputs, judge_workflow
    from deriva_ml.execution.needs import input_needs, no_room, room_for, unwritable

    checked = [job.checked for job in jobs if job.checked is not None]
    facts = facts_for(session, [one.configuration for one in checked])
    unknown = _unknown_kinds(session, checked)
    for job in jobs:
        if job.checked is None:
            continue
        judged = judge_inputs(session, job.checked.configuration, facts)
        workflow = job.checked.configuration.workflow
        kinds = workflow.workflow_types if workflow is not None and workflow.rid is None else []
        problems = judge_workflow(session, job.checked.configuration, facts)
        problems += [unknown[kind] for kind in dict.fromkeys(kinds) if kind in unknown]
        job.checked = job.checked.with_problems([*problems, *judged.problems], judged.inputs)
    inputs = [job.checked.inputs for job in jobs if job.checked is not None and job.checked.inputs is not None]
    needs = input_needs(session, inputs, facts, estimate=options.sizes)
    rooms = room_for(session, needs)
    is_new = any(_is_new(session, one.configuration.workflow) for one in checked)
    problems = [*unwritable(session, inputs, is_sweep=is_sweep, workflow_is_new=is_new), *no_room(rooms)]
    return replace(ahead, needs=tuple(needs), rooms=tuple(rooms), problems=tuple(problems))


def _is_new(session: Session, workflow: Workflow | None) -> bool:
    """Whether a row has to be made for the code; it is looked for only where that matters: none may be made."""
    if workflow is None or workflow.rid is not None:
        return False
    if session.catalog.may("insert", session.ml_schema, str(MLTable.workflow)):
        return True
    from deriva_ml.schema.workflows import same_workflow

    found = {"url": workflow.url, "checksum": workflow.checksum, "version": workflow.version}
    return same_workflow(session, name=workflow.name, **found) is None


def _unknown_kinds(session: Session, checked: Iterable[Checked]) -> dict[str, DerivaMLException]:
    """The kinds of work of all jobs that are no terms, looked up once, with what to say of each."""
    from deriva_ml.schema.vocabulary import unknown_terms

    workflows = [one.configuration.workflow for one in checked]
    kinds = {kind for one in workflows if one is not None and one.rid is None for kind in one.workflow_types}
    if not kinds:
        return {}
    vocabulary = f"{session.ml_schema}:{MLVocab.workflow_type}"
    return {problem.term: problem for problem in unknown_terms(session, vocabulary, sorted(kinds))}
