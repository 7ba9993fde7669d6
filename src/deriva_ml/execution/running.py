"""One run that was checked: opened, its model called, its outputs uploaded, and what was recorded read back.

A model that raises ends a run that is recorded as Failed, with the outputs that it had registered and the traceback.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deriva_ml.core.config import place_flags
from deriva_ml.core.enums import Status
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import (
    DerivaMLDataError,
    DerivaMLException,
    DerivaMLModelError,
    DerivaMLUnreachable,
    DerivaMLUploadError,
)
from deriva_ml.core.logging_config import get_logger
from deriva_ml.execution.config_sources import user_line
from deriva_ml.execution.isolation import Isolation, call_isolated
from deriva_ml.execution.model_end import ended_itself
from deriva_ml.execution.model_protocol import model_name
from deriva_ml.execution.outcome import Child, Outcome, RunOptions
from deriva_ml.execution.states import Upload

if TYPE_CHECKING:
    from deriva_ml.execution.anew import Earlier
    from deriva_ml.execution.execution_configuration import ExecutionConfiguration
    from deriva_ml.execution.report import RunReport
    from deriva_ml.execution.request import RunRequest

__all__ = ["finish", "record_run"]

LONGEST_TRACEBACK = 200_000


def record_run(
    ml: Any,
    request: RunRequest,
    outcome: Outcome,
    child: Child | None,
    options: RunOptions,
    isolation: Isolation | None = None,
) -> Outcome:
    """Open the execution, call the model, upload.

    Args:
        ml: The catalog in which it is recorded.
        request: What to do.
        outcome: What is known of the job, with what was checked.
        child: The job's place in a sweep.
        options: What the command says.
        isolation: The process that calls the model; by default this one does.
    """
    assert outcome.checked is not None
    ml.on_download = options.on_download
    execution, why_new = _begin(ml, outcome.checked.configuration, outcome.number, child, options.earlier)
    error: BaseException | None = None
    flags = place_flags(outcome.hostname, outcome.catalog_id)
    if not gc.isenabled():  # a command does without while it starts; what it has made by now lasts
        gc.freeze()
        gc.enable()
    with execution.at_hand():
        try:
            with _way_out_told(execution, flags), execution.execute() as running:
                if isolation is None:
                    _call(request.model, ml, running)
                else:
                    call_isolated(isolation, request.model, ml, running, request.limits)
            if execution.status in {Status.failed, Status.aborted}:
                error = ended_itself(request.model, execution)
        except DerivaMLModelError as raised:
            error = raised
        upload = {**request.upload_options(), "progress_callback": options.on_upload}
        report, error = finish(execution, error, flags, upload)
    rid, description = execution.execution_rid, execution.configuration.description
    came_to = {"execution_rid": rid, "report": report, "error": error, "description": description}
    return replace(outcome, **came_to, why_new=why_new)


def _begin(
    ml: Any, configuration: ExecutionConfiguration, number: int | None, child: Child | None, earlier: Earlier | None
) -> tuple[Any, str]:
    """A run that is ready to start: a new one, or an earlier one taken up again; and why it is new all the same."""
    place: dict[str, Any] = {}
    if child is not None and child.parent_rid is not None:
        place = {"parent": child.parent_rid, "sequence": number}
    if earlier is None:
        return ml.create_execution(configuration, **place), ""
    from deriva_ml.execution.resume import resume_execution

    assert configuration.workflow is not None
    why_new = earlier.why_new(ml, configuration.workflow)
    if why_new is not None:
        return ml.create_execution(configuration, **place, instead_of=earlier.record(ml)), why_new
    execution = resume_execution(ml, earlier.execution_rid, workflow=configuration.workflow)
    execution.take_up()
    return execution, ""


def finish(
    execution: Any, error: BaseException | None, place: str = "", upload: Mapping[str, Any] | None = None
) -> tuple[RunReport | None, BaseException | None]:
    """Upload what a run that has ended registered, and read back what was recorded.

    Args:
        execution: The run.
        error: What ended it, if it was an error; it is the news, whatever goes wrong afterwards.
        place: Flags that name the catalog in commands.
        upload: Arguments of the upload.

    Returns:
        What was recorded, None if the catalog could not be asked; and the error to tell.
    """
    try:
        with _way_out_told(execution, place):
            execution.upload_execution_outputs(**(upload or {}))
    except DerivaMLDataError as raised:  # the run's own notes may be damaged; what the catalog has is told
        error = error or raised
    except DerivaMLUploadError as raised:
        error = error or raised
    except DerivaMLException as raised:
        return None, _kept_here(execution, error, raised, place)
    report = None
    try:
        report = execution.describe()
    except DerivaMLUnreachable as raised:
        _say_unread(execution, raised, place, complete=error is None)
    except DerivaMLException as raised:
        error = error or raised
    if place and isinstance(error, DerivaMLException) and error.hint and place not in error.hint:
        rid = execution.execution_rid
        error.hint = error.hint.replace(f" {rid}", f" {rid}{place}")  # the commands in it need the catalog too
    return report, error


def _way_out(execution: Any, place: str) -> str:
    """How what a run has made gets into the catalog, if its own process could not bring it there."""
    rid = execution.execution_rid
    text = f"what execution {rid} made is kept on this machine; once the catalog answers again: "
    return f"{text}deriva-ml-upload --execution {rid}{place}"


def _kept_here(
    execution: Any, error: BaseException | None, raised: DerivaMLException, place: str
) -> DerivaMLException | BaseException:
    """The error of a run of which nothing could be uploaded: what the model raised, or why that could not be done."""
    text = _way_out(execution, place)
    if isinstance(error, DerivaMLException):
        error.hint = text
        return error
    reason = error_text(raised).splitlines()[0]
    if isinstance(raised, DerivaMLUnreachable):
        told = f"The catalog was lost while execution {execution.execution_rid} ran: {reason}"
    else:
        told = f"The outputs of execution {execution.execution_rid} could not be uploaded: {reason}"
        text = f"{raised.hint}; {text}" if raised.hint else text
    kept = DerivaMLUploadError(told, hint=text)
    kept.__cause__ = raised
    return error or kept


def _say_unread(execution: Any, raised: DerivaMLUnreachable, place: str, *, complete: bool) -> None:
    """Say that a run is recorded, though that cannot be shown."""
    rid = execution.execution_rid
    get_logger("execution").warning(
        "Execution %s is recorded%s, which cannot be shown now (%s). Later: deriva-ml-show %s%s",
        rid,
        " with all its outputs" if complete else "",
        error_text(raised).splitlines()[0],
        rid,
        place,
    )


@contextmanager
def _way_out_told(execution: Any, place: str) -> Iterator[None]:
    """An interruption in this block says how the outputs that wait on this machine get into the catalog."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if execution.upload_state in {Upload.pending, Upload.failed}:
            stop.args = (f"{error_text(stop) or 'Interrupted.'} W{_way_out(execution, place)[1:]}",)
        raise


