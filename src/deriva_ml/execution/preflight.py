"""What can be known before a run starts, so that a wrong request costs nothing and leaves no trace.

A check of the request needs no catalog; a check of the catalog makes one request for each kind of thing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deriva_ml.core.config import resolve_place
from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLDirtyWorkflowError
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.model_protocol import check_model, model_name
from deriva_ml.execution.request import RunRequest, reason, unwrap

if TYPE_CHECKING:
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.inputs import Inputs
    from deriva_ml.execution.workflow import Workflow

__all__ = ["Checked", "catalog_is_there", "check_catalog", "check_request"]


@dataclass(frozen=True)
class Checked:
    """A request that is known to be right, as far as can be known.

    Attributes:
        configuration: What will be recorded.
        model: The name of what is called.
        inputs: The inputs; None where the catalog does not exist yet.
        dirty: What differs from the last commit, which a real run would refuse.
    """

    configuration: ExecutionConfiguration
    model: str = ""
    inputs: Inputs | None = None
    dirty: tuple[str, ...] = ()


def catalog_is_there(request: RunRequest) -> bool:
    """Whether the catalog exists, found out without making anything.

    Raises:
        DerivaMLConfigurationError: It does not, and a run would not make it either.
    """
    from deriva_ml.connect import catalog_exists

    config = request.deriva_ml
    place = resolve_place(config.hostname)
    if place.root is None or catalog_exists(config.hostname, config.catalog_id):
        return True
    if not place.is_default or str(config.catalog_id) != "1":
        raise DerivaMLConfigurationError(
            f"There is no catalog {config.catalog_id} at {place}.",
            source=f"hostname {config.hostname!r}, catalog_id {config.catalog_id!r}",
            hint="name one that exists with --host and --catalog",
        )
    if request.datasets or request.assets:
        raise DerivaMLConfigurationError(
            f"The run has inputs, and there is no catalog yet at {place}.",
            source="datasets, assets",
            hint="create-demo-catalog makes one with the demonstration's data; or choose inputs of another catalog",
        )
    return False


def check_request(request: RunRequest, context: JobContext, *, allow_dirty: bool | None = None) -> Checked:
    """Check all that can be known without a catalog: the model, the code that it is, the inputs' form.

    Args:
        request: What the run is asked to do.
        context: What Hydra knows about the job.
        allow_dirty: Code with uncommitted changes may run; None for what the environment says.

    Raises:
        DerivaMLException: Something is wrong.
    """
    from pydantic import ValidationError

    from deriva_ml.execution.execution_configuration import ExecutionConfiguration

    function, given = unwrap(request.model)
    check_model(function, given)
    if request.workflow is None or not hasattr(request.workflow, "resolve"):
        raise DerivaMLConfigurationError(
            f"The run has no workflow: {request.workflow!r}.",
            source="configuration group workflow",
            hint="store builds(Workflow, name=..., workflow_type=...) in group workflow",
        )
    workflow, dirty = _resolve(request, function, allow_dirty)
    number = "" if context.number is None else f"[Job {context.number}] "
    try:
        configuration = ExecutionConfiguration(
            datasets=request.datasets,
            assets=request.assets,
            workflow=workflow,
            description=f"{number}{request.description}",
            config_choices=context.choices,
        )
    except ValidationError as error:
        raise DerivaMLConfigurationError(
            f"The configuration cannot be used: {reason(error)}", source="configuration groups datasets and assets"
        ) from error
    return Checked(configuration, model_name(function), dirty=dirty)


def _resolve(request: RunRequest, function: Any, allow_dirty: bool | None) -> tuple[Workflow, tuple[str, ...]]:
    """The workflow with its code; a dry run tells what differs from the last commit, and goes on looking."""
    from deriva_ml.execution.source import identify

    try:
        return request.workflow.resolve(function, allow_dirty=allow_dirty), ()
    except DerivaMLDirtyWorkflowError as error:
        if not request.dry_run:
            raise
        code = identify(error.path, allow_dirty=True)
        found = {"url": code.url, "checksum": code.checksum, "version": code.version}
        return request.workflow.model_copy(update=found), error.paths


def check_catalog(ml: Any, checked: Checked) -> Checked:
    """Check what only the catalog knows: the kinds of work, the inputs and their versions.

    Raises:
        DerivaMLException: Something is wrong.
    """
    from deriva_ml.core.enums import MLVocab
    from deriva_ml.execution.inputs import check_inputs
    from deriva_ml.schema.vocabulary import check_terms

    session = ml.session
    workflow = checked.configuration.workflow
    assert workflow is not None
    check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", workflow.workflow_types)
    return replace(checked, inputs=check_inputs(session, checked.configuration))
