"""What ``deriva-ml-run`` shows: what a run came to, the jobs of a sweep, what a dry run found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.cli.errors import exit_code, show_error
from deriva_ml.cli.records import run_time, show_report
from deriva_ml.cli.terminal import coloured, emit, escape_text, grid, table_of, title
from deriva_ml.core.config import place_flags, resolve_place
from deriva_ml.core.error_text import error_text

if TYPE_CHECKING:
    from deriva_ml.execution.runner import Outcome
    from deriva_ml.execution.sweep import SweepOutcome

__all__ = ["show_job", "show_outcome", "show_sweep"]


def show_outcome(outcome: Outcome, *, debug: bool = False) -> int:
    """Print what a run came to; the exit code of the command."""
    _say_made(outcome.made_catalog)
    place = place_flags(outcome.hostname, outcome.catalog_id)
    if outcome.report is not None:
        show_report(outcome.report, place)
    elif outcome.error is None and outcome.checked is not None:
        _show_checked(outcome)
    return _show_failure(outcome.error, debug=debug)


def _show_failure(error: BaseException | None, *, debug: bool) -> int:
    if error is None:
        return 0
    sys.stdout.flush()
    show_error(error, debug=debug)
    return exit_code(error)


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
    if sweep.report is not None:
        show_report(sweep.report, place_flags(sweep.hostname, sweep.catalog_id), with_children=False)
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
    for job in sweep.failed:
        if job.error is not None:
            print(f"\nJob {job.number}:", file=sys.stderr)
            _show_failure(job.error, debug=debug)
    return _sweep_code(sweep, debug=debug)


def _sweep_code(sweep: SweepOutcome, *, debug: bool) -> int:
    if sweep.error is not None:
        return _show_failure(sweep.error, debug=debug)
    errors = [job.error for job in sweep.failed if job.error is not None]
    codes = {exit_code(error) for error in errors}
    if sweep.report is None and codes == {2}:
        return 2  # a dry run in which every failure is a wrong request
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


def _show_checked(outcome: Outcome) -> None:
    """What a dry run found."""
    checked = outcome.checked
    assert checked is not None
    configuration = checked.configuration
    lines = grid()
    lines.add_row("Dry run", "[green]everything that can be checked is in order[/green]; nothing was written")
    lines.add_row("Description", escape_text(configuration.description) or "-")
    lines.add_row("Model", escape_text(checked.model))
    lines.add_row("Choices", escape_text(_choice(configuration.config_choices)))
    lines.add_row("Workflow", escape_text(_workflow_line(configuration.workflow)))
    for spec in configuration.datasets:
        lines.add_row("Dataset", f"{spec.rid} version {spec.version}  {escape_text(spec.description)}".rstrip())
    for asset in configuration.assets:
        lines.add_row("Asset", asset.rid if isinstance(asset, AssetSpec) else escape_text(str(asset.path)))
    where = f"{escape_text(outcome.catalog_id)} at {escape_text(str(resolve_place(outcome.hostname)))}"
    if checked.inputs is None:
        where += " (does not exist yet; a run makes it)"
    lines.add_row("Catalog", where)
    emit(lines)
    if checked.dirty:
        shown = ", ".join(checked.dirty[:5]) + (" ..." if len(checked.dirty) > 5 else "")
        print(
            f"Note: the code has uncommitted changes ({shown}). A real run needs a commit, or --allow-dirty.",
            file=sys.stderr,
        )


def _choice(choices: Any) -> str:
    return ", ".join(f"{group}={name}" for group, name in sorted(choices.items())) or "-"


def _workflow_line(workflow: Any) -> str:
    kinds = ", ".join(workflow.workflow_types)
    return f"{workflow.name} ({kinds})" + (f", {workflow.url}" if workflow.url else "")
