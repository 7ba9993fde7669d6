"""How a child comes to be: as a new interpreter, or as a copy of this process, made beforehand.

A new interpreter has nothing of this process: it imports what it needs. A copy has all of it, and costs nearly nothing;
so it is made before there is anything in this process that it should not have: connections, credentials, threads.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

from deriva_ml.core.config import child_environment
from deriva_ml.core.exceptions import DerivaMLExecutionError
from deriva_ml.core.values import dataclass
from deriva_ml.isolate.frames import Channel
from deriva_ml.isolate.job import Job
from deriva_ml.isolate.processes import Session

__all__ = ["Started", "can_copy", "copy_process", "module_path", "spawn"]

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from deriva_ml.isolate.child import main; main(sys.argv[2:])"
)


@dataclass
class Started:
    """A child that waits for its job.

    Attributes:
        pid: The process.
        channel: The way to it.
        printed: File descriptors from which what it prints can be read: standard output, standard error.
        is_copy: It is a copy of this process, and has its environment.
        process: The same process as the standard library's object, if that started it.
    """

    pid: int
    channel: Channel
    printed: tuple[int, int]
    is_copy: bool
    process: subprocess.Popen[bytes] | None = None
    has_ended: bool = False

    def close(self) -> None:
        """Let go of it; a child that has not ended by now is killed."""
        if not self.has_ended:
            session = Session(self.pid)
            session.kill(signal.SIGKILL)
            session.tell(signal.SIGKILL)
            session.reap()
            self.ended(-signal.SIGKILL)
        self.channel.close()
        for descriptor in self.printed:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def ended(self, code: int) -> None:
        """Note that the child has ended and has been waited for."""
        self.has_ended = True
        if self.process is not None:
            self.process.returncode = code


def module_path(job: Job) -> list[str]:
    """What the child looks for modules on: no part of it depends on where somebody stands."""
    return [str(Path(place).absolute()) if place else str(Path.cwd()) for place in job.path]


def spawn(job: Job) -> Started:
    """Start a new interpreter for a job.

    Raises:
        OSError: It cannot be started.
    """
    ours, theirs = socket.socketpair()
    out, err = os.pipe(), os.pipe()
    try:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(module_path(job)), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=out[1],
                stderr=err[1],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=child_environment(job.environ),
            )
    except BaseException:
        ours.close()
        for descriptor in (out[0], err[0]):
            os.close(descriptor)
        raise
    finally:
        os.close(out[1])
        os.close(err[1])
    return Started(process.pid, Channel(ours), (out[0], err[0]), is_copy=False, process=process)


def can_copy() -> bool:
    """Whether this process can be copied: no other thread may hold anything, and the system must bear it."""
    return sys.platform == "linux" and threading.active_count() == 1


def copy_process(inherited: Any = None) -> Started:
    """Make a copy of this process that waits for a job; it ends when this process does.

    Args:
        inherited: What the function of the job finds as ``Conversation.inherited``.

    Raises:
        DerivaMLExecutionError: This process has threads, or the system does not allow it.
    """
    if not can_copy():
        raise DerivaMLExecutionError("This process cannot be copied: it has threads.", hint="start a new one instead")
    from deriva_ml.isolate.child import become

    ours, theirs = socket.socketpair()
    out, err = os.pipe(), os.pipe()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # replaced, or closed: nothing waits in it then
            stream.flush()
    gc.freeze()  # what is there now is no business of the copy's collector, which would touch, and so copy, all of it
    with warnings.catch_warnings():
        # of threads that libraries started in native code, which have handlers for this
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(out[0])
        os.close(err[0])
        become(Channel(theirs), (out[1], err[1]), inherited)
    gc.unfreeze()
    theirs.close()
    os.close(out[1])
    os.close(err[1])
    return Started(pid, Channel(ours), (out[0], err[0]), is_copy=True)
