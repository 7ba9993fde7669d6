"""What waits on this machine is brought into the catalog: all of it, each once, whatever was killed before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from tests.execution.killed import FILES, ROWS, killing

from deriva_ml.cli.upload import main as upload
from deriva_ml.core.enums import Status
from deriva_ml.core.exceptions import DerivaMLNotFoundError, DerivaMLUploadError
from deriva_ml.execution.execution import Execution
from deriva_ml.execution.ledger import open_journal
from deriva_ml.execution.recovery import reconcile_dead_runs
from deriva_ml.execution.report import describe
from deriva_ml.ml import DerivaML
from deriva_ml.wire.path import table
from deriva_ml.workspace.manifest import MANIFEST_NAME

STEP = int(os.environ.get("DERIVA_ML_TEST_STEP", "8"))
"""Of the points at which a process is killed, every so many are tried (of its writes, four times as many lie between);
1 tries all."""


@dataclass
class Killing:
    """Does work in processes that are killed, each on a fresh copy of a catalog."""

    work: Callable[..., int]
    template: Path
    folder: Path
    numbers: Iterator[int]

    def fresh(self) -> Path:
        """A copy of the catalog, with records of its own."""
        copy = self.folder / f"catalog-{next(self.numbers)}"
        shutil.copytree(self.template, copy)
        return copy

    def remove(self, copy: Path) -> None:
        """Remove a copy that was looked at: where every point is tried there are hundreds."""
        shutil.rmtree(copy)

    def counts(self, name: str, root: Path) -> tuple[int, int]:
        """How many requests and writes the work makes that nobody kills."""
        assert self.work(name=name, root=str(root)) == 0
        requests, writes = root.with_suffix(".count").read_text().split()
        return int(requests), int(writes)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("stops are made by a library that a C compiler builds, for Linux")
    built = tmp_path_factory.mktemp("library") / "kill.so"
    source = Path(__file__).parents[1] / "server" / "kill.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True)
    return built


@pytest.fixture
def deadly(library, world, project, tmp_path) -> Iterator[Killing]:
    root = Path(world.ml.host_name)
    folder = tmp_path / "copies"
    folder.mkdir()
    with killing(library, root, project / "src" / "model.py") as work:
        yield Killing(work, root, folder, count())


def check_whole(root: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One upload, and the catalog is as if nothing had happened: nothing lost, nothing twice; another finds nothing."""
    assert upload(["--host", str(root)]) == 0, (where, capsys.readouterr())
    first = check_catalog(root, where)
    capsys.readouterr()
    assert upload(["--host", str(root)]) == 0, where
    assert "Nothing to upload" in capsys.readouterr().out, where
    assert check_catalog(root, where) == first, where


