"""One run as a pipeline: instantiate, connect, check, open, call the model, upload, answer.

1. The configuration of a run is composed once (``composition``); everything after that works on the values.
2. What can be known before the run starts is checked before anything is written: a wrong request leaves no trace.
3. A dry run stops there (``dry_run``), or goes the whole way in a copy of the catalog (``rehearsal``).
4. A job answers with an `Outcome`, errors included, because a sweep goes on after a job that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_zen import builds

from deriva_ml.core.config import Settings
from deriva_ml.core.exceptions import DerivaMLException
from deriva_ml.core.values import dataclass
from deriva_ml.execution import composition
from deriva_ml.execution.base_config import base_defaults
from deriva_ml.execution.composition import JobContext, reset_multirun_state
from deriva_ml.execution.isolation import Isolation, prepare
from deriva_ml.execution.multirun_config import MultirunSpec
from deriva_ml.execution.outcome import Child, Outcome, RunOptions
from deriva_ml.execution.overrides import check_overrides, literal_descriptions, take_multirun
from deriva_ml.execution.preflight import check_catalog, check_request
from deriva_ml.execution.registry import Registry, register
from deriva_ml.execution.request import DryRun, RunRequest, instantiate, open_catalog
from deriva_ml.execution.running import record_run
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
    "perform",
    "plan_run",
    "reset_multirun_state",
    "run_model",
]

JOB_NAME = "deriva-ml-run"


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
    dry_run: Any = False,
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
        dry_run: True: check everything, record nothing. ``"full"``: go the whole way in a copy of the catalog that is
            thrown away.
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
        kept = self._kept(context.number)
        if kept is not None:
            outcome = replace(outcome, report=kept, execution_rid=kept.record.execution_rid)
        elif self.child is not None and self.child.stop.exists():
            outcome = replace(outcome, skipped=True)
        else:
            try:
                with prepare(config, alone=self.child is None) as isolation:
                    outcome = self._perform(config, context, isolation)
            except Exception as error:  # noqa: BLE001  # recorded as the job's result: the sweep goes on
                outcome = replace(outcome, error=error)
        if outcome.failed and self.child is not None and self.options.fail_fast:
            self.child.stop.touch()
        if self.child is not None and self.options.on_outcome is not None:
            with suppress(OSError):  # whoever was to be told has gone: the sweep goes on
                self.options.on_outcome(outcome)
        return outcome

    def _perform(self, config: Any, context: JobContext, isolation: Isolation | None) -> Outcome:
        """Run the job; if nothing is to be run, a configuration that cannot be made is looked at as far as it goes."""
        options = self.options
        if self.child is not None and self.child.sweep is not None and context.number is not None:
            options = replace(options, earlier=self.child.sweep.jobs.get(context.number))
        earlier = options.earlier
        if earlier is not None:
            earlier.require_same(config)
        try:
            request = instantiate(config, context.overrides)
        except DerivaMLException:
            if self.child is not None or not (self.options.offline or _is_dry(config)):
                raise
            from deriva_ml.execution.dry_run import Asked, look_at_one

            return look_at_one(Asked.of(config, context), options)
        if earlier is not None:
            request = earlier.with_inputs(request)
        return perform(request, context, options, self.child, isolation)

    def _kept(self, number: int | None) -> RunReport | None:
        """What a job came to that completed when the sweep was run before."""
        sweep = None if self.child is None else self.child.sweep
        return None if sweep is None or number is None else sweep.kept.get(number)


def _is_dry(config: Any) -> bool:
    try:
        return DryRun.read(config.get("dry_run", False)) is not DryRun.off
    except DerivaMLException:
        return False


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
            recorded = outcome.execution_rid is not None and outcome.dry is DryRun.off
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
    options.check(request.dry)
    if options.offline or request.dry is DryRun.checks:
        from deriva_ml.execution.dry_run import Asked, look_at_one

        return look_at_one(Asked(context, request), options)
    if request.dry is DryRun.full:
        from deriva_ml.execution.rehearsal import rehearse

        return rehearse(request, context, options, child, isolation)
    checked = check_request(request, context, allow_dirty=options.allow_dirty)
    outcome = Outcome(
        request.description,
        number=context.number,
        overrides=context.overrides,
        hostname=str(request.deriva_ml.hostname),
        catalog_id=str(request.deriva_ml.catalog_id),
        checked=checked,
    )
    with open_catalog(request) as ml:
        if options.earlier is not None:
            options.earlier.require_here(ml)
        outcome = replace(outcome, checked=check_catalog(ml, checked))
        if ml.created_default:
            outcome = replace(outcome, made_catalog=str(ml.session.place))
        return record_run(ml, request, outcome, child, options, isolation)
