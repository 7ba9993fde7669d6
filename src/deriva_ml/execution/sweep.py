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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deriva_ml.core.config import place_flags
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLExecutionError
from deriva_ml.execution import composition
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.overrides import expand, swept_keys, told_of
from deriva_ml.execution.preflight import check_catalog, check_request
from deriva_ml.execution.request import RunRequest, instantiate, open_catalog
from deriva_ml.execution.runner import JOB_NAME, Child, Outcome, RunPlan, finish

if TYPE_CHECKING:
    from deriva_ml.execution.report import RunReport

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
    """

    jobs: tuple[Outcome, ...]
    hostname: str = ""
    catalog_id: str = ""
    report: RunReport | None = None
    error: BaseException | None = None
    made_catalog: str | None = None
    swept: tuple[str, ...] = ()

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
    with composition.hydra_session(JOB_NAME) as hydra, tempfile.TemporaryDirectory() as scratch:
        first, count = _compose_all(hydra, plan)
        request = instantiate(first)
        stop = Path(scratch) / "stop"
        swept = tuple(swept_keys(plan.overrides))
        if request.dry_run:
            answer = _answer(_run_jobs(hydra, plan, None, stop), request, swept=swept)
            composition.discard_output(plan.home, plan.stamp)
            return answer
        checked = check_request(request, JobContext({}, None), allow_dirty=plan.options.allow_dirty)
        with open_catalog(request) as ml:
            check_catalog(ml, checked)
            made = str(ml.session.place) if ml.created_default else None
            parent = ml.create_execution(_parent_configuration(plan, checked.configuration, swept, count))
            _keep_definition(parent, plan, count)
            jobs: list[Outcome] = []
            error: BaseException | None = None
            try:
                with parent.execute():
                    jobs += _run_jobs(hydra, plan, parent.execution_rid, stop)
                    _refuse_failures(jobs)
            except SweepFailed:
                pass  # each job tells its own error
            except DerivaMLException as raised:
                error = raised
            place = place_flags(str(request.deriva_ml.hostname), request.deriva_ml.catalog_id)
            report, error = finish(parent, error, place)
            return _answer(jobs, request, swept=swept, report=report, error=error, made_catalog=made)


def _answer(jobs: Sequence[Outcome], request: RunRequest, **values: Any) -> SweepOutcome:
    place = request.deriva_ml
    return SweepOutcome(tuple(jobs), str(place.hostname), str(place.catalog_id), **values)


def _compose_all(hydra: Any, plan: RunPlan) -> tuple[Any, int]:
    """Compose every job, so that a mistake in any of them is found before the first; the first one, and how many."""
    jobs = expand(plan.overrides, hydra.config_loader)
    with told_of(plan.spec):
        return composition.compose_jobs(hydra, plan.config_name, plan.all_overrides, jobs), len(jobs)


def _run_jobs(hydra: Any, plan: RunPlan, parent_rid: str | None, stop: Path) -> list[Outcome]:
    job = plan.job(Child(parent_rid, stop))
    found: list[Outcome] = composition.run_sweep(hydra, plan.config_name, job, plan.all_overrides)
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
        "sweep.json",
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