def check_catalog(root: Path, where: str) -> dict[str, int]:
    log = root.with_suffix(".log")
    said = log.read_text().split() if log.exists() else []
    with DerivaML(str(root), 1) as ml:
        assert ml.find_incomplete_executions() == [], where
        assert not ml.pending_summary().has_pending, where
        rows = ml.session.catalog.rows(table("deriva-ml", "Execution"))
        assert len(rows) <= 1, where
        for row in rows:
            report = describe(ml, str(row["RID"]))
            assert report.record.status in {Status.aborted, Status.completed}, where
            names = [use.file_name for use in report.output_assets]
            assert len(set(names)) == len(names), where
            assert {name for name in FILES if name in said} <= set(names) <= set(FILES), where
            assert sum(use.count for use in report.features) in ({3} if "values" in said else {0, 3}), where
            if said:
                assert report.record.upload_state == "uploaded", where
            described = [use.file_name.partition("_2")[0] for use in report.metadata]
            assert len(described) == len(set(described)), where
            if report.record.status is Status.completed:
                assert said == [*FILES, "values", "rows"], where
        new = [row["Name"] for row in ml.get_table_as_dict("Subject") if not row["Name"].startswith("S")]
        assert sorted(new) in ([list(ROWS)] if "rows" in said else [[], list(ROWS)]), where
        counts = {}
        for name in ("Execution_Asset", "Execution_Metadata"):
            kept = ml.session.catalog.rows(table("deriva-ml", name))
            links = ml.session.catalog.rows(table("deriva-ml", f"{name}_Execution"))
            assert {row["RID"] for row in kept} == {row[name] for row in links}, where
            counts[name] = len(kept)
            assert len(kept) == len(links), where
        with open_journal(ml.session) as journal:
            assert (journal.dead_runs(), journal.unsynced_runs()) == ([], []), where
        return counts


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_upload_finishes_a_run_that_was_killed_at_any_write_of_journal_and_manifest(deadly, capsys):
    _, writes = deadly.counts("run", deadly.fresh())
    assert writes > 50
    for point in range(1, writes + 1, STEP * 4 if STEP > 1 else 1):
        root = deadly.fresh()
        assert deadly.work(name="run", root=str(root), write=point) == -signal.SIGKILL, point
        check_whole(root, f"write {point} of {writes}", capsys)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_upload_finishes_a_run_that_was_killed_at_any_request(deadly, capsys):
    requests, _ = deadly.counts("run", deadly.fresh())
    for point in range(0, requests, STEP):
        for when in ("before", "after"):
            root = deadly.fresh()
            assert deadly.work(name="run", root=str(root), request=point, when=when) == -signal.SIGKILL
            check_whole(root, f"{when} request {point} of {requests}", capsys)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["write", "before", "after"])
def test_an_upload_that_was_killed_at_any_point_is_finished_by_the_next(deadly, capsys, kind):
    def dead() -> Path:
        root = deadly.fresh()
        assert deadly.work(name="run", root=str(root), until="registered") == -signal.SIGKILL
        return root

    requests, writes = deadly.counts("upload", dead())
    every = range(1, writes + 1, STEP * 4 if STEP > 1 else 1) if kind == "write" else range(0, requests, STEP)
    for point in every:
        root = dead()
        where = {"write": point} if kind == "write" else {"request": point, "when": kind}
        assert deadly.work(name="upload", root=str(root), **where) == -signal.SIGKILL, where
        check_whole(root, f"{kind} {point}", capsys)


def check_completed(root: Path, where: str) -> None:
    """The run is complete: nothing lost, nothing twice, and each of its attempts told."""
    with DerivaML(str(root), 1) as ml:
        [row] = ml.session.catalog.rows(table("deriva-ml", "Execution"))
        report = describe(ml, str(row["RID"]))
        assert (report.record.status, report.record.upload_state) == (Status.completed, "uploaded"), where
        assert sorted(use.file_name for use in report.output_assets) == sorted(FILES), where
        assert sum(use.count for use in report.features) == 3, where
        new = [row["Name"] for row in ml.get_table_as_dict("Subject") if not row["Name"].startswith("S")]
        assert sorted(new) == list(ROWS), where
        described = [use.file_name for use in report.metadata]
        assert len(described) == len(set(described)), where
        with open_journal(ml.session) as journal:
            steps = [step.what for step in journal.steps(str(row["RID"]))]
            assert (journal.dead_runs(), journal.unsynced_runs()) == ([], []), where
        told = {f"attempt-{number}.json" for number in range(1, steps.count("resumed") + 1)}
        assert told == {name for name in described if name.startswith("attempt-")}, where
        assert ml.find_incomplete_executions() == [], where
        for name in ("Execution_Asset", "Execution_Metadata"):
            kept = ml.session.catalog.rows(table("deriva-ml", name))
            links = ml.session.catalog.rows(table("deriva-ml", f"{name}_Execution"))
            assert sorted(row["RID"] for row in kept) == sorted(row[name] for row in links), where


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["write", "before", "after"])
@pytest.mark.parametrize("uploaded", [False, True])
def test_a_run_that_was_killed_at_any_point_while_it_was_resumed_is_resumed_again(deadly, capsys, kind, uploaded):
    """``uploaded``: the outputs of the first attempt are in the catalog, and those of the second are brought there."""

    def dead() -> Path:
        root = deadly.fresh()
        assert deadly.work(name="run", root=str(root), until="registered") == -signal.SIGKILL
        assert not uploaded or deadly.work(name="upload", root=str(root)) == 0
        return root

    requests, writes = deadly.counts("resume", dead())
    every = range(1, writes + 1, STEP * 4 if STEP > 1 else 1) if kind == "write" else range(0, requests, STEP)
    for point in every:
        root = dead()
        where = {"write": point} if kind == "write" else {"request": point, "when": kind}
        assert deadly.work(name="resume", root=str(root), **where) == -signal.SIGKILL, where
        if uploaded:
            assert upload(["--host", str(root)]) == 0, (where, capsys.readouterr())
        with DerivaML(str(root), 1) as ml:
            reconcile_dead_runs(ml)
            [run] = ml.list_executions()
        if run.status is not Status.completed:
            assert deadly.work(name="resume", root=str(root)) == 0, where
        else:
            assert upload(["--host", str(root)]) == 0, (where, capsys.readouterr())
        check_completed(root, f"{kind} {point}")
        deadly.remove(root)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["write", "before", "after"])
