"""Whether a process that wrote something down is still there: from evidence, never by guess.

A process is named by its pid, the time it started, the boot of the machine and the pid namespace, all of which the
kernel tells in ``/proc``. Where there is no ``/proc``, only a missing pid is evidence.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from deriva_ml.core.values import dataclass

__all__ = ["ProcessMark", "Sign"]


class Sign(Enum):
    """What the evidence says about a process."""

    alive = "alive"
    gone = "gone"
    unknown = "unknown"


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """What identifies a process for ever.

    Attributes:
        host: Name of the machine.
        boot: Identity of the machine's boot; empty where the system does not tell.
        namespace: The pid namespace (containers have their own); empty where there are none.
        pid: The process id.
        started: When it started, in the kernel's own unit; empty where the system does not tell.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> ProcessMark:
        """The mark of this process."""
        pid = os.getpid()
        return cls(os.uname().nodename, _boot(), _namespace(), pid, _started(pid) or "")

    @property
    def told(self) -> str:
        """The process in words."""
        return f"process {self.pid} on {self.host}"

    def sign(self) -> Sign:
        """Whether the process is still there.

        ``unknown`` where it cannot be seen from here: on another machine, or in another container.
        """
        here = ProcessMark.current()
        if self.boot != here.boot:
            # the same machine with another boot was restarted; any other machine cannot be seen
            return Sign.gone if self.host == here.host and self.boot and here.boot else Sign.unknown
        if self.namespace != here.namespace or (not self.boot and self.host != here.host):
            return Sign.unknown
        if not _exists(self.pid):
            return Sign.gone
        now = _started(self.pid)
        if now is None:
            # /proc would have told: it ended between the two questions, or is a zombie
            return Sign.gone if here.started else Sign.alive
        return Sign.alive if now == self.started or not self.started else Sign.gone


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - the target is a name, not a path
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str | None:
    """The start time of a process that runs, from ``/proc``; None if it has ended or there is no ``/proc``."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # the name, in parentheses, may hold blanks and parentheses; the fields after it do not
    after = text.rpartition(")")[2].split()
    state, started = after[0], after[19]
    return None if state in "ZX" else started
