"""``deriva-ml-upload``: bring outputs of earlier runs of this machine into the catalog, where they have not arrived."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deriva_ml.cli.command import Command
from deriva_ml.cli.errors import show_error
from deriva_ml.cli.place import add_place, existing_catalog

if TYPE_CHECKING:
    from deriva_ml.core.exceptions import DerivaMLException
    from deriva_ml.execution.outputs import CommitReport
    from deriva_ml.workspace.journal import Run

__all__ = ["main"]

STILL_PENDING = 4
WRONG_REQUEST = 2


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    out = argparse.ArgumentParser(
        prog="deriva-ml-upload",
        description="Finish the uploads of runs of this machine: what was registered and is not in the catalog yet. "
        "Runs that go on are left to themselves. It can be repeated, and run twice at once.",
        epilog="Exit codes: 0 done, 2 the request was wrong, 4 something is still missing, 5 the catalog cannot be "
        "reached; after 4 and 5 the same command goes on where this one stopped.",
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
    out.add_argument(
        "--clean", action="store_true", help="remove inputs and staged files of the runs that are whole in the catalog"
    )
    out.add_argument("--working-dir", metavar="DIR", help="where the runs worked (default: as for a run)")
    add_place(out)
    out.add_argument("--debug", action="store_true", help="show tracebacks")
    return out


def _upload(flags: argparse.Namespace) -> int:
    from deriva_ml.cli.transfer_bar import transfer_bar
    from deriva_ml.core.exceptions import DerivaMLConfigurationError
    from deriva_ml.execution.committing import commit_each, waiting_runs

    if flags.abandon and not flags.execution:
        raise DerivaMLConfigurationError("--abandon is for runs that are named.", hint="add --execution RID")
    if flags.working_dir is not None and not Path(flags.working_dir).expanduser().is_dir():
        raise DerivaMLConfigurationError(
            f"There is no directory {flags.working_dir}.", source="--working-dir", hint="name the one that the runs had"
        )
    codes = [0]

    def told(rid: str, outcome: CommitReport | DerivaMLException) -> None:
        codes.append(_tell(rid, outcome, debug=flags.debug))

    def found(run: Run) -> None:
        print(f"{run.execution}: {run.detail or run.status}")

    with existing_catalog(flags, found) as ml, transfer_bar() as bar, _told_how_to_go_on():
        rids = flags.execution or waiting_runs(ml.session)
        if not rids:
            print("Nothing to upload: every run of this machine has its outputs in the catalog.")
            return 0
        progress = None if bar is None else bar.on_upload
        commit_each(ml.session, rids, clean_folder=flags.clean, abandon=flags.abandon, progress=progress, told=told)
    return max(codes)


@contextmanager
def _told_how_to_go_on() -> Iterator[None]:
    """A catalog that is lost on the way leaves the upload incomplete; the command can be repeated."""
    from deriva_ml.core.exceptions import DerivaMLUnreachable, DerivaMLUploadError

    try:
        yield
    except DerivaMLUnreachable as error:
        raise DerivaMLUploadError(
            f"The catalog was lost on the way: {str(error).splitlines()[0]}",
            hint="once it answers again, repeat this command: what is done is not done twice, and nothing is lost",
        ) from error


def _tell(rid: str, outcome: CommitReport | DerivaMLException, *, debug: bool) -> int:
    """Say what became of a run; the exit code that this means."""
    from deriva_ml.core.exceptions import DerivaMLException, DerivaMLNotFoundError

    if isinstance(outcome, DerivaMLException):
        show_error(outcome, debug=debug)
        return WRONG_REQUEST if isinstance(outcome, DerivaMLNotFoundError) else STILL_PENDING
    print(f"{rid}: {_summary(outcome)}")
    try:
        outcome.require_complete()
    except DerivaMLException as error:
        show_error(error, debug=debug)
        return STILL_PENDING
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
