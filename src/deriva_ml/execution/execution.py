"""``Execution``: one run, from its configuration to its outputs in the catalog.

The way of a run:

1. Everything that it names is checked, in one request for each kind of thing. Nothing is written if anything is wrong.
2. Its RID is leased and the run is noted in the journal. From now on it can be found, whatever happens.
3. Its directory is made, named by the RID, and never one that is there already.
4. Its row is made with the leased RID; inputs are recorded and brought; the files that describe it are uploaded.
5. The model runs within ``with``. An error there ends the run as Failed and goes on to the caller; what the run had
   registered by then is uploaded all the same.
6. The outputs are uploaded, in or after the ``with`` block, once or several times.

A dry run goes the same way without touching the catalog, in a temporary directory. Its inputs are brought when it is
entered, not before: to make one is a check.
"""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deriva_ml.asset.staging import AssetStage
from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLVocab, Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLException,
    DerivaMLModelError,
    DerivaMLReadOnlyError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution import execution_record as records
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import ExecutionRecord
from deriva_ml.execution.inputs import Datasets, Inputs, check_inputs, record_asset_inputs, record_datasets
from deriva_ml.execution.ledger import Ledger, duration_text, open_journal, utc_now
from deriva_ml.execution.metadata import describe_run, stage_metadata
from deriva_ml.execution.outputs import (
    CommitReport,
    clean_run_directory,
    commit,
    execution_root,
    pending_outputs,
    take_over,
)
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.report import RunReport, describe
from deriva_ml.execution.states import Upload, is_final
from deriva_ml.execution.uses import list_assets, list_input_datasets
from deriva_ml.execution.workflow import Workflow, add_workflow, lookup_workflow
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.workspace.journal import Journal
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

if TYPE_CHECKING:
    from deriva_ml.asset.asset import Asset
    from deriva_ml.asset.asset_record import AssetRecord
    from deriva_ml.asset.aux_classes import AssetFilePath
    from deriva_ml.core.ermrest import UploadCallback
    from deriva_ml.dataset.aux_classes import DatasetSpec, DatasetVersion
    from deriva_ml.dataset.dataset import Dataset
    from deriva_ml.dataset.dataset_bag import DatasetBag
    from deriva_ml.feature.records import FeatureRecord
    from deriva_ml.feature.stage import FeatureStage

__all__ = ["Execution", "describe_error"]

_NO_WORKFLOW = "Workflow must be specified either in configuration or as a parameter"


