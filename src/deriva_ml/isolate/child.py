"""The child's side: does the job that comes through a socket, tells what comes of it, and ends.

It imports as little as it can, since its start is paid by every run: nothing of this library but what is here. What the
job's function needs is imported by the function.

1. It dies when its parent does: the kernel sees to that on Linux; anywhere, the end of the conversation does.
2. Fatal signals leave the Python stack in a file; SIGUSR1 writes down where all threads are, and goes on.
3. A thread beats, so that a stopped process and native code that holds the interpreter are told from slow work.
4. Errors travel as text. What is too long for a frame goes into a file, and the frame has its checksum.
5. At the end it waits a while for what was left behind, names what goes on, and ends. A process that was started for
   the job ends as any interpreter does, unless a thread would keep it from that; a copy of another process does for
   its own objects what the interpreter would do, since those of the other process must not be ended twice.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn, TextIO

from deriva_ml.core.config import change_environment
from deriva_ml.isolate.departing import end_as_an_interpreter_does, leave, left_threads, let_be, take_leave
from deriva_ml.isolate.descent import descendants
from deriva_ml.isolate.frames import PROTOCOL, Channel, Frame

__all__ = ["CRASH", "RESULT", "ChildRefused", "Conversation", "become", "main"]

CRASH = "crash.txt"
"""The file, in the folder of the job, that the fault handler writes."""

RESULT = "result.json"
"""The file, in the folder of the job, of a result that is too long for a frame."""

CUT_OFF = "The way to the parent is closed: nothing that is done from here on could be told."
"""What that file begins with then."""

LONGEST_RESULT = 32 * 1024
LONGEST_TEXT = 8 * 1024
LONGEST_TRACEBACK = 32 * 1024
"""In characters, each of which may take twelve bytes in a frame."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class ChildRefused(Exception):
    """The parent refused a request; the text says why."""


class Conversation:
    """What the function of a job says to its parent, and asks of it; several threads may use it.

    Args:
        channel: The socket.
        folder: The job's working directory.
        inherited: What a child that is a copy of its parent was given when it was made.
    """

    def __init__(self, channel: Channel, folder: Path, inherited: Any = None) -> None:
        self.folder = folder
        self.inherited = inherited
        self._channel = channel
        self._pid = os.getpid()
        self._answers: dict[int, Future[Frame]] = {}
        self._lock = threading.Lock()
        self._count = 0

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Tell how far the work is."""
        self._channel.send(Frame("progress", {"done": done, "total": total, "text": text}))

    def status(self, text: str) -> None:
        """Tell what is being done."""
        self._channel.send(Frame("status", {"text": text}))

    def request(self, name: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> Frame:
        """Ask the parent for something, and wait for the answer.

        Args:
            name: What is asked.
            data: Its arguments, of JSON's kinds.
            payload: Bytes that belong to it.

        Raises:
            ChildRefused: The parent does not do that, or could not; or this is a copy that was made by forking.
        """
        if os.getpid() != self._pid:
            raise ChildRefused(
                f"process {os.getpid()} was made by forking and has no way to the parent: only process {self._pid} can "
                f"ask for {name}"
            )
        answer: Future[Frame] = Future()
        with self._lock:
            self._count += 1
            number = self._count
            self._answers[number] = answer
        try:
            self._channel.send(Frame("request", {"id": number, "name": name, "data": data or {}}, payload))
            frame = answer.result()
        finally:
            with self._lock:
                self._answers.pop(number, None)
        if frame.kind == "refusal":
            raise ChildRefused(str(frame.data.get("text", "")))
        return frame

    def hear(self, frame: Frame) -> None:
        """Give an answer of the parent's to whoever waits for it."""
        with self._lock:
            answer = self._answers.get(int(frame.data.get("id", 0)))
        if answer is not None:
            answer.set_result(frame)


def main(argv: list[str]) -> NoReturn:
    """Do the job that comes through a socket, in a process that was started for it.

    Args:
        argv: The number of the socket's file descriptor.
    """
    channel = Channel(socket.socket(fileno=int(argv[0])))
    os.set_inheritable(channel.socket.fileno(), False)
    code = converse(channel)
    if left_threads():
        leave(code)
    sys.exit(code)


def become(channel: Channel, printed: tuple[int, int], inherited: Any) -> NoReturn:
    """Do the job that comes through a socket, in a copy of another process; what that has begun is none of ours.

    Args:
        channel: The socket.
        printed: Where standard output and error go.
        inherited: What the function of the job finds as ``Conversation.inherited``.
    """
    code = 1
    try:
        os.setsid()
        gc.enable()
        let_be()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in zip((nothing, *printed), (0, 1, 2), strict=True):
            os.dup2(source, target)
            os.close(source)
        sys.stdout, sys.stderr = _stream(1), _stream(2)
        code = converse(channel, inherited)
        if not left_threads():
            end_as_an_interpreter_does()
    except BaseException:  # noqa: BLE001 - the frames above are the other process's, and must not be unwound here
        traceback.print_exc()
        code = code or 1
    leave(code)


