"""``deriva-ml-run --resume``: the plan of a run that does anew what an earlier one was to do."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deriva_ml.cli.hydra_flags import search_override
from deriva_ml.cli.place import existing_catalog

if TYPE_CHECKING:
    from deriva_ml.cli.hydra_flags import HydraWords
    from deriva_ml.execution.anew import Earlier
    from deriva_ml.execution.outcome import Outcome, RunOptions
    from deriva_ml.execution.runner import RunPlan

__all__ = ["resumed_plan", "say_resumed"]


def resumed_plan(flags: argparse.Namespace, hydra: HydraWords, options: RunOptions, place: list[str]) -> RunPlan:
    """The plan of a run with the configuration and the inputs of an earlier one.

    Args:
        flags: The command's flags.
        hydra: What of the command line is Hydra's: folders with YAML may be named again, and nothing else.
        options: What the command says beside.
        place: Overrides that name the catalog.

    Raises:
        DerivaMLException: There is no such run, or nothing to do anew.
    """
    from dataclasses import replace

    from deriva_ml.execution.anew import read_earlier
    from deriva_ml.execution.runner import plan_run

    _require_alone(flags, hydra)
    named = argparse.Namespace(host=flags.host or "local", catalog=flags.catalog or "1")
    with existing_catalog(named) as ml:
        earlier = read_earlier(ml, flags.resume)
    return plan_run(
        [*earlier.overrides, *place, *search_override(hydra.folders)],
        config_name=earlier.config_name,
        options=replace(options, earlier=earlier),
        folders=hydra.folders,
    )


def _require_alone(flags: argparse.Namespace, hydra: HydraWords) -> None:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    beside = [*hydra.overrides]
    beside += [f"--{name}" for name in ("multirun", "offline", "sizes") if getattr(flags, name)]
    beside += [f"-cn {hydra.config_name}"] if hydra.config_name else []
    if beside:
        raise DerivaMLConfigurationError(
            f"--resume takes the configuration of execution {flags.resume} as it was recorded.",
            source=" ".join(beside),
            hint="leave that out; or run it as a new one, without --resume",
        )


def say_resumed(earlier: Earlier, outcome: Outcome) -> None:
    """Say on standard error which run was made in place of which."""
    if outcome.execution_rid is None:
        return
    code = ""
    if outcome.report is not None and outcome.report.record.workflow_rid != earlier.workflow_rid:
        code = ", with other code than it"
    print(
        f"Execution {earlier.execution_rid} is {earlier.status} and stays so; "
        f"execution {outcome.execution_rid} does anew what it was to do{code}.",
        file=sys.stderr,
    )
