"""A run whose model takes its process down, hangs or is stopped: the record says so, and outputs are kept."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

ODD = """\
import ctypes, os, re, resource, signal, subprocess, sys, threading, time
from pathlib import Path


def odd(kind: str = "well", *, ml_instance=None, execution=None) -> None:
    out = execution.asset_file_path("Execution_Asset", "partial.txt", asset_types="Model_File")
    out.write_text("half")
    print("words of the model", flush=True)
    getattr(sys.modules[__name__], kind)(ml_instance, execution)


def well(ml, execution):
    sys.stderr.write("a complaint\\n")


def catalog(ml, execution):
    ml.add_term("Asset_Type", "Made_Inside", "by the model")
    assert ml.lookup_term("Asset_Type", "Made_Inside").description == "by the model"
    execution.update_status("Running", "half way")
    assert type(ml.session.catalog.transport).__name__ == "Piped"
    assert "DERIVA_ML_TOKEN" not in os.environ
    assert execution.datasets[0].list_dataset_members()["Image"]
    assert Path(execution.asset_paths["Image"][0]).read_bytes()
    made = execution.create_dataset("Training", description="made inside")
    made.add_dataset_members([row["RID"] for row in execution.datasets[0].list_dataset_members()["Image"]])
    with (execution.metrics_file()).open("a") as metrics:
        metrics.write('{"loss": 1}\\n')


def tells_secret(ml, execution):
    print("the key is", os.environ["FAKE_TOKEN"], flush=True)
    raise ValueError("refused: " + os.environ["FAKE_TOKEN"])


def segfault(ml, execution):
    ctypes.string_at(0)


def killed(ml, execution):
    os.kill(os.getpid(), signal.SIGKILL)


def silent_end(ml, execution):
    os._exit(0)


def hang(ml, execution):
    Path("started").touch()
    time.sleep(60)


def heedless(ml, execution):
    try:
        hang(ml, execution)
    except KeyboardInterrupt:
        Path("interrupted").touch()
        time.sleep(60)


def catches(ml, execution):
    try:
        hang(ml, execution)
    except KeyboardInterrupt:
        print("stopping early")


def removes_all(ml, execution):
    import shutil

    shutil.rmtree(execution.working_dir)


def removes_all_and_fails(ml, execution):
    removes_all(ml, execution)
    raise ValueError("no good")


def gives_up(ml, execution):
    execution.abort("no use")


def appends_on(ml, execution):
    path = execution.asset_file_path("Execution_Asset", "growing.txt")
    code = f"import time; file = open({str(path)!r}, 'a')\\nwhile True: file.write('x' * 100); file.flush()"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    time.sleep(0.5)


def small_disk(ml, execution):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with execution.asset_file_path("Execution_Asset", "large.bin").open("wb") as file:
        file.write(bytes(1_000_000))


def spin(ml, execution):
    re.match(r"(a+)+$", "a" * 60 + "b")


def stopped(ml, execution):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def memory(ml, execution):
    held = [bytearray(os.urandom(1 << 20)) for _ in range(700)]
    time.sleep(30)


class Two(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first}, {second}")


def two(ml, execution):
    raise Two("one", "other")


def binary(ml, execution):
    os.write(1, bytes(range(256)))
    os.write(2, bytes(range(256)))


def moves(ml, execution):
    os.chdir("/")
    sys.stdout = None


def removes(ml, execution):
    import shutil

    shutil.rmtree(execution.working_dir / "process", ignore_errors=True)


def leaves(ml, execution):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    threading.Thread(target=time.sleep, args=(60,), name="busy").start()


def uploads(ml, execution):
    execution.upload_execution_outputs()
    execution.asset_file_path("Execution_Asset", "second.txt").write_text("more")
"""

CONFIG = """\
from hydra_zen import builds, store
from odd import odd

