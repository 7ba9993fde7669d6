"""What the commands show of runs: tables for people, JSON for programs. The one printer of every command."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from deriva_ml.asset.aux_classes import AssetSpec
from deriva_ml.cli.errors import exit_code, show_error
from deriva_ml.core.config import place_flags, resolve_place
from deriva_ml.core.error_text import error_text
from deriva_ml.core.files import human_size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from deriva_ml.execution.execution_record import ExecutionRecord
    from deriva_ml.execution.report import RunReport
    from deriva_ml.execution.runner import Outcome
    from deriva_ml.execution.sweep import SweepOutcome
    from deriva_ml.execution.uses import AssetUse, DatasetUse

__all__ = ["console", "emit", "show_job", "show_json", "show_latest", "show_outcome", "show_report", "show_sweep"]

PLAIN_WIDTH = 1000
"""Width where the output is not a terminal: nothing is folded, so that paths and names can be searched for."""

COLOURS = {"Completed": "green", "Failed": "red", "Aborted": "yellow", "Running": "cyan"}


def console(*, stderr: bool = False) -> Console:
    """A console that keeps lines whole when the output is a file or a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False, emoji=False)


def emit(*parts: RenderableType) -> None:
    """Print parts one after the other, each with its lines' padding cut off."""
    from rich.table import Table

    out = console()
    width = out.width
    for part in parts:
        out.width = max(width, _fixed_width(part)) if isinstance(part, Table) else width
        with out.capture() as text:
            out.print(part)
        for line in text.get().splitlines():
            print(line.rstrip())


FLEXIBLE_WIDTH = 12
"""What a column whose text may be folded gets at least."""


def _fixed_width(table: Table) -> int:
    """Keep the columns that may not be folded as wide as their content; how wide the table is then at least.

    In a terminal that is narrower the lines are broken by the terminal, and nothing is cut off.
    """
    from rich.text import Text

    total = 0
    for column in table.columns:
        if column.no_wrap:
            cells = [str(column.header), *(cell for cell in column.cells if isinstance(cell, str))]
            column.min_width = max(Text.from_markup(cell).cell_len for cell in cells)
        total += (column.min_width or FLEXIBLE_WIDTH) + 3
    return total


def show_json(value: Any) -> None:
    """Print a value, dataclasses included, as JSON."""
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


# -- after a run --------------------------------------------------------------------------------------------------


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
    table = _table("Job", "Overrides", "Execution", "Status", "Time")
    for job in sweep.jobs:
        record = job.report.record if job.report is not None else None
        table.add_row(
            str(job.number),
            _escape(_words(job)),
            record.execution_rid if record else "-",
            _status(str(record.status)) if record else _unrecorded(job),
            _seconds(record) if record else "",
        )
    emit(_title("Jobs"), table)
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
    grid = _grid()
    grid.add_row("Dry run", "[green]everything that can be checked is in order[/green]; nothing was written")
    grid.add_row("Description", _escape(configuration.description) or "-")
    grid.add_row("Model", _escape(checked.model))
    grid.add_row("Choices", _escape(_choice(configuration.config_choices)))
    grid.add_row("Workflow", _escape(_workflow_line(configuration.workflow)))
    for spec in configuration.datasets:
        grid.add_row("Dataset", f"{spec.rid} version {spec.version}  {_escape(spec.description)}".rstrip())
    for asset in configuration.assets:
        grid.add_row("Asset", asset.rid if isinstance(asset, AssetSpec) else _escape(str(asset.path)))
    where = f"{_escape(outcome.catalog_id)} at {_escape(str(resolve_place(outcome.hostname)))}"
    if checked.inputs is None:
        where += " (does not exist yet; a run makes it)"
    grid.add_row("Catalog", where)
    emit(grid)
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


# -- a run of the catalog -----------------------------------------------------------------------------------------


