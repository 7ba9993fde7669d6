"""Opening a run: from what it is given to a row that is Pending, a directory, and inputs that are here.

1. Everything that the run names is checked first. Nothing is written if anything is wrong.
2. Its RID is leased and the run is noted in the journal. From now on it can be found, whatever happens.
3. Its directory is made, named by the RID, and never one that is there already.
4. Its row is made with the leased RID; it is linked to the run that it is part of; inputs are recorded and brought; the
   files that describe it are uploaded.
5. From the journal's first line on, an error ends the run as Failed, and goes on to the caller.

A dry run goes the same way without touching the catalog, in a temporary directory, and brings no inputs yet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLVocab, Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLException,
    DerivaMLExecutionError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.files import make_directory, unusable_directory
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.ending import close_run, end_badly
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import add_nested_execution, lookup_execution
from deriva_ml.execution.input_check import Inputs, check_inputs
from deriva_ml.execution.inputs import (
    DownloadNotice,
    InputSource,
    RunInputs,
    record_asset_inputs,
    record_datasets,
    store_inputs,
)
from deriva_ml.execution.ledger import Ledger, open_journal
from deriva_ml.execution.masking import Mask
from deriva_ml.execution.metadata import describe_run, stage_metadata
from deriva_ml.execution.outputs import commit, execution_root, take_over
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.states import is_final
from deriva_ml.execution.workflow import Workflow, add_workflow, lookup_workflow
from deriva_ml.schema.places import note_session
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = ["Opened", "Surroundings", "open_run", "reopen_run"]

_NO_WORKFLOW = "Workflow must be specified either in configuration or as a parameter"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a run stands, beside what it is given.

    Attributes:
        now: The clock.
        parent: The run that it is part of.
        sequence: Its place among the parts.
        hydra_output_dir: Hydra's directory for the job.
        notice: Is told how far inputs are.
        source: Where its inputs are, if they are in another catalog.
    """

    now: Callable[[], datetime]
    parent: str | None = None
    sequence: int | None = None
    hydra_output_dir: Path | None = None
    notice: DownloadNotice | None = None
    source: InputSource | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A run that this process works on.

    Attributes:
        workflow: The code.
        workflow_rid: Its row.
        working_dir: The run's directory.
        ledger: The run's status; it knows the RID.
        manifest: What the run has registered.
        inputs: What it consumes.
        configuration: What it is given, with the files of this machine named by the RIDs that they have now.
        start_time: When the model started, of a run that was left.
        stop_time: When it ended, likewise.
        asset_types: The types that an output may have, where they have been read.
    """

    workflow: Workflow
    workflow_rid: str
    working_dir: Path
    ledger: Ledger
    manifest: Manifest
    inputs: RunInputs
    configuration: ExecutionConfiguration
    start_time: datetime | None = None
    stop_time: datetime | None = None
    asset_types: Mapping[str, str] = field(default_factory=dict)


def open_run(
    session: Session,
    configuration: ExecutionConfiguration,
    workflow: Workflow | str | None,
    around: Surroundings,
    *,
    dry_run: bool = False,
) -> Opened:
    """Check what a run names, make its row, bring its inputs, and leave it Pending.

    Args:
        session: The catalog.
        configuration: What the run is given.
        workflow: The code, or the RID of its row; by default the configuration's.
        around: Where the run stands.
        dry_run: Write nothing to the catalog and bring nothing.

    Raises:
        DerivaMLConfigurationError: There is no workflow.
        DerivaMLWorkflowError: The code cannot be identified, or has uncommitted changes.
        DerivaMLDataError: An input does not exist, or is not what it is taken for.
    """
    mask = process_mask()
    code = _choose_workflow(session, configuration, workflow).resolve(allow_dirty=True if dry_run else None)
    inputs = check_inputs(session, configuration) if around.source is None else around.source.checked
    if dry_run:
        check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", code.workflow_types)
        workflow_rid = rid = DRY_RUN_RID
        directory = Path(tempfile.mkdtemp(prefix="deriva-ml-dry-run-"))
        ledger = Ledger(session, None, rid, mask=mask)
    else:
        make_directory(session.records_dir)  # where that fails, no run has begun
        note_session(session)
        _find_dead_runs(session)
        workflow_rid = add_workflow(session, code)
        (rid,) = session.catalog.lease_rids(1)
        directory = execution_root(session, rid)
        ledger = Ledger(session, open_journal(session), rid, mask=mask)
    manifest: Manifest | None = None
    try:
        ledger.open(directory, {"Workflow": workflow_rid, "Description": mask.text(configuration.description)})
        if not dry_run:
            _make_directory(directory, rid)
            configuration, inputs = store_inputs(session, configuration, inputs)
        manifest = Manifest(directory / MANIFEST_NAME, rid)
        brought = RunInputs(session, rid, directory, inputs, around.notice, around.source)
        opened = Opened(code, workflow_rid, directory, ledger, manifest, brought, configuration)
        _describe(session, opened, configuration, mask, around)
        ledger.move(Status.initializing, "Bringing inputs.")
        if not dry_run:
            _record_and_bring(session, opened, around)
        ledger.move(Status.pending, "Ready to start.")
    except BaseException as error:
        upload = not dry_run and not isinstance(error, (DerivaMLUploadError, DerivaMLUnreachable))
        end_badly(ledger, manifest, error, started=None, now=around.now(), upload=upload)
        close_run(ledger, directory)
        raise
    # Who opened the run may take a while to start it, or never do so: no database stays open for that.
    close_run(ledger, directory, remove=False)
    return opened


def _make_directory(directory: Path, rid: str) -> None:
    """Make the directory of a new run.

    Raises:
        DerivaMLExecutionError: It is there already, or cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=False)
    except FileExistsError as error:
        raise DerivaMLExecutionError(
            f"The directory of the new execution {rid} is there already: {directory}",
            hint="it is of a run that this catalog does not know, as after its folder was restored: move it away, or "
            "choose another deriva_ml.working_dir",
        ) from error
    except OSError as error:
        raise unusable_directory(directory, error) from error


