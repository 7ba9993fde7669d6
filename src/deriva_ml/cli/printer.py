"""What ``deriva-ml-run`` shows: what a run came to, the jobs of a sweep, what a dry run found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deriva_ml.cli.ahead import say_full, show_ahead, show_sweep_ahead, show_warnings
from deriva_ml.cli.errors import exit_code, show_error
from deriva_ml.cli.records import run_time, show_report
from deriva_ml.cli.terminal import coloured, emit, escape_text, table_of, title
from deriva_ml.core.config import place_flags
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLUnreachable, DerivaMLUploadError
from deriva_ml.execution.request import DryRun

if TYPE_CHECKING:
    from deriva_ml.execution.outcome import Outcome
    from deriva_ml.execution.sweep import SweepOutcome

__all__ = ["outcome_code", "show_failures", "show_job", "show_outcome", "show_sweep", "sweep_code"]


def show_outcome(outcome: Outcome, *, debug: bool = False) -> int:
    """Print what a run came to; the exit code of the command."""
    _say_made(outcome.made_catalog)
    place = place_flags(outcome.hostname, outcome.catalog_id)
    if outcome.dry is DryRun.full:
        say_full(outcome.report is not None)
    if outcome.report is not None:
        show_report(outcome.report, place, is_kept=outcome.dry is not DryRun.full)
    elif outcome.dry is DryRun.checks:
        show_ahead(outcome)
    show_failures(outcome, debug=debug)
    return outcome_code(outcome)


def outcome_code(outcome: Outcome) -> int:
    """The exit code of a command that came to this."""
    return 0 if outcome.error is None else _code(outcome.error, outcome.dry)


def _code(error: BaseException, dry: DryRun) -> int:
    """The exit code of an error; where nothing was to be done but to look, whatever is wrong is the request."""
    code = exit_code(error)
    return code if dry is not DryRun.checks or code == DerivaMLUnreachable.exit_code else 2


def show_failures(came_to: Outcome | SweepOutcome, *, debug: bool = False) -> None:
    """Write what went wrong to standard error."""
    for job in getattr(came_to, "failed", ()) if hasattr(came_to, "jobs") else ():
        if job.error is not None:
            print(f"\nJob {job.number}:", file=sys.stderr)
            show_error(job.error, debug=debug)
    if came_to.error is not None:
        sys.stdout.flush()
        show_error(came_to.error, debug=debug)


def _say_made(place: str | None) -> None:
    if place is not None:
        print(f"Made a catalog for this machine: {place} (catalog 1)", file=sys.stderr)


def show_job(outcome: Outcome) -> None:
    """Print one line for a job of a sweep as it ends."""
    words = _words(outcome)
    if outcome.skipped:
        state = "skipped"
    elif outcome.error is not None:
        state = f"failed: {_first_line(outcome.error)}"
    elif outcome.report is None:
        state = "would run"
    else:
        state = f"{outcome.report.record.status} {outcome.report.record.execution_rid}"
    print(f"[Job {outcome.number}] {words}: {state}", file=sys.stderr, flush=True)


def show_sweep(sweep: SweepOutcome, *, debug: bool = False) -> int:
    """Print what a sweep came to, one line for each job; the exit code of the command."""
    _say_made(sweep.made_catalog)
    if sweep.dry is DryRun.full:
        say_full(sweep.report is not None)
    if sweep.report is not None:
        place = place_flags(sweep.hostname, sweep.catalog_id)
        show_report(sweep.report, place, with_children=False, is_kept=sweep.dry is not DryRun.full)
    if sweep.dry is DryRun.checks:
        show_sweep_ahead(sweep)
        _say_common_warnings(sweep)
    table = table_of("Job", "Overrides", "Execution", "Status", "Time")
    for job in sweep.jobs:
        record = job.report.record if job.report is not None else None
        table.add_row(
            str(job.number),
            escape_text(_words(job)),
            record.execution_rid if record else "-",
            coloured(str(record.status)) if record else _unrecorded(job),
            run_time(record) if record else "",
        )
    emit(title("Jobs"), table)
    show_failures(sweep, debug=debug)
    return sweep_code(sweep)


def _say_common_warnings(sweep: SweepOutcome) -> None:
    """Print what a real run would refuse; what many jobs share is said once."""
    warnings = [warning for job in sweep.jobs if job.checked is not None for warning in job.checked.warnings]
    show_warnings(list({str(warning): warning for warning in warnings}.values()))


def sweep_code(sweep: SweepOutcome) -> int:
    """The exit code of a command that came to this."""
    codes = {_code(job.error, sweep.dry) for job in sweep.failed if job.error is not None}
    if sweep.error is not None:
        code = _code(sweep.error, sweep.dry)
        return 1 if code == DerivaMLUploadError.exit_code and codes - {code} else code
    if sweep.dry is DryRun.checks:
        return max(codes, default=0)
    if codes == {4}:
        return 4
    return 1 if sweep.failed else 0


def _words(job: Outcome) -> str:
    """A job's overrides as they may be shown: without secrets."""
    from deriva_ml.execution.environment import process_mask

    return " ".join(process_mask().argv(job.overrides))


def _first_line(error: BaseException) -> str:
    from deriva_ml.execution.environment import mask

    return mask(next(iter(error_text(error).splitlines()), type(error).__name__))


def _unrecorded(job: Outcome) -> str:
    if job.skipped:
        return "not started"
    return "[red]refused[/red]" if job.error is not None else "would run"