store(builds(odd, populate_full_signature=True, zen_partial=True), group="model_config", name="odd")
"""


@pytest.fixture
def odd(project: Any) -> Any:
    """The test project with a model that may do anything to its process."""
    (project.folder / "src" / "odd.py").write_text(ODD)
    (project.folder / "src" / "configs" / "odd.py").write_text(CONFIG)
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "add", "-A"], cwd=project.folder, check=True)
    subprocess.run(["git", *identity, "commit", "-qm", "odd"], cwd=project.folder, check=True)
    return project


def run(odd: Any, kind: str, *words: str) -> tuple[Any, Any]:
    """Run one of the kinds; what the command came to, and the record."""
    done = odd.run("deriva-ml-run", "model_config=odd", f"model_config.kind={kind}", *words)
    return done, odd.json(odd.json()[0]["record"]["execution_rid"])


def metadata(odd: Any, report: Any, name: str) -> bytes:
    """The content of one of the files that are kept with a run."""
    from deriva_ml.ml import DerivaML

    [item] = [each for each in report["metadata"] if each["file_name"] == name]
    with DerivaML(str(odd.root)) as ml:
        return Path(ml.lookup_asset(item["rid"]).download(odd.home / f"kept-{name}")).read_bytes()


def test_a_run_keeps_what_the_model_printed_and_took(odd: Any) -> None:
    done, report = run(odd, "well")
    assert done.code == 0, done.err
    assert "words of the model" in done.out
    assert "a complaint" in done.err
    assert [asset["types"] for asset in report["output_assets"]] == [["Model_File"]]
    assert metadata(odd, report, "stdout.txt") == b"words of the model\n"
    assert metadata(odd, report, "stderr.txt") == b"a complaint\n"
    resources = json.loads(metadata(odd, report, "resources.json"))
    assert resources["outcome"] == "completed"
    assert resources["usage"]["peak_memory_bytes"] > 1 << 20


@pytest.mark.parametrize("way", ["copy", "new"])
def test_a_model_loses_nothing_by_being_in_a_child(odd: Any, way: str) -> None:
    words = ["+experiment=on_images", "assets=image"]
    if way == "new":
        # a module that starts a thread when it is imported: the process can be copied no more
        config = odd.folder / "src" / "configs" / "odd.py"
        config.write_text(
            CONFIG + "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        )
        words.append("--allow-dirty")
    done, report = run(odd, "catalog", *words)
    assert done.code == 0, done.err
    assert report["record"]["status"] == "Completed"
    assert {asset["file_name"] for asset in report["output_assets"]} == {"partial.txt", "metrics.jsonl"}
    assert [made["description"] for made in report["output_datasets"]] == ["made inside"]


FAILURES = {
    "segfault": ([], "was killed by SIGSEGV without a result"),
    "killed": ([], "was killed by SIGKILL without a result"),
    "silent_end": ([], "ended with code 0 without a result"),
    "hang": (["limits.wall=2"], "ran longer than 2 s"),
    "spin": (["limits.heartbeat=3", "limits.grace=1"], "was ended: its heart did not beat for 3 s"),
    "stopped": (["limits.heartbeat=3", "limits.grace=1"], "was ended: its heart did not beat for 3 s"),
    "memory": (["limits.memory=400000000"], "used"),
    "two": ([], "raised Two: one, other"),
    "small_disk": ([], "raised OSError: [Errno 27] File too large"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_whatever_takes_the_model_down_is_recorded_with_what_it_had_made(odd: Any, kind: str) -> None:
    words, said = FAILURES[kind]
    done, report = run(odd, kind, *words)
    assert done.code == 1, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert report["record"]["status"] == "Failed"
    assert said in report["record"]["status_detail"]
    assert report["record"]["upload_state"] == "uploaded"
    names = {asset["file_name"] for asset in report["output_assets"]}
    assert names == {"partial.txt"} | ({"large.bin"} if kind == "small_disk" else set())
    assert all("Partial" in asset["types"] for asset in report["output_assets"])
    detail = report["record"]["status_detail"]
    assert re.search(r"^Its process ran for [\d.]+ s and had [\d.]+ MB of memory at most\.$", detail, re.MULTILINE)
    assert ("The last that it printed:\n  words of the model" in detail) is (" raised " not in detail)
    assert "deriva-ml-show" not in detail
    kept = {item["file_name"] for item in report["metadata"]}
    assert {"stdout.txt", "resources.json"} <= kept
    if kind in {"segfault", "hang", "spin"}:
        assert f"in {kind}".encode() in metadata(odd, report, "crash.txt")
        assert f"{odd.folder}/src/odd.py:" in done.err


@pytest.mark.parametrize("kind", ["removes_all", "removes_all_and_fails"])
def test_a_model_that_removes_what_the_run_had_noted_has_failed(odd: Any, kind: str) -> None:
    done, report = run(odd, kind)
    assert done.code == 1, done.err
    assert report["record"]["status"] == "Failed"
    said = "raised ValueError: no good" if kind == "removes_all_and_fails" else "cannot be read any more"
    assert said in done.err
    assert said in report["record"]["status_detail"]


def test_a_run_that_its_model_has_ended_badly_is_no_success_of_the_command(odd: Any) -> None:
    done, report = run(odd, "gives_up")
    assert done.code == 1
    assert "ended its run as Aborted: no use" in done.err
    assert "Outputs, partial" in odd.run("deriva-ml-show", report["record"]["execution_rid"]).out
    assert (report["record"]["status"], report["record"]["status_detail"]) == ("Aborted", "no use")
    assert [asset["file_name"] for asset in report["output_assets"]] == ["partial.txt"]


def test_an_output_is_read_when_nobody_writes_to_it_any_more(odd: Any) -> None:
    done, report = run(odd, "appends_on")
    assert done.code == 0, done.err
    assert report["record"]["upload_state"] == "uploaded"
    assert {asset["file_name"] for asset in report["output_assets"]} == {"partial.txt", "growing.txt"}
    (note,) = json.loads(metadata(odd, report, "resources.json"))["notes"]
    assert note.startswith("a process was left behind, and ended: ")


def started(odd: Any, kind: str, *words: str) -> subprocess.Popen[str]:
    """A command whose model has been called."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored below a command in the background
    process = odd.start("deriva-ml-run", "model_config=odd", f"model_config.kind={kind}", *words)
    appears(odd.folder / "started")
    return process


