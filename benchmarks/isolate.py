"""Work in a child process: what starting one costs, how soon its death is known, what watching over it takes.

The baseline of the start is ``python -c pass``: a child cannot cost less than an interpreter.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from figures import Sheet

from deriva_ml.isolate import Job, Limits, run_isolated

ROUNDS = 15
WATCHED = 10.0
TARGETS = """
import os, signal, time
def nothing(parent):
    pass
def die(parent, at):
    with open(at, "w") as file:
        file.write(repr(time.monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)
def work(parent, seconds):
    for number in range(int(seconds)):
        time.sleep(1)
        parent.progress(number, seconds)
"""


def cpu(who: int) -> float:
    """Seconds of processor time, of this process or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure and print; 1 if a target is missed."""
    sheet = Sheet("Work in a child process", "python -c pass, started by the same process")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "isolate_targets.py").write_text(TARGETS)
        path = [str(folder), *sys.path]

        def job(name: str, limits: Limits | None = None, **arguments: object) -> Job:
            return Job(f"isolate_targets:{name}", folder, arguments, limits or Limits(), path)

        def both() -> float:
            return cpu(resource.RUSAGE_CHILDREN) + cpu(resource.RUSAGE_SELF)

        bare, ours, walls = [], [], []
        for _ in range(ROUNDS):
            before = both()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            middle = both()
            start = time.perf_counter()
            run_isolated(job("nothing"))
            walls.append(time.perf_counter() - start)
            bare.append(middle - before)
            ours.append(both() - middle)
        sheet.add("a child that does nothing, CPU", median(ours) * 1000, "ms", baseline=median(bare) * 1000)
        sheet.add("... beyond an interpreter, CPU", (median(ours) - median(bare)) * 1000, "ms", at_most=60)
        sheet.add("a child that does nothing, wall time", median(walls) * 1000, "ms")

        late = []
        for _ in range(ROUNDS):
            run_isolated(job("die", at=str(folder / "at")))
            late.append(time.monotonic() - float((folder / "at").read_text()))
        sheet.add("from its death to the verdict", median(late) * 1000, "ms", at_most=50)
        sheet.add("... the longest of all", max(late) * 1000, "ms", at_most=50)

        limits = Limits(wall=600, silence=60, heartbeat=60, memory=1 << 36)
        before, start = cpu(resource.RUSAGE_SELF), time.perf_counter()
        run_isolated(job("work", limits, seconds=WATCHED))
        share = (cpu(resource.RUSAGE_SELF) - before) / (time.perf_counter() - start)
        sheet.add(f"watching for {WATCHED:g} s with every limit, of a core", share * 100, "%", at_most=1)
    return sheet.end()


if __name__ == "__main__":
    raise SystemExit(main() if os.name == "posix" else "needs a POSIX system")
