"""The parent's side: starts a child, listens, answers, keeps it within its limits, and says what became of it.

1. One loop waits for whatever comes first: a frame, the child's end (a pidfd where there is one), a limit. It does not
   poll; the child's memory, which nothing tells, is looked at twice a second if it is limited.
2. Requests are answered by threads, so that a slow answer delays neither the beat nor a limit.
3. A child is told to end by SIGINT if its user wishes so (a model then unwinds), by SIGTERM where a limit is passed;
   and by SIGKILL when its grace is over. What it started is ended with it.
4. What it prints goes into files, byte for byte, and to whoever wants to see it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from typing import Any

from deriva_ml.core.error_text import error_text
from deriva_ml.core.values import dataclass
from deriva_ml.isolate.cancel import Cancel
from deriva_ml.isolate.child import CRASH, CUT_OFF
from deriva_ml.isolate.frames import PROTOCOL, BrokenFrame, Frame
from deriva_ml.isolate.job import Job, Limits
from deriva_ml.isolate.printed import Echo, Printed, Veil
from deriva_ml.isolate.processes import Session, tail
from deriva_ml.isolate.starting import Started, module_path, spawn
from deriva_ml.isolate.verdict import ChildError, Evidence, Usage, Verdict, judge

__all__ = ["STDERR", "STDOUT", "Handler", "Observer", "run_isolated"]

STDOUT, STDERR = "stdout.txt", "stderr.txt"
"""Files, in the folder of the job, of what the child prints."""

LOOK_AT_MEMORY = 0.5
LONGEST_WAIT = 3600.0
"""The system takes no waits of months."""

ANSWERING = 4
LAST_LINES = 20
MOST_NAMES = 20

Handler = Callable[[Mapping[str, Any], bytes], "Frame | Mapping[str, Any] | None"]
"""Answers a request: takes its fields and payload, gives the fields of the answer, or a frame with a payload."""

Observer = Callable[[Frame], None]
"""Is told what the child says of itself: ``ready``, ``progress``, ``status``."""


def run_isolated(
    job: Job,
    *,
    handlers: Mapping[str, Handler] | None = None,
    observer: Observer | None = None,
    cancel: Cancel | None = None,
    echo: Echo | None = None,
    veil: Veil | None = None,
    started: Started | None = None,
    gone: Callable[[], None] | None = None,
) -> Verdict:
    """Call a function in a child process, and say what became of it.

    Ctrl-C (``KeyboardInterrupt``) ends the child in order, then by force; the verdict is then that it was aborted.

    Args:
        job: The function, its arguments, its folder and its limits.
        handlers: What the child may ask for, by name; each is called in a thread of its own.
        observer: Is told what the child says of itself.
        cancel: Ends the child when it is called.
        echo: Is given what the child prints.
        veil: Changes what is kept of what it prints, line by line.
        started: A child that waits for a job (``copy_process``); by default a new interpreter is started.
        gone: Is called as soon as the child has ended: nobody waits any more for answers that are being worked on.

    Raises:
        OSError: The child cannot be started.
    """
    child = started or spawn(job)
    try:
        with Printed(job.folder, (STDOUT, STDERR), child.printed, echo, veil) as printed:
            return _Watch(job, child, dict(handlers or {}), observer, cancel, printed, gone).until_the_end()
    finally:
        child.close()


@dataclass
class _Clocks:
    """When the child was last heard of, on the clock of this process."""

    start: float = field(default_factory=time.monotonic)
    beat: float = field(default_factory=time.monotonic)
    word: float = field(default_factory=time.monotonic)
    told: float | None = None
    done: float | None = None
    looked: float = 0.0


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off what interrupts this process: what has been read of the child must be kept, or it would be lost."""
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Watch:
    """Watches over one child."""

    def __init__(
        self,
        job: Job,
        child: Started,
        handlers: dict[str, Handler],
        observer: Observer | None,
        cancel: Cancel | None,
        printed: Printed,
        gone: Callable[[], None] | None,
    ) -> None:
        self._job = job
        self._child = child
        self._channel = child.channel
        self._printed = printed
        self._handlers = handlers
        self._observer = observer
        self._cancel = cancel
        self._gone = gone
        self._session = Session(child.pid)
        self._evidence = Evidence()
        self._clocks = _Clocks()
        self._asked = 0
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(ANSWERING, "deriva-ml-answer")
        self._is_listening = True
        self._peak = self._most = 0
        self._floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def until_the_end(self) -> Verdict:
        """Watch until the child has ended."""
        with selectors.DefaultSelector() as selector, self._session.end_signal() as ended, self._pool:
            for source in (self._channel.socket, *self._child.printed):
                selector.register(source, selectors.EVENT_READ)
            if ended is not None:
                selector.register(ended, selectors.EVENT_READ)
            if self._cancel is not None:
                selector.register(self._cancel.fileno(), selectors.EVENT_READ)
            while True:
                try:
                    if self._has_ended(selector, ended):
                        break
                except KeyboardInterrupt as interrupt:
                    self._evidence.interrupt = interrupt
                    self._wish(str(interrupt) or "It was interrupted (Ctrl-C).")
            if self._gone is not None:
                self._gone()
            self._drain()
            self._printed.drain()
            return self._conclude()

    def _has_ended(self, selector: selectors.BaseSelector, ended: int | None) -> bool:
        """Wait for the next thing to happen; whether it was the child's end."""
        events = selector.select(self._wait(ended))
        with _uninterrupted():
            return self._take(selector, ended, [key for key, _events in events])

    def _take(self, selector: selectors.BaseSelector, ended: int | None, keys: list[selectors.SelectorKey]) -> bool:
        for key in keys:
            if key.fileobj is self._channel.socket:
                if not self._listen():
                    selector.unregister(self._channel.socket)
            elif key.fd == ended:
                return True
            elif key.fd in self._child.printed:
                self._clocks.word = time.monotonic()
                if not self._printed.take(key.fd):
                    selector.unregister(key.fd)
            else:
                assert self._cancel is not None
                selector.unregister(self._cancel.fileno())
                self._wish(self._cancel.reason or "It was told to stop.")
        if ended is None and self._session.has_ended():
            return True
        self._keep_within_limits()
        return False

    # -- what it says ----------------------------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Hear what has come; False when nothing more can come."""
        try:
            frames = self._channel.read()
        except BrokenFrame as error:
            self._evidence.is_broken = str(error)
            self._tell(signal.SIGTERM)
            frames = None
        except OSError:
            frames = None
        if frames is None:
            self._is_listening = False
            self._evidence.was_cut = self._channel.is_within and self._evidence.is_broken is None
            return False
        try:
            for frame in frames:
                self._hear(frame)
        except (KeyError, TypeError, ValueError) as error:
            self._evidence.is_broken = f"a frame lacks what it should have: {error!r}"
            self._tell(signal.SIGTERM)
        return True

    def _hear(self, frame: Frame) -> None:
        self._clocks.beat = time.monotonic()
        self._peak = max(self._peak, int(frame.data.get("memory") or 0))
        self._session.note({int(pid): str(start) for pid, start in frame.data.get("descend", ())})
        if frame.kind == "heartbeat":
            self._look()
            return
        self._clocks.word = self._clocks.beat
        if frame.kind == "hello":
            self._greet(frame)
        elif frame.kind == "request":
            self._ask(frame)
        elif frame.kind == "result":
            self._take_result(frame)
        elif frame.kind in {"error", "interrupted"}:
            data = frame.data
            self._clocks.done = time.monotonic()
            self._session.look()
            self._evidence.error = ChildError(str(data["type"]), str(data["text"]), str(data["traceback"]))
        elif self._observer is not None:
            self._show(frame, self._observer)

    def _show(self, frame: Frame, observer: Observer) -> None:
        try:
            observer(frame)
        except Exception as error:  # noqa: BLE001 - who only looks on must not end the work; it is in the verdict
            note = f"{frame.kind} could not be noted: {error_text(error)}"
            if note not in self._evidence.leftovers:
                self._evidence.leftovers.append(note)

    def _greet(self, frame: Frame) -> None:
        if frame.data.get("protocol") != PROTOCOL:
            self._end_for(f"It speaks version {frame.data.get('protocol')} of the protocol, not {PROTOCOL}.")
            return
        job = self._job
        data = {
            "target": job.target,
            "arguments": dict(job.arguments),
            "folder": str(job.folder.absolute()),
            "directory": str((job.directory or job.folder).absolute()),
            "path": module_path(job),
            "environ": dict(job.environ) if self._child.is_copy else {},
            "parent": os.getpid(),
            "beat": job.beat,
            "grace": job.limits.grace,
        }
        self._pool.submit(self._send, Frame("job", data))

    def _take_result(self, frame: Frame) -> None:
        self._clocks.done = time.monotonic()
        self._session.look()
        data = dict(frame.data)
        self._evidence.leftovers += map(str, data.get("left", ()))
        if "file" in data:
            import hashlib

            try:
                content = (self._job.folder / str(data["file"])).read_bytes()
            except OSError as error:
                self._evidence.is_broken = f"the file of its result: {error.strerror}"
                return
            if hashlib.sha256(content).hexdigest() != data["sha256"]:
                self._evidence.is_broken = "the file of its result is not what it wrote"
                return
            data = {"value": json.loads(content)}
        self._evidence.result = data
        self._evidence.is_late = self._evidence.aborted or self._evidence.ended_for is not None

    def _ask(self, frame: Frame) -> None:
        with self._counting:
            self._asked += 1
        self._pool.submit(self._answer, frame)

    def _answer(self, frame: Frame) -> None:
        """Answer a request; whatever a handler raises is an answer too."""
        number, name = frame.data.get("id"), str(frame.data.get("name"))
        try:
            handler = self._handlers.get(name)
            if handler is None:
                raise LookupError(f"nothing here answers {name!r}")
            given = handler(frame.data.get("data") or {}, frame.payload)
            answer = given if isinstance(given, Frame) else Frame("answer", given or {})
            self._send(Frame("answer", {**answer.data, "id": number}, answer.payload))
        except Exception as error:  # noqa: BLE001 - it is the child's to deal with, and it is told
            self._send(Frame("refusal", {"id": number, "type": type(error).__name__, "text": error_text(error)}))
        finally:
            with self._counting:
                self._asked -= 1
            self._clocks.word = time.monotonic()

    def _send(self, frame: Frame) -> None:
        with contextlib.suppress(OSError):  # it has ended meanwhile, which the loop notices by itself
            self._channel.send(frame)

    # -- its limits ------------------------------------------------------------------------------------------------

    def _wait(self, ended: int | None) -> float | None:
        """Seconds until a limit must be looked at; None if there is none."""
        limits, clocks = self._job.limits, self._clocks
        if clocks.told is not None:
            until = [clocks.told + limits.grace]
        else:
            until = [start + limit for start, limit in self._running(limits) if limit is not None]
            if clocks.done is not None:
                until.append(clocks.done + limits.grace)
            if limits.memory is not None:
                until.append(clocks.looked + LOOK_AT_MEMORY)
        if ended is None:
            until.append(time.monotonic() + 0.02)  # no pidfd here: the end is looked for
        return max(0.0, min(LONGEST_WAIT, min(until) - time.monotonic())) if until else None

    def _running(self, limits: Limits) -> list[tuple[float, float | None]]:
        clocks = self._clocks
        silence = None if self._asked else limits.silence  # who waits for an answer is not silent
        return [(clocks.start, limits.wall), (clocks.word, silence), (clocks.beat, limits.heartbeat)]

    def _keep_within_limits(self) -> None:
        limits, clocks, now = self._job.limits, self._clocks, time.monotonic()
        if clocks.told is not None:
            if now >= clocks.told + limits.grace:
                self._session.kill(signal.SIGKILL)
                clocks.told = now
            return
        reason = self._passed(limits, now)
        if reason is not None:
            self._end_for(reason)

    def _passed(self, limits: Limits, now: float) -> str | None:
        """Which limit the child has passed."""
        clocks = self._clocks
        if limits.wall is not None and now - clocks.start >= limits.wall:
            return f"It ran longer than {limits.wall:g} s."
        if clocks.done is not None and now - clocks.done >= limits.grace:
            what = "error" if self._evidence.error is not None else "result"
            return f"It did not end within {limits.grace:g} s of its {what}."
        if limits.heartbeat is not None and now - clocks.beat >= limits.heartbeat:
            return f"Its heart did not beat for {limits.heartbeat:g} s: it was stopped, or native code holds Python."
        if limits.silence is not None and not self._asked and now - clocks.word >= limits.silence:
            return f"It printed, reported and asked nothing for {limits.silence:g} s."
        if limits.memory is not None and now - clocks.looked >= LOOK_AT_MEMORY:
            clocks.looked = now
            used = self._look()
            if used > limits.memory:
                return f"It used {used / 1e6:,.0f} MB of memory; {limits.memory / 1e6:,.0f} MB are allowed."
        return None

    def _look(self) -> int:
        """Bytes that the child and its descendants have; asked for exactly only where that could be news."""
        used = self._session.look()
        limit = self._job.limits.memory
        if used <= self._most * 1.05 and (limit is None or used <= limit):
            return used
        self._most = max(self._most, used)
        exact = self._session.memory()
        self._peak = max(self._peak, exact)
        return exact

    def _end_for(self, reason: str) -> None:
        """End the child because of something that it did."""
        if self._evidence.ended_for is None and self._evidence.error is None:
            self._evidence.ended_for = reason
        elif self._evidence.error is not None:
            self._evidence.leftovers.append(reason)
        self._session.note_stack()
        self._tell(signal.SIGTERM)

    def _wish(self, reason: str) -> None:
        """End the child because its user wishes so; who wishes it again does not wait."""
        if self._evidence.aborted:
            self._session.kill(signal.SIGKILL)
            return
        self._evidence.aborted = True
        self._evidence.ended_for = self._evidence.ended_for or reason
        self._session.kill(signal.SIGCONT)
        self._tell(signal.SIGINT)

    def _tell(self, number: signal.Signals) -> None:
        if self._clocks.told is None:
            self._clocks.told = time.monotonic()
        self._session.look()
        self._session.tell(number)

    # -- its end ---------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Hear what it said before it ended."""
        self._channel.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._is_listening and self._listen_now():
                pass

    def _listen_now(self) -> bool:
        try:
            return self._listen()
        except BlockingIOError:
            return False

    def _conclude(self) -> Verdict:
        evidence, job = self._evidence, self._job
        status, usage = self._session.reap()
        wall = time.monotonic() - self._clocks.start
        self._child.ended(os.waitstatus_to_exitcode(status))
        if os.WIFSIGNALED(status):
            evidence.signal = os.WTERMSIG(status)
        else:
            evidence.code = os.waitstatus_to_exitcode(status)
        names = self._session.end_the_rest(job.limits.grace)
        evidence.leftovers += [f"a process was left behind, and ended: {name}" for name in names[:MOST_NAMES]]
        if len(names) > MOST_NAMES:
            evidence.leftovers.append(f"{len(names) - MOST_NAMES} more processes were left behind, and ended")
        evidence.leftovers += [f"{name} is not whole: {reason}" for name, reason in self._printed.lost.items()]
        evidence.stack = "\n".join(tail(job.folder / CRASH, 200, 64 * 1024))
        evidence.cut_itself_off = evidence.stack.startswith(CUT_OFF)
        printed = [tail(job.folder / name, LAST_LINES, 16 * 1024) for name in (STDOUT, STDERR)]
        evidence.output = tuple(line for lines in printed for line in lines)
        taken = Usage(wall, usage.ru_utime, usage.ru_stime, self._peak_memory(usage))
        return judge(evidence, taken)

    def _peak_memory(self, usage: resource.struct_rusage) -> int:
        """The most memory that the child had: as it told, or as the system tells where that is not this process's."""
        unit = 1 if sys.platform == "darwin" else 1024
        return max(self._peak, usage.ru_maxrss * unit if usage.ru_maxrss > self._floor or not self._peak else 0)