def appears(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never appeared")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Interrupted."),
        (signal.SIGTERM, 143, "Terminated (SIGTERM)."),
        (signal.SIGHUP, 129, "The terminal was closed (SIGHUP)."),
    ],
)
def test_who_stops_the_command_aborts_the_run_and_loses_nothing(odd: Any, number: int, code: int, said: str) -> None:
    process = started(odd, "catches")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    report = odd.json(odd.json()[0]["record"]["execution_rid"])
    assert report["record"]["status"] == "Aborted"
    assert said in report["record"]["status_detail"]
    assert report["record"]["upload_state"] == "uploaded"
    assert [asset["file_name"] for asset in report["output_assets"]] == ["partial.txt"]
    assert b"stopping early" in metadata(odd, report, "stdout.txt")


def test_who_stops_the_command_twice_does_not_wait(odd: Any) -> None:
    process = started(odd, "heedless", "limits.grace=60")
    process.send_signal(signal.SIGINT)
    appears(odd.folder / "interrupted")
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - start < 20) == (130, True)
    assert odd.json()[0]["record"]["status"] == "Aborted"


@pytest.mark.parametrize("kind", ["binary", "moves", "removes", "leaves", "uploads"])
def test_what_a_model_may_do_to_its_process_does_not_harm_the_run(odd: Any, kind: str) -> None:
    done, report = run(odd, kind, "limits.grace=1")
    assert done.code == 0, done.err
    assert report["record"]["status"] == "Completed"
    names = [asset["file_name"] for asset in report["output_assets"]]
    assert sorted(names) == ["partial.txt", "second.txt"] if kind == "uploads" else ["partial.txt"]
    if kind == "leaves":
        notes = json.loads(metadata(odd, report, "resources.json"))["notes"]
        assert notes[0] == "a thread was left behind: busy"
        assert notes[1].startswith("a process was left behind, and ended: ")


def test_a_secret_that_the_model_prints_is_written_nowhere(odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TOKEN", "planted-secret-4711")
    done, report = run(odd, "tells_secret")
    assert done.code == 1
    assert report["record"]["status"] == "Failed"
    assert b"the key is ***" in metadata(odd, report, "stdout.txt")
    found = [path for path in odd.home.rglob("*") if path.is_file() and b"planted-secret-4711" in path.read_bytes()]
    assert found == []


def test_inline_is_the_process_of_the_command(odd: Any) -> None:
    done = odd.run("deriva-ml-run", "model_config=odd", "model_config.kind=silent_end", "isolation=inline")
    assert done.code == 0  # the model ended the command itself, and nobody was left to say so
    assert odd.json()[0]["record"]["status"] == "Aborted"


def test_a_wrong_isolation_or_limit_is_refused(odd: Any) -> None:
    done = odd.run("deriva-ml-run", "isolation=proces")
    assert (done.code, "allowed: process" in done.err) == (2, True)
    done = odd.run("deriva-ml-run", "limits.wall=-1")
    assert done.code == 2
    assert "The limit wall is -1" in done.err
    assert len(odd.json()) == 1


def test_the_model_ends_with_the_command(odd: Any) -> None:
    process = started(odd, "hang")
    children = [
        int(word) for task in Path(f"/proc/{process.pid}/task").glob("*/children") for word in task.read_text().split()
    ]
    assert children
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for _ in range(100):
        if not any(Path(f"/proc/{child}").exists() for child in children):
            break
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_the_heart_of_a_run_beats_in_the_journal_while_its_model_works(project: Any, isolation: str) -> None:
    process = project.start("deriva-ml-run", "model_config.sleep=40", f"isolation={isolation}")
    seen: set[str] = set()
    while process.poll() is None:
        for journal in (project.home / ".deriva-ml").rglob("journal.db"):
            with closing(sqlite3.connect(journal)) as sql:
                seen |= {beat for (beat,) in sql.execute("SELECT heartbeat FROM run WHERE status = 'Running'")}
        time.sleep(0.5)
    assert process.returncode == 0, process.communicate()
    process.communicate()
    moments = sorted(map(datetime.fromisoformat, seen))
    assert len(moments) == 2  # when the model started, and the beat
    assert 25 < (moments[1] - moments[0]).total_seconds() < 45
