"""Going on with a run of this machine that was left: by a crash, or on purpose."""

from __future__ import annotations

from deriva_ml.core.exceptions import DerivaMLConfigurationError, DerivaMLNotFoundError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.execution_record import lookup_execution
from deriva_ml.execution.metadata import CONFIGURATION, FOLDER
from deriva_ml.execution.outputs import execution_root
from deriva_ml.execution.recovery import incomplete_runs
from deriva_ml.schema.session import HasSession, Session, session_of

__all__ = ["restore_execution"]


def restore_execution(ml_object: HasSession | Session, execution_rid: str | None = None) -> Execution:
    """Go on with a run of this machine: nothing of it is made again, and its outputs are still there.

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
    file = execution_root(session, execution_rid) / FOLDER / CONFIGURATION
    if file.exists():
        configuration = ExecutionConfiguration.load_configuration(file)
        configuration.workflow = None  # the row says which workflow it is
    else:
        record = lookup_execution(session, execution_rid)
        configuration = ExecutionConfiguration(description=record.description)
    return Execution(configuration, ml_object, reload=execution_rid)


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
