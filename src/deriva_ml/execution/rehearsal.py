"""A dry run of the whole way (``dry_run=full``): inputs, model, outputs and upload, in a copy that is thrown away.

What only shows when it is done, an output that the catalog would not take among it, shows before the real run. First
everything is looked at as in any dry run; if something is wrong, no copy is made and no model is called.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLExecutionError, DerivaMLUploadError
from deriva_ml.execution.dry_run import Asked, look_at_one
from deriva_ml.execution.input_check import Inputs
from deriva_ml.execution.inputs import InputSource
from deriva_ml.execution.outcome import Child, Outcome, RunOptions
from deriva_ml.execution.preflight import Checked
from deriva_ml.execution.request import DryRun, RunRequest, open_catalog
from deriva_ml.execution.running import record_run
from deriva_ml.execution.throwaway import CopyPlace, copied, open_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deriva_ml.execution.composition import JobContext
    from deriva_ml.execution.dry_run import PlaceAhead
    from deriva_ml.execution.report import RunReport

__all__ = ["Rehearsal", "dry_error", "dry_report", "rehearse"]

HINT = "this was a dry run: nothing of it was recorded; correct it, and try again"


class Rehearsal:
    """A copy of the catalog of some runs, with the catalog that their inputs come from; a context.

    Args:
        request: A request of one of them.
        exists: The catalog is there; else the copy is a new one.
        checked: What is known of the runs.
    """

    def __init__(self, request: RunRequest, *, exists: bool, checked: Sequence[Checked]) -> None:
        self._request = request
        self._exists = exists
        self._inputs = [one.inputs for one in checked if one.inputs is not None]
        self._stack = ExitStack()
        self.place: CopyPlace | None = None

    def __enter__(self) -> CopyPlace:
        with ExitStack() as stack:
            original = stack.enter_context(open_catalog(self._request)) if self._exists else None
            session = None if original is None else original.session
            self.place = stack.enter_context(copied(session, self._inputs))
            self._stack = stack.pop_all()
        return self.place

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()


def rehearse(request: RunRequest, context: JobContext, options: RunOptions, child: Child | None = None) -> Outcome:
    """Go the whole way of a run in a copy of its catalog.

    Args:
        request: What to do.
        context: What Hydra knows about the job.
        options: What the command says.
        child: The job's place in a sweep, which has a copy for all of its jobs.
    """
    looked = look_at_one(Asked(context, request), options)
    if looked.error is not None or looked.checked is None:
        return looked
    exists = looked.ahead is not None and looked.ahead.exists is True
    if child is not None and child.copy is not None:
        return _in_copy(request, looked, child, options, child.copy, exists=exists)
    with Rehearsal(request, exists=exists, checked=[looked.checked]) as place:
        return _in_copy(request, looked, child, options, place, exists=exists)


def _in_copy(
    request: RunRequest, looked: Outcome, child: Child | None, options: RunOptions, place: CopyPlace, *, exists: bool
) -> Outcome:
    assert looked.checked is not None
    with ExitStack() as stack:
        ml = stack.enter_context(open_copy(request, place))
        if exists:
            original = stack.enter_context(open_catalog(request))
            ml.inputs_from = InputSource(original.session, looked.checked.inputs or Inputs())
        done = record_run(ml, request, replace(looked, dry=DryRun.full), child, options)
    return replace(done, report=dry_report(done.report, looked.ahead), error=dry_error(done.error))


def dry_report(report: RunReport | None, ahead: PlaceAhead | None) -> RunReport | None:
    """What was recorded in a copy, as of the catalog for which it is."""
    return report if report is None or ahead is None else replace(report, place=ahead.place)


def dry_error(error: BaseException | None) -> BaseException | None:
    """What ended a dry run, without advice that is for runs that are recorded."""
    if isinstance(error, DerivaMLUploadError):
        made = DerivaMLExecutionError(f"The outputs would not arrive. {error_text(error)}", hint=HINT)
        made.__cause__ = error
        return made
    if isinstance(error, DerivaMLException):
        error.hint = HINT
    return error
