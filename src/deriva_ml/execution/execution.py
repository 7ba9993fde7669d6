"""``Execution``: one run, from its configuration to its outputs in the catalog.

The way of a run:

1. It is opened (:mod:`deriva_ml.execution.opening`): checked, recorded, provided with its inputs, and left Pending.
2. The model runs within ``with``. An error there ends the run as Failed and goes on to the caller; what the run had
   registered by then is uploaded all the same (:mod:`deriva_ml.execution.ending`).
3. The outputs are uploaded, in or after the ``with`` block, once or several times (:mod:`deriva_ml.execution.outputs`).

A dry run goes the same way without touching the catalog, in a temporary directory. To make one is a check: its inputs
are brought when it is entered, and its directory is made when something is to be put there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from deriva_ml.asset.staging import AssetStage
from deriva_ml.asset.upload import Patience
from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLExecutionError
from deriva_ml.execution import recorded, registering
from deriva_ml.execution.attempts import earlier_outputs, earlier_values
from deriva_ml.execution.ending import close_run, end_badly, end_run
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import ExecutionRecord
from deriva_ml.execution.finishing import clean_run_directory
from deriva_ml.execution.ledger import utc_now
from deriva_ml.execution.opening import Checked, Opened, Surroundings, check_run, open_run
from deriva_ml.execution.outputs import CommitReport, commit
from deriva_ml.execution.reopening import reopen_run, take_up
from deriva_ml.execution.saying import Sayings
from deriva_ml.execution.states import Upload, is_final, named_status
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.bound import Room, of_owner
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.manifest import Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.ermrest import UploadCallback
    from deriva_ml.dataset.aux_classes import DatasetSpec
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.execution import committing, pending
    from deriva_ml.execution.inputs import RunInputs
    from deriva_ml.feature.stage import FeatureStage
    from deriva_ml.model.database import DerivaMLDatabase
else:
    # Few runs ask for these themselves.
    committing = Room("deriva_ml.execution.committing")
    pending = Room("deriva_ml.execution.pending")

__all__ = ["Execution"]


class Execution:
    """One run.

    Making one checks the configuration, makes the run's row, brings its inputs and leaves it Pending. Then:

        with execution.execute() as run:
            model(ml_instance=ml, execution=run)
        execution.upload_execution_outputs()

    Its ``attempt`` is 1, and one more each time that the run was taken up again: a model can go on from what the
    earlier attempt left in ``working_dir``, or registered as an output (``docs/lifecycle.md``).

    Args:
        configuration: What the run is given.
        ml_object: The catalog: a ``DerivaML`` or its session.
        workflow: The code, as a ``Workflow`` or the RID of one; by default the configuration's.
        reload: The RID of a run of this machine to go on with: nothing of it is made or recorded again.
        resume: When a run to go on with that Failed or was Aborted is started, its next attempt begins.
        dry_run: Check everything and write nothing to the catalog.
        parent: A run that this one is part of: it is linked as soon as its row is there, whatever becomes of it.
        sequence: Its place among the parts.
        instead_of: The ``configuration.json`` of an earlier run that this one does anew, as an asset: likewise.
        now: The clock.

    Raises:
        DerivaMLConfigurationError: There is no workflow.
        DerivaMLWorkflowError: The code cannot be identified, or has uncommitted changes.
        DerivaMLDataError: An input does not exist, or is not what it is taken for.
    """

    def __init__(
        self,
        configuration: ExecutionConfiguration,
        ml_object: HasSession | Session,
        workflow: Workflow | str | None = None,
        reload: str | None = None,
        dry_run: bool = False,
        *,
        parent: str | None = None,
        sequence: int | None = None,
        instead_of: str | None = None,
        resume: bool = False,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._begin(ml_object, now, dry_run=dry_run or reload == DRY_RUN_RID)
        if not self.dry_run:
            self._session.require_writable()
        hydra_dir = getattr(ml_object, "hydra_runtime_output_dir", None)
        told, source = getattr(ml_object, "on_download", None), getattr(ml_object, "inputs_from", None)
        self._around = Surroundings(now, parent, sequence, hydra_dir, told, source, instead_of)
        self._resumes = resume
        opened: Opened | Checked
        if reload is not None and not self.dry_run:
            opened = reopen_run(self._session, configuration, reload, workflow)
        else:
            begin = check_run if self.dry_run else open_run
            opened = begin(self._session, configuration, workflow, self._around)
        self._take(opened)

    @classmethod
    def attached(cls, opened: Opened, ml_object: HasSession | Session) -> Self:
        """A run that another process has opened and answers for, as the process that does its work has it.

        Args:
            opened: The run.
            ml_object: The catalog: a ``DerivaML`` or its session.
        """
        made = cls.__new__(cls)
        made._begin(ml_object, utc_now, dry_run=False)  # noqa: SLF001 - it is one of us
        made._around, made._resumes = Surroundings(utc_now), False  # noqa: SLF001
        made._take(opened)  # noqa: SLF001
        return made

    def _begin(self, ml_object: HasSession | Session, now: Callable[[], datetime], *, dry_run: bool) -> None:
        self._ml_object = ml_object
        self._session = session_of(ml_object)
        self._now = now
        self.dry_run = dry_run
        self.reports: list[CommitReport] = []

    def _take(self, opened: Opened | Checked) -> None:
        self._opened = opened
        self.attempt = opened.attempt
        self.configuration = opened.configuration
        self.workflow = opened.workflow
        self.workflow_rid = opened.workflow_rid
        self.execution_rid = opened.ledger.execution_rid
        self.datasets = opened.inputs.datasets
        self.asset_paths = opened.inputs.asset_paths
        self.start_time = opened.start_time
        self.stop_time = opened.stop_time
        self._ledger = opened.ledger
        self._sayings = Sayings(lambda text: self._ledger.move(self.status, text))
        self._inputs = opened.inputs
        self._stage: AssetStage | None = None
        self._features: FeatureStage | None = None

    # -- what it knows ---------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The run's status."""
        return self._ledger.status

    @property
    def upload_state(self) -> Upload:
        """How far the upload of the run's outputs is."""
        return self._ledger.upload

    @property
    def catalog(self) -> HasSession | Session:
        """The catalog that the run was made with."""
        return self._ml_object

    @property
    def dataset_rids(self) -> list[str]:
        """The RIDs of the input datasets."""
        return [item.spec.rid for item in self._inputs.checked.datasets]

    @property
    def database_catalog(self) -> DerivaMLDatabase | None:
        """The bag of the first input dataset, as the read side of a catalog; None without datasets."""
        from deriva_ml.model.database import DerivaMLDatabase

        return DerivaMLDatabase(self.datasets[0].database) if self.datasets else None

    @property
    def uploaded_assets(self) -> dict[str, list[AssetFilePath]] | None:
        """The files that this object has brought into the catalog, by ``<schema>/<table>``; None if it never tried."""
        return self.brought(self.reports) if self.reports else None

    def brought(self, reports: Iterable[CommitReport]) -> dict[str, list[AssetFilePath]]:
        """The files that some uploads have brought into the catalog, by ``<schema>/<table>``."""
        found: dict[str, list[AssetFilePath]] = {}
        for report in reports:
            for entry in report.done:
                found.setdefault(f"{entry.schema}/{entry.asset_table}", []).append(self.asset_stage.path_of(entry))
        return found

    @property
    def inputs(self) -> RunInputs:
        """What the run consumes, and what of it is on this machine."""
        return self._inputs

    def asset_types(self) -> Mapping[str, str]:
        """The types that an output may have: the preferred name of each term and synonym."""
        return self.asset_stage.known_types()

    def at_hand(self) -> AbstractContextManager[None]:
        """Within the block this machine's journal stays open: for who does not leave the run before it has ended."""
        return self._ledger.at_hand()

    def catch_up(self) -> None:
        """Know what the process that did the run's work has noted and registered meanwhile."""
        self._ledger.catch_up()
        self.manifest.refresh()

    @property
    def working_dir(self) -> Path:
        """The run's directory; that of a dry run is made when it is first asked for."""
        return self._opened.working_dir

    @property
    def manifest(self) -> Manifest:
        """What the run has registered."""
        return self._opened.manifest

    @property
    def asset_stage(self) -> AssetStage:
        """What registers the run's files."""
        if self._stage is None:
            earlier = () if self.attempt == 1 else earlier_outputs(self.manifest, self.attempt)
            types = self._opened.asset_types
            self._stage = AssetStage(self._session, self.manifest, self.working_dir, earlier=earlier, types=types)
        return self._stage

    @property
    def feature_stage(self) -> FeatureStage:
        """What registers the run's values of features."""
        from deriva_ml.feature.stage import FeatureStage

        if self._features is None:
            earlier = {} if self.attempt == 1 else earlier_values(self.manifest, self.attempt)
            self._features = FeatureStage(self.manifest, self.working_dir, earlier)
        return self._features

    def __str__(self) -> str:
        lines = [f"Execution {self.execution_rid}: {self.status}", f"  workflow:  {self.workflow_rid}"]
        lines.append(f"  datasets:  {', '.join(self.dataset_rids) or 'none'}")
        if self._opened.is_made:
            lines.append(f"  directory: {self.working_dir}")
        return "\n".join(lines)

    @property
    def execution_record(self) -> ExecutionRecord:
        """The run's row as this process has written it; ``lookup_execution`` asks the catalog."""
        return ExecutionRecord(
            execution_rid=self.execution_rid,
            workflow_rid=self.workflow_rid,
            status=self.status,
            status_detail=self._ledger.detail,
            description=self.configuration.description,
            start_time=self.start_time,
            stop_time=self.stop_time,
            upload_state=self.upload_state.value,
        ).bound(self._session)

    describe = of_owner(lambda: recorded.describe)

    # -- running ---------------------------------------------------------------------------------------------------

    def execute(self) -> Execution:
        """The run itself, for ``with execution.execute() as run``; entering the block starts it."""
        return self

    def __enter__(self) -> Self:
        self.execution_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            if not is_final(self.status):  # the block may have ended the run itself
                self.execution_stop()
        elif not is_final(self.status):
            self._end_badly(error)
        self._close(remove=error is not None)
        return error is None

    def execution_start(self) -> None:
        """Note that the model starts; inputs that are not here yet are brought first.

        A run that did not complete, given by ``ml.resume_execution``, is taken up again before.
        """
        if self._resumes and is_final(self.status):
            self.take_up()
        if self.status is Status.initializing:
            self._ledger.move(Status.pending, "Ready to start.")
        self._inputs.bring()
        if self.start_time is None or self.status is not Status.running:  # a run that is gone on with began before
            self.start_time = self._now()
        self._ledger.move(Status.running, "The model runs.", Start_Time=self.start_time.isoformat())

    def take_up(self) -> None:
        """Begin the next attempt of a run that Failed or was Aborted: its inputs are brought, and it is ready to start.

        What became of the attempt before is told by a file of the run, ``attempt-1.json``; what it left in the run's
        directory is still there. ``attempt`` says which one this is.

        Raises:
            DerivaMLInvalidTransition: The run completed, or has not ended.
            DerivaMLExecutionError: Another process has just taken it up, or it cannot be known what it was to do.
        """
        if isinstance(self._opened, Checked):
            raise DerivaMLExecutionError("A dry run is not taken up again.", hint="make a new one")
        self._take(take_up(self._session, self._opened, self._around))

    def execution_stop(self) -> None:
        """Note that the model has ended well."""
        self._stop(Status.completed, "The model has ended.")

    def _stop(self, status: Status, detail: str) -> None:
        self._sayings.drop()
        self.stop_time = self._now()
        if self._opened.is_made:
            end_run(self._ledger, self.manifest, status, detail, started=self.start_time, now=self.stop_time)
        else:
            self._ledger.move(status, detail)

    def update_status(self, status: Status | str, msg: str = "") -> None:
        """Move to a status, or say something new of the present one, which is passed on at most once a second.

        Raises:
            DerivaMLInvalidTransition: There is no such move.
            DerivaMLValidationError: There is no such status.
        """
        wanted = named_status(status)
        if wanted is self.status and not is_final(self.status):
            self._sayings.say(msg)
        else:
            self._sayings.drop()
            self._ledger.move(wanted, msg)

    def abort(self, reason: str = "Aborted by the user.") -> None:
        """End the run as Aborted; what it had registered stays pending."""
        self._stop(Status.aborted, reason)

    def _end_badly(self, error: BaseException) -> None:
        self._sayings.drop()
        started, self.stop_time = self.start_time, self._now()
        manifest = self.manifest if self._opened.is_made else None
        report = end_badly(self._ledger, manifest, error, started=started, now=self.stop_time, upload=not self.dry_run)
        if report is not None:
            self.reports.append(report)

    def _close(self, *, remove: bool = True) -> None:
        if self._opened.is_made:
            close_run(self._ledger, self.working_dir, remove=remove)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def download_dataset_bag(self, dataset: DatasetSpec) -> DatasetBag:
        """Bring another dataset during the run; that the run consumed it is recorded."""
        recorded.declare_dataset(self, dataset)
        return self._inputs.bring_dataset(dataset)

    download_asset = of_owner(lambda: recorded.download_asset)
    add_input_dataset = of_owner(lambda: recorded.add_input_dataset)
    list_input_datasets = of_owner(lambda: recorded.list_input_datasets)
    list_assets = of_owner(lambda: recorded.list_assets)

    # -- outputs ---------------------------------------------------------------------------------------------------

    asset_file_path = of_owner(lambda: registering.asset_file_path)
    metrics_file = of_owner(lambda: registering.metrics_file)
    upload_assets = of_owner(lambda: registering.upload_assets)
    add_features = of_owner(lambda: registering.add_features)
    table_path = of_owner(lambda: registering.table_path)
    add_files = of_owner(lambda: recorded.add_files)
    create_dataset = of_owner(lambda: recorded.create_dataset)

    upload_execution_outputs = of_owner(lambda: registering.upload_execution_outputs)

    def bring_outputs(
        self, progress: UploadCallback | None, patience: Patience, *, clean_folder: bool | None
    ) -> CommitReport:
        """Bring what the run has registered into the catalog; outputs that did not get there are in the report."""
        if self.dry_run:
            if is_final(self.status):  # inside the block the model goes on to use the directory
                self._close()
            self.reports.append(CommitReport(self.execution_rid))
            return self.reports[-1]
        self._sayings.settle()
        report = self.bring_registered(progress, patience, settle=True)
        if clean_folder is None:  # a run that did not complete can be taken up again, and goes on with what is here
            wanted = bool(getattr(self._ml_object, "clean_execution_dir", False))
            clean_folder = wanted and self.status is Status.completed
        if clean_folder and report.complete and is_final(self.status):
            clean_run_directory(self.manifest, self.status)
        return report

    def bring_registered(
        self, progress: UploadCallback | None = None, patience: Patience | None = None, *, settle: bool = False
    ) -> CommitReport:
        """Bring what the run has registered into the catalog, in no dry run; the run may go on.

        Args:
            progress: Is told of the bytes that have been sent.
            patience: How to meet a service that is slow or away.
            settle: Say in the catalog that the upload is done, though the run has not ended.
        """
        settle = settle or is_final(self.status)
        try:
            report = commit(
                self._session, self.manifest, self._ledger, progress=progress, patience=patience, settle=settle
            )
        finally:
            self._close(remove=False)
        self.reports.append(report)
        return report

    commit_output_assets = of_owner(lambda: committing.commit_output_assets)
    pending_summary = of_owner(lambda: pending.execution_summary)

    # -- relatives -------------------------------------------------------------------------------------------------

    add_nested_execution = of_owner(lambda: recorded.add_nested_execution)
    list_nested_executions = of_owner(lambda: recorded.list_nested_executions)
    list_parent_executions = of_owner(lambda: recorded.list_parent_executions)
    is_nested = of_owner(lambda: recorded.is_nested)
    is_parent = of_owner(lambda: recorded.is_parent)
