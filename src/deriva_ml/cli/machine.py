"""What ``deriva-ml-run --json`` answers: one JSON document on standard output, and nothing else there.

The keys are the same for a run, a sweep, a dry run and a command that failed before any of these; what does not apply
is null or empty. ``docs/dry-runs.md`` documents each. `FORMAT` counts up if one changes its meaning or goes away; keys
may be added.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deriva_ml.cli.errors import exit_code
from deriva_ml.cli.terminal import json_text
from deriva_ml.core.error_text import error_text
from deriva_ml.core.exceptions import DerivaMLException, DerivaMLProblems

if TYPE_CHECKING:
    from deriva_ml.execution.dry_run import PlaceAhead
    from deriva_ml.execution.outcome import Outcome
    from deriva_ml.execution.sweep import SweepOutcome

__all__ = ["answer", "error_document", "only_json", "outcome_document", "sweep_document", "write"]

FORMAT = 1


def answer(run: Callable[[], Outcome | SweepOutcome], *, offline: bool = False, debug: bool = False) -> int:
    """Run, and print what it came to; the exit code of the command.

    Args:
        run: Understands the command and runs.
        offline: The catalog is not asked.
        debug: Show tracebacks on standard error.
    """
    from deriva_ml.cli.printer import outcome_code, show_failures, sweep_code
    from deriva_ml.execution.outcome import Outcome

    try:
        with only_json():
            came_to = run()
            show_failures(came_to, debug=debug)
            if isinstance(came_to, Outcome):
                code = outcome_code(came_to)
                document = outcome_document(came_to, code, offline=offline)
            else:
                code = sweep_code(came_to)
                document = sweep_document(came_to, code, offline=offline)
    except BaseException as error:
        write(error_document(error))
        raise
    write(document)
    return code


@contextmanager
def only_json() -> Iterator[None]:
    """Within the block whatever is printed, by a model and by what it starts too, goes to standard error."""
    out, saved = sys.stdout, None
    out.flush()
    with suppress(OSError, ValueError):
        if out.fileno() == 1:
            saved = os.dup(1)
            os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            out.flush()
        sys.stdout = out
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def write(document: dict[str, Any]) -> None:
    """Print a document, without secrets."""
    from deriva_ml.execution.environment import process_mask

    plain = process_mask().data(json.loads(json_text(document)))
    print(json.dumps(plain, indent=2, ensure_ascii=False))


def outcome_document(outcome: Outcome, code: int, *, offline: bool = False) -> dict[str, Any]:
    """What a run came to."""
    places = [outcome.ahead] if outcome.ahead is not None else []
    shared = {id(problem) for place in places for problem in place.problems}
    job = _job(outcome, shared)
    job["record"] = None
    return {
        **_head(code, dry_run=outcome.dry, offline=offline),
        "record": outcome.report,
        "jobs": [job],
        "catalogs": [_place(place) for place in places],
        "problems": [_problem(problem) for place in places for problem in place.problems],
    }


def sweep_document(sweep: SweepOutcome, code: int, *, offline: bool = False) -> dict[str, Any]:
    """What a sweep came to."""
    return {
        **_head(code, dry_run=sweep.dry, offline=offline),
        "sweep": True,
        "swept": list(sweep.swept),
        "record": sweep.report,
        "jobs": [_job(job, set()) for job in sweep.jobs],
        "catalogs": [_place(place) for place in sweep.places],
        "problems": _problems(sweep.error),
    }


def error_document(error: BaseException) -> dict[str, Any]:
    """What ended the command before there was any outcome."""
    return {**_head(exit_code(error)), "problems": _problems(error)}


def _head(code: int, *, dry_run: str = "false", offline: bool = False) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "ok": code == 0,
        "exit_code": code,
        "dry_run": str(dry_run),
        "offline": offline,
        "sweep": False,
        "swept": [],
        "record": None,
        "jobs": [],
        "catalogs": [],
        "problems": [],
    }


def _job(outcome: Outcome, shared: set[int]) -> dict[str, Any]:
    checked = outcome.checked
    configuration = checked.configuration if checked is not None else None
    datasets = configuration.datasets if configuration is not None else []
    assets = configuration.assets if configuration is not None else []
    record = outcome.report.record if outcome.report is not None else None
    return {
        "number": outcome.number,
        "overrides": _masked(outcome.overrides),
        "description": outcome.description,
        "choices": configuration.config_choices if configuration is not None else {},
        "model": checked.model if checked is not None else None,
        "workflow": _workflow(configuration.workflow if configuration is not None else None),
        "datasets": [{"rid": spec.rid, "version": str(spec.version)} for spec in datasets],
        "assets": [rid for rid in (getattr(spec, "rid", None) for spec in assets) if rid is not None],
        "files": [str(path) for path in (getattr(spec, "path", None) for spec in assets) if path is not None],
        "execution": outcome.execution_rid,
        "status": str(record.status) if record is not None else None,
        "skipped": outcome.skipped,
        "record": outcome.report,
        "problems": _problems(outcome.error, shared),
        "warnings": [_problem(warning) for warning in (checked.warnings if checked is not None else ())],
    }


def _masked(overrides: Iterable[str]) -> list[str]:
    from deriva_ml.execution.environment import process_mask

    return process_mask().argv(list(overrides))


def _workflow(workflow: Any) -> dict[str, Any] | None:
    if workflow is None:
        return None
    names = ("name", "url", "checksum", "version", "rid")
    return {**{name: getattr(workflow, name) for name in names}, "types": workflow.workflow_types}


def _place(ahead: PlaceAhead) -> dict[str, Any]:
    return {
        "hostname": ahead.hostname,
        "catalog_id": ahead.catalog_id,
        "place": ahead.place,
        "exists": ahead.exists,
        "inputs": [{**asdict(need), "known": str(need.known)} for need in ahead.needs],
        "disk": [{**asdict(room), "path": str(room.path)} for room in ahead.rooms],
        "not_checked": list(ahead.not_checked),
    }


def _problems(error: BaseException | None, left_out: Iterable[int] = ()) -> list[dict[str, Any]]:
    if error is None:
        return []
    errors = error.errors if isinstance(error, DerivaMLProblems) else (error,)
    return [_problem(each) for each in errors if id(each) not in set(left_out)]


def _problem(error: BaseException) -> dict[str, Any]:
    is_ours = isinstance(error, DerivaMLException)
    text = error_text(error)
    return {
        "type": type(error).__name__,
        "message": text.splitlines()[0] if is_ours and text else text,
        "source": getattr(error, "source", None) if is_ours else None,
        "allowed": list(getattr(error, "allowed", ())) if is_ours else [],
        "hint": getattr(error, "hint", None) if is_ours else None,
        "exit_code": exit_code(error),
    }
