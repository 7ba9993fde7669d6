"""What ``import deriva_ml`` and ``--help`` of each command cost."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import run, script, typical

COMMANDS = ("deriva-ml-run", "deriva-ml-show", "deriva-ml-upload", "deriva-ml-catalog", "create-demo-catalog")
ROUNDS = 11


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
            f"{'import deriva_ml':<28}{took * 1000:6.0f} ms   (target: under 100 ms; python itself {bare * 1000:.0f})"
        )
        for name in COMMANDS:
            took = wall(script(name), "--help")
            late |= took > 0.2
            print(f"{name + ' --help':<28}{took * 1000:6.0f} ms   (target: under 200 ms)")
    return int(late)


if __name__ == "__main__":
    raise SystemExit(main())
