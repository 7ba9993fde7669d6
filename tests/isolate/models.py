"""What children are told to do in the tests: everything that a model may do to its process."""

from __future__ import annotations

import ctypes
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from deriva_ml.isolate.child import Conversation


class TwoArguments(Exception):
    """Cannot be made again from its text."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.lock = threading.Lock()


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def add(parent: Conversation, one: int, other: int) -> int:
    parent.status("adding")
    parent.progress(1, 2, "half")
    return one + other


def where(parent: Conversation) -> list[str]:
    return [str(Path.cwd()), str(parent.folder), os.environ.get("ISOLATE_TEST", ""), *sys.path]


def large(parent: Conversation, size: int) -> str:
    return "x" * size


def not_json(parent: Conversation) -> object:
    return object()


def raises(parent: Conversation) -> None:
    raise ValueError("no good")


def raises_two(parent: Conversation) -> None:
    raise TwoArguments("this", "that")


def raises_much(parent: Conversation) -> None:
    raise ValueError("\U0001f600" * 1_000_000)


def raises_no_text(parent: Conversation) -> None:
    raise NoText


def exits(parent: Conversation, code: int | str | None) -> None:
    sys.exit(code)


def leaves(parent: Conversation, code: int) -> None:
    os._exit(code)


def segfault(parent: Conversation) -> None:
    ctypes.string_at(0)


def abort(parent: Conversation) -> None:
    os.abort()


def kill(parent: Conversation) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_while_telling(parent: Conversation) -> None:
    """Killed when only a part of a long frame has been sent."""
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    parent._channel.socket.sendall(b"\x00\x00\x10\x00\x00\x10\x00\x00" + b"{" * 500)
    time.sleep(30)


def talks_nonsense(parent: Conversation) -> None:
    parent._channel.socket.sendall(b"\xff" * 64)
    time.sleep(30)


def stops(parent: Conversation) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(30)


def hangs(parent: Conversation) -> None:
    time.sleep(60)


def hangs_with_interpreter(parent: Conversation) -> None:
    """Native code that does not let go of the interpreter: a pattern with more ways to match than there is time."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def ignores_signals(parent: Conversation) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent.status("deaf")
    time.sleep(60)


def unwinds(parent: Conversation) -> None:
    try:
        parent.status("waiting")
        time.sleep(60)
    finally:
        (parent.folder / "unwound").touch()


def reports(parent: Conversation, count: int, every: float) -> str:
    for number in range(count):
        parent.progress(number, count)
        time.sleep(every)
    return "done"


def prints_on(parent: Conversation, count: int, every: float) -> str:
    for _number in range(count):
        os.write(1, b".")
        time.sleep(every)
    return "done"


def eats(parent: Conversation, megabytes: int) -> None:
    held = [bytearray(os.urandom(1 << 20)) for _ in range(megabytes)]
    parent.status("full")
    time.sleep(30)
    del held


def eats_in_a_child(parent: Conversation, megabytes: int) -> None:
    code = f"import os, time; held = [bytearray(os.urandom(1 << 20)) for _ in range({megabytes})]; time.sleep(30)"
    subprocess.run([sys.executable, "-c", code], check=True)


def peak(parent: Conversation, megabytes: int) -> None:
    bytearray(os.urandom(megabytes << 20))


def out_of_memory(parent: Conversation) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(1 << 40)


def prints_binary(parent: Conversation) -> None:
    os.write(1, bytes(range(256)) * 4)
    sys.stdout.write("last words\n")
    sys.stderr.buffer.write(b"\xff\xfe complaint\n")


def prints_parts(parent: Conversation) -> None:
    for part in (b"one sec", b"ret two\n", *[b"x" * 1_000_000] * 3, b"\nsecret"):
        view = memoryview(part)
        while view:
            view = view[os.write(1, view) :]
        time.sleep(0.05)


def replaces_stdout(parent: Conversation) -> None:
    sys.stdout.close()
    sys.stdout = None  # type: ignore[assignment]
    sys.stderr = io.StringIO()


def forks(parent: Conversation) -> str:
    pid = os.fork()
    if pid == 0:
        return "the copy"
    os.waitpid(pid, 0)
    return "the original"


def leaves_thread(parent: Conversation, seconds: float) -> str:
    def work() -> None:
        time.sleep(seconds)
        (parent.folder / "thread-done").touch()

    threading.Thread(target=work, name="busy").start()
    return "done"


