"""What ``import deriva_ml`` and ``--help`` of each command cost."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from measure import run, script, typical

ROUNDS = 11


def commands() -> list[str]:
    """The commands that the package installs."""
    return sorted(point.name for point in distribution("deriva-ml").entry_points if point.group == "console_scripts")


def main() -> int:
    """Measure and print; 1 if something is above its target."""
    late = False
    python = Path(sys.executable)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)

        def wall(*command: str | Path) -> float:
            run(command, cwd=home, home=home)
            return typical([run(command, cwd=home, home=home) for _ in range(ROUNDS)]).wall

        bare = wall(python, "-c", "pass")
        took = wall(python, "-c", "import deriva_ml") - bare
        late |= took > 0.1
        print(
            f"{'import deriva_ml':<40}{took * 1000:6.0f} ms   (target: under 100 ms; python itself {bare * 1000:.0f})"
        )
        for name in commands():
            took = wall(script(name), "--help")
            late |= took > 0.2
            print(f"{name + ' --help':<40}{took * 1000:6.0f} ms   {took / bare:4.1f} x python   (target: under 200 ms)")
    print(f"load {os.getloadavg()[0]:.1f}")
    return int(late)


if __name__ == "__main__":
    raise SystemExit(main())
