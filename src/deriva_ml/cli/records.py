"""What the commands show of runs that the catalog holds: one whole, or the latest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deriva_ml.cli.tables import Table
from deriva_ml.cli.terminal import coloured, emit, escape_text, local_time, table_of, title
from deriva_ml.core.enums import ExecAssetType, Status
from deriva_ml.core.files import human_size

if TYPE_CHECKING:
    from deriva_ml.execution.execution_record import ExecutionRecord
    from deriva_ml.execution.local_runs import ExecutionSnapshot
    from deriva_ml.execution.report import RunReport
    from deriva_ml.execution.uses import AssetUse, DatasetUse

__all__ = ["run_time", "show_latest", "show_local", "show_report"]


def show_report(report: RunReport, place: str = "", *, with_children: bool = True, is_kept: bool = True) -> None:
    """Print everything that the catalog holds of a run.

    Args:
        report: The run.
        place: Flags that name the catalog in commands.
        with_children: List the runs that are part of it.
        is_kept: It can be shown again; what a dry run recorded in a copy cannot.
    """
    emit(_head(report))
    if report.input_datasets or report.input_assets:
        emit(title("Inputs"), _inputs(report.input_datasets, report.input_assets))
    if report.output_assets:
        marked = any(ExecAssetType.partial in use.types for use in report.output_assets)
        is_partial = marked and report.record.status is not Status.completed
        emit(title("Outputs, partial" if is_partial else "Outputs"), _files(report.output_assets))
    if report.output_datasets:
        table = table_of("RID", "Version", "Description")
        for use in report.output_datasets:
            table.add_row(use.rid, use.version or "-", escape_text(use.description))
        emit(title("Datasets made"), table)
    if report.features:
        table = table_of("Feature", "Values")
        for feature in report.features:
            table.add_row(f"{feature.table}.{feature.feature}", str(feature.count))
        emit(title("Features"), table)
    if report.children and with_children:
        emit(title("Jobs"), _children(report))
    if report.metadata:
        emit(title("Kept with it"), _kept(report.metadata))
    if is_kept:
        print(f"\nShow it again: deriva-ml-show {report.record.execution_rid}{place}")


def show_local(runs: Sequence[ExecutionSnapshot], place: str) -> None:
    """Print what this machine knows of its own runs, for a catalog that cannot be asked.

    Args:
        runs: The runs.
        place: Flags that name the catalog in commands.
    """
    table = table_of("Execution", "Started", "Status", "Waits here", "Description")
    for run in runs:
        counts = {"file(s)": run.pending_files + run.failed_files, "row(s)": run.pending_rows + run.failed_rows}
        waits = [f"{count} {what}" for what, count in counts.items() if count]
        if not run.synced:
            waits.append("its status")
        table.add_row(
            run.execution_rid,
            local_time(run.started),
            coloured(str(run.status)),
            ", ".join(waits) or "-",
            escape_text(run.description),
        )
    emit(title("Runs of this machine, as it knows them"), table)
    print(f"\nOnce the catalog answers again, what waits here is brought there: deriva-ml-upload{place}\n")


def _children(report: RunReport) -> Table:
    table = table_of("Job", "Execution", "Status", "Time", "Description")
    for child in report.children:
        record, number = child.record, child.sequence
        table.add_row(
            "-" if number is None else str(number),
            record.execution_rid,
            coloured(str(record.status)),
            run_time(record),
            escape_text(record.description),
        )
    return table


def _kept(metadata: Sequence[AssetUse]) -> str:
    """The files that describe a run in one line; the names of Hydra's begin with that of a directory."""
    names = sorted({re.sub(r"^hydra-.*-(\w+\.yaml)$", r"\1", use.file_name) for use in metadata})
    return escape_text(f"{', '.join(names)} ({human_size(sum(use.length for use in metadata))})")


