"""Runs and uploads in processes that are killed at one of their requests, or at one of their writes on this machine.

A harness process (``python -m tests.execution.killed ROOT MODEL``), under the library made of ``tests/server/kill.c``,
loads everything once; for each line that it reads, a JSON document with the work and the point, it forks a child.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.dataset.killed import Deadly
from tests.harness import asking, serve

from deriva_ml.core.enums import Status
from deriva_ml.execution.committing import commit_pending_executions
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.execution_configuration import ExecutionConfiguration
from deriva_ml.execution.local_runs import list_executions
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.resume import resume_execution
from deriva_ml.execution.uses import list_assets
from deriva_ml.execution.workflow import Workflow
from deriva_ml.ml import DerivaML
from deriva_ml.schema.session import Session

FILES = ("one.txt", "two.txt")
ROWS = ("new 1", "new 2")


def _run(ml: DerivaML, session: Session, work: dict[str, Any], say: Callable[[str], None]) -> None:
    """A run with files, values of a feature and rows of a table; what has been registered and written is said."""
    _call(ml, _begun(session, work), work, say)


def _resume(ml: DerivaML, session: Session, work: dict[str, Any], say: Callable[[str], None]) -> None:
    """The run that did not complete, taken up again; one is made if there is none."""
    reconcile_dead_runs(session)
    left = [run.execution_rid for run in list_executions(session) if run.status in {Status.aborted, Status.failed}]
    if not left:
        _abort(ml, session, work, say)
        left = [list_executions(session)[0].execution_rid]
    _call(ml, resume_execution(session, left[0]), work, say)


def _anew(ml: DerivaML, session: Session, work: dict[str, Any], say: Callable[[str], None]) -> None:
    """A run that stands for an earlier one, the first that there is."""
    if not list_executions(session):
        _abort(ml, session, work, say)
    earlier = list_executions(session)[-1].execution_rid
    record = next(use.rid for use in list_assets(session, earlier, "Output") if use.file_name == "configuration.json")
    execution = _begun(session, work, instead_of=record)
    if work.get("until") == "opened":
        os.kill(os.getpid(), signal.SIGKILL)
    _call(ml, execution, work, say)


def _abort(_ml: DerivaML, session: Session, work: dict[str, Any], _say: Callable[[str], None]) -> None:
    _begun(session, work).abort()


def _begun(session: Session, work: dict[str, Any], **place: Any) -> Execution:
    workflow = Workflow(name="Test", workflow_type="Training").resolve(Path(work["model"]))
    return Execution(ExecutionConfiguration(workflow=workflow, description="killed", argv=["run"]), session, **place)


def _call(ml: DerivaML, execution: Execution, work: dict[str, Any], say: Callable[[str], None]) -> None:
    subjects = [row["RID"] for row in ml.get_table_as_dict("Subject") if row["Name"].startswith("S")]
    with execution:
        for name in FILES:
            execution.asset_file_path("Execution_Asset", name, asset_types="Model_File").write_text(name)
            say(name)
        score = ml.feature_record_class("Subject", "Score")
        execution.add_features(score(Subject=rid, Value=0.5) for rid in subjects)
        say("values")
        written = Path(work["root"]).with_suffix(".rows")
        written.write_text("\n".join(["Name", *ROWS, ""]))
        written.replace(execution.table_path("Subject"))
        say("rows")
        if work.get("until") == "registered":
            os.kill(os.getpid(), signal.SIGKILL)
    execution.upload_execution_outputs()


def _upload(_ml: DerivaML, session: Session, _work: dict[str, Any], _say: Callable[[str], None]) -> None:
    commit_pending_executions(session).require_complete()


WORK = {"run": _run, "upload": _upload, "resume": _resume, "abort": _abort, "anew": _anew}


def _child(work: dict[str, Any]) -> None:
    root = Path(work["root"])
    log = root.with_suffix(".log").open("a")

    def say(what: str) -> None:
        log.write(f"{what}\n")
        log.flush()

    with DerivaML(str(root), 1) as ml:
        ml.session.model()
        transport = Deadly(ml.connection.transport, work.get("request", -1), work.get("when", "before"))
        catalog, objects = type(ml.session.catalog), type(ml.session.objects)
        session = replace(ml.session, catalog=catalog(transport, "1"), objects=objects(transport))
        os.environ["KILL_AFTER"] = str(work.get("write", 0))
        os.environ["KILL_ROOT"] = f"{session.records_dir}/"
        WORK[work["name"]](ml, session, work, say)
    root.with_suffix(".count").write_text(f"{transport.count} {ctypes.CDLL(None).kill_calls()}")


def main() -> None:
    root, model = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        # Everything that is imported on the way is there before the first fork.
        copy = Path(folder) / "catalog"
        shutil.copytree(root, copy)
        with DerivaML(str(copy), 1) as ml:
            for work in WORK.values():
                work(ml, ml.session, {"root": str(copy), "model": model}, lambda _what: None)
    serve(lambda work: _child({**work, "model": model}))


def killing(library: Path, root: Path, model: Path) -> AbstractContextManager[Callable[..., int]]:
    """Gives what does work on a catalog in a process that is killed, and tells the exit code."""
    return asking("tests.execution.killed", str(root), str(model), environ={"LD_PRELOAD": str(library)})


if __name__ == "__main__":
    main()