class Execution:
    """One run.

    Making one checks the configuration, makes the run's row, brings its inputs and leaves it Pending. Then:

        with execution.execute() as run:
            model(ml_instance=ml, execution=run)
        execution.upload_execution_outputs()

    Args:
        configuration: What the run is given.
        ml_object: The catalog: a ``DerivaML`` or its session.
        workflow: The code, as a ``Workflow`` or the RID of one; by default the configuration's.
        reload: The RID of a run of this machine to go on with: nothing of it is made or recorded again.
        dry_run: Check everything and write nothing to the catalog.
        parent: A run that this one is part of: it is linked as soon as its row is there, whatever becomes of it.
        sequence: Its place among the parts.
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
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._ml_object = ml_object
        self._session = session_of(ml_object)
        self._now = now
        self._mask = process_mask()
        self.configuration = configuration
        self.dry_run = dry_run or reload == DRY_RUN_RID
        self.start_time: datetime | None = None
        self.stop_time: datetime | None = None
        self.uploaded_assets: dict[str, list[AssetFilePath]] | None = None
        self.datasets = Datasets()
        self.asset_paths: dict[str, list[AssetFilePath]] = {}
        self.reports: list[CommitReport] = []
        self._journal: Journal | None = None
        self._inputs_are_here = False
        self._place = (parent, sequence)
        if not self.dry_run:
            self._session.require_writable()
        if reload is not None and not self.dry_run:
            self._reload(reload, workflow)
        else:
            self._create(workflow)

    # -- making a run ----------------------------------------------------------------------------------------------

    def _create(self, workflow: Workflow | str | None) -> None:
        self.workflow = self._chosen_workflow(workflow).resolve(allow_dirty=True if self.dry_run else None)
        self._inputs = check_inputs(self._session, self.configuration)
        if self.dry_run:
            self._check_workflow_types()
            self.workflow_rid = DRY_RUN_RID
            self.execution_rid = DRY_RUN_RID
            self.working_dir = Path(tempfile.mkdtemp(prefix="deriva-ml-dry-run-"))
        else:
            self._find_dead_runs()
            self.workflow_rid = add_workflow(self._session, self.workflow)
            (self.execution_rid,) = self._session.catalog.lease_rids(1)
            self.working_dir = execution_root(self._session.working_dir, self.execution_rid)
            self._journal = open_journal(self._session)
        self._ledger = Ledger(self._session, self._journal, self.execution_rid, mask=self._mask)
        try:
            self._prepare()
        except BaseException as error:
            self._end_badly(error, upload=not isinstance(error, (DerivaMLUploadError, DerivaMLUnreachable)))
            self._close()
            raise

    def _prepare(self) -> None:
        """Everything between the journal's first line and the moment when the model can start."""
        description = self._mask.text(self.configuration.description)
        self._ledger.open(self.working_dir, {"Workflow": self.workflow_rid, "Description": description})
        if not self.dry_run:
            self.working_dir.mkdir(parents=True, exist_ok=False)
        self._open_manifest()
        files = describe_run(
            self.configuration,
            self.workflow,
            execution_rid=self.execution_rid,
            mask=self._mask,
            now=self._now(),
            hydra_output_dir=getattr(self._ml_object, "hydra_runtime_output_dir", None),
        )
        stage_metadata(self._manifest, self.working_dir, self._session.ml_schema, files)
        self._ledger.move(Status.initializing, "Bringing inputs.")
        if not self.dry_run:
            parent, sequence = self._place
            if parent is not None:
                records.add_nested_execution(self._session, parent, self.execution_rid, sequence)
            record_datasets(self._session, self.execution_rid, self._inputs.datasets)
            record_asset_inputs(self._session, self.execution_rid, self._inputs.assets)
            self._bring_inputs()
            commit(self._session, self._manifest, self._ledger, settle=False).require_complete()
        self._ledger.move(Status.pending, "Ready to start.")

    def _open_manifest(self) -> None:
        self._manifest = Manifest(self.working_dir / MANIFEST_NAME, self.execution_rid)
        self._assets = AssetStage(self._session, self._manifest, self.working_dir)
        self._features: FeatureStage | None = None

    def _chosen_workflow(self, workflow: Workflow | str | None) -> Workflow:
        chosen = workflow if workflow is not None else self.configuration.workflow
        if chosen is None:
            raise DerivaMLConfigurationError(_NO_WORKFLOW, hint="choose one with workflow=... in the configuration")
        if isinstance(chosen, str):
            return lookup_workflow(self._session, chosen)
        if not isinstance(chosen, Workflow):
            raise DerivaMLConfigurationError(
                f"Workflow must be a Workflow object, not {type(chosen).__name__}.",
                hint="use ml.lookup_workflow(rid) or ml.lookup_workflow_by_url(url) to get a Workflow object",
            )
        return chosen

    def _find_dead_runs(self) -> None:
        """Mark the runs of this machine that were killed; that this cannot be done now is no reason not to run."""
        try:
            for run in reconcile_dead_runs(self._session):
                get_logger("execution").warning("Execution %s was found dead: %s", run.execution, run.detail)
        except DerivaMLException as error:
            get_logger("execution").warning("Earlier runs of this machine cannot be looked after: %s", error)

    def _check_workflow_types(self) -> None:
        vocabulary = f"{self._session.ml_schema}:{MLVocab.workflow_type}"
        check_terms(self._session, vocabulary, self.workflow.workflow_types)

    def _reload(self, execution_rid: str, workflow: Workflow | str | None) -> None:
        """Go on with a run of this machine: its status, its directory and its manifest are as they were left."""
        self.execution_rid = execution_rid
        self.working_dir = execution_root(self._session.working_dir, execution_rid)
        self._journal = open_journal(self._session)
        try:
            record = records.lookup_execution(self._session, execution_rid)
            self._ledger = take_over(self._session, self._journal, execution_rid, self.working_dir)
            self.workflow_rid = record.workflow_rid or ""
            if workflow is None and self.configuration.workflow is None:
                self.workflow = lookup_workflow(self._session, self.workflow_rid)
            else:
                self.workflow = self._chosen_workflow(workflow)
            self.start_time, self.stop_time = record.start_time, record.stop_time
            self._inputs = Inputs() if is_final(self.status) else check_inputs(self._session, self.configuration)
            self._open_manifest()
        except BaseException:
            self._journal.close()
            raise

    def _bring_inputs(self) -> None:
        """Fetch datasets and assets, from the cache where they are in it; once."""
        if self._inputs_are_here:
            return
        for item in self._inputs.datasets:
            self.datasets.append(self._bag(item.spec))
        if self._inputs.assets:
            from deriva_ml.asset.download import download_many

            cached = {item.spec.rid: item.spec.cache for item in self._inputs.assets}
            paths = download_many(self._session, list(cached), self.working_dir / "inputs", use_cache=cached)
            for path in paths:
                self.asset_paths.setdefault(path.asset_table, []).append(path)
        self._inputs_are_here = True

    def _bag(self, spec: DatasetSpec) -> DatasetBag:
        from deriva_ml.dataset.bag import download_dataset_bag

        bag = download_dataset_bag(self._session, spec)
        bag.execution_rid = self.execution_rid
        return bag

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
        return [item.spec.rid for item in self._inputs.datasets]

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

    def describe(self) -> RunReport:
        """Everything that the catalog holds of the run."""
        self._require_catalog("describe the run")
        return describe(self._session, self.execution_rid)

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
        if error is not None:
            self._end_badly(error, upload=True)
        elif not is_final(self.status):  # the block may have ended the run itself
            self.execution_stop()
        self._close(remove=error is not None)
        return error is None

    def execution_start(self) -> None:
        """Note that the model starts; inputs that are not here yet are brought first."""
        if self.status is Status.initializing:
            self._ledger.move(Status.pending, "Ready to start.")
        self._bring_inputs()
        self.start_time = self._now()
        self._ledger.move(Status.running, "The model runs.", Start_Time=self.start_time.isoformat())

    def execution_stop(self) -> None:
        """Note that the model has ended well."""
        self._stop(Status.completed, "The model has ended.")

    def _stop(self, status: Status, detail: str) -> None:
        self.stop_time = self._now()
        columns: dict[str, Any] = {"Stop_Time": self.stop_time.isoformat()}
        if self.start_time is not None:
            columns["Duration"] = duration_text((self.stop_time - self.start_time).total_seconds())
        if any(pending_outputs(self._manifest, status)):
            self._ledger.begin_upload()
            columns["Upload_State"] = self._ledger.upload.value
        self._ledger.move(status, detail, **columns)

    def update_status(self, status: Status | str, msg: str = "") -> None:
        """Move to a status, or say something new of the present one.

        Raises:
            DerivaMLInvalidTransition: There is no such move.
        """
        self._ledger.move(Status(status), msg)

    def abort(self, reason: str = "Aborted by the user.") -> None:
        """End the run as Aborted; what it had registered stays pending."""
        self._stop(Status.aborted, reason)

    def _end_badly(self, error: BaseException, *, upload: bool) -> None:
        """Note that an error has ended the run, and keep what it had registered; the error itself goes on."""
        status = Status.aborted if isinstance(error, KeyboardInterrupt) else Status.failed
        detail = "Interrupted." if status is Status.aborted else describe_error(error)
        try:
            if is_final(self.status):
                return
            if not hasattr(self, "_manifest"):
                self._ledger.move(status, detail)
                return
            self._stop(status, detail)
            if upload and not self.dry_run:
                self.reports.append(commit(self._session, self._manifest, self._ledger))
        except DerivaMLException as second:
            # the first error must reach the caller; what is left is in the journal and can be resumed
            error.add_note(f"Then, while the failed run was recorded: {second}")
            get_logger("execution").warning("The failed run %s is not recorded whole: %s", self.execution_rid, second)

    def _close(self, *, remove: bool = True) -> None:
        """Close the journal, which the next call opens again; of a dry run, remove the directory."""
        if self._journal is not None:
            self._journal.close()
        if self.dry_run and remove:
            shutil.rmtree(self.working_dir, ignore_errors=True)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def download_dataset_bag(self, dataset: DatasetSpec) -> DatasetBag:
        """Bring another dataset during the run; that the run consumed it is recorded."""
        configuration = ExecutionConfiguration(datasets=[dataset])
        (item,) = check_inputs(self._session, configuration).datasets
        if not self.dry_run:
            record_datasets(self._session, self.execution_rid, [item])
        bag = self._bag(dataset)
        if bag.dataset_rid not in self.datasets:
            self.datasets.append(bag)
        return bag

    def download_asset(
        self,
        asset_rid: str,
        dest_dir: Path | str | None = None,
        update_catalog: bool = True,
        use_cache: bool = False,
    ) -> AssetFilePath:
        """Bring another asset during the run, to ``<dest_dir>/<RID>/<name>``.

        Args:
            asset_rid: The asset.
            dest_dir: Where to; by default the run's inputs.
            update_catalog: Record that the run consumed it; never in a dry run.
            use_cache: Keep the file in the cache for other runs.
        """
        from deriva_ml.asset.download import download, link_inputs

        path = download(self._session, asset_rid, dest_dir or self.working_dir / "inputs", use_cache=use_cache)
        if update_catalog and not self.dry_run:
            link_inputs(self._session, self.execution_rid, [asset_rid])
        return path

    def list_input_datasets(self) -> list[Dataset]:
        """The datasets that the catalog says the run consumed."""
        from deriva_ml.dataset.dataset import Dataset

        self._require_catalog("list the inputs")
        uses = list_input_datasets(self._session, self.execution_rid)
        return [Dataset(self._session, use.rid, use.description, self.execution_rid) for use in uses]

    def list_assets(self, asset_role: str | None = None) -> list[Asset]:
        """The files that the catalog says the run consumed and made.

        Args:
            asset_role: Only ``Input`` or only ``Output``.
        """
        from deriva_ml.asset.asset import Asset

        self._require_catalog("list the assets")
        return [
            Asset(
                self._session,
                use.rid,
                use.table,
                use.file_name,
                use.url,
                use.length,
                use.md5,
                use.description,
                list(use.types),
            )
            for use in list_assets(self._session, self.execution_rid, asset_role)
        ]

    # -- outputs ---------------------------------------------------------------------------------------------------

    def asset_file_path(
        self,
        asset_name: str,
        file_name: str | PurePath,
        asset_types: str | Iterable[str] | None = None,
        copy_file: bool = True,  # noqa: ARG002 - the specification's; a file is always copied, so that it is sealed
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

    def add_features(self, features: Iterable[FeatureRecord]) -> int:
        """Stage values of features; they are stored when the outputs are uploaded.

        Returns:
            How many were staged.
        """
        from deriva_ml.feature.stage import FeatureStage

        if self._features is None:
            self._features = FeatureStage(self._manifest, self.working_dir)
        return self._features.add(features, self.execution_rid)

    def create_dataset(
        self,
        dataset_types: str | list[str] | None = None,
        version: DatasetVersion | str | None = None,
        description: str = "",
    ) -> Dataset:
        """Make a dataset, recorded as made by this run.

        Raises:
            DerivaMLReadOnlyError: This is a dry run.
        """
        from deriva_ml.dataset.dataset import Dataset

        self._require_catalog("create a dataset")
        return Dataset.create_dataset(self._session, self.execution_rid, dataset_types, description, version)

    def upload_execution_outputs(
        self,
        clean_folder: bool | None = None,
        progress_callback: UploadCallback | None = None,
        max_retries: int = 3,  # noqa: ARG002 - see below
        retry_delay: float = 5.0,  # noqa: ARG002
        timeout: tuple[float, float] | None = None,  # noqa: ARG002
        chunk_size: int | None = None,  # noqa: ARG002
    ) -> dict[str, list[AssetFilePath]]:
        """Bring what the run has registered into the catalog; may be called in and after the block, several times.

        Args:
            clean_folder: Remove inputs and staged files afterwards, if the run has ended and everything is uploaded;
                by default as ``clean_execution_dir`` of the ``DerivaML`` says.
            progress_callback: Is told of each file that has been sent.
            max_retries: Accepted from existing projects; the transport repeats and times requests as it must.
            retry_delay: Likewise.
            timeout: Likewise.
            chunk_size: Likewise; the service says how much it takes at once.

        Returns:
            The files that this call brought into the catalog, by ``<schema>/<table>``; none in a dry run.

        Raises:
            DerivaMLUploadError: Some did not get there; the rest did, and the call can be repeated.
            DerivaMLUnreachable: The catalog cannot be reached.
        """
        if self.dry_run:
            self._close()
            self.uploaded_assets = {}
            return {}
        try:
            report = commit(self._session, self._manifest, self._ledger, progress=progress_callback)
        finally:
            self._close()
        self.reports.append(report)
        uploaded: dict[str, list[AssetFilePath]] = {}
        for entry in report.done:
            path = self._assets.path_of(entry)
            uploaded.setdefault(f"{entry.schema}/{entry.asset_table}", []).append(path)
        self.uploaded_assets = uploaded
        report.require_complete()
        if clean_folder is None:
            clean_folder = bool(getattr(self._ml_object, "clean_execution_dir", False))
        if clean_folder and is_final(self.status):
            clean_run_directory(self.working_dir)
        return uploaded

    # -- relatives -------------------------------------------------------------------------------------------------

    def add_nested_execution(self, nested: Execution | ExecutionRecord | str, sequence: int | None = None) -> None:
        """Make another run part of this one; without effect in a dry run.

        Args:
            nested: The other run.
            sequence: Its place among the parts.
        """
        child = nested if isinstance(nested, str) else nested.execution_rid
        if not self.dry_run and child != DRY_RUN_RID:
            records.add_nested_execution(self._session, self.execution_rid, child, sequence)

    def list_nested_executions(self, recurse: bool = False) -> list[ExecutionRecord]:
        """The runs that are part of this one, in their sequence."""
        return (
            [] if self.dry_run else records.list_nested_executions(self._session, self.execution_rid, recurse=recurse)
        )

    def list_parent_executions(self, recurse: bool = False) -> list[ExecutionRecord]:
        """The runs that this one is part of."""
        return (
            [] if self.dry_run else records.list_parent_executions(self._session, self.execution_rid, recurse=recurse)
        )

    def is_nested(self) -> bool:
        """Whether this run is part of another one."""
        return bool(self.list_parent_executions())

    def is_parent(self) -> bool:
        """Whether other runs are part of this one."""
        return bool(self.list_nested_executions())

    def _require_catalog(self, what: str) -> None:
        if self.dry_run:
            raise DerivaMLReadOnlyError(
                f"Cannot {what} in a dry run: nothing of it is in the catalog.", hint="run it without dry_run"
            )


def describe_error(error: BaseException) -> str:
    """An error as a run's status detail: its kind, its text, and the line of the user's code that it came from."""
    if isinstance(error, DerivaMLModelError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, DerivaMLException):
        return str(error)
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    last = (own or list(frames))[-1:]
    return f"{text} (at {last[0].filename}:{last[0].lineno} in {last[0].name})" if last else text
