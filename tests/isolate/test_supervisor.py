"""Whatever a child does, it is known what became of it, at once, and the parent goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from deriva_ml.core.exceptions import DerivaMLConfigurationError
from deriva_ml.isolate import Cancel, Job, Limits, Outcome, run_isolated
from deriva_ml.isolate.frames import Frame
from deriva_ml.isolate.supervisor import STDERR, STDOUT
from tests.isolate.conftest import ROOT, is_gone, wait_until

# ------------------------------------------------------------------------------------------------ what goes well


def test_a_function_is_called_with_its_arguments_and_its_value_comes_back(run):
    said: list[Frame] = []
    verdict = run("add", one=2, other=3, observer=said.append)
    assert (verdict.outcome, verdict.value, verdict.code) == (Outcome.completed, 5, 0)
    assert [frame.kind for frame in said] == ["ready", "status", "progress"]
    assert said[2].data == {"done": 1, "total": 2, "text": "half"}
    assert verdict.usage.peak_memory > 1 << 20
    assert verdict.usage.user + verdict.usage.system > 0  # the kernel may count a short life as one of them alone


def test_it_works_in_its_folder_with_the_modules_and_variables_that_it_is_given(run, tmp_path):
    before = Path.cwd()
    here, folder, variable, *path = run("where", environ={"ISOLATE_TEST": "x", "HOME": None}).value
    assert here == folder == str(tmp_path)
    assert variable == "x"
    assert path[0] == ROOT
    assert Path.cwd() == before
    assert "ISOLATE_TEST" not in os.environ


@pytest.mark.parametrize("size", [10, 40_000, 5_000_000])
def test_a_result_of_any_size_arrives(run, size):
    assert run("large", size=size).value == "x" * size


@pytest.mark.parametrize("code", [0, None])
def test_ending_the_process_and_saying_that_all_is_well_is_well(run, code):
    assert run("exits", code=code).outcome is Outcome.completed


def test_what_it_prints_is_kept_byte_for_byte(run, tmp_path):
    verdict = run("prints_binary")
    assert verdict.outcome is Outcome.completed
    assert (tmp_path / STDOUT).read_bytes() == bytes(range(256)) * 4 + b"last words\n"
    assert (tmp_path / STDERR).read_bytes() == b"\xff\xfe complaint\n"
    assert verdict.output[-2].endswith("last words")
    assert verdict.output[-1] == "\ufffd\ufffd complaint"
    assert run("replaces_stdout").outcome is Outcome.completed


def test_what_must_not_be_kept_is_left_out_line_by_line(run, tmp_path):
    shown = []
    verdict = run(
        "prints_parts", veil=lambda line: line.replace(b"secret", b"***"), echo=lambda name, part: shown.append(part)
    )
    assert verdict.outcome is Outcome.completed
    assert (tmp_path / STDOUT).read_bytes() == b"one *** two\n" + b"x" * 3_000_000 + b"\n***"
    assert b"".join(shown).startswith(b"one secret two")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
def test_that_what_it_prints_cannot_be_kept_is_said_and_holds_nothing_up(run, tmp_path):
    (tmp_path / STDOUT).symlink_to("/dev/full")
    verdict = run("prints_binary")
    assert verdict.outcome is Outcome.completed
    assert verdict.notes == ("stdout.txt is not whole: No space left on device",)


# ----------------------------------------------------------------------------------------------- how it can end


@pytest.mark.parametrize(
    ("name", "arguments", "reason", "error"),
    [
        ("raises", {}, "It raised ValueError: no good", "ValueError"),
        ("raises_two", {}, "It raised tests.isolate.models.TwoArguments: this and that", "TwoArguments"),
        ("raises_much", {}, "It raised ValueError: \U0001f600\U0001f600", "ValueError"),
        ("raises_no_text", {}, "its text cannot be made", "NoText"),
        ("not_json", {}, "It raised TypeError: Object of type object is not JSON serializable", "TypeError"),
        ("out_of_memory", {}, "It raised MemoryError", "MemoryError"),
        ("exits", {"code": 3}, "It raised SystemExit: 3", "SystemExit"),
        ("exits", {"code": "no"}, "It raised SystemExit: no", "SystemExit"),
        ("absent", {}, "has no attribute 'absent'", "AttributeError"),
        ("add", {"one": 1}, "missing 1 required positional argument", "TypeError"),
    ],
)
def test_an_error_comes_back_as_text(run, name, arguments, reason, error):
    verdict = run(name, **arguments)
    assert verdict.outcome is Outcome.failed
    assert reason in verdict.reason
    assert verdict.error is not None
    assert verdict.error.type.endswith(error)
    assert "Traceback" in verdict.error.traceback
    assert verdict.to_dict()["error"]["type"] == verdict.error.type


@pytest.mark.parametrize(("name", "signal_name"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("kill", "SIGKILL")])
def test_a_signal_is_named_with_the_python_stack_if_there_is_one(run, name, signal_name):
    verdict = run(name)
    assert (verdict.outcome, verdict.signal, verdict.code) == (Outcome.failed, signal_name, None)
    assert verdict.reason == f"It was killed by {signal_name} without a result."
    assert (f"in {name}" in verdict.stack) is (name != "kill")


@pytest.mark.parametrize("code", [0, 3])
def test_an_end_without_a_result_is_no_success_whatever_the_code(run, code):
    verdict = run("leaves", code=code)
    assert (verdict.outcome, verdict.code) == (Outcome.failed, code)
    assert verdict.reason == f"It ended with code {code} without a result."


def test_death_in_the_middle_of_what_it_says_is_noticed_at_once(run):
    start = time.monotonic()
    verdict = run("dies_while_telling")
    assert verdict.reason == "It was killed by SIGKILL in the middle of what it said."
    assert time.monotonic() - start < 10


def test_who_talks_nonsense_is_ended(run):
    verdict = run("talks_nonsense")
    assert verdict.outcome is Outcome.failed
    assert "could not be read" in verdict.reason
    assert "'text'" in run("tells_half").reason


def test_a_crash_after_the_result_is_no_success(run):
    verdict = run("crashes_at_exit")
    assert (verdict.outcome, verdict.signal) == (Outcome.failed, "SIGSEGV")
    assert verdict.reason == "It was killed by SIGSEGV after its result."


def test_who_does_not_end_after_the_result_is_ended(run):
    verdict = run("hangs_at_exit", limits=Limits(grace=0.5))
    assert verdict.outcome is Outcome.failed
    assert verdict.reason == "It did not end within 0.5 s of its result."


# ------------------------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("name", "limits", "reason"),
    [
        ("hangs", Limits(wall=1, grace=1), "It ran longer than 1 s."),
        ("hangs", Limits(silence=1, grace=1), "It printed, reported and asked nothing for 1 s."),
        ("stops", Limits(heartbeat=1.5, grace=1), "Its heart did not beat for 1.5 s"),
        ("hangs_with_interpreter", Limits(heartbeat=1.5, grace=1), "Its heart did not beat for 1.5 s"),
        ("ignores_signals", Limits(wall=1, grace=0.5), "It ran longer than 1 s."),
    ],
)
def test_a_limit_ends_it_and_the_verdict_says_where_it_was(run, name, limits, reason):
    start = time.monotonic()
    verdict = run(name, limits=limits)
    assert verdict.outcome is Outcome.failed
    assert verdict.reason.startswith(reason)
    assert f"in {name}" in verdict.stack
    assert time.monotonic() - start < 15


def test_an_error_is_the_news_whatever_happens_after_it(run):
    start = time.monotonic()
    verdict = run("raises_and_hangs", limits=Limits(grace=0.5))
    assert verdict.reason == "It raised ValueError: no good"
    assert verdict.notes == ("It did not end within 0.5 s of its error.",)
    assert time.monotonic() - start < 15


def test_who_closes_the_way_to_its_parent_is_ended_and_that_is_said(run):
    for then in (0, 30):
        verdict = run("closes_everything", then=then)
        assert (verdict.outcome, verdict.code) == (Outcome.failed, 1)
        assert verdict.reason == "It closed the way to its parent, which cannot know its result, and ended with code 1."


def test_who_completes_only_because_it_was_told_to_end_has_not_completed(run, tmp_path):
    verdict = run("unwinds_at_sigterm", limits=Limits(wall=1, grace=2))
    assert (verdict.outcome, verdict.reason, verdict.code) == (Outcome.failed, "It ran longer than 1 s.", 0)
    assert (tmp_path / "unwound").exists()


def test_who_cannot_say_where_it_is_ends_in_order_all_the_same(run, tmp_path):
    verdict = run("does_not_heed", limits=Limits(wall=1, grace=2))
    assert (verdict.reason, verdict.signal, verdict.stack) == ("It ran longer than 1 s.", None, "")
    assert (tmp_path / "unwound").exists()


@pytest.mark.parametrize("name", ["eats", "eats_in_a_child"])
def test_memory_is_limited_with_that_of_its_children(run, name):
    verdict = run(name, megabytes=400, limits=Limits(memory=200_000_000, grace=1))
    assert verdict.outcome is Outcome.failed
    assert "200 MB are allowed" in verdict.reason


def test_the_peak_of_memory_is_the_childs_own(run):
    small, large = run("peak", megabytes=1).usage.peak_memory, run("peak", megabytes=150).usage.peak_memory
    assert 100e6 < large - small < 400e6


def test_memory_that_processes_share_counts_once(run):
    # each copy writes to some of what it has of the tests' own memory, which is then no longer shared
    verdict = run("shares_memory", megabytes=400, copies=4, limits=Limits(memory=1_200_000_000, grace=1))
    assert verdict.value == "400 MB"
    assert verdict.usage.peak_memory < 1.2e9


def test_the_peak_of_memory_is_that_of_all_its_processes_together(run):
    assert run("peak_in_children", megabytes=100, children=3).usage.peak_memory > 300e6


def test_the_peak_of_memory_is_not_that_of_this_process(tmp_path):
    held = bytearray(os.urandom(300 << 20))
    job = Job("tests.isolate.models:peak", tmp_path, {"megabytes": 1}, path=[ROOT, *sys.path])
    assert run_isolated(job).usage.peak_memory < 100e6
    del held


@pytest.mark.slow
def test_who_reports_is_not_silent_and_who_waits_for_an_answer_neither(run):
    limits = Limits(silence=1, grace=1)
    assert run("reports", count=8, every=0.25, limits=limits).value == "done"

    assert run("prints_on", count=8, every=0.25, limits=limits).value == "done"

    def slow(data, payload):
        time.sleep(2)

    assert run("asks", name="slow", data={}, handlers={"slow": slow}, limits=limits).outcome is Outcome.completed


@pytest.mark.parametrize(
    "wrong",
    [
        {"wall": 0},
        {"wall": float("inf")},
        {"wall": float("nan")},
        {"memory": -1},
        {"grace": None},
        {"silence": "1"},
        {"wall": True},
    ],
)
def test_a_wrong_limit_is_refused(wrong):
    with pytest.raises(DerivaMLConfigurationError, match="positive number"):
        Limits(**wrong)


def test_a_limit_may_be_years_away(run):
    assert run("add", one=1, other=2, limits=Limits(wall=1e9, silence=1e9, heartbeat=1e9)).value == 3


@pytest.mark.parametrize("target", ["module", ":name", "module:"])
def test_a_wrong_target_or_folder_is_refused(tmp_path, target):
    with pytest.raises(DerivaMLConfigurationError, match="names no function"):
        Job(target, tmp_path)
    with pytest.raises(DerivaMLConfigurationError, match="not there"):
        Job("a:b", tmp_path / "absent")


# ----------------------------------------------------------------------------------------------- being stopped


def test_its_user_stops_it_in_order(run, tmp_path):
    cancel = Cancel()
    verdict = run("unwinds", cancel=cancel, observer=lambda frame: frame.kind == "status" and cancel("Enough."))
    assert (verdict.outcome, verdict.reason) == (Outcome.aborted, "Enough.")
    assert (tmp_path / "unwound").exists()
    cancel.close()


def test_then_by_force(run):
    cancel = Cancel()
    verdict = run(
        "ignores_signals",
        cancel=cancel,
        observer=lambda frame: frame.kind == "status" and cancel(),
        limits=Limits(grace=0.5),
    )
    assert (verdict.outcome, verdict.signal) == (Outcome.aborted, "SIGKILL")
    cancel.close()


def test_who_takes_an_interruption_for_an_end_was_stopped(run):
    cancel = Cancel()
    verdict = run(
        "takes_interruption_for_an_end", cancel=cancel, observer=lambda frame: frame.kind == "status" and cancel()
    )
    assert (verdict.outcome, verdict.code, verdict.value) == (Outcome.aborted, 0, None)
    cancel.close()


PARENT = """
import os, signal, sys, threading, time
from pathlib import Path
from deriva_ml.isolate import Cancel, Job, Limits, run_isolated
folder = Path(sys.argv[1])
def seen(frame):
    if frame.kind == sys.argv[3]:
        (folder / "ready").touch()
