"""Which catalog a command works on: its flags, and opening it without making one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deriva_ml.execution.local_runs import ExecutionSnapshot
    from deriva_ml.ml import DerivaML
    from deriva_ml.workspace.journal import Run

__all__ = ["add_place", "existing_catalog", "runs_away"]


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add ``--host`` and ``--catalog``."""
    parser.add_argument(
        "--host", default="local", metavar="HOST", help="local, a path, a host name, a URL (default: local)"
    )
    parser.add_argument("--catalog", default="1", metavar="ID", help="the catalog (default: 1)")


def runs_away(flags: argparse.Namespace) -> list[ExecutionSnapshot]:
    """The runs of this machine on the catalog that the flags name, while it is away; the newest first."""
    from deriva_ml.core.config import resolve_place
    from deriva_ml.execution.local_runs import runs_of_place

    place = resolve_place(flags.host)
    name = place.hostname if place.root is None or place.is_default else str(place.root)
    return runs_of_place(name, flags.catalog.partition("@")[0])


def existing_catalog(flags: argparse.Namespace, dead: Callable[[Run], None] | None = None) -> DerivaML:
    """Open the catalog that the flags name; one that does not exist is not made.

    Runs of this machine whose process is gone are found, whichever command it is; without any there is no request.
    A command that has ``--domain-schema`` says with it which schemas are the project's.
    One that has ``--working-dir`` says with it where runs worked.

    Args:
        flags: The command's flags.
        dead: Is told each run that was found dead; by default it is logged.

    Raises:
        DerivaMLConfigurationError: There is no such catalog.
        DerivaMLUnreachable: It is not there now, and was: this machine has runs of it.
    """
    from deriva_ml.connect import catalog_exists
    from deriva_ml.core.config import resolve_place
    from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLUnreachable
    from deriva_ml.ml import DerivaML
    from deriva_ml.workspace.journal import JOURNAL_NAME

    place = resolve_place(flags.host)
    if place.root is not None and not place.root.exists() and runs_away(flags):
        raise DerivaMLUnreachable(
            f"The catalog folder {place.root} is not there any more.",
            source=f"--host {flags.host}",
            hint="bring the folder, or the disk that it is on, back to its place; then try again",
        )
    if place.root is not None and not catalog_exists(flags.host, flags.catalog):
        raise DerivaMLConfigurationError(
            f"There is no catalog {flags.catalog} at {place}.",
            source=f"--host {flags.host} --catalog {flags.catalog}",
            hint="name one that exists, or make one: deriva-ml-run, create-demo-catalog",
        )
    ml = DerivaML(
        flags.host,
        flags.catalog,
        domain_schemas=getattr(flags, "domain_schema", None),
        working_dir=getattr(flags, "working_dir", None),
    )
    if os.path.exists(ml.session.records_dir / JOURNAL_NAME):  # noqa: PTH110 - it may not even be ours to look into
        from deriva_ml.execution.recovery import find_dead_runs

        find_dead_runs(ml.session, dead)
    return ml
