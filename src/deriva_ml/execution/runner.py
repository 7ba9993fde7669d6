"""One run as a pipeline: instantiate, connect, check, open, call the model, upload, answer.

1. The configuration of a run is composed once (``composition``); everything after that works on the values.
2. What can be known before the run starts is checked before anything is written: a wrong request leaves no trace.
3. A dry run stops after the check. It opens the catalog only to read, and makes none.
4. A model that raises ends a run that is recorded as Failed, with the outputs that it had registered and the traceback.
5. A job answers with an `Outcome`, errors included, because a sweep goes on after a job that failed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_zen import builds

from deriva_ml.core.config import Settings, place_flags
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import (
    DerivaMLException,
    DerivaMLModelError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.execution import composition
from deriva_ml.execution.base_config import base_defaults
from deriva_ml.execution.composition import JobContext, reset_multirun_state
from deriva_ml.execution.config_sources import user_line
from deriva_ml.execution.isolation import Isolation, call_isolated, prepare
from deriva_ml.execution.model_protocol import model_name
from deriva_ml.execution.multirun_config import MultirunSpec
from deriva_ml.execution.overrides import check_overrides, literal_descriptions, take_multirun
from deriva_ml.execution.preflight import Checked, catalog_is_there, check_catalog, check_request
from deriva_ml.execution.registry import Registry, register
from deriva_ml.execution.request import RunRequest, instantiate, open_catalog
from deriva_ml.isolate.job import Limits

if TYPE_CHECKING:
    from deriva_ml.core.ermrest import UploadCallback
    from deriva_ml.execution.inputs import DownloadNotice
    from deriva_ml.execution.report import RunReport

__all__ = [
    "Child",
    "Job",
    "Outcome",
    "RunOptions",
    "RunPlan",
    "create_model_config",
    "finish",
    "perform",
    "plan_run",
    "reset_multirun_state",
    "run_model",
]

JOB_NAME = "deriva-ml-run"
LONGEST_TRACEBACK = 200_000


@dataclass(frozen=True)
class RunOptions:
    """What the command says about a run, beside its configuration.

    Attributes:
        allow_dirty: Code with uncommitted changes may run; None for what the environment says.
        fail_fast: A sweep stops at its first failing job.
        on_outcome: Is told the outcome of each job of a sweep as it ends.
        on_download: Is told how far inputs are.
        on_upload: Is told how far outputs are.
    """

    allow_dirty: bool | None = None
    fail_fast: bool = False
    on_outcome: Callable[[Outcome], None] | None = None
    on_download: DownloadNotice | None = None
    on_upload: UploadCallback | None = None


@dataclass(frozen=True)
class Child:
    """A job's place in a sweep.

    Attributes:
        parent_rid: The execution of the sweep; None in a dry run.
        stop: A file whose presence means that no further job shall start.
    """

    parent_rid: str | None
    stop: Path


@dataclass(frozen=True)
class Outcome:
    """What a job came to.

    Attributes:
        description: What the job was for.
        number: The job's number in its sweep.
        overrides: The job's overrides.
        hostname: The catalog's host as the configuration names it.
        catalog_id: The catalog.
        execution_rid: The run, if it was opened.
        report: What was recorded; None also where the catalog could not be asked any more.
        checked: What a dry run found.
        error: Why the job failed, or was refused.
        made_catalog: The default catalog was made for this run, here.
        skipped: The job was not started, because another had failed.
    """

    description: str = ""
    number: int | None = None
    overrides: tuple[str, ...] = ()
    hostname: str = ""
    catalog_id: str = ""
    execution_rid: str | None = None
    report: RunReport | None = None
    checked: Checked | None = None
    error: BaseException | None = None
    made_catalog: str | None = None
    skipped: bool = False

    @property
    def failed(self) -> bool:
        """Whether the job did not do what it was asked."""
        return self.error is not None or self.skipped


def create_model_config(
    ml_class: type | None = None,
    description: str = "Model execution",
    hydra_defaults: Sequence[str | dict[str, str]] | None = None,
) -> Any:
    """The main configuration of a project; store it as ``deriva_model``.

    Args:
        ml_class: Class that opens the catalog; ``DerivaML`` by default.
        description: What runs are for, unless an experiment says more.
        hydra_defaults: The groups and their defaults, if they are not the usual ones.
    """
    more = {} if ml_class is None else {"ml_class": ml_class}
    return builds(
        run_model,
        description=description,
        populate_full_signature=True,
        hydra_defaults=list(hydra_defaults or base_defaults),
        limits=builds(Limits, populate_full_signature=True),
        **more,
    )


def run_model(
    deriva_ml: Any,
    datasets: Any,
    assets: Any,
    description: str,
    workflow: Any,
    model_config: Any,
    dry_run: bool = False,
    ml_class: Any = None,
    upload_timeout: float = 600,
    upload_chunk_size: int = 50_000_000,
    script_config: Any = None,
    isolation: str = "process",
    limits: Any = None,
) -> None:
    """Run a model once and record it.

    Called as a function it runs the model in this process; ``isolation`` and ``limits`` are for the command, which runs
    what they describe.

    Args:
        deriva_ml: Where the catalog is (``DerivaMLConfig``).
        datasets: Datasets to bring.
        assets: Assets to bring.
        description: What the run is for.
        workflow: The kind of work.
        model_config: The model: a callable that takes ``ml_instance`` and ``execution``.
        dry_run: Check everything, record nothing.
        ml_class: Class that opens the catalog; ``DerivaML`` by default.
        upload_timeout: For how many seconds an upload may wait for the service to connect, or for its next bytes.
        upload_chunk_size: Files longer than this are sent to a service in chunks of so many bytes.
        script_config: A script to call in place of the model.
        isolation: Where the command runs the model: ``process``, a child of its own; ``inline``, its own process.
        limits: How far the model may go there (``Limits``): ``limits.wall``, ``memory``, ``silence``, ``heartbeat``.

    Raises:
        DerivaMLException: The request is wrong, or the run failed.
    """
    request = RunRequest(
        deriva_ml,
        datasets,
        assets,
        description,
        workflow,
        model_config,
        dry_run,
        ml_class,
        upload_timeout,
        upload_chunk_size,
        script_config,
        isolation,
        limits,
    )
    outcome = perform(request, JobContext.current())
    if outcome.error is not None:
        raise outcome.error


@dataclass(frozen=True)
class Job:
    """What Hydra calls with the composed configuration; it can be pickled, so any launcher can carry it.

    Attributes:
        options: What the command says.
        child: The job's place in a sweep.
    """

    options: RunOptions = field(default_factory=RunOptions)
    child: Child | None = None

    def __call__(self, config: Any) -> Outcome:
        """Run the job; its errors are part of the answer."""
        context = JobContext.current()
        outcome = Outcome(number=context.number, overrides=context.overrides)
        if self.child is not None and self.child.stop.exists():
            outcome = replace(outcome, skipped=True)
        else:
            try:
                alone = self.child is None or self.child.parent_rid is None
                with prepare(config, alone=alone) as isolation:
                    request = instantiate(config, context.overrides)
                    outcome = perform(request, context, self.options, self.child, isolation)
            except Exception as error:  # noqa: BLE001  # recorded as the job's result: the sweep goes on
                outcome = replace(outcome, error=error)
        if outcome.failed and self.child is not None and self.options.fail_fast:
            self.child.stop.touch()
        if self.child is not None and self.options.on_outcome is not None:
            with suppress(OSError):  # whoever was to be told has gone: the sweep goes on
                self.options.on_outcome(outcome)
        return outcome


@dataclass(frozen=True)
class RunPlan:
    """A command that is understood: what to compose, and how often.

    Attributes:
        config_name: The main configuration.
        overrides: The user's overrides, those of a named sweep among them.
        options: What the command says.
        spec: The named sweep, if one was asked for.
        is_sweep: Whether there are several jobs.
        home: Where this machine keeps its working files.
        stamp: The name of the command's directory there.
    """

    config_name: str
    overrides: tuple[str, ...]
    options: RunOptions
    spec: MultirunSpec | None = None
    is_sweep: bool = False
    home: Path = field(default_factory=lambda: Settings.read().home)
    stamp: str = field(default_factory=composition.new_stamp)

    @property
    def all_overrides(self) -> list[str]:
        """The user's overrides, after those that keep Hydra out of the user's directory."""
        return [*composition.output_overrides(self.home, self.stamp, self.overrides), *self.overrides]

    def job(self, child: Child | None = None) -> Job:
        """What Hydra is to call."""
        return Job(self.options, child)

    def shown(self, on_download: DownloadNotice, on_upload: UploadCallback) -> RunPlan:
        """The same, with somebody who is told how far inputs and outputs are."""
        return replace(self, options=replace(self.options, on_download=on_download, on_upload=on_upload))

    def run(self) -> Outcome:
        """Run the one job.

        Raises:
            DerivaMLConfigurationError: The configuration cannot be composed.
        """
        recorded = True  # unless it is known that nothing was, the model's own files stay
        try:
            with composition.hydra_session(JOB_NAME) as hydra:
                outcome: Outcome = composition.run_job(hydra, self.config_name, self.job(), self.all_overrides)
            recorded = outcome.execution_rid is not None
        finally:
            composition.discard_output(self.home, self.stamp, recorded=recorded)
        return outcome


def plan_run(
    overrides: Sequence[str],
    *,
    config_name: str = "deriva_model",
    multirun: bool = False,
    options: RunOptions | None = None,
    store: Any = None,
    folders: Sequence[Path] = (),
) -> RunPlan:
    """Understand a command: check its overrides against what is registered, and hand that to Hydra.

    Args:
        overrides: What the user wrote.
        config_name: The main configuration.
        multirun: Whether the user asked for a sweep.
        options: What the command says.
        store: The ``ZenStore`` with the configurations; by default hydra-zen's own.
        folders: Folders with configurations in YAML, beside the store.

    Raises:
        DerivaMLConfigurationError: An override or the configuration's name is wrong.
    """
    if store is None:
        from hydra_zen import store as zen_store

        store = zen_store
    registry = Registry.read(store, config_name, folders)
    words, spec = take_multirun(overrides)
    is_sweep = multirun or spec is not None
    words = literal_descriptions(words, registry.keys, multirun=is_sweep)
    check_overrides(words, registry, multirun=is_sweep, spec=spec)
    register(store, registry.keys)
    return RunPlan(config_name, tuple(words), options or RunOptions(), spec, is_sweep)


def perform(
    request: RunRequest,
    context: JobContext,
    options: RunOptions | None = None,
    child: Child | None = None,
    isolation: Isolation | None = None,
) -> Outcome:
    """Check a request and do what it asks.

    Args:
        request: What to do.
        context: What Hydra knows about the job.
        options: What the command says.
        child: The job's place in a sweep.
        isolation: The process that calls the model; by default this one does.

    Raises:
        DerivaMLException: The request is wrong; nothing was written.
    """
    options = options or RunOptions()
    checked = check_request(request, context, allow_dirty=options.allow_dirty)
    where = _where(request)
    if request.dry_run and not catalog_is_there(request):
        return replace(where, checked=checked, number=context.number, overrides=context.overrides)
    with open_catalog(request) as ml:
        checked = check_catalog(ml, checked)
        outcome = replace(where, number=context.number, overrides=context.overrides, checked=checked)
        if ml.created_default:
            outcome = replace(outcome, made_catalog=str(ml.session.place))
        if request.dry_run:
            return outcome
        return _record(ml, request, outcome, child, options, isolation)


def _where(request: RunRequest) -> Outcome:
    return Outcome(
        request.description, hostname=str(request.deriva_ml.hostname), catalog_id=str(request.deriva_ml.catalog_id)
    )


def _record(
    ml: Any,
    request: RunRequest,
    outcome: Outcome,
    child: Child | None,
    options: RunOptions,
    isolation: Isolation | None,
) -> Outcome:
    """Open the execution, call the model, upload."""
    assert outcome.checked is not None
    place: dict[str, Any] = {}
    if child is not None and child.parent_rid is not None:
        place = {"parent": child.parent_rid, "sequence": outcome.number}
    ml.on_download = options.on_download
    execution = ml.create_execution(outcome.checked.configuration, **place)
    error: BaseException | None = None
    try:
        with execution.execute() as running:
            if isolation is None:
                _call(request.model, ml, running)
            else:
                call_isolated(isolation, request.model, ml, running, request.limits)
    except DerivaMLModelError as raised:
        error = raised
    flags = place_flags(outcome.hostname, outcome.catalog_id)
    upload = {**request.upload_options(), "progress_callback": options.on_upload}
    report, error = finish(execution, error, flags, upload)
    rid, description = execution.execution_rid, execution.configuration.description
    return replace(outcome, execution_rid=rid, report=report, error=error, description=description)


def finish(
    execution: Any, error: BaseException | None, place: str = "", upload: Mapping[str, Any] | None = None
) -> tuple[RunReport | None, BaseException | None]:
    """Upload what a run that has ended registered, and read back what was recorded.

    Args:
        execution: The run.
        error: What ended it, if it was an error; it is the news, whatever goes wrong afterwards.
        place: Flags that name the catalog in commands.
        upload: Arguments of the upload.

    Returns:
        What was recorded, None if the catalog could not be asked; and the error to tell.
    """
    report = None
    try:
        try:
            execution.upload_execution_outputs(**(upload or {}))
        except DerivaMLUploadError as raised:
            error = error or raised
        report = execution.describe()
    except DerivaMLUnreachable as raised:
        error = _kept_here(execution.execution_rid, error, raised, place)
    except DerivaMLException as raised:
        error = error or raised
    if place and isinstance(error, DerivaMLException) and error.hint and place not in error.hint:
        rid = execution.execution_rid
        error.hint = error.hint.replace(f" {rid}", f" {rid}{place}")  # the commands in it need the catalog too
    return report, error


def _kept_here(rid: str, error: BaseException | None, away: DerivaMLUnreachable, place: str) -> BaseException:
    """The error of a run that lost its catalog: what the model raised, or that the catalog is not there."""
    text = f"the outputs of execution {rid} are kept on this machine; once the catalog answers again: "
    text += f"deriva-ml-upload --execution {rid}{place}"
    if isinstance(error, DerivaMLException):
        error.hint = text
        return error
    lost = DerivaMLUnreachable(
        f"The catalog was lost while execution {rid} ran: {error_text(away).splitlines()[0]}", hint=text
    )
    lost.__cause__ = away
    return error or lost


def _call(model: Any, ml: Any, execution: Any) -> None:
    """Call the model; keep the traceback of what it raises with the run.

    Raises:
        DerivaMLModelError: The model raised, or called ``sys.exit`` with something else than success.
    """
    try:
        model(ml_instance=ml, execution=execution)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and (error.code is None or error.code == 0):
            return
        with suppress(Exception):  # the model's error is the news, whatever becomes of its traceback
            _keep_traceback(execution, error)
        lines = error_text(error).strip().splitlines()
        raise DerivaMLModelError(
            f"The model {model_name(model)} raised {type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "),
            source=user_line(error),
            hint=f"the run is recorded as Failed, with its outputs so far: deriva-ml-show {execution.execution_rid}",
        ) from error


def _keep_traceback(execution: Any, error: BaseException) -> None:
    from deriva_ml.execution.environment import mask

    path = execution.asset_file_path(
        "Execution_Metadata", "traceback.txt", asset_types="Execution_Metadata", description="what the model raised"
    )
    text = "".join(traceback.format_exception(error))
    if len(text) > LONGEST_TRACEBACK:
        text = f"{text[: LONGEST_TRACEBACK // 2]}\n...\n{text[-LONGEST_TRACEBACK // 2 :]}"
    path.write_text(mask(text), encoding="utf-8", errors="backslashreplace")