def test_a_run_that_was_killed_at_any_point_is_resumed_as_the_same_run(deadly, kind):
    """Whatever it had reached; only one that was killed before it was written down what it was to do cannot be."""
    requests, writes = deadly.counts("run", deadly.fresh())
    every = range(1, writes + 1, STEP * 4 if STEP > 1 else 1) if kind == "write" else range(0, requests, STEP)
    resumed = 0
    for point in every:
        root = deadly.fresh()
        where = {"write": point} if kind == "write" else {"request": point, "when": kind}
        assert deadly.work(name="run", root=str(root), **where) == -signal.SIGKILL, where
        with DerivaML(str(root), 1) as ml:
            reconcile_dead_runs(ml)
            found = ml.list_executions()
        for run in found:
            manifest = run.working_dir / MANIFEST_NAME
            if run.status is Status.completed:
                assert deadly.work(name="upload", root=str(root)) == 0, where
            elif manifest.exists() and b"configuration.json" in manifest.read_bytes():
                assert deadly.work(name="resume", root=str(root)) == 0, where
            else:
                continue
            resumed += 1
            check_completed(root, f"{kind} {point}")
        deadly.remove(root)
    assert resumed > len(every) / 2


def test_a_killed_run_that_is_resumed_is_complete(deadly):
    root = deadly.fresh()
    assert deadly.work(name="run", root=str(root), until="registered") == -signal.SIGKILL
    assert deadly.work(name="resume", root=str(root), until="registered") == -signal.SIGKILL
    assert deadly.work(name="resume", root=str(root)) == 0
    check_completed(root, "twice")


def check_linked(root: Path, where: str) -> None:
    """If there is a new run, and it was more than a row, it has consumed what the earlier one recorded of itself."""
    with DerivaML(str(root), 1) as ml:
        reconcile_dead_runs(ml)
        *new, first = ml.list_executions()
        [record] = [use for use in describe(ml, first.execution_rid).metadata if use.file_name == "configuration.json"]
        for run in new:
            assert [use.rid for use in describe(ml, run.execution_rid).input_assets] == [record.rid], where


