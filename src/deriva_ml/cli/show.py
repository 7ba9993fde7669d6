"""``deriva-ml-show``: the latest runs of a catalog, or everything that it holds of one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command
from deriva_ml.cli.place import add_place, existing_catalog, runs_away

if TYPE_CHECKING:
    from deriva_ml.execution.execution_record import ExecutionRecord
    from deriva_ml.execution.report import RunReport
    from deriva_ml.ml import DerivaML
    from deriva_ml.schema.session import Session

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-show",
        description="Show the latest runs of a catalog, or one of them.",
        epilog="Exit codes: 0 done, 2 the request was wrong, 5 the catalog cannot be reached: what this machine knows "
        "of its own runs is shown.",
        allow_abbrev=False,
    )
    out.add_argument("rid", nargs="?", metavar="RID", help="a run; without it, the latest ones are listed")
    add_place(out)
    out.add_argument("--limit", type=int, default=20, metavar="N", help="list at most N runs (default: 20)")
    out.add_argument("--json", action="store_true", help="print JSON")
    out.add_argument("--debug", action="store_true", help="show tracebacks")
    return out


def _show(flags: argparse.Namespace) -> int:
    from deriva_ml.core.exceptions import DerivaMLUnreachable

    try:
        return _show_catalog(flags)
    except DerivaMLUnreachable:
        if not flags.json:
            _show_away(flags)
        raise


def _show_away(flags: argparse.Namespace) -> None:
    """Show what this machine knows of its own runs on a catalog that cannot be reached."""
    from deriva_ml.cli.records import show_local
    from deriva_ml.core.config import place_flags

    runs = [run for run in runs_away(flags) if flags.rid in (None, run.execution_rid)]
    if runs:
        show_local(runs[: flags.limit], place_flags(flags.host, flags.catalog))
        sys.stdout.flush()


def _show_catalog(flags: argparse.Namespace) -> int:
    from deriva_ml.cli.records import show_latest, show_report
    from deriva_ml.cli.terminal import show_json
    from deriva_ml.core.config import place_flags
    from deriva_ml.execution.finding import newest_executions
    from deriva_ml.execution.report import describe

    place = place_flags(flags.host, flags.catalog)
    with existing_catalog(flags) as ml:
        if flags.rid is not None:
            report = describe(ml, flags.rid)
            if flags.json:
                show_json(report)
            else:
                show_report(report, place)
                _say_waiting(ml, flags.rid, place)
                _say_unseen(ml.session, report.record)
                _say_resumable(ml.session, report, place)
            return 0
        records = newest_executions(ml.session, limit=flags.limit)
        jobs, parts = _sweeps(ml.session, records)
    if flags.json:
        show_json([{"record": item, "jobs": jobs.get(item.execution_rid)} for item in records])
    else:
        show_latest(records, jobs, parts, place)
    return 0


def _say_waiting(ml: DerivaML, rid: str, place: str) -> None:
    """Say what of a run waits on this machine, and how it gets into the catalog."""
    from deriva_ml.execution.recovery import incomplete_runs

    for item in incomplete_runs(ml):
        if item.run.execution == rid and not item.is_running and any(item.waiting):
            print(f"{item.waiting} wait on this machine: deriva-ml-upload --execution {rid}{place}")


def _say_unseen(session: Session, record: ExecutionRecord) -> None:
    """Say of a run that has not ended when its process was last seen, if that cannot be judged from here."""
    from deriva_ml.cli.terminal import local_time
    from deriva_ml.execution.described import run_here
    from deriva_ml.execution.states import is_final
    from deriva_ml.workspace.evidence import Sign

    if is_final(record.status):
        return
    run = run_here(session, record.execution_rid)
    if run is None:
        print("It is no run of this machine: whether its process is still there cannot be seen from here.")
    elif run.process.sign() is Sign.unknown:
        seen = local_time(datetime.fromisoformat(run.heartbeat))
        print(f"Its {run.process.told} was last seen at {seen}; whether it is still there cannot be seen from here.")


def _say_resumable(session: Session, report: RunReport, place: str) -> None:
    """Say how a run of this machine is taken up again that a command began and that did not complete."""
    from deriva_ml.core.enums import Status
    from deriva_ml.execution.described import run_here

    record = report.record
    if record.status not in {Status.failed, Status.aborted} or run_here(session, record.execution_rid) is None:
        return
    if any(use.file_name.endswith(("-overrides.yaml", "sweep.json")) for use in report.metadata):
        print(f"Take it up again: deriva-ml-run --resume {record.execution_rid}{place}")


def _sweeps(session: Session, records: Sequence[ExecutionRecord]) -> tuple[dict[str, int], dict[str, str]]:
    """How many jobs each of these runs has, and of which run each of them is a job; in two requests."""
    rids = [record.execution_rid for record in records]
    read = partial(session.catalog.rows_by, session.ml_schema, "Execution_Execution")
    jobs: dict[str, int] = {}
    for row in read("Execution", rids):
        parent = str(row["Execution"])
        jobs[parent] = jobs.get(parent, 0) + 1
    return jobs, {str(row["Nested_Execution"]): str(row["Execution"]) for row in read("Nested_Execution", rids)}


main = Command(parser, _show)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
