"""What can be known before a run starts, so that a wrong request costs nothing and leaves no trace.

A check of the request needs no catalog; a check of the catalog makes one request for each kind of thing. Each finds
everything that is wrong, not only the first thing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from deriva_ml.core.config import resolve_place
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLDirtyWorkflowError,
    DerivaMLException,
    DerivaMLProblems,
    DerivaMLWorkflowError,
)
from deriva_ml.core.values import dataclass
from deriva_ml.execution.composition import JobContext
from deriva_ml.execution.model_protocol import model_name, model_problems
from deriva_ml.execution.parameters import misfits
from deriva_ml.execution.request import RunRequest, reason, unwrap

if TYPE_CHECKING:
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.input_check import Inputs
    from deriva_ml.execution.workflow import Workflow

__all__ = ["Checked", "CodeReader", "catalog_is_there", "check_catalog", "check_request", "examine_request"]


@dataclass(frozen=True)
class Checked:
    """A request as far as it was looked at.

    Attributes:
        configuration: What will be recorded.
        model: The name of what is called.
        inputs: The inputs that are good; None where the catalog was not asked.
        problems: Everything that is wrong.
        warnings: What a dry run forgives and a real run would refuse.
    """

    configuration: ExecutionConfiguration
    model: str = ""
    inputs: Inputs | None = None
    problems: tuple[DerivaMLException, ...] = ()
    warnings: tuple[DerivaMLException, ...] = ()

    def require_good(self) -> Checked:
        """The same, if nothing is wrong.

        Raises:
            DerivaMLException: What is wrong; a `DerivaMLProblems` if it is several things.
        """
        if self.problems:
            raise DerivaMLProblems.of(self.problems)
        return self

    def with_problems(self, problems: Sequence[DerivaMLException], inputs: Inputs | None = None) -> Checked:
        """The same, after something else was looked at."""
        return replace(self, problems=(*self.problems, *problems), inputs=inputs)


def catalog_is_there(request: RunRequest) -> bool:
    """Whether the catalog exists, found out without making anything; only the default one is looked for.

    Raises:
        DerivaMLConfigurationError: It does not, and a run would not make it either.
    """
    from deriva_ml.connect import catalog_exists

    config = request.deriva_ml
    place = resolve_place(config.hostname)
    if place.root is None or not place.is_default or catalog_exists(config.hostname, config.catalog_id):
        return True
    if str(config.catalog_id) != "1":
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


@dataclass
class CodeReader:
    """Finds out which code models are, once for each: the jobs of a sweep have mostly the same.

    Attributes:
        allow_dirty: Code with uncommitted changes may run; None for what the environment says.
        is_dry: Nothing will be recorded: what a real run would refuse is told, and looked beyond.
    """

    allow_dirty: bool | None = None
    is_dry: bool = False
    _known: dict[tuple[int, str], tuple[Workflow, DerivaMLException | None]] = field(default_factory=dict)

    def read(self, workflow: Workflow, function: Any) -> tuple[Workflow, DerivaMLException | None]:
        """The workflow with its code, and what a real run would refuse of it.

        Raises:
            DerivaMLWorkflowError: It cannot be told which code it is, or a real run refuses it.
        """
        key = (id(function), workflow.model_dump_json())
        if key not in self._known:
            self._known[key] = self._read(workflow, function)
        return self._known[key]

    def _read(self, workflow: Workflow, function: Any) -> tuple[Workflow, DerivaMLException | None]:
        from deriva_ml.execution.source import file_of, identify

        try:
            return workflow.resolve(function, allow_dirty=self.allow_dirty), None
        except DerivaMLWorkflowError as error:
            if not self.is_dry:
                raise
            path = error.path if isinstance(error, DerivaMLDirtyWorkflowError) else file_of(function)
            code = identify(path, allow_dirty=True)
            found = {"url": code.url, "checksum": code.checksum, "version": code.version}
            return workflow.model_copy(update=found), error


def check_request(request: RunRequest, context: JobContext, *, allow_dirty: bool | None = None) -> Checked:
    """Check all that can be known without a catalog: the model, the code that it is, the inputs' form.

    Args:
        request: What the run is asked to do.
        context: What Hydra knows about the job.
        allow_dirty: Code with uncommitted changes may run; None for what the environment says.

    Raises:
        DerivaMLException: Something is wrong; a `DerivaMLProblems` if it is several things.
    """
    return examine_request(request, context, CodeReader(allow_dirty)).require_good()


def examine_request(
    request: RunRequest, context: JobContext, codes: CodeReader, broken: Collection[str] = ()
) -> Checked:
    """Find everything that is wrong with a request and can be known without a catalog.

    Args:
        request: What the run is asked to do.
        context: What Hydra knows about the job.
        codes: Finds out which code models are.
        broken: Arguments of which it is known that they cannot be made: they are left out.
    """
    has_model = not {"model_config", "script_config"} & set(broken)
    function, given = unwrap(request.model)
    group = "model_config" if request.script_config is None else "script_config"
    problems: list[DerivaMLException] = []
    if has_model:
        problems += model_problems(function, given)
        problems += misfits(request.model, group, context.overrides)
    warnings: list[DerivaMLException] = []
    workflow = request.workflow
    if workflow is None or not hasattr(workflow, "resolve"):
        problems += [_no_workflow(workflow)] if "workflow" not in broken else []
        workflow = None
    elif has_model and callable(function):
        try:
            workflow, refused = codes.read(workflow, function)
            warnings += [refused] if refused is not None else []
        except DerivaMLException as error:
            problems.append(error)
    configuration, wrong = _configuration(request, context, workflow)
    name = model_name(function) if has_model else ""
    return Checked(configuration, name, None, (*problems, *wrong), tuple(warnings))


def _no_workflow(given: object) -> DerivaMLException:
    return DerivaMLConfigurationError(
        f"The run has no workflow: {given!r}.",
        source="configuration group workflow",
        hint="store builds(Workflow, name=..., workflow_type=...) in group workflow",
    )


def _configuration(
    request: RunRequest, context: JobContext, workflow: Workflow | None
) -> tuple[ExecutionConfiguration, list[DerivaMLException]]:
    """What would be recorded, without the lists of inputs that cannot be read, and what is wrong with those."""
    from pydantic import ValidationError

    from deriva_ml.execution.execution_configuration import ExecutionConfiguration

    problems: list[DerivaMLException] = []
    inputs: dict[str, Any] = {}
    for group, items in (("datasets", request.datasets), ("assets", request.assets)):
        try:
            ExecutionConfiguration(**{group: items})
            inputs[group] = items
        except ValidationError as error:
            name = context.choices.get(group)
            source = f"configuration group {group}" + (f", configuration {group}={name}" if name else "")
            text = f"The configuration cannot be used: {reason(error)}"
            problem = DerivaMLConfigurationError(text, source=source)
            problem.__cause__ = error
            problems.append(problem)
    number = "" if context.number is None else f"[Job {context.number}] "
    configuration = ExecutionConfiguration(
        **inputs,
        workflow=workflow,
        description=f"{number}{request.description}",
        config_choices=context.choices,
    )
    return configuration, problems


def check_catalog(ml: Any, checked: Checked) -> Checked:
    """Check what only the catalog knows: the kinds of work, the inputs and their versions.

    Raises:
        DerivaMLException: Something is wrong; a `DerivaMLProblems` if it is several things.
    """
    from deriva_ml.execution.validation import validate_execution_configuration

    report = validate_execution_configuration(ml, checked.configuration)
    return checked.with_problems(report.problems, report.inputs).require_good()