def leaves_process(parent: Conversation) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (parent.folder / "left.pid").write_text(str(child.pid))


def hangs_at_exit(parent: Conversation) -> str:
    import atexit

    atexit.register(time.sleep, 60)
    return "done"


def crashes_at_exit(parent: Conversation) -> str:
    import atexit

    atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    return "done"


def removes_folder(parent: Conversation) -> str:
    import shutil

    shutil.rmtree(parent.folder)
    return "gone"


def asks(parent: Conversation, name: str, data: dict[str, Any]) -> Any:
    frame = parent.request(name, data, b"payload")
    return [dict(frame.data), len(frame.payload)]


def asks_from_threads(parent: Conversation, count: int) -> list[int]:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(parent.request("double", {"n": n}).data["n"]))
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def leaves_pools(parent: Conversation) -> list[int]:
    """Pools that nobody shuts down have threads and processes, and no work."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    KEPT.append(ThreadPoolExecutor(2))
    KEPT.append(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
    return [pool.submit(len, "abc").result() for pool in KEPT]


KEPT: list[Any] = []


def leaves_library_process(parent: Conversation) -> str:
    import multiprocessing

    multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), name="worker-7").start()
    return "done"


def uses_processes(parent: Conversation, way: str) -> int:
    """A process of each way to start one; helpers of the library stay behind, and end by themselves."""
    import multiprocessing

    context = multiprocessing.get_context(way)
    with context.Pool(1) as pool:
        return pool.map(len, ["abc"])[0]


def daemonises(parent: Conversation, seconds: float, then: str = "") -> None:
    """Twice a copy, in a session of its own, with another parent."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (parent.folder / "left.pid").write_text(str(os.getpid()))
            time.sleep(60)
        os._exit(0)
    os.wait()
    time.sleep(seconds)
    if then == "falls":
        os.kill(os.getpid(), signal.SIGKILL)


def leaves_files_open(parent: Conversation, then: str = "") -> str:
    import gzip
    import tempfile
    import zipfile

    plain = (parent.folder / "plain.txt").open("w")
    plain.write("text")
    packed = gzip.open(parent.folder / "packed.gz", "wt")  # noqa: SIM115 - that is what is tried
    packed.write("packed")
    archive = zipfile.ZipFile(parent.folder / "archive.zip", "w")
    archive.writestr("name", "content")
    KEPT.extend([plain, packed, archive, tempfile.TemporaryDirectory(dir=parent.folder, prefix="temporary-")])
    if then == "raises":
        raise ValueError("no good")
    return "done"


def prints_from_c(parent: Conversation) -> None:
    ctypes.CDLL(None).printf(b"from C\n")


def raises_and_hangs(parent: Conversation) -> None:
    import atexit

    atexit.register(time.sleep, 60)
    raise ValueError("no good")


def starts_a_session(parent: Conversation) -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True).pid


def shares_memory(parent: Conversation, megabytes: int, copies: int) -> str:
    held = bytearray(os.urandom(1 << 20)) * megabytes
    pids = []
    for _ in range(copies):
        pid = os.fork()
        if pid == 0:
            time.sleep(2.5)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return f"{len(held) >> 20} MB"


def peak_in_children(parent: Conversation, megabytes: int, children: int) -> None:
    code = f"import os, time; held = bytearray(os.urandom(1 << 20)) * {megabytes}; time.sleep(1)"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(children)]
    for child in started:
        child.wait()


def does_not_heed(parent: Conversation) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    unwinds_at_sigterm(parent)


def unwinds_at_sigterm(parent: Conversation) -> None:
    def stop(number: int, frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    unwinds(parent)


def counts(parent: Conversation) -> None:
    parent.status("counting")
    for number in range(100_000_000):
        os.write(1, f"{number}\n".encode())


def takes_interruption_for_an_end(parent: Conversation) -> str:
    try:
        parent.status("waiting")
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    return "what there was"


def closes_everything(parent: Conversation, then: float) -> str:
    os.closerange(3, 1000)
    time.sleep(then)
    return "done"


def asks_in_a_copy(parent: Conversation) -> str:
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            parent.request("anything")
        except Exception as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.wait()
    return os.read(reading, 1000).decode()


def tells_half(parent: Conversation) -> None:
    from deriva_ml.isolate.frames import Frame

    parent._channel.send(Frame("error", {"type": "ValueError"}))
    time.sleep(30)


def has_few_files(parent: Conversation) -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    return "done"