def show_report(report: RunReport, place: str = "", *, with_children: bool = True) -> None:
    """Print everything that the catalog holds of a run.

    Args:
        report: The run.
        place: Flags that name the catalog in commands.
        with_children: List the runs that are part of it.
    """
    emit(_head(report))
    if report.input_datasets or report.input_assets:
        emit(_title("Inputs"), _inputs(report.input_datasets, report.input_assets))
    if report.output_assets:
        emit(_title("Outputs"), _files(report.output_assets))
    if report.output_datasets:
        table = _table("RID", "Version", "Description")
        for use in report.output_datasets:
            table.add_row(use.rid, use.version or "-", _escape(use.description))
        emit(_title("Datasets made"), table)
    if report.features:
        table = _table("Feature", "Values")
        for feature in report.features:
            table.add_row(f"{feature.table}.{feature.feature}", str(feature.count))
        emit(_title("Features"), table)
    if report.children and with_children:
        emit(_title("Jobs"), _children(report))
    if report.metadata:
        emit(_title("Kept with it"), _kept(report.metadata))
    print(f"\nShow it again: deriva-ml-show {report.record.execution_rid}{place}")


def _children(report: RunReport) -> Table:
    table = _table("Job", "Execution", "Status", "Time", "Description")
    for child in report.children:
        record, number = child.record, child.sequence
        table.add_row(
            "-" if number is None else str(number),
            record.execution_rid,
            _status(str(record.status)),
            _seconds(record),
            _escape(record.description),
        )
    return table


def _kept(metadata: Sequence[AssetUse]) -> str:
    """The files that describe a run in one line; the names of Hydra's begin with that of a directory."""
    names = sorted({re.sub(r"^hydra-.*-(\w+\.yaml)$", r"\1", use.file_name) for use in metadata})
    return _escape(f"{', '.join(names)} ({human_size(sum(use.length for use in metadata))})")


def _head(report: RunReport) -> Table:
    record, workflow = report.record, report.workflow
    grid = _grid()
    status = _status(str(record.status))
    if record.upload_state and record.upload_state != "uploaded":
        status += f", upload {record.upload_state}"
    grid.add_row("Execution", f"[bold]{record.execution_rid}[/bold]  {status}")
    if record.status_detail and str(record.status) not in ("Completed", "Running"):
        grid.add_row("", _escape(record.status_detail.splitlines()[0]))
    if record.description:
        grid.add_row("Description", _escape(record.description))
    if record.start_time is not None:
        took = _seconds(record)
        grid.add_row("Started", _local(record.start_time) + (f", took {took}" if took else ""))
    if workflow is not None:
        kinds = ", ".join(workflow.workflow_type)
        grid.add_row("Workflow", f"{workflow.rid}  {_escape(workflow.name)} ({_escape(kinds)})")
        code = " ".join(part for part in (workflow.url, workflow.version and f"version {workflow.version}") if part)
        if code:
            grid.add_row("Code", _escape(code))
    for parent in report.parents:
        number = "" if parent.sequence is None else f"job {parent.sequence} of "
        grid.add_row("Sweep", f"{number}{parent.record.execution_rid}")
    grid.add_row("Catalog", f"{report.catalog_id} at {_escape(report.place)}")
    return grid


def _inputs(datasets: Iterable[DatasetUse], assets: Iterable[AssetUse]) -> Table:
    table = _table("RID", "Version", "What")
    for dataset in datasets:
        table.add_row(dataset.rid, dataset.version or "-", _escape(dataset.description))
    for asset in assets:
        table.add_row(asset.rid, "file", _escape(f"{asset.table}: {asset.file_name} ({human_size(asset.length)})"))
    return table


LISTED = 20