def _call(model: Any, ml: Any, execution: Any) -> None:
    """Call the model; keep the traceback of what it raises with the run.

    Raises:
        DerivaMLModelError: The model raised, or called ``sys.exit`` with something else than success.
    """
    try:
        model(ml_instance=ml, execution=execution)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, SystemExit) and (error.code is None or error.code == 0):
            return
        with suppress(Exception):  # the model's error is the news, whatever becomes of its traceback
            _keep_traceback(execution, error)
        lines = error_text(error).strip().splitlines()
        raise DerivaMLModelError(
            f"The model {model_name(model)} raised {type(error).__name__}: {lines[0] if lines else ''}".rstrip(": "),
            source=user_line(error),
            hint=f"the run is recorded as Failed, with its outputs so far: deriva-ml-show {execution.execution_rid}",
        ) from error


def _keep_traceback(execution: Any, error: BaseException) -> None:
    from deriva_ml.execution.attempts import numbered
    from deriva_ml.execution.environment import mask

    name = numbered("traceback.txt", execution.attempt)
    path = execution.asset_file_path(
        "Execution_Metadata", name, asset_types="Execution_Metadata", description="what the model raised"
    )
    text = "".join(traceback.format_exception(error))
    if len(text) > LONGEST_TRACEBACK:
        text = f"{text[: LONGEST_TRACEBACK // 2]}\n...\n{text[-LONGEST_TRACEBACK // 2 :]}"
    path.write_text(mask(text), encoding="utf-8", errors="backslashreplace")
