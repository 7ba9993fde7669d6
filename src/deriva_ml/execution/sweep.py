"""A sweep: a parent execution, made before the first job and closed from what its jobs came to.

1. The launching process makes the parent and hands its RID to every job; so two sweeps that start in the same moment
   never meet, and no job looks for a parent.
2. All jobs are composed before the parent is made: a sweep that cannot start leaves no trace.
3. The parent is open inside one ``with`` block of the launching process, and nothing else closes it. If the process is
   killed, the next one finds the run dead by its journal.
4. A job links itself to the parent with its number in the sweep, as soon as its own record exists.
5. A job that fails does not stop the others, unless the user asked for that.

The jobs are run by Hydra's own sweeper and launcher, whichever the configuration names; with the basic launcher they
run one after the other in this process.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.config import place_flags
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLException,
    DerivaMLExecutionError,
    DerivaMLProblems,
)
from deriva_ml.core.values import dataclass
from deriva_ml.execution import composition
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.dry_run import PlaceAhead, look_ahead
from deriva_ml.execution.dry_sweep import ask_all
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.overrides import expand, swept_keys, told_of
from deriva_ml.execution.preflight import Checked, check_catalog, check_request
from deriva_ml.execution.request import DryRun, RunRequest, instantiate, open_catalog
from deriva_ml.execution.resume import resume_execution
from deriva_ml.execution.runner import JOB_NAME, Child, Outcome, RunPlan
from deriva_ml.execution.running import finish
from deriva_ml.execution.sweep_again import SWEEP

if TYPE_CHECKING:
    from deriva_ml.execution.report import RunReport
    from deriva_ml.execution.throwaway import CopyPlace

__all__ = ["SweepFailed", "SweepOutcome", "run_sweep"]


@dataclass(frozen=True)
class SweepOutcome:
    """What a sweep came to.

    Attributes:
        jobs: The jobs' outcomes, by number.
        hostname: The catalog's host as the configuration names it.
        catalog_id: The catalog.
        report: What was recorded of the parent; None in a dry run.
        error: Why the parent is not complete.
        made_catalog: The default catalog was made for this sweep, here.
        swept: The keys that the sweep varies.
        places: What a dry run found of the catalogs that the jobs are for.
        dry: How dry the sweep was.
    """

    jobs: tuple[Outcome, ...]
    hostname: str = ""
    catalog_id: str = ""
    report: RunReport | None = None
    error: BaseException | None = None
    made_catalog: str | None = None
    swept: tuple[str, ...] = ()
    places: tuple[PlaceAhead, ...] = ()
    dry: DryRun = DryRun.off

    @property
    def failed(self) -> list[Outcome]:
        """The jobs that did not do what they were asked."""
        return [job for job in self.jobs if job.failed]


class SweepFailed(DerivaMLExecutionError):
    """Some jobs of a sweep failed."""


def run_sweep(plan: RunPlan) -> SweepOutcome:
    """Run the jobs of a sweep under a parent execution.

    Raises:
        DerivaMLException: The sweep could not start; nothing was written.
    """
    try:
        return _run_sweep(plan)
    finally:
        composition.discard_output(plan.home, plan.stamp, recorded=True)


def _run_sweep(plan: RunPlan) -> SweepOutcome:
    with composition.hydra_session(JOB_NAME) as hydra:
        jobs = expand(plan.overrides, hydra.config_loader)
        if plan.options.offline or _says_dry(plan.overrides):
            return _dry(hydra, plan, jobs)
        first = _compose_all(hydra, plan, jobs)
        dry = DryRun.read(first.get("dry_run", False), jobs[0])
        plan.options.check(dry)
        if dry is not DryRun.off:  # a configuration says so
            return _dry(hydra, plan, jobs)
        request = instantiate(first, jobs[0])
        checked = check_request(request, JobContext({}, None), allow_dirty=plan.options.allow_dirty)
        with open_catalog(request) as ml:
            check_catalog(ml, checked)
            if plan.options.sweep is not None and checked.configuration.workflow is not None:
                plan.options.sweep.require_same(ml, checked.configuration.workflow, len(jobs))
            made = str(ml.session.place) if ml.created_default else None
            return replace(_record(hydra, plan, ml, request, checked, len(jobs)), made_catalog=made)


def _says_dry(overrides: Sequence[str]) -> bool:
    """Whether the command itself says that the sweep is dry, so that nothing of it has to be composed before."""
    said = [text.partition("=")[2] for text in overrides if text.partition("=")[0].lstrip("+") == "dry_run"]
    return bool(said) and DryRun.read(said[-1].strip("'\""), overrides) is not DryRun.off


def _compose_all(hydra: Any, plan: RunPlan, jobs: Sequence[Sequence[str]]) -> Any:
    """Compose every job, so that a mistake in any of them is found before the first; the first one."""
    with told_of(plan.spec):
        return composition.compose_jobs(hydra, plan.config_name, plan.all_overrides, jobs)


def _dry(hydra: Any, plan: RunPlan, jobs: Sequence[Sequence[str]]) -> SweepOutcome:
    """Look at every job; if the sweep is fully dry and nothing is wrong, go the whole way in a copy of the catalog."""
    asked = ask_all(plan.config_name, jobs, plan.home / "hydra-sweep" / plan.stamp, plan.spec)
    ahead = look_ahead(asked, plan.options, is_sweep=True)
    answer = SweepOutcome(
        ahead.jobs,
        *(next(((place.hostname, place.catalog_id) for place in ahead.places), ("", ""))),
        error=DerivaMLProblems.of(ahead.problems) if ahead.problems else None,
        swept=tuple(swept_keys(plan.overrides)),
        places=ahead.places,
        dry=DryRun.checks,
    )
    request = next((one.request for one in asked if one.request is not None), None)
    if (
        request is not None
        and request.dry is DryRun.full
        and not (plan.options.offline or answer.error or answer.failed)
    ):
        found = _rehearse(hydra, plan, request, answer)
        answer = replace(found, places=ahead.places, dry=DryRun.full)
    composition.discard_output(plan.home, plan.stamp)
    return answer


def _rehearse(hydra: Any, plan: RunPlan, request: RunRequest, looked: SweepOutcome) -> SweepOutcome:
    """Record a sweep in a copy of the catalog that is thrown away."""
    from deriva_ml.execution.rehearsal import Rehearsal, dry_error, dry_report
    from deriva_ml.execution.throwaway import open_copy

    if len(looked.places) > 1:
        raise DerivaMLConfigurationError(
            "The jobs of the sweep are for several catalogs, and a fully dry sweep is recorded in the copy of one.",
            source=", ".join(f"catalog {place.catalog_id} at {place.place}" for place in looked.places),
            hint="go the whole way with one catalog after the other, or check all with dry_run=true",
        )
    checked = [one.checked for one in looked.jobs if one.checked is not None]
    exists = all(place.exists is True for place in looked.places)
    with Rehearsal(request, exists=exists, checked=checked) as copy, open_copy(request, copy) as ml:
        found = _record(hydra, plan, ml, request, checked[0], len(looked.jobs), copy)
    return replace(found, report=dry_report(found.report, looked.places[0]), error=dry_error(found.error))


def _record(
    hydra: Any, plan: RunPlan, ml: Any, request: RunRequest, checked: Checked, count: int, copy: CopyPlace | None = None
) -> SweepOutcome:
    """Make the parent, run the jobs, and close the parent from what they came to."""
    swept = tuple(swept_keys(plan.overrides))
    parent = _parent(plan, ml, checked, swept, count)
    jobs: list[Outcome] = []
    error: BaseException | None = None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with parent.execute():
                jobs += _run_jobs(
                    hydra, plan, Child(parent.execution_rid, Path(scratch) / "stop", copy, plan.options.sweep)
                )
                _refuse_failures(jobs)
        except DerivaMLException as raised:
            # That jobs failed has ended the parent as Failed; it is each job's own error that is shown.
            error = None if isinstance(raised, SweepFailed) else raised
    hostname, catalog_id = str(request.deriva_ml.hostname), str(request.deriva_ml.catalog_id)
    report, error = finish(parent, error, place_flags(hostname, catalog_id))
    return SweepOutcome(tuple(jobs), hostname, catalog_id, report=report, error=error, swept=swept)


def _parent(plan: RunPlan, ml: Any, checked: Checked, swept: Sequence[str], count: int) -> Any:
    """The parent, ready to start: a new one, or that of the sweep that is resumed."""
    if plan.options.sweep is not None:
        parent = resume_execution(ml, plan.options.sweep.execution_rid, workflow=checked.configuration.workflow)
        parent.take_up()
        return parent
    parent = ml.create_execution(_parent_configuration(plan, checked.configuration, swept, count))
    _keep_definition(parent, plan, count)
    return parent


def _run_jobs(hydra: Any, plan: RunPlan, child: Child) -> list[Outcome]:
    found: list[Outcome] = composition.run_sweep(hydra, plan.config_name, plan.job(child), plan.all_overrides)
    return found


def _parent_configuration(plan: RunPlan, first: Any, swept: Sequence[str], count: int) -> Any:
    """The parent has the first job's code, and no inputs: those are its jobs'."""
    text = plan.spec.description if plan.spec is not None else ""
    description = text or f"Sweep of {count} jobs over {', '.join(swept) or 'no key'}"
    return first.model_copy(update={"datasets": [], "assets": [], "description": description, "config_choices": {}})


def _keep_definition(parent: Any, plan: RunPlan, count: int) -> None:
    """Record what the sweep is: its name, its overrides, and how many jobs they make."""
    path = parent.asset_file_path(
        "Execution_Metadata",
        SWEEP,
        asset_types="Hydra_Config",
        description="the overrides that define the sweep",
    )
    mask = process_mask()
    values = mask.data(
        {
            "name": plan.spec.name if plan.spec is not None else None,
            "description": plan.spec.description if plan.spec is not None else "",
            "config_name": plan.config_name,
            "overrides": mask.argv(plan.overrides),
            "jobs": count,
        }
    )
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _refuse_failures(jobs: Sequence[Outcome]) -> None:
    failed = [job for job in jobs if job.failed]
    if failed:
        numbers = ", ".join(str(job.number) for job in failed)
        raise SweepFailed(f"{len(failed)} of {len(jobs)} jobs failed or were not started: {numbers}")