def _describe(
    session: Session, opened: Opened, configuration: ExecutionConfiguration, mask: Mask, around: Surroundings
) -> None:
    """Stage the files that describe the run."""
    files = describe_run(
        configuration,
        opened.workflow,
        catalog={
            "hostname": session.place.hostname,
            "identity": session.identity,
            "catalog_id": session.catalog_id,
        },
        execution_rid=opened.ledger.execution_rid,
        mask=mask,
        now=around.now(),
        hydra_output_dir=around.hydra_output_dir,
    )
    stage_metadata(opened.manifest, opened.working_dir, session.ml_schema, files)


def _record_and_bring(session: Session, opened: Opened, around: Surroundings) -> None:
    """Say in the catalog what the run is part of and what it consumes, bring that, and upload what describes it."""
    rid, inputs = opened.ledger.execution_rid, opened.inputs
    opened.ledger.require_row()
    if around.parent is not None:
        add_nested_execution(session, around.parent, rid, around.sequence)
    record_datasets(session, rid, inputs.checked.datasets)
    record_asset_inputs(session, rid, inputs.checked.assets)
    inputs.bring()
    commit(session, opened.manifest, opened.ledger, settle=False).require_complete()


def reopen_run(
    session: Session, configuration: ExecutionConfiguration, execution_rid: str, workflow: Workflow | str | None = None
) -> Opened:
    """Go on with a run of this machine: its status, its directory and its manifest are as they were left.

    Args:
        session: The catalog.
        configuration: What the run is given.
        execution_rid: The run.
        workflow: The code, or the RID of its row; by default as the configuration or the run's row says.
    """
    directory = execution_root(session, execution_rid)
    journal = open_journal(session)
    try:
        record = lookup_execution(session, execution_rid)
        ledger = take_over(session, journal, execution_rid, directory)
        workflow_rid = record.workflow_rid or ""
        if workflow is None and configuration.workflow is None:
            code = lookup_workflow(session, workflow_rid)
        else:
            code = _choose_workflow(session, configuration, workflow)
        checked = Inputs() if is_final(ledger.status) else check_inputs(session, configuration)
        if checked.local:
            configuration, checked = store_inputs(session, configuration, checked)
            record_asset_inputs(session, execution_rid, checked.assets)
        inputs = RunInputs(session, execution_rid, directory, checked)
        manifest = Manifest(directory / MANIFEST_NAME, execution_rid)
    except BaseException:
        journal.close()
        raise
    times = record.start_time, record.stop_time
    return Opened(code, workflow_rid, directory, ledger, manifest, inputs, configuration, *times)


def _choose_workflow(
    session: Session, configuration: ExecutionConfiguration, workflow: Workflow | str | None
) -> Workflow:
    chosen = workflow if workflow is not None else configuration.workflow
    if chosen is None:
        raise DerivaMLConfigurationError(_NO_WORKFLOW, hint="choose one with workflow=... in the configuration")
    if isinstance(chosen, str):
        return lookup_workflow(session, chosen)
    if not isinstance(chosen, Workflow):
        raise DerivaMLConfigurationError(
            f"Workflow must be a Workflow object, not {type(chosen).__name__}.",
            hint="use ml.lookup_workflow(rid) or ml.lookup_workflow_by_url(url) to get a Workflow object",
        )
    return chosen


def _find_dead_runs(session: Session) -> None:
    """Mark the runs of this machine that were killed; that this cannot be done now is no reason not to run."""
    try:
        for run in reconcile_dead_runs(session):
            get_logger("execution").warning("Execution %s was found dead: %s", run.execution, run.detail)
    except DerivaMLException as error:
        get_logger("execution").warning("Earlier runs of this machine cannot be looked after: %s", error)
