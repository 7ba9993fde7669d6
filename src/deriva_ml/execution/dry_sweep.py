"""The jobs of a sweep, composed one by one and looked at together; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.execution import composition
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.dry_run import Asked
from deriva_ml.execution.multirun_config import MultirunSpec
from deriva_ml.execution.overrides import told_of

__all__ = ["ask_all"]


def ask_all(
    config_name: str, jobs: Sequence[Sequence[str]], folder: Path, spec: MultirunSpec | None = None
) -> list[Asked]:
    """The request of every job, or why there is none; within `composition.hydra_session`.

    Args:
        config_name: The main configuration.
        jobs: The overrides of each.
        folder: Where the jobs' directories would be.
        spec: The named sweep that they are of.
    """
    return [_ask(config_name, overrides, number, folder, spec) for number, overrides in enumerate(jobs)]


def _ask(config_name: str, overrides: Sequence[str], number: int, folder: Path, spec: MultirunSpec | None) -> Asked:
    try:
        with told_of(spec), composition.composed_job(config_name, overrides, number, folder) as config:
            return Asked.of(config, JobContext.current())
    except DerivaMLException as error:  # it cannot be composed
        return Asked(JobContext({}, None, tuple(overrides), number), broken={"": error})
