"""``deriva-ml-run --resume``: the plan of a run, or of a sweep, that goes on with what an earlier one was to do."""

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
    from deriva_ml.execution.sweep_again import EarlierSweep

__all__ = ["resumed_plan", "say_resumed", "say_resumed_sweep"]

_DRY = "dry_run=true"


def resumed_plan(flags: argparse.Namespace, hydra: HydraWords, options: RunOptions, place: list[str]) -> RunPlan:
    """The plan of a run with the configuration and the inputs of an earlier one.

    Args:
        flags: The command's flags.
        hydra: What of the command line is Hydra's: folders with YAML may be named again, and the run may be dry.
        options: What the command says beside.
        place: Overrides that name the catalog.

    Raises:
        DerivaMLException: There is no such run, or nothing to do anew.
    """
    from dataclasses import replace

    from deriva_ml.execution.anew import earlier_of
    from deriva_ml.execution.described import read_recorded
    from deriva_ml.execution.runner import plan_run
    from deriva_ml.execution.sweep_again import SWEEP, read_sweep

    _require_alone(flags, hydra)
    with existing_catalog(_place(flags)) as ml:
        recorded = read_recorded(ml, flags.resume)
        what: Earlier | EarlierSweep
        is_sweep = recorded.find(SWEEP) == SWEEP
        if is_sweep:
            what = read_sweep(ml, recorded)
            options = replace(options, sweep=what)
        else:
            what = earlier_of(recorded)
            options = replace(options, earlier=what)
    return plan_run(
        [*what.overrides, *place, *hydra.overrides, *search_override(hydra.folders)],
        config_name=what.config_name,
        multirun=is_sweep,
        options=options,
        folders=hydra.folders,
    )


def _place(flags: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(host=flags.host or "local", catalog=flags.catalog or "1")


def _require_alone(flags: argparse.Namespace, hydra: HydraWords) -> None:
    from deriva_ml.core.exceptions import DerivaMLConfigurationError

    beside = [one for one in hydra.overrides if one.lower() != _DRY]
    beside += [f"--{name}" for name in ("multirun", "offline", "sizes") if getattr(flags, name)]
    beside += [f"-cn {hydra.config_name}"] if hydra.config_name else []
    if beside:
        raise DerivaMLConfigurationError(
            f"--resume takes the configuration of execution {flags.resume} as it was recorded.",
            source=" ".join(beside),
            allowed=[_DRY],
            hint="leave that out; or run it as a new one, without --resume",
        )


def say_resumed(flags: argparse.Namespace, earlier: Earlier, outcome: Outcome) -> None:
    """Say on standard error whether the earlier run was taken up again, or which one was made in place of it."""
    from deriva_ml.execution.request import DryRun

    rid = earlier.execution_rid
    if outcome.dry is not DryRun.off:
        told = _would(flags, earlier, outcome)
    elif outcome.execution_rid is None:
        return
    elif outcome.execution_rid == rid:
        told = f"Execution {rid} was {earlier.status}, and was taken up again."
    else:
        told = (
            f"Execution {rid} is {earlier.status} and stays so; execution {outcome.execution_rid} does anew, as a new "
            f"one, what it was to do: {outcome.why_new}."
        )
    print(told, file=sys.stderr)


def _would(flags: argparse.Namespace, earlier: Earlier, outcome: Outcome) -> str:
    workflow = None if outcome.checked is None else outcome.checked.configuration.workflow
    why = "its code cannot be told"
    if workflow is not None:
        with existing_catalog(_place(flags)) as ml:
            why = earlier.why_new(ml, workflow) or ""
    if not why:
        return f"Execution {earlier.execution_rid} is {earlier.status}: it would be taken up again."
    return f"Execution {earlier.execution_rid} is {earlier.status}: a new one would do anew what it was to do: {why}."


def say_resumed_sweep(sweep: EarlierSweep) -> None:
    """Say on standard error what of a sweep is still to be done."""
    print(f"Sweep {sweep.execution_rid} is {sweep.status}: {sweep.words()}.", file=sys.stderr)