def _stream(descriptor: int) -> TextIO:
    """A standard stream on its file descriptor, whatever the other process had put in its place."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def converse(channel: Channel, inherited: Any = None) -> int:
    """Greet, take the job, do it, tell what came of it; the process's exit code."""
    # A copy that the function makes of this process has no part in the conversation.
    os.register_at_fork(after_in_child=channel.close)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    channel.send(Frame("hello", {"protocol": PROTOCOL, "pid": os.getpid()}))
    job = channel.receive()
    if job is None or job.kind != "job":
        os._exit(1)
    _die_with(int(job.data["parent"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    change_environment(job.data["environ"])
    folder = Path(job.data["folder"])
    # it stays open to the end: exit handlers and native code may still fall
    crash = os.open(folder / CRASH, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    faulthandler.enable(crash)
    faulthandler.register(signal.SIGUSR1, crash, all_threads=True)
    conversation = Conversation(channel, folder, inherited)
    threading.Thread(target=_listen, args=(channel, conversation), name="deriva-ml-listen", daemon=True).start()
    beat = float(job.data["beat"])
    threading.Thread(target=_beat, args=(channel, beat, folder), name="deriva-ml-beat", daemon=True).start()
    return _work(channel, conversation, job)


def _work(channel: Channel, conversation: Conversation, job: Frame) -> int:
    """Call the function and tell what came of it; the process's exit code."""
    mine = os.getpid()
    try:
        value = _called(channel, conversation, job)
        if os.getpid() != mine:  # a copy that the function made by forking returned too: it has nothing to tell
            return 0
        _result(channel, conversation.folder, value, float(job.data["grace"]))
    except BaseException as error:
        if os.getpid() != mine:
            raise
        try:
            code = _failed(channel, error)
        except OSError:
            _end_cut_off(conversation.folder)
        take_leave(float(job.data["grace"]) / 2)
        return code
    return 0


def _called(channel: Channel, conversation: Conversation, job: Frame) -> Any:
    """What the function returns; nothing, if it ends the process and says that all is well."""
    sys.path[:] = job.data["path"]
    os.chdir(job.data["directory"])
    function = _function(job.data["target"])
    channel.send(Frame("ready"))
    try:
        return function(conversation, **job.data["arguments"])
    except SystemExit as error:
        if error.code is None or error.code == 0:
            return None
        raise


def _function(target: str) -> Callable[..., Any]:
    module, _colon, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{target} is no function")
    return found  # type: ignore[no-any-return]


def _result(channel: Channel, folder: Path, value: Any, grace: float) -> None:
    """Tell the result, once what the function left behind has ended or is given up."""
    text = json.dumps(value)
    told = {"left": take_leave(grace), "memory": _memory(), "descend": _descend()}
    if len(text) <= LONGEST_RESULT:
        channel.send(Frame("result", {"value": value, **told}))
        return
    import hashlib

    content = text.encode("utf-8")
    (folder / RESULT).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    channel.send(Frame("result", {"file": RESULT, "sha256": digest, **told}))


def _memory() -> int | None:
    """The most memory that this process had resident, in bytes; None where the system does not tell.

    What it tells of a process that has ended counts the parent's too, from before it became another program.
    """
    try:
        with open("/proc/self/status", "rb") as status:  # noqa: PTH123 - it is asked for once a second
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        return None


def _descend() -> list[tuple[int, str]]:
    """The processes that descend from this one: its parent cannot ask any more when it has ended."""
    return list(descendants(os.getpid()).items())


def _failed(channel: Channel, error: BaseException) -> int:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    told = {"memory": _memory(), "descend": _descend()}
    data = {"type": name, "text": _text(error), "traceback": _traceback(error), **told}
    channel.send(Frame("interrupted" if isinstance(error, KeyboardInterrupt) else "error", data))
    return 1


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001 - an error whose text cannot be made is told all the same
        text = f"(its text cannot be made: {type(second).__name__})"
    return text[:LONGEST_TEXT]


def _traceback(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - as above
        text = "".join(traceback.format_tb(error.__traceback__))
    half = LONGEST_TRACEBACK // 2
    return text if len(text) <= LONGEST_TRACEBACK else f"{text[:half]}\n...\n{text[-half:]}"


def _listen(channel: Channel, conversation: Conversation) -> None:
    """Hear answers; at the end of the conversation the parent is gone, and nobody waits for this process."""
    while (frame := channel.receive()) is not None:
        conversation.hear(frame)
    os.kill(os.getpid(), signal.SIGKILL)


def _beat(channel: Channel, every: float, folder: Path) -> None:
    while True:
        time.sleep(every)
        try:
            channel.send(Frame("heartbeat", {"memory": _memory()}))
        except OSError:
            _end_cut_off(folder)


def _end_cut_off(folder: Path) -> NoReturn:
    """End a process that cannot say any more what comes of its work: its parent is gone, or it closed the socket."""
    with contextlib.suppress(OSError), (folder / CRASH).open("a") as crash:
        crash.write(f"{CUT_OFF}\n")
        crash.flush()
        faulthandler.dump_traceback(crash, all_threads=True)
    os._exit(1)


def _die_with(parent: int) -> None:
    """Be killed when the parent ends, whatever this process does then; and lose no process that comes of it."""
    if sys.platform == "linux":
        import ctypes

        system = ctypes.CDLL(None, use_errno=True)
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # a process whose parent ends becomes this one's child, and so stays in the tree that the parent looks at
        system.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:  # it ended before it was asked for
        os._exit(1)
