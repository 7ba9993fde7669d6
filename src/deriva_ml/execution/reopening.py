"""A run of this machine that another process has left: attached as it is, or taken up again for its next attempt.

1. To attach a run changes nothing of it: status, directory and manifest are as they were left.
2. A run that Failed or was Aborted is taken up in one transaction of the journal: of two processes that try, one does.
   From then on it goes as in ``opening``: what became of the attempts before is told, inputs are recorded again, which
   changes nothing, and brought, and the run is Pending. An error there ends the new attempt as Failed.
3. What the earlier attempts left in the run's directory is still there; what they registered and never wrote is given
   up until somebody registers it again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLExecutionError, DerivaMLUnreachable, DerivaMLUploadError
from deriva_ml.execution.attempts import attempt_files, attempt_number, numbered
from deriva_ml.execution.ending import close_run, end_badly
from deriva_ml.execution.environment import process_mask
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.finishing import give_up_unwritten, take_over
from deriva_ml.execution.input_check import Inputs, check_inputs
from deriva_ml.execution.inputs import RunInputs, record_asset_inputs, store_inputs
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.metadata import CONFIGURATION, FOLDER, describe_environment, stage_metadata
from deriva_ml.execution.opening import Opened, Surroundings, choose_workflow, record_and_bring
from deriva_ml.execution.outputs import execution_root
from deriva_ml.execution.states import is_final
from deriva_ml.execution.workflow import Workflow, lookup_workflow
from deriva_ml.schema.session import Session
from deriva_ml.workspace.journal import Journal
from deriva_ml.workspace.manifest import MANIFEST_NAME, Manifest

__all__ = ["reopen_run", "take_up"]


def reopen_run(
    session: Session, configuration: ExecutionConfiguration, execution_rid: str, workflow: Workflow | str | None = None
) -> Opened:
    """Attach a run of this machine: its status, its directory and its manifest are as they were left.

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
            code = choose_workflow(session, configuration, workflow)
        checked = Inputs() if is_final(ledger.status) else check_inputs(session, configuration)
        if checked.local:
            configuration, checked = store_inputs(session, configuration, checked)
            record_asset_inputs(session, execution_rid, checked.assets)
        inputs = RunInputs(session, execution_rid, directory, checked)
        manifest = Manifest(directory / MANIFEST_NAME, execution_rid)
        attempt = attempt_number(journal, execution_rid)
        if not is_final(ledger.status):
            ledger.hold()
    except BaseException:
        journal.close()
        raise
    times = record.start_time, record.stop_time
    return Opened(code, workflow_rid, directory, ledger, manifest, inputs, configuration, *times, attempt)


def take_up(session: Session, left: Opened, around: Surroundings) -> Opened:
    """Begin the next attempt of a run that did not complete, and leave it Pending.

    Args:
        session: The catalog.
        left: The run, attached.
        around: Where it stands; what it is part of is known already.

    Raises:
        DerivaMLInvalidTransition: It completed, or has not ended.
        DerivaMLExecutionError: Another process has just taken it up; or it ended before it was written down what it
            was to do.
        DerivaMLDataError: An input does not exist any more.
    """
    ledger = left.ledger
    relatives = _relatives(left)
    checked = check_inputs(session, left.configuration)
    ledger.take_up("It is taken up again.")
    journal = ledger.journal
    assert journal is not None
    try:
        attempt = attempt_number(journal, ledger.execution_rid)
        _describe(session, left, journal, attempt, around)
        inputs = RunInputs(session, ledger.execution_rid, left.working_dir, checked, around.notice)
        opened = replace(left, inputs=inputs, start_time=None, stop_time=None, attempt=attempt)
        ledger.move(Status.initializing, f"Attempt {attempt}: bringing inputs.")
        record_and_bring(session, opened, replace(around, **relatives))
        ledger.move(Status.pending, f"Attempt {attempt}: ready to start.")
    except BaseException as error:
        upload = not isinstance(error, (DerivaMLUploadError, DerivaMLUnreachable))
        end_badly(ledger, left.manifest, error, started=None, now=around.now(), upload=upload)
        raise
    finally:
        close_run(ledger, left.working_dir, remove=False)
    return opened


def _describe(session: Session, left: Opened, journal: Journal, attempt: int, around: Surroundings) -> None:
    """Tell the attempts before, and in which environment this one begins."""
    give_up_unwritten(left.manifest)
    environment = describe_environment(left.workflow, None, around.now())
    files = [
        *attempt_files(journal, left.manifest, process_mask()),
        replace(environment, name=numbered(environment.name, attempt)),
    ]
    stage_metadata(left.manifest, left.working_dir, session.ml_schema, files)


def _relatives(left: Opened) -> dict[str, Any]:
    """What the run is part of, and instead of which it is, as it was written down when it was opened.

    Raises:
        DerivaMLExecutionError: It had not come so far.
    """
    file = left.working_dir / FOLDER / CONFIGURATION
    if not file.exists():
        raise DerivaMLExecutionError(
            f"Execution {left.ledger.execution_rid} ended before it was written down what it was to do.",
            source=str(file),
            hint="begin a new run",
        )
    told = json.loads(file.read_text(encoding="utf-8"))
    place = told.get("part_of") or {}
    return {
        "parent": place.get("execution"),
        "sequence": place.get("sequence"),
        "instead_of": told.get("instead_of"),
    }
