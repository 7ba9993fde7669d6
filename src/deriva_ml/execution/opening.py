"""Opening a run: from what it is given to a row that is Pending, a directory, and inputs that are here.

1. Everything that the run names is checked first. Nothing is written if anything is wrong.
2. Its RID is leased and the run is noted in the journal. From now on it can be found, whatever happens.
3. Its directory is made, named by the RID, and never one that is there already.
4. Its row is made with the leased RID; it is linked to the run that it is part of; inputs are recorded and brought; the
   files that describe it are uploaded.
5. From the journal's first line on, an error ends the run as Failed, and goes on to the caller.

A dry run is checked in the same way and has no directory until it needs one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from deriva_ml.core.constants import DRY_RUN_RID
from deriva_ml.core.enums import MLVocab, Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLExecutionError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.files import make_directory, unusable_directory
from deriva_ml.core.values import dataclass
from deriva_ml.execution.ending import end_badly
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import add_nested_execution
from deriva_ml.execution.input_check import Inputs, check_inputs
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
from deriva_ml.execution.metadata import MetadataFile, describe_run, stage_metadata
from deriva_ml.execution.outputs import commit_description, execution_root
from deriva_ml.execution.recovery import find_dead_runs
from deriva_ml.execution.states import is_final
from deriva_ml.execution.workflow import Workflow, add_workflow, lookup_workflow
from deriva_ml.schema.places import note_session
from deriva_ml.schema.session import Session
from deriva_ml.schema.vocabulary import check_terms
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = ["Checked", "Opened", "Surroundings", "check_run", "choose_workflow", "open_run", "record_and_bring"]

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
    attempt: int = 1
    asset_types: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_made(self) -> bool:
        """Whether there is a directory: always."""
        return True


class Checked:
    """A dry run: everything that it names was checked. What it needs of the disk is made when it is first asked for.

    It has what an opened run has.
    """

    start_time: datetime | None = None
    stop_time: datetime | None = None
    attempt = 1
    asset_types: Mapping[str, str] = MappingProxyType({})
    workflow_rid = DRY_RUN_RID

    def __init__(
        self,
        session: Session,
        workflow: Workflow,
        configuration: ExecutionConfiguration,
        inputs: Inputs,
        around: Surroundings,
        files: Sequence[MetadataFile],
        ledger: Ledger,
    ) -> None:
        self.workflow = workflow
        self.configuration = configuration
        self.ledger = ledger
        self.inputs = RunInputs(session, DRY_RUN_RID, lambda: self.working_dir, inputs, around.notice, around.source)
        self._schema = session.ml_schema
        self._files = files

    @property
    def is_made(self) -> bool:
        """Whether there is a directory, or was one."""
        return "working_dir" in self.__dict__

    @cached_property
    def working_dir(self) -> Path:
        """A temporary directory, made when it is first asked for."""
        made = Path(tempfile.mkdtemp(prefix="deriva-ml-dry-run-"))
        if is_final(self.ledger.status):
            made.rmdir()  # who asks when the run has ended would leave it behind
        return made

    @cached_property
    def manifest(self) -> Manifest:
        """What the run has registered: the files that describe it, as in any run.

        Raises:
            DerivaMLExecutionError: The run has ended.
        """
        if is_final(self.ledger.status):
            raise DerivaMLExecutionError(
                "The dry run has ended: what it registers now would be kept by nobody.",
                hint="make a new one, or run it without dry_run",
            )
        manifest = Manifest(self.working_dir / MANIFEST_NAME, DRY_RUN_RID)
        stage_metadata(manifest, self.working_dir, self._schema, self._files)
        return manifest


def open_run(
    session: Session,
    configuration: ExecutionConfiguration,
    workflow: Workflow | str | None,
    around: Surroundings,
) -> Opened:
    """Check what a run names, make its row, bring its inputs, and leave it Pending.

    Args:
        session: The catalog.
        configuration: What the run is given.
        workflow: The code, or the RID of its row; by default the configuration's.
        around: Where the run stands.

    Raises:
        DerivaMLConfigurationError: There is no workflow.
        DerivaMLWorkflowError: The code cannot be identified, or has uncommitted changes.
        DerivaMLDataError: An input does not exist, or is not what it is taken for.
    """
    mask = process_mask()
    code = choose_workflow(session, configuration, workflow).resolve(allow_dirty=None)
    inputs = check_inputs(session, configuration) if around.source is None else around.source.checked
    make_directory(session.records_dir)  # where that fails, no run has begun
    note_session(session)
    find_dead_runs(session)
    workflow_rid = add_workflow(session, code)
    (rid,) = session.catalog.lease_rids(1)
    directory = execution_root(session, rid)
    ledger = Ledger(session, open_journal(session), rid, mask=mask)
    manifest: Manifest | None = None
    # Who opened the run may take a while to start it, or never do so: no database stays open for that.
    with ledger.at_hand():
        try:
            ledger.open(directory, {"Workflow": workflow_rid, "Description": mask.text(configuration.description)})
            _make_directory(directory, rid)
            configuration, inputs = store_inputs(session, configuration, inputs)
            manifest = Manifest(directory / MANIFEST_NAME, rid)
            brought = RunInputs(session, rid, directory, inputs, around.notice, around.source)
            opened = Opened(code, workflow_rid, directory, ledger, manifest, brought, configuration)
            files = _description(session, rid, code, configuration, mask, around)
            stage_metadata(manifest, directory, session.ml_schema, files)
            ledger.move(Status.initializing, "Bringing inputs.")
            record_and_bring(session, opened, around)
            ledger.move(Status.pending, "Ready to start.")
        except BaseException as error:
            upload = not isinstance(error, (DerivaMLUploadError, DerivaMLUnreachable))
            end_badly(ledger, manifest, error, started=None, now=around.now(), upload=upload)
            raise
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


def _description(
    session: Session,
    rid: str,
    code: Workflow,
    configuration: ExecutionConfiguration,
    mask: Mask,
    around: Surroundings,
) -> list[MetadataFile]:
    """The files that describe the run; they say what it will be linked with, should it not come to that."""
    place = {"hostname": session.place.hostname, "identity": session.identity, "catalog_id": session.catalog_id}
    relatives: dict[str, object] = {}
    if around.parent is not None:
        relatives["part_of"] = {"execution": around.parent, "sequence": around.sequence}
    if around.instead_of is not None:
        relatives["instead_of"] = around.instead_of
    return describe_run(
        configuration,
        code,
        catalog=place,
        execution_rid=rid,
        mask=mask,
        now=around.now(),
        hydra_output_dir=around.hydra_output_dir,
        relatives=relatives,
    )


def check_run(
    session: Session,
    configuration: ExecutionConfiguration,
    workflow: Workflow | str | None,
    around: Surroundings,
) -> Checked:
    """Check what a run names, as it is checked when one is opened, and write nothing anywhere.

    Args:
        session: The catalog.
        configuration: What the run is given.
        workflow: The code, or the RID of its row; by default the configuration's.
        around: Where the run stands.

    Raises:
        DerivaMLConfigurationError: There is no workflow.
        DerivaMLWorkflowError: The code cannot be identified.
        DerivaMLDataError: An input does not exist, or is not what it is taken for.
    """
    mask = process_mask()
    code = choose_workflow(session, configuration, workflow).resolve(allow_dirty=True)
    inputs = check_inputs(session, configuration) if around.source is None else around.source.checked
    check_terms(session, f"{session.ml_schema}:{MLVocab.workflow_type}", code.workflow_types)
    files = _description(session, DRY_RUN_RID, code, configuration, mask, around)
    checked = Checked(
        session, code, configuration, inputs, around, files, Ledger(session, None, DRY_RUN_RID, mask=mask)
    )
    checked.ledger.move(Status.initializing, "Bringing inputs.")
    checked.ledger.move(Status.pending, "Ready to start.")
    return checked


def record_and_bring(session: Session, opened: Opened, around: Surroundings) -> None:
    """Say in the catalog what the run is part of and what it consumes, bring that, and upload what describes it.

    Raises:
        DerivaMLUploadError: What describes it did not get there.
    """
    rid, inputs = opened.ledger.execution_rid, opened.inputs
    opened.ledger.require_row()
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