def _files(assets: Sequence[AssetUse]) -> Table:
    """The files of a run; beyond so many, how many there are in each table."""
    table = _table("RID", "File", "Type", "Size")
    if len(assets) <= LISTED:
        for asset in assets:
            kinds = [kind for kind in asset.types if kind != asset.table] or list(asset.types)
            table.add_row(asset.rid, _escape(asset.file_name), _escape(", ".join(kinds)), human_size(asset.length))
        return table
    for name in sorted({asset.table for asset in assets}):
        group = [asset for asset in assets if asset.table == name]
        span = f"{group[0].rid} ..." if len(group) > 1 else group[0].rid
        size = human_size(sum(asset.length for asset in group))
        table.add_row(span, f"{len(group)} files", _escape(name), size)
    return table


def show_latest(
    records: Sequence[ExecutionRecord], jobs: Mapping[str, int], parts: Mapping[str, str], place: str
) -> None:
    """Print the latest runs, the newest first; jobs stand below their sweep, or name it where it is not listed.

    Args:
        records: The runs.
        jobs: How many jobs each sweep has, by its RID.
        parts: The sweep of each run that is a job of one.
        place: Flags that name the catalog in commands.
    """
    if not records:
        print("No runs yet.")
        return
    table = _table("Execution", "Started", "Status", "Time", "Description")
    listed = {record.execution_rid for record in records}
    for record in _grouped(records, parts):
        what = f"sweep of {jobs[record.execution_rid]}: " if record.execution_rid in jobs else ""
        parent = parts.get(record.execution_rid)
        mark = "  " if parent else ""
        if parent is not None and parent not in listed:
            what += f"(of {parent}) "
        moment = record.start_time or record.created
        lines = record.description.strip().splitlines()
        text = what + (lines[0].lstrip("# ") if lines else "")
        table.add_row(
            f"{mark}{record.execution_rid}",
            _local(moment) if moment else "-",
            _status(str(record.status)) + _upload_mark(record),
            _seconds(record),
            _escape(text),
        )
    emit(table)
    print(f"\nOne of them: deriva-ml-show RID{place}")


def _grouped(records: Sequence[ExecutionRecord], parts: Mapping[str, str]) -> list[ExecutionRecord]:
    """The runs in their order, but each sweep with its jobs below it, where its first job or itself stands."""
    listed = {record.execution_rid: record for record in records}
    families: dict[str, list[ExecutionRecord]] = {}
    for record in records:
        head = record.execution_rid
        seen = {head}
        while (above := parts.get(head)) in listed and above not in seen:
            head = str(above)
            seen.add(head)
        families.setdefault(head, []).append(record)
    return [
        record
        for head, family in families.items()
        for record in sorted(family, key=lambda item: item.execution_rid != head)
    ]


def _upload_mark(record: ExecutionRecord) -> str:
    """What is to be said of a run's outputs that are not in the catalog, once it has ended."""
    state = record.upload_state
    return f" (upload {state})" if state in ("pending", "failed") and str(record.status) != "Running" else ""


# -- pieces -------------------------------------------------------------------------------------------------------


def _title(text: str) -> str:
    return f"\n[bold]{text}[/bold]"


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    for name in columns:
        right = name in ("Size", "Values", "Time", "Job")
        fixed = name in ("RID", "Execution", "Started", "Version", "Status", "Size", "Time", "Job")
        table.add_column(name, justify="right" if right else "left", no_wrap=fixed, overflow="fold")
    return table


def _grid() -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _status(status: str) -> str:
    colour = COLOURS.get(status)
    return f"[{colour}]{status}[/{colour}]" if colour else status


def _local(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _seconds(record: ExecutionRecord) -> str:
    """How long the model ran; so far, for one that runs."""
    if record.start_time is None:
        return ""
    running = record.stop_time is None and str(record.status) == "Running"
    stop = datetime.now(UTC) if running else record.stop_time
    if stop is None:
        return ""
    took = stop - record.start_time
    if took < timedelta(minutes=1):
        return f"{took.total_seconds():.1f} s"
    minutes, seconds = divmod(round(took.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02} min"
