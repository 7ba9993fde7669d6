"""What a dry run shows: what would be recorded, what the inputs need and have here, and what was not looked at."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.tables import Table
from deriva_ml.cli.terminal import emit, escape_text, table_of, title
from deriva_ml.core.exceptions import DerivaMLDirtyWorkflowError, DerivaMLException
from deriva_ml.core.files import human_size

if TYPE_CHECKING:
    from deriva_ml.execution.dry_run import PlaceAhead
    from deriva_ml.execution.needs import InputNeed
    from deriva_ml.execution.outcome import Outcome
    from deriva_ml.execution.preflight import Checked
    from deriva_ml.execution.sweep import SweepOutcome

__all__ = ["choices_line", "say_full", "show_ahead", "show_sweep_ahead", "show_warnings", "workflow_line"]

GOOD = "[green]everything that can be checked is in order[/green]; nothing was written"
BAD = "[red]something is wrong[/red]; nothing was written"
FULL = "it went the whole way in a copy of the catalog, which is gone now; this would have been recorded:"


def show_ahead(outcome: Outcome) -> None:
    """Print what a dry run found of one run."""
    lines = Table()
    lines.add_row("Dry run", BAD if outcome.error is not None else GOOD)
    if outcome.checked is not None:
        _add_run(lines, outcome.checked)
    if outcome.ahead is not None:
        _add_place(lines, outcome.ahead)
    emit(lines)
    if outcome.ahead is not None:
        _show_needs(outcome.ahead)
    show_warnings(outcome.checked.warnings if outcome.checked is not None else ())


def show_sweep_ahead(sweep: SweepOutcome) -> None:
    """Print what a dry run found of what the jobs of a sweep have in common."""
    places = sweep.places
    lines = Table()
    lines.add_row("Dry run", BAD if sweep.error is not None or sweep.failed else GOOD)
    keys = f" over {escape_text(', '.join(sweep.swept))}" if sweep.swept else ""
    lines.add_row("Sweep", f"one parent execution, and {len(sweep.jobs)} that are part of it{keys}")
    checked = [job.checked for job in sweep.jobs if job.checked is not None]
    for model in dict.fromkeys(one.model for one in checked):
        lines.add_row("Model", escape_text(model))
    for workflow in dict.fromkeys(workflow_line(one.configuration.workflow) for one in checked):
        lines.add_row("Workflow", escape_text(workflow))
    for place in places:
        _add_place(lines, place)
    emit(lines)
    for place in places:
        _show_needs(place)


def say_full(was_opened: bool) -> None:
    """Print what a dry run of the whole way was."""
    lines = Table()
    lines.add_row("Dry run", FULL if was_opened else BAD)
    emit(lines)


def _add_run(lines: Table, checked: Checked) -> None:
    configuration = checked.configuration
    lines.add_row("Description", escape_text(configuration.description) or "-")
    lines.add_row("Model", escape_text(checked.model))
    lines.add_row("Choices", escape_text(choices_line(configuration.config_choices)))
    lines.add_row("Workflow", escape_text(workflow_line(configuration.workflow)))


def _add_place(lines: Table, ahead: PlaceAhead) -> None:
    where = f"{escape_text(ahead.catalog_id)} at {escape_text(ahead.place)}"
    if ahead.exists is False:
        where += " (does not exist yet; a run makes it)"
    lines.add_row("Catalog", where)
    for room in ahead.rooms:
        more = f", and {room.unknown} inputs of unknown size" if room.unknown else ""
        said = f"{human_size(room.needed)} needed{more}; {human_size(room.free)} free at {escape_text(str(room.path))}"
        lines.add_row("Disk", said)
    for text in ahead.not_checked:
        lines.add_row("Not checked", escape_text(text))


def _show_needs(ahead: PlaceAhead) -> None:
    if not ahead.needs:
        return
    table = table_of("RID", "Kind", "Version", "Name", "Size", "Here")
    for need in ahead.needs:
        name = f"{need.table} {need.name}" if need.table else need.name
        table.add_row(
            need.rid or "-",
            need.kind,
            need.version or "",
            escape_text(name),
            _size(need),
            "yes" if need.is_cached else "no",
        )
    emit(title("Inputs"), table)


def _size(need: InputNeed) -> str:
    if need.size is None:
        return "?"
    return f"{'~' if need.known == 'estimated' else ''}{human_size(need.size)}"


def show_warnings(warnings: Sequence[DerivaMLException]) -> None:
    """Print what a dry run forgives and a real run would refuse."""
    for warning in warnings:
        if isinstance(warning, DerivaMLDirtyWorkflowError):
            shown = ", ".join(warning.paths[:5]) + (" ..." if len(warning.paths) > 5 else "")
            said = f"the code has uncommitted changes ({shown})"
        else:
            said = str(warning).splitlines()[0].rstrip(".")
        print(f"Note: {said}. A real run needs a commit, or --allow-dirty.", file=sys.stderr)


def choices_line(choices: Any) -> str:
    """What was chosen in each group, in one line."""
    return ", ".join(f"{group}={name}" for group, name in sorted(choices.items())) or "-"


def workflow_line(workflow: Any) -> str:
    """The code of a run, in one line."""
    if workflow is None:
        return "-"
    kinds = ", ".join(workflow.workflow_types)
    return f"{workflow.name} ({kinds})" + (f", {workflow.url}" if workflow.url else "")
