"""Running a command in a child process and measuring it; shared by the benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Cost:
    """What a command cost, its own children included.

    Attributes:
        cpu: Seconds of CPU, user and system.
        wall: Seconds on the clock.
        rss: Most resident memory of any of its processes, in bytes.
    """

    cpu: float
    wall: float
    rss: int


def run(command: Sequence[str | Path], *, cwd: Path, home: Path, extra: Mapping[str, str] | None = None) -> Cost:
    """Run a command with a home of its own; its output is shown if it fails.

    Compiled modules are kept beside that home, whatever the environment says of them: all that is compared finds its
    modules alike, compiled by its first run, which should not count.

    Args:
        command: The words of it.
        cwd: Where it runs.
        home: Its home directory.
        extra: Variables of its environment besides.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DERIVA_")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    environ |= {"HOME": str(home), "PYTHONPYCACHEPREFIX": str(home.parent / "compiled"), **(extra or {})}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            print(output.read(), file=sys.stderr)
            raise SystemExit(f"{' '.join(map(str, command))} exited with {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024)


def typical(costs: Sequence[Cost]) -> Cost:
    """The median of each measure; of memory, the most."""
    return Cost(
        median(cost.cpu for cost in costs), median(cost.wall for cost in costs), max(cost.rss for cost in costs)
    )


def commit(folder: Path) -> None:
    """Make a git repository of a folder, with everything in it committed."""
    who = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "benchmark"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def script(name: str) -> Path:
    """A command of this environment."""
    return Path(sys.executable).parent / name