def _head(report: RunReport) -> Table:
    record, workflow = report.record, report.workflow
    lines = Table()
    status = coloured(str(record.status))
    if record.upload_state and record.upload_state != "uploaded":
        status += f", upload {record.upload_state}"
    lines.add_row("Execution", f"[bold]{record.execution_rid}[/bold]  {status}")
    if record.status_detail and str(record.status) not in ("Completed", "Running"):
        lines.add_row("", escape_text(record.status_detail.splitlines()[0]))
    over = sum(re.fullmatch(r"attempt-\d+\.json", use.file_name) is not None for use in report.metadata)
    if over:
        lines.add_row("Attempt", f"{over + 1}; what became of those before is kept with it (attempt-1.json)")
    if record.description:
        lines.add_row("Description", escape_text(record.description))
    if record.start_time is not None:
        took = run_time(record)
        lines.add_row("Started", local_time(record.start_time) + (f", took {took}" if took else ""))
    times = (("inputs", record.download_duration), ("outputs", record.upload_duration))
    told = [f"{what} in {took}" for what, text in times if text and (took := _told_seconds(text)) != "0.0 s"]
    if told:
        lines.add_row("Brought", ", ".join(told))
    if workflow is not None:
        kinds = ", ".join(workflow.workflow_type)
        lines.add_row("Workflow", f"{workflow.rid}  {escape_text(workflow.name)} ({escape_text(kinds)})")
        code = " ".join(part for part in (workflow.url, workflow.version and f"version {workflow.version}") if part)
        if code:
            lines.add_row("Code", escape_text(code))
    for parent in report.parents:
        number = "" if parent.sequence is None else f"job {parent.sequence} of "
        lines.add_row("Sweep", f"{number}{parent.record.execution_rid}")
    lines.add_row("Catalog", f"{report.catalog_id} at {escape_text(report.place)}")
    return lines


def _inputs(datasets: Iterable[DatasetUse], assets: Iterable[AssetUse]) -> Table:
    table = table_of("RID", "Version", "What")
    for dataset in datasets:
        table.add_row(dataset.rid, dataset.version or "-", escape_text(dataset.description))
    for asset in assets:
        table.add_row(asset.rid, "file", escape_text(f"{asset.table}: {asset.file_name} ({human_size(asset.length)})"))
    return table


LISTED = 20


def _files(assets: Sequence[AssetUse]) -> Table:
    """The files of a run; beyond so many, how many there are in each table."""
    table = table_of("RID", "File", "Type", "Size")
    if len(assets) <= LISTED:
        for asset in assets:
            kinds = [kind for kind in asset.types if kind != asset.table] or list(asset.types)
            table.add_row(
                asset.rid, escape_text(asset.file_name), escape_text(", ".join(kinds)), human_size(asset.length)
            )
        return table
    for name in sorted({asset.table for asset in assets}):
        group = [asset for asset in assets if asset.table == name]
        span = f"{group[0].rid} ..." if len(group) > 1 else group[0].rid
        size = human_size(sum(asset.length for asset in group))
        table.add_row(span, f"{len(group)} files", escape_text(name), size)
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
    table = table_of("Execution", "Started", "Status", "Time", "Description")
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
            local_time(moment) if moment else "-",
            coloured(str(record.status)) + _upload_mark(record),
            run_time(record),
            escape_text(text),
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


def run_time(record: ExecutionRecord) -> str:
    """How long the model ran; so far, for one that runs."""
    if record.start_time is None:
        return ""
    running = record.stop_time is None and str(record.status) == "Running"
    stop = datetime.now(UTC) if running else record.stop_time
    if stop is None:
        return ""
    return _in_words(stop - record.start_time)


def _told_seconds(text: str) -> str:
    """A duration as the catalog holds it (``0.0H 1.0min 3.5sec``), in the words of the commands; others as they are."""
    found = re.fullmatch(r"([\d.]+)H ([\d.]+)min ([\d.]+)sec", text)
    if found is None:
        return escape_text(text)
    hours, minutes, seconds = (float(part) for part in found.groups())
    return _in_words(timedelta(hours=hours, minutes=minutes, seconds=seconds))


def _in_words(took: timedelta) -> str:
    if took < timedelta(minutes=1):
        return f"{took.total_seconds():.1f} s"
    minutes, seconds = divmod(round(took.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02} min"
