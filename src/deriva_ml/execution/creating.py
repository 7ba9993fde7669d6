"""``ml.create_execution``: a run that is configured, or given its inputs one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.session import HasSession

if TYPE_CHECKING:
    from deriva_ml.dataset.aux_classes import DatasetSpec

__all__ = ["create_execution"]


def create_execution(
    ml: HasSession,
    configuration: ExecutionConfiguration | None = None,
    workflow: Workflow | str | None = None,
    dry_run: bool = False,
    *,
    datasets: Iterable[DatasetSpec] | None = None,
    assets: Iterable[Any] | None = None,
    description: str | None = None,
    parent: str | None = None,
    sequence: int | None = None,
    instead_of: str | None = None,
) -> Execution:
    """Record a new run, bring its inputs, and give it ready to start.

    Args:
        ml: The catalog.
        configuration: What the run is given; or, in its place, ``datasets``, ``assets`` and ``description``.
        workflow: The code, as a ``Workflow`` or the RID of one; by default the configuration's.
        dry_run: Check everything and write nothing to the catalog.
        datasets: Datasets to bring, each in a version.
        assets: Assets to bring.
        description: What the run is for.
        parent: A run that this one is part of.
        sequence: Its place among the parts.
        instead_of: The ``configuration.json`` of an earlier run that this one does anew, as an asset.

    Raises:
        DerivaMLConfigurationError: There is no workflow, or the run is configured twice.
        DerivaMLWorkflowError: The code cannot be identified, or has uncommitted changes.
        DerivaMLDataError: An input does not exist, or is not what it is taken for.
    """
    given = {"datasets": datasets, "assets": assets, "description": description}
    named = {name: value for name, value in given.items() if value is not None}
    if configuration is None:
        configuration = ExecutionConfiguration.model_validate(named)
    elif named:
        raise DerivaMLConfigurationError(
            f"The run is given a configuration, and {', '.join(named)} beside it.", hint="give the one or the other"
        )
    return Execution(
        configuration,
        ml,
        workflow=workflow,
        dry_run=dry_run,
        parent=parent,
        sequence=sequence,
        instead_of=instead_of,
    )
