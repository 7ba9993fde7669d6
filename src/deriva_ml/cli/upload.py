"""``deriva-ml-upload``: bring outputs of earlier runs of this machine into the catalog, where they have not arrived."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command
from deriva_ml.cli.errors import exit_code, show_error
from deriva_ml.cli.place import add_place, existing_catalog

if TYPE_CHECKING:
    from deriva_ml.execution.outputs import CommitReport
    from deriva_ml.ml import DerivaML

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-upload",
        description="Finish the uploads of runs of this machine: what was registered and is not in the catalog yet.",
        epilog="Exit codes: 0 done, 2 the request was wrong, 4 something is still missing, 5 the catalog cannot be "
        "reached.",
        allow_abbrev=False,
    )
    out.add_argument(
        "--execution",
        action="append",
        metavar="RID",
        help="a run (may be repeated); by default all that are incomplete",
    )
    out.add_argument(
        "--abandon",
        action="store_true",
        help="give up the outputs of these runs that were registered and never written (needs --execution)",
    )
    add_place(out)
    out.add_argument("--debug", action="store_true", help="show tracebacks")
    return out


def _upload(flags: argparse.Namespace) -> int:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.execution.recovery import incomplete_runs, reconcile_dead_runs

    if flags.abandon and not flags.execution:
        raise DerivaMLConfigurationError("--abandon is for runs that are named.", hint="add --execution RID")
    with existing_catalog(flags) as ml:
        for run in reconcile_dead_runs(ml):
            print(f"{run.execution}: {run.detail or run.status}")
        waiting = [item for item in incomplete_runs(ml) if not item.is_running]
        rids = flags.execution or [item.run.execution for item in waiting]
        if not rids:
            print("Nothing to upload: every run of this machine has its outputs in the catalog.")
            return 0
        return max(_one(ml, rid, abandon=flags.abandon, debug=flags.debug) for rid in rids)


def _one(ml: DerivaML, rid: str, *, abandon: bool, debug: bool) -> int:
    from deriva_ml.asset.upload import Patience
    from deriva_ml.core.exceptions import DerivaMLException, DerivaMLUnreachable
    from deriva_ml.execution.outputs import commit_run

    try:
        report = commit_run(ml, rid, abandon=abandon, patience=Patience(max_retries=3))
        print(f"{rid}: {_summary(report)}")
        report.require_complete()
    except DerivaMLUnreachable:
        raise
    except DerivaMLException as error:
        show_error(error, debug=debug)
        return exit_code(error)
    return 0


def _summary(report: CommitReport) -> str:
    values, rows = sum(report.features.values()), sum(report.tables.values())
    told = f", {rows} row(s)" if report.tables else ""
    done = f"{len(report.done)} file(s){told} and {values} feature value(s) uploaded"
    left = len(report.failed) + len(report.failed_features) + len(report.failed_tables)
    return f"{done}, {left} still missing" if left else done


main = Command(parser, _upload)
"""The command."""


if __name__ == "__main__":
    sys.exit(main())
