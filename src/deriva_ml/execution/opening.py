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
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLVocab, Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLExecutionError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.files import make_directory, unusable_directory
from deriva_ml.execution.ending import close_run, end_badly
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import add_nested_execution
from deriva_ml.execution.input_check import check_inputs
from deriva_ml.execution.inputs import (
    DownloadNotice,
    InputSource,
    RunInputs,
    record_asset_inputs,
    record_datasets,
    store_inputs,
)
from deriva_ml.execution.ledger import Ledger, duration_text, open_journal
from deriva_ml.execution.masking import Mask
from deriva_ml.execution.metadata import describe_run, stage_metadata
from deriva_ml.execution.outputs import commit_description, execution_root
from deriva_ml.execution.recovery import find_dead_runs
from deriva_ml.execution.workflow import Workflow, add_workflow, lookup_workflow
from deriva_ml.schema.places import note_session
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = ["Opened", "Surroundings", "choose_workflow", "open_run", "record_and_bring"]

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
        instead_of: The ``configuration.json`` of an earlier run that this one does anew, as an asset: it is linked as
            soon as the row is there.
    """

    now: Callable[[], datetime]
    parent: str | None = None
    sequence: int | None = None
    hydra_output_dir: Path | None = None
    notice: DownloadNotice | None = None
    source: InputSource | None = None
    instead_of: str | None = None


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
        attempt: How often its model was to be called by now, this time included.
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
    attempt: int = 1


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
    code = choose_workflow(session, configuration, workflow).resolve(allow_dirty=True if dry_run else None)
    inputs = check_inputs(session, configuration) if around.source is None else around.source.checked
    if dry_run:
        check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", code.workflow_types)
        workflow_rid = rid = DRY_RUN_RID
        directory = Path(tempfile.mkdtemp(prefix="deriva-ml-dry-run-"))
        ledger = Ledger(session, None, rid, mask=mask)
    else:
        make_directory(session.records_dir)  # where that fails, no run has begun
        note_session(session)
        find_dead_runs(session)
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
            record_and_bring(session, opened, around)
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
    """Stage the files that describe the run; they say what it will be linked with, should it not come to that."""
    relatives: dict[str, object] = {}
    if around.parent is not None:
        relatives["part_of"] = {"execution": around.parent, "sequence": around.sequence}
    if around.instead_of is not None:
        relatives["instead_of"] = around.instead_of
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
        relatives=relatives,
    )
    stage_metadata(opened.manifest, opened.working_dir, session.ml_schema, files)


def record_and_bring(session: Session, opened: Opened, around: Surroundings) -> None:
    """Say in the catalog what the run is part of and what it consumes, bring that, and upload what describes it.

    Raises:
        DerivaMLUploadError: What describes it did not get there.
    """
    rid, inputs = opened.ledger.execution_rid, opened.inputs
    if around.parent is not None:
        add_nested_execution(session, around.parent, rid, around.sequence)
    if around.instead_of is not None:
        from deriva_ml.asset.download import link_inputs

        link_inputs(session, rid, [around.instead_of])
    record_datasets(session, rid, inputs.checked.datasets)
    record_asset_inputs(session, rid, inputs.checked.assets)
    bring_timed(opened.ledger, inputs)
    commit_description(session, opened.manifest, opened.ledger).require_complete()


def bring_timed(ledger: Ledger, inputs: RunInputs) -> None:
    """Bring inputs, and say with the next move how long that took, also if it failed."""
    began = time.monotonic()
    try:
        inputs.bring()
    finally:
        ledger.add(Download_Duration=duration_text(time.monotonic() - began))


def choose_workflow(
    session: Session, configuration: ExecutionConfiguration, workflow: Workflow | str | None
) -> Workflow:
    """The code of a run: as it is given, else as the configuration says.

    Raises:
        DerivaMLConfigurationError: Neither says it, or it is no workflow.
    """
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