def test_a_run_that_was_killed_before_its_model_started_is_linked_with_the_one_it_stands_for(deadly):
    root = deadly.fresh()
    assert deadly.work(name="abort", root=str(root)) == 0
    assert deadly.work(name="anew", root=str(root), until="opened") == -signal.SIGKILL
    with DerivaML(str(root), 1) as ml:
        assert [run.status for run in ml.list_executions()] == [Status.pending, Status.aborted]
    check_linked(root, "opened")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_was_killed_between_its_row_and_its_link_is_linked_when_it_is_resumed(deadly):
    def aborted() -> Path:
        root = deadly.fresh()
        assert deadly.work(name="abort", root=str(root)) == 0
        return root

    requests, _ = deadly.counts("anew", aborted())
    for point in range(0, requests, max(1, STEP // 4)):
        root = aborted()
        assert deadly.work(name="anew", root=str(root), request=point, when="before") == -signal.SIGKILL, point
        with DerivaML(str(root), 1) as ml:
            reconcile_dead_runs(ml)
            *new, _first = ml.list_executions()
            for run in new:
                if run.status is Status.aborted and (run.working_dir / "metadata" / "configuration.json").exists():
                    with ml.resume_execution(run.execution_rid):
                        pass
        check_linked(root, f"before {point}")
        deadly.remove(root)


def test_two_uploads_at_once_bring_everything_once(deadly, capsys):
    root = deadly.fresh()
    assert deadly.work(name="run", root=str(root), until="registered") == -signal.SIGKILL
    command = [sys.executable, "-m", "deriva_ml.cli.upload", "--host", str(root), "--clean"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    check_whole(root, "two at once", capsys)


def left(ml, configuration, *names: str) -> Execution:
    """A run that has ended, and whose outputs are not in the catalog."""
    execution = Execution(configuration, ml)
    with execution:
        for name in names:
            execution.asset_file_path("Execution_Asset", name).write_text(name)
    return execution


def test_a_run_that_fails_keeps_no_other_back(ml, configuration):
    damaged, whole = left(ml, configuration, "a.txt"), left(ml, configuration, "b.txt")
    with (damaged.working_dir / MANIFEST_NAME).open("a") as file:
        file.write("no line of ours\n")
    report = ml.commit_pending_executions()
    assert not report.complete
    assert list(report.executions) == [whole.execution_rid]
    assert list(report.refused) == [damaged.execution_rid]
    assert (report.total_uploaded, report.total_failed) == (1, 1)
    assert damaged.execution_rid in report.errors[0]
    with pytest.raises(DerivaMLUploadError, match=f"{damaged.execution_rid}: Line"):
        report.require_complete()


def test_only_the_runs_that_are_named_are_committed_and_cleaned(ml, configuration):
    one, two = left(ml, configuration, "a.txt"), left(ml, configuration, "b.txt")
    report = ml.commit_pending_executions(execution_rids=[one.execution_rid, "1-NONE"], clean_folder=True)
    assert report.execution_rids == [one.execution_rid, "1-NONE"]
    assert isinstance(report.refused["1-NONE"], DerivaMLNotFoundError)
    assert report.per_table["deriva-ml:Execution_Asset"].uploaded == 1
    assert not (one.working_dir / "assets").exists()
    assert [run.execution_rid for run in ml.find_incomplete_executions()] == [two.execution_rid]


def test_a_run_that_goes_on_is_left_to_itself(ml, configuration):
    execution = Execution(configuration, ml)
    execution.execution_start()
    execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    assert ml.commit_pending_executions().execution_rids == []
    assert execution.pending_summary().pending_files == 1
    execution.abort()


def test_what_did_not_arrive_is_in_the_report_and_not_raised(ml, configuration):
    execution = Execution(configuration, ml)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
        execution.asset_file_path("Execution_Asset", "never.txt")
    report = execution.commit_output_assets()
    assert not report.complete
    table_report = report.per_table["deriva-ml:Execution_Asset"]
    assert (table_report.uploaded, table_report.failed) == (1, 1)
    assert "never.txt" in report.errors[0]
    execution.asset_file_path("Execution_Asset", "never.txt").write_text("now")
    assert not execution.commit_output_assets().complete  # the first registration is still without a file
    assert sorted(use.file_name for use in execution.describe().output_assets) == ["a.txt", "never.txt"]


def test_a_dry_run_commits_nothing(ml, configuration):
    execution = Execution(configuration, ml, dry_run=True)
    with execution:
        execution.asset_file_path("Execution_Asset", "a.txt").write_text("a")
    report = execution.commit_output_assets()
    assert (report.complete, report.total_uploaded) == (True, 0)
