"""What ``import deriva_ml`` and ``--help`` of each command cost."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from measure import Cost, run, script, typical

ROUNDS = 11


def commands() -> list[str]:
    """The commands that the package installs."""
    return sorted(point.name for point in distribution("deriva-ml").entry_points if point.group == "console_scripts")


def _line(what: str, cost: Cost, bare: Cost, target: str) -> None:
    ratio = f"{cost.cpu / bare.cpu:5.1f} x python's CPU"
    shown = f"{what:<40}{cost.wall * 1000:6.0f} ms {cost.cpu * 1000:6.0f} ms CPU {ratio}"
    print(shown + (f"   (target: {target})" if target else ""))


def main() -> int:
    """Measure and print; 1 if something is above its target."""
    late = False
    python = Path(sys.executable)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)

        def cost(*command: str | Path) -> Cost:
            run(command, cwd=home, home=home)
            return typical([run(command, cwd=home, home=home) for _ in range(ROUNDS)])

        bare = cost(python, "-c", "pass")
        _line("python -c pass", bare, bare, "")
        imported = cost(python, "-c", "import deriva_ml")
        late |= imported.wall - bare.wall > 0.1
        _line("import deriva_ml", imported, bare, "under 100 ms more than python itself")
        for name in commands():
            helped = cost(script(name), "--help")
            late |= helped.wall > 0.2
            _line(f"{name} --help", helped, bare, "under 200 ms")
    print(f"load {os.getloadavg()[0]:.1f}")
    return int(late)


if __name__ == "__main__":
    raise SystemExit(main())