def show(name, content):
    time.sleep(0.002)
    with (folder / "shown").open("ab") as file:
        file.write(content)
job = Job(f"tests.isolate.models:{sys.argv[2]}", folder, limits=Limits(grace=2))
verdict = run_isolated(job, observer=seen, echo=show)
print(verdict.outcome.value, verdict.reason, sep=": ")
"""


def parent(folder: Path, name: str, said: str = "ready") -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(folder), name, said],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert wait_until((folder / "ready").exists, 30)
    return process


def children(pid: int) -> list[int]:
    text = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for word in " ".join(text).split()]


def test_ctrl_c_ends_the_child_in_order_and_it_is_aborted(tmp_path):
    process = parent(tmp_path, "unwinds", "status")
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=30)
    assert out == "aborted: It was interrupted (Ctrl-C).\n"
    assert (tmp_path / "unwound").exists()


def test_ctrl_c_loses_nothing_of_what_is_printed_at_that_moment(tmp_path):
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = parent(folder, "counts", "status")
        time.sleep(0.05 * number)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        lines = (folder / STDOUT).read_bytes().splitlines()
        assert [int(line) for line in lines] == list(range(len(lines)))
        assert (folder / "shown").read_bytes().splitlines() == lines


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux: only there the kernel tells of children")
@pytest.mark.parametrize("name", ["hangs", "hangs_with_interpreter"])
def test_the_death_of_the_parent_ends_the_child(tmp_path, name):
    process = parent(tmp_path, name)
    (child,) = children(process.pid)
    process.kill()
    process.communicate()
    assert wait_until(lambda: is_gone(child), 5)


# ------------------------------------------------------------------------------------------- what is left behind


def test_a_copy_made_by_forking_has_no_part_in_it(run):
    assert run("forks").value == "the original"


def test_threads_are_waited_for_and_then_named(run, tmp_path):
    assert run("leaves_thread", seconds=0.3).notes == ()
    assert (tmp_path / "thread-done").exists()
    verdict = run("leaves_thread", seconds=30, limits=Limits(grace=0.5))
    assert verdict.outcome is Outcome.completed
    assert verdict.notes == ("a thread was left behind: busy",)


def test_processes_that_are_left_behind_are_ended_and_counted(run, tmp_path):
    verdict = run("leaves_process")
    assert verdict.outcome is Outcome.completed
    assert verdict.notes == (f"a process was left behind, and ended: {sys.executable} -c import time; time.sleep(60)",)
    assert wait_until(lambda: is_gone(int((tmp_path / "left.pid").read_text())), 5)


def test_a_folder_that_is_gone_is_no_reason_to_fall(run):
    assert run("removes_folder").value == "gone"


# --------------------------------------------------------------------------------------------------- asking back


def test_requests_are_answered_by_their_handlers(run):
    def double(data, payload):
        assert payload == b"payload"
        return Frame("answer", {"n": data["n"] * 2}, bytes(1 << 21))

    assert run("asks", name="double", data={"n": 4}, handlers={"double": double}).value == [{"n": 8, "id": 1}, 1 << 21]


def test_a_copy_made_by_forking_cannot_ask(run):
    assert "was made by forking and has no way to the parent" in run("asks_in_a_copy").value


def test_a_request_that_fails_or_is_not_known_is_refused_with_the_reason(run):
    def fails(data, payload):
        raise RuntimeError("not today")

    verdict = run("asks", name="fails", data={}, handlers={"fails": fails})
    assert "ChildRefused: not today" in verdict.reason
    assert "nothing here answers 'other'" in run("asks", name="other", data={}).reason


def test_threads_ask_at_the_same_time(run):
    def double(data, payload):
        time.sleep(0.01)
        return {"n": data["n"] * 2}

    assert run("asks_from_threads", count=40, handlers={"double": double}).value == [2 * n for n in range(40)]


def test_an_observer_that_fails_does_not_end_the_work(run):
    def observer(frame):
        raise RuntimeError("no room")

    verdict = run("add", one=1, other=1, observer=observer)
    assert verdict.value == 2
    assert "status could not be noted: no room" in verdict.notes


def test_nothing_is_left_open(run):
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(3):
        run("add", one=1, other=1)
        run("kill")
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux: only there the kernel tells of children")
def test_fifty_children_leave_nothing_behind(run, tmp_path):
    def state():
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), children(os.getpid())

    before = state()
    for _ in range(10):
        assert run("add", one=1, other=1).value == 2
        assert run("kill").signal == "SIGKILL"
        assert run("leaves_process").outcome is Outcome.completed
        assert len(run("large", size=100_000).value) == 100_000
        assert run("leaves_thread", seconds=60, limits=Limits(grace=0.1)).notes
    assert state() == before
    assert {path.name for path in tmp_path.iterdir()} == {STDOUT, STDERR, "crash.txt", "result.json", "left.pid"}
