"""``ml.create_execution``: a run that is configured, or given its inputs one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.session import HasSession, Session, session_of

if TYPE_CHECKING:
    from deriva_ml.dataset.aux_classes import DatasetSpec, DatasetVersion

__all__ = ["create_execution"]


def create_execution(
    ml: HasSession,
    configuration: ExecutionConfiguration | None = None,
    workflow: Workflow | str | None = None,
    dry_run: bool = False,
    *,
    datasets: Iterable[DatasetSpec | str] | None = None,
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
        datasets: Datasets to bring, each in a version; also as text: ``RID@X.Y.Z``, or the RID alone for the version
            that is current now, which is recorded.
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
        configuration = _configuration(session_of(ml), named)
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


def _configuration(session: Session, given: Mapping[str, Any]) -> ExecutionConfiguration:
    """What a run is given one by one, as a configuration.

    Raises:
        DerivaMLConfigurationError: Something of it is not what it should be.
        DerivaMLDatasetNotFound: There is no dataset of a RID that is given without a version.
    """
    values = dict(given)
    if "datasets" in values:
        values["datasets"] = _with_versions(session, values["datasets"])
    try:
        return ExecutionConfiguration.model_validate(values)
    except ValidationError as error:
        from deriva_ml.execution.request import reason

        raise DerivaMLConfigurationError(
            f"The run cannot be given this: {reason(error)}",
            source="create_execution",
            hint="datasets are DatasetSpec(rid=..., version=...) or 'RID@X.Y.Z'; assets are RIDs, AssetSpec or files",
        ) from error


def _with_versions(session: Session, datasets: Iterable[Any]) -> list[Any]:
    """The datasets, with those that are given as text written out; the current versions are asked for at once."""
    items: list[Any] = list(datasets)
    parts = {item: item.partition("@") for item in items if isinstance(item, str)}
    bare = [rid for rid, _at, version in parts.values() if not version]
    newest: dict[str, DatasetVersion] = {}
    if bare:
        from deriva_ml.dataset.versions import current, histories, require_dataset

        found = histories(session, bare)
        for rid in bare:
            if not found[rid]:
                require_dataset(session, rid)
        newest = {rid: current(entries) for rid, entries in found.items() if entries}
    return [
        {"rid": parts[item][0], "version": parts[item][2] or newest.get(parts[item][0])}
        if isinstance(item, str)
        else item
        for item in items
    ]
