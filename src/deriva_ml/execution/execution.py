"""``Execution``: one run, from its configuration to its outputs in the catalog.

The way of a run:

1. It is opened (:mod:`deriva_ml.execution.opening`): checked, recorded, provided with its inputs, and left Pending.
2. The model runs within ``with``. An error there ends the run as Failed and goes on to the caller; what the run had
   registered by then is uploaded all the same (:mod:`deriva_ml.execution.ending`).
3. The outputs are uploaded, in or after the ``with`` block, once or several times (:mod:`deriva_ml.execution.outputs`).

A dry run goes the same way without touching the catalog, in a temporary directory. Its inputs are brought when it is
entered, not before: to make one is a check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deriva_ml.asset.directory import file_state, metrics_file, register_directory
from deriva_ml.asset.staging import AssetStage
from deriva_ml.asset.upload import Patience
from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import Status
from deriva_ml.execution import recorded
from deriva_ml.execution.attempts import earlier_outputs, earlier_values
from deriva_ml.execution.ending import close_run, end_badly, end_run
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import ExecutionRecord
from deriva_ml.execution.ledger import utc_now
from deriva_ml.execution.opening import Opened, Surroundings, open_run
from deriva_ml.execution.outputs import CommitReport, clean_run_directory, commit
from deriva_ml.execution.reopening import reopen_run, take_up
from deriva_ml.execution.states import Upload, is_final
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.bound import Room, of_owner
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.staged_rows import row_file
from deriva_ml.workspace.manifest import Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.asset_record import AssetRecord
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.ermrest import FileUploadState, UploadCallback
    from deriva_ml.dataset.aux_classes import DatasetSpec
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.execution import committing, pending
    from deriva_ml.execution.inputs import RunInputs
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.stage import FeatureStage
    from deriva_ml.model.database import DerivaMLDatabase
    from deriva_ml.wire.model import Table
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
        if reload is not None and not self.dry_run:
            opened = reopen_run(self._session, configuration, reload, workflow)
        else:
            opened = open_run(self._session, configuration, workflow, self._around, dry_run=self.dry_run)
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
        self.uploaded_assets: dict[str, list[AssetFilePath]] | None = None
        self.reports: list[CommitReport] = []

    def _take(self, opened: Opened) -> None:
        self._opened = opened
        self.attempt = opened.attempt
        self.configuration = opened.configuration
        self.workflow = opened.workflow
        self.workflow_rid = opened.workflow_rid
        self.execution_rid = opened.ledger.execution_rid
        self.working_dir = opened.working_dir
        self.datasets = opened.inputs.datasets
        self.asset_paths = opened.inputs.asset_paths
        self.start_time = opened.start_time
        self.stop_time = opened.stop_time
        self._ledger = opened.ledger
        self._manifest = opened.manifest
        self._inputs = opened.inputs
        earlier = () if self.attempt == 1 else earlier_outputs(self._manifest, self.attempt)
        self._assets = AssetStage(self._session, self._manifest, self.working_dir, earlier=earlier)
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
    def inputs(self) -> RunInputs:
        """What the run consumes, and what of it is on this machine."""
        return self._inputs

    def catch_up(self) -> None:
        """Know what the process that did the run's work has noted and registered meanwhile."""
        self._ledger.catch_up()
        self._manifest.refresh()

    @property
    def manifest(self) -> Manifest:
        """What the run has registered."""
        return self._manifest

    def __str__(self) -> str:
        lines = [f"Execution {self.execution_rid}: {self.status}", f"  workflow:  {self.workflow_rid}"]
        lines += [f"  datasets:  {', '.join(self.dataset_rids) or 'none'}", f"  directory: {self.working_dir}"]
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
        )

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
        self._take(take_up(self._session, self._opened, self._around))

    def execution_stop(self) -> None:
        """Note that the model has ended well."""
        self._stop(Status.completed, "The model has ended.")

    def _stop(self, status: Status, detail: str) -> None:
        self.stop_time = self._now()
        end_run(self._ledger, self._manifest, status, detail, started=self.start_time, now=self.stop_time)

    def update_status(self, status: Status | str, msg: str = "") -> None:
        """Move to a status, or say something new of the present one.

        Raises:
            DerivaMLInvalidTransition: There is no such move.
        """
        self._ledger.move(Status(status), msg)

    def abort(self, reason: str = "Aborted by the user.") -> None:
        """End the run as Aborted; what it had registered stays pending."""
        self._stop(Status.aborted, reason)

    def _end_badly(self, error: BaseException) -> None:
        started, self.stop_time = self.start_time, self._now()
        report = end_badly(
            self._ledger, self._manifest, error, started=started, now=self.stop_time, upload=not self.dry_run
        )
        if report is not None:
            self.reports.append(report)

    def _close(self, *, remove: bool = True) -> None:
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

    def asset_file_path(
        self,
        asset_name: str,
        file_name: str | PurePath,
        asset_types: str | Iterable[str] | None = None,
        copy_file: bool = False,  # noqa: ARG002 - the specification's; a file is always copied, so that it is sealed
        rename_file: str | None = None,
        metadata: AssetRecord | Mapping[str, Any] | None = None,
        description: str | None = None,
        **kwargs: Any,
    ) -> AssetFilePath:
        """Register an output, and give the path to write it to.

        Args:
            asset_name: The asset table.
            file_name: A bare name for a new file; a ``Path``, or a name with a directory part, for one that exists,
                which is copied as it is now.
            asset_types: Terms of ``Asset_Type``; by default the table's own.
            copy_file: Without effect: a file that exists is always copied.
            rename_file: The name that the file gets in the catalog.
            metadata: Values of the table's metadata columns.
            description: What the file holds.
            kwargs: Further values of metadata columns.
        """
        return self._assets.register(
            asset_name,
            file_name,
            asset_types,
            rename_file=rename_file,
            metadata=metadata,
            description=description,
            **kwargs,
        )

    def metrics_file(self, filename: str = "metrics.jsonl") -> AssetFilePath:
        """The file that the run adds its metrics to, a JSON object on each line; it is an output of the run.

        The file is there, empty, when it is first asked for; who asks again gets the same one.

        Args:
            filename: Its name in the catalog.
        """
        return metrics_file(self._assets, self._manifest, filename)

    def upload_assets(self, assets_dir: str | Path) -> dict[str, FileUploadState]:
        """Upload the files of a directory that has the name of an asset table, now.

        Args:
            assets_dir: The directory; files in directories below it are uploaded too.

        Returns:
            What became of each file, by ``<table>/<path below the directory>``; nothing in a dry run.

        Raises:
            DerivaMLTableTypeError: The directory has not the name of an asset table.
            DerivaMLDataError: There is no such directory, or something in it is no plain file.
        """
        staged = register_directory(self._assets, Path(assets_dir))
        if self.dry_run:
            return {}
        try:
            report = commit(self._session, self._manifest, self._ledger, settle=is_final(self.status))
        finally:
            self._close(remove=False)
        self.reports.append(report)
        return {name: file_state(self._manifest.asset(str(path.key))) for name, path in staged.items()}

    def add_features(self, features: Iterable[FeatureRecord]) -> int:
        """Stage values of features; they are stored when the outputs are uploaded.

        Returns:
            How many were staged.
        """
        from deriva_ml.feature.stage import FeatureStage

        if self._features is None:
            earlier = {} if self.attempt == 1 else earlier_values(self._manifest, self.attempt)
            self._features = FeatureStage(self._manifest, self.working_dir, earlier)
        return self._features.add(features, self.execution_rid)

    def table_path(self, table: str | Table, file_format: str = "csv") -> Path:
        """The file to write rows of a table of the project to; they are stored when the outputs are uploaded.

        A row has no RID; a column that refers to the run may be left out. Rows may be added behind those that were
        uploaded. See :mod:`deriva_ml.schema.staged_rows`.

        Args:
            table: The table.
            file_format: ``csv``, or ``json``: a list of objects, or an object on each line.
        """
        return row_file(self._session, self._manifest, self.working_dir, table, file_format)

    add_files = of_owner(lambda: recorded.add_files)
    create_dataset = of_owner(lambda: recorded.create_dataset)

    def upload_execution_outputs(
        self,
        clean_folder: bool | None = None,
        progress_callback: UploadCallback | None = None,
        max_retries: int = 3,
        retry_delay: float = 5.0,
        timeout: tuple[float, float] | None = None,
        chunk_size: int | None = None,
    ) -> dict[str, list[AssetFilePath]]:
        """Bring what the run has registered into the catalog; may be called in and after the block, several times.

        Args:
            clean_folder: Remove inputs and staged files afterwards, if the run has ended and everything is uploaded;
                by default as ``clean_execution_dir`` of the ``DerivaML`` says.
            progress_callback: Is told of the bytes that have been sent.
            max_retries: How often a request is tried again after a lost connection or a fault that may pass.
            retry_delay: Seconds before the first time; doubled before each further one.
            timeout: Seconds to connect, and to wait for the next bytes; by default the connection's own.
            chunk_size: Files longer than this are sent in chunks of so many bytes, and go on at the chunk that was
                reached; by default the connection decides. Nothing is sent to a folder of this machine.

        Returns:
            The files that this call brought into the catalog, by ``<schema>/<table>``; none in a dry run.

        Raises:
            DerivaMLUploadError: Some did not get there; the rest did, and the call can be repeated.
            DerivaMLUnreachable: The catalog cannot be reached.
        """
        patience = Patience(max_retries, retry_delay, timeout, chunk_size)
        self.bring_outputs(progress_callback, patience, clean_folder=clean_folder).require_complete()
        return self.uploaded_assets or {}

    def bring_outputs(
        self, progress: UploadCallback | None, patience: Patience, *, clean_folder: bool | None
    ) -> CommitReport:
        """Bring what the run has registered into the catalog; outputs that did not get there are in the report."""
        self.uploaded_assets = {}
        if self.dry_run:
            if is_final(self.status):  # inside the block the model goes on to use the directory
                self._close()
            return CommitReport(self.execution_rid)
        try:
            report = commit(self._session, self._manifest, self._ledger, progress=progress, patience=patience)
        finally:
            self._close()
        self.reports.append(report)
        for entry in report.done:
            table = f"{entry.schema}/{entry.asset_table}"
            self.uploaded_assets.setdefault(table, []).append(self._assets.path_of(entry))
        if clean_folder is None:
            clean_folder = bool(getattr(self._ml_object, "clean_execution_dir", False))
        if clean_folder and report.complete and is_final(self.status):
            clean_run_directory(self.working_dir)
        return report

    commit_output_assets = of_owner(lambda: committing.commit_output_assets)
    pending_summary = of_owner(lambda: pending.execution_summary)

    # -- relatives -------------------------------------------------------------------------------------------------

    add_nested_execution = of_owner(lambda: recorded.add_nested_execution)
    list_nested_executions = of_owner(lambda: recorded.list_nested_executions)
    list_parent_executions = of_owner(lambda: recorded.list_parent_executions)
    is_nested = of_owner(lambda: recorded.is_nested)
    is_parent = of_owner(lambda: recorded.is_parent)
