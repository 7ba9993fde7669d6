"""Going on with a run of this machine that was left: by a crash, or on purpose.

1. To attach a run changes nothing of it: status, start, directory and manifest are as they were left.
2. A run that was left and has not ended goes on in its attempt. One that was left before it was Pending is found dead
   first, since not all of its inputs were recorded.
3. A run that Failed or was Aborted is taken up again when it is started, as its next attempt; until then only its
   outputs can be finished. Of one that is Completed nothing else can be done.
"""

from __future__ import annotations

from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import (
    DerivaMLConfigurationError,
    DerivaMLExecutionError,
    DerivaMLNotFoundError,
    DerivaMLStateInconsistency,
)
from deriva_ml.core.files import nearest
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.metadata import CONFIGURATION, FOLDER
from deriva_ml.execution.outputs import execution_root
from deriva_ml.execution.recovery import has_journal, incomplete_run, incomplete_runs, reconcile_dead_runs
from deriva_ml.execution.states import is_final, parse_status
from deriva_ml.execution.workflow import Workflow
from deriva_ml.schema.session import HasSession, Session, session_of
from deriva_ml.workspace.evidence import ProcessMark, Sign
from deriva_ml.workspace.journal import Run
from deriva_ml.workspace.manifest import MANIFEST_NAME

__all__ = ["restore_execution", "resume_execution"]

_EARLY = frozenset({Status.created, Status.initializing})
"""Statuses of a run of which not all inputs are recorded."""


def resume_execution(
    ml_object: HasSession | Session, execution_rid: str, *, workflow: Workflow | None = None
) -> Execution:
    """Go on with a run of this machine that was left; its inputs are brought if they are not here any more.

    A run that Failed or was Aborted begins its next attempt when it is started (``with run.execute():``); its outputs
    can be finished without that, with ``upload_execution_outputs``, and of one that is Completed nothing else.

    Args:
        ml_object: The catalog: a ``DerivaML`` or its session.
        execution_rid: The run.
        workflow: The code; by default as its row says.

    Raises:
        DerivaMLNotFoundError: There is no such run, or it is not of this machine.
        DerivaMLExecutionError: A process that lives, or cannot be seen from here, works on it; or it is Completed and
            everything of it is in the catalog.
        DerivaMLStateInconsistency: This machine and the catalog say different things of it.
    """
    session = session_of(ml_object)
    session.require_writable()
    run = _run_of_this_machine(session, execution_rid)
    if run is not None and _is_to_be_found(run):
        reconcile_dead_runs(session)
        run = _run_of_this_machine(session, execution_rid)
    if run is not None:
        _require_resumable(session, run)
    execution = _reattached(ml_object, session, execution_rid, workflow, resume=True)
    if not is_final(execution.status):
        execution.inputs.bring()
    return execution


def restore_execution(ml_object: HasSession | Session, execution_rid: str | None = None) -> Execution:
    """Go on with a run of this machine: nothing of it is made again, and its outputs are still there.

    A run of which everything is in the catalog can be restored too, to add outputs to it.

    Args:
        ml_object: The catalog: a ``DerivaML`` or its session.
        execution_rid: The run; by default the only one with outputs that are not in the catalog.

    Raises:
        DerivaMLNotFoundError: There is no such run here.
        DerivaMLConfigurationError: No run was named, and there are several.
    """
    session = session_of(ml_object)
    if execution_rid is None:
        execution_rid = _only_incomplete(session)
    return _reattached(ml_object, session, execution_rid)


def _reattached(
    ml_object: HasSession | Session,
    session: Session,
    execution_rid: str,
    workflow: Workflow | None = None,
    *,
    resume: bool = False,
) -> Execution:
    file = execution_root(session, execution_rid) / FOLDER / CONFIGURATION
    if file.exists():
        configuration = ExecutionConfiguration.load_configuration(file)
        configuration.workflow = None  # the row says which workflow it is
    else:
        record = lookup_execution(session, execution_rid)
        configuration = ExecutionConfiguration(description=record.description)
    return Execution(configuration, ml_object, workflow, reload=execution_rid, resume=resume)


def _only_incomplete(session: Session) -> str:
    found = [item.run.execution for item in incomplete_runs(session) if not item.is_running]
    if not found:
        raise DerivaMLNotFoundError(
            "No run of this machine has outputs that are not in the catalog.",
            source=str(session.records_dir),
            hint="name the run to restore",
        )
    if len(found) > 1:
        raise DerivaMLConfigurationError("Several runs can be restored.", allowed=found, hint="name one of them")
    return found[0]


def _run_of_this_machine(session: Session, execution_rid: str) -> Run | None:
    """The journal's entry of a run; None of one whose directory was brought here without its entry.

    Raises:
        DerivaMLNotFoundError: There is no such run, or this machine has nothing of it.
    """
    known: dict[str, Run] = {}
    if has_journal(session):
        with open_journal(session) as journal:
            known = {run.execution: run for run in journal.runs()}
    if execution_rid in known or (execution_root(session, execution_rid) / MANIFEST_NAME).exists():
        return known.get(execution_rid)
    try:
        lookup_execution(session, execution_rid)
    except DerivaMLNotFoundError as error:
        raise DerivaMLNotFoundError(
            f"There is no execution {execution_rid}.",
            source=str(session.place),
            allowed=nearest(execution_rid, known),
            hint="list_executions shows the runs of this machine",
        ) from error
    raise DerivaMLNotFoundError(
        f"Execution {execution_rid} is in the catalog, but this machine has nothing of it.",
        source=str(session.records_dir),
        hint="resume it on the machine, and with the working directory, of the run",
    )


def _is_to_be_found(run: Run) -> bool:
    """Whether a run must be marked as dead first, or its end told to the catalog."""
    status = parse_status(run.status)
    return (status in _EARLY and run.process.sign() is Sign.gone) or (is_final(status) and not run.synced)


def _require_resumable(session: Session, run: Run) -> None:
    status, rid = parse_status(run.status), run.execution
    sign = run.process.sign()
    if not is_final(status) and run.process != ProcessMark.current() and sign is not Sign.gone:
        seen = "" if sign is Sign.alive else ", and whether it is still there cannot be seen from here"
        raise DerivaMLExecutionError(
            f"Execution {rid} is {status}: process {run.process.pid} on {run.process.host} works on it{seen}.",
            hint="wait until it has ended" if sign is Sign.alive else f"resume it on {run.process.host}",
        )
    _require_agreement(session, run, status)
    if status in _EARLY:
        raise DerivaMLExecutionError(
            f"Execution {rid} was left while it was {status}: its inputs are not all recorded.",
            hint="end it (restore_execution, abort), and resume it then; or begin a new run",
        )
    if status is Status.completed and incomplete_run(run) is None:
        raise DerivaMLExecutionError(
            f"Execution {rid} is {status}, and everything of it is in the catalog: nothing is left to be done.",
            hint="read it with lookup_execution, or begin a new run; restore_execution lets outputs be added to it",
        )


def _require_agreement(session: Session, run: Run, status: Status) -> None:
    try:
        there = lookup_execution(session, run.execution).status
    except DerivaMLNotFoundError as error:
        hint = "its row was removed, or not made yet: begin a new run (deriva-ml-upload records what was left)"
        raise DerivaMLStateInconsistency(run.execution, status.value, None, hint=hint) from error
    if is_final(there) and there is not status:
        hint = "somebody else has ended it; deriva-ml-upload still brings its outputs into the catalog"
        raise DerivaMLStateInconsistency(run.execution, status.value, there.value, hint=hint)
